"""Which events the function gets for one connection, and in which order."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import connect

from longwire import Longwire
from longwire.local.function.inline import InlineFunction
from longwire.local.rules.connection import (
    DELETED,
    FLOODING,
    GOING_AWAY,
    LOST,
    NO_STATUS,
    ClientHandshake,
    CloseStatus,
    ConnectionState,
)
from longwire.local.rules.gateway import GatewayRules
from longwire.local.rules.results import HandshakeAccepted, HandshakeRefused
from longwire.local.rules.settings import GatewaySettings
from longwire.local.server.server import LocalGateway
from longwire.local.session import BACKLOG, Session
from longwire.local.tasks import Tasks
from tests.local.fakes import OK, Event, RecordingFunction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.websockets import WebSocket

    from longwire.local.invoking import HandledEvent

pytestmark = pytest.mark.anyio


class RecordingClient:
    """The client's side: what it was sent, how it was closed, whether it is read from."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.endings: list[CloseStatus] = []
        self.held: list[bool] = []

    def send_text(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self, ending: CloseStatus) -> None:
        self.endings.append(ending)

    def hold(self, on: bool) -> None:
        self.held.append(on)


class Bench:
    """A session between a recording client and a recording function."""

    def __init__(
        self, answer: Callable[[Event], Awaitable[object]] | None = None, **settings: object
    ) -> None:
        self.function = RecordingFunction(answer) if answer else RecordingFunction()
        self.client = RecordingClient()
        self.invocations: list[HandledEvent] = []
        self.tasks = Tasks()
        self.gateway = GatewayRules(
            GatewaySettings(**settings),  # type: ignore[arg-type]  # names vary
            clock=time.time,
            random_bytes=os.urandom,
        )
        self.session = Session(
            self.gateway,
            InlineFunction(self.function),
            ClientHandshake((), "", "203.0.113.7"),
            self.tasks,
            self.invocations.append,
        )

    async def connected(self) -> Session:
        assert await self.session.connect() == HandshakeAccepted()
        self.session.open(self.client)
        return self.session


def on_message(reply: Callable[[Event], Awaitable[object]]) -> Callable[[Event], Awaitable[object]]:
    """Answer CONNECT and DISCONNECT with 200, and MESSAGE with `reply`."""

    async def answer(event: Event) -> object:
        return await reply(event) if "body" in event else OK

    return answer


async def test_a_conversation_is_connect_messages_disconnect() -> None:
    """In this order, each event once."""
    bench = Bench()
    session = await bench.connected()
    for text in ("a", "b", "c"):
        session.receive(text)
    session.client_closed(NO_STATUS)
    await session.answered()
    assert bench.function.types() == ["CONNECT", "MESSAGE", "MESSAGE", "MESSAGE", "DISCONNECT"]
    assert bench.function.bodies() == ["a", "b", "c"]
    assert bench.function.events[-1]["requestContext"]["disconnectStatusCode"] == 1005


async def test_a_client_that_floods_is_closed_with_1008() -> None:
    """What came before is handled, what comes after is not read; the function hears of the code."""
    bench = Bench(message_rate=2.0)
    session = await bench.connected()
    for text in ("a", "b", "c", "d"):
        session.receive(text)
    await session.answered()
    assert bench.client.endings == [FLOODING]
    assert bench.function.bodies() == ["a", "b"]
    assert bench.function.types() == ["CONNECT", "MESSAGE", "MESSAGE", "DISCONNECT"]
    assert bench.function.events[-1]["requestContext"]["disconnectStatusCode"] == 1008


async def test_a_refused_connection_gets_no_disconnect() -> None:
    """It was never made."""

    async def refuse(event: Event) -> object:
        return {"statusCode": 401}

    bench = Bench(refuse)
    assert await bench.session.connect() == HandshakeRefused(401)
    bench.session.client_closed(LOST)
    await bench.session.answered()
    assert bench.function.types() == ["CONNECT"]
    assert bench.gateway.connections == {}


