"""The server of one process's Runtime API, for those alone who know its secret."""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING

from longwire.local.function.runtime_api import STRANGER
from longwire.local.http11 import HTTP1Connection
from longwire.local.rules import access
from longwire.local.rules.management_api import FORBIDDEN
from longwire.local.rules.settings import PAYLOAD_LIMIT
from longwire.local.tasks import Tasks

if TYPE_CHECKING:
    from longwire.local.function.runtime_api import RuntimeAPI
    from longwire.local.parser import Request


class RuntimeServer:
    """Serves a `RuntimeAPI` on a port of its own, to those who know its secret."""

    def __init__(self, api: RuntimeAPI, secret: str) -> None:
        # For AWS_LAMBDA_RUNTIME_API: `host:port/secret`. Lambda's runtime puts "http://" before it
        # and the paths of its requests behind it.
        self.address: str = ""
        self._api = api
        self._prefix = f"/{secret}" if secret else ""
        self._tasks = Tasks()
        self._connections: set[_RuntimeConnection] = set()
        self._arriving: dict[HTTP1Connection, None] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        loop = asyncio.get_running_loop()
        self._server = server = await loop.create_server(self._connection, access.LOOPBACK, 0)
        self.address = f"{access.LOOPBACK}:{server.sockets[0].getsockname()[1]}{self._prefix}"

    async def stop(self) -> None:
        """Close everything at once; requests that wait are not answered."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.stop()
        await self._tasks.settle(0)

    def _connection(self) -> _RuntimeConnection:
        return _RuntimeConnection(
            self._api, self._prefix, self._tasks, self._connections, self._arriving
        )


class _RuntimeConnection(HTTP1Connection):
    def __init__(
        self,
        api: RuntimeAPI,
        prefix: str,
        tasks: Tasks,
        connections: set[_RuntimeConnection],
        arriving: dict[HTTP1Connection, None],
    ) -> None:
        super().__init__(tasks.spawn, arriving, PAYLOAD_LIMIT)
        self._api = api
        self._prefix = prefix
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._connections.discard(self)

    async def route(self, request: Request, body: bytes) -> None:
        host = access.host_name(request.headers)
        if access.is_from_page(request.headers) or not access.is_own_host(host, access.LOOPBACK):
            self.respond(FORBIDDEN)
            return
        given, path = request.target[: len(self._prefix)], request.target[len(self._prefix) :]
        if not hmac.compare_digest(given.encode(), self._prefix.encode()):
            # Any process of this machine can connect, and any page of its browsers.
            self.respond(STRANGER)
            return
        self.respond(await self._api.answer(request.method, path, dict(request.headers), body))
