"""A chat with a language model that knows what was said before; the same under any ASGI server.

    longwire dev examples.assistant:app --instances 3    # ws://127.0.0.1:3001/?path=/chat
    uvicorn examples.assistant:app                       # ws://127.0.0.1:8000/chat

The history is in `ws.state`, so that the next message finds it, in whichever process it runs. It
has the last few turns only, as a model has no room for all, nor has the state (`state_limit`). The
answer is in it before its last frame leaves: whoever has seen "[end]" can go on at once.

`ask_model` stands for a real model: it streams words, and knows how often it was asked.
"""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

TURNS = 10  # questions and answers that the model is shown


async def ask_model(history: list[dict[str, str]]) -> AsyncIterator[str]:
    """Stream an answer to the last of these messages, word by word."""
    asked = [message["text"] for message in history if message["role"] == "user"]
    before = f"After {asked[-2]!r}" if len(asked) > 1 else "To begin with"
    for word in f"{before} you say {asked[-1]!r}.".split():
        await asyncio.sleep(0.01)
        yield word


async def chat(ws: WebSocket) -> None:
    """Serve one conversation."""
    ws.state.history = []
    await ws.accept()
    async for text in ws.iter_text():
        history = ws.state.history
        history.append({"role": "user", "text": text})
        answer = []
        async for word in ask_model(history):
            answer.append(word)
            await ws.send_text(word)
        history.append({"role": "assistant", "text": " ".join(answer)})
        del history[: -2 * TURNS]
        await ws.send_text("[end]")


app = Starlette(routes=[WebSocketRoute("/chat", chat)])
