"""What an app keeps in `scope["state"]`: stored with each message, there for the next event."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from longwire import BackendError, Connections, Longwire, StateError
from longwire.registry import record
from longwire_backends.memory import MemoryBackend
from tests.invocation.test_connect import OK, websocket
from tests.talk import Talk, old_record, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.websockets import WebSocket

    from longwire_backends import Page, Record

pytestmark = pytest.mark.anyio


class Watched(MemoryBackend):
    """Notes what is asked of it; `before_update` may change something just before a write."""

    def __init__(self) -> None:
        super().__init__()
        self.records = MemoryBackend()  # of its own, whose methods call each other
        self.asked: list[str] = []
        self.before_update: list[Callable[[], Any]] = []

    async def get(self, connection_id: str) -> Record | None:
        self.asked.append("get")
        return await self.records.get(connection_id)

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        self.asked.append("put")
        return await self.records.put(connection_id, value, expires_at)

    async def take(self, connection_id: str) -> Record | None:
        self.asked.append("take")
        return await self.records.take(connection_id)

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        self.asked.append("update")
        if self.before_update:
            await self.before_update.pop()()
        return await self.records.update(connection_id, value, expires_at, version)

    async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
        return await self.records.connections(limit=limit, after=after)


class Events(Talk):
    """A client each of whose events is handled by a process that has had no other."""

    backend: Watched

    def renew(self) -> None:
        self.handler = self.new()

    new: Callable[[], Longwire]

    async def say(self, body: str, *, base64: bool = False) -> Any:
        self.renew()
        return await super().say(body, base64=base64)

    async def leave(self, code: int = 1001, reason: str = "") -> Any:
        self.renew()
        return await super().leave(code, reason)

    async def stored(self) -> Any:
        """Return the state and the session that the store has."""
        stored = await self.backend.records.get(self.connection_id)
        if stored is None:
            return None
        value = json.loads(stored.value)
        return value.get("state", {}), value.get("session", {})


@asynccontextmanager
async def events(app: Any, **ws_config: Any) -> AsyncIterator[Events]:
    backend = Watched()
    async with talk(app, backend=backend, **ws_config) as first:
        config: Any = {
            "backend": backend,
            "api_gateway_endpoint_url": first.server.url,
            **ws_config,
        }
        client = Events(first.handler, first.server, first.connection_id)
        client.backend = backend
        client.new = lambda: Longwire(app, ws_config=config)
        yield client


async def _count(ws: WebSocket) -> None:
    ws.state.n = 0
    await ws.accept()
    async for _ in ws.iter_text():
        ws.state.n += 1
        await ws.send_text(str(ws.state.n))


async def test_a_counter_counts_in_any_process() -> None:
    """Though its connect part sets it to 0 for each message."""
    async with events(websocket(_count)) as client:
        await client.connect()
        for _ in range(3):
            assert await client.say("") == OK
        assert client.frames == ["1", "2", "3"]
        assert await client.stored() == ({"n": [3]}, {})


async def test_a_change_costs_one_write_and_nothing_costs_nothing() -> None:
    async def app(ws: WebSocket) -> None:
        ws.state.n, ws.state.pool = 0, object()
        await ws.accept()
        async for text in ws.iter_text():
            if text == "change":
                ws.state.n += 1

    async with events(websocket(app)) as client:
        await client.connect()
        client.backend.asked.clear()
        await client.say("look")
        assert client.backend.asked == ["get"]
        await client.say("change")
        assert client.backend.asked == ["get", "get", "update"]
        client.backend.asked.clear()
        await client.say("look")
        await client.leave()
        assert client.backend.asked == ["get", "take"]


async def test_who_was_faster_loses_nothing() -> None:
    """Another event's change in between is read, and merged key by key."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            setattr(ws.state, text, text.upper())

    async with events(websocket(app)) as client:
        await client.connect()
        client.backend.asked.clear()
        client.backend.before_update.append(lambda: client.say("b"))
        await client.say("a")
        assert await client.stored() == ({"a": ["A"], "b": ["B"]}, {})
        assert client.backend.asked == ["get", "update", "get", "update", "get", "update"]


