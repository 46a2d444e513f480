"""`longwire.is_event_end`: the end of an event and that of a connection, told apart."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
import websockets
from litestar import Litestar
from litestar.handlers import WebsocketListener
from quart import Quart
from quart import websocket as quart_websocket
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import WebSocketRoute

import longwire
from longwire.exceptions import DeadlineError
from tests.invocation.test_connect import websocket
from tests.talk import talk

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.websockets import WebSocket

    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

seen: list[bool] = []


@pytest.fixture(autouse=True)
def forgotten() -> None:
    seen.clear()


def _note() -> None:
    seen.append(longwire.is_event_end())


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        async for text in websocket.iter_text():
            match text:
                case "close":
                    return await websocket.close(4000)
                case "return":
                    return
                case "raise":
                    raise RuntimeError("broken")
            await websocket.send_text(text)
    finally:
        _note()


class Endpoint(WebSocketEndpoint):
    encoding = "text"

    async def on_receive(self, websocket: WebSocket, data: str) -> None:
        await websocket.send_text(data)

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        _note()


class Listener(WebsocketListener):
    path = "/"

    def on_disconnect(self) -> None:
        _note()

    async def on_receive(self, data: str) -> str:
        return data


def _quart() -> Quart:
    app = Quart(__name__)

    @app.websocket("/")
    async def echo() -> None:
        try:
            while True:
                await quart_websocket.send(await quart_websocket.receive())
        except asyncio.CancelledError:
            _note()
            raise

    return app


APPS: dict[str, Callable[[], Any]] = {
    "finally": lambda: websocket(_echo),
    "WebSocketEndpoint": lambda: Starlette(routes=[WebSocketRoute("/", Endpoint)]),
    "Litestar": lambda: Litestar([Listener], logging_config=None, openapi_config=None),
    "Quart": _quart,
}


@pytest.mark.parametrize("name", APPS)
async def test_a_leaving_hook_can_tell_which_end_it_is(name: str) -> None:
    """Of the handshake's event, of two messages', and of the connection."""
    async with talk(APPS[name]()) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["a", "b"]
        assert set(seen) == {True}
        seen.clear()
        await client.leave()
        assert seen == [False]


@pytest.mark.parametrize("how", ["close", "return", "raise"])
async def test_an_end_that_the_app_makes_is_one_of_the_connection(how: str) -> None:
    async with talk(websocket(_echo)) as client:
        await client.connect()
        seen.clear()
        await client.say(how)
        assert seen == [False]
        assert client.deleted


async def test_a_client_that_proves_to_be_gone_is_an_end_of_the_connection() -> None:
    """As a post has shown; its own event tells the app."""
    async with talk(websocket(_echo)) as client:
        await client.connect()
        await client.grow_old()
        seen.clear()
        client.vanish()
        await client.say("a")
        assert seen == [False]


async def test_tasks_and_threads_of_the_app_can_ask_too() -> None:
    """Whatever runs in its context."""

    async def app(websocket: WebSocket) -> None:
        async def work() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                _note()
                seen.append(await asyncio.to_thread(longwire.is_event_end))

        worker = asyncio.create_task(work())
        await websocket.accept()
        await asyncio.sleep(0)
        with contextlib.suppress(asyncio.CancelledError):
            await websocket.receive_text()
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker

    async with talk(websocket(app)) as client:
        await client.connect()
        assert seen == [True, True]


async def test_one_that_is_refused_has_no_connection_that_could_go_on() -> None:
    """Here as it waits for a message before it has accepted."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise ValueError(scope["type"])
        try:
            await receive()
            await receive()
        finally:
            _note()

    async with talk(app) as client:
        assert (await client.connect())["statusCode"] == 500
        assert seen == [False]


async def test_while_an_app_runs_nothing_ends() -> None:
    async def app(websocket: WebSocket) -> None:
        _note()
        await websocket.accept()
        async for _ in websocket.iter_text():
            _note()

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.say("a")
        assert seen == [False, False, False]


def test_outside_an_event_it_is_none() -> None:
    """As under uvicorn, where an app runs for as long as its connection."""
    _note()
    assert seen == [False]


async def test_under_a_server_every_end_is_one_of_the_connection() -> None:
    """A real one, whose client says something and leaves."""
    config = uvicorn.Config(websocket(_echo), port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with websockets.connect(f"ws://127.0.0.1:{port}/") as client:
        await client.send("a")
        assert await client.recv() == "a"
    while not seen:
        await asyncio.sleep(0.01)
    assert seen == [False]
    server.should_exit = True
    await serving


async def test_an_event_that_ends_before_its_connect_part_is_one_too() -> None:
    """Its time is up while the app looks something up again; the connection goes on."""

    async def app(websocket: WebSocket) -> None:
        try:
            if websocket.scope["extensions"]["longwire"]["phase"] == "message":
                await asyncio.sleep(3600)
            await websocket.accept()
            await websocket.receive_text()
        finally:
            _note()

    async with talk(websocket(app)) as client:
        await client.connect()
        seen.clear()
        client.seconds = 0.5
        with pytest.raises(DeadlineError):
            await client.say("a")
        assert seen == [True]
        assert not client.deleted
