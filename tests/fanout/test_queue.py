"""Parts of a big fan-out: their form, their way through SQS, and what SQS says when it does not."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwire.apigateway.events import is_queue_event
from longwire.apigateway.frames import MAX_MESSAGE
from longwire.exceptions import ConfigurationError, EventError, QueueError
from longwire.fanout.parts import (
    BATCH,
    MEMBERS,
    MESSAGE_LIMIT,
    Message,
    Part,
    batches,
    dumps,
    failures,
    loads,
    messages,
    split,
)
from longwire.fanout.queue import Queue, Sent
from longwire_aws.http import HTTPClient
from tests.backends.aws_canned import CannedServer, Request, hold, json_refusal, lose, reply
from tests.servers.process import free_port
from tests.servers.sqs import REGION, EventSourceMapping, failed_ids

if TYPE_CHECKING:
    from collections.abc import Callable

ENDPOINT = "https://abc123.execute-api.eu-west-1.amazonaws.com/prod"
ODD_IDS = ["QWErT_fALIAMCug=", "\x00", "\x7f\ufffe", 'quote"\\', "é€😀", "\ud800", "x" * 1024]
PART = Part("id1", ENDPOINT, b"hello", ("a", "b"))
SECRET = "hush"

texts = st.text(st.characters(), min_size=1, max_size=60)


def counter() -> Callable[[], str]:
    """Make part ids that a test can foresee."""
    numbers = itertools.count()
    return lambda: f"part{next(numbers)}"


# --- parts ----------------------------------------------------------------------------------------


@given(data=st.binary(max_size=300), ids=st.lists(texts, max_size=5))
def test_a_part_is_read_as_it_was_written(data: bytes, ids: list[str]) -> None:
    """In ASCII, since SQS refuses some of the other characters."""
    part = Part("id1", ENDPOINT, data, tuple(ids))
    body = dumps(part)
    assert loads(body) == part
    assert body.isascii()
    assert body.isprintable()


def test_the_form_of_a_part_stays() -> None:
    """A function of tomorrow reads what one of today has queued."""
    assert dumps(PART) == (
        '{"longwire":1,"id":"id1","endpoint":"https://abc123.execute-api.eu-west-1.amazonaws.com'
        '/prod","data":"aGVsbG8=","connections":["a","b"]}'
    )


SNS = json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:x", "Message": dumps(PART)})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "foreign"),
        ("{", "foreign"),
        ("null", "foreign"),
        ("[1]", "foreign"),
        ('{"id":"x"}', "foreign"),
        ("[" * 100_000, "foreign"),
        (SNS, "one that SNS sent"),
        ('{"longwire":2}', "another version of Longwire's parts (2, expected 1)"),
        ('{"longwire":true}', "another version"),
        ('{"longwire":"' + "1" * 999 + '"}', "another version of Longwire's parts ('1111111111"),
        ('{"longwire":1}', "damaged"),
    ],
)
def test_what_is_no_part_is_refused(text: str, said: str) -> None:
    """With the reason, and without the whole text."""
    with pytest.raises(EventError) as caught:
        loads(text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", 7),
        ("endpoint", None),
        ("endpoint", "file:///etc/passwd"),
        ("endpoint", "https://user:secret@host"),
        ("data", None),
        ("data", "aGVsbG8"),
        ("data", "é"),
        ("connections", "abc"),
        ("connections", {"a": 1}),
        ("connections", ["a", 1]),
    ],
)
def test_a_damaged_part_is_refused(name: str, value: object) -> None:
    """Whichever of its fields it is."""
    with pytest.raises(EventError, match="damaged"):
        loads(json.dumps({**json.loads(dumps(PART)), name: value}))


@settings(max_examples=40)
@given(
    ids=st.lists(texts, max_size=30),
    times=st.sampled_from([1, 7, 100]),
    size=st.sampled_from([0, 1, 1000, MAX_MESSAGE - 1, MAX_MESSAGE]),
)
def test_parts_keep_the_limits_and_every_id(ids: list[str], times: int, size: int) -> None:
    """Each id once and in order; and no part is smaller than it must be."""
    ids = ids * times
    parts = list(split(ENDPOINT, bytes(size), ids, new_id=counter()))
    assert [each for part in parts for each in part.connection_ids] == ids
    assert [part.part_id for part in parts] == [f"part{n}" for n in range(len(parts))]
    for part, following in itertools.pairwise([*parts, None]):
        assert part is not None
        assert 1 <= len(part.connection_ids) <= MEMBERS
        assert len(dumps(part)) <= MESSAGE_LIMIT
        if following is not None and len(part.connection_ids) < MEMBERS:
            more = part._replace(connection_ids=(*part.connection_ids, following.connection_ids[0]))
            # One comma too many is counted.
            assert len(dumps(more)) >= MESSAGE_LIMIT


def test_long_ids_make_more_parts() -> None:
    """The limit of a message counts before that of members."""
    ids = [f"{number:04}" + "\x01" * 1020 for number in range(100)]
    parts = list(split(ENDPOINT, bytes(MAX_MESSAGE), ids, new_id=counter()))
    assert len(parts) == 8
    assert [each for part in parts for each in part.connection_ids] == ids


def test_parts_are_made_only_when_they_are_asked_for() -> None:
    """A group need not fit in memory."""
    ids = (str(number) for number in itertools.count())
    assert len(next(split(ENDPOINT, b"x", ids, new_id=counter())).connection_ids) == MEMBERS


@pytest.mark.parametrize(
    ("endpoint", "data"),
    [(ENDPOINT, bytes(MAX_MESSAGE + 1)), ("https://host/" + "x" * MESSAGE_LIMIT, b"")],
)
def test_what_fits_no_message_is_an_error(endpoint: str, data: bytes) -> None:
    """Before anything is queued."""
    with pytest.raises(ValueError, match=r"over the limit|too long"):
        list(split(endpoint, data, ["a"], new_id=counter()))


@given(sizes=st.lists(st.integers(1, MESSAGE_LIMIT), max_size=40), small=st.booleans())
def test_batches_keep_the_limits_and_every_body(sizes: list[int], small: bool) -> None:
    """In order; two neighbours would not fit into one batch."""
    bodies = ["x" * (size // 1000 if small else size) for size in sizes]
    packed = list(batches(bodies))
    assert [body for batch in packed for body in batch] == bodies
    for batch in packed:
        assert 1 <= len(batch) <= BATCH
        assert sum(map(len, batch)) <= MESSAGE_LIMIT
    for batch, following in itertools.pairwise(packed):
        total = sum(map(len, batch)) + len(following[0])
        assert len(batch) == BATCH or total > MESSAGE_LIMIT


# --- events ---------------------------------------------------------------------------------------

# From https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
EVENT: dict[str, Any] = {
    "Records": [
        {
            "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
            "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
            "body": "Test message.",
            "attributes": {
                "ApproximateReceiveCount": "2",
                "SentTimestamp": "1545082649183",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1545082649185",
            },
            "messageAttributes": {},
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
            "awsRegion": "us-east-2",
        }
    ]
}


def test_an_event_of_a_queue_is_read() -> None:
    """As AWS documents it."""
    assert is_queue_event(EVENT)
    assert messages(EVENT) == [Message("059f36b4-87a3-44ab-83d2-661975830a7d", "Test message.")]


@pytest.mark.parametrize("attributes", [None, {}, {"ApproximateReceiveCount": "x"}, "x"])
def test_a_record_may_lack_its_attributes(attributes: object) -> None:
    """Tests of one's own often leave them out."""
    record = {"messageId": "1", "body": "b", "eventSource": "aws:sqs", "attributes": attributes}
    assert messages({"Records": [record]}) == [Message("1", "b")]


