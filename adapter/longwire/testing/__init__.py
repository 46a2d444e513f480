"""API Gateway in memory, for tests of your own app: the rules of `longwire dev`, no sockets.

    client = TestClient(app)
    with client.websocket_connect("/ws") as ws:
        ws.send_text("hello")
        assert ws.receive_text() == "hello"

`TestClient` has the calls of Starlette's. `Gateway` is for tests that are coroutines themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.testing.client import TestClient
from longwire.testing.ends import Answer, Closed, Refused
from longwire.testing.gateway import Gateway, WebSocket
from longwire.testing.session import WebSocketTestSession

if TYPE_CHECKING:
    from starlette.testclient import WebSocketDenialResponse
    from starlette.websockets import WebSocketDisconnect

__all__ = [
    "Answer",
    "Closed",
    "Gateway",
    "Refused",
    "TestClient",
    "WebSocket",
    "WebSocketDenialResponse",
    "WebSocketDisconnect",
    "WebSocketTestSession",
]


def __getattr__(name: str) -> object:
    """Return Starlette's classes, or what stands for them, when they are first asked for."""
    from longwire.testing import disconnects

    if name == "WebSocketDisconnect":
        return disconnects.disconnect_class()
    if name == "WebSocketDenialResponse":
        return disconnects.denial_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
