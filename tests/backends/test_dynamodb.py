"""The DynamoDB store keeps the contract, and what is its own."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from longwire.cli.main import main
from longwire_backends import dynamodb
from longwire_backends.base import Backend, BackendError, ConfigurationError
from longwire_backends.dynamodb import DynamoDBBackend
from tests.aws.test_sigv4 import by_botocore
from tests.backends.aws_canned import CannedServer, Request, json_refusal, reply
from tests.backends.contract import ODD_TEXTS, BackendContract, OpenBackend, listed, members
from tests.servers.proxy import CountingProxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.servers.process import ServerProcess

FAR = 1 << 40


def new_table(server: ServerProcess) -> str:
    """Create an empty table and return its name."""
    name = f"t-{uuid.uuid4().hex}"
    asyncio.run(DynamoDBBackend(name, endpoint_url=server.url).create())
    return name


class TestDynamoDBBackend(BackendContract):
    """As two servers understand DynamoDB."""

    sweeps = False
    checks_gaps = False

    @pytest.fixture
    def crowd(self, server: ServerProcess, request: pytest.FixtureRequest) -> int:
        """Fewer for moto, which takes milliseconds for each request."""
        return 500 if request.node.callspec.params["server"] == "moto" else 5_000

    @pytest.fixture
    def open_backend(self, server: ServerProcess, aws_keys: None) -> OpenBackend:
        """Open the same table each time."""
        table = new_table(server)
        return lambda clock: DynamoDBBackend(table, endpoint_url=server.url, clock=clock)


@pytest.fixture(params=["moto", "ministack"])
def server(request: pytest.FixtureRequest, aws_keys: None) -> ServerProcess:
    """Each of the two servers."""
    found: ServerProcess = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def boto3_client(server: ServerProcess) -> Iterator[Any]:
    """The client that AWS makes."""
    boto3 = pytest.importorskip("boto3")
    client = boto3.client("dynamodb", endpoint_url=server.url, region_name="us-east-1")
    yield client
    client.close()


def failure(doing: Awaitable[object]) -> str:
    """Run it, and return the text of its error."""

    async def run() -> None:
        await doing

    with pytest.raises(BackendError) as caught:
        asyncio.run(run())
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["", "ab", "a" * 256, "a b", "a/b", "a\n", "tabl\N{LATIN SMALL LETTER E WITH ACUTE}", "arn:"],
)
def test_a_name_that_no_table_can_have(name: str) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(ConfigurationError) as caught:
        DynamoDBBackend(name, region_name="eu-west-1")
    assert str(caught.value) == (
        f"table_name: expected 3 to 255 letters, digits, '_', '-' and '.', or an ARN, got {name!r}"
    )


def test_items_are_laid_out_as_documented(server: ServerProcess, boto3_client: Any) -> None:
    """As boto3 sees them, whatever the ids and names; expiry is the table's TTL attribute."""
    table = new_table(server)

    async def fill(backend: Backend) -> dict[str, str]:
        versions = {text: await backend.put(text, "v", FAR) for text in ODD_TEXTS}
        await backend.group_add("../g#", "/a#", FAR)
        assert await backend.append("/a#", 1, "first", FAR)
        assert await backend.append("/a#", 2, "second", FAR)
        await backend.close()
        return versions

    versions = asyncio.run(fill(DynamoDBBackend(table, endpoint_url=server.url)))
    expiry = {"expires_at": {"N": str(FAR)}}
    expected = [
        {
            "pk": {"S": f"connection#{text}"},
            "sk": {"S": "record"},
            "value": {"S": "v"},
            "version": {"S": version},
            **expiry,
        }
        for text, version in versions.items()
    ]
    expected.append({"pk": {"S": "group#../g#"}, "sk": {"S": "/a#"}, **expiry})
    expected.append({"pk": {"S": "groups#/a#"}, "sk": {"S": "../g#"}, **expiry})
    for position, value in (("0000000001", "first"), ("0000000002", "second")):
        key = {"pk": {"S": "journal#/a#"}, "sk": {"S": position}}
        expected.append({**key, "value": {"S": value}, **expiry})

    def order(item: dict[str, dict[str, str]]) -> list[str]:
        return [item["pk"]["S"], item["sk"]["S"]]

    items = boto3_client.scan(TableName=table, ConsistentRead=True)["Items"]
    assert sorted(items, key=order) == sorted(expected, key=order)
    ttl = boto3_client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


