"""What an app sends right after accept: after the response, before any reply, exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from starlette.websockets import WebSocketDisconnect

from longwire import Connections, Longwire
from longwire.exceptions import DeadlineError, GreetingTooLargeError
from longwire.invocation import ending, greeting
from longwire.invocation.replies import Replies
from longwire.registry.record import MAX_DIGESTS
from longwire_aws.http import Response, TransportError
from longwire_backends.memory import MemoryBackend
from tests.connections_server import ConnectionsServer
from tests.invocation.apps import until_gone
from tests.invocation.test_connect import OK, websocket
from tests.lambda_events import (
    LambdaContext,
    connect_event,
    disconnect_event,
    message_event,
)
from tests.talk import talk

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.websockets import WebSocket

    from longwire import WSConfig
    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def _greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.send_text("hello")
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def test_a_greeting_follows_the_response_by_itself() -> None:
    """No message of the client is needed; equal frames are not taken for repeats."""
    async with talk(websocket(_greet)) as client:
        assert await client.connect() == OK
        assert client.frames == []
        await client.until("hello", "hello")
        await client.say("hello")
        await client.say("a")
        assert client.frames == ["hello", "hello", "hello", "a"]


async def test_a_first_message_waits_for_the_greeting() -> None:
    """It may be handled while another event is still delivering it."""
    async with talk(websocket(_greet)) as client:
        await client.connect()
        client.vanish()  # API Gateway does not know the new connection yet
        first = asyncio.create_task(client.say("a"))
        await client.server.until(lambda: len(client.server.requests) > 2)
        client.server.known.add(client.connection_id)
        await first
        assert client.frames == ["hello", "hello", "a"]


async def test_a_connection_that_is_known_a_little_late_gets_its_greeting() -> None:
    """Until then API Gateway answers 410."""
    async with talk(websocket(_greet)) as client:
        client.server.answers[client.connection_id].extend([410, 410, 410])
        await client.connect()
        await client.until("hello", "hello")


async def test_a_greeting_is_not_lost_when_the_loop_ends_with_the_response() -> None:
    """Then it is stored, and the first message delivers it before its replies."""
    store = MemoryBackend()

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("one")
        await websocket.send_bytes(b"two")
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async with talk(websocket(app), backend=store) as client:
        client.server.known.clear()
        await client.connect()
        await client.handler.aclose()  # cancels what goes on after the response
        await client.say("a")
        await client.say("b")
        assert client.frames == ["one", "two", "a", "b"]


def test_a_greeting_is_not_lost_between_event_loops() -> None:
    """`asyncio.run(handler.handle(...))` has a new loop for each event."""
    store = MemoryBackend()
    frames: list[bytes] = []

    async def handle(event: Any) -> Any:
        async with ConnectionsServer() as server:
            settings: WSConfig = {
                "backend": store,
                "params": {},
                "api_gateway_endpoint_url": server.url,
            }
            handler = Longwire(websocket(_greet), ws_config=settings)
            answer = await handler.handle(event, LambdaContext())
            frames.extend(server.frames("QWErT_fALIAMCug="))
            return answer

    for event in (connect_event(), message_event("a"), message_event("b")):
        assert asyncio.run(handle(event)) == OK
    assert frames == [b"hello", b"hello", b"a", b"b"]


async def test_two_first_messages_at_once_deliver_a_stored_greeting_once() -> None:
    """Both wait for it, in whichever process it is delivered."""
    async with talk(websocket(_greet)) as client:
        await client.connect()
        await client.handler.aclose()
        client.server.known.add(client.connection_id)
        await asyncio.gather(client.say("a"), client.say("b"))
        assert client.frames[:2] == ["hello", "hello"]
        assert sorted(client.frames[2:]) == ["a", "b"]


async def test_an_app_that_ends_after_its_greeting_closes_after_it() -> None:
    """The client gets every frame first."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("bye")
        await websocket.close(4000)

    async with talk(websocket(app)) as client:
        assert await client.connect() == OK
        await client.until_deleted()
        assert client.frames == ["bye"]


