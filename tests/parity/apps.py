"""Ordinary apps of several frameworks, none of which knows of Longwire.

What they are told about the end of a connection goes to `heard`.
"""

from __future__ import annotations

import asyncio
import json
import operator
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import django
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from django.conf import settings
from fastapi import Depends, FastAPI, Query, WebSocketException
from litestar import Litestar
from litestar import WebSocket as LitestarWebSocket
from litestar import websocket as litestar_websocket
from litestar.handlers import websocket_listener
from quart import Quart, abort
from quart import websocket as quart_websocket
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
)
from starlette.endpoints import WebSocketEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

heard: SimpleQueue[Any] = SimpleQueue()

settings.configure(
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    SECRET_KEY="tests only",
)
django.setup()


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise ValueError(f"no {scope['type']} here")
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            heard.put((message["code"], message.get("reason") or ""))
            return
        await send({"type": "websocket.send", "text": message["text"]})


async def loop(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect as gone:
        heard.put((gone.code, gone.reason or ""))


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.send_text("hello")
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def iterate_json(websocket: WebSocket) -> None:
    await websocket.accept()
    async for value in websocket.iter_json():
        await websocket.send_json({"got": value})


async def count(websocket: WebSocket) -> None:
    """Send as many replies as the message says."""
    await websocket.accept()
    async for text in websocket.iter_text():
        for number in range(int(text)):
            await websocket.send_text(f"{number}/{text}")


async def queue(websocket: WebSocket) -> None:
    await websocket.accept()
    texts: asyncio.Queue[str | None] = asyncio.Queue()

    async def read() -> None:
        async for text in websocket.iter_text():
            await texts.put(text)
        await texts.put(None)

    async def write() -> None:
        await websocket.send_text("ready")
        while (text := await texts.get()) is not None:
            await websocket.send_text(text)

    await asyncio.gather(read(), write())


async def refuse(websocket: WebSocket) -> None:
    await websocket.close(4401)


async def unauthorized(websocket: WebSocket) -> None:
    raise HTTPException(401)


async def deny(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("teapot", 418))


async def crash_first(websocket: WebSocket) -> None:
    raise ValueError("before accept")


async def crash_accepted(websocket: WebSocket) -> None:
    await websocket.accept()
    raise ValueError("after accept")


async def crash_third(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        if text == "third":
            raise ValueError("in the third message")
        await websocket.send_text(text)


async def returns(websocket: WebSocket) -> None:
    return None


async def close_later(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.send_text("bye")
    await websocket.close(4000, "enough")


async def subprotocol(websocket: WebSocket) -> None:
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol="chat.v2" if "chat.v2" in offered else None)
    await websocket.send_json(offered)
    await websocket.receive_text()


async def describe(websocket: WebSocket) -> None:
    """Send what the app can know of the handshake, but for what a proxy adds."""
    await websocket.accept()
    headers = [(name, value) for name, value in websocket.headers.items() if name[:2] == "x-"]
    headers.sort(key=operator.itemgetter(0))  # as API Gateway does; repeats stay in order
    await websocket.send_json(
        {
            "path": websocket.url.path,
            "room": websocket.path_params["room"],
            "query": sorted(websocket.query_params.multi_items()),
            "headers": [pair for pair in headers if not pair[0].startswith(("x-forw", "x-amzn"))],
            "cookies": websocket.cookies,
        }
    )
    async for _ in websocket.iter_text():
        await websocket.send_json(sorted(websocket.query_params.multi_items()))


async def session(websocket: WebSocket) -> None:
    websocket.session["n"] = websocket.session.get("n", 0) + 1
    await websocket.accept()
    async for _ in websocket.iter_text():
        await websocket.send_json(websocket.session)


class Endpoint(WebSocketEndpoint):
    encoding = "json"

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(["connected"])

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_json(["received", data])

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        heard.put((close_code, ""))


class TokenBackend(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
        if conn.headers.get("authorization") != "Bearer good":
            raise AuthenticationError("no")
        return AuthCredentials(["authenticated"]), SimpleUser("ada")


async def user(websocket: WebSocket) -> None:
    await websocket.accept()
    async for _ in websocket.iter_text():
        await websocket.send_text(websocket.user.display_name)


ENDPOINTS = [
    loop,
    greet,
    iterate_json,
    count,
    queue,
    refuse,
    unauthorized,
    deny,
    crash_first,
    crash_accepted,
    crash_third,
    returns,
    close_later,
    subprotocol,
    session,
]
starlette = Starlette(
    routes=[
        *(WebSocketRoute(f"/{endpoint.__name__}", endpoint) for endpoint in ENDPOINTS),
        WebSocketRoute("/endpoint", Endpoint),
        WebSocketRoute("/describe/{room}", describe),
        Mount("/sub", routes=[Mount("/app", routes=[WebSocketRoute("/{room}", describe)])]),
        Mount(
            "/auth",
            routes=[WebSocketRoute("/user", user)],
            middleware=[Middleware(AuthenticationMiddleware, backend=TokenBackend())],
        ),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key="tests only")],
)

fastapi = FastAPI()


async def known_user(token: Annotated[str | None, Query()] = None) -> str:
    if token != "good":
        raise WebSocketException(code=1008, reason="wrong token")
    return "ada"


@fastapi.websocket("/rooms/{room}")
async def fastapi_room(
    websocket: WebSocket, room: int, user: Annotated[str, Depends(known_user)]
) -> None:
    await websocket.accept()
    try:
        while True:
            text = await websocket.receive_text()
            await websocket.send_json({"user": user, "room": room, "text": text})
    except WebSocketDisconnect as gone:
        heard.put((gone.code, gone.reason or ""))


@litestar_websocket("/loop")
async def litestar_loop(socket: LitestarWebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    while True:
        await socket.send_text(await socket.receive_text())


@websocket_listener("/listener")
async def litestar_listener(data: str) -> str:
    return data.upper()


litestar = Litestar([litestar_loop, litestar_listener], logging_config=None)

quart = Quart(__name__)


@quart.websocket("/loop")
async def quart_loop() -> None:
    await quart_websocket.send("hello")
    while True:
        await quart_websocket.send(await quart_websocket.receive())


@quart.websocket("/refuse")
async def quart_refuse() -> None:
    abort(401)


@quart.websocket("/close")
async def quart_close() -> None:
    await quart_websocket.accept()
    await quart_websocket.close(4000)


class AsyncConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        await self.accept()
        await self.send("hello")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(json.dumps([text_data]))

    async def disconnect(self, code: int) -> None:
        heard.put((code, ""))


class SyncConsumer(WebsocketConsumer):  # type: ignore[misc]  # channels has no types
    def connect(self) -> None:
        self.accept()
        self.send("hello")

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send(json.dumps([text_data]))

    def disconnect(self, code: int) -> None:
        heard.put((code, ""))


class RefusingConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        await self.close()


channels_async = AsyncConsumer.as_asgi()
channels_sync = SyncConsumer.as_asgi()
channels_refuse = RefusingConsumer.as_asgi()
