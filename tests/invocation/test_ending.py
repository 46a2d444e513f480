"""Ends behind the response: they count, unless the client has spoken before."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from starlette.websockets import WebSocketDisconnect

from longwire.asgi import run
from longwire.invocation import connection, ending
from longwire_backends.memory import MemoryBackend
from tests.invocation.test_connect import websocket
from tests.lambda_events import LambdaContext
from tests.talk import Talk, talk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.websockets import WebSocket

    Endpoint = Callable[[WebSocket], Awaitable[None]]

pytestmark = pytest.mark.anyio


async def _stream(websocket: WebSocket) -> None:
    """Send for a while, listening for the client's end, and close."""
    await websocket.accept()

    async def listen() -> None:
        async for text in websocket.iter_text():
            await websocket.send_text(f"got {text}")

    listener = asyncio.create_task(listen())
    for number in range(3):
        await asyncio.sleep(0.06)
        await websocket.send_text(str(number))
    listener.cancel()
    await websocket.close(1000)


async def _login(websocket: WebSocket) -> None:
    """Close where the client does not say who it is in time."""
    await websocket.accept()
    try:
        name = await asyncio.wait_for(websocket.receive_text(), 0.3)
    except TimeoutError:
        await websocket.close(4408)
        return
    await websocket.send_text(f"hello {name}")
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def _crash(websocket: WebSocket) -> None:
    """Raise while another task waits for the client."""
    await websocket.accept()
    listener = asyncio.create_task(websocket.receive_text())
    await asyncio.sleep(0.15)
    listener.cancel()
    raise RuntimeError("broken")


async def _return(websocket: WebSocket) -> None:
    await websocket.accept()
    listener = asyncio.create_task(websocket.receive_text())
    try:
        await asyncio.wait({listener}, timeout=0.2)
    finally:
        listener.cancel()


def _says(client: Talk, body: str, at: float) -> Any:
    """Invoke the handler with a message that API Gateway got at this time."""
    event = client.message(body)
    event["requestContext"]["requestTimeEpoch"] = int(at * 1000)
    return client.handler.handle(event, LambdaContext(client.seconds))


async def _until_noted(store: MemoryBackend, client: Talk) -> None:
    """Wait until the connect step has ended behind its response."""
    while (stored := await store.get(client.connection_id)) and "ending_at" not in stored.value:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("endpoint", [_stream, _login, _crash, _return])
async def test_an_end_behind_the_response_ends_the_connection(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A close, a return and a crash, though the app waits for the client; nobody is told."""
    monkeypatch.setattr(ending, "COLD_START", 0.3)
    store = MemoryBackend()
    async with talk(websocket(endpoint), backend=store) as client:
        await client.connect()
        await client.until_deleted()
        assert await store.get(client.connection_id) is None
        if endpoint is _stream:
            assert client.frames == ["0", "1", "2"]


async def test_a_client_that_has_spoken_before_keeps_its_connection() -> None:
    """The conversation goes on with the event of its message, not with the connect step."""
    async with talk(websocket(_login)) as client:
        await client.connect()
        await client.say("ann")
        await client.handler._deferred.wait()
        assert client.frames == ["hello ann"]
        await client.say("bob")
        assert client.frames == ["hello ann", "hello bob"]
        assert not client.deleted


async def test_a_message_of_before_that_comes_after_the_end_goes_on() -> None:
    """Its process had to start first."""
    store = MemoryBackend()
    async with talk(websocket(_login), backend=store) as client:
        await client.connect()
        spoken_at = time.time()
        await _until_noted(store, client)
        await _says(client, "ann", spoken_at)
        await client.handler._deferred.wait()
        assert client.frames == ["hello ann"]
        assert not client.deleted


async def test_a_message_of_after_the_end_comes_too_late() -> None:
    """The connection ends with it at once, and the app does not get it."""
    store = MemoryBackend()
    async with talk(websocket(_login), backend=store) as client:
        await client.connect()
        await _until_noted(store, client)
        assert await _says(client, "ann", time.time() + 1) == {"statusCode": 200}
        assert client.deleted
        assert client.frames == []
        await client.handler._deferred.wait()
        assert client.server.requests.count(("DELETE", client.connection_id, b"")) == 1


async def test_an_end_whose_process_died_is_made_good() -> None:
    """By the next message, though nobody has deleted the connection."""
    store = MemoryBackend()
    async with talk(websocket(_login), backend=store) as client:
        await client.connect()
        await _until_noted(store, client)
        stored = await store.get(client.connection_id)
        assert stored is not None
        await client.handler._deferred.wait()
        # As that process has left it.
        await store.put(client.connection_id, stored.value, stored.expires_at)
        client.server.requests.clear()
        await _says(client, "ann", time.time() + 60)
        assert client.deleted
        assert client.frames == []


async def test_a_streamer_that_never_listens_ends_at_once() -> None:
    """It cannot have missed anything."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        for number in range(3):
            await asyncio.sleep(0.06)
            await websocket.send_text(str(number))

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.until_deleted()
        assert client.frames == ["0", "1", "2"]


async def test_an_app_that_cancels_its_own_close_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A `finally` may cancel the task that is about to close the connection."""
    monkeypatch.setattr(ending, "COLD_START", 0.3)

    async def app(websocket: WebSocket) -> None:
        async def too_late() -> None:
            await asyncio.sleep(0.15)
            await websocket.close(4408)
            await asyncio.Event().wait()

        await websocket.accept()
        timer = asyncio.create_task(too_late())
        try:
            async for text in websocket.iter_text():
                await websocket.send_text(text)
        finally:
            timer.cancel()

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.until_deleted()


async def test_a_replay_that_is_faster_than_its_connect_step_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The frames of the step take their time, those of the replay none."""
    monkeypatch.setattr(run, "WORKING_GRACE", 0.05)
    monkeypatch.setattr(connection, "GREETING_LEASE", 0.05)  # the message waits no longer for it

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        for number in range(40):
            await websocket.send_text(str(number))
            if number == 0:
                await asyncio.sleep(0.2)
        await websocket.close(4000)

    async with talk(websocket(app)) as client:
        client.server.delay = 0.03
        await client.connect()
        await client.server.until(lambda: bool(client.frames))
        await client.say("a")
        assert not client.deleted
        await client.until_deleted()
        assert client.frames == [str(number) for number in range(40)]


async def test_a_client_that_leaves_after_the_end_is_told_to_nobody() -> None:
    """The app has ended the connection itself, though that has not taken effect yet."""
    store = MemoryBackend()
    told: list[str] = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        receiving = asyncio.create_task(websocket.receive_text())
        receiving.add_done_callback(lambda task: task.exception())
        done, _ = await asyncio.wait({receiving}, timeout=0.2)
        if not done:
            await websocket.close(4408)
            return
        try:
            receiving.result()
        except WebSocketDisconnect as error:
            told.append(str(error.code))

    async with talk(websocket(app), backend=store) as client:
        await client.connect()
        await _until_noted(store, client)
        await client.leave()
        assert told == []


async def test_an_end_is_made_at_once_where_its_process_ends() -> None:
    """Nobody else would look for it."""
    store = MemoryBackend()
    async with talk(websocket(_login), backend=store) as client:
        await client.connect()
        await _until_noted(store, client)
        await client.handler._deferred.finish()
        assert client.deleted
        assert await store.get(client.connection_id) is None
