"""A server that speaks whatever bytes a test writes down, for what real servers do only rarely."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tests.connections_server import reset

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """One accepted connection, as a script sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.tls = writer.get_extra_info("sslcontext") is not None

    async def request(self) -> bytes:
        """Read one request that has a length, or no body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = [line[15:] for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
        return head + await self.reader.readexactly(int(length[0]) if length else 0)

    async def reply(self, data: bytes = OK) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            await self.reader.read()

    def reset(self) -> None:
        reset(self.writer)


class RawServer:
    """Runs the nth script for the nth connection."""

    def __init__(self, *scripts: Callable[[Peer], Awaitable[None]]) -> None:
        self.url = ""
        self.connected = 0
        # One for each script, set when it has ended and closed its connection.
        self.ended = [asyncio.Event() for _ in scripts]
        self._scripts = scripts
        self._finished = False
        self._running: list[tuple[asyncio.Task[None], asyncio.StreamWriter]] = []

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._finished:
            # One that is closed already has no loop any more, which `abort` of CPython 3.12 misses.
            with contextlib.suppress(AttributeError):
                writer.transport.abort()
            return
        task = asyncio.create_task(self._run(self.connected, Peer(reader, writer)))
        self._running.append((task, writer))
        self.connected += 1

    async def _run(self, number: int, peer: Peer) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await self._scripts[number](peer)
        finally:
            peer.writer.close()
            if not peer.tls:
                # Over TLS that would wait for the client's goodbye, too.
                with contextlib.suppress(ConnectionError):
                    await peer.writer.wait_closed()
            self.ended[number].set()

    async def finish(self) -> None:
        self._finished = True
        for task, writer in self._running:
            task.cancel()
            # One that is closed already has no loop any more, which `abort` of CPython 3.12 misses.
            with contextlib.suppress(AttributeError):
                writer.transport.abort()
        results = await asyncio.gather(*(task for task, _ in self._running), return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


@contextlib.asynccontextmanager
async def raw_server(
    *scripts: Callable[[Peer], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    raw = RawServer(*scripts)
    server = await asyncio.start_server(raw.accept, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    raw.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield raw
    finally:
        server.close()
        await raw.finish()
        await server.wait_closed()


def answering(data: bytes) -> Callable[[Peer], Awaitable[None]]:
    """Make a script: one request, these bytes, the end."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.reply(data)

    return script
