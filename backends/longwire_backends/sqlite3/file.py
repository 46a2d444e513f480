"""One open SQLite file: who may use it when, several processes at once, forks, and slow disks.

A statement takes tens of microseconds, and several times as many if a thread is asked for it. So it
is run where it is asked for, unless it may have much to do (a sweep, a checkpoint). If one has
taken long, the next are in one thread for many times as long: whatever holds up the disk, it holds
up the event loop for a small part of the time, and a disk that stops answering does so only once.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import sqlite3
import sys
import time
from threading import Lock, get_ident
from typing import Any

from longwire_backends.sqlite3.threads import Worker

logger: logging.Logger = logging.getLogger("longwire_backends")

_COLUMNS = {"connection_id", "value", "version", "expires_at"}

# Seconds that a statement waits for another process to end its write; and the pause between tries.
_BUSY_TIMEOUT = 10.0
_BUSY_PAUSE = 0.002
# After a statement that took so many seconds, a thread runs the next for so many times as long.
_SLOW = 0.005
_SLOW_TIMES = 50
# So many changes later the journal goes into the database, in a thread: that waits for the disk.
_CHECKPOINT_EVERY = 300
# Seconds that a cancelled statement may take to end, as on a file system that does not answer.
_SETTLE_LIMIT = 0.1
# Seconds that closing waits for a statement under way: an interpreter that exits waits for that.
_CLOSE_LIMIT = 2.0

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


class FileClosedError(sqlite3.ProgrammingError):
    """It has been closed, as by a fork: the statement was not run."""


class SQLite3File:
    """One open database. Made by `open_file`, as that may have to wait."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self._path = path
        self._identity = _identity(path)
        # None once it is closed. Who uses it has the lock: it is made for one thread at a time.
        self._connection: sqlite3.Connection | None = connection
        self._lock = Lock()
        self._worker = Worker()
        self._slow_until = 0.0  # in `time.monotonic()`
        self._checkpointed = 0  # changes of ours, by then
        _open_files.add(self)

    def is_current(self) -> bool:
        """Tell whether it is open (a fork closes it) and the path still leads to this file."""
        return self._connection is not None and _identity(self._path) == self._identity

    async def execute(
        self, sql: str, parameters: tuple[object, ...], *, is_long: bool = False
    ) -> list[Any]:
        """Run one statement and return its rows; a cancelled one ends first."""
        now = time.monotonic()
        give_up_at = now + _BUSY_TIMEOUT
        while True:
            try:
                if self._is_checkpoint_due():
                    await self._checkpoint()
                # None goes past those that wait: one that was cancelled may still be among them.
                may_run_here = not is_long and now >= self._slow_until and self._worker.is_idle()
                if may_run_here and self._lock.acquire(False):
                    return self._run_here(sql, parameters)
                return await self._in_thread(sql, parameters)
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > give_up_at:
                    # On a full disk there is room in the journal, once it is in the database.
                    self._checkpointed = -_CHECKPOINT_EVERY
                    raise
            await asyncio.sleep(_BUSY_PAUSE)
            now = time.monotonic()

    def _is_checkpoint_due(self) -> bool:
        connection = self._connection  # another thread may close it
        changes = 0 if connection is None else connection.total_changes
        if changes - self._checkpointed < _CHECKPOINT_EVERY:
            return False
        self._checkpointed = changes
        return True

    async def _checkpoint(self) -> None:
        # If it fails, as on a full disk, what was to be run may still succeed, or tells.
        with contextlib.suppress(sqlite3.OperationalError):
            await self._in_thread("PRAGMA wal_checkpoint(PASSIVE)")

    def _run_here(self, sql: str, parameters: tuple[object, ...]) -> list[Any]:
        began = time.monotonic()
        try:
            return self._run(sql, parameters)
        finally:
            if (took := (now := time.monotonic()) - began) > _SLOW:
                self._slow_until = now + took * _SLOW_TIMES

    def _run(self, sql: str, parameters: tuple[object, ...]) -> list[Any]:
        """Run a statement, with the lock, which it gives back."""
        try:
            if self._connection is None:
                raise FileClosedError("the file has been closed")
            return self._connection.execute(sql, parameters).fetchall()
        finally:
            self._lock.release()

    async def _in_thread(self, sql: str, parameters: tuple[object, ...] = ()) -> list[Any]:
        def run() -> list[Any]:
            self._lock.acquire()
            return self._run(sql, parameters)

        running = asyncio.wrap_future(self._worker.run(run))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # The caller's loop may close next, or its next statement be about the same record.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({running}, timeout=_SETTLE_LIMIT)
            running.cancel()
            raise

    def close(self) -> None:
        """Close it, once no statement is under way; one that does not end keeps it open."""
        _open_files.discard(self)
        has_lock = self._lock.acquire(timeout=_CLOSE_LIMIT)
        connection, self._connection = self._connection, None
        if has_lock:
            self._lock.release()
            if connection is not None:
                connection.close()


def open_file(path: str, table: str) -> SQLite3File:
    """Open the file and make what is missing in it, while others do the same."""
    with _opening:
        return _open(path, table)


def _open(path: str, table: str) -> SQLite3File:
    if not _create_private(path):
        _warn_if_open_to_all(path)
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, table)
    except Exception:
        connection.close()
        raise
    return SQLite3File(path, connection)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    """Tell whether somebody else is writing."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


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
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA busy_timeout = 0")  # it would wait where nobody else can go on


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


_open_files: set[SQLite3File] = set()
# Who has it opens a file, or forks.
_opening = Lock()
_forking: int | None = None  # the thread that has it, and forks


def _close_files() -> None:
    # SQLite counts file locks in its process's memory: a child that inherits an open database takes
    # the parent's locks for its own, and loses what it writes once the parent closes the file.
    for file in tuple(_open_files):
        with contextlib.suppress(sqlite3.Error):
            file.close()


def _before_fork() -> None:
    global _forking
    # Else another thread might open a file anew before the child is there.
    if _opening.acquire(timeout=_CLOSE_LIMIT):
        _forking = get_ident()
    _close_files()


def _after_fork() -> None:
    global _forking
    if _forking == get_ident():
        _forking = None
        _opening.release()


def _begin_child() -> None:
    global _opening, _forking
    _opening, _forking = Lock(), None


atexit.register(_close_files)
if sys.platform != "win32":
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_begin_child
    )
