"""One shop in several frameworks, each of which keeps its customers in its own `state`.

A customer logs in by a message, since browsers cannot set headers, and fills a cart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from fastapi import FastAPI
from litestar import Litestar
from litestar import WebSocket as LitestarWebSocket
from litestar import websocket as litestar_websocket
from litestar.exceptions import WebSocketDisconnect as LitestarDisconnect
from quart import Quart
from quart import websocket as quart_websocket
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.parity import apps

if TYPE_CHECKING:
    from tests.parity.apps import Receive, Scope, Send


def enter(state: Any) -> None:
    """Do what a connect part does: it runs again for each message."""
    state.said, state.cart = 0, []


def answer(state: Any, text: str) -> str:
    """Do what a customer says, and tell all that is known of the customer."""
    state.said += 1
    word, _, rest = text.partition(" ")
    if word == "login":
        state.user = {"name": rest}
    elif not hasattr(state, "user"):
        return f"{state.said}: who are you?"
    match word:
        case "add":
            state.cart.append({"item": rest})
        case "leave":
            del state.cart  # which the connect part sets again
        case "logout":
            del state.user
            return f"{state.said}: bye"
    return f"{state.said}: {state.user} {getattr(state, 'cart', 'no cart')}"


def hear(state: Any, code: int) -> None:
    apps.heard.put((code, f"{state.said} {getattr(state, 'user', 'nobody')}"))


async def shop_plain(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise ValueError(f"no {scope['type']} here")
    state = State(scope["state"])
    enter(state)
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": answer(state, message["text"])})
    hear(state, message["code"])


async def _endpoint(websocket: WebSocket) -> None:
    enter(websocket.state)
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(answer(websocket.state, await websocket.receive_text()))
    except WebSocketDisconnect as gone:
        hear(websocket.state, gone.code)


async def _session(websocket: WebSocket) -> None:
    """Keep the same in a session: without a middleware it is none, under any server."""
    state = State(websocket.session)
    enter(state)
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(answer(state, text))


shop_starlette = Starlette(
    routes=[
        WebSocketRoute("/", _endpoint),
        Mount("/sub", routes=[WebSocketRoute("/shop", _endpoint)]),
    ]
)
shop_session = SessionMiddleware(
    Starlette(routes=[WebSocketRoute("/", _session)]), secret_key="tests only"
)
shop_fastapi = FastAPI(middleware=[Middleware(SessionMiddleware, secret_key="tests only")])
shop_fastapi.add_api_websocket_route("/", _endpoint)


@litestar_websocket("/")
async def _litestar_shop(socket: LitestarWebSocket[Any, Any, Any]) -> None:
    enter(socket.state)
    await socket.accept()
    try:
        while True:
            await socket.send_text(answer(socket.state, await socket.receive_text()))
    except LitestarDisconnect as gone:
        hear(socket.state, gone.code)


shop_litestar = Litestar([_litestar_shop], logging_config=None)

shop_quart = Quart(__name__)


@shop_quart.websocket("/")
async def _quart_shop() -> None:
    state = State(quart_websocket.scope["state"])
    enter(state)
    while True:
        await quart_websocket.send(answer(state, str(await quart_websocket.receive())))


class _Async(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        enter(State(self.scope["state"]))
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(answer(State(self.scope["state"]), text_data or ""))

    async def disconnect(self, code: int) -> None:
        hear(State(self.scope["state"]), code)


class _Sync(WebsocketConsumer):  # type: ignore[misc]  # channels has no types
    def connect(self) -> None:
        enter(State(self.scope["state"]))
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send(answer(State(self.scope["state"]), text_data or ""))

    def disconnect(self, code: int) -> None:
        hear(State(self.scope["state"]), code)


shop_channels = _Async.as_asgi()
shop_channels_sync = _Sync.as_asgi()
