"""Sends to big groups through SQS, from `Connections` to the last member: everybody once."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from longwire import Connections, Longwire
from longwire.apigateway.frames import MAX_MESSAGE
from longwire.exceptions import BackendError, MessageTooLargeError
from longwire.fanout import parts
from longwire.fanout.fan_out import CUT_OFF
from longwire.registry import names
from longwire_aws.http import Response
from longwire_backends.memory import MemoryBackend
from longwire_backends.sqlite3.backend import SQLite3Backend
from tests.backends.aws_canned import CannedServer, hold, json_refusal, lose, reply
from tests.connections_server import ConnectionsServer
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event
from tests.servers.process import free_port
from tests.servers.sqs import REGION, EventSourceMapping, sqs_client
from tests.talk import grow_old, old_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from longwire_backends import Backend, Page, Record

pytestmark = pytest.mark.anyio

FAR = 1 << 40
SOON = 20.0
TEXT = 'ünï "quoted" \\ \x7f €😀'
THRESHOLD = 100


@pytest.fixture(autouse=True)
def _region(aws_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the region of the emulators, and have no endpoint but the one that a test names."""
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.delenv("WS_MANAGEMENT_ENDPOINT", raising=False)


@pytest.fixture(scope="module", params=["moto", "ministack"])
def sqs_url(request: pytest.FixtureRequest) -> str:
    """Each of two servers."""
    url: str = request.getfixturevalue(request.param).url
    return url


class App:
    """Adds whoever connects to a group, passes on what they say, and notes whose end it is told.

    Attributes:
        told: (connection id, close code, the groups in which it was).
        queued: how many each message was queued for.
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, int, tuple[str, ...]]] = []
        self.queued: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        connections = Connections()
        await receive()
        await send({"type": "websocket.accept"})
        await connections.group_add("blue", scope)
        if scope["query_string"] == b"hail=":
            self.queued.append((await connections.group_send("blue", "hail")).queued)
        while (message := await receive())["type"] == "websocket.receive":
            self.queued.append((await connections.group_send("blue", message["text"])).queued)
        connection_id = scope["extensions"]["longwire"]["connection_id"]
        self.told.append((connection_id, message["code"], await connections.groups(scope)))


@dataclass
class Stage:
    """A group, who sends to it from outside, and the function that is subscribed to the queue.

    Attributes:
        answers: what the handler answered to the queue's events.
        seconds: how long the function may run for its next event.
    """

    server: ConnectionsServer
    backend: Backend
    handler: Longwire
    connections: Connections
    app: App
    answers: list[Any] = field(default_factory=list)
    seconds: float = SOON

    async def handle(self, event: dict[str, Any]) -> Any:
        """Be the Lambda function."""
        answer = await self.handler.handle(event, LambdaContext(self.seconds))
        if "Records" in event:
            self.answers.append(answer)
        return answer

    async def join(self, count: int, *, group: str = "blue") -> list[str]:
        """Add so many members, of whom nothing else is known; return their ids."""
        members = [f"m{number:04}=" for number in range(count)]
        for member in members:
            await self.backend.group_add(group, member, FAR)
        return members

    async def connect(self, connection_id: str, **handshake: Any) -> None:
        """Let a client connect, whom the app adds to the group."""
        await self.handle(connect_event(connection_id, **handshake))
        self.server.known.add(connection_id)

    async def members(self) -> set[str]:
        """Return who is in the group."""
        return {member async for member in self.connections.group_members("blue")}

    def got(self, text: str | bytes = "hello") -> list[str]:
        """Return the ids of all who got this, sorted; nobody got anything else."""
        body = text.encode() if isinstance(text, str) else text
        assert {data for _, data in self.server.delivered} <= {body}
        return sorted(to for to, _ in self.server.delivered)

    @property
    def asked(self) -> Counter[str]:
        """Who was posted to, and how many times, whatever the answer was."""
        return Counter(to for method, to, _ in self.server.requests if method == "POST")


@asynccontextmanager
async def stage(
    queue_url: str,
    *,
    backend: Backend | None = None,
    stores: tuple[Any, Any] | None = None,
    named: bool = True,
    seconds: float = SOON,
    **ws_config: Any,
) -> AsyncIterator[Stage]:
    """Set everything up, with a queue that exists.

    Args:
        backend: of both sides; else memory.
        stores: the store as the sender and as the handler configures it.
        named: whether the handler is told the endpoint; else it takes it from the parts.
        seconds: that a send from outside may take.
    """
    fanout: Any = {"queue_url": queue_url, "threshold": THRESHOLD}
    backend = backend or MemoryBackend()
    both: Any = stores or ({"backend": backend}, {"backend": backend})
    ours, its = both
    app = App()
    async with ConnectionsServer() as server:
        endpoint: Any = {"api_gateway_endpoint_url": server.url} if named else {}
        handler = Longwire(app, ws_config=its | endpoint | ws_config, fanout=fanout)
        async with Connections(
            ws_config=ours | ws_config,
            api_gateway_endpoint_url=server.url,
            fanout=fanout,
            timeout=seconds,
        ) as connections:
            try:
                yield Stage(server, backend, handler, connections, app)
            finally:
                await handler.aclose()
                await backend.close()


@asynccontextmanager
async def mapped(
    sqs_url: str, *, max_receives: int | None = None, **options: Any
) -> AsyncIterator[tuple[Stage, EventSourceMapping]]:
    """Set everything up with a queue on an emulator."""
    mapping = EventSourceMapping(sqs_url, max_receives=max_receives)
    try:
        async with stage(mapping.queue_url, **options) as set_up:
            yield set_up, mapping
    finally:
        mapping.close()


def queue_event(*bodies: str, receive_count: int = 1) -> dict[str, Any]:
    """Make a queue's event; the messages are called "0", "1" and so on."""
    return {
        "Records": [
            {
                "messageId": str(number),
                "body": body,
                "attributes": {"ApproximateReceiveCount": str(receive_count)},
                "eventSource": "aws:sqs",
            }
            for number, body in enumerate(bodies)
        ]
    }


