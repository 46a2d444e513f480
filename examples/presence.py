"""Who is online: users by their names, with the connection manager that most tutorials write.

    longwire dev examples.presence:app    # ws://127.0.0.1:3001/?path=/users/ann
    uvicorn examples.presence:app         # ws://127.0.0.1:8000/users/ann

A message such as {"to": "bob", "text": "hello"} goes to one user; {"text": "hello"} goes to all.
The manager is Longwire's, which keeps its users in the store; with the usual one, a dict in this
module, two users on Lambda would hardly ever find each other. A user may be there more than once,
as with two tabs of a browser, and is offline when the last one is closed.
"""

from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from longwire import WebSocketManager

app = FastAPI()
manager = WebSocketManager(several=True)


@app.websocket("/users/{user}")
async def online(ws: WebSocket, user: str) -> None:
    """Serve one connection of a user."""
    was_online = await manager.get_connection(user)
    await manager.connect(user, ws)
    if not was_online:
        await manager.broadcast({"online": user}, exclude=[user])
    try:
        while True:
            await pass_on(user, await ws.receive_json())
    except WebSocketDisconnect:
        await manager.disconnect(user)
        if not await manager.get_connection(user):
            await manager.broadcast({"offline": user})


async def pass_on(user: str, message: dict[str, Any]) -> None:
    """Send a user's message to another one, or to all."""
    to = message.get("to")
    sent = {"from": user, "text": message.get("text", "")}
    if to is None:
        await manager.broadcast(sent)
    elif await manager.get_connection(to):
        await manager.send_message(to, sent)
    else:
        await manager.send_message(user, {"error": f"{to} is offline"})
