"""The S3 store keeps the contract, and what is its own."""

from __future__ import annotations

import asyncio
import shlex
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from longwire.cli.main import main
from longwire_backends.base import BackendError, ConfigurationError
from longwire_backends.s3 import backend as s3
from longwire_backends.s3 import bucket as s3_bucket
from longwire_backends.s3.backend import S3Backend
from longwire_backends.s3.keys import record_key
from tests.aws.test_sigv4 import by_botocore
from tests.backends.aws_canned import CannedServer, reply, xml_refusal
from tests.backends.contract import (
    ODD_TEXTS,
    BackendContract,
    Clock,
    OpenBackend,
    listed,
    members,
)
from tests.backends.test_dynamodb import SIGNED, as_sent, failure
from tests.servers.proxy import CountingProxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.servers.process import ServerProcess

FAR = 1 << 40


def new_bucket(server: ServerProcess) -> str:
    """Create an empty bucket and return its name."""
    name = f"b-{uuid.uuid4().hex}"
    asyncio.run(S3Backend(name, endpoint_url=server.url).create())
    return name


class TestS3Backend(BackendContract):
    """As two servers understand S3."""

    lists_expired = True
    tested_limit = 1000
    # Each append sends the whole of it.
    long_journal = 100

    @pytest.fixture
    def crowd(self, server: ServerProcess, request: pytest.FixtureRequest) -> int:
        """Fewer for moto, which takes milliseconds for each request."""
        return 200 if request.node.callspec.params["server"] == "moto" else 5_000

    @pytest.fixture
    def open_backend(self, server: ServerProcess, aws_keys: None) -> OpenBackend:
        """Open the same bucket each time."""
        bucket = new_bucket(server)
        return lambda clock: S3Backend(
            bucket, prefix="pre/fix", endpoint_url=server.url, clock=clock
        )


@pytest.fixture(params=["moto", "ministack"])
def server(request: pytest.FixtureRequest, aws_keys: None) -> ServerProcess:
    """Each of the two servers."""
    found: ServerProcess = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def boto3_client(server: ServerProcess) -> Iterator[Any]:
    """The client that AWS makes."""
    boto3 = pytest.importorskip("boto3")
    client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1")
    yield client
    client.close()


@pytest.mark.parametrize(
    "name",
    ["", "ab", "a" * 64, "Bucket", "a_b", "a/b", "a..b", "-ab", "ab.", "10.0.0.1", "a b", "abc\n"],
)
def test_a_name_that_no_bucket_can_have(name: str) -> None:
    """It is refused before anything is sent: it becomes a part of a host or a path."""
    with pytest.raises(ConfigurationError) as caught:
        S3Backend(name, region_name="eu-west-1")
    assert str(caught.value) == (
        "bucket: expected 3 to 63 small letters, digits, dots and hyphens, with a letter or digit "
        f"at both ends, and not an IP address, got {name!r}"
    )


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        ("..", "'.' and '..' mean nothing in S3, got '..'"),
        ("a/../b", "'.' and '..' mean nothing in S3, got 'a/../b'"),
        ("./a", "'.' and '..' mean nothing in S3, got './a'"),
        ("a\n", "expected no control characters, got 'a\\n'"),
        ("a\x00b", "expected no control characters, got 'a\\x00b'"),
        ("é" * 201, "expected at most 400 bytes"),
    ],
)
def test_a_prefix_that_means_nothing(prefix: str, text: str) -> None:
    """Whatever S3, its XML or a path on the way would not keep as it is."""
    with pytest.raises(ConfigurationError) as caught:
        S3Backend("bucket", prefix=prefix, region_name="eu-west-1")
    assert str(caught.value) == f"prefix: {text}"


HOSTILE = (
    "..",
    "../../x",
    "/",
    "//",
    ".",
    "%2e%2e",
    "%2e%2e%2fx",
    "!" + "0" * 64,
    "!",
    "~",
    "\x01\x7f",
    "\N{SLICE OF PIZZA}" * 256,
)