def part(endpoint: str, members: Iterable[str], part_id: str = "p1", data: bytes = b"hello") -> str:
    """Make the body of a message."""
    return parts.dumps(parts.Part(part_id, endpoint, data, tuple(members)))


def failed(*message_ids: str) -> dict[str, Any]:
    """Make the answer that has these handed out again."""
    return parts.failures(message_ids)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the texts of the errors that were logged."""
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


NOWHERE = "http://127.0.0.1:1/123456789012/nowhere"


# --- all is well ----------------------------------------------------------------------------------


async def test_everybody_in_a_big_group_gets_the_bytes_once(sqs_url: str) -> None:
    """From the queue, and not before; each part is delivered in one go."""
    async with mapped(sqs_url) as (st, mapping):
        members = await st.join(2500)
        result = await st.connections.group_send("blue", TEXT)
        assert (result.queued, result.ok, len(result.delivered)) == (len(members), True, 0)
        assert st.server.requests == []
        await mapping.run_until_empty(st.handle)
        assert st.got(TEXT) == members
        assert st.answers == [failed()] * len(mapping.events)
        sizes = [len(one.connection_ids) for one in sent_parts(mapping)]
        assert sorted(sizes, reverse=True) == [1000, 1000, 500]


async def test_a_value_is_the_same_json_from_the_queue(sqs_url: str) -> None:
    """As to a group that is served at once."""
    async with mapped(sqs_url) as (st, mapping):
        members = await st.join(THRESHOLD + 1)
        await st.connections.group_send("blue", {"day": date(2026, 1, 2), "price": Decimal("1.50")})
        await mapping.run_until_empty(st.handle)
        assert st.got('{"day":"2026-01-02","price":"1.50"}') == members


def sent_parts(mapping: EventSourceMapping) -> list[parts.Part]:
    """Return the parts that were handed out, repeats included."""
    return [parts.loads(one["body"]) for event in mapping.events for one in event["Records"]]


async def test_two_processes_may_share_a_store_by_its_file(sqs_url: str, tmp_path: Path) -> None:
    """As one that sends and the function that is subscribed do."""
    path = str(tmp_path / "ws.sqlite3")
    config = {"backend": "sqlite3", "params": {"file_path": path}}
    options: dict[str, Any] = {"stores": (config, config), "backend": SQLite3Backend(path)}
    async with mapped(sqs_url, **options) as (st, mapping):
        members = await st.join(150)
        assert (await st.connections.group_send("blue", "hello")).queued == 150
        await mapping.run_until_empty(st.handle)
        assert st.got() == members


@pytest.mark.parametrize("count", [0, 1, THRESHOLD])
async def test_a_group_up_to_the_threshold_is_served_here(sqs_url: str, count: int) -> None:
    """And nothing is queued."""
    async with mapped(sqs_url) as (st, mapping):
        members = await st.join(count)
        result = await st.connections.group_send("blue", "hello")
        assert (sorted(result.delivered), result.queued) == (members, 0)
        assert st.got() == members
        assert await mapping.run_until_empty(st.handle) == 0


async def test_one_more_than_the_threshold_is_queued(sqs_url: str) -> None:
    """All of them are; a broadcast is the same as a group of everybody."""
    async with mapped(sqs_url) as (st, mapping):
        await st.join(THRESHOLD + 1)
        for number in range(THRESHOLD + 1):
            await st.backend.put(f"c{number:03}=", old_record(), FAR)
        assert (await st.connections.group_send("blue", "hello")).queued == THRESHOLD + 1
        assert (await st.connections.broadcast("hello")).queued == THRESHOLD + 1
        await mapping.run_until_empty(st.handle)
        assert len(set(st.got())) == len(st.got()) == 2 * THRESHOLD + 2


async def test_who_is_excluded_gets_nothing(sqs_url: str) -> None:
    """Nor do they count for the threshold."""
    async with mapped(sqs_url) as (st, mapping):
        members = await st.join(THRESHOLD + 2)
        result = await st.connections.group_send("blue", "hello", exclude=members[:2])
        assert (result.queued, sorted(result.delivered)) == (0, members[2:])
        st.server.delivered.clear()
        assert (await st.connections.group_send("blue", "hello", exclude=members[:1])).queued == 101
        await mapping.run_until_empty(st.handle)
        assert st.got() == members[1:]


async def test_a_configured_endpoint_goes_before_the_parts() -> None:
    """Whatever the part names."""
    async with stage(NOWHERE) as st:
        assert await st.handle(queue_event(part("https://example.com/x", ["a", "b"]))) == failed()
        assert st.got() == ["a", "b"]


async def test_the_endpoint_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It, too, goes before the part's."""
    async with stage(NOWHERE, named=False) as st:
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", st.server.url)
        assert await st.handle(queue_event(part("https://example.com/x", ["a"]))) == failed()
        assert st.got() == ["a"]