async def test_what_the_app_does_while_it_is_stopped_does_not_count() -> None:
    """Nor what a task or a thread does after the step."""
    release, changed = threading.Event(), threading.Event()

    def later(state: Any) -> None:
        release.wait(10)
        state.thread = 1
        changed.set()

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        try:
            async for _ in ws.iter_text():
                threading.Thread(target=later, args=[ws.state]).start()
                ws.state.n = 1
        finally:
            ws.state.n = 2
            ws.state.left = True

    async with events(websocket(app)) as client:
        await client.connect()
        await client.say("")
        release.set()
        await asyncio.to_thread(changed.wait, 10)
        assert await client.stored() == ({"n": [1]}, {})


@pytest.mark.parametrize("end", ["close", "return", "raise"])
async def test_who_ends_the_conversation_leaves_nothing(end: str) -> None:
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        ws.state.n = await ws.receive_text()
        if end == "close":
            await ws.close()
            await ws.receive()
        if end == "raise":
            raise ValueError

    async with events(websocket(app)) as client:
        await client.connect()
        client.backend.asked.clear()
        await client.say("x")
        assert client.backend.asked == ["get", "take"]
        assert await client.stored() is None


async def test_what_the_connect_part_changes_behind_its_response_is_its_own() -> None:
    """It sets it again with each event."""
    going_on = asyncio.Event()

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        ws.state.early = 1
        await going_on.wait()
        ws.state.late = 1
        async for text in ws.iter_text():
            ws.state.said = text

    async with events(websocket(app)) as client:
        first = client.handler
        waiting = asyncio.get_running_loop().call_later(1.2, going_on.set)
        await client.connect()
        waiting.cancel()
        going_on.set()
        await first._deferred.wait()
        assert await client.stored() == ({}, {})
        await client.say("x")
        assert await client.stored() == ({"said": ["x"]}, {})


async def test_the_app_sees_it_when_the_client_has_left() -> None:
    seen: list[Any] = []

    async def app(ws: WebSocket) -> None:
        ws.state.name = "nobody"
        await ws.accept()
        try:
            ws.state.name = await ws.receive_text()
            await ws.receive_text()
        except WebSocketDisconnect as gone:
            seen.append((ws.state.name, gone.code))

    async with events(websocket(app)) as client:
        await client.connect()
        await client.say("ann")
        await client.leave(1001)
        other = client.another()
        await other.connect()
        await other.leave(1001)
    assert seen == [("ann", 1001), ("nobody", 1001)]


async def test_the_app_sees_it_when_a_send_finds_the_client_gone() -> None:
    """In the event that finds it, and in one that tells of another's."""
    seen: list[Any] = []

    async def app(ws: WebSocket) -> None:
        ws.state.name = "nobody"
        await ws.accept()
        try:
            while True:
                text = await ws.receive_text()
                if text == "reply":
                    await ws.send_text(text)
                ws.state.name = text
        except WebSocketDisconnect as gone:
            seen.append((ws.state.name, gone.code))

    async with events(websocket(app)) as client:
        await client.connect()
        await client.say("ann")
        await client.grow_old()
        client.vanish()
        await client.say("reply")
        assert seen == [("ann", 1006)]
        swept = Events(client.handler, client.server, "swept=")
        swept.backend, swept.new = client.backend, client.new
        await swept.connect()
        await swept.say("bob")
        await swept.grow_old()
        swept.vanish()
        assert (await swept.handler.sweep(min_age=0)).gone == 1
        assert seen == [("ann", 1006), ("bob", 1006)]


async def test_an_app_that_streams_sees_it_at_its_end() -> None:
    """It never waits for the client, and learns of the end as it sends."""
    seen: list[Any] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        while not seen:
            try:
                await ws.send_text("tick")
            except (OSError, WebSocketDisconnect):
                seen.append(ws.state.n)

    async with events(websocket(app), linger=0.1) as client:
        known = record.loads(old_record())
        known.state = {"n": [5]}
        await client.backend.put(client.connection_id, record.dumps(known), 2**40)
        await client.leave()
    assert seen == [5]


