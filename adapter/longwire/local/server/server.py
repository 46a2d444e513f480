"""API Gateway on local ports: WebSockets with the management API beside them, and HTTP."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, Self, cast

from longwire.local.function.inline import InlineFunction
from longwire.local.request import answer
from longwire.local.rules.access import is_own_host
from longwire.local.rules.connection import GOING_AWAY
from longwire.local.rules.gateway import GatewayRules
from longwire.local.rules.management_api import (
    BUFFER_FULL,
    GONE,
    POSTED,
    REMOVED,
    JSONResponse,
    PostToConnection,
)
from longwire.local.rules.settings import GatewaySettings
from longwire.local.server.http import ClientHTTPConnection
from longwire.local.server.http_api import KEEP_ALIVE, HTTPAPIConnection
from longwire.local.session import ClientSocket, Session
from longwire.local.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping

    from longwire.local.http11 import HTTP1Connection
    from longwire.local.invoking import Function, HandledEvent
    from longwire.local.rules.connection import ClientHandshake, LocalConnection
    from longwire.local.rules.http_events import HTTPRequest
    from longwire.local.rules.http_results import HTTPResponse
    from longwire.local.rules.management_api import ManagementRequest
    from longwire.local.rules.signatures import Signer
    from longwire.local.server.http import Watcher
    from longwire.types import LambdaHandler

# Seconds that clients and the function have to end in when the gateway stops.
STOP_TIMEOUT = 5.0

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class GatewaySocket(ClientSocket, Protocol):
    """A client's socket, as far as the gateway knows it."""

    closed: asyncio.Event  # it is gone
    is_full: bool  # the client does not read

    def abort(self) -> None:
        """Let the connection break, without a close frame."""


class _RandomBytes:
    """Those of the system, asked for in bulk: with each call another thread may take its turn."""

    def __init__(self) -> None:
        self._left = b""

    def take(self, size: int) -> bytes:
        if len(self._left) < size:
            self._left = os.urandom(4096)
        taken, self._left = self._left[:size], self._left[size:]
        return taken


def _ignore(handled: HandledEvent) -> None:
    pass


def _invocable(function: Function | LambdaHandler) -> Function:
    return cast("Function", function if hasattr(function, "invoke") else InlineFunction(function))


async def _at_once() -> None:
    pass


