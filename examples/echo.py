"""Echo, in plain ASGI: every text message comes back to the client that sent it.

With API Gateway on this machine, and then without it:

    longwire dev examples.echo:app
    uvicorn examples.echo:app
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer one connection."""
    if scope["type"] != "websocket":
        raise NotImplementedError(f"this app has no {scope['type']}")
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
