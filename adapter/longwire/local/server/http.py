"""A TCP connection while it speaks HTTP: one of its requests may open a WebSocket."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from longwire.local.heads import phrase
from longwire.local.http11 import HTTP1Connection
from longwire.local.rules.access import host_name, is_from_page
from longwire.local.rules.connection import LOST, ClientHandshake
from longwire.local.rules.http_events import BODY_LIMIT
from longwire.local.rules.management_api import (
    FORBIDDEN,
    JSONResponse,
    ManagementRequest,
    is_management_path,
    json_response,
)
from longwire.local.rules.results import HandshakeRefused
from longwire.local.server.http_api import (
    ARRIVAL_TIMEOUT,
    HTTPAPIOwner,
    opens_socket,
    refuses_host,
    respond_to,
)
from longwire.local.server.websocket import ServerWebSocket, answer_handshake

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Sequence

    from longwire.local.parser import Request
    from longwire.local.rules.gateway import GatewayRules
    from longwire.local.session import Session

logger: logging.Logger = logging.getLogger("longwire.local")

# https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html
URL_LIMIT = 4096
# What a browser asks for by itself: nobody has made a mistake.
OF_BROWSERS = {"/favicon.ico", "/.well-known/appspecific/com.chrome.devtools.json"}


class Watcher(Protocol):
    """Who looks on, and shows it: the page of `longwire dev`."""

    def admitted(self, session: Session) -> None:
        """A client asks for a connection."""

    def left(self, session: Session) -> None:
        """Its socket is gone, or never was one."""

    def managed(self, request: ManagementRequest, response: JSONResponse) -> None:
        """A request to `@connections` was answered."""

    def wants(self, request: ManagementRequest) -> bool:
        """Whether a request is for the page."""

    async def answer(self, connection: ClientHTTPConnection, request: ManagementRequest) -> None:
        """Answer it."""

    def stop(self) -> None:
        """The gateway stops."""


class HTTPOwner(HTTPAPIOwner, Protocol):
    """What a connection needs of the gateway that listens."""

    rules: GatewayRules
    keep_alive: float
    # Whether what opens no WebSocket goes to the HTTP API.
    one_port: bool
    # Where the HTTP API is, if there is one.
    http_url: str | None
    watcher: Watcher | None

    def spawn(self, work: Coroutine[None, None, None]) -> object: ...

    def begin(self, handshake: ClientHandshake) -> Session: ...

    def opened(self, session: Session, socket: ServerWebSocket) -> None: ...

    def ended(self, session: Session) -> None: ...

    def manage(self, request: ManagementRequest) -> JSONResponse: ...


class ClientHTTPConnection(HTTP1Connection):
    """Answers requests, and hands an accepted handshake over."""

    def __init__(self, owner: HTTPOwner) -> None:
        # A body that is longer than a message is answered with 413, whatever it is.
        limit = BODY_LIMIT if owner.one_port else owner.rules.settings.message_limit
        arrival = ARRIVAL_TIMEOUT if owner.one_port else None
        super().__init__(owner.spawn, owner.arriving, limit, owner.keep_alive, arrival)
        self._owner = owner
        # Set while a handshake is being decided.
        self._session: Session | None = None
        # Set while a response has no end of its own: it ends when the client goes.
        self.is_stream = False

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._owner.connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._owner.disconnected(self)
        if self._session is not None:
            self._session.client_closed(LOST)

    def eof_received(self) -> bool:
        return self._session is None and not self.is_stream and super().eof_received()

    # Requests

    def route(self, request: Request, body: bytes) -> Coroutine[Any, Any, None] | None:
        asked = ManagementRequest(request.method, request.target, request.headers, body)
        path = asked.target.partition("?")[0]
        if refuses_host(self._owner, host_name(asked.headers), asked.target):
            self.respond(FORBIDDEN)
        elif self._owner.watcher is not None and self._owner.watcher.wants(asked):
            return self._owner.watcher.answer(self, asked)
        elif self._owner.one_port and not (is_management_path(path) or opens_socket(asked.headers)):
            return respond_to(self._owner, self, request, body)
        elif len(asked.target) > URL_LIMIT:
            self.respond(json_response(414, "Request URI Too Long"))
        elif is_management_path(path):
            self._manage(asked, path)
        else:
            return self._route_to_gateway(request, asked)
        return None

    def _manage(self, asked: ManagementRequest, path: str) -> None:
        if is_from_page(asked.headers):
            logger.warning("refused %s: a web page asks for it, and no page may", path)
            self.respond(FORBIDDEN)
        else:
            self.respond(self._owner.manage(asked))

    async def _route_to_gateway(self, request: Request, asked: ManagementRequest) -> None:
        path, _, query = asked.target.partition("?")
        if self._owner.unavailable is not None:
            self.respond(json_response(503, self._owner.unavailable), close=True)
        elif path in OF_BROWSERS:
            self.respond(FORBIDDEN)
        elif not self._owner.rules.is_endpoint(path):
            self._say_what_is_wrong(path, asked.headers)
            self.respond(FORBIDDEN)
        elif request.method != "GET":
            self.respond(FORBIDDEN)
        else:
            await self._upgrade(request, path, query)

    def _say_what_is_wrong(self, path: str, headers: Sequence[tuple[str, str]]) -> None:
        if self._owner.http_url is not None and not opens_socket(headers):
            logger.warning(
                "refused %s: this is the port for WebSockets; HTTP is at %s%s",
                *(path, self._owner.http_url, path),
            )
        else:
            logger.warning(
                "refused %s: API Gateway has no paths below its stage; an app finds its own in "
                "the query, /?path=%s",
                *(path, path),
            )

    # The handshake

    async def _upgrade(self, request: Request, path: str, query: str) -> None:
        headers = request.raw_headers
        response = answer_handshake(path, headers)
        status = _refusal(request, response.status_code, stopping=self._owner.stopping)
        if status is not None:
            self.respond(json_response(status, phrase(status)), close=True)
            return
        source_ip, _ = self.addresses()
        session = self._owner.begin(ClientHandshake(tuple(headers), query, source_ip))
        self._session = session
        verdict = await session.connect()
        self._session = None
        if isinstance(verdict, HandshakeRefused):
            self._owner.ended(session)
            self.respond(json_response(verdict.status, phrase(verdict.status)), close=True)
        elif session.ended:
            self._owner.ended(session)
            self._transport.close()
        else:
            if verdict.subprotocol is not None:
                response.headers["Sec-WebSocket-Protocol"] = verdict.subprotocol
            self._switch(session, list(response.headers.raw_items()))

    def _switch(self, session: Session, headers: list[tuple[str, str]]) -> None:
        """Send the 101, and hand the transport over with what came early."""
        early = self.switch(headers)
        self._owner.disconnected(self)
        settings = self._owner.rules.settings
        socket = ServerWebSocket(
            self._transport, settings, session, on_lost=lambda: self._owner.ended(session)
        )
        self._transport.set_protocol(socket)
        self._transport.resume_reading()
        self._owner.opened(session, socket)
        session.open(socket)
        if early:
            socket.data_received(early)


def _refusal(request: Request, status: int, *, stopping: bool) -> int | None:
    """Return the status that refuses a handshake before the function is asked."""
    if stopping:
        return 503
    if request.version != "1.1":
        return 505
    return None if status == 101 else status