async def test_a_client_that_leaves_while_connecting_is_reported() -> None:
    """The function has accepted, so it must hear of the end."""
    release = asyncio.Event()

    async def wait(event: Event) -> object:
        await release.wait()
        return OK

    bench = Bench(wait)
    connecting = asyncio.create_task(bench.session.connect())
    await bench.function.wait_for("CONNECT")
    bench.session.client_closed(LOST)
    release.set()
    assert await connecting == HandshakeAccepted()
    await bench.session.answered()
    assert bench.session.ended
    assert bench.function.types() == ["CONNECT", "DISCONNECT"]
    assert bench.function.events[1]["requestContext"]["disconnectStatusCode"] == 1006


async def test_messages_of_one_connection_are_invoked_in_order() -> None:
    """The second message waits for the answer to the first, and so does the disconnect."""
    first = asyncio.Event()

    async def wait_on_first(event: Event) -> object:
        if event["body"] == "first":
            await first.wait()
        return OK

    bench = Bench(on_message(wait_on_first))
    session = await bench.connected()
    session.receive("first")
    session.receive("second")
    session.client_closed(NO_STATUS)
    await bench.function.wait_for("MESSAGE")
    assert bench.function.bodies() == ["first"]
    first.set()
    await session.answered()
    assert bench.function.types()[1:] == ["MESSAGE", "MESSAGE", "DISCONNECT"]


async def test_unordered_messages_run_in_parallel() -> None:
    """As on AWS: the second message is answered while the first still runs."""
    first = asyncio.Event()

    async def first_waits_for_second(event: Event) -> object:
        if event["body"] == "first":
            await first.wait()
        else:
            first.set()
        return OK

    bench = Bench(on_message(first_waits_for_second), unordered=True)
    session = await bench.connected()
    session.receive("first")
    session.receive("second")
    await bench.tasks.settle(10)
    assert bench.function.bodies() == ["first", "second"]


@pytest.mark.parametrize(
    ("ending", "code", "reason"),
    [(DELETED, 1000, "Connection Closed Normally"), (GOING_AWAY, 1001, "Going away")],
)
async def test_the_gateway_closes_with_code_and_reason(
    ending: CloseStatus, code: int, reason: str
) -> None:
    """The client and the function are told the same."""
    bench = Bench()
    session = await bench.connected()
    session.close(ending)
    await session.answered()
    assert bench.client.endings == [(code, reason)]
    context = bench.function.events[-1]["requestContext"]
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (code, reason)


async def test_whatever_ends_a_connection_first_is_its_end() -> None:
    """A client's close after a DELETE, and a second DELETE, change nothing."""
    bench = Bench()
    session = await bench.connected()
    session.close(DELETED)
    session.client_closed(CloseStatus(4000, "mine"))
    session.close(GOING_AWAY)
    await session.answered()
    assert bench.client.endings == [DELETED]
    assert bench.function.types() == ["CONNECT", "DISCONNECT"]


async def test_nothing_is_read_after_the_gateway_closed() -> None:
    """Messages that the function had not begun are dropped, as by a server that has closed."""
    bench = Bench(on_message(lambda event: delete(event)))

    async def delete(event: Event) -> object:
        bench.session.close(DELETED)
        return OK

    session = await bench.connected()
    for text in ("close me", "unread", "unread"):
        session.receive(text)
    await session.answered()
    session.receive("too late")
    await session.answered()
    assert bench.function.bodies() == ["close me"]
    assert bench.function.types() == ["CONNECT", "MESSAGE", "DISCONNECT"]


async def test_a_connection_is_closed_for_everybody_at_once() -> None:
    """Also while the function is still busy with its messages."""
    release = asyncio.Event()

    async def wait(event: Event) -> object:
        await release.wait()
        return OK

    bench = Bench(on_message(wait))
    session = await bench.connected()
    session.receive("x")
    session.client_closed(NO_STATUS)
    assert session.connection.state is ConnectionState.CLOSED
    assert bench.gateway.connections == {}
    release.set()
    await session.answered()