class Recorder:
    """A transport that notes where it would have sent something."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    async def request(
        self, method: str, url: str, headers: Any = (), body: bytes = b"", *, timeout: float
    ) -> Response:
        self.urls.append(url)
        return Response(200, {}, b"")


async def test_a_part_reaches_only_an_api_that_its_senders_have_named(
    sqs_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who can write to the queue alone has nothing posted, and signed, to an API of another's."""
    host = "execute-api.eu-west-1.amazonaws.com"
    ours, other = f"https://ours.{host}/prod", f"https://other.{host}/prod"
    async with mapped(sqs_url, named=False) as (st, mapping):
        st.handler.transport = recorder = Recorder()
        assert await st.handle(queue_event(part(ours, ["a"]))) == failed("0")
        members = await st.join(THRESHOLD + 1)
        sender = Connections(
            ws_config={"backend": st.backend},
            api_gateway_endpoint_url=ours,
            fanout={"queue_url": mapping.queue_url, "threshold": THRESHOLD},
        )
        assert (await sender.group_send("blue", "hello")).queued == len(members)
        await mapping.run_until_empty(st.handle)
        posted = sorted(unquote(url) for url in recorder.urls)
        assert posted == [f"{ours}/@connections/{one}" for one in members]
        recorder.urls.clear()
        forged = [other, f"https://ours.{host}/dev", f"https://ours.{host}/..", ours + "/x"]
        bodies = [part(endpoint, ["a"]) for endpoint in forged]
        assert await st.handle(queue_event(*bodies)) == failed("0", "1", "2", "3")
        assert recorder.urls == []
    assert "names an API that no sender has noted in this store" in caplog.text


