"""A connected socket, plain or with TLS on it: `send` and `receive`.

Sockets are used directly, not through asyncio's transports: a fork or a new loop leaves nothing
half alive behind, and one look tells whether the other side has closed one.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import select
import socket
import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Protocol

_CHUNK = 64 * 1024

T = TypeVar("T")
_Address = tuple[Any, int, int, str, Any]


if TYPE_CHECKING:

    class Stream(Protocol):
        """Bytes out and in."""

        socket: SocketStream

        async def send(self, data: bytes) -> None: ...

        def receive(self) -> Awaitable[bytes]:
            """Return some bytes, or none at the end."""

        def has_input(self) -> bool:
            """Tell whether there is anything to read: bytes, an end or a reset."""


async def connect(host: str, port: int, *, tls: bool | ssl.SSLContext) -> Stream:
    """Connect to the first of the host's addresses that answers; `tls` may say how, too."""
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
            plain = SocketStream(sock)
            undo.callback(plain.close)
            stream = await _start_tls(plain, tls, host) if tls else plain
            undo.pop_all()
            return stream
    raise failure


async def _resolve(host: str, port: int) -> Sequence[_Address]:
    name = _encoded(host)
    with contextlib.suppress(OSError):
        # An address needs no thread that looks it up.
        flags = socket.AI_NUMERICHOST
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)
    try:
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        why = error.strerror
        try:
            host.encode("idna")
        except UnicodeError:
            why = "it is not a host name"
        raise OSError(f"the name cannot be resolved: {why}") from error


def _encoded(host: str) -> bytes:
    """Return a host's name as it is looked up."""
    if host.isascii():
        return host.encode()  # for a str, Python imports what names beyond ASCII take
    try:
        return host.encode("idna")
    except UnicodeError:
        raise OSError("the name cannot be resolved: it is not a host name") from None


class SocketStream:
    """A connected socket, and so a `Stream` without TLS."""

    # The loop watches a socket from the first wait until it is closed, or ends while nobody waits:
    # to tell it for each wait would cost more than all else that a wait needs.

    def __init__(self, sock: socket.socket) -> None:
        self.socket = self
        self._sock = sock
        self._has_input = _input_of(sock)
        self._watching: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._waiter: asyncio.Future[bytes] | None = None

    async def send(self, data: bytes) -> None:
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            await asyncio.get_running_loop().sock_sendall(self._sock, memoryview(data)[sent:])

    def receive(self) -> Awaitable[bytes]:
        if self._watching is None:
            loop = asyncio.get_running_loop()
            try:
                # Not in the context of who waits first: the connection is everybody's.
                context = contextvars.Context()
                context.run(loop.add_reader, self._sock.fileno(), self._read)
            except NotImplementedError:  # Windows: its usual loop watches no sockets
                return loop.sock_recv(self._sock, _CHUNK)
            self._watching = os.getpid(), loop
        self._waiter = self._watching[1].create_future()
        return self._waiter

    def _read(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._forget()  # nobody waits, and otherwise the loop would not cease to call
            return
        try:
            waiter.set_result(self._sock.recv(_CHUNK))
        except BlockingIOError:
            pass  # nobody promises that what was announced is still there
        except OSError as error:
            waiter.set_exception(error)

    def _forget(self) -> None:
        if self._watching is None:
            return
        process, loop = self._watching
        self._watching = None
        # A forked child shares what its parent's loop watches, and must not change it.
        if process == os.getpid() and not loop.is_closed():
            loop.remove_reader(self._sock.fileno())

    def has_input(self) -> bool:
        return bool(self._has_input())

    def close(self) -> None:
        self._forget()
        self._sock.close()


def _input_of(sock: socket.socket) -> Callable[[], Sequence[object]]:
    """Return what returns nothing as long as there is nothing to read."""
    if sys.platform == "win32":  # where sockets may have any number, and there is no `poll`
        return lambda: select.select([sock], [], [], 0)[0]
    else:
        # A look with `recv` would raise an exception nearly each time.
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return functools.partial(poll.poll, 0)


@functools.cache
def default_tls_context() -> ssl.SSLContext:
    """Make the context of every TLS connection: tens of milliseconds, once, when first needed."""
    import ssl

    return ssl.create_default_context()


async def _start_tls(plain: SocketStream, how: bool | ssl.SSLContext, host: str) -> _TLSStream:
    context = default_tls_context() if isinstance(how, bool) else how
    stream = _TLSStream(plain, context, host)
    await stream.handshake()
    return stream


class _TLSStream:
    """TLS between memory buffers, so that only the socket's own bytes are waited for."""

    def __init__(self, plain: SocketStream, context: ssl.SSLContext, host: str) -> None:
        import ssl

        self.socket = plain
        self._ssl = ssl
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=_encoded(host))

    async def handshake(self) -> None:
        await self._run(self._tls.do_handshake)
        await self._flush()

    async def send(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush()

    async def receive(self) -> bytes:
        if not (self._incoming.pending or self._tls.pending()):
            await self._fill()  # without it `read` would only raise an exception
        try:
            return await self._run(lambda: self._tls.read(_CHUNK))
        except self._ssl.SSLEOFError as error:
            # Without TLS's own goodbye nobody can tell an end from a cut.
            raise ConnectionResetError("the server cut the TLS connection") from error

    def has_input(self) -> bool:
        # What came in one piece with an answer, as a goodbye may, has been read off the socket.
        return bool(self._incoming.pending or self._tls.pending()) or self.socket.has_input()

    async def _run(self, step: Callable[[], T]) -> T:
        while True:
            try:
                return step()
            except self._ssl.SSLWantReadError:
                await self._flush()
                await self._fill()

    async def _fill(self) -> None:
        if data := await self.socket.receive():
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self.socket.send(data)
