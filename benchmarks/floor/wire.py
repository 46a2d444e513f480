"""One connection to a server, with one request at a time on it."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from ssl import SSLContext
    from typing import Self

T = TypeVar("T")
# What answers come in. A plain `asyncio.Protocol` reads into 256 KiB that are mapped each time.
SIZE = 65536


@cache
def tls_context() -> SSLContext:
    import ssl

    return ssl.create_default_context()


class Wire(asyncio.BufferedProtocol, Generic[T]):
    """Reads whole answers; `T` is what one is."""

    _transport: asyncio.Transport
    _answer: asyncio.Future[T]

    @classmethod
    async def to(cls, host: str, port: int, *, tls: bool = False) -> Self:
        """Connect."""
        context = tls_context() if tls else None
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(cls, host, port, ssl=context)
        return wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = bytearray(SIZE)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._loop = asyncio.get_running_loop()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        answer = self.read(bytes(self._view[: self._filled]))
        if answer is not None:
            self._filled = 0
            self._answer.set_result(answer)

    def read(self, data: bytes) -> T | None:
        """Return the answer if it is there as a whole."""
        raise NotImplementedError

    def ask(self, data: bytes) -> asyncio.Future[T]:
        """Send a request; what is returned is the answer."""
        self._answer = self._loop.create_future()
        self._transport.write(data)
        return self._answer


class HTTP(Wire[tuple[bytes, bytes]]):
    """An answer is a status and a body. moto ends the connection with each answer of S3."""

    ends = False

    def read(self, data: bytes) -> tuple[bytes, bytes] | None:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = data[:end].lower()
        self.ends = b"connection: close" in head
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
        return (data[9:12], data[end + 4 :]) if len(data) >= end + 4 + length else None


class RESP(Wire[tuple[bytes | None]]):
    """An answer of Redis: a string, or what its line says."""

    def read(self, data: bytes) -> tuple[bytes | None] | None:
        end = data.find(b"\r\n")
        if end < 0:
            return None
        if not data.startswith(b"$"):
            assert not data.startswith(b"-"), data
            return (data[1:end],)
        size = int(data[1:end])
        if size < 0:
            return (None,)
        return (data[end + 2 : end + 2 + size],) if len(data) >= end + size + 4 else None

    async def command(self, *words: bytes) -> bytes | None:
        parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        (answer,) = await self.ask(b"*%d\r\n%b" % (len(words), b"".join(parts)))
        return answer