def _place(server: asyncio.Server, host: str) -> tuple[int, str]:
    """Return the port of a server, and its address as URLs have it."""
    port: int = server.sockets[0].getsockname()[1]
    # A server can listen on every address, but nobody can connect to "every address".
    host = _LOOPBACK.get(host, host)
    return port, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class LocalGateway:
    """An asynchronous context manager that serves one WebSocket API, and maybe an HTTP API."""

    def __init__(
        self,
        function: Function | LambdaHandler,
        settings: GatewaySettings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,  # 0 takes a free one
        observer: Callable[[HandledEvent], None] = _ignore,
        verify: Signer | None = None,  # None: requests to the management API need no signature
        # Awaited once the last events are answered, while the management API still answers.
        before_end: Callable[[], Awaitable[None]] = _at_once,
        keep_alive: float = KEEP_ALIVE,
        authorizer: Function | LambdaHandler | None = None,
        allow_hosts: Collection[str] = (),  # names for this machine besides `host` and localhost
        one_port: bool = False,  # what opens no WebSocket is a request to the HTTP API
        answers_http: Callable[[], bool] = lambda: True,  # else nothing is found
        watcher: Watcher | None = None,
    ) -> None:
        self.stopping: bool = False
        # Why no client can connect, who then gets a 503 with it; None if they can.
        self.unavailable: str | None = None
        self.one_port = one_port
        self.requests: int = 0  # to the HTTP API that are not answered yet
        self.answers_http = answers_http
        self.http_url: str | None = None
        self._http_server: asyncio.Server | None = None
        self._function = _invocable(function)
        self._authorizer = None if authorizer is None else _invocable(authorizer)
        self._settings = settings or GatewaySettings()
        self.address: tuple[str, int] = (host, port)
        self._allow_hosts = frozenset(name.lower() for name in allow_hosts)
        self._observer = observer
        self._verify = verify
        self._before_end = before_end
        self.keep_alive = keep_alive
        self.watcher = watcher
        self._tasks = Tasks()
        self.arriving: dict[HTTP1Connection, None] = {}
        self._http_connections: set[HTTP1Connection] = set()
        self._sessions: dict[str, Session] = {}
        self._sockets: dict[str, GatewaySocket] = {}

    async def __aenter__(self) -> Self:
        host, port = self.address
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ClientHTTPConnection(self), host, port)
        port, netloc = _place(self._server, host)
        self.url: str = f"ws://{netloc}"
        if self.one_port:
            self.http_url = f"http://{netloc}"
        # What `/@connections` follows.
        self.management_url: str = f"http://{netloc}/{self._settings.stage}"
        # Here the port and protocol that clients are forwarded by are the real ones.
        settings = replace(self._settings, forwarded_port=port, forwarded_proto="http")
        self.rules: GatewayRules = GatewayRules(
            settings, clock=time.time, random_bytes=_RandomBytes().take, verify=self._verify
        )
        return self

    async def listen_for_http(self, port: int) -> None:
        """Serve the HTTP API on a port of its own, 0 being a free one.

        Raises:
            OSError: the port cannot be had.
        """
        host, _ = self.address
        loop = asyncio.get_running_loop()
        self._http_server = await loop.create_server(lambda: HTTPAPIConnection(self), host, port)
        _, netloc = _place(self._http_server, host)
        self.http_url = f"http://{netloc}"

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the clients with 1001, and wait until the function has had its `$disconnect`s."""
        # Until then the management API answers.
        self.stopping = True
        if self.watcher is not None:
            self.watcher.stop()
        for session in list(self._sessions.values()):
            session.close(GOING_AWAY)
        for socket in list(self._sockets.values()):
            self._tasks.spawn(socket.closed.wait())
        await self._tasks.settle(STOP_TIMEOUT)
        await self._before_end()
        servers = [self._server, *([self._http_server] if self._http_server is not None else [])]
        for server in servers:
            server.close()
        for connection in list(self._http_connections):
            connection.stop()
        for server in servers:
            await server.wait_closed()

    def has_port(self, port: int) -> bool:
        """Tell whether WebSockets are served on this port."""
        return _place(self._server, "")[0] == port

    @property
    def verifies(self) -> bool:
        """Whether requests to the management API need a signature."""
        return self._verify is not None

    @property
    def clients(self) -> int:
        """How many connections there are, or have events that are not over."""
        return sum(not session.is_over for session in self._sessions.values())

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The connections by their ids, also those whose handshake is not over."""
        return self._sessions

    @property
    def sockets(self) -> Mapping[str, GatewaySocket]:
        """The sockets of those that are open, by the same ids."""
        return self._sockets

    # For the connections

    def is_own_host(self, name: str) -> bool:
        return is_own_host(name, self.address[0].lower(), self._allow_hosts)

    def spawn(self, work: Coroutine[None, None, None]) -> object:
        return self._tasks.spawn(work)

    def connected(self, connection: HTTP1Connection) -> None:
        self._http_connections.add(connection)

    def disconnected(self, connection: HTTP1Connection) -> None:
        self._http_connections.discard(connection)

    def begin(self, handshake: ClientHandshake) -> Session:
        session = Session(
            self.rules, self._function, handshake, self._tasks, self._observer, self._authorizer
        )
        self._sessions[session.connection.connection_id] = session
        if self.watcher is not None:
            self.watcher.admitted(session)
        return session

    def opened(self, session: Session, socket: GatewaySocket) -> None:
        self._sockets[session.connection.connection_id] = socket

    def ended(self, session: Session) -> None:
        """Forget a session whose socket is gone, or never was one."""
        self._sessions.pop(session.connection.connection_id, None)
        self._sockets.pop(session.connection.connection_id, None)
        if self.watcher is not None:
            self.watcher.left(session)

    # The HTTP API

    async def answer(self, request: HTTPRequest) -> tuple[HTTPResponse, str]:
        self.requests += 1
        try:
            return await answer(self.rules, self._function, request, self._tasks, self._observer)
        finally:
            self.requests -= 1

    # The management API

    def manage(self, request: ManagementRequest) -> JSONResponse:
        # Whoever is not known is told nothing, not even that a connection is gone.
        return self.rules.refusal(request) or self.manage_unsigned(request)

    def manage_unsigned(self, request: ManagementRequest) -> JSONResponse:
        """Do what is asked, whoever asks."""
        response = self._manage(request)
        if self.watcher is not None:
            self.watcher.managed(request, response)
        return response

    def _manage(self, request: ManagementRequest) -> JSONResponse:
        path = request.target.partition("?")[0]
        decision = self.rules.manage(request.method, path, request.body)
        if isinstance(decision, JSONResponse):
            return decision
        if isinstance(decision, PostToConnection):
            return self._post(decision.connection, decision.data)
        self._sessions[decision.connection.connection_id].close()
        return REMOVED

    def _post(self, connection: LocalConnection, data: bytes) -> JSONResponse:
        session = self._sessions[connection.connection_id]
        socket = self._sockets[connection.connection_id]
        if session.ended:
            return GONE
        if socket.is_full:
            return BUFFER_FULL
        session.post(data)
        return POSTED
