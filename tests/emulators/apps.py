"""What runs in the emulators: a function's module, as a user writes it.

It is deployed as `apps.handler`, in one folder with Longwire and without these tests.
"""

import json
import os
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from longwire import Connections, Longwire

connections = Connections()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Plain ASGI; speaks the last subprotocol that the client offers."""
    await receive()
    offered = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": offered[-1] if offered else None})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def chat(ws: WebSocket) -> None:
    """Tells a room who has come, what they say, and with which code they have left."""
    room, name = ws.query_params["room"], ws.query_params["name"]
    await ws.accept()
    await connections.group_add(room, ws)
    await connections.group_send(room, f"{name} joined", exclude=[ws])
    try:
        while True:
            await connections.group_send(room, f"{name}: {await ws.receive_text()}")
    except WebSocketDisconnect as left:
        await connections.group_send(room, f"{name} left with {left.code}")


async def converse(ws: WebSocket) -> None:
    """Greets, and has two things to say to each message."""
    await ws.accept()
    await ws.send_text("hello")
    async for text in ws.iter_text():
        await ws.send_text(f"{text}?")
        await ws.send_text(f"{text}!")


async def farewell(ws: WebSocket) -> None:
    """Closes the connection once the client has said something."""
    await ws.accept()
    await ws.receive_text()
    await ws.close(4001, "enough")


async def refuse(ws: WebSocket) -> None:
    """Refuses a client in each of the ways that there are."""
    match ws.query_params["how"]:
        case "close":
            await ws.close()
        case "denial":
            await ws.send_denial_response(PlainTextResponse("who are you?", 401))
        case "exception":
            raise HTTPException(404)
        case "crash":
            raise RuntimeError("on purpose")


async def describe(ws: WebSocket) -> None:
    """Shows the client the events that it causes; the last one goes to a room of chat."""
    await ws.accept()
    await ws.send_text(json.dumps(ws.scope["aws.event"]))
    try:
        while True:
            await ws.receive_text()
            await ws.send_text(json.dumps(ws.scope["aws.event"]))
    except WebSocketDisconnect:
        await connections.group_send(ws.query_params.get("room", ""), ws.scope["aws.event"])


handler = Longwire(
    Starlette(
        routes=[
            Mount("/echo", app=echo),
            WebSocketRoute("/chat", chat),
            WebSocketRoute("/converse", converse),
            WebSocketRoute("/farewell", farewell),
            WebSocketRoute("/refuse", refuse),
            WebSocketRoute("/", describe),
        ]
    ),
    ws_config={"backend": "sqlite3", "params": {"file_path": os.environ["CONNECTIONS_FILE"]}},
)
