"""A store in one SQLite file, for work on one machine; any number of processes may share it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from longwire_backends.base import BackendError, ConfigurationError, shown
from longwire_backends.sql import SQLBackend, checked_table
from longwire_backends.sqlite3.file import FileClosedError, is_there, open_file, run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from longwire_backends.sqlite3.file import SQLite3File


class SQLite3Backend(SQLBackend):
    """Keeps records, memberships and journals in three tables of one file.

    The file and its tables are made at first use; its folder must exist. A file that is deleted or
    replaced while it is in use is opened anew, so every process sees the same one.

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
            with self._errors("close"):  # which may wait for the disk
                await asyncio.wrap_future(run_in_thread(file.close))

    async def _execute(
        self,
        operation: str,
        sql: str,
        parameters: tuple[object, ...],
        *,
        repeatable: bool = True,
        creates: bool = True,
    ) -> list[Any]:
        with self._errors(operation):
            while True:
                file = await self._opened()
                try:
                    return await file.execute(sql, parameters, is_long=operation == "sweep")
                except FileClosedError:
                    if self._file is None:  # we are closed ourselves
                        raise

    async def _opened(self) -> SQLite3File:
        with self._opening_lock:
            if self._file is not None and self._file.is_current():
                return self._file
            if self._opening is None or self._opening.done():
                self._opening = run_in_thread(self._open)
            opening = self._opening
        return await asyncio.wrap_future(opening)

    def _open(self) -> SQLite3File:
        with self._errors("open"):
            if self._file is not None:
                self._file.close()
            self._file = open_file(self._path, self._table)
        return self._file

    @contextlib.contextmanager
    def _errors(self, operation: str) -> Iterator[None]:
        try:
            yield
        # ValueError: text that is not valid Unicode, and a table of somebody else.
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