def test_create_says_what_it_did(server: ServerProcess) -> None:
    """A table on demand, with TTL; the second time both are there."""
    table = f"t-{uuid.uuid4().hex}"
    backend = DynamoDBBackend(table, endpoint_url=server.url, region_name="eu-west-1")
    assert asyncio.run(backend.create()) == (
        f"created table {table} in eu-west-1",
        "turned TTL on expires_at on",
    )
    assert asyncio.run(backend.create()) == (
        f"table {table} in eu-west-1 is there already",
        "TTL on expires_at is on already",
    )
    asyncio.run(backend.close())


def test_the_command_of_the_error_creates_the_table(
    server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a missing table's error says to do is enough."""
    table = f"t-{uuid.uuid4().hex}"
    backend = DynamoDBBackend(table, endpoint_url=server.url, region_name="eu-west-1")
    text = failure(backend.get("a"))
    start = (
        f"dynamodb: get failed: there is no table {table} in eu-west-1; create it with: longwire "
    )
    assert text.startswith(start)
    assert main(shlex.split(text.removeprefix(start))) == 0
    assert f"created table {table} in eu-west-1\n" in capsys.readouterr().out
    assert asyncio.run(backend.get("a")) is None
    asyncio.run(backend.close())


OTHER_KEYS = (
    r"dynamodb: {} failed: the table {} has other keys than the texts pk and sk, so it is not one "
    r"of Longwire's; give another table_name"
)


@pytest.mark.parametrize(
    "keys", [{"connectionId": "S"}, {"pk": "S"}, {"pk": "S", "sk": "N"}], ids=["mangum", "pk", "N"]
)
def test_a_table_of_somebody_else(
    server: ServerProcess, boto3_client: Any, keys: dict[str, str]
) -> None:
    """Each operation says that the table's keys are others, and so does create."""
    table = f"t-{uuid.uuid4().hex}"
    boto3_client.create_table(
        TableName=table,
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind} for name, kind in keys.items()
        ],
        KeySchema=[
            {"AttributeName": name, "KeyType": kind}
            for name, kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    backend = DynamoDBBackend(table, endpoint_url=server.url)
    assert failure(backend.create()) == OTHER_KEYS.format("create", table)
    if "N" not in keys.values():  # the servers look at names, and at types only now and then
        for operation, doing in {
            "get": backend.get("a"),
            "take": backend.take("a"),
            **({"put": backend.put("a", "v", FAR)} if "pk" not in keys else {}),
        }.items():
            text = failure(doing)
            assert re.fullmatch(re.escape(OTHER_KEYS.format(operation, table)) + r" \(.+\)", text)
    asyncio.run(backend.close())


TABLE = {
    "TableStatus": "ACTIVE",
    "KeySchema": [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "S"},
    ],
}
ACTIVE = reply(200, json.dumps({"Table": TABLE}))
TTL_ON = {"TimeToLiveStatus": "ENABLING", "AttributeName": "expires_at"}