@pytest.mark.parametrize("record", [None, {"messageId": "1"}, {"body": "b"}, {"messageId": 1}])
def test_a_record_without_id_or_body_is_refused(record: object) -> None:
    """Lambda would take an empty id for a failure of all."""
    with pytest.raises(EventError, match="no messageId or no body"):
        messages({"Records": [record]})


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        {},
        {"Records": None},
        {"Records": []},
        {"Records": [None]},
        {"Records": [{"EventSource": "aws:sns"}]},
        {"Records": [{"eventSource": "aws:s3"}]},
        {"requestContext": {"eventType": "CONNECT"}},
    ],
)
def test_other_events_are_not_of_a_queue(event: object) -> None:
    """S3 and SNS have records, too."""
    assert not is_queue_event(event)


def test_failures_are_what_lambda_reads() -> None:
    """None is an empty list."""
    assert failures(["a", "b"]) == {
        "batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]
    }
    assert failures([]) == {"batchItemFailures": []}
    assert failed_ids(failures(["a"]), {"a", "b"}) == {"a"}


# --- the queue: configuration ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("SQS.eu-west-1.amazonaws.com", "eu-west-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sqs.eu-west-1.api.aws", "eu-west-1"),
        ("vpce-0a1b-2c3d.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ("eu-west-1.queue.amazonaws.com", "eu-west-1"),
        ("sqs.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("sqs.eusc-de-east-1.api.amazonwebservices.eu", "eusc-de-east-1"),
        ("sqs.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        ("us-isob-east-1.queue.sc2s.sgov.gov", "us-isob-east-1"),
        ("sqs.eu-west-1.amazonaws.eu", "ap-south-1"),
        ("sqs.s3.amazonaws.com", "ap-south-1"),
        ("sqs.eu-west-1.amazonaws.com.example.com", "ap-south-1"),
        ("127.0.0.1:4566", "ap-south-1"),
        ("example.com", "ap-south-1"),
    ],
)
def test_the_region_is_the_hosts(monkeypatch: pytest.MonkeyPatch, host: str, region: str) -> None:
    """Then the one in the environment; but first the one that is given."""
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    assert Queue(f"https://{host}/123456789012/name").region == region
    assert Queue(f"https://{host}/1/name", region_name="sa-east-1").region == "sa-east-1"


@pytest.mark.parametrize(
    "queue_url",
    ["", "name", "arn:aws:sqs:eu-west-1:1:name", "https://host", "https://u:hush@host/1/name"],
)
def test_a_url_that_is_none_is_refused(queue_url: str) -> None:
    """It is not shown."""
    with pytest.raises(ConfigurationError, match="queue_url: expected a URL such as") as caught:
        Queue(queue_url)
    assert SECRET not in str(caught.value)


def test_a_fifo_queue_is_refused() -> None:
    """It would take none of the parts."""
    with pytest.raises(ConfigurationError, match=r"queue_url: .* a standard queue.*MessageGroupId"):
        Queue("https://sqs.eu-west-1.amazonaws.com/123456789012/name.fifo")


def test_a_region_that_is_none_is_refused() -> None:
    """It becomes a part of a signature."""
    with pytest.raises(ConfigurationError, match="not a region"):
        Queue("http://localhost/1/name", region_name="Ireland")


def test_importing_it_loads_no_sdk() -> None:
    """A cold start pays for it."""
    script = "import longwire.fanout.queue, sys; print(*sys.modules)"
    # Measuring coverage would load more.
    environ = {name: value for name, value in os.environ.items() if "COV" not in name}
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    assert {"boto3", "botocore", "email", "xml"}.isdisjoint(run.stdout.split())


# --- the queue: emulators -------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["moto", "ministack"])
def server_url(request: pytest.FixtureRequest) -> str:
    """Each of two servers."""
    url: str = request.getfixturevalue(request.param).url
    return url


def by(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


async def send_all(queue: Queue, bodies: list[str]) -> None:
    """Send them, and find them queued."""
    for batch in batches(bodies):
        assert await queue.send(batch, deadline=by()) == Sent(tuple(range(len(batch))), {})


@pytest.mark.anyio
async def test_parts_arrive_complete_and_unchanged(aws_keys: None, server_url: str) -> None:
    """Big, small and odd ones."""
    large = split(ENDPOINT, bytes(MAX_MESSAGE), ODD_IDS * 1500, new_id=counter())
    parts = [
        part._replace(part_id=f"large{n}") for n, part in enumerate(itertools.islice(large, 5))
    ]
    parts += split(ENDPOINT, bytes(range(256)), map(str, range(20_000)), new_id=counter())
    assert len(parts) == 25
    mapping = EventSourceMapping(server_url, concurrency=3)
    queue = Queue(mapping.queue_url, region_name=REGION)
    await send_all(queue, [dumps(part) for part in parts])
    arrived: list[Part] = []

    async def handler(event: dict[str, Any]) -> object:
        assert is_queue_event(event)
        arrived.extend(loads(message.body) for message in messages(event))
        return failures([])

    await mapping.run_until_empty(handler)
    assert sorted(set(arrived)) == sorted(parts)  # SQS may hand one out twice
    assert await mapping.run_until_empty(handler) == 0
    await queue.close()
    mapping.close()


@pytest.mark.anyio
async def test_what_a_handler_reports_comes_again(aws_keys: None, server_url: str) -> None:
    """And only that, until it is a dead letter."""
    mapping = EventSourceMapping(server_url, max_receives=3)
    queue = Queue(mapping.queue_url, region_name=REGION)
    bodies = [dumps(PART._replace(part_id=name)) for name in ("good", "late", "bad")]
    await send_all(queue, bodies)
    seen: list[tuple[str, int]] = []

    async def handler(event: dict[str, Any]) -> object:
        failed = []
        for message in messages(event):
            part_id = loads(message.body).part_id
            seen.append((part_id, 1 + sum(part_id == one for one, _ in seen)))
            if part_id == "bad" or seen[-1] == ("late", 1):
                failed.append(message.message_id)
        return failures(failed)

    await mapping.run_until_empty(handler)
    assert sorted(part for part in seen if part[0] != "bad") == [
        ("good", 1),
        ("late", 1),
        ("late", 2),
    ]
    assert [count for name, count in seen if name == "bad"] == [1, 2, 3]
    assert await mapping.dead_letters() == [bodies[2]]
    await queue.close()
    mapping.close()


@pytest.mark.anyio
async def test_a_queue_that_does_not_exist_is_named(aws_keys: None, server_url: str) -> None:
    """With what to do."""
    queue = Queue(f"{server_url}/123456789012/nowhere")
    sent = await queue.send([dumps(PART), dumps(PART)], deadline=by())
    error = only(sent)
    assert set(sent.errors) == {0, 1}
    assert str(error).startswith(f"SQS queue {queue.queue_url}: ")
    assert "no such queue in eu-west-1: create it, or correct queue_url" in str(error)
    assert error.queue_url == queue.queue_url
    assert not error.unsure
    await queue.close()


@pytest.mark.anyio
async def test_a_queue_of_another_region_is_not_found(aws_keys: None, server_url: str) -> None:
    """The signature says which region is meant."""
    mapping = EventSourceMapping(server_url)
    queue = Queue(mapping.queue_url, region_name="eu-central-1")
    error = only(await queue.send([dumps(PART)], deadline=by()))
    assert "no such queue in eu-central-1: " in str(error)
    await queue.close()
    mapping.close()


@pytest.mark.anyio
async def test_the_limit_of_a_message_is_exact(aws_keys: None, server_url: str) -> None:
    """For a queue with the limit of old."""
    mapping = EventSourceMapping(server_url)
    queue = Queue(mapping.queue_url, region_name=REGION)
    assert (await queue.send(["x" * MESSAGE_LIMIT], deadline=by())).queued == (0,)
    error = only(await queue.send(["x" * (MESSAGE_LIMIT + 1)], deadline=by()))
    assert "Message must be shorter than 262144 bytes" in str(error)
    assert not error.unsure
    await queue.close()
    mapping.close()


# --- the queue: what servers do seldom ------------------------------------------------------------


@pytest.fixture(autouse=True)
def _secrets(aws_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have keys that can be recognised."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SECRET}-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"{SECRET}-token")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


def answer(queued: str, *failed: tuple[str, str, bool]) -> bytes:
    """Make SQS's answer: ids of one character each, and (id, code, whether it is our fault)."""
    return reply(
        200,
        json.dumps(
            {
                "Successful": [{"Id": id_, "MessageId": "m"} for id_ in queued],
                "Failed": [
                    {"Id": id_, "Code": code, "Message": "said", "SenderFault": ours}
                    for id_, code, ours in failed
                ],
            }
        ),
    )


def ids(request: Request) -> str:
    """Return the ids of a request's entries, one character each."""
    return "".join([entry["Id"] for entry in json.loads(request.body)["Entries"]])


async def ask(server: CannedServer, *, count: int = 3, timeout: float = 20.0) -> Sent:
    """Send parts to it; none of the errors has a secret in it."""
    queue = Queue(f"{server.url}/123456789012/name", random=lambda: 0.0)
    bodies = [dumps(PART._replace(part_id=f"p{number}")) for number in range(count)]
    sent = await queue.send(bodies, deadline=by(timeout))
    await queue.close()
    for failure in sent.errors.values():
        error: BaseException | None = failure
        while error is not None:
            assert SECRET not in f"{error} {error!r} {error.args}"
            error = error.__cause__ or error.__context__
    return sent


def only(sent: Sent) -> QueueError:
    """Return the error that all of the bodies had."""
    assert sent.queued == ()
    assert len({str(error) for error in sent.errors.values()}) == 1
    return sent.errors[0]


@pytest.mark.anyio
async def test_a_request_is_one_signed_json_call() -> None:
    """For the service, the region and the queue."""
    async with CannedServer(answer("012")) as server:
        assert await ask(server) == Sent((0, 1, 2), {})
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/")
    assert request.headers["x-amz-target"] == "AmazonSQS.SendMessageBatch"
    assert request.headers["content-type"] == "application/x-amz-json-1.0"
    assert "/eu-west-1/sqs/aws4_request" in request.headers["authorization"]
    body = json.loads(request.body)
    assert body["QueueUrl"] == f"{server.url}/123456789012/name"
    assert body["Entries"][1] == {"Id": "1", "MessageBody": dumps(PART._replace(part_id="p1"))}


@pytest.mark.anyio
async def test_queues_may_share_a_client() -> None:
    """It stays open when a queue is closed."""
    http = HTTPClient()
    async with CannedServer(answer("0")) as server:
        for name in ("one", "two"):
            queue = Queue(f"{server.url}/123456789012/{name}", http=http)
            assert (await queue.send([dumps(PART)], deadline=by())).queued == (0,)
            await queue.close()
        await http.close()
    assert server.connections == 1


@pytest.mark.anyio
async def test_nothing_is_no_request() -> None:
    """An empty group has no parts."""
    async with CannedServer(answer("")) as server:
        assert await ask(server, count=0) == Sent((), {})
    assert server.requests == []


@pytest.mark.anyio
async def test_an_emulator_needs_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks for them, and nothing is signed."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    async with CannedServer(answer("0")) as server:
        assert (await ask(server, count=1)).queued == (0,)
    assert "authorization" not in server.requests[0].headers


@pytest.mark.anyio
async def test_half_of_a_key_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS itself is always signed for."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    queue = Queue("https://127.0.0.1:1/123456789012/name")
    error = only(await queue.send([dumps(PART)], deadline=by()))
    assert "AWS_SECRET_ACCESS_KEY" in str(error)
    assert not error.unsure
    assert SECRET not in str(error)


@pytest.mark.anyio
async def test_what_sqs_failed_to_take_is_sent_again() -> None:
    """Only that; and what was the sender's fault is an error."""
    first = answer("0", ("1", "InternalError", False), ("2", "InvalidMessageContents", True))
    async with CannedServer(first, answer("1")) as server:
        sent = await ask(server)
    assert [ids(request) for request in server.requests] == ["012", "1"]
    assert sent.queued == (0, 1)
    assert str(sent.errors[2]).endswith("/name: InvalidMessageContents: said")
    assert not sent.errors[2].unsure


@pytest.mark.anyio
async def test_what_sqs_cannot_take_in_time_is_an_error() -> None:
    """The deadline is the end of it."""
    async with CannedServer(answer("01", ("2", "ServiceUnavailable", False))) as server:
        sent = await ask(server, timeout=1.0)
    assert len(server.requests) > 1
    # A server that always says that it has the other two does not confuse.
    assert sent.queued == (0, 1)
    assert "ServiceUnavailable: said" in str(sent.errors[2])


@pytest.mark.anyio
async def test_a_pause_that_takes_too_long_does_not_hide_what_sqs_said() -> None:
    """As on a busy machine, or in a process that was frozen meanwhile."""
    loop, deadline = asyncio.get_running_loop(), by(2.0)

    def pause_for_all_that_is_left() -> float:
        loop.call_soon(lambda: time.sleep(max(0.0, deadline - time.monotonic())))
        return 0.0

    async with CannedServer(answer("", ("0", "ServiceUnavailable", False))) as server:
        queue = Queue(f"{server.url}/123456789012/name", random=pause_for_all_that_is_left)
        sent = await queue.send([dumps(PART)], deadline=deadline)
        await queue.close()
    assert "ServiceUnavailable: said" in str(sent.errors[0])
    assert len(server.requests) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "throttled",
    [
        json_refusal("ThrottlingException", "Rate exceeded"),
        json_refusal("ThrottlingException", "Rate exceeded", 503),
        json_refusal("RequestThrottled", "Rate exceeded"),
        json_refusal("AWS.SimpleQueueService.RequestThrottled", "Rate exceeded"),
        json_refusal("KmsThrottled", "Rate exceeded"),
        reply(429),
        answer("", ("0", "RequestThrottled", True)),
    ],
)
async def test_a_queue_that_is_too_busy_is_asked_again(throttled: bytes) -> None:
    """It took nothing."""
    async with CannedServer(throttled, throttled, answer("0")) as server:
        assert (await ask(server, count=1)).queued == (0,)
    assert len(server.requests) == 3


@pytest.mark.anyio
async def test_a_queue_that_stays_too_busy_is_an_error() -> None:
    """In time."""
    started = time.monotonic()
    async with CannedServer(json_refusal("RequestThrottled", "Rate exceeded")) as server:
        error = only(await ask(server, timeout=0.3))
    assert "RequestThrottled: Rate exceeded" in str(error)
    assert not error.unsure
    assert time.monotonic() - started < 2


DENIED = "User: arn:aws:iam::1:user/x is not authorized to perform: sqs:sendmessage"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            json_refusal("QueueDoesNotExist", "no"),
            "no such queue in eu-west-1: create it, or correct",
        ),
        (
            json_refusal("AWS.SimpleQueueService.NonExistentQueue", "no"),
            "no such queue in eu-west-1: create it, or correct",
        ),
        (json_refusal("InvalidAddress", "no"), "correct queue_url"),
        (json_refusal("AccessDenied", DENIED, 403), "permission sqs:SendMessage"),
        (json_refusal("AccessDeniedException", DENIED), "permission sqs:SendMessage"),
        (json_refusal("KmsAccessDenied", "no"), "kms:GenerateDataKey"),
        (json_refusal("InvalidClientTokenId", "no", 403), "AWS does not know these keys"),
        (json_refusal("SignatureDoesNotMatch", "no", 403), "or the region is wrong"),
        (json_refusal("InvalidSecurity", "no"), "InvalidSecurity: no"),
        (reply(404, "<html>no</html>"), "status 404, not in the form of SQS"),
    ],
)
async def test_a_refusal_says_what_to_do(refusal: bytes, said: str) -> None:
    """Nothing was queued, and asking again would not help."""
    async with CannedServer(refusal) as server:
        error = only(await ask(server))
    assert said in str(error)
    assert not error.unsure
    assert len(server.requests) == 1


