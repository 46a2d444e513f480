"""The end of a run whose app is one of Sanic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from longwire.asgi import frames

if TYPE_CHECKING:
    from longwire.asgi.inbox import Inbox

# Where Sanic runs a handler of a WebSocket, and the turns of the event loop that it needs to end.
HANDLER = ("sanic.app", "Sanic._websocket_handler")
ROUNDS = 20


async def leave(app: asyncio.Task[None], inbox: Inbox) -> None:
    """End an app by another exception, if it is one: what it does when it is cancelled fails.

    It calls `end_connection`, which its WebSocket has under its own server only.
    """
    if not frames.is_inside(app, HANDLER):
        return
    inbox.abandon()
    for _ in range(ROUNDS):
        if app.done():
            return
        await asyncio.sleep(0)