@pytest.mark.parametrize(
    ("prefix", "begin"),
    [("", ""), ("/a//b c/é+%2F&", "a/b c/é+%2F&/"), ("a..b", "a..b/")],
)
def test_no_key_leaves_the_prefix(
    server: ServerProcess, boto3_client: Any, prefix: str, begin: str
) -> None:
    """Each text is one part of a key, as boto3 sees it, and is read back from there."""
    bucket = new_bucket(server)
    backend = S3Backend(bucket, prefix=prefix, endpoint_url=server.url)

    async def scenario() -> None:
        for text in HOSTILE:
            await backend.put(text, f"of {text}", FAR)
            await backend.group_add(text, text, FAR)
        for text in HOSTILE:
            record = await backend.get(text)
            assert record is not None
            assert record.value == f"of {text}"
            assert await backend.groups(text) == (text,)
            assert await members(backend, text) == [text]
        assert sorted(await listed(backend, 5)) == sorted(HOSTILE)
        await backend.close()

    asyncio.run(scenario())
    keys = [entry["Key"] for entry in boto3_client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert len(keys) == 3 * len(HOSTILE)
    depths = {"connections": 2, "groups": 4, "memberships": 4}
    for key in keys:
        assert key.startswith(begin)
        assert len(key.encode()) <= 1024
        folder, *parts = key.removeprefix(begin).split("/")
        assert len(parts) == depths[folder] - 1
        assert not {"", ".", ".."}.intersection(parts)
    assert begin + "connections/%2E%2E%2F%2E%2E%2Fx" in keys
    assert begin + f"memberships/%252e%252e/%252e%252e/{FAR}" in keys


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_create_says_what_it_did(server: ServerProcess, boto3_client: Any, region: str) -> None:
    """The bucket is in the store's region; the second time it is there."""
    bucket = f"b-{uuid.uuid4().hex}"
    backend = S3Backend(bucket, endpoint_url=server.url, region_name=region)
    assert asyncio.run(backend.create()) == (f"created bucket {bucket} in {region}",)
    assert asyncio.run(backend.create()) == (f"bucket {bucket} is there already",)
    asyncio.run(backend.close())
    found = boto3_client.get_bucket_location(Bucket=bucket)["LocationConstraint"]
    assert (found or "us-east-1") == region


@pytest.mark.parametrize(
    ("region", "body"),
    [
        ("us-east-1", b""),
        (
            "eu-west-1",
            b'<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            b"<LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>",
        ),
    ],
)
@pytest.mark.anyio
async def test_create_sends_the_region(aws_keys: None, region: str, body: bytes) -> None:
    """Except for the oldest one, which has no name there; a lost answer does no harm."""
    missing = xml_refusal("NoSuchBucket", "The specified bucket does not exist", 404)
    ours = xml_refusal("BucketAlreadyOwnedByYou", "Your previous request succeeded", 409)
    async with CannedServer(missing, reply(500), ours) as server:
        backend = S3Backend("bucket", endpoint_url=server.url, region_name=region)
        assert await backend.create() == (f"created bucket bucket in {region}",)
        await backend.close()
    assert [(r.method, r.target, r.body) for r in server.requests] == [
        ("GET", "/bucket/?list-type=2&max-keys=1", b""),
        ("PUT", "/bucket/", body),
        ("PUT", "/bucket/", body),
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answers", "detail"),
    [
        ([xml_refusal("AccessDenied", "Access Denied", 403)], "AccessDenied: Access Denied; the"),
        (
            [xml_refusal("ExpiredToken", "The provided token has expired.")],
            "ExpiredToken: The provided token has expired.; these AWS keys have expired",
        ),
        (
            [
                xml_refusal("NoSuchBucket", "", 404),
                xml_refusal("BucketAlreadyExists", "The requested bucket name is not", 409),
            ],
            "BucketAlreadyExists: The requested bucket name is not",
        ),
        ([reply(404, "<html/>")], "status 404, not in the form of AWS; check endpoint_url"),
    ],
)
async def test_create_that_is_refused(aws_keys: None, answers: list[bytes], detail: str) -> None:
    """The service's reason is in the error: it is asked in a way that has an answer with words."""
    async with CannedServer(*answers) as server:
        backend = S3Backend("bucket", endpoint_url=server.url)
        with pytest.raises(BackendError) as caught:
            await backend.create()
        await backend.close()
    assert str(caught.value).startswith(f"s3: create failed: {detail}")


def test_the_command_of_the_error_creates_the_bucket(
    server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a missing bucket's error says to do is enough."""
    bucket = f"b-{uuid.uuid4().hex}"
    backend = S3Backend(bucket, endpoint_url=server.url, region_name="eu-west-1")
    start = f"there is no bucket {bucket}; create it with: longwire "
    operations = {
        "get": backend.get("a"),
        "put": backend.put("a", "v", FAR),
        "take": backend.take("a"),
        "update": backend.update("a", "v", FAR, f'"etag" {FAR}'),
        "group_members": backend.group_members("g"),
    }
    for operation, doing in operations.items():
        text = failure(doing)
        assert text.startswith(f"s3: {operation} failed: {start}")
    assert main(shlex.split(text.partition("longwire ")[2])) == 0
    assert capsys.readouterr().out == f"created bucket {bucket} in eu-west-1\n"
    assert asyncio.run(backend.get("a")) is None
    asyncio.run(backend.close())


@pytest.mark.anyio
async def test_each_operation_is_one_request(ministack: ServerProcess, aws_keys: None) -> None:
    """Only a take is three; the first as well as the later ones, all on one connection."""
    bucket = f"b-{uuid.uuid4().hex}"
    creator = S3Backend(bucket, endpoint_url=ministack.url)
    await creator.create()
    await creator.close()
    async with CountingProxy(ministack.port) as proxy:
        backend = S3Backend(bucket, endpoint_url=f"http://127.0.0.1:{proxy.port}")
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
            assert proxy.turns == 6
            assert await members(backend, "g") == []
            assert await backend.groups("a") == ()
            assert proxy.turns == 8
            # The first append has to read; the others know what they have written.
            for position in (1, 2, 3):
                assert await backend.append("a", position, "v", FAR)
            assert proxy.turns == 12
            assert await backend.journal("a") == ("v", "v", "v")
            assert await backend.append("a", 4, "v", FAR)
            assert proxy.turns == 14
            assert await backend.append("a", 4, "v", FAR) is False
            await backend.drop_journal("a")
            assert proxy.turns == 16
            assert await backend.journal("a") == ()
            assert await backend.append("a", 1, "v", FAR)
            await backend.drop_journal("a")
            assert proxy.turns == 19
            assert proxy.connections == 1
            proxy.turns = 0
        await backend.close()


@pytest.mark.anyio
async def test_requests_are_signed_as_botocore_does(
    aws_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the very targets that a server received, whatever the ids and the prefix."""
    listing = reply(200, "<ListBucketResult/>", {"ETag": '"e"'})
    async with CannedServer(listing) as server:
        backend = S3Backend(
            "bucket", prefix="a b/é+%2F&~*", endpoint_url=server.url, region_name="eu-west-1"
        )
        for text in (*ODD_TEXTS, *HOSTILE):
            for doing in ("put", "group_members"):
                await SIGNED[doing](backend, text)
            await backend.update(text, "v", FAR, f'"e" {FAR}')
        await backend.close()
    assert len(server.requests) == len((*ODD_TEXTS, *HOSTILE)) * 3
    for request in server.requests:
        expected = by_botocore(monkeypatch, as_sent(request, server, "s3"))
        assert expected["Authorization"] == request.headers["authorization"]


def test_a_member_with_two_expiries_is_not_lost_between_pages(
    server: ServerProcess, boto3_client: Any
) -> None:
    """As a process leaves it that ends in the middle of moving an expiry."""
    bucket, clock = new_bucket(server), Clock()
    backend = S3Backend(bucket, endpoint_url=server.url, clock=clock)
    for expires_at in (clock.now - 1, clock.now, clock.now + 1, clock.now + 2):
        boto3_client.put_object(Bucket=bucket, Key=f"groups/g/a/{expires_at}", Body=b"a")

    async def scenario() -> None:
        await backend.group_add("g", "b", FAR)
        for limit in range(1, 7):
            assert await members(backend, "g", limit) == ["a", "b"]
        await backend.close()

    asyncio.run(scenario())


def test_a_member_that_does_not_know_of_it_can_leave(
    server: ServerProcess, boto3_client: Any
) -> None:
    """As it is where one process discards while another is half way through adding."""
    bucket = new_bucket(server)
    backend = S3Backend(bucket, endpoint_url=server.url)

    async def scenario() -> None:
        await backend.group_add("g", "a", FAR)
        await backend.group_add("g", "b", FAR)
        await asyncio.to_thread(
            boto3_client.delete_object, Bucket=bucket, Key=f"memberships/a/g/{FAR}"
        )
        assert await backend.groups("a") == ()
        await backend.group_add("g", "a", FAR + 1)
        await backend.group_discard("g", "a")
        assert await members(backend, "g") == ["b"]
        await backend.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("key", "operation"),
    [
        ("groups/g/note.txt", "group_members"),
        ("memberships/a/g/note.txt", "groups"),
        ("memberships/a/g/note.txt", "group_add"),
        ("memberships/a/g/note.txt", "group_discard"),
        ("groups/g/note.txt", "sweep"),
        ("connections/note.txt", "connections"),
        ("connections/%FF", "connections"),
        ("connections/a/b", "connections"),
        ("connections/!note", "connections"),
    ],
)
def test_a_key_that_is_not_ours(
    server: ServerProcess, boto3_client: Any, key: str, operation: str
) -> None:
    """It is named, and left alone."""
    bucket = new_bucket(server)
    boto3_client.put_object(Bucket=bucket, Key=f"pre/{key}", Body=b"secret")
    backend = S3Backend(bucket, prefix="pre", endpoint_url=server.url)
    doing: dict[str, Callable[[str], Awaitable[object]]] = {
        "group_members": backend.group_members,
        "groups": lambda _: backend.groups("a"),
        "group_add": lambda group: backend.group_add(group, "a", FAR),
        "group_discard": lambda group: backend.group_discard(group, "a"),
        "sweep": lambda _: backend.sweep(),
        "connections": lambda _: backend.connections(),
    }
    assert failure(doing[operation]("g")) == (
        f"s3: {operation} failed: the object pre/{key} is not one of Longwire's; "
        "give another prefix"
    )
    asyncio.run(backend.close())
    body = boto3_client.get_object(Bucket=bucket, Key=f"pre/{key}")["Body"]
    assert body.read() == b"secret"
    body.close()


def test_listings_that_go_on(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of a connection, discards and sweeps read all pages of S3's listings."""
    monkeypatch.setattr(s3_bucket, "_LIST_LIMIT", 2)
    monkeypatch.setattr(s3, "_SWEEP_WIDTH", 3)
    bucket, clock = new_bucket(server), Clock()
    backend = S3Backend(bucket, endpoint_url=server.url, clock=clock)
    groups = ("a", "a b", "b", "b" * 1024, "c")

    async def scenario() -> None:
        for group in groups:
            await backend.group_add(group, "x", clock.now + 60)
            await backend.put(group, "v", clock.now + 60)
        await backend.put("alive", "v", clock.now + 61)
        assert sorted(await listed(backend)) == ["a", "a b", "alive", "b", "b" * 1024, "c"]
        assert await backend.groups("x") == groups
        await backend.group_discard("b", "x")
        assert await backend.groups("x") == ("a", "a b", "b" * 1024, "c")
        clock.now += 60
        assert await backend.sweep() == 9
        assert await backend.sweep() == 0
        assert await backend.get("alive")
        await backend.close()

    asyncio.run(scenario())


def test_a_sweep_leaves_the_records_of_others(server: ServerProcess, boto3_client: Any) -> None:
    """It stops at an object that is not ours, and names it."""
    bucket = new_bucket(server)
    boto3_client.put_object(Bucket=bucket, Key="connections/note.txt", Body=b"secret")
    backend = S3Backend(bucket, endpoint_url=server.url)
    assert failure(backend.sweep()) == (
        "s3: sweep failed: the object connections/note.txt is not one of Longwire's; "
        "give another prefix"
    )
    asyncio.run(backend.close())


LONG = "x" * 1024
LONG_KEY = record_key(LONG)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "ids"),
    [
        (reply(200, f"{FAR} nonce {LONG}\nv"), (LONG,)),
        (reply(200, f"0 nonce {LONG}\n"), ()),
        (xml_refusal("NoSuchKey", "The specified key does not exist.", 404), ()),
    ],
    ids=["there", "just taken", "just deleted"],
)
async def test_a_long_id_is_in_the_body(
    aws_keys: None, answer: bytes, ids: tuple[str, ...]
) -> None:
    """Which is read; meanwhile somebody may have taken the record."""
    listing = f"<ListBucketResult><Contents><Key>{LONG_KEY}</Key></Contents></ListBucketResult>"
    async with CannedServer(reply(200, listing), answer) as server:
        backend = S3Backend("bucket", endpoint_url=server.url)
        assert await backend.connections() == (ids, None)
        await backend.close()


@pytest.mark.anyio
@pytest.mark.parametrize("body", ["", "x", f"{FAR} nonce", f"{FAR} nonce y", f"{FAR} nonce %FF"])
async def test_a_body_without_the_long_id_of_its_key(aws_keys: None, body: str) -> None:
    """It was not written by this store."""
    listing = f"<ListBucketResult><Contents><Key>{LONG_KEY}</Key></Contents></ListBucketResult>"
    async with CannedServer(reply(200, listing), reply(200, body)) as server:
        backend = S3Backend("bucket", endpoint_url=server.url)
        with pytest.raises(BackendError) as caught:
            await backend.connections()
        await backend.close()
    assert str(caught.value) == (
        f"s3: connections failed: the object {LONG_KEY} is not one of Longwire's; give another "
        "prefix"
    )
    assert caught.value.__cause__ is None


@pytest.mark.anyio
async def test_text_that_is_no_unicode_is_kept(ministack: ServerProcess, aws_keys: None) -> None:
    """A lone surrogate, short enough for a key and too long for one."""
    backend = S3Backend(f"b-{uuid.uuid4().hex}", endpoint_url=ministack.url)
    await backend.create()
    for text in ("\ud800", "\ud800" * 400):
        await backend.put(text, text, FAR)
        assert await listed(backend) == [text]
        record = await backend.take(text)
        assert record is not None
        assert record.value == text
        await backend.group_add(text, text, FAR)
        assert await members(backend, text) == [text]
        assert await backend.groups(text) == (text,)
    await backend.close()
