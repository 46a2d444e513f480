"""HTTP/1.1 for the servers of the local gateway: a connection's requests, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from typing import TYPE_CHECKING, Any, Protocol, cast

from longwire.local.heads import head, phrase
from longwire.local.parser import BadRequestError, Mark, Request, RequestParser
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
        self._parser = RequestParser()
        self._body = bytearray()
        self._request: Request | None = None
        self._early = 0
        # Requests are answered one at a time; the next one waits with the parser.
        self._answering = False
        self._advancing = False
        self._closing = False
        # Set while the client has read nearly all that was sent to it.
        self._read = asyncio.Event()
        self._read.set()

    def route(self, request: Request, body: bytes) -> Coroutine[Any, Any, None] | None:
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
        self._parser.feed(data)
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
        self._parser.end()
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
            part = self._parser.next()
        except BadRequestError as error:
            self._request = None
            self.respond(json_response(error.status, phrase(error.status)), close=True)
            return False
        if isinstance(part, Request):
            self._begin_request(part)
        elif isinstance(part, bytes):
            self._keep_body(part)
        elif part is Mark.COMPLETE:
            self._answering = True
            self._arrived()
            self._answer()
        elif part is Mark.CLOSED:
            self._transport.close()
            return False
        else:
            self._wait_for_the_rest()
            return False
        return True

    def _begin_request(self, request: Request) -> None:
        self._request = request
        self._body.clear()
        if self._parser.expects_continue:
            if self._parser.length > self._body_limit:
                # It has asked before it sends, so that it need not.
                text = "refused %s: the body would have more than %d bytes"
                logger.warning(text, request.target.partition("?")[0], self._body_limit)
                self.respond(REFUSALS[413], close=True)
                return
            self._transport.write(head(100, ()))

    def _keep_body(self, data: bytes) -> None:
        # What is over the limit is read, so that the client gets to read its 413, but not kept.
        if len(self._body) <= self._body_limit:
            self._body += data

    # Requests that do not arrive

    def _wait_for_the_rest(self) -> None:
        if self not in self._arriving and self._parser.has_begun:
            self._arriving[self] = None
            self._expire_after(self._arrival or REQUEST_TIMEOUT)
            if len(self._arriving) > ARRIVING_LIMIT:
                next(iter(self._arriving))._expire()

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
        if begun:
            self.respond(json_response(408, phrase(408)), close=True)
        else:
            self._transport.close()

    def _answer(self) -> None:
        try:
            work = self.route(cast("Request", self._request), bytes(self._body))
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
        close = close or not self._parser.keeps_alive
        if close:
            headers.append(("connection", "close"))
        self._transport.write(head(response.status, headers))
        if response.status not in (204, 304) and not self._is_head() and response.body:
            self._transport.write(response.body)
        self._answering = False
        if close:
            self._close_gently()
        else:
            self._next_request()

    def begin_stream(self, headers: Iterable[tuple[str, str]]) -> None:
        """Answer with 200 and a body that comes in pieces; the connection ends with it."""
        self._transport.write(head(200, [*headers, ("connection", "close")]))

    def send_piece(self, data: bytes) -> None:
        """Send a piece of such a body."""
        self._transport.write(data)

    def switch(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """Agree to another protocol; return what has come of it already."""
        self._transport.write(head(101, headers))
        return self._parser.rest

    def _next_request(self) -> None:
        self._parser.go_on()
        self._request = None
        self._early = 0
        self._transport.resume_reading()
        self._advance()
        if self._keep_alive is not None and not (
            self._answering or self._closing or self in self._arriving
        ):
            self._expire_after(self._keep_alive)

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
        return self._request is not None and self._request.method == "HEAD"
