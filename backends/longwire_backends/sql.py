"""What the stores in SQL databases share: the statements on their three tables."""

from __future__ import annotations

import abc
import math
from typing import TYPE_CHECKING, Any

from longwire_backends.base import Backend, ConfigurationError, Page, Record, new_version, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Rows that one statement of `sweep` deletes: meanwhile nobody else can write to SQLite, and
# PostgreSQL's statements have a time limit.
SWEEP_BATCH = 1000


class SQLBackend(Backend):
    """Keeps records in `{table}`, memberships in `{table}_group`, journals in `{table}_journal`."""

    def __init__(self, table: str, *, clock: Callable[[], float]) -> None:
        # What is given as `table` was `checked_table`: it needs no escaping.
        super().__init__(clock=clock)
        self._table = table
        self._members = f"{table}_group"
        self._entries = f"{table}_journal"

    @abc.abstractmethod
    async def _execute(
        self,
        operation: str,
        sql: str,
        parameters: tuple[object, ...],
        *,
        repeatable: bool = True,  # running it twice does no harm
        creates: bool = True,  # where the table is missing; else there are no rows
    ) -> Sequence[Any]:
        """Run one statement, in which `?` stands for each parameter, and return its rows."""

    @abc.abstractmethod
    def _sweeping(self, table: str) -> str:
        """Return the statement that deletes and returns what expired by `?`, at most `?` rows."""

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        self._check_size("put", value)
        version = new_version()
        await self._execute(
            "put",
            f'INSERT INTO "{self._table}" (connection_id, value, version, expires_at)'
            " VALUES (?, ?, ?, ?) ON CONFLICT (connection_id) DO UPDATE SET"
            " value = excluded.value, version = excluded.version, expires_at = excluded.expires_at",
            (connection_id, value, version, expires_at),
        )
        return version

    async def get(self, connection_id: str) -> Record | None:
        rows = await self._execute(
            "get",
            f'SELECT value, version, expires_at FROM "{self._table}"'
            " WHERE connection_id = ? AND expires_at > ?",
            (connection_id, self._now()),
        )
        return Record(*rows[0]) if rows else None

    async def take(self, connection_id: str) -> Record | None:
        rows = await self._execute(
            "take",
            f'DELETE FROM "{self._table}" WHERE connection_id = ? AND expires_at > ?'
            " RETURNING value, version, expires_at",
            (connection_id, self._now()),
            repeatable=False,
        )
        return Record(*rows[0]) if rows else None

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        self._check_size("update", value)
        written_version = new_version()
        rows = await self._execute(
            "update",
            f'UPDATE "{self._table}" SET value = ?, version = ?, expires_at = ?'
            " WHERE connection_id = ? AND version = ? AND expires_at > ? RETURNING 1",
            (value, written_version, expires_at, connection_id, version, self._now()),
            repeatable=False,
        )
        return written_version if rows else None

    async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
        rows = await self._execute(
            "connections",
            f'SELECT connection_id FROM "{self._table}"'
            " WHERE connection_id > ? AND expires_at > ? ORDER BY connection_id LIMIT ?",
            # One more than asked for tells whether there is a next page.
            (after or "", self._now(), limit + 1),
        )
        return _page(rows, limit)

    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        await self._execute(
            "group_add",
            f'INSERT INTO "{self._members}" (group_name, connection_id, expires_at)'
            " VALUES (?, ?, ?) ON CONFLICT (group_name, connection_id) DO UPDATE SET"
            " expires_at = excluded.expires_at",
            (group, connection_id, expires_at),
        )

    async def group_discard(self, group: str, connection_id: str) -> None:
        await self._execute(
            "group_discard",
            f'DELETE FROM "{self._members}" WHERE group_name = ? AND connection_id = ?',
            (group, connection_id),
        )

    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        rows = await self._execute(
            "group_members",
            f'SELECT connection_id FROM "{self._members}"'
            " WHERE group_name = ? AND connection_id > ? AND expires_at > ?"
            " ORDER BY connection_id LIMIT ?",
            # One more than asked for tells whether there is a next page.
            (group, after or "", self._now(), limit + 1),
        )
        return _page(rows, limit)

    async def groups(self, connection_id: str) -> tuple[str, ...]:
        rows = await self._execute(
            "groups",
            f'SELECT group_name FROM "{self._members}"'
            " WHERE connection_id = ? AND expires_at > ? ORDER BY group_name",
            (connection_id, self._now()),
        )
        return tuple(group for (group,) in rows)

    async def group_discard_all(self, connection_id: str) -> tuple[str, ...]:
        # In one step; the contract's own needs one for each group.
        rows = await self._execute(
            "group_discard_all",
            f'DELETE FROM "{self._members}" WHERE connection_id = ? AND expires_at > ?'
            " RETURNING group_name",
            (connection_id, self._now()),
            # The second time would find nothing, and the names would be lost.
            repeatable=False,
        )
        return tuple(sorted(group for (group,) in rows))

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        self._check_size("append", value)
        entry, now = (connection_id, position, value, expires_at), self._now()
        # Without the entry before it there is no row to insert.
        source = (
            f'SELECT ?, ?, ?, ? FROM "{self._entries}"'
            " WHERE connection_id = ? AND position = ? AND expires_at > ?"
        )
        before: tuple[object, ...] = (connection_id, position - 1, now)
        if position == 1:
            source, before = "VALUES (?, ?, ?, ?)", ()
        rows = await self._execute(
            "append",
            f'INSERT INTO "{self._entries}" (connection_id, position, value, expires_at) {source}'
            # What has expired is in nobody's way.
            " ON CONFLICT (connection_id, position) DO UPDATE SET value = excluded.value,"
            f' expires_at = excluded.expires_at WHERE "{self._entries}".expires_at <= ?'
            " RETURNING 1",
            (*entry, *before, now),
            repeatable=False,
        )
        return bool(rows)

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        rows = await self._execute(
            "journal",
            f'SELECT position, value FROM "{self._entries}"'
            " WHERE connection_id = ? AND position > ? AND expires_at > ? ORDER BY position",
            (connection_id, after, self._now()),
            creates=False,
        )
        return self._contiguous(after, rows)

    async def drop_journal(self, connection_id: str) -> None:
        await self._execute(
            "drop_journal",
            f'DELETE FROM "{self._entries}" WHERE connection_id = ?',
            (connection_id,),
            creates=False,
        )

    async def sweep(self) -> int:
        return (
            await self._sweep_table(self._table)
            + await self._sweep_table(self._members)
            # A database of an earlier version has none, and its role may not create it.
            + await self._sweep_table(self._entries, creates=False)
        )

    async def _sweep_table(self, table: str, *, creates: bool = True) -> int:
        deleted = 0
        sweeping = self._sweeping(table)
        now = self._now()
        while True:
            rows = await self._execute("sweep", sweeping, (now, SWEEP_BATCH), creates=creates)
            deleted += len(rows)
            if len(rows) < SWEEP_BATCH:
                return deleted

    def _now(self) -> int:
        # As a fraction it would make PostgreSQL compare numbers that no index helps with.
        return math.floor(self._clock())


def _page(rows: Sequence[Any], limit: int) -> Page:
    """Make a page of at most `limit` rows, of which there is one more when it is not the last."""
    members = tuple(connection_id for (connection_id,) in rows[:limit])
    return Page(members, members[-1] if len(rows) > limit else None)


def checked_table(table_name: str, limit: int | None = None) -> str:
    """Return the name if it can be quoted as it is, and has at most `limit` characters."""
    is_name = table_name.isascii() and table_name.isidentifier()
    if is_name and len(table_name) <= (limit or 1000):
        return table_name
    at_most = f"at most {limit} " if limit else ""
    raise ConfigurationError(
        f"table_name: expected {at_most}letters, digits and underscores, not a digit first,"
        f" got {shown(table_name)}"
    )