NO_TTL = json_refusal("UnknownOperationException", "")
TTL_OFF = reply(200, json.dumps({"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}))


@pytest.mark.anyio
@pytest.mark.parametrize("answers", [[NO_TTL], [TTL_OFF, NO_TTL]], ids=["at all", "to turn on"])
async def test_create_on_a_server_without_ttl(aws_keys: None, answers: list[bytes]) -> None:
    """Everything else works; that items will stay is said."""
    async with CannedServer(reply(200, "{}"), ACTIVE, *answers) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url)
        assert await backend.create() == (
            "created table table in us-east-1",
            "this server knows no TTL: items that have expired will stay",
        )
        await backend.close()


@pytest.mark.anyio
async def test_create_waits_for_a_table_that_cannot_be_seen_yet(
    aws_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment DynamoDB may not know what it has just created."""
    monkeypatch.setattr(dynamodb, "_CREATE_PAUSE", 0.0)
    unknown = json_refusal("ResourceNotFoundException", "Requested resource not found")
    creating = reply(200, json.dumps({"Table": {"TableStatus": "CREATING"}}))
    ttl = reply(200, json.dumps({"TimeToLiveDescription": TTL_ON}))
    async with CannedServer(reply(200, "{}"), unknown, creating, ACTIVE, ttl) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url)
        assert await backend.create() == (
            "created table table in us-east-1",
            "TTL on expires_at is on already",
        )
        await backend.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("state", "said"),
    [("DELETING", "the table is DELETING"), (None, "the table is not to be seen")],
)
async def test_create_waits_only_so_long(
    aws_keys: None, monkeypatch: pytest.MonkeyPatch, state: str | None, said: str
) -> None:
    """A table that never becomes active is an error."""
    monkeypatch.setattr(dynamodb, "_CREATE_PAUSE", 0.0)
    monkeypatch.setattr(dynamodb, "_CREATE_TIMEOUT", 0.0)
    table = {} if state is None else {"Table": {"TableStatus": state}}
    async with CannedServer(reply(200, "{}"), reply(200, json.dumps(table))) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url)
        with pytest.raises(BackendError) as caught:
            await backend.create()
        await backend.close()
    assert str(caught.value) == f"dynamodb: create failed: {said} after 0 s"


@pytest.mark.anyio
@pytest.mark.parametrize("table", [{"TableStatus": "ACTIVE"}, {**TABLE, "KeySchema": [1]}])
async def test_create_and_a_description_that_is_none(
    aws_keys: None, table: dict[str, object]
) -> None:
    """What lacks the keys was not written by DynamoDB."""
    answer = reply(200, json.dumps({"Table": table}))
    async with CannedServer(reply(200, "{}"), answer) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url)
        with pytest.raises(BackendError) as caught:
            await backend.create()
        await backend.close()
    assert str(caught.value) == (
        "dynamodb: create failed: the answer is not one of DynamoDB: is something else at "
        f"{server.url}/?"
    )


@pytest.mark.anyio
async def test_create_leaves_the_ttl_of_somebody_else(aws_keys: None) -> None:
    """A table has one TTL attribute, and it may be in use."""
    other = {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    ttl = reply(200, json.dumps({"TimeToLiveDescription": other}))
    async with CannedServer(reply(200, "{}"), ACTIVE, ttl) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url)
        with pytest.raises(BackendError) as caught:
            await backend.create()
        await backend.close()
    assert str(caught.value) == (
        "dynamodb: create failed: the table's TTL is on another attribute than expires_at; "
        "turn it off"
    )


@pytest.mark.anyio
async def test_each_operation_is_one_request(ministack: ServerProcess, aws_keys: None) -> None:
    """The first as well as the later ones, all on one connection."""
    table = f"t-{uuid.uuid4().hex}"
    creator = DynamoDBBackend(table, endpoint_url=ministack.url)
    await creator.create()
    await creator.close()
    async with CountingProxy(ministack.port) as proxy:
        backend = DynamoDBBackend(table, endpoint_url=f"http://127.0.0.1:{proxy.port}")
        for _ in range(2):
            version = await backend.put("a", "v", FAR)
            assert proxy.turns == 1
            assert await backend.get("a")
            assert proxy.turns == 2
            assert await listed(backend) == ["a"]
            assert proxy.turns == 3
            proxy.turns = 2
            assert await backend.update("a", "w", FAR, version)
            assert proxy.turns == 3
            assert await backend.take("a")
            assert proxy.turns == 4
            assert await members(backend, "g") == []
            assert await backend.groups("a") == ()
            assert proxy.turns == 6
            assert proxy.connections == 1
            for position in (1, 2, 3):
                assert await backend.append("a", position, "v", FAR)
            assert await backend.journal("a") == ("v", "v", "v")
            assert proxy.turns == 10
            assert proxy.connections == 1
            await backend.drop_journal("a")
            proxy.connections, proxy.turns = 1, 0
        await backend.close()


SIGNED: dict[str, Callable[[Backend, str], Awaitable[object]]] = {
    "get": lambda backend, text: backend.get(text),
    "put": lambda backend, text: backend.put(text, text, FAR),
    "group_members": lambda backend, text: backend.group_members(text, after=text),
}


@pytest.mark.anyio
async def test_requests_are_signed_as_botocore_does(
    aws_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the very bytes that a server received, whatever the ids."""
    async with CannedServer(reply(200, '{"Items": []}')) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url, region_name="eu-west-1")
        for text in ODD_TEXTS:
            for doing in SIGNED.values():
                await doing(backend, text)
        await backend.close()
    assert len(server.requests) == len(ODD_TEXTS) * len(SIGNED)
    for request in server.requests:
        expected = by_botocore(monkeypatch, as_sent(request, server, "dynamodb"))
        assert expected["Authorization"] == request.headers["authorization"]


def as_sent(request: Request, server: CannedServer, service: str) -> dict[str, Any]:
    """Return what the signer has to sign, from what arrived."""
    ours = {"host", "authorization", "x-amz-date", "x-amz-content-sha256", "content-length"}
    date = request.headers["x-amz-date"]
    return {
        "method": request.method,
        "url": server.url + request.target,
        "headers": [(k, v) for k, v in request.headers.items() if k not in ours],
        "body": request.body,
        "credentials": ("testing", "testing-secret", None),
        "service": service,
        "region": "eu-west-1",
        "now": datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp(),
    }


@pytest.mark.anyio
async def test_the_groups_of_a_connection_are_read_to_the_end(aws_keys: None) -> None:
    """DynamoDB ends a page after 1 MB, and a page may be empty."""

    def page(names: str, last: str | None) -> bytes:
        answer: dict[str, object] = {"Items": [{"sk": {"S": name}} for name in names]}
        if last:
            answer["LastEvaluatedKey"] = {"pk": {"S": "groups#a"}, "sk": {"S": last}}
        return reply(200, json.dumps(answer))

    async with CannedServer(page("bc", "c"), page("", "d"), page("e", None)) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url)
        assert await backend.groups("a") == ("b", "c", "e")
        await backend.close()
    starts = [json.loads(request.body).get("ExclusiveStartKey") for request in server.requests]
    key = {"pk": {"S": "groups#a"}}
    assert starts == [None, key | {"sk": {"S": "c"}}, key | {"sk": {"S": "d"}}]


@pytest.mark.anyio
async def test_a_journal_is_read_and_dropped_to_the_end(aws_keys: None) -> None:
    """DynamoDB ends a page after 1 MB, and a page may be empty."""

    def page(positions: range, last: int | None) -> bytes:
        items = [{"sk": {"S": f"{n:010}"}, "value": {"S": f"of {n}"}} for n in positions]
        answer: dict[str, object] = {"Items": items}
        if last:
            answer["LastEvaluatedKey"] = key(last)
        return reply(200, json.dumps(answer))

    def key(position: int) -> dict[str, object]:
        return {"pk": {"S": "journal#a"}, "sk": {"S": f"{position:010}"}}

    pages = [page(range(8, 10), 9), page(range(0), 9_999), page(range(10, 51), None)]
    async with CannedServer(*pages) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url)
        assert await backend.journal("a", after=7) == tuple(f"of {n}" for n in range(8, 51))
        requests = [json.loads(request.body) for request in server.requests]
        assert [request["ExclusiveStartKey"] for request in requests] == [
            key(7),
            key(9),
            key(9_999),
        ]
        assert [request["ConsistentRead"] for request in requests] == [True] * 3
        del server.requests[:]
        deleted = reply(200, "{}")
        server.answers = [pages[0], deleted, deleted, pages[1], pages[2], deleted]
        await backend.drop_journal("a")
        keys = [json.loads(r.body)["Key"] for r in server.requests if b'"Key"' in r.body]
        assert sorted(keys, key=str) == [key(n) for n in range(8, 51)]
        await backend.close()