async def test_a_failed_message_leaves_the_connection_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client gets the error frame; the traceback is logged."""

    async def fail(event: Event) -> object:
        raise ValueError("secret")

    bench = Bench(on_message(fail))
    session = await bench.connected()
    session.receive("x")
    await session.answered()
    request_id = bench.function.events[-1]["requestContext"]["requestId"]
    assert [json.loads(frame) for frame in bench.client.sent] == [
        {
            "message": "Internal server error",
            "connectionId": session.connection.connection_id,
            "requestId": request_id,
        }
    ]
    assert session.connection.state is ConnectionState.OPEN
    assert "ValueError: secret" in caplog.text


async def test_a_late_function_goes_on_and_may_still_post() -> None:
    """The client gets the timeout frame, the next message its turn; the late post arrives."""
    release, finished = asyncio.Event(), asyncio.Event()

    async def slow_first(event: Event) -> object:
        if event["body"] == "slow":
            await release.wait()
            bench.session.post(b"late")
            finished.set()
        return OK

    bench = Bench(on_message(slow_first), integration_timeout=0.01)
    session = await bench.connected()
    session.receive("slow")
    session.receive("next")
    await session.answered()
    assert bench.function.bodies() == ["slow", "next"]
    assert json.loads(bench.client.sent[0])["message"] == "Endpoint request timed out"
    release.set()
    await finished.wait()
    assert bench.client.sent[1:] == [b"late"]


async def test_an_error_after_the_timeout_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for it, but nothing is swallowed."""
    release = asyncio.Event()

    async def fail_late(event: Event) -> object:
        await release.wait()
        raise ValueError("late")

    bench = Bench(fail_late, integration_timeout=0.01)
    assert await bench.session.connect() == HandshakeRefused(504)
    release.set()
    await bench.tasks.settle(10)
    assert "the function raised after more than 0.01 seconds" in caplog.text


async def test_a_message_without_a_route_never_reaches_the_function() -> None:
    """The client gets a Forbidden frame."""
    bench = Bench(routes=frozenset({"$connect", "$disconnect", "chat"}))
    session = await bench.connected()
    session.receive('{"action": "other"}')
    session.receive('{"action": "chat"}')
    await session.answered()
    assert bench.function.bodies() == ['{"action": "chat"}']
    assert bench.function.events[-1]["requestContext"]["routeKey"] == "chat"
    assert json.loads(bench.client.sent[0])["message"] == "Forbidden"
    assert [invocation.outcome is None for invocation in bench.invocations] == [False, True, False]


async def test_routes_without_integration_are_not_invoked() -> None:
    """$connect and $disconnect are optional; then every handshake succeeds."""
    bench = Bench(routes=frozenset({"$default"}))
    session = await bench.connected()
    session.receive("x")
    session.client_closed(NO_STATUS)
    await session.answered()
    assert bench.function.types() == ["MESSAGE"]


async def test_route_responses_send_the_body() -> None:
    """Only where they are switched on."""

    async def answer(event: Event) -> object:
        return {"statusCode": 200, "body": "hello"}

    bench = Bench(answer, route_responses=True)
    session = await bench.connected()
    session.receive("x")
    await session.answered()
    assert bench.client.sent == [b"hello"]


class LoopClock:
    """The time of the running loop, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time()
        monkeypatch.setattr(self._loop, "time", lambda: self._now)

    async def advance(self, seconds: float) -> None:
        """Move on, and let what is due by then happen."""
        self._now += seconds
        due = asyncio.Event()
        self._loop.call_later(0, due.set)
        await due.wait()


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 10 minutes, with 1001 Going away, for the client and for the function."""
    clock = LoopClock(monkeypatch)
    bench = Bench()
    session = await bench.connected()
    await clock.advance(599)
    assert session.connection.state is ConnectionState.OPEN
    await clock.advance(2)
    event = await bench.function.wait_for("DISCONNECT")
    assert bench.client.endings == [GOING_AWAY]
    assert event["requestContext"]["disconnectStatusCode"] == 1001
    assert event["requestContext"]["disconnectReason"] == "Going away"


