"""Chat rooms in Starlette, the same under Longwire and under any ASGI server.

    longwire dev examples.chat:app    # ws://127.0.0.1:3001/?path=/rooms/blue&name=ann
    uvicorn examples.chat:app         # ws://127.0.0.1:8000/rooms/blue?name=ann

On Lambda every message may run in another process, so who is in a room is no variable of this
module: it is a group, which Longwire keeps in its store. Under uvicorn the group is in memory.
`talk` runs from the top for each message; what it has sent and done before it waited for the first
one is not repeated.
"""

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from longwire import Connections

connections = Connections()


async def talk(ws: WebSocket) -> None:
    """Serve one connection to one room."""
    room, name = f"room {ws.path_params['room']}", ws.query_params.get("name")
    if not name:
        await ws.close()  # before accept: the client gets 403
        return
    await ws.accept()
    await connections.group_add(room, ws)
    await connections.group_send(room, f"{name} joined")
    async for text in ws.iter_text():
        await connections.group_send(room, f"{name}: {text}")
    # Only when the client has really left. It is in no group any more, here as on a server.
    await connections.group_discard(room, ws)
    await connections.group_send(room, f"{name} left")


app = Starlette(routes=[WebSocketRoute("/rooms/{room}", talk)])
