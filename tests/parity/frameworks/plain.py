"""ASGI without a framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl

from tests.parity.frameworks.endpoints import ENDPOINTS
from tests.parity.frameworks.socket import serve

if TYPE_CHECKING:
    from tests.parity.apps import Receive, Scope, Send
    from tests.parity.frameworks.socket import Gone


class GoneError(Exception):
    """The client has left."""


class PlainSocket:
    gone: ClassVar[Gone] = (GoneError, OSError)

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send

    async def accept(self, subprotocol: str | None = None) -> None:
        await self._receive()
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def receive(self) -> str:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise GoneError
        return str(message["text"])

    async def send(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    @property
    def offered(self) -> list[str]:
        return list(self._scope["subprotocols"])

    @property
    def handshake(self) -> dict[str, Any]:
        headers = [(name.decode(), value.decode()) for name, value in self._scope["headers"]]
        return {
            "query": sorted(parse_qsl(self._scope["query_string"].decode(), True)),
            "headers": sorted(pair for pair in headers if pair[0] in ("x-one", "x-odd", "cookie")),
        }


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    endpoint = ENDPOINTS.get(scope["path"].removeprefix("/"))
    if endpoint is None:
        await receive()
        await send({"type": "websocket.close"})
    else:
        await serve(endpoint, PlainSocket(scope, receive, send))