async def test_messages_in_either_direction_keep_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only silence of both sides counts."""
    clock = LoopClock(monkeypatch)
    bench = Bench()
    session = await bench.connected()
    await clock.advance(500)
    session.receive("x")
    await session.answered()
    await clock.advance(500)
    session.post(b"y")
    await clock.advance(599)
    assert session.connection.state is ConnectionState.OPEN
    await clock.advance(2)
    assert bench.client.endings == [GOING_AWAY]


async def test_an_old_connection_is_closed_however_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours from the handshake."""
    clock = LoopClock(monkeypatch)
    bench = Bench()
    session = await bench.connected()
    for _ in range(14):
        await clock.advance(500)
        session.receive("x")
        await session.answered()
    assert session.connection.state is ConnectionState.OPEN
    await clock.advance(201)
    assert bench.client.endings == [GOING_AWAY]


async def test_a_client_that_is_ahead_is_not_read_from() -> None:
    """Reading stops at so many unanswered messages, and goes on when one is answered."""
    release = asyncio.Event()

    async def wait(event: Event) -> object:
        await release.wait()
        return OK

    bench = Bench(on_message(wait))
    session = await bench.connected()
    for _ in range(BACKLOG - 1):
        session.receive("x")
    assert bench.client.held == []
    session.receive("x")
    assert bench.client.held == [True]
    release.set()
    await session.answered()
    assert bench.client.held == [True, False]


async def test_posts_are_counted_for_the_event_that_they_belong_to() -> None:
    """What the log shows beside each event."""

    async def post_twice(event: Event) -> object:
        bench.session.post(b"1")
        bench.session.post(b"2")
        return OK

    bench = Bench(on_message(post_twice))
    session = await bench.connected()
    session.receive("x")
    session.client_closed(NO_STATUS)
    await session.answered()
    assert [invocation.posts for invocation in bench.invocations] == [0, 2, 0]


async def test_bytes_that_are_not_text_are_sent_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """API Gateway has text frames only; the client will break, so somebody must be told."""
    bench = Bench()
    session = await bench.connected()
    with caplog.at_level(logging.WARNING):
        session.post(b"\xff")
    assert bench.client.sent == [b"\xff"]
    assert "posted bytes are not UTF-8" in caplog.text


async def test_context_variables_do_not_leak_from_event_to_event() -> None:
    """Not even when one event causes the next, as a function does that closes its connection."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")
    seen = []

    async def stain(event: Event) -> object:
        seen.append(variable.get())
        variable.set("stained")
        if "body" in event:
            bench.session.close(DELETED)
        return OK

    bench = Bench(stain)
    session = await bench.connected()
    session.receive("x")
    await session.answered()
    assert seen == ["clean", "clean", "clean"]


# Messages are in order, but none waits for another app's timers


class Lingering:
    """Never ends with the first message, but says that its app waits for the client again."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.second = asyncio.Event()

    async def invoke(
        self, event: dict[str, Any], waits_for_client: Callable[[], object] = lambda: None
    ) -> object:
        if "body" in event:
            self.bodies.append(event["body"])
            if len(self.bodies) == 1:
                waits_for_client()
                await self.second.wait()
            self.second.set()
        return OK


async def test_a_function_that_lingers_does_not_hold_the_next_message_up() -> None:
    """Its app has a heartbeat, say, and waits for the client beside it."""
    function = Lingering()
    async with LocalGateway(function) as gateway, connect(gateway.url) as client:
        await client.send("a")
        await client.send("b")
        await function.second.wait()
    assert function.bodies == ["a", "b"]


async def test_an_app_with_a_heartbeat_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its steps may linger."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        heart = asyncio.create_task(asyncio.sleep(3600))
        try:
            async for text in websocket.iter_text():
                await websocket.send_text(text)
        finally:
            heart.cancel()

    starlette = Starlette(routes=[WebSocketRoute("/", app)])
    handler = Longwire(starlette, ws_config={"backend": "memory", "params": {}, "linger": 2})
    async with LocalGateway(handler.handle) as gateway:
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", gateway.management_url)
        async with connect(gateway.url) as client:
            texts = [str(number) for number in range(40)]
            for text in texts:
                await client.send(text)
            async with asyncio.timeout(20):  # 40 steps that linger take 80 s in turn
                assert [await client.recv() for _ in texts] == texts
    await handler.aclose()
