"""One connection's events through a handler, with a real server for `@connections` behind it."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from longwire import Longwire
from longwire.asgi.scope import Handshake
from longwire.registry import record
from tests.connections_server import ConnectionsServer
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_numbers = itertools.count()


@dataclass
class Talk:
    """A client's side of one connection, told as the Lambda events that carry it."""

    handler: Longwire
    server: ConnectionsServer
    connection_id: str
    seconds: float = 20.0

    async def connect(self, **handshake: Any) -> Any:
        """Invoke the handler with CONNECT; the connection exists from then on."""
        answer = await self.handler.handle(
            connect_event(self.connection_id, **handshake), LambdaContext(self.seconds)
        )
        self.server.known.add(self.connection_id)
        return answer

    async def say(self, body: str, *, base64: bool = False) -> Any:
        """Invoke the handler with MESSAGE."""
        event = self.message(body, base64=base64)
        return await self.handler.handle(event, LambdaContext(self.seconds))

    def message(self, body: str, *, base64: bool = False) -> dict[str, Any]:
        """Return the MESSAGE event."""
        return message_event(body, self.connection_id, base64=base64)

    async def leave(self, code: int = 1001, reason: str = "") -> Any:
        """Invoke the handler with DISCONNECT; the connection is gone already."""
        self.vanish()
        event = disconnect_event(self.connection_id, code, reason)
        return await self.handler.handle(event, LambdaContext(self.seconds))

    async def grow_old(self) -> None:
        """Let the connection have been there for so long that "gone" cannot mean "new"."""
        await grow_old(self.handler, self.connection_id)

    def vanish(self) -> None:
        """Let API Gateway know the connection no longer."""
        self.server.known.discard(self.connection_id)

    @property
    def frames(self) -> list[str]:
        """What the client has got."""
        mine = self.connection_id
        return [body.decode() for to, body in self.server.delivered if to == mine]

    async def until(self, *frames: str) -> None:
        """Wait until the client has got exactly these frames."""
        await self.server.until(lambda: self.frames == list(frames))

    async def until_deleted(self) -> None:
        """Wait until the handler has closed the connection."""
        await self.server.until(lambda: self.deleted)

    @property
    def deleted(self) -> bool:
        """Whether the handler has closed the connection."""
        return ("DELETE", self.connection_id, b"") in self.server.requests

    def another(self) -> Talk:
        """Return another client of the same handler."""
        return Talk(self.handler, self.server, _connection_id(), self.seconds)


def old_record() -> str:
    """Return what a store keeps of a connection that has been there for long."""
    handshake = Handshake("wss", "/", "", "", None, None, (), None)
    return record.dumps(record.ConnectionRecord(handshake), exclude_headers=frozenset())


async def grow_old(handler: Longwire, *connection_ids: str) -> None:
    """Let connections have been there for so long that "gone" cannot mean "new"."""
    backend = handler._api.backend
    assert backend is not None
    for connection_id in connection_ids:
        while stored := await backend.get(connection_id):
            known = record.loads(stored.value)
            known.responded_at = known.leaving_until = 0.0
            value = record.dumps(known, exclude_headers=frozenset())
            if await backend.update(connection_id, value, stored.expires_at, stored.version):
                break


@asynccontextmanager
async def talk(app: Any, *, lifespan: Any = "auto", **ws_config: Any) -> AsyncIterator[Talk]:
    """Run an app behind a handler with an in-memory store."""
    async with ConnectionsServer(unknown_is_gone=True) as server:
        settings: Any = {
            "backend": "memory",
            "params": {},
            "api_gateway_endpoint_url": server.url,
            **ws_config,
        }
        handler = Longwire(app, ws_config=settings, lifespan=lifespan)
        try:
            yield Talk(handler, server, _connection_id())
        finally:
            await handler.aclose()


def _connection_id() -> str:
    return f"c{next(_numbers):014d}="
