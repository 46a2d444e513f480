"""Real WebSocket clients, as the measurements want them."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.live import lines
from tests.live.world import Closed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

    from tests.live.world import Way

# Seconds for a handshake: a cold start, behind the longest line.
OPEN_TIMEOUT = 40.0


class RealClient:
    """A connection of `websockets`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def say(self, message: str) -> None:
        with contextlib.suppress(ConnectionClosed):  # hearing tells
            await self._connection.send(message)

    async def say_bytes(self, data: bytes, *, text: bool) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._connection.send(data, text=text)

    async def hear(self, seconds: float) -> str | bytes | Closed | None:
        try:
            async with asyncio.timeout(seconds):
                return await self._connection.recv()
        except TimeoutError:
            return None
        except UnicodeDecodeError as error:
            return bytes(error.object)
        except ConnectionClosed as closed:
            end = closed.rcvd or closed.sent
            return Closed(None) if end is None else Closed(end.code, end.reason)

    async def ping(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await (await self._connection.ping())
        except (TimeoutError, ConnectionClosed):
            return False
        return True


@asynccontextmanager
async def open_client(url: str, path: str, way: Way) -> AsyncIterator[RealClient]:
    """Connect to the path of an app in one of the ways."""
    target = f"{url}/?{urlencode({'path': path})}"
    # Compression would hide sizes, and pings of its own would be answered or not beside ours.
    options: dict[str, Any] = {"compression": None, "ping_interval": None, "max_size": None}
    options |= {"open_timeout": OPEN_TIMEOUT, "close_timeout": 5}
    if way == "near":
        async with connect(target, **options) as connection:
            yield RealClient(connection)
        return
    parts = urlsplit(url)
    assert parts.hostname is not None
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    held = {"each": lines.FAR, "first": 0.0} if way == "far" else {"each": 0.0, "first": lines.SLOW}
    async with lines.line(parts.hostname, port, **held) as through:
        async with connect(target, host="127.0.0.1", port=through, **options) as connection:
            yield RealClient(connection)
