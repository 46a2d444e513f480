"""Apps that several of these tests talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.websockets import WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.websockets import WebSocket


def until_gone(
    codes: list[int], greeting: Sequence[str] = ()
) -> Callable[[WebSocket], Awaitable[None]]:
    """Make an endpoint that greets, waits for the client and notes with which code it left."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        for text in greeting:
            await websocket.send_text(text)
        try:
            await websocket.receive_text()
        except WebSocketDisconnect as gone:
            codes.append(gone.code)

    return app