UNSURE = [
    json_refusal("InternalError", "We failed", 500),
    json_refusal("ServiceUnavailable", "We failed", 503),
    reply(502, "<html>Bad Gateway</html>"),
    lose,
]


@pytest.mark.anyio
@pytest.mark.parametrize("unsure", UNSURE)
async def test_what_may_have_been_queued_is_not_sent_again(unsure: Any) -> None:
    """Else a client could get a message twice."""
    async with CannedServer(unsure, answer("012")) as server:
        error = only(await ask(server))
    assert error.unsure
    assert str(error).endswith("; the messages may have been queued")
    assert len(server.requests) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"Successful":7}',
        '{"Failed":[7]}',
        '{"Failed":[{"Id":"0"}]}',
        "<html>",
    ],
)
async def test_an_answer_of_something_else_is_an_error(body: str) -> None:
    """Nobody knows what it did."""
    async with CannedServer(reply(200, body)) as server:
        error = only(await ask(server))
    assert "not in the form of SQS" in str(error)
    assert error.unsure


@pytest.mark.anyio
async def test_a_body_that_the_answer_leaves_out_is_an_error() -> None:
    """The others are queued."""
    async with CannedServer(answer("02")) as server:
        sent = await ask(server)
    assert sent.queued == (0, 2)
    assert sent.errors[1].unsure