@pytest.mark.anyio
@pytest.mark.parametrize("position", ["", "a", "first"])
async def test_an_entry_of_somebody_else(aws_keys: None, position: str) -> None:
    """Its sort key is no position."""
    answer = {"Items": [{"sk": {"S": position}, "value": {"S": "v"}}]}
    async with CannedServer(reply(200, json.dumps(answer))) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url)
        with pytest.raises(BackendError, match="journal failed: the table table has an item that"):
            await backend.journal("a")
        await backend.close()


@pytest.mark.anyio
async def test_the_pages_of_a_journal_are_few(aws_keys: None, ministack: ServerProcess) -> None:
    """Two megabytes come in two or three answers."""
    table = f"t-{uuid.uuid4().hex}"
    creator = DynamoDBBackend(table, endpoint_url=ministack.url)
    await creator.create()
    for n in range(16):
        assert await creator.append("a", n + 1, "v" * 131_072, FAR)
    await creator.close()
    async with CountingProxy(ministack.port) as proxy:
        backend = DynamoDBBackend(table, endpoint_url=f"http://127.0.0.1:{proxy.port}")
        assert len(await backend.journal("a")) == 16
        assert 1 <= proxy.turns <= 3
        await backend.close()


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [{}, {"Items": None}, {"Items": [{}]}, {"Items": [[]]}])
async def test_a_page_without_sort_keys(aws_keys: None, answer: dict[str, object]) -> None:
    """It was not written by DynamoDB."""
    async with CannedServer(reply(200, json.dumps(answer))) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url)
        with pytest.raises(BackendError) as caught:
            await backend.group_members("g")
        await backend.close()
    assert str(caught.value) == (
        "dynamodb: group_members failed: the answer is not one of DynamoDB: is something else at "
        f"{server.url}/?"
    )


