"""The app of the campaign: it greets, and says each number back to who has sent it."""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

# Each process of the function notes itself, for who kills.
(Path(os.environ["KILLS_PIDS"]) / str(os.getpid())).touch()


async def echo(websocket: WebSocket) -> None:
    name = websocket.query_params["name"]
    await websocket.accept()
    await websocket.send_text(f"{name} hello")
    async for number in websocket.iter_text():
        await websocket.send_text(f"{name} {number}")


app = Starlette(routes=[WebSocketRoute("/", echo)])