@pytest.mark.anyio
async def test_no_answer_in_time_is_an_error() -> None:
    """With what may be the cause of it."""
    async with CannedServer(hold) as server:
        error = only(await ask(server, timeout=0.2))
    assert "a VPC without a route to SQS" in str(error)
    assert error.unsure


@pytest.mark.anyio
async def test_no_time_is_no_request() -> None:
    """Nothing was queued."""
    async with CannedServer(answer("012")) as server:
        error = only(await ask(server, timeout=0.0))
    assert "no time was left" in str(error)
    assert not error.unsure
    assert server.requests == []


@pytest.mark.anyio
async def test_a_port_where_nobody_listens_is_tried_a_few_times() -> None:
    """Nothing was queued."""
    server = CannedServer(port=free_port())
    error = only(await ask(server))
    assert server.host in str(error)
    assert "refused" in str(error)
    assert not error.unsure


@pytest.mark.anyio
async def test_a_host_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a typing error in the region makes one."""

    def lookup(*args: object, **options: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    queue = Queue("https://sqs.eu-wst-1.amazonaws.com/123456789012/name")
    error = only(await queue.send([dumps(PART)], deadline=by(0.01)))
    assert "sqs.eu-wst-1.amazonaws.com" in str(error)
    assert not error.unsure
