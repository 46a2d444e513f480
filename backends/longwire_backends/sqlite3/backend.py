"""A store in one SQLite file, for work on one machine; any number of processes may share it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from longwire_backends.base import BackendError, ConfigurationError, shown
from longwire_backends.sql import SQLBackend, checked_table
from longwire_backends.sqlite3.file import FileClosedError, is_there, open_file
from longwire_backends.sqlite3.threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from longwire_backends.sqlite3.file import SQLite3File


# ValueError: text that is not valid Unicode, and a table of somebody else. RuntimeError: no thread
# can be started.
_FAILURES = (sqlite3.Error, ValueError, RuntimeError)


class SQLite3Backend(SQLBackend):
    """Keeps records, memberships and journals in three tables of one file.

    The file and its tables are made at first use; its folder must exist. A file that is deleted
    while it is in use is made anew, and every process sees the new one. Put another in its place
    only while nobody uses it: what SQLite has beside it is of the old one.

    Args:
        file_path: the database file.
        table_name: the table of records; memberships go to `{table_name}_group`, and journals to
            `{table_name}_journal`.
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
        super().__init__(_checked_table(table_name), clock=clock)
        _check_sqlite(sqlite3.sqlite_version_info)
        self._path = _checked_path(os.fspath(file_path))
        self._file: SQLite3File | None = None
        self._opening: Future[SQLite3File] | None = None
        self._opening_lock = Lock()
        self._process = os.getpid()

    async def create(self) -> tuple[str, ...]:
        there = is_there(self._path)
        await self._opened()
        return (f"{self._path} is there already" if there else f"created {self._path}",)

    def _sweeping(self, table: str) -> str:
        return (
            f'DELETE FROM "{table}" WHERE rowid IN'
            f' (SELECT rowid FROM "{table}" WHERE expires_at <= ? LIMIT ?) RETURNING 1'
        )

    async def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                await asyncio.wrap_future(run_in_thread(file.close))  # which may wait for the disk
            except _FAILURES as error:
                raise self._error("close", error) from error

    async def _execute(
        self,
        operation: str,
        sql: str,
        parameters: tuple[object, ...],
        *,
        repeatable: bool = True,
        creates: bool = True,
    ) -> list[Any]:
        is_long = operation == "sweep"
        while True:
            try:
                file = self._file
                if file is None or not file.is_current():
                    file = await self._opened()
                return await file.execute(sql, parameters, is_long=is_long)
            except _FAILURES as error:
                if not isinstance(error, FileClosedError) or self._file is None:
                    raise self._error(operation, error) from error
                # Somebody else has closed it; we have not.

    async def _opened(self) -> SQLite3File:
        if self._process != os.getpid():  # forked: the threads that opened it are not here
            self._process, self._opening, self._opening_lock = os.getpid(), None, Lock()
        with self._opening_lock:
            if self._file is not None and self._file.is_current():
                return self._file
            if self._opening is None or self._opening.done():
                self._opening = run_in_thread(self._open)
            opening = self._opening
        return await asyncio.wrap_future(opening)

    def _open(self) -> SQLite3File:
        try:
            if self._file is not None:
                self._file.close()
            self._file = open_file(self._path, self._table)
        except _FAILURES as error:
            raise self._error("open", error) from error
        return self._file

    def _error(self, operation: str, error: Exception) -> BackendError:
        return BackendError(self.name, operation, f"{error}: {self._path}")


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
        where = "" if "@" in folder or "://" in file_path else f" {folder}"
        raise ConfigurationError(f"file_path: the folder{where} does not exist")
    return path


def _checked_table(table_name: str) -> str:
    if table_name.lower().startswith("sqlite_"):
        raise ConfigurationError(
            "table_name: SQLite keeps names with sqlite_ in front to itself, "
            f"got {shown(table_name)}"
        )
    return checked_table(table_name)
