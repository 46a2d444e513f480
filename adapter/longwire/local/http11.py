"""HTTP/1.1 for the servers of the local gateway: a connection's requests, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, cast

import h11

from longwire.local.rules.http_results import REFUSALS
from longwire.local.rules.management_api import json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

logger: logging.Logger = logging.getLogger("longwire.local")

# Seconds in which a request has to arrive whole, from its first byte, or from the beginning of its
# connection.
REQUEST_TIMEOUT = 10.0
# Requests of one server that may be arriving in pieces. With one more, that which began first is
# given up: who sends a request at once is always answered.
ARRIVING_LIMIT = 100
# What h11 lets pass in a header, and nobody behind it takes.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# Bytes that a client may send before its request is answered.
EARLY_LIMIT = 256 * 1024
# Bytes of answers that a client may leave unread before it asks for more.
UNREAD_ANSWERS = 1024 * 1024
# Seconds that a client may take to read what is left and to answer a close frame.
CLOSE_TIMEOUT = 2.0
# Seconds in which a client has to read an answer whole.
READ_TIMEOUT = 60.0


class HTTP1Response(Protocol):
    """What a request is answered with."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]: ...

    @property
    def body(self) -> bytes: ...


class HTTP1Connection(asyncio.Protocol):
    """Parses requests; a subclass answers each of them in `route`."""

    def __init__(
        self,
        spawn: Callable[[Coroutine[None, None, None]], object],
        arriving: dict[HTTP1Connection, None],  # of one server, oldest first: whose request is
        body_limit: int,  # bytes of a body; of one that is longer, some more are kept than these
        keep_alive: float | None = None,  # seconds after a response; None is for good
        arrival: float | None = None,  # seconds that a request may take to arrive
    ) -> None:
        self._spawn = spawn
        self._arriving = arriving
        self._body_limit = body_limit
        self._keep_alive = keep_alive
        self._arrival = arrival
        # When to give up, on the clock of the event loop; the timer may look too early.
        self._expires_at = math.inf
        self._expiry: asyncio.TimerHandle | None = None
        self._h11 = h11.Connection(h11.SERVER)
        self._body = bytearray()
        self._request: h11.Request | None = None
        self._early = 0
        # Requests are answered one at a time; the next one waits in h11's buffer.
        self._answering = False
        self._advancing = False
        self._closing = False
        # Set while the client has read nearly all that was sent to it.
        self._read = asyncio.Event()
        self._read.set()

    def route(self, request: h11.Request, body: bytes) -> Coroutine[Any, Any, None] | None:
        """Answer a request by `respond`, or return what does so or takes the transport over."""
        raise NotImplementedError

    def addresses(self) -> tuple[str, int]:
        """Return the client's address, and the port that it came to."""
        source_ip: str = self._transport.get_extra_info("peername")[0]
        port: int = self._transport.get_extra_info("sockname")[1]
        return source_ip, port

    def stop(self) -> None:
        """Close at once, whatever the client has not read."""
        self._transport.abort()

    @property
    def unread(self) -> int:
        """How many bytes wait for the client to read."""
        return self._transport.get_write_buffer_size()

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport.is_closing()

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._expire_after(REQUEST_TIMEOUT)

    def connection_lost(self, error: Exception | None) -> None:
        self._read.set()
        self._arrived()
        if self._expiry is not None:
            self._expiry.cancel()

    def pause_writing(self) -> None:
        self._read.clear()

    def resume_writing(self) -> None:
        self._read.set()
        if self._closing:
            self._abort_after(CLOSE_TIMEOUT)

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
        if self._closing:
            return False
        self._h11.receive_data(b"")
        if not self._answering:
            self._advance()
        # Some clients shut down their side after a request and still want the answer.
        return self._answering

    # Requests

    def _advance(self) -> None:
        if self._advancing:
            return  # a request was answered at once, and the loop below goes on with the next
        self._advancing = True
        try:
            while not self._answering and not self._closing and self._take_event():
                pass
        finally:
            self._advancing = False

    def _take_event(self) -> bool:
        """Take a part of a request; tell whether there may be another."""
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            self._refuse_rubbish(error)
            return False
        if isinstance(event, h11.Request):
            self._begin_request(event)
        elif isinstance(event, h11.Data):
            self._keep_body(event.data)
        elif isinstance(event, h11.EndOfMessage):
            self._answering = True
            self._arrived()
            self._answer()
        elif isinstance(event, h11.ConnectionClosed):
            self._transport.close()
            return False
        else:
            self._wait_for_the_rest()
            return False
        return True

    def _begin_request(self, request: h11.Request) -> None:
        self._request = request
        self._body.clear()
        if any(_CONTROL.search(value) for _, value in request.headers):
            self.respond(json_response(400, phrase(400)), close=True)
        elif self._h11.they_are_waiting_for_100_continue:
            if _length(request) > self._body_limit:
                # It has asked before it sends, so that it need not.
                text = "refused %s: the body would have more than %d bytes"
                logger.warning(
                    text, request.target.partition(b"?")[0].decode("latin-1"), self._body_limit
                )
                self.respond(REFUSALS[413], close=True)
                return
            self.write(h11.InformationalResponse(status_code=100, headers=[]))

    def _keep_body(self, data: bytes) -> None:
        # What is over the limit is read, so that the client gets to read its 413, but not kept.
        if len(self._body) <= self._body_limit:
            self._body += data

    # Requests that do not arrive

    def _wait_for_the_rest(self) -> None:
        if self not in self._arriving and self._has_begun():
            self._arriving[self] = None
            self._expire_after(self._arrival or REQUEST_TIMEOUT)
            if len(self._arriving) > ARRIVING_LIMIT:
                next(iter(self._arriving))._expire()

    def _has_begun(self) -> bool:
        return self._h11.their_state is not h11.IDLE or self._h11.trailing_data[0] != b""

    def _arrived(self) -> None:
        self._arriving.pop(self, None)
        self._expires_at = math.inf

    def _expire_after(self, seconds: float) -> None:
        # Not a timer for each request: those that are cancelled stay with the loop.
        loop = asyncio.get_running_loop()
        self._expires_at = when = loop.time() + seconds
        if self._expiry is None or self._expiry.when() > when:
            self._set_timer(when)

    def _set_timer(self, when: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_at(when, self._look_at_time, when)

    def _look_at_time(self, now: float) -> None:
        self._expiry = None
        if self._expires_at <= now:
            self._expire()
        elif self._expires_at < math.inf:
            self._set_timer(self._expires_at)

    def _expire(self) -> None:
        """Give up a request that has not arrived, or a connection without one."""
        begun = self in self._arriving
        self._arrived()
        if begun and self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.respond(json_response(408, phrase(408)), close=True)
        else:
            self._transport.close()

    def _answer(self) -> None:
        try:
            work = self.route(cast("h11.Request", self._request), bytes(self._body))
        except Exception:
            self._fail()
        else:
            if work is not None:
                self._spawn(self._answer_later(work))

    async def _answer_later(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            self._fail()

    def _fail(self) -> None:
        # Its client must not be left waiting, nor the others be touched.
        logger.exception("a request failed in the gateway")
        self._transport.close()

    async def until_read(self) -> None:
        """Wait until the client has nearly read the answers so far, and for not too long."""
        if not self._read.is_set():
            try:
                await asyncio.wait_for(self._read.wait(), READ_TIMEOUT)
            except TimeoutError:
                self._transport.abort()

    def respond(self, response: HTTP1Response, *, close: bool = False) -> None:
        """Answer the request, and go on with the next."""
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > UNREAD_ANSWERS:
            self._transport.abort()  # it asks on and on, and reads no answer
            return
        headers = list(response.headers)
        has_length = any(name == "content-length" for name, _ in headers)  # that of a HEAD
        if response.status not in (204, 304) and not has_length:
            headers.append(("content-length", str(len(response.body))))
        if close:
            headers.append(("connection", "close"))
        reason = phrase(response.status).encode()
        encoded = [(name.encode(), value.encode(errors="replace")) for name, value in headers]
        self.write(h11.Response(status_code=response.status, headers=encoded, reason=reason))
        if response.body and response.status not in (204, 304) and not self._is_head():
            self.write(h11.Data(data=response.body))
        self.write(h11.EndOfMessage())
        self._next_request()

    def write(self, event: h11.Event) -> None:
        """Send a part of a response."""
        data = self._h11.send(event)
        if data:
            self._transport.write(data)

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
        if self._keep_alive is not None and not (
            self._answering or self._closing or self in self._arriving
        ):
            self._expire_after(self._keep_alive)

    def _refuse_rubbish(self, error: h11.RemoteProtocolError) -> None:
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status = error.error_status_hint
            self.respond(json_response(status, phrase(status)), close=True)
        else:
            self._close_gently()

    def _close_gently(self) -> None:
        """Let the client read its response before the socket goes, though it may still send."""
        self._arrived()
        if self._transport.can_write_eof() and not self._transport.is_closing():
            with contextlib.suppress(OSError):  # the client was faster to go
                self._transport.write_eof()
        self._closing = True
        self._transport.resume_reading()
        # A long answer takes its time.
        self._abort_after(CLOSE_TIMEOUT if self._read.is_set() else READ_TIMEOUT)

    def _abort_after(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def _is_head(self) -> bool:
        return self._request is not None and self._request.method == b"HEAD"


def _length(request: h11.Request) -> int:
    values = [value for name, value in request.headers if name == b"content-length"]
    return int(values[0]) if values else 0  # h11 has checked that it is a number, and the only one


def decode(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Return headers as text."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def phrase(status: int) -> str:
    """Return the words that go with a status, "" when there are none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
