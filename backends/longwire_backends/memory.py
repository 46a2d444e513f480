"""A store in this process's memory: for tests, and for apps that run as one process."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from longwire_backends.base import Backend, Page, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class MemoryBackend(Backend):
    """Keeps everything in dictionaries, for one thread; `close` forgets nothing.

    Args:
        clock: epoch seconds; tests hand in their own.
    """

    name = "memory"

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self._records: dict[str, Record] = {}
        self._groups: dict[str, dict[str, int]] = {}
        # Each with its expiry.
        self._journals: dict[str, tuple[list[str], int]] = {}
        self._versions = itertools.count(1)

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        version = str(next(self._versions))
        self._records[connection_id] = Record(value, version, expires_at)
        return version

    async def get(self, connection_id: str) -> Record | None:
        record = self._records.get(connection_id)
        return record if record and record.expires_at > self._clock() else None

    async def take(self, connection_id: str) -> Record | None:
        record = await self.get(connection_id)
        if record:
            del self._records[connection_id]
        return record

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        record = await self.get(connection_id)
        if record is None or record.version != version:
            return None
        return await self.put(connection_id, value, expires_at)

    async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
        now = self._clock()
        alive = (key for key, record in self._records.items() if record.expires_at > now)
        return _page(alive, limit, after)

    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        self._groups.setdefault(group, {})[connection_id] = expires_at

    async def group_discard(self, group: str, connection_id: str) -> None:
        members = self._groups.get(group, {})
        members.pop(connection_id, None)
        if not members:
            self._groups.pop(group, None)

    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        now = self._clock()
        alive = (member for member, expiry in self._groups.get(group, {}).items() if expiry > now)
        return _page(alive, limit, after)

    async def groups(self, connection_id: str) -> tuple[str, ...]:
        now = self._clock()
        return tuple(
            sorted(
                group
                for group, members in self._groups.items()
                if members.get(connection_id, 0) > now
            )
        )

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        entries = self._entries(connection_id)
        if position != len(entries) + 1:
            return False
        entries.append(value)
        self._journals[connection_id] = (entries, expires_at)
        return True

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        return tuple(self._entries(connection_id)[after:])

    def _entries(self, connection_id: str) -> list[str]:
        journal = self._journals.get(connection_id)
        return journal[0] if journal and journal[1] > self._clock() else []

    async def drop_journal(self, connection_id: str) -> None:
        self._journals.pop(connection_id, None)

    async def sweep(self) -> int:
        now = self._clock()
        records = [key for key, record in self._records.items() if record.expires_at <= now]
        memberships = [
            (group, member)
            for group, members in self._groups.items()
            for member, expires_at in members.items()
            if expires_at <= now
        ]
        journals = [key for key, (_, expires_at) in self._journals.items() if expires_at <= now]
        for connection_id in records:
            del self._records[connection_id]
        for group, member in memberships:
            await self.group_discard(group, member)
        entries = sum(len(self._journals.pop(connection_id)[0]) for connection_id in journals)
        return len(records) + len(memberships) + entries

    async def close(self) -> None:
        pass


def _page(ids: Iterable[str], limit: int, after: str | None) -> Page:
    rest = sorted(each for each in ids if each > (after or ""))
    members = tuple(rest[:limit])
    return Page(members, members[-1] if len(rest) > limit else None)
