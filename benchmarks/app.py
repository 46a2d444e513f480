"""The app under both adapters: echo, one reply to each message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

if TYPE_CHECKING:
    from starlette.websockets import WebSocket


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


# Mangum 0.12.4 knows no path but "/".
app = Starlette(routes=[WebSocketRoute("/", echo)])
