"""A TCP connection as it begins: HTTP requests, one of which may become a WebSocket."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

import h11

from longwire.local.connection import LOST, Handshake
from longwire.local.management_api import FORBIDDEN, Answer, is_management_path, json_answer
from longwire.local.results import Refused
from longwire.local.signatures import Request
from longwire.local.websocket import CLOSE_TIMEOUT, WebSocket, answer_handshake

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from longwire.local.gateway import Gateway
    from longwire.local.session import Session

logger = logging.getLogger("longwire.local")

# https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html
URL_LIMIT = 4096
# Bytes of a request body, API Gateway's own limit. A frame has a lower one, which is a rule.
BODY_LIMIT = 10 * 1024 * 1024
# Bytes that a client may send before its handshake is answered.
EARLY_LIMIT = 256 * 1024


class Owner(Protocol):
    """What a connection needs from the gateway that listens."""

    rules: Gateway
    stopping: bool

    def spawn(self, work: Coroutine[None, None, None]) -> object: ...

    def begin(self, handshake: Handshake) -> Session: ...

    def opened(self, session: Session, socket: WebSocket) -> None: ...

    def ended(self, session: Session) -> None: ...

    async def manage(self, request: Request) -> Answer: ...

    def connected(self, connection: HTTPConnection) -> None: ...

    def disconnected(self, connection: HTTPConnection) -> None: ...


class HTTPConnection(asyncio.Protocol):
    """Parses requests, answers them one at a time, and hands an accepted handshake over."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._h11 = h11.Connection(h11.SERVER)
        self._body = bytearray()
        self._request: h11.Request | None = None
        # Set while a handshake is being decided.
        self._session: Session | None = None
        self._early = 0
        # Requests are answered one at a time; the next one waits in h11's buffer.
        self._answering = False
        self._closing = False

    def stop(self) -> None:
        """Close at once, whatever the client has not read."""
        self._transport.abort()

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._owner.connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.disconnected(self)
        if self._session is not None:
            self._session.client_closed(LOST)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._h11.receive_data(data)
        if self._answering:
            # A WebSocket client may send before its 101; all of it is kept, within reason.
            self._early += len(data)
            if self._early > EARLY_LIMIT:
                self._transport.pause_reading()
        else:
            self._advance()

    def eof_received(self) -> bool:
        if self._session is not None or self._closing:
            return False
        self._h11.receive_data(b"")
        if not self._answering:
            self._advance()
        # Some clients shut down their side after a request and still want the answer.
        return self._answering

    # Requests

    def _advance(self) -> None:
        while not self._answering and not self._closing:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse_rubbish(error)
                return
            if isinstance(event, h11.Request):
                self._begin_request(event)
            elif isinstance(event, h11.Data):
                self._keep_body(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._answering = True
                self._owner.spawn(self._answer())
            else:
                if isinstance(event, h11.ConnectionClosed):
                    self._transport.close()
                return

    def _begin_request(self, request: h11.Request) -> None:
        self._request = request
        self._body.clear()
        if self._h11.they_are_waiting_for_100_continue:
            self._write(h11.InformationalResponse(status_code=100, headers=[]))

    def _keep_body(self, data: bytes) -> None:
        # What is over the limit is read, so that the client gets to read its 413, but not kept.
        if len(self._body) <= BODY_LIMIT:
            self._body += data

    async def _answer(self) -> None:
        try:
            await self._route(cast("h11.Request", self._request))
        except Exception:
            # One request must not leave its client waiting, nor touch the others.
            logger.exception("a request failed in the gateway")
            self._transport.close()

    async def _route(self, request: h11.Request) -> None:
        target = request.target.decode("latin-1")
        path, _, query = target.partition("?")
        if len(target) > URL_LIMIT:
            self._respond(json_answer(414, "Request URI Too Long"))
        elif is_management_path(path):
            self._respond(await self._owner.manage(self._to_manage(request, target)))
        elif not self._owner.rules.is_endpoint(path):
            logger.warning(
                "refused %s: API Gateway has no paths below its stage; an app finds its own in "
                "the query, /?path=%s",
                path,
                path,
            )
            self._respond(FORBIDDEN)
        elif request.method != b"GET":
            self._respond(FORBIDDEN)
        else:
            await self._upgrade(request, path, query)

    def _to_manage(self, request: h11.Request, target: str) -> Request:
        headers = _decode(request.headers)
        return Request(request.method.decode("ascii"), target, headers, bytes(self._body))

    def _respond(self, answer: Answer, *, close: bool = False) -> None:
        if self._transport.is_closing():
            return
        headers = list(answer.headers)
        if answer.status not in (204, 304):
            headers.append(("content-length", str(len(answer.body))))
        if close:
            headers.append(("connection", "close"))
        self._write(h11.Response(status_code=answer.status, headers=headers))
        if answer.body and answer.status not in (204, 304) and not self._is_head():
            self._write(h11.Data(data=answer.body))
        self._write(h11.EndOfMessage())
        self._next_request()

    def _next_request(self) -> None:
        self._answering = False
        if self._h11.our_state is h11.MUST_CLOSE or self._h11.our_state is h11.CLOSED:
            self._close_gently()
            return
        self._h11.start_next_cycle()
        self._request = None
        self._early = 0
        self._transport.resume_reading()
        self._advance()

    def _refuse_rubbish(self, error: h11.RemoteProtocolError) -> None:
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status = error.error_status_hint
            self._respond(json_answer(status, _phrase(status)), close=True)
        else:
            self._close_gently()

    def _close_gently(self) -> None:
        """Let the client read its answer before the socket goes, although it may still send."""
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        self._closing = True
        self._transport.resume_reading()
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._transport.close)

    def _is_head(self) -> bool:
        return self._request is not None and self._request.method == b"HEAD"

    def _write(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data:
            self._transport.write(data)

    # The handshake

    async def _upgrade(self, request: h11.Request, path: str, query: str) -> None:
        headers = _decode(request.headers.raw_items())
        response = answer_handshake(path, headers)
        status = _refusal(request, response.status_code, stopping=self._owner.stopping)
        if status is not None:
            self._respond(json_answer(status, _phrase(status)), close=True)
            return
        source_ip = self._transport.get_extra_info("peername")[0]
        session = self._owner.begin(Handshake(tuple(headers), query, source_ip))
        self._session = session
        verdict = await session.connect()
        self._session = None
        if isinstance(verdict, Refused):
            self._owner.ended(session)
            self._respond(json_answer(verdict.status, _phrase(verdict.status)), close=True)
        elif session.ended:
            self._owner.ended(session)
            self._transport.close()
        else:
            if verdict.subprotocol is not None:
                response.headers["Sec-WebSocket-Protocol"] = verdict.subprotocol
            self._switch(session, list(response.headers.raw_items()))

    def _switch(self, session: Session, headers: list[tuple[str, str]]) -> None:
        """Send the 101 and let a `WebSocket` have the transport, with what came early."""
        self._write(h11.InformationalResponse(status_code=101, headers=headers))
        early, _ = self._h11.trailing_data
        self._owner.disconnected(self)
        settings = self._owner.rules.settings
        socket = WebSocket(
            self._transport, settings, session, on_lost=lambda: self._owner.ended(session)
        )
        self._transport.set_protocol(socket)
        self._transport.resume_reading()
        self._owner.opened(session, socket)
        session.open(socket)
        if early:
            socket.data_received(early)


def _decode(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _refusal(request: h11.Request, status: int, *, stopping: bool) -> int | None:
    """Return the status to refuse a handshake with before the function is asked."""
    if stopping:
        return 503
    if request.http_version != b"1.1":
        return 505
    return None if status == 101 else status


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