async def test_what_cannot_be_stored_is_an_error_of_the_event(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It names the key and not the value, once in the log; what else has changed is stored."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            ws.state.at, ws.state.n = b"SECRET", text
            await ws.send_text("done")

    async with events(websocket(app)) as client:
        await client.connect()
        with pytest.raises(StateError) as caught:
            await client.say("x")
        assert client.frames == ["done"]
        assert not client.deleted
        assert await client.stored() == ({"n": ["x"]}, {})
    error = caught.value
    assert (error.connection_id, error.key) == (client.connection_id, "at")
    assert error.reason == "it has a value of type bytes, which JSON would not give back"
    assert str(error).startswith(
        f"connection {client.connection_id}: 'at' in its state cannot be kept: {error.reason}; keep"
    )
    assert "SECRET" not in str(error)
    (logged,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert logged.getMessage() == str(error)


async def test_the_limit_is_that_of_the_settings() -> None:
    async def app(ws: WebSocket) -> None:
        ws.state.history = []
        await ws.accept()
        async for text in ws.iter_text():
            ws.state.history.append(text)
            await ws.send_text(str(len(ws.state.history)))

    async with events(websocket(app), state_limit=1000) as client:
        await client.connect()
        await client.say("x" * 600)
        for _ in range(2):
            with pytest.raises(StateError, match="and the limit is 1000") as error:
                await client.say("y" * 600)
            assert error.value.key == "history"
        assert client.frames == ["1", "2", "2"]


async def test_it_can_be_turned_off() -> None:
    """Then nothing is stored, and what is stored is not given to the app."""
    async with events(websocket(_count)) as client:
        await client.connect()
        await client.say("")
        client.new = lambda: Longwire(
            websocket(_count),
            ws_config={
                "backend": client.backend,
                "api_gateway_endpoint_url": client.server.url,
                "state": False,
            },
        )
        await client.say("")
        await client.say("")
        assert client.frames == ["1", "1", "1"]
        assert await client.stored() == ({"n": [1]}, {})


async def test_a_session_is_kept_as_well() -> None:
    """In the object that the middleware makes from the cookie for each event."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            ws.session.setdefault("said", []).append(text)
            await ws.send_text(" ".join(ws.session["said"]))

    with_sessions = Starlette(
        routes=[WebSocketRoute("/", app)],
        middleware=[Middleware(SessionMiddleware, secret_key="tests only")],
    )
    async with events(with_sessions) as client:
        await client.connect()
        for text in ("a", "b", "c"):
            await client.say(text)
        assert client.frames == ["a", "a b", "a b c"]
        assert await client.stored() == ({}, {"said": [["a", "b", "c"]]})


@pytest.mark.parametrize(
    "state",
    [5, {"n": 1}, {"n": [1, 2]}, {"n": ["\ud800"]}, {"n": [float("nan")]}, {"n": ["x" * 300_000]}],
)
async def test_a_state_that_was_tampered_with_ends_its_connection(
    state: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As any damaged record does; the app does not see it."""
    async with events(websocket(_count)) as client:
        await client.connect()
        await client.say("")
        stored = await client.backend.get(client.connection_id)
        assert stored is not None
        value = json.dumps(json.loads(stored.value) | {"state": state})
        await client.backend.put(client.connection_id, value, stored.expires_at)
        await client.say("")
        assert client.frames == ["1"]
        assert client.deleted
    assert "a stored record is not readable: 'state' has a wrong value" in caplog.text


async def test_what_has_changed_is_stored_at_the_deadline_too() -> None:
    """What the app has sent by then has arrived."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            ws.state.n = text
            await asyncio.get_running_loop().create_future()

    async with events(websocket(app), linger=60.0) as client:
        client.seconds = 0.5
        await client.connect()
        await client.say("x")
        assert await client.stored() == ({"n": ["x"]}, {})


@pytest.mark.parametrize("how", ["reply", "send", "group_send"])
async def test_who_has_got_a_reply_finds_what_was_changed_before_it(how: str) -> None:
    """The client's next message may be handled elsewhere before this event is over."""
    connections = Connections()

    async def app(ws: WebSocket) -> None:
        ws.state.n = 0
        await ws.accept()
        await connections.group_add("all", ws)
        async for _ in ws.iter_text():
            ws.state.n += 1
            match how:
                case "reply":
                    await ws.send_text(str(ws.state.n))
                case "send":
                    await connections.send(ws, str(ws.state.n))
                case "group_send":
                    await connections.group_send("all", str(ws.state.n))
            if ws.state.n == 1:
                await held.wait()

    held = asyncio.Event()
    async with events(websocket(app)) as client:
        await client.connect()
        first = asyncio.create_task(client.say(""))
        await client.until("1")
        client.backend.asked.clear()
        await client.say("")
        await client.until("1", "2")
        assert client.backend.asked[:2] == ["get", "update"]
        held.set()
        await first
        assert await client.stored() == ({"n": [2]}, {})
        assert client.backend.asked.count("update") == 1


async def test_a_store_that_fails_before_a_reply_is_asked_again_in_the_end() -> None:
    """The app hears nothing of it; the event fails if it fails again."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            ws.state.said = text
            await ws.send_text(text)
            ws.state.done = text
            await ws.send_text("done")

    async def fail() -> None:
        raise BackendError("watched", "update", "it is down")

    async with events(websocket(app)) as client:
        await client.connect()
        client.backend.before_update = [fail]
        await client.say("a")
        assert await client.stored() == ({"said": ["a"], "done": ["a"]}, {})
        client.backend.before_update = [fail, fail]
        with pytest.raises(BackendError):
            await client.say("b")
        assert client.frames == ["a", "done", "b", "done"]
        assert not client.deleted
        assert await client.stored() == ({"said": ["a"], "done": ["a"]}, {})


async def test_what_was_too_large_for_a_while_is_stored_in_the_end() -> None:
    """Nothing of it is lost when something else makes room."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            if text == "fill":
                ws.state.old = "x" * 800
                continue
            ws.state.new, ws.state.other = "y" * 800, 1
            await ws.send_text("1")
            if text == "too much":
                continue
            del ws.state.old
            await ws.send_text("2")
            ws.state.other = 2
            await ws.send_text("3")

    async with events(websocket(app), state_limit=1000) as client:
        await client.connect()
        await client.say("fill")
        with pytest.raises(StateError) as caught:
            await client.say("too much")
        assert caught.value.key == "new"
        assert await client.stored() == ({"old": ["x" * 800], "other": [1]}, {})
        await client.say("make room")
        assert await client.stored() == ({"other": [2], "new": ["y" * 800]}, {})


async def test_a_mistake_that_is_mended_within_the_event_is_none() -> None:
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            ws.state.at = {1}
            await ws.send_text("1")
            ws.state.at = [text]

    async with events(websocket(app)) as client:
        await client.connect()
        await client.say("a")
        assert await client.stored() == ({"at": [["a"]]}, {})


async def test_what_is_newer_is_stored_last() -> None:
    """Though several tasks send, and the store answers as it likes."""
    connections = Connections()
    hold, held = asyncio.Event(), asyncio.Event()

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            ws.state.n = 1
            first = asyncio.create_task(connections.send(ws, "1"))
            await held.wait()
            ws.state.n = 2
            second = asyncio.create_task(connections.send(ws, "2"))
            third = asyncio.create_task(ws.send_text("3"))
            await asyncio.sleep(0)
            hold.set()
            await asyncio.gather(first, second, third)

    async def wait() -> None:
        held.set()
        await hold.wait()
        await other.update_state(client.connection_id, {"by": "other"})

    async with events(websocket(app)) as client:
        other = Connections(ws_config={"backend": client.backend})
        await client.connect()
        client.backend.before_update = [wait]
        await client.say("")
        assert await client.stored() == ({"by": ["other"], "n": [2]}, {})
        assert sorted(client.frames) == ["1", "2", "3"]


async def test_another_name_for_what_is_kept_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """What is stored is put back as another list, which the local variable does not see."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        history = websocket.state.history = []
        async for text in websocket.iter_text():
            history.append(text)
            await websocket.send_text(str(len(websocket.state.history)))

    async with talk(websocket(app)) as client:
        await client.connect()
        for text in "abc":
            await client.say(text)
        assert client.frames == ["1", "1", "1"]
    (line,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert "another name of its state's 'history' is lost" in line
