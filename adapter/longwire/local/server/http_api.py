"""A TCP connection to the HTTP API: each of its requests is an event of the function."""

from __future__ import annotations

import logging
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

from longwire.local.http11 import HTTP1Connection
from longwire.local.rules.access import host_name
from longwire.local.rules.http_events import BODY_LIMIT, HTTPRequest
from longwire.local.rules.http_results import (
    NOT_FOUND,
    HTTPResponse,
    error_response,
)
from longwire.local.rules.management_api import FORBIDDEN

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Iterable

    from longwire.local.parser import Request

logger: logging.Logger = logging.getLogger("longwire.local")

# Seconds for which a connection without a request is kept.
KEEP_ALIVE = 60.0
# Seconds in which a request has to arrive whole: 10 MB of it may come over a slow line.
ARRIVAL_TIMEOUT = 60.0


class HTTPAPIOwner(Protocol):
    """What a connection needs of the gateway that listens."""

    stopping: bool
    unavailable: str | None
    arriving: dict[HTTP1Connection, None]
    url: str

    def answers_http(self) -> bool: ...

    def is_own_host(self, name: str) -> bool: ...

    def spawn(self, work: Coroutine[None, None, None]) -> object: ...

    async def answer(self, request: HTTPRequest) -> tuple[HTTPResponse, str]: ...

    def connected(self, connection: HTTP1Connection) -> None: ...

    def disconnected(self, connection: HTTP1Connection) -> None: ...


class HTTPAPIConnection(HTTP1Connection):
    """Answers requests with what the function says."""

    def __init__(self, owner: HTTPAPIOwner) -> None:
        super().__init__(owner.spawn, owner.arriving, BODY_LIMIT, KEEP_ALIVE, ARRIVAL_TIMEOUT)
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._owner.connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._owner.disconnected(self)

    async def route(self, request: Request, body: bytes) -> None:
        if refuses_host(self._owner, host_name(request.headers), request.target):
            self.respond(FORBIDDEN)
            return
        if opens_socket(request.headers):
            path = request.target.partition("?")[0]
            logger.warning(
                "%s: this is the port for HTTP, where no WebSocket can be opened; they are at "
                "%s/?path=%s",
                *(path, self._owner.url, path),
            )
        await respond_to(self._owner, self, request, body)


async def respond_to(
    owner: HTTPAPIOwner, connection: HTTP1Connection, request: Request, body: bytes
) -> None:
    """Answer a request that is not for the WebSocket API, whichever port it has come to."""
    if owner.stopping or owner.unavailable is not None:
        why = "Service Unavailable" if owner.unavailable is None else owner.unavailable
        connection.respond(error_response(503, why), close=True)
        return
    if not owner.answers_http():
        connection.respond(NOT_FOUND)
        return
    response, request_id = await owner.answer(_to_http_request(connection, request, body))
    # One that asks on and on has to read, too.
    await connection.until_read()
    more = [("apigw-requestid", request_id)]
    if not any(name == "date" for name, _ in response.headers):
        more.insert(0, ("date", formatdate(usegmt=True)))
    connection.respond(replace(response, headers=(*more, *response.headers)))


def opens_socket(headers: Iterable[tuple[str, str]]) -> bool:
    """Tell whether a request is a handshake."""
    return any(name == "upgrade" and "websocket" in value.lower() for name, value in headers)


def refuses_host(owner: HTTPAPIOwner, host: str, target: str) -> bool:
    """Tell whether a request came under a name that is not this machine's, and say so."""
    if owner.is_own_host(host):
        return False
    path = target.partition("?")[0]
    if host:
        logger.warning(
            "refused a request to %s%s: a web page may have had that name lead to this "
            "machine; if the name is yours, allow it with --allow-host %s",
            *(host, path, host),
        )
    else:
        logger.warning("refused a request to %s that names no Host", path)
    return True


def _to_http_request(connection: HTTP1Connection, request: Request, body: bytes) -> HTTPRequest:
    addresses = connection.addresses()
    return HTTPRequest(request.method, request.target, request.headers, body, *addresses)
