"""A connected socket, plain or with TLS on it: `send` and `receive`.

Sockets are used directly (`loop.sock_recv` and its like), not through asyncio's transports: while
nothing waits for it, such a socket is known to no event loop, so that a fork or a new loop leaves
nothing half alive behind, and one look tells whether the other side has closed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

_CHUNK = 64 * 1024

T = TypeVar("T")
_Address = tuple[Any, int, int, str, Any]


class Channel(Protocol):
    sock: socket.socket

    async def send(self, data: bytes) -> None: ...

    async def receive(self) -> bytes:
        """Return some bytes, or none at the end."""


async def connect(host: str, port: int, *, tls: bool) -> Channel:
    """Connect to the first of the host's addresses that answers."""
    loop = asyncio.get_running_loop()
    failure = OSError("the host has no address")
    for family, kind, protocol, _, address in await _resolve(host, port):
        with contextlib.ExitStack() as undo:
            sock = socket.socket(family, kind, protocol)
            undo.callback(sock.close)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await loop.sock_connect(sock, address)
            except OSError as error:
                # asyncio's own text names the address, not what was wrong with it.
                failure = OSError(error.errno, os.strerror(error.errno or 0))
                continue
            channel = await _start_tls(sock, host) if tls else _Plain(sock)
            undo.pop_all()
            return channel
    raise failure


async def _resolve(host: str, port: int) -> Sequence[_Address]:
    with contextlib.suppress(OSError, UnicodeError):
        # An address needs no thread that looks it up.
        flags = socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    try:
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        why = error.strerror if isinstance(error, socket.gaierror) else "it is not a host name"
        raise OSError(f"the name cannot be resolved: {why}") from error


class _Plain:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.sock, _CHUNK)


@functools.cache
def default_tls_context() -> ssl.SSLContext:
    """Make the context of every TLS connection: tens of milliseconds, once, when first needed."""
    import ssl

    return ssl.create_default_context()


async def _start_tls(sock: socket.socket, host: str) -> _TLS:
    channel = _TLS(sock, default_tls_context(), host)
    await channel.handshake()
    return channel


class _TLS:
    """TLS between memory buffers, so that only the socket's own bytes are waited for."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        import ssl

        self.sock = sock
        self._ssl = ssl
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    async def handshake(self) -> None:
        await self._run(self._tls.do_handshake)
        await self._flush()

    async def send(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush()

    async def receive(self) -> bytes:
        try:
            return await self._run(lambda: self._tls.read(_CHUNK))
        except self._ssl.SSLEOFError as error:
            # Without TLS's own goodbye nobody can tell an end from a cut.
            raise ConnectionResetError("the server cut the TLS connection") from error

    async def _run(self, step: Callable[[], T]) -> T:
        while True:
            try:
                return step()
            except self._ssl.SSLWantReadError:
                await self._flush()
                data = await asyncio.get_running_loop().sock_recv(self.sock, _CHUNK)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await asyncio.get_running_loop().sock_sendall(self.sock, data)
