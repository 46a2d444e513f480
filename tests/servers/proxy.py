"""A TCP proxy that counts what a client asks of a server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class CountingProxy:
    """Forwards to a port of 127.0.0.1.

    Attributes:
        port: where it listens.
        connections: how many were opened to it.
        turns: how often a client spoke after the server had; a request and its answer are one.
    """

    def __init__(self, target: int) -> None:
        self.connections = 0
        self.turns = 0
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def reset(self) -> None:
        self.connections = self.turns = 0

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._target)
        client_speaks = False

        async def pump(
            source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, from_client: bool
        ) -> None:
            nonlocal client_speaks
            with contextlib.suppress(ConnectionError):
                while data := await source.read(1 << 16):
                    if from_client and not client_speaks:
                        self.turns += 1
                    client_speaks = from_client
                    sink.write(data)
                    await sink.drain()
            sink.close()

        try:
            await asyncio.gather(
                pump(reader, upstream_writer, from_client=True),
                pump(upstream_reader, writer, from_client=False),
            )
        finally:
            for end in (writer, upstream_writer):
                end.transport.abort()