@pytest.mark.anyio
async def test_connections_are_read_to_the_end(aws_keys: None) -> None:
    """A page ends behind any item, also behind a membership, and may be empty."""
    ends = [("connection#b", "record"), ("groups#\N{SLICE OF PIZZA}", "é"), ("group#g", "record")]
    keys = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in ends]
    found = ["ab", "", "", "c"]
    pages = [{"Items": [{"pk": {"S": f"connection#{each}"}} for each in ids]} for ids in found]
    answers = [{**page, "LastEvaluatedKey": key} for page, key in zip(pages, keys, strict=False)]
    async with CannedServer(*(reply(200, json.dumps(a)) for a in (*answers, pages[-1]))) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url)
        assert await listed(backend, 2) == ["a", "b", "c"]
        await backend.close()
    requests = [json.loads(request.body) for request in server.requests]
    assert [request.get("ExclusiveStartKey") for request in requests] == [None, *keys]
    for request in requests:
        assert request["ConsistentRead"] is True
        assert request["Limit"] == 2


SCANNED = {"Items": [], "LastEvaluatedKey": {"pk": {"S": "group#g"}, "sk": {"S": "a"}}}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Items": [{"pk": {}}]},
        {"Items": [{"pk": {"S": 1}}]},
        {"Items": [], "LastEvaluatedKey": {"pk": {"S": "group#g"}}},
        SCANNED,
    ],
)
async def test_a_scan_that_is_none(aws_keys: None, answer: dict[str, object]) -> None:
    """It lacks keys, or ends where it began; DynamoDB does neither."""
    async with CannedServer(
        reply(200, json.dumps(SCANNED)), reply(200, json.dumps(answer))
    ) as server:
        backend = DynamoDBBackend("table", endpoint_url=server.url)
        page = await backend.connections()
        with pytest.raises(BackendError) as caught:
            await backend.connections(after=page.next)
        await backend.close()
    assert str(caught.value) == (
        "dynamodb: connections failed: the answer is not one of DynamoDB: is something else at "
        f"{server.url}/?"
    )


@pytest.mark.parametrize("after", ["", "a", "1", "[]", '["a", "b", "c"]'])
def test_an_after_of_something_else(after: str) -> None:
    """It is refused before anything is sent."""
    backend = DynamoDBBackend("table", region_name="eu-west-1")
    assert failure(backend.connections(after=after)) == (
        "dynamodb: connections failed: after: expected the `next` of another page"
    )


ARN = "arn:aws:dynamodb:us-west-2:123456789012:table/connections"


@pytest.mark.parametrize("region_name", [None, "us-west-2"])
def test_an_arn_has_the_region_in_it(
    region_name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's may be another one."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    backend = DynamoDBBackend(ARN, region_name=region_name)
    assert backend._url == "https://dynamodb.us-west-2.amazonaws.com/"


@pytest.mark.parametrize(("arn", "region_name"), [(ARN, "eu-west-1"), ("arn:table", None)])
def test_an_arn_and_a_region_that_do_not_fit(arn: str, region_name: str | None) -> None:
    """Neither is guessed to be the right one."""
    with pytest.raises(ConfigurationError, match="an ARN has the table's region in it"):
        DynamoDBBackend(arn, region_name=region_name)
