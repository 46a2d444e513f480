"""An app as a user writes it: rooms, an HTTP route that sends to one, refusals, large messages."""

from typing import Any

from fastapi import FastAPI, HTTPException, WebSocket, WebSocketDisconnect

from longwire import Connections, MessageTooLargeError

app = FastAPI()
connections = Connections()


@app.websocket("/rooms/{room}")
async def chat(websocket: WebSocket, room: str, name: str) -> None:
    """Tell a room who comes, what they say, and who has left."""
    await websocket.accept()
    await connections.group_add(room, websocket)
    await connections.group_send(room, f"{name} joined", exclude=[websocket])
    try:
        while True:
            await connections.group_send(room, f"{name}: {await websocket.receive_text()}")
    except WebSocketDisconnect:
        await connections.group_send(room, f"{name} left")


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """Answer with what was said."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@app.websocket("/repeat")
async def repeat(websocket: WebSocket) -> None:
    """Send as many characters as a message says."""
    await websocket.accept()
    async for text in websocket.iter_text():
        try:
            await websocket.send_text(int(text) * "x")
        except MessageTooLargeError:
            await websocket.send_text("too large")


@app.websocket("/private")
async def private(websocket: WebSocket) -> None:
    """Refuse everybody."""
    raise HTTPException(403)


@app.post("/rooms/{room}")
async def say(room: str, text: str) -> dict[str, Any]:
    """Tell a room something by HTTP."""
    return {"reached": (await connections.group_send(room, text)).ok}
