"""Apps of several frameworks that keep in their variables what only a server lets them keep.

The comment HERE, with a name behind it, is on each line that an author is told of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from fastapi import Depends, FastAPI
from litestar import Litestar
from litestar import WebSocket as LitestarWebSocket
from litestar import websocket as litestar_websocket
from quart import Quart
from quart import websocket as quart_websocket
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket  # noqa: TC002  # FastAPI reads annotations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.parity.apps import Receive, Scope, Send


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    message: dict[str, Any] = {}
    count = 0
    while message.get("type") != "websocket.disconnect":
        message = await receive()  # HERE plain
        count += 1
        await send({"type": "websocket.send", "text": str(count)})


async def plain_login(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    name = (await receive())["text"]  # FIRST plain_login
    while (message := await receive())["type"] == "websocket.receive":  # HERE plain_login
        await send({"type": "websocket.send", "text": name + message["text"]})


async def plain_farewell(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    try:
        while (await receive())["type"] == "websocket.receive":
            pass
    finally:
        await send({"type": "websocket.send", "text": "bye"})  # HERE plain_farewell


async def _count(websocket: WebSocket) -> None:
    await websocket.accept()
    count = 0
    async for _ in websocket.iter_text():  # HERE starlette
        count += 1
        await websocket.send_text(str(count))


class Endpoint(WebSocketEndpoint):
    encoding = "text"
    count = 0

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        self.count += 1  # HERE starlette_endpoint
        await websocket.send_text(str(self.count))


starlette = Starlette(routes=[WebSocketRoute("/", _count)])
starlette_endpoint = Starlette(routes=[WebSocketRoute("/", Endpoint)])

fastapi = FastAPI()


@fastapi.websocket("/")
async def fastapi_count(websocket: WebSocket) -> None:
    await websocket.accept()
    texts: list[str] = []
    while True:
        texts.append(await websocket.receive_text())  # HERE fastapi
        await websocket.send_json(texts)


fastapi_farewell = FastAPI()


async def _farewell(websocket: WebSocket) -> AsyncIterator[str]:
    yield "someone"
    await websocket.send_text("bye")  # not reached when it is cancelled


async def _goodbye(websocket: WebSocket) -> AsyncIterator[str]:
    try:
        yield "someone"
    finally:
        await websocket.send_text("bye")  # HERE fastapi_farewell


@fastapi_farewell.websocket("/")
async def with_dependencies(
    websocket: WebSocket, one: str = Depends(_farewell), other: str = Depends(_goodbye)
) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text + one + other)


@litestar_websocket("/")
async def _litestar_count(socket: LitestarWebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    count = 0
    while True:
        await socket.receive_text()  # HERE litestar
        count += 1
        await socket.send_text(str(count))


@litestar_websocket("/")
async def _litestar_login(socket: LitestarWebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    name = await socket.receive_text()  # FIRST litestar_login
    while True:
        await socket.send_text(name + await socket.receive_text())  # HERE litestar_login


litestar = Litestar([_litestar_count], logging_config=None)
litestar_login = Litestar([_litestar_login], logging_config=None)

quart = Quart(__name__)


@quart.websocket("/")
async def _quart_count() -> None:
    await quart_websocket.accept()
    count = 0
    while True:
        await quart_websocket.receive()  # HERE quart
        count += 1
        await quart_websocket.send(str(count))


quart_farewell = Quart(__name__)


@quart_farewell.websocket("/")
async def _quart_farewell() -> None:
    await quart_websocket.accept()
    try:
        while True:
            await quart_websocket.send(await quart_websocket.receive())
    finally:
        await quart_websocket.send("bye")  # HERE quart_farewell


class AsyncCounter(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        self.count = 0
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.count += 1  # HERE channels_async
        await self.send(str(self.count))


class SyncCounter(WebsocketConsumer):  # type: ignore[misc]  # channels has no types
    count = 0

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.count += 1  # HERE channels_sync
        self.send(str(self.count))


class Room(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data)


class RoomByName(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    groups = ("room",)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data)


channels_async = AsyncCounter.as_asgi()
channels_sync = SyncCounter.as_asgi()
channels_room = Room.as_asgi()
channels_room_by_name = RoomByName.as_asgi()
