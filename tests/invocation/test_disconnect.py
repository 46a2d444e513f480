"""DISCONNECT: the app learns once, with the client's code and reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from longwire import Longwire
from longwire_backends.memory import MemoryBackend
from tests.invocation.apps import until_gone
from tests.invocation.test_connect import OK, websocket
from tests.talk import talk

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (4001, "bye"),
        (1000, "Connection Closed Normally"),
        (1001, "Going away"),
        (1003, ""),
        (1005, "Client-side close frame status not set"),
        (1006, ""),
        (1008, ""),
        (1009, ""),
        (1011, ""),
        (1012, ""),
    ],
)
async def test_the_app_receives_the_code_and_reason(code: int, reason: str) -> None:
    """Exactly as API Gateway gives them, the client's or one of its own."""
    got: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        got.append(message)

    async with talk(app, lifespan="off") as client:
        await client.connect()
        await client.say("a")
        assert await client.leave(code, reason) == OK
    assert got == [{"type": "websocket.disconnect", "code": code, "reason": reason}]


async def test_the_app_is_told_once_however_often_the_event_comes() -> None:
    """Also when two events come at the same time."""
    told: list[int] = []
    app = until_gone(told)
    async with talk(websocket(app)) as client:
        await client.connect()
        await asyncio.gather(client.leave(), client.leave())
        await client.leave()
    assert told == [1001]


async def test_an_endpoint_that_lets_the_disconnect_escape_is_normal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nearly every endpoint does; inside a task group it comes as a group."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        async with asyncio.TaskGroup() as group:
            group.create_task(_read(websocket))

    async def _read(websocket: WebSocket) -> None:
        while True:
            await websocket.receive_text()

    async with talk(websocket(app)) as client:
        await client.connect()
        assert await client.leave() == OK
    assert caplog.records == []


async def test_a_send_to_a_client_who_has_left_raises() -> None:
    """And nothing is posted."""
    raised: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        try:
            await send({"type": "websocket.send", "text": "x"})
        except OSError as error:
            raised.append(error)

    async with talk(app, lifespan="off") as client:
        await client.connect()
        await client.leave()
        assert client.server.requests == []
        assert [str(error) for error in raised] == [f"connection {client.connection_id} is gone"]


async def test_a_streaming_app_learns_from_its_sends() -> None:
    """It never waits for the client, so no receive() can tell it."""
    ends: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "text": "x"})
                await asyncio.sleep(0.01)
        except OSError:
            ends.append(scope["extensions"]["longwire"]["phase"])

    async with talk(app, lifespan="off", linger=0.1) as client:
        client.seconds = 0.5
        await client.connect()
        await client.handler.aclose()
        client.seconds = 20
        assert await client.leave() == OK
    assert ends == ["disconnect"]


async def test_a_longer_greeting_than_before_does_not_hide_the_code() -> None:
    """A chat's history has grown since its reader connected."""
    history = ["one"]
    told: list[int] = []
    app = until_gone(told, history)
    async with talk(websocket(app)) as client:
        await client.connect()
        await client.until("one")
        history.extend(["two", "three"])
        await client.leave(4001)
        assert client.frames == ["one"]
    assert told == [4001]


async def test_a_crash_while_the_client_leaves_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The event has no error all the same."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.receive_text()
        finally:
            if websocket.scope["extensions"]["longwire"]["phase"] == "disconnect":
                raise ValueError("cleaning up")

    async with talk(websocket(app)) as client:
        await client.connect()
        assert await client.leave() == OK
    assert "ValueError: cleaning up" in caplog.text


async def test_a_disconnect_of_an_unknown_connection_is_quiet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It expired, or its app has ended it."""

    async def app(websocket: WebSocket) -> None:
        raise AssertionError("must not run")

    async with talk(websocket(app)) as client:
        assert await client.leave() == OK
    assert caplog.records == []


async def test_another_process_tells_the_app_as_well() -> None:
    """All it needs is the store."""
    store = MemoryBackend()
    told: list[int] = []
    app = until_gone(told)
    async with talk(websocket(app), backend=store) as client:
        await client.connect()
        client.handler = Longwire(websocket(app), ws_config={"backend": store, "params": {}})
        await client.leave(4002)
    assert told == [4002]
