"""The latest entries: at most so many, and of at most so many bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.local.inspector.entries import SeenEvent

MOST_ENTRIES = 1000
MOST_BYTES = 16 * 1024 * 1024


class Ring:
    """Drops the oldest; the newest stays however large it is."""

    def __init__(self, most: int = MOST_ENTRIES, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._entries: dict[int, SeenEvent] = {}
        self._by_request: dict[str, SeenEvent] = {}
        self._sizes: dict[int, int] = {}
        self.bytes: int = 0

    def __iter__(self) -> Iterator[SeenEvent]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, number: int) -> SeenEvent | None:
        return self._entries.get(number)

    def of_request(self, request_id: str) -> SeenEvent | None:
        """Return the latest entry of this request: an event may be replayed."""
        return self._by_request.get(request_id)

    def put(self, entry: SeenEvent) -> list[SeenEvent]:
        """Add an entry, or note that one has grown; return what had to go."""
        known = entry.number in self._entries
        if known or not self._sizes or entry.number > next(reversed(self._sizes)):
            size = entry.size
            self.bytes += size - self._sizes.get(entry.number, 0)
            self._entries[entry.number], self._sizes[entry.number] = entry, size
            if entry.request_id is not None and not known:
                self._by_request[entry.request_id] = entry
        return self._shrink()

    def clear(self) -> None:
        self._entries.clear()
        self._by_request.clear()
        self._sizes.clear()
        self.bytes = 0

    def _shrink(self) -> list[SeenEvent]:
        gone = []
        while len(self._entries) > self._most or (
            self.bytes > self._most_bytes and len(self._entries) > 1
        ):
            entry = self._entries.pop(next(iter(self._entries)))
            self.bytes -= self._sizes.pop(entry.number)
            if entry.request_id and self._by_request.get(entry.request_id) is entry:
                del self._by_request[entry.request_id]
            gone.append(entry)
        return gone
