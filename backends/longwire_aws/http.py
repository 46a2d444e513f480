"""HTTP/1.1 requests over kept-alive connections, plain or TLS, and nothing more.

Not supported, on purpose: proxies (nor the variables that name them), redirects, HTTP/2,
compression, pipelining, cookies, client certificates, and bodies that do not fit in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import re
import time
import weakref
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from longwire_aws.http11 import (
    HTTPConnection,
    MalformedError,
    Response,
    StaleError,
    is_token,
)
from longwire_aws.streams import connect
from longwire_aws.timeouts import limits
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire_aws.timeouts import Limits

__all__ = ["HTTPClient", "Response", "TransportError", "TransportTimeoutError"]

# Compiled (and kept) by `re` at first use.
_ORIGIN = r"([Hh][Tt][Tt][Pp][Ss]?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::([0-9]{1,5}))?"
_TARGET = r"[!\"$-~]*"

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
        self._pools: dict[_Origin, _Pool] = {}
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
        request = _compose(method, url, headers, body)
        origin = request.origin
        try:
            pool = self._pool(origin)
            with pool.limits.within(timeout) as limit:
                return await self._perform(pool, request)
        except TransportError:
            raise
        except (OSError, MalformedError) as error:
            if isinstance(error, TimeoutError) and limit.expired:
                what = "answer" if request.sent else "connection"
                detail = f"{origin}: no {what} within {timeout:.3g} s"
                raise TransportTimeoutError(detail, sent=request.sent) from error
            raise TransportError(f"{origin}: {_reason(error)}", sent=request.sent) from error

    async def close(self) -> None:
        """Close what is idle; what is in use closes when its request ends."""
        _close_pools(self._pools)

    async def _perform(self, pool: _Pool, request: _Request) -> Response:
        async with pool.slots:
            if (kept := pool.take()) is not None:
                connection, idle = kept
                # What the server closed while nobody looked is replaced, once.
                with contextlib.suppress(StaleError):
                    return await pool.exchange(connection, request, idle=idle)
            request.sent = False
            return await pool.exchange(await self._connect(request.origin), request)

    def _pool(self, origin: _Origin) -> _Pool:
        home = (os.getpid(), asyncio.get_running_loop())
        if home != self._home:
            _close_pools(self._pools)
            self._home = home
        if origin not in self._pools:
            self._pools[origin] = _Pool(self._pool_size, self._clock, limits())
        return self._pools[origin]

    async def _connect(self, origin: _Origin) -> HTTPConnection:
        try:
            async with asyncio.timeout(self._connect_timeout):
                return HTTPConnection(await connect(origin.host, origin.port, tls=origin.tls))
        except TimeoutError as error:
            detail = f"{origin}: no connection within {self._connect_timeout:.3g} s"
            raise TransportTimeoutError(detail, sent=False) from error


class _Origin(NamedTuple):
    tls: bool
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(slots=True)
class _Request:
    origin: _Origin
    method: str
    data: bytes
    sent: bool = False


def _compose(method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> _Request:
    start, target = _split(url)
    origin, host = _origin(start)
    if not re.fullmatch(_TARGET, target):
        raise ValueError(_NO_URL)
    given = _given(method, *[name for name, _ in headers])
    lines = [f"{method} {target if target.startswith('/') else '/' + target} HTTP/1.1"]
    if "host" not in given:
        lines.append(host)
    lines += [f"{name}: {value}" for name, value in headers]
    if "content-length" not in given and (body or method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(body)}")
    head = "\n".join(lines)
    if "\0" in head or "\r" in head or head.count("\n") >= len(lines):
        raise ValueError("the value of a header has a line break or a NUL in it")
    data = head.replace("\n", "\r\n").encode("utf-8") + b"\r\n\r\n" + body
    return _Request(origin, method, data)


@lru_cache(maxsize=64)
def _given(method: str, *names: str) -> frozenset[str]:
    """Return the names of headers in lower case."""
    if not all(map(is_token, [method, *names])):
        raise ValueError("the method or the name of a header has characters that HTTP forbids")
    return frozenset(map(str.lower, names))


def _split(url: str) -> tuple[str, str]:
    """Split off the path and the query."""
    end = url.find("/", len("https://"))
    at = url.find("?", 0, end if end >= 0 else len(url))
    end = at if at >= 0 else end
    return (url[:end], url[end:]) if end >= 0 else (url, "")


# A process speaks to few origins, with many requests to each.
@lru_cache(maxsize=64)
def _origin(url: str) -> tuple[_Origin, str]:
    """Read a URL without its path; return also the line of the header `Host`."""
    match = re.fullmatch(_ORIGIN, url)
    if match is None or int(match[3] or 0) > 65535:
        raise ValueError(_NO_URL)
    tls = match[1].lower() == "https"
    host = f"Host: {match[2]}:{match[3]}" if match[3] else f"Host: {match[2]}"
    return _Origin(tls, match[2].strip("[]"), int(match[3] or (443 if tls else 80))), host


def _reason(error: OSError | MalformedError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class _Pool:
    """The connections to one origin. The last one used is the first to be used again."""

    def __init__(self, size: int, clock: Callable[[], float], limits: Limits) -> None:
        self.slots = asyncio.Semaphore(size)
        self.limits = limits
        self._clock = clock
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._closed = False
        self._tired: list[HTTPConnection] = []

    def take(self) -> tuple[HTTPConnection, bool] | None:
        """Return a connection that may be used again, and whether it was idle for long."""
        while self._idle:
            connection, since = self._idle.pop()
            if connection.looks_alive():
                return connection, abs(self._clock() - since) >= _IDLE
            connection.close()
        return None

    async def exchange(
        self, connection: HTTPConnection, request: _Request, *, idle: bool = False
    ) -> Response:
        request.sent = True
        try:
            return await connection.exchange(request.method, request.data, idle=idle)
        finally:
            if connection.reusable and not self._closed:
                self._keep(connection)
            else:
                connection.close()

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


def _close_pools(pools: dict[_Origin, _Pool]) -> None:
    while pools:
        pools.popitem()[1].close()
