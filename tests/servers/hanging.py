"""Servers that hang: they accept and say nothing, say a part and stall, or do not even accept."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@contextlib.asynccontextmanager
async def silent(first: bytes = b"") -> AsyncIterator[int]:
    """Accept on the returned port of 127.0.0.1, answer the first bytes with `first`, then nothing.

    Args:
        first: a part of an answer.
    """
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            if await reader.read(1):
                writer.write(first)
            await reader.read()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            with contextlib.suppress(AttributeError):  # closed already, on CPython 3.12
                writer.transport.abort()
        await server.wait_closed()


@contextlib.contextmanager
def unaccepting() -> Iterator[int]:
    """Listen on the returned port of 127.0.0.1 with a full backlog: no handshake of TCP ends."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