@pytest.mark.parametrize("ending", ["return", "raise"])
async def test_an_app_that_returns_or_raises_after_accept_closes(
    ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As a server would drop the connection."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("x")
        if ending == "raise":
            raise ValueError("after accept")

    async with talk(websocket(app)) as client:
        assert await client.connect() == OK
        await client.until_deleted()
        assert client.frames == ["x"]
    assert ("ValueError: after accept" in caplog.text) is (ending == "raise")


async def test_an_app_that_goes_on_sending_goes_on_behind_the_response() -> None:
    """It is still working, so its end counts too."""
    going = asyncio.Event()

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("0")
        await going.wait()
        for number in range(1, 4):
            await websocket.send_text(str(number))

    async with talk(websocket(app)) as client:
        assert await client.connect() == OK
        await client.until("0")
        going.set()
        await client.until_deleted()
        assert client.frames == ["0", "1", "2", "3"]


async def test_a_client_that_leaves_before_its_greeting_is_told_to_the_app() -> None:
    """Once, though the app's connect step is long over."""
    told = asyncio.Event()
    codes: list[int] = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        try:
            await websocket.receive_text()
        except WebSocketDisconnect as gone:
            codes.append(gone.code)
            told.set()

    async with talk(websocket(app)) as client:
        client.seconds = 0.5  # bounds how long 410 can mean "not yet"
        client.server.unknown_is_gone = True
        await client.handler.handle(connect_event(client.connection_id), LambdaContext(0.5))
        await told.wait()
        assert await client.leave() == OK
    assert codes == [1006]


async def _late_welcome(websocket: WebSocket) -> None:
    async def welcome() -> None:
        await asyncio.sleep(0.15)  # longer than the response waits
        await websocket.send_text("welcome")

    await websocket.accept()
    task = asyncio.create_task(welcome())
    try:
        async for text in websocket.iter_text():
            await websocket.send_text(text)
    finally:
        task.cancel()


async def test_what_a_busy_task_sends_after_the_response_arrives_once() -> None:
    """Neither its replay nor a first message at the same time sends it again."""
    async with talk(websocket(_late_welcome)) as client:
        assert await client.connect() == OK
        await asyncio.gather(client.say("a"), client.until("a", "welcome"))
        await client.say("b")
        assert client.frames == ["a", "welcome", "b"]


async def test_an_end_that_a_timer_decides_while_the_client_may_speak_does_not_count() -> None:
    """A GraphQL server's init timeout would otherwise close every connection."""
    over = asyncio.Event()

    async def app(websocket: WebSocket) -> None:
        async def init_timeout() -> None:
            await asyncio.sleep(0.15)  # longer than the response waits
            if websocket.scope["extensions"]["longwire"]["phase"] == "connect":
                await websocket.close(4408)
                over.set()

        await websocket.accept()
        timer = asyncio.create_task(init_timeout())
        try:
            async for text in websocket.iter_text():
                timer.cancel()
                await websocket.send_text(text)
        finally:
            timer.cancel()

    async with talk(websocket(app)) as client:
        await client.connect()
        await over.wait()
        await client.say("a")
        assert client.frames == ["a"]
        assert not client.deleted


def _sync(app: Any, server: ConnectionsServer) -> Longwire:
    settings: WSConfig = {"backend": "memory", "params": {}, "api_gateway_endpoint_url": server.url}
    return Longwire(websocket(app), ws_config=settings)


async def test_where_nothing_runs_after_the_response_the_greeting_is_stored() -> None:
    """As on Lambda: the handler is called, answers, and is frozen."""
    async with ConnectionsServer() as server:
        handler = _sync(_greet, server)
        one = "QWErT_fALIAMCug="
        answer = await asyncio.to_thread(handler, connect_event(one), LambdaContext())
        assert answer == OK
        assert server.frames(one) == []
        for text in ("a", "b"):
            await asyncio.to_thread(handler, message_event(text, one), LambdaContext())
        assert server.frames(one) == [b"hello", b"hello", b"a", b"b"]
        await asyncio.to_thread(handler.close)


async def test_where_nothing_runs_after_the_response_a_slow_greeting_is_waited_for() -> None:
    """It could not be sent at any later time."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await asyncio.sleep(1.1)  # longer than a response waits that something can follow
        await websocket.send_text("state")
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async with ConnectionsServer() as server:
        handler = _sync(app, server)
        await asyncio.to_thread(handler, connect_event(), LambdaContext())
        await asyncio.to_thread(handler, message_event("a"), LambdaContext())
        assert server.frames("QWErT_fALIAMCug=") == [b"state", b"a"]
        await asyncio.to_thread(handler.close)


async def test_a_reply_that_equals_a_greeting_is_sent() -> None:
    """The app greets only once, so its replay repeats nothing."""
    greeted = False

    async def app(websocket: WebSocket) -> None:
        nonlocal greeted
        await websocket.accept()
        if not greeted:
            greeted = True
            await websocket.send_text("ok")
        async for _ in websocket.iter_text():
            await websocket.send_text("ok")

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.until("ok")
        await client.say("a")
        await client.say("b")
        assert client.frames == ["ok", "ok", "ok"]


async def test_a_reply_does_not_overtake_what_the_app_still_works_on() -> None:
    """The first run fills a cache, so the second is much faster."""
    cache: list[str] = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        if not cache:
            await asyncio.sleep(1.2)  # longer than the response waits
            cache.append("state")
        await websocket.send_text(cache[0])
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async with talk(websocket(app)) as client:
        assert await client.connect() == OK
        cache.append("state")
        await client.say("a")
        assert client.frames == ["state", "a"]


async def test_where_nothing_runs_after_the_response_an_ended_app_ends_at_the_first_message() -> (
    None
):
    """There is no earlier moment to close the connection."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("bye")

    async with ConnectionsServer() as server:
        handler = _sync(app, server)
        one = "QWErT_fALIAMCug="
        await asyncio.to_thread(handler, connect_event(one), LambdaContext())
        await asyncio.to_thread(handler, message_event("a", one), LambdaContext())
        assert [(method, body) for method, _, body in server.requests] == [
            ("POST", b"bye"),
            ("DELETE", b""),
        ]
        await asyncio.to_thread(handler.close)


async def test_a_greeting_whose_process_died_is_waited_for_until_its_lease_ends() -> None:
    """Nobody knows whether it has arrived, and no frame may arrive twice."""
    store = MemoryBackend()
    async with talk(websocket(_greet), backend=store) as client:
        await client.connect()
        await client.until("hello", "hello")
        stored = await store.get(client.connection_id)
        assert stored is not None
        lease = f'"greeting_until":{time.time() + 0.05},'
        value = stored.value.replace('"v":1,', f'"v":1,{lease}')
        await store.put(client.connection_id, value, stored.expires_at)
        await client.say("a")
        assert client.frames == ["hello", "hello", "a"]


async def test_a_message_that_waits_in_vain_for_a_greeting_is_an_error() -> None:
    """API Gateway tells the client, who would wait for a reply for ever; the app has not run."""
    store = MemoryBackend()
    async with talk(websocket(_greet), backend=store) as client:
        await client.connect()
        await client.until("hello", "hello")
        await client.say("a")
        stored = await store.get(client.connection_id)
        assert stored is not None
        value = stored.value.replace('"v":1,', f'"v":1,"greeting_until":{time.time() + 60},')
        await store.put(client.connection_id, value, stored.expires_at)
        client.seconds = 0.3
        with pytest.raises(DeadlineError):
            await client.say("b")
        await store.put(client.connection_id, stored.value, stored.expires_at)
        client.seconds = 20
        await client.say("c")
        assert client.frames == ["hello", "hello", "a", "c"]


async def test_a_message_has_time_for_its_app_after_the_greeting_of_a_process_that_died() -> None:
    """Both events have the same time, as all events of a function; Lambda's default is short."""
    dead, survivor = MemoryBackend(), MemoryBackend()
    async with talk(websocket(_greet), backend=dead) as client:
        client.seconds = 1.5
        client.server.answers[client.connection_id].extend([410] * 1000)
        assert await client.connect() == OK
        stored = await dead.get(client.connection_id)
        assert stored is not None
        assert '"greeting_until"' in stored.value
        await survivor.put(client.connection_id, stored.value, stored.expires_at)
        client.server.answers.clear()
        await client.until("hello", "hello")
        async with talk(websocket(_greet), backend=survivor) as other:
            other.connection_id, other.seconds = client.connection_id, 1.5
            other.server.known.add(client.connection_id)
            assert await other.say("a") == OK
            assert other.frames == ["a"]


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
async def test_a_wall_clock_that_jumps_does_not_let_a_reply_overtake_the_greeting(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a process, time goes on as it does."""
    wall_clock = time.time
    async with talk(websocket(_greet)) as client:
        client.server.answers[client.connection_id].extend([410] * 5)
        await client.connect()
        monkeypatch.setattr(time, "time", lambda: wall_clock() + jump)
        assert await client.say("a") == OK
        assert client.frames == ["hello", "hello", "a"]


async def test_a_refused_frame_of_a_greeting_is_logged_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody is left to raise it to; it is not sent again."""
    async with talk(websocket(_greet)) as client:
        client.server.answers[client.connection_id].append(500)
        await client.connect()
        await client.until("hello")
        await client.say("a")
        assert client.frames == ["hello", "a"]
    assert "a frame of its greeting was lost: " in caplog.text


async def test_a_refused_frame_of_a_stored_greeting_is_logged_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The message is handled all the same."""
    async with ConnectionsServer() as server:
        handler = _sync(_greet, server)
        await asyncio.to_thread(handler, connect_event(), LambdaContext())
        server.answers["QWErT_fALIAMCug="].append(403)
        await asyncio.to_thread(handler, message_event("a"), LambdaContext())
        assert [body for _, body in server.delivered] == [b"hello", b"a"]
        await asyncio.to_thread(handler.close)
    assert "a frame of its greeting was lost: " in caplog.text


async def test_a_client_gone_before_a_stored_greeting_is_told_to_the_app() -> None:
    """By the message that was to deliver it; `$disconnect` then finds nothing."""
    codes: list[int] = []
    app = until_gone(codes, ["hello"])
    async with ConnectionsServer(unknown_is_gone=True) as server:
        handler = _sync(app, server)
        await asyncio.to_thread(handler, connect_event(), LambdaContext())
        for _ in range(2):
            await asyncio.to_thread(handler, message_event("a"), LambdaContext())
        await asyncio.to_thread(handler, disconnect_event(), LambdaContext())
        await asyncio.to_thread(handler.close)
    assert codes == [1006]


async def test_a_client_seen_leaving_during_its_greeting_is_told_once() -> None:
    """`$disconnect` may come while the greeting still waits for the connection to be known."""
    codes: list[int] = []
    app = until_gone(codes, ["hello"])
    async with talk(websocket(app)) as client:
        await client.handler.handle(connect_event(client.connection_id), LambdaContext(1.0))
        await client.server.until(lambda: len(client.server.requests) > 1)
        await client.leave(4001)
        await client.handler._deferred.wait()
    assert codes == [4001]


async def test_a_streaming_app_whose_client_leaves_learns_from_its_next_send() -> None:
    """Its connect step goes on behind the response, so this run is the one to tell it."""
    ends: list[str] = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text("x")
                await asyncio.sleep(0.01)
        except WebSocketDisconnect as gone:
            ends.append(f"{websocket.scope['extensions']['longwire']['phase']} {gone.code}")

    async with talk(websocket(app)) as client:
        client.seconds = 4
        await client.connect()
        await client.server.until(lambda: len(client.frames) > 3)
        client.vanish()
        await client.handler._deferred.wait()
        await client.leave()
    assert ends == ["connect 1006"]


async def test_an_app_that_ended_is_forgotten_though_its_greeting_is_still_on_its_way() -> None:
    """`$disconnect` comes while the greeting is not delivered: no record may come back after it."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.send_text("and bye")

    store = MemoryBackend()
    handler = Longwire(websocket(app), ws_config={"backend": store})
    handler.transport = never_there = NeverThere()
    await handler.handle(connect_event("Ended="), LambdaContext())
    await never_there.refused.wait()
    await handler.handle(disconnect_event("Ended="), LambdaContext())
    await handler.aclose()
    assert await store.get("Ended=") is None


async def test_closing_the_handler_ends_what_a_refused_app_left_behind() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            tasks.append(asyncio.create_task(asyncio.sleep(100)))

    handler = Longwire(app, ws_config={"backend": MemoryBackend()})
    assert (await handler.handle(connect_event(), LambdaContext()))["statusCode"] == 500
    await handler.aclose()
    await asyncio.wait(tasks, timeout=0)
    assert all(task.cancelled() for task in tasks)


async def test_what_an_app_sends_while_its_greeting_is_on_its_way_is_sent_once() -> None:
    """API Gateway knows a connection a little late; meanwhile the app already waits for it."""

    async def app(websocket: WebSocket) -> None:
        async def tick() -> None:
            for number in range(3):
                await asyncio.sleep(0.06)
                await websocket.send_text(f"tick {number}")

        await websocket.accept()
        async with asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(tick())
            async for text in websocket.iter_text():
                await websocket.send_text(text)
            ticking.cancel()

    async with talk(websocket(app)) as client:
        await client.handler.handle(connect_event(client.connection_id), LambdaContext())
        await client.server.until(lambda: len(client.server.requests) > 3)
        client.server.known.add(client.connection_id)
        await client.server.until(lambda: len(client.frames) == 3)
        await client.say("a")
        await client.say("b")
        assert client.frames == ["tick 0", "tick 1", "tick 2", "a", "b"]


class _SlowStore(MemoryBackend):
    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        await asyncio.sleep(0.3)
        return await super().put(connection_id, value, expires_at)


@pytest.mark.parametrize("store", [MemoryBackend(), _SlowStore()])
async def test_an_app_that_returns_while_it_is_stored_ends_its_connection(
    store: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has left a task behind that waits for the client, however long the store takes."""
    monkeypatch.setattr(ending, "COLD_START", 0.3)
    reading: list[asyncio.Future[Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise ValueError(scope["type"])
        await receive()
        await send({"type": "websocket.accept"})
        reading.append(asyncio.ensure_future(receive()))
        await asyncio.sleep(0.15)

    async with talk(app, backend=store) as client:
        await client.connect()
        await client.handler._deferred.wait()
        assert await store.get(client.connection_id) is None
        assert client.deleted


class NeverThere:
    """A transport to an API Gateway that does not know the connection yet."""

    def __init__(self) -> None:
        self.refused = asyncio.Event()

    async def request(
        self, method: str, url: str, headers: Any = (), body: bytes = b"", *, timeout: float
    ) -> Response:
        self.refused.set()
        return Response(410, {}, b"")


async def test_a_greeting_that_was_refused_so_far_is_not_lost_with_its_process(
    tmp_path: Path,
) -> None:
    """What is cut off between two attempts has surely not arrived: the first message brings it."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("one")
        await websocket.send_text("two")
        await websocket.send_text(await websocket.receive_text())

    settings: Any = {
        "backend": "sqlite3",
        "params": {"file_path": tmp_path / "store.sqlite3"},
    }
    async with ConnectionsServer() as server:
        settings["api_gateway_endpoint_url"] = server.url
        first, second = (Longwire(websocket(app), ws_config=settings) for _ in range(2))
        first.transport = never_there = NeverThere()
        await first.handle(connect_event(), LambdaContext())
        await never_there.refused.wait()
        await first.aclose()
        await second.handle(message_event("a"), LambdaContext())
        await second.aclose()
        assert [body for _, body in server.delivered] == [b"one", b"two", b"a"]


class Unreachable:
    """A transport to an API that cannot be reached before it has been asked so many times."""

    def __init__(self, refusals: int) -> None:
        self.frames: list[str] = []
        self.refusals = refusals

    async def request(
        self, method: str, url: str, headers: Any = (), body: bytes = b"", *, timeout: float
    ) -> Response:
        self.refusals -= 1
        if self.refusals >= 0:
            raise TransportError("nobody listens", sent=False)
        if method == "POST":
            self.frames.append(body.decode())
        return Response(200, {}, b"")


async def test_a_stream_waits_for_an_api_that_cannot_be_reached() -> None:
    """Nothing is lost, doubled or out of order; a message's event knows what has been sent."""

    async def app(websocket: WebSocket) -> None:
        async def tick() -> None:
            for number in range(8):
                await websocket.send_text(f"tick {number}")
                await asyncio.sleep(0.05)

        await websocket.accept()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tick())
            async for text in websocket.iter_text():
                await websocket.send_text(text)

    handler = Longwire(websocket(app), ws_config={"backend": MemoryBackend()})
    handler.transport = api = Unreachable(6)
    await handler.handle(connect_event(), LambdaContext())
    await handler._deferred.wait()
    await handler.handle(message_event("a"), LambdaContext())
    await handler.aclose()
    assert api.frames == [*(f"tick {number}" for number in range(8)), "a"]


@pytest.mark.parametrize("ends", [False, True])
async def test_a_stored_greeting_waits_for_an_api_that_cannot_be_reached(ends: bool) -> None:
    """It goes before the reply, and before the end of an app that says why it ends."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("one")
        await websocket.send_text("two")
        if not ends:
            await websocket.send_text(await websocket.receive_text())
            await websocket.receive_text()

    store = MemoryBackend()
    settings: WSConfig = {"backend": store, "api_gateway_endpoint_url": "http://127.0.0.1:9/local"}
    first, second = (Longwire(websocket(app), ws_config=settings) for _ in range(2))
    first.transport = never_there = NeverThere()
    await first.handle(connect_event("Waits="), LambdaContext())
    await never_there.refused.wait()
    await first.aclose()
    second.transport = api = Unreachable(6)
    await second.handle(message_event("a", "Waits="), LambdaContext())
    await second.aclose()
    assert api.frames == (["one", "two"] if ends else ["one", "two", "a"])
    assert (await store.get("Waits=") is None) is ends


async def test_a_stored_greeting_for_which_there_is_no_time_is_kept() -> None:
    """The message's event ends in its time, and the next one delivers it first."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    handler = Longwire(websocket(app), ws_config={"backend": MemoryBackend()})
    handler.transport = api = Unreachable(1000)
    assert await handler.handle(connect_event(), LambdaContext(0.5)) == OK
    await handler._deferred.wait()
    with pytest.raises(DeadlineError):  # so that API Gateway tells the client
        await handler.handle(message_event("a"), LambdaContext(0.5))
    api.refusals = 0
    assert await handler.handle(message_event("b"), LambdaContext()) == OK
    await handler.aclose()
    assert api.frames == ["hello", "b"]


async def test_an_app_that_cleans_up_has_no_effect_while_its_end_is_told() -> None:
    """Its first run is still in its `finally` when the greeting finds that the client is gone."""
    runs: list[str] = []
    told = asyncio.Event()

    async def app(ws: WebSocket) -> None:
        runs.append("run")
        name = f"run {len(runs)}"
        await ws.accept()
        await ws.send_text("hello")
        try:
            await ws.receive()
            told.set()
        finally:
            await told.wait()
            await connections.send("other=", name)

    connections = Connections()
    async with talk(websocket(app)) as client:
        client.server.known.add("other=")
        # So short that "gone" is believed before the first run is given up.
        await client.handler.handle(connect_event(client.connection_id), LambdaContext(1.8))
        await client.handler._deferred.wait()
        assert runs == ["run"] * 2
        assert ("other=", b"run 1") not in client.server.delivered


# Its limits


async def _refused_after(frame: str) -> int:
    """Let an app send a frame until that raises; return how many its client gets."""
    taken: list[int] = []
    limits: list[tuple[int, int, bool]] = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            for number in range(1000):
                taken.append(number)
                await websocket.send_text(frame)
        except GreetingTooLargeError as error:
            limits.append((error.frames, error.size, error.sent))
        await websocket.close()

    async with talk(websocket(app)) as client:
        assert await client.connect() == OK
        await client.until_deleted()
        assert limits == [(500, 262_144, False)]
        assert len(client.frames) == len(taken) - 1
        return len(client.frames)


@pytest.mark.parametrize(("size", "frames"), [(1, 500), (100_000, 2), (131_072, 2), (1024, 256)])
async def test_a_greeting_has_a_limit_in_frames_and_bytes(size: int, frames: int) -> None:
    """What is over it raises where the app sends it; all before it arrives."""
    assert await _refused_after("x" * size) == frames


async def test_an_app_that_greets_without_end_is_bounded_in_time_and_size() -> None:
    """Whatever it makes of the error; what it has sent is stored once."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        number = 0
        while True:
            number += 1
            with contextlib.suppress(GreetingTooLargeError):
                await websocket.send_text(str(number))

    store = MemoryBackend()
    settings: WSConfig = {
        "backend": store,
        "params": {},
        "api_gateway_endpoint_url": "http://127.0.0.1:9/x",
    }
    handler = Longwire(websocket(app), ws_config=settings)
    answer = await asyncio.to_thread(handler, connect_event(), LambdaContext(0.5))
    await asyncio.to_thread(handler.close)
    assert answer == OK
    stored = await store.get("QWErT_fALIAMCug=")
    assert stored is not None
    assert json.loads(stored.value)["greeting"] == [{"text": str(n)} for n in range(1, 501)]


async def test_what_is_over_the_limit_waits_once_the_response_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An app that goes on faster than its greeting arrives is held back, as by a server."""
    monkeypatch.setattr(greeting, "MOST_FRAMES", 5)
    going = asyncio.Event()

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await asyncio.gather(*(websocket.send_text(str(number)) for number in range(4)))
        await going.wait()
        await asyncio.gather(*(websocket.send_text(str(number)) for number in range(4, 40)))

    async with talk(websocket(app)) as client:
        assert await client.connect() == OK
        going.set()
        await client.until_deleted()
        assert client.frames == [str(number) for number in range(40)]


async def test_a_replay_that_sends_without_end_remembers_no_more_than_the_record() -> None:
    """A stream is not told apart from news by all of its frames."""
    connection: Any = SimpleNamespace(encode=str.encode)
    own = Replies(connection, None)  # type: ignore[arg-type]
    for number in range(10_000):
        own.swallow(str(number))
    assert len(own._swallowed) == MAX_DIGESTS


async def test_a_long_greeting_is_not_overtaken_by_a_reply() -> None:
    """Whoever delivers it renews the lease that others wait for."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(100):
            await ws.send_text(str(number))
        async for text in ws.iter_text():
            await ws.send_text(f"reply to {text}")

    async with talk(websocket(app)) as client:
        # Longer than half of what its event has; the first message's event has more.
        client.server.delay = 0.015
        client.seconds = 3.0
        await client.connect()
        client.seconds = 20.0
        await client.say("hi")
        assert client.frames == [*map(str, range(100)), "reply to hi"]


async def test_a_stream_learns_from_its_greeting_that_its_client_is_gone() -> None:
    """Its send waits for the delivery, and raises what the delivery has found."""
    caught: list[str] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        try:
            for number in range(2000):
                await ws.send_text(str(number))
                await asyncio.sleep(0.005)
        except WebSocketDisconnect as error:
            caught.append(type(error.__context__).__name__)

    async with talk(websocket(app)) as client:
        client.seconds = 6.0
        client.server.unknown_is_gone = True  # and nobody makes this one known
        await client.handler.handle(connect_event(client.connection_id), LambdaContext(6.0))
        await client.handler._deferred.wait()
    assert caught == ["ConnectionGoneError"]
