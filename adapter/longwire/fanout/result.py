"""What became of a frame for many."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar


class ConnectionIds(Collection[str]):
    """Connection ids in the order in which they were added, in a fourth of a list's memory.

    `in` looks at one after the other: make a set of them to ask often.
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._joined = bytearray()
        self._count = 0
        for connection_id in ids:
            self.add(connection_id)

    def add(self, connection_id: str) -> None:
        self._joined += connection_id.encode() + b"\0"  # no id has a NUL
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        begin = 0
        while (end := self._joined.find(b"\0", begin)) >= 0:
            yield self._joined[begin:end].decode()
            begin = end + 1

    def __contains__(self, connection_id: object) -> bool:
        return any(one == connection_id for one in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Collection) and list(self) == list(other)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # it is mutable

    def __repr__(self) -> str:
        return f"ConnectionIds({list(self)!r})" if self._count < 10 else f"<{self._count} ids>"


@dataclass(slots=True)
class SendResult:
    """What became of a frame for many.

    Attributes:
        delivered: who got it.
        gone: who is no longer connected, and is no member of any group any more.
        failed: who did not get it, or perhaps did not, and why.
        slow: who of these does not read what it is sent.
        queued: how many are served by the queue of `fanout`.
        incomplete: why there may be others who did not get it, as not all could be read; or None.
    """

    delivered: ConnectionIds = field(default_factory=ConnectionIds)
    gone: ConnectionIds = field(default_factory=ConnectionIds)
    failed: dict[str, str] = field(default_factory=dict)
    slow: ConnectionIds = field(default_factory=ConnectionIds)
    queued: int = 0
    incomplete: str | None = None

    @property
    def ok(self) -> bool:
        """Whether everybody who is still connected got it, or will get it from the queue."""
        return not self.failed and self.incomplete is None
