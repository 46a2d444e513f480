"""HTTP/1.1 requests over kept-alive connections, plain or TLS, and nothing more.

Not supported, on purpose: proxies (nor the variables that name them), redirects, HTTP/2,
compression, pipelining, cookies, client certificates, and bodies that do not fit in memory.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
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
from longwire_aws.places import Places
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
                if not pool.places.take():
                    await pool.places.wait()
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
    names, values = zip(*headers, strict=True) if headers else ((), ())
    form = _form(method, names, bool(body))
    given = "".join(values)
    if "\r" in given or "\n" in given or "\0" in given:
        raise ValueError("the value of a header has a line break or a NUL in it")
    return (form % (target, host, *values, len(body))).encode() + body


@lru_cache(maxsize=64)
def _form(method: str, names: tuple[str, ...], has_body: bool) -> str:
    """Return the head of requests with these headers, for the rest to be put in with `%`."""
    if not all(map(is_token, (method, *names))):
        raise ValueError("the method or the name of a header has characters that HTTP forbids")
    given = set(map(str.lower, names))
    needs_length = has_body or method in ("POST", "PUT", "PATCH")
    lines = [
        f"{_escaped(method)} %s HTTP/1.1\r\n",
        _NOT_SHOWN if "host" in given else "Host: %s\r\n",
        *[f"{_escaped(name)}: %s\r\n" for name in names],
        "Content-Length: %d\r\n" if needs_length and "content-length" not in given else _NOT_SHOWN,
    ]
    return "".join([*lines, "\r\n"])


_NOT_SHOWN = "%.0s"  # takes a value, and none of its characters


def _escaped(token: str) -> str:
    return token.replace("%", "%%")


def _split(url: str) -> tuple[str, str]:
    """Split off the path and the query, which may have all of ASCII but blanks and `#`."""
    end = url.find("/", len("https://"))
    at = url.find("?", 0, end if end >= 0 else len(url))
    end = at if at >= 0 else end
    if not (url.isascii() and url.isprintable()) or " " in url or "#" in url:
        raise ValueError(_NO_URL)
    if end < 0:
        return url, "/"
    return url[:end], url[end:] if end != at else f"/{url[end:]}"


def _origin(url: str) -> tuple[Origin, str]:
    """Read a URL without its path; return also the value of the header `Host`."""
    origin = read_origin(url)
    if origin is None:
        raise ValueError(_NO_URL)
    return origin, url.partition("://")[2]


def _reason(error: OSError | MalformedError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class _Pool:
    """The connections to one origin. The last one used is the first to be used again."""

    def __init__(self, url: str, size: int, clock: Callable[[], float], limits: Limits) -> None:
        self.origin, self.host = _origin(url)
        self.limits = limits
        self.places = Places(size)
        self._clock = clock
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._closed = False

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
                self._idle.append((connection, self._clock()))
            else:
                connection.close()
        self.places.give()

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop()[0].close()


def _close_pools(pools: dict[str, _Pool]) -> None:
    while pools:
        pools.popitem()[1].close()
