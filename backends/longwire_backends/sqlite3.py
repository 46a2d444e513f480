"""A store in one SQLite file, for work on one machine; any number of processes may share it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
import time
from threading import Lock
from typing import TYPE_CHECKING

from longwire_backends.base import Backend, BackendError, ConfigurationError, Page, Record
from longwire_backends.sqlite3_file import SQLite3File, is_there, run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

# Rows that one statement of `sweep` deletes; meanwhile nobody else can write.
_SWEEP_BATCH = 1000


class SQLite3Backend(Backend):
    """Keeps records and memberships in two tables of one file.

    The file and its tables are made at first use; its folder must exist. A file that is deleted or
    replaced while it is in use is opened anew, so every process sees the same one.

    Args:
        file_path: the database file.
        table_name: the table of records; memberships go to `{table_name}_group`.
        clock: epoch seconds; tests hand in their own.

    Raises:
        ConfigurationError: an argument is wrong, or Python's SQLite is older than 3.35.
    """

    name = "sqlite3"

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        *,
        table_name: str = "connection",
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock=clock)
        _check_sqlite(sqlite3.sqlite_version_info)
        self._path = _checked_path(os.fspath(file_path))
        self._table = _checked_table(table_name)
        self._members = f"{self._table}_group"
        self._file: SQLite3File | None = None
        self._opening: Future[SQLite3File] | None = None
        self._opening_lock = Lock()

    async def create(self) -> tuple[str, ...]:
        there = is_there(self._path)
        await self._opened()
        return (f"{self._path} is there already" if there else f"created {self._path}",)

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        version = _new_version()
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
            (connection_id, self._clock()),
        )
        return Record(*rows[0]) if rows else None

    async def take(self, connection_id: str) -> Record | None:
        rows = await self._execute(
            "take",
            f'DELETE FROM "{self._table}" WHERE connection_id = ? AND expires_at > ?'
            " RETURNING value, version, expires_at",
            (connection_id, self._clock()),
        )
        return Record(*rows[0]) if rows else None

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        new_version = _new_version()
        rows = await self._execute(
            "update",
            f'UPDATE "{self._table}" SET value = ?, version = ?, expires_at = ?'
            " WHERE connection_id = ? AND version = ? AND expires_at > ? RETURNING 1",
            (value, new_version, expires_at, connection_id, version, self._clock()),
        )
        return new_version if rows else None

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
            (group, after or "", self._clock(), limit + 1),
        )
        members = tuple(connection_id for (connection_id,) in rows[:limit])
        return Page(members, members[-1] if len(rows) > limit else None)

    async def groups(self, connection_id: str) -> tuple[str, ...]:
        rows = await self._execute(
            "groups",
            f'SELECT group_name FROM "{self._members}"'
            " WHERE connection_id = ? AND expires_at > ? ORDER BY group_name",
            (connection_id, self._clock()),
        )
        return tuple(group for (group,) in rows)

    async def sweep(self) -> int:
        now = self._clock()
        return await self._sweep_table(self._table, now) + await self._sweep_table(
            self._members, now
        )

    async def _sweep_table(self, table: str, now: float) -> int:
        deleted = 0
        while True:
            rows = await self._execute(
                "sweep",
                f'DELETE FROM "{table}" WHERE rowid IN'
                f' (SELECT rowid FROM "{table}" WHERE expires_at <= ? LIMIT ?) RETURNING 1',
                (now, _SWEEP_BATCH),
            )
            deleted += len(rows)
            if len(rows) < _SWEEP_BATCH:
                return deleted

    async def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with self._errors("close"):
                await file.close()

    async def _execute(
        self, operation: str, sql: str, parameters: tuple[object, ...]
    ) -> list[sqlite3.Row]:
        file = await self._opened()
        with self._errors(operation):
            return await file.execute(sql, parameters)

    async def _opened(self) -> SQLite3File:
        with self._opening_lock:
            if self._file is not None and self._file.is_current():
                return self._file
            if self._opening is None or self._opening.done():
                self._opening = run_in_thread(self._open())
            opening = self._opening
        return await asyncio.wrap_future(opening)

    async def _open(self) -> SQLite3File:
        await self.close()
        file = SQLite3File(self._path, self._table)
        with self._errors("open"):
            await file.open()
        self._file = file
        return file

    @contextlib.contextmanager
    def _errors(self, operation: str) -> Iterator[None]:
        try:
            yield
        # ValueError: text that is not valid Unicode, and what aiosqlite says once it is closed.
        except (sqlite3.Error, ValueError) as error:
            raise BackendError(self.name, operation, f"{error}: {self._path}") from error


def _check_sqlite(version: tuple[int, ...]) -> None:
    if version < (3, 35):
        found = ".".join(map(str, version))
        raise ConfigurationError(f"sqlite3: needs SQLite 3.35 or newer, this Python has {found}")


def _checked_path(file_path: str) -> str:
    if file_path in ("", ":memory:"):
        raise ConfigurationError(
            f"file_path: expected the path of a file, got {file_path!r};"
            ' the backend "memory" is the one that keeps no file'
        )
    path = os.path.abspath(file_path)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise ConfigurationError(f"file_path: the folder {folder} does not exist")
    return path


def _checked_table(table_name: str) -> str:
    if not re.fullmatch(r"(?!(?i:sqlite_))[A-Za-z_][A-Za-z0-9_]*", table_name):
        raise ConfigurationError(
            "table_name: expected letters, digits and underscores, not a digit first"
            f" and not sqlite_ in front, got {table_name!r}"
        )
    return table_name


def _new_version() -> str:
    return os.urandom(8).hex()
