"""One open SQLite file: its thread, several processes at once, forks and the end of the process."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import sqlite3
import sys
import time
from concurrent.futures import Future
from threading import Thread, current_thread
from typing import TYPE_CHECKING, Any, TypeVar

import aiosqlite

if TYPE_CHECKING:
    from collections.abc import Coroutine

logger: logging.Logger = logging.getLogger("longwire_backends")

_T = TypeVar("_T")

_COLUMNS = {"connection_id", "value", "version", "expires_at"}

# Seconds that a statement waits for another process to end its write.
_BUSY_TIMEOUT = 10.0
# Seconds that SQLite itself waits at a time, since nothing can end that wait; and the pause then.
_BUSY_TURN = 0.02
_BUSY_PAUSE = 0.002
# Seconds that a cancelled statement may take to end, as on a file system that does not answer.
_SETTLE_LIMIT = 0.1

_TABLES = (
    """CREATE TABLE IF NOT EXISTS "{0}" (
        connection_id TEXT NOT NULL PRIMARY KEY,
        value TEXT NOT NULL,
        version TEXT NOT NULL,
        expires_at INTEGER NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS "{0}_group" (
        group_name TEXT NOT NULL,
        connection_id TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (group_name, connection_id)
    )""",
    """CREATE TABLE IF NOT EXISTS "{0}_journal" (
        connection_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        value TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (connection_id, position)
    )""",
)
_INDEXES = (
    'CREATE INDEX IF NOT EXISTS "{0}_expiry" ON "{0}" (expires_at)',
    'CREATE INDEX IF NOT EXISTS "{0}_group_expiry" ON "{0}_group" (expires_at)',
    'CREATE INDEX IF NOT EXISTS "{0}_group_connection" ON "{0}_group" (connection_id, group_name)',
    'CREATE INDEX IF NOT EXISTS "{0}_journal_expiry" ON "{0}_journal" (expires_at)',
)


class SQLite3File:
    """One open database; make and open it inside `run_in_thread`."""

    def __init__(self, path: str, table: str) -> None:
        self._path = path
        self._table = table
        # Its thread inherits "daemon" from ours; otherwise it would keep the interpreter alive.
        self._connection = aiosqlite.Connection(self._connect, iter_chunk_size=64)
        self._worker = current_thread()
        self._identity: tuple[int, int] | None = None

    async def open(self) -> None:
        try:
            await self._connection
        except Exception:
            # aiosqlite has told it to end, and it must have ended before our loop closes.
            self._worker.join()
            raise
        _open_files.add(self)

    def _connect(self) -> sqlite3.Connection:
        self._worker = current_thread()
        connection = _connect(self._path, self._table)
        self._identity = _identity(self._path)
        return connection

    def is_current(self) -> bool:
        """Tell whether the worker lives (a fork ends it) and the path still leads to this file."""
        return self._worker.is_alive() and _identity(self._path) == self._identity

    async def execute(self, sql: str, parameters: tuple[object, ...]) -> list[sqlite3.Row]:
        """Run one statement, in one trip to the worker; a cancelled one ends first."""
        give_up_at = time.monotonic() + _BUSY_TIMEOUT
        while True:
            try:
                return list(await self._connection.execute_fetchall(sql, parameters))
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > give_up_at:
                    raise
            except asyncio.CancelledError:
                await self._settle()
                raise
            await asyncio.sleep(_BUSY_PAUSE)

    async def _settle(self) -> None:
        # The caller's loop may close next, and the worker dies of answering to a closed loop.
        fence = asyncio.ensure_future(self._connection.execute_fetchall("SELECT 1"))
        fence.add_done_callback(_forget)
        give_up_at = time.monotonic() + _SETTLE_LIMIT
        while not fence.done() and (left := give_up_at - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({fence}, timeout=left)

    async def close(self) -> None:
        _open_files.discard(self)
        if self._worker.is_alive():
            await self._connection.close()
            self._worker.join()


def _forget(fence: asyncio.Future[Any]) -> None:
    """Look at how it ended, so that asyncio does not complain that nobody does."""
    if not fence.cancelled():
        fence.exception()


def _is_busy(error: sqlite3.OperationalError) -> bool:
    """Tell whether SQLite waited in vain for somebody else."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _connect(path: str, table: str) -> sqlite3.Connection:
    """Open the file and make what is missing in it, while others do the same."""
    if not _create_private(path):
        _warn_if_open_to_all(path)
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None)
    try:
        _prepare(connection, table)
    except Exception:
        connection.close()
        raise
    return connection


def _create_private(path: str) -> bool:
    """Make the file so that at no time anybody but its owner can read it; False if there is one."""
    # It holds cookies and tokens. SQLite gives the files that it puts beside it the same mode.
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except OSError:
        return False  # also where it cannot be made, which SQLite says best
    os.close(descriptor)  # which would drop SQLite's locks, if this process had any on a new file
    return True


def _warn_if_open_to_all(path: str) -> None:
    with contextlib.suppress(OSError):
        if sys.platform != "win32" and (mode := os.stat(path).st_mode & 0o777) & 0o006:
            # Whoever made it may want it so; it is not changed.
            logger.warning(
                "sqlite3: every user of this machine can get at %s (mode %03o), with the cookies "
                "and tokens of handshakes in it; chmod 600 keeps them out",
                path,
                mode,
            )


def _prepare(connection: sqlite3.Connection, table: str) -> None:
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    for create in _TABLES:
        connection.execute(create.format(table))
    columns = {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}
    if not columns >= _COLUMNS:
        raise ValueError(f"the table {table} is not one of Longwire's, give another table_name")
    for create in _INDEXES:
        connection.execute(create.format(table))
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TURN * 1000:.0f}")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    give_up_at = time.monotonic() + _BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # Here SQLite does not wait by itself: two that switch together would wait for ever.
            if not _is_busy(error) or time.monotonic() > give_up_at:
                raise
        time.sleep(0.005)


def is_there(path: str) -> bool:
    return _identity(path) is not None


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def run_in_thread(coroutine: Coroutine[object, object, _T]) -> Future[_T]:
    """Run it on a loop of its own, so that nothing that ends the caller's loop interrupts it."""
    future: Future[_T] = Future()
    # From here on a waiter that is cancelled does not cancel it for the others.
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(asyncio.run(coroutine))
        except Exception as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


_open_files: set[SQLite3File] = set()


async def _close_all() -> None:
    for file in tuple(_open_files):
        with contextlib.suppress(sqlite3.Error, ValueError):
            await file.close()


def _close_files() -> None:
    if _open_files:
        asyncio.run(_close_all())


def _close_before_fork() -> None:
    # SQLite counts file locks in its process's memory: a child that inherits an open database takes
    # the parent's locks for its own, and loses what it writes once the parent closes the file.
    if _open_files:
        thread = Thread(target=_close_files)
        thread.start()
        thread.join()


atexit.register(_close_files)
if sys.platform != "win32":
    os.register_at_fork(before=_close_before_fork)
