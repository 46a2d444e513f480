"""Lines between a client and a server that hold each piece, or deliver nothing at first."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Seconds for each piece in each direction, and until the client reads at all.
FAR, SLOW = 0.15, 3.0
_PIECE = 65536


@asynccontextmanager
async def line(host: str, port: int, *, each: float, first: float) -> AsyncIterator[int]:
    """Relay connections; yield the port at which clients get them."""
    relays: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_relay(reader, to_server, each, 0.0))
                group.create_task(_relay(from_server, writer, each, first))
        except* OSError:
            pass  # one of them has broken the connection
        finally:
            to_server.close()
            writer.close()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relays.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        port_of_line: int = server.sockets[0].getsockname()[1]
        yield port_of_line
    finally:
        server.close()
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, each: float, first: float
) -> None:
    """Hand on each piece so many seconds after it came, none in the first seconds."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    opens_at = loop.time() + first

    async def read() -> None:
        while piece := await reader.read(_PIECE):
            pieces.put_nowait((loop.time() + each, piece))
        pieces.put_nowait((loop.time() + each, b""))

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(max(due, opens_at) - loop.time())
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
