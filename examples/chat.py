"""Chat rooms in Starlette, the same under Longwire and under any ASGI server.

    longwire dev examples.chat:app    # ws://127.0.0.1:3001/?path=/rooms/blue&name=ann
    uvicorn examples.chat:app         # ws://127.0.0.1:8000/rooms/blue?name=ann

A message is answered with the lines of its room that this name has not seen yet; an empty one says
nothing and only asks. No line comes unasked: for that an app must reach its *other* connections,
which ASGI has no way to do.

On Lambda every message may run in another process, and `talk` runs from the top for each. So
nothing is kept in variables: lines and who has seen which are in an SQLite file, `CHAT_FILE`, which
does for one machine. JOIN runs again too, and changes nothing then. LEAVE stands after the loop:
a `finally` would also run whenever `talk` waits for the next message.
"""

import asyncio
import os
import sqlite3
from contextlib import closing

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

FILE = os.environ.get("CHAT_FILE", "chat.sqlite3")
TABLES = """
CREATE TABLE IF NOT EXISTS line (id INTEGER PRIMARY KEY, room TEXT, text TEXT);
CREATE TABLE IF NOT EXISTS member (room TEXT, name TEXT, seen INTEGER, PRIMARY KEY (room, name));
"""
JOIN = "INSERT OR IGNORE INTO member SELECT ?, ?, coalesce(max(id), 0) FROM line"
LEAVE = "DELETE FROM member WHERE room = ? AND name = ?"
SAY = "INSERT INTO line (room, text) VALUES (?, ?)"
UNSEEN = (
    "SELECT id, text FROM line JOIN member USING (room)"
    " WHERE room = ? AND name = ? AND id > seen ORDER BY id"
)
SEEN = "UPDATE member SET seen = ? WHERE room = ? AND name = ?"


def change(statement: str, room: str, value: str) -> None:
    """Join, leave or say something."""
    with closing(sqlite3.connect(FILE)) as file, file:
        file.executescript(TABLES)
        file.execute(statement, (room, value))


def unseen(room: str, name: str) -> list[str]:
    """Return the lines that are new to this name, each of them once."""
    with closing(sqlite3.connect(FILE)) as file, file:
        file.execute("BEGIN IMMEDIATE")
        lines = file.execute(UNSEEN, (room, name)).fetchall()
        if lines:
            file.execute(SEEN, (lines[-1][0], room, name))
        return [text for _, text in lines]


async def talk(ws: WebSocket) -> None:
    """Serve one connection to one room."""
    room, name = ws.path_params["room"], ws.query_params.get("name")
    if not name:
        await ws.close()  # before accept: the client gets 403
        return
    await asyncio.to_thread(change, JOIN, room, name)
    await ws.accept()
    async for text in ws.iter_text():
        if text:
            await asyncio.to_thread(change, SAY, room, f"{name}: {text}")
        for line in await asyncio.to_thread(unseen, room, name):
            await ws.send_text(line)
    await asyncio.to_thread(change, LEAVE, room, name)


app = Starlette(routes=[WebSocketRoute("/rooms/{room}", talk)])
