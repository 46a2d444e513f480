"""HTTP/1.1 requests over kept-alive connections, plain or TLS, and nothing more.

Not supported, on purpose: proxies (nor the variables that name them), redirects, HTTP/2,
compression, pipelining, cookies, client certificates, and bodies that do not fit in memory.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import time
import weakref
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING

from longwire_aws.endpoints import Origin, read_origin
from longwire_aws.http11 import (
    HTTPConnection,
    MalformedError,
    Response,
    StaleError,
    is_token,
)
from longwire_aws.streams import connect
from longwire_aws.timeouts import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire_aws.timeouts import Limits

__all__ = ["HTTPClient", "Response", "TransportError", "TransportTimeoutError"]

_NO_URL = "the URL is not an absolute http:// or https:// URL in plain ASCII"

# Seconds without use before which no server closes a connection: one that breaks sooner, while it
# has a request, may have taken it.
_IDLE = 1.0


class TransportError(OSError):
    """No usable answer came. The text names host, port and what happened."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        # False: the request surely never reached the server, so that it may be repeated.
        self.sent = sent


class TransportTimeoutError(TransportError, TimeoutError):
    """No connection, or no complete answer, within the time limit."""


class HTTPClient:
    """A client for one event loop at a time; idle connections of an earlier loop are closed."""

    def __init__(
        self,
        *,
        pool_size: int = 100,  # connections to one origin; further requests wait
        connect_timeout: float = 3.0,  # seconds, with the name and the TLS handshake
        # Not monotonic: that clock may stand still while the process is frozen.
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool_size = pool_size
        self._connect_timeout = connect_timeout
        self._clock = clock
        self._pools: dict[str, _Pool] = {}  # by the URL without its path
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        # An idle connection is no more than a descriptor, so a dropped client closes its own.
        weakref.finalize(self, _close_pools, self._pools)

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response:
        """Send one request, its URL exactly as it is, and read the answer, whatever its status."""
        start, target = _split(url)
        pool = self._pool(start)
        data = _compose(method, target, pool.host, headers, body)
        sent, connection = False, None
        try:
            with pool.limits.within(timeout) as limit:
                if not pool.enter():
                    await pool.wait()
                try:
                    connection, idle = pool.take()
                    if connection is not None:
                        sent = True
                        try:
                            return await connection.exchange(method, data, idle=idle)
                        except StaleError:  # the server closed it while nobody looked
                            connection.close()
                            sent = False
                    connection = await self._connect(pool.origin)
                    sent = True
                    return await connection.exchange(method, data, idle=False)
                finally:
                    pool.leave(connection)
        except TransportError:
            raise
        except (OSError, MalformedError) as error:
            if isinstance(error, TimeoutError) and limit.expired:
                what = "answer" if sent else "connection"
                detail = f"{pool.origin}: no {what} within {timeout:.3g} s"
                raise TransportTimeoutError(detail, sent=sent) from error
            raise TransportError(f"{pool.origin}: {_reason(error)}", sent=sent) from error

    async def close(self) -> None:
        """Close what is idle; what is in use closes when its request ends."""
        _close_pools(self._pools)

    def _pool(self, start: str) -> _Pool:
        """Return what is kept for all URLs that begin so."""
        home = (os.getpid(), asyncio.get_running_loop())
        if home != self._home:
            _close_pools(self._pools)
            self._home = home
        pool = self._pools.get(start)
        if pool is None:
            pool = self._pools[start] = _Pool(start, self._pool_size, self._clock, limits())
        return pool

    async def _connect(self, origin: Origin) -> HTTPConnection:
        try:
            async with asyncio.timeout(self._connect_timeout):
                return HTTPConnection(await connect(origin.host, origin.port, tls=origin.tls))
        except TimeoutError as error:
            detail = f"{origin}: no connection within {self._connect_timeout:.3g} s"
            raise TransportTimeoutError(detail, sent=False) from error


def _compose(
    method: str, target: str, host: str, headers: Sequence[tuple[str, str]], body: bytes
) -> bytes:
    given = _given(method, *dict(headers))
    slash = "" if target.startswith("/") else "/"
    lines = [f"{method} {slash}{target} HTTP/1.1"]
    if "host" not in given:
        lines.append(host)
    lines += map(": ".join, headers)
    if "content-length" not in given and (body or method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(body)}")
    head = "\n".join(lines)
    if "\0" in head or "\r" in head or head.count("\n") >= len(lines):
        raise ValueError("the value of a header has a line break or a NUL in it")
    return head.replace("\n", "\r\n").encode("utf-8") + b"\r\n\r\n" + body


@lru_cache(maxsize=64)
def _given(method: str, *names: str) -> frozenset[str]:
    """Return the names of headers in lower case."""
    if not all(map(is_token, [method, *names])):
        raise ValueError("the method or the name of a header has characters that HTTP forbids")
    return frozenset(map(str.lower, names))


def _split(url: str) -> tuple[str, str]:
    """Split off the path and the query, which may have all of ASCII but blanks and `#`."""
    end = url.find("/", len("https://"))
    at = url.find("?", 0, end if end >= 0 else len(url))
    end = at if at >= 0 else end
    if not (url.isascii() and url.isprintable()) or " " in url or "#" in url:
        raise ValueError(_NO_URL)
    return (url[:end], url[end:]) if end >= 0 else (url, "")


def _origin(url: str) -> tuple[Origin, str]:
    """Read a URL without its path; return also the line of the header `Host`."""
    origin = read_origin(url)
    if origin is None:
        raise ValueError(_NO_URL)
    return origin, f"Host: {url.partition('://')[2]}"


def _reason(error: OSError | MalformedError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class _Pool:
    """The connections to one origin. The last one used is the first to be used again."""

    def __init__(self, url: str, size: int, clock: Callable[[], float], limits: Limits) -> None:
        self.origin, self.host = _origin(url)
        self.limits = limits
        self._free = size
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._clock = clock
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._closed = False
        self._tired: list[HTTPConnection] = []

    def enter(self) -> bool:
        """Take one of the places for a request, if one is free and nobody waits for it."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Take the next place, in the order of coming."""
        # A semaphore of asyncio costs each request two coroutines, also where a place is free.
        turn = self.limits.loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # it came together with the cancellation
            raise

    def take(self) -> tuple[HTTPConnection | None, bool]:
        """Return a connection that may be used again, if any, and whether it was idle for long."""
        while self._idle:
            connection, since = self._idle.pop()
            if connection.looks_alive():
                return connection, abs(self._clock() - since) >= _IDLE
            connection.close()
        return None, False

    def leave(self, connection: HTTPConnection | None) -> None:
        """Give the place back; a connection that is fit for it serves others."""
        if connection is not None:
            if connection.reusable and not self._closed:
                self._keep(connection)
            else:
                connection.close()
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _keep(self, connection: HTTPConnection) -> None:
        self._idle.append((connection, self._clock()))
        if not self._tired:
            # Not at once: where many requests wait it is in use again before that.
            self.limits.loop.call_soon(self._rest, context=contextvars.Context())
        self._tired.append(connection)

    def _rest(self) -> None:
        while self._tired:
            self._tired.pop().rest()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop()[0].close()


def _close_pools(pools: dict[str, _Pool]) -> None:
    while pools:
        pools.popitem()[1].close()
