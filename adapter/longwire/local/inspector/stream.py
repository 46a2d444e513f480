"""What the page is told: server-sent events, as fast as it reads and no faster.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from longwire.local.inspector.entries import as_json, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from longwire.local.inspector.entries import SeenEvent
    from longwire.local.inspector.inspector import Inspector

# Seconds between two messages: what changes several times meanwhile is told once.
PACE = 0.1
# Seconds after which something is said though nothing happens: so is seen who has gone.
QUIET = 5.0
# Bytes that wait for a page that does not read. From there on it is told nothing, until it reads.
UNREAD_LIMIT = 256 * 1024
# What one message tells at most.
MOST_AT_ONCE = 250
# Connections that a page need not have been told of, besides those that are kept.
MOST_PEERS = 1000


class StreamConnection(Protocol):
    """An HTTP connection whose response has no end of its own."""

    is_stream: bool

    @property
    def unread(self) -> int: ...

    @property
    def is_closing(self) -> bool: ...

    def begin_stream(self, headers: Iterable[tuple[str, str]]) -> None: ...

    def send_piece(self, data: bytes) -> None: ...

    def stop(self) -> None: ...


class Viewer:
    """What one page has not been told yet."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._wake = asyncio.Event()
        self._entries: dict[int, SeenEvent] = {entry.number: entry for entry in inspector.ring}
        self._peers: dict[str, None] = dict.fromkeys(inspector.peers)
        self._lost_count = False  # of the connections that are not kept any more
        self._first: int | None = None  # the oldest entry that is kept, if that has changed
        self._cleared = False
        self.stopped: bool = False
        self._wake.set()

    def entry_changed(self, entry: SeenEvent) -> None:
        self._entries[entry.number] = entry
        self._wake.set()

    def entry_gone(self, entry: SeenEvent) -> None:
        self._entries.pop(entry.number, None)
        self._first = entry.number + 1

    def peer_changed(self, connection_id: str) -> None:
        self._peers[connection_id] = None
        if len(self._peers) > MOST_PEERS + len(self._inspector.peers):
            self._peers, self._lost_count = dict.fromkeys(self._inspector.peers), True
        self._wake.set()

    def cleared(self) -> None:
        self._entries.clear()
        self._peers = dict.fromkeys(self._inspector.peers)
        self._cleared, self._first = True, None
        self._wake.set()

    def stop(self) -> None:
        self.stopped = True
        self._wake.set()

    async def news(self) -> bool:
        """Wait for something to tell; False if nothing came for a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET):
                await self._wake.wait()
                return True
        return False

    def take(self, describe_peer: Callable[[str], dict[str, Any] | None]) -> dict[str, Any]:
        """Return what is to be told now."""
        told: dict[str, Any] = {}
        if self._cleared:
            told["cleared"], self._cleared = True, False
        entries = [self._entries.pop(number) for number in list(self._entries)[:MOST_AT_ONCE]]
        if entries:
            told["events"] = [summary(entry) for entry in entries]
        if self._lost_count:
            told["known"], self._lost_count = list(self._inspector.peers), False
        peers, self._peers = list(self._peers), {}
        if peers:
            described = {one: describe_peer(one) for one in peers}
            told["connections"] = [one for one in described.values() if one is not None]
            gone = [one for one, known in described.items() if known is None]
            if gone:
                told["forgotten"] = gone
        if self._first is not None:
            told["first"], self._first = self._first, None
        if not self._entries:
            self._wake.clear()
        return told


async def serve(
    connection: StreamConnection,
    viewer: Viewer,
    headers: list[tuple[str, str]],
    hello: dict[str, Any],
    describe_peer: Callable[[str], dict[str, Any] | None],
    more: Callable[[], dict[str, Any]],  # what may have changed without anybody's saying so
) -> None:
    """Tell a page of everything until it goes."""
    connection.is_stream = True
    connection.begin_stream(headers)
    _tell(connection, b"retry: 700\n")
    _tell(connection, b"event: hello\ndata: " + as_json(hello) + b"\n\n")
    known: dict[str, Any] = {}

    def is_over() -> bool:
        return connection.is_closing or viewer.stopped

    while not is_over():
        heard = await viewer.news()
        if is_over():
            break
        if connection.unread > UNREAD_LIMIT:
            await asyncio.sleep(PACE)
            continue
        other = more()
        told = viewer.take(describe_peer) if heard else {}
        told |= {key: value for key, value in other.items() if known.get(key) != value}
        known = other
        _tell(connection, b"data: " + as_json(told) + b"\n\n" if told else b": \n\n")
        await asyncio.sleep(PACE)
    connection.stop()


def _tell(connection: StreamConnection, data: bytes) -> None:
    if not connection.is_closing:
        connection.send_piece(data)