async def test_what_cannot_be_noted_is_not_queued(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody would deliver it: it is sent here."""
    async with stage(NOWHERE, backend=Forgetful("put")) as st:
        members = await st.join(3 * THRESHOLD)
        result = await st.connections.group_send("blue", "hello")
        assert (result.queued, result.ok) == (0, True)
        assert st.got() == members
    assert "a send to many is not queued: " in caplog.text


async def test_the_largest_message_goes_through_the_queue(sqs_url: str) -> None:
    """128 KB; one byte more is an error before anything is queued or posted."""
    text = "é" * (MAX_MESSAGE // 2)
    async with mapped(sqs_url) as (st, mapping):
        members = await st.join(THRESHOLD + 1)
        with pytest.raises(MessageTooLargeError):
            await st.connections.group_send("blue", text + "x")
        assert await mapping.run_until_empty(st.handle) == 0
        assert (await st.connections.group_send("blue", text)).queued == len(members)
        await mapping.run_until_empty(st.handle)
        assert st.got(text) == members


@pytest.mark.parametrize("data", [b"\xff\x00\xfe", b"plain", "text"])
async def test_bytes_are_encoded_once(sqs_url: str, data: bytes | str) -> None:
    """With `binary` as base64; text is left as it is."""
    async with mapped(sqs_url, binary="base64") as (st, mapping):
        members = await st.join(THRESHOLD + 1)
        assert (await st.connections.group_send("blue", data)).queued == len(members)
        await mapping.run_until_empty(st.handle)
        assert st.got(base64.b64encode(data) if isinstance(data, bytes) else data) == members


# --- inside an app --------------------------------------------------------------------------------


async def test_a_joiner_is_greeted_by_its_own_message_to_a_big_group(sqs_url: str) -> None:
    """After the response to its handshake, once, and not from the queue, as the others."""
    async with mapped(sqs_url) as (st, mapping):
        members = await st.join(THRESHOLD)
        await st.connect("new=", query={"hail": [""]})
        await st.server.until(lambda: ("new=", b"hail") in st.server.delivered)
        assert st.got("hail") == ["new="]
        assert st.app.queued == [THRESHOLD]
        await mapping.run_until_empty(st.handle)
        assert st.got("hail") == [*members, "new="]


async def test_an_app_sends_to_a_big_group_through_the_queue(sqs_url: str) -> None:
    """And the same handler delivers it, to the one who said it, too."""
    async with mapped(sqs_url) as (st, mapping):
        members = await st.join(THRESHOLD)
        await st.connect("a=")
        await st.handle(message_event("hello", "a="))
        assert (st.app.queued, st.server.requests) == ([THRESHOLD + 1], [])
        await mapping.run_until_empty(st.handle)
        assert st.got() == ["a=", *members]


# --- who is gone ----------------------------------------------------------------------------------


async def test_the_app_is_told_once_of_who_is_gone(sqs_url: str) -> None:
    """Also when $disconnect comes after all; they are in no group and are never posted to again."""
    async with mapped(sqs_url) as (st, mapping):
        st.server.known |= set(await st.join(THRESHOLD))
        st.server.unknown_is_gone = True
        for name in ("ghost1=", "ghost2=", "here="):
            await st.connect(name)
        await grow_old(st.handler, "ghost1=", "ghost2=")
        st.server.known -= {"ghost1=", "ghost2="}
        for _ in range(2):
            assert (await st.connections.group_send("blue", "hello")).ok
            await mapping.run_until_empty(st.handle)
        await st.handle(disconnect_event("ghost1=", 1001))
        assert sorted(st.app.told) == [(f"ghost{n}=", 1006, ("blue",)) for n in (1, 2)]
        assert await st.members() == st.server.known
        assert st.answers == [failed()] * len(st.answers)
        assert (st.asked["ghost1="], st.asked["ghost2="], st.asked["here="]) == (1, 1, 2)


async def test_what_is_noted_of_parts_is_no_connection(sqs_url: str) -> None:
    """Neither a broadcast nor a sweep finds it."""
    async with mapped(sqs_url) as (st, mapping):
        await st.join(THRESHOLD)
        await st.connect("a=")
        await st.connections.group_send("blue", "hello")
        await mapping.run_until_empty(st.handle)
        stored = (await st.backend.connections()).members
        assert sorted(names.is_internal(one) for one in stored) == [False, True, True]
        st.server.requests.clear()
        assert list((await st.connections.broadcast("hello")).delivered) == ["a="]
        assert (await st.handler.sweep()).checked == 1
        assert [(method, to) for method, to, _ in st.server.requests] == [
            ("POST", "a="),
            ("GET", "a="),
        ]


# --- parts that fail ------------------------------------------------------------------------------


async def test_only_the_part_that_failed_is_handed_out_again(
    sqs_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And it is delivered only to those who have not got it."""
    async with mapped(sqs_url) as (st, mapping):
        members = await st.join(2500)
        unlucky = members[1200:1203]
        for member in unlucky:
            st.server.answers[member].append(500)
        await st.connections.group_send("blue", "hello")
        await mapping.run_until_empty(st.handle)
        (bad,) = {
            one["messageId"]
            for event in mapping.events
            for one in event["Records"]
            if members[1200] in one["body"]
        }
        assert [one for one in st.answers if one != failed()] == [failed(bad)]
        assert st.got() == members
        assert st.asked == Counter(members) + Counter(unlucky)
    (error,) = errors(caplog)
    assert error.startswith(f"SQS message {bad} is handed out again for 3 of its connections, m120")
    assert "POST answered 500" in error


async def test_too_many_posts_are_no_failure(sqs_url: str) -> None:
    """429 slows a part down, and it is done in one go."""
    async with mapped(sqs_url) as (st, mapping):
        members = await st.join(150)
        for member in members[::10]:
            st.server.answers[member].append(429)
        await st.connections.group_send("blue", "hello")
        await mapping.run_until_empty(st.handle)
        assert (st.got(), st.answers) == (members, [failed()])


async def test_who_does_not_read_is_no_reason_to_hand_a_part_out_again(
    sqs_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It would not read then, either; those who failed otherwise are served again, without it."""
    async with mapped(sqs_url, slow_client=0.2) as (st, mapping):
        members = await st.join(THRESHOLD + 1)
        slow, unlucky = members[7], members[50]
        st.server.full.add(slow)
        st.server.answers[unlucky].append(500)
        await st.connections.group_send("blue", "hello")
        await mapping.run_until_empty(st.handle)
        assert st.got() == [one for one in members if one != slow]
        asked = st.asked
        assert asked.pop(slow) > 1
        assert asked == Counter([one for one in members if one != slow] + [unlucky])
        await st.connections.group_send("blue", "hello")
        await mapping.run_until_empty(st.handle)
        assert [len(one["batchItemFailures"]) for one in st.answers] == [1, 0, 0]
    lines = [line for line in errors(caplog) if slow in line]
    assert len(lines) == 2
    assert f"has not reached 1 of its connections, {slow} for example: " in lines[0]
    assert "its client does not read" in lines[0]


async def test_a_part_that_nobody_can_get_becomes_a_dead_letter(sqs_url: str) -> None:
    """With all of its members in it, and after as many attempts as the queue says."""
    async with mapped(sqs_url, max_receives=3) as (st, mapping):
        members = await st.join(THRESHOLD + 1)
        for member in members:
            st.server.answers[member].extend([500, 403, "reset"])
        await st.connections.group_send("blue", "hello")
        await mapping.run_until_empty(st.handle)
        (letter,) = await mapping.dead_letters()
        assert parts.loads(letter).connection_ids == tuple(members)
        assert st.asked == Counter(members * 3)
        assert st.server.delivered == []
        assert len([one for one in st.answers if one != failed()]) == 3


SNS = json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:x", "Message": "hello"})


async def test_foreign_messages_fail_alone(sqs_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The parts beside them are delivered, and the log says what they are."""
    async with mapped(sqs_url, max_receives=1) as (st, mapping):
        sqs = sqs_client(sqs_url)
        for body in ("hello", SNS):
            sqs.send_message(QueueUrl=mapping.queue_url, MessageBody=body)
        sqs.close()
        members = await st.join(THRESHOLD + 1)
        await st.connections.group_send("blue", "hello")
        await mapping.run_until_empty(st.handle)
        assert st.got() == members
        assert sorted(await mapping.dead_letters()) == sorted(["hello", SNS])
    texts = errors(caplog)
    assert sorted("SNS" in text for text in texts) == [False, True]
    assert all("not one of Longwire's parts" in text for text in texts)


@pytest.mark.parametrize(("member", "data"), [("a", b"\xff"), ("\ud800", b"hello")])
async def test_a_damaged_part_fails_alone(
    member: str, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not have the parts beside it delivered twice."""
    async with stage(NOWHERE) as st:
        good, bad = part(st.server.url, ["g"], "p0"), part(st.server.url, [member], "p1", data)
        assert await st.handle(queue_event(good, bad)) == failed("1")
        assert st.got() == ["g"]
    (error,) = errors(caplog)
    assert "its data or its connections are no text" in error


async def test_a_part_cannot_have_messages_posted_elsewhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever may write to the queue could otherwise have signed requests sent anywhere."""
    async with stage(NOWHERE, named=False) as st:
        endpoints = [
            "https://example.com/prod",
            "https://x.execute-api.eu-west-1.amazonaws.com.example.com/prod",
            "https://x.execute-api.eu-west-1.amazonaws.com:443@example.com/prod",
            "http://x.execute-api.eu-west-1.amazonaws.com/prod",
            st.server.url,  # on Lambda the runtime's own API is on a loopback address
        ]
        bodies = [part(endpoint, ["a"]) for endpoint in endpoints]
        assert await st.handle(queue_event(*bodies)) == failed("0", "1", "2", "3", "4")
        assert st.server.requests == []
    assert len(errors(caplog)) == 5
    texts = "set api_gateway_endpoint_url or WS_MANAGEMENT", "says that it is one of Longwire's"
    assert all(any(text in one for text in texts) for one in errors(caplog))


async def test_a_function_without_a_loop_delivers_parts() -> None:
    """As Lambda calls it."""
    async with stage(NOWHERE) as st:
        event = queue_event(part(st.server.url, ["a", "b"]))
        assert await asyncio.to_thread(st.handler, event, LambdaContext()) == failed()
        await asyncio.to_thread(st.handler.close)
        assert st.got() == ["a", "b"]


async def test_a_part_that_is_done_may_come_again() -> None:
    """A standard queue hands out some messages twice."""
    async with stage(NOWHERE) as st:
        body = part(st.server.url, ["a", "b"])
        assert await st.handle(queue_event(body)) == failed()
        assert await st.handle(queue_event(body, receive_count=2)) == failed()
        assert st.got() == ["a", "b"]


async def test_a_part_whose_function_was_killed_is_done_anew() -> None:
    """Nothing is noted of it, so all get it."""
    async with stage(NOWHERE) as st:
        body = part(st.server.url, ["a", "b"])
        assert await st.handle(queue_event(body, receive_count=2)) == failed()
        assert st.got() == ["a", "b"]


async def test_what_an_event_has_no_time_for_is_handed_out_again() -> None:
    """The members whom the deadline cut off are served by the next attempt, and only they."""
    async with stage(NOWHERE) as st:
        members = await st.join(8)
        for member in members[:3]:
            st.server.answers[member].append("silence")
        body = part(st.server.url, members)
        st.seconds = 0.4
        assert await st.handle(queue_event(body)) == failed("0")
        st.seconds = SOON
        assert await st.handle(queue_event(body, receive_count=2)) == failed()
        assert st.got() == members
        assert st.asked == Counter(members) + Counter(members[:3])


async def test_an_event_without_any_time_posts_nothing() -> None:
    """And everybody is served by the next attempt."""
    async with stage(NOWHERE) as st:
        await st.connect("warm=")
        st.seconds = 0.0
        body = part(st.server.url, ["a", "b"])
        assert await st.handle(queue_event(body)) == failed("0")
        assert st.server.requests == []
        st.seconds = SOON
        assert await st.handle(queue_event(body, receive_count=2)) == failed()
        assert st.got() == ["a", "b"]


# --- a store that fails ---------------------------------------------------------------------------


class Forgetful(MemoryBackend):
    """Cannot do one thing."""

    def __init__(self, cannot: str) -> None:
        super().__init__()
        self.cannot = cannot

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        self._check("put")
        return await super().put(connection_id, value, expires_at)

    async def get(self, connection_id: str) -> Record | None:
        self._check("get")
        return await super().get(connection_id)

    def _check(self, operation: str) -> None:
        if operation == self.cannot:
            raise BackendError(self.name, operation, "out of order")


async def test_a_part_that_everybody_got_is_done_though_it_cannot_be_noted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Else all would get it once more."""
    async with stage(NOWHERE, backend=Forgetful("put")) as st:
        assert await st.handle(queue_event(part(st.server.url, ["a", "b"]))) == failed()
        assert st.got() == ["a", "b"]
    (error,) = errors(caplog)
    assert "put failed: out of order" in error


async def test_a_part_that_cannot_be_looked_up_is_not_delivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody knows who has got it already; a later attempt may."""
    async with stage(NOWHERE, backend=Forgetful("get")) as st:
        event = queue_event(part(st.server.url, ["a", "b"]), receive_count=2)
        assert await st.handle(event) == failed("0")
        assert st.server.requests == []
    (error,) = errors(caplog)
    assert "get failed: out of order" in error


# --- a queue that fails ---------------------------------------------------------------------------


DENIED = json_refusal("AccessDenied", "User is not authorized to perform: sqs:sendmessage", 403)


async def test_a_queue_that_refuses_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    """The members are served here, and the log says what the role needs."""
    async with CannedServer(DENIED) as queue, stage(f"{queue.url}/1/name") as st:
        members = await st.join(1500)
        result = await st.connections.group_send("blue", "hello")
        assert (sorted(result.delivered), result.queued, result.ok) == (members, 0, True)
        assert st.got() == members
    assert all("needs the permission sqs:SendMessage" in one for one in errors(caplog))
    assert len(errors(caplog)) == 2  # parts


async def test_a_queue_that_is_down_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing can have been queued."""
    async with stage(f"http://127.0.0.1:{free_port()}/1/name") as st:
        members = await st.join(150)
        result = await st.connections.group_send("blue", "hello")
        assert (sorted(result.delivered), result.queued, result.ok) == (members, 0, True)
        assert st.got() == members
    (error,) = errors(caplog)
    assert "refused" in error


async def test_what_may_have_been_queued_is_not_posted() -> None:
    """Its members are in the result, so that the sender may decide."""
    async with CannedServer(lose) as queue, stage(f"{queue.url}/1/name") as st:
        members = await st.join(150)
        result = await st.connections.group_send("blue", "hello")
        assert (len(result.delivered), result.queued, result.ok) == (0, 0, False)
        assert sorted(result.failed) == members
        assert all("may have been queued" in reason for reason in result.failed.values())
        assert st.server.requests == []


PARTLY = {
    "Successful": [{"Id": "0", "MessageId": "m"}, {"Id": "2", "MessageId": "m"}],
    "Failed": [{"Id": "1", "Code": "InvalidMessageContents", "Message": "x", "SenderFault": True}],
}


class OnePage(MemoryBackend):
    """Lists a whole group at once, so that it is handed over at once."""

    async def group_members(self, group: str, **options: Any) -> Page:
        return await super().group_members(group, limit=10_000)


async def test_one_part_that_is_refused_is_served_here() -> None:
    """The other two are the queue's."""
    async with CannedServer(reply(200, json.dumps(PARTLY))) as queue:
        async with stage(f"{queue.url}/1/name", backend=OnePage()) as st:
            members = await st.join(2500)
            result = await st.connections.group_send("blue", "hello")
            assert (result.queued, sorted(result.delivered)) == (1500, members[1000:2000])
            assert st.got() == members[1000:2000]
    assert len(queue.requests) == 1


BUSY = json_refusal("RequestThrottled", "Rate exceeded")


async def test_a_busy_queue_leaves_time_to_serve_the_members_here() -> None:
    """It is asked again and again, but no longer than for half of the time."""
    async with CannedServer(BUSY) as queue:
        async with stage(f"{queue.url}/1/name", seconds=1.0) as st:
            members = await st.join(150)
            result = await st.connections.group_send("blue", "hello")
            assert (sorted(result.delivered), result.queued, result.ok) == (members, 0, True)
            assert len(queue.requests) > 1


async def test_whom_the_deadline_cuts_off_is_in_the_result() -> None:
    """Neither the queue nor most clients answer in time; everybody is accounted for."""
    async with CannedServer(BUSY) as queue:
        async with stage(f"{queue.url}/1/name", seconds=2.0) as st:
            members = await st.join(1500)
            for member in members[10:]:
                st.server.answers[member].append("silence")
            started = time.monotonic()
            result = await st.connections.group_send("blue", "hello")
            assert time.monotonic() - started < 5
            assert sorted([*result.delivered, *result.failed]) == members
            assert st.got() == sorted(result.delivered) == members[:10]
            assert result.failed[members[-1]] == CUT_OFF
            assert not result.ok


async def test_a_queue_that_does_not_answer_is_not_waited_for() -> None:
    """It may have got the parts, so nobody is posted to."""
    async with CannedServer(hold) as queue:
        async with stage(f"{queue.url}/1/name", seconds=0.4) as st:
            members = await st.join(150)
            result = await st.connections.group_send("blue", "hello")
            assert sorted(result.failed) == members
            assert st.server.requests == []


async def test_a_store_that_fails_midway_leaves_the_rest_to_be_known(sqs_url: str) -> None:
    """Those of the pages before are queued, and the result says that it is not all."""
    async with mapped(sqs_url, backend=Halfway()) as (st, mapping):
        members = await st.join(2500)
        result = await st.connections.group_send("blue", "hello")
        assert result.queued == 1000
        assert (result.incomplete, result.ok) == ("memory: group_members failed: halfway", False)
        await mapping.run_until_empty(st.handle)
        assert st.got() == members[:1000]


class Halfway(MemoryBackend):
    """Lists one page of a group, and no more."""

    async def group_members(self, group: str, **options: Any) -> Page:
        if options.get("after") is not None:
            raise BackendError(self.name, "group_members", "halfway")
        return await super().group_members(group, **options)


async def test_sends_at_the_same_time_keep_out_of_each_others_way(sqs_url: str) -> None:
    """Each message reaches each member once."""
    async with mapped(sqs_url) as (st, mapping):
        members = await st.join(150)
        texts = [f"text{number}" for number in range(5)]
        await asyncio.gather(*(st.connections.group_send("blue", text) for text in texts))
        await mapping.run_until_empty(st.handle)
        wanted = [(member, text.encode()) for member in members for text in texts]
        assert sorted(st.server.delivered) == sorted(wanted)
