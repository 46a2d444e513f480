"""A stream that "stop" stops: a task tells a story word by word while the client may speak.

    longwire dev examples.stories:app --replay    # ws://127.0.0.1:3001/?path=/stories
    uvicorn examples.stories:app                  # ws://127.0.0.1:8000/stories

Say "tell" and, while it tells, "stop". On Lambda "stop" is an event of its own, perhaps in another
process: with replay it reaches the task that is telling, as it does on a server.
"""

import asyncio
import itertools

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

STORY = ["and", "then", "they", "walked", "on", "through", "the", "wood"]


async def stories(ws: WebSocket) -> None:
    """Serve one listener."""
    await ws.accept()
    told = 0
    telling: asyncio.Task[None] | None = None
    async with asyncio.TaskGroup() as tasks:
        async for text in ws.iter_text():
            if text == "tell" and telling is None:
                told += 1
                telling = tasks.create_task(tell(ws, told))
            elif text == "stop" and telling is not None:
                telling.cancel()
                telling = None
                await ws.send_text(f"[end of story {told}]")
            else:
                await ws.send_text("[tell or stop]")
        if telling is not None:
            telling.cancel()


async def tell(ws: WebSocket, number: int) -> None:
    """Tell a story that has no end of its own."""
    await ws.send_text(f"[story {number}]")
    for word in itertools.cycle(STORY):
        await ws.send_text(word)
        await asyncio.sleep(0.1)


app = Starlette(routes=[WebSocketRoute("/stories", stories)])
