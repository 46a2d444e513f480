"""One connection to PostgreSQL: the thread that works on it, time limits, losses and forks."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import select
import sys
import time
import weakref
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg2.extensions import connection as Connection

Row: TypeAlias = tuple[Any, ...]

# Seconds of wall time after which a kept connection is asked whether it still leads anywhere: a
# network may forget one that is idle, and neither side hears of it.
_IDLE = 60.0
# Seconds that the answer may take.
_PROBE_TIMEOUT = 1.0

# SQLSTATE classes and codes after which the server has ended the connection.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_ENDINGS = ("08", "57P01", "57P02", "57P03", "57P05", "25P03")


class ConnectTimeoutError(TimeoutError):
    """The server did not let us in within the limit."""


class StatementTimeoutError(TimeoutError):
    """The server did not answer a statement within the limit."""


class Statement(NamedTuple):
    """What is to be run."""

    sql: str  # with `%s` for each parameter
    parameters: tuple[object, ...] | None = None
    repeatable: bool = True  # running it twice does no harm


class _Job(NamedTuple):
    """A statement (None: close the connection), who waits for it, and since when (monotonic)."""

    statement: Statement | None
    loop: asyncio.AbstractEventLoop
    waiter: asyncio.Future[list[Row]]
    submitted: float


class PostgreSQLConnection:
    """Runs statements one after the other, on one connection and in one thread, for any loop."""

    # Both begin at the first statement, and again at the next one after `close`, a fork or a loss.

    def __init__(
        self, parameters: Mapping[str, Any], connect_timeout: float, timeout: float
    ) -> None:
        self._new_session = functools.partial(_Session, parameters, connect_timeout, timeout)
        self._lock = Lock()
        self._jobs: SimpleQueue[_Job | None] | None = None
        self._thread: Thread | None = None
        _connections.add(self)

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; a cancelled one does not begin, or ends unheard."""
        return await self._submit(statement)

    async def close(self) -> None:
        """Finish what was begun, then end the connection and the thread."""
        with self._lock:
            jobs, thread = self._jobs, self._thread
            self._jobs = self._thread = None
        if jobs is None or thread is None:
            return
        job = _new_job(None)
        jobs.put(job)
        jobs.put(None)
        await job.waiter
        thread.join()

    def _submit(self, statement: Statement) -> asyncio.Future[list[Row]]:
        job = _new_job(statement)
        # Nothing may get into a queue behind the None that ends its thread.
        with self._lock:
            if self._jobs is None:
                self._jobs, self._thread = self._start()
            self._jobs.put(job)
        return job.waiter

    def _start(self) -> tuple[SimpleQueue[_Job | None], Thread]:
        jobs: SimpleQueue[_Job | None] = SimpleQueue()
        thread = Thread(
            target=_work, args=[jobs, self._new_session()], name="longwire-postgresql", daemon=True
        )
        thread.start()
        # The thread does not know this object, or else nobody would ever let go of it.
        weakref.finalize(self, jobs.put, None).atexit = False
        return jobs, thread

    def forget(self) -> None:
        """Begin anew in a forked child: it has no thread, and the connection is its parent's."""
        # psycopg2 does not close a connection that another process has opened.
        self._lock = Lock()
        self._jobs = self._thread = None


_connections: weakref.WeakSet[PostgreSQLConnection] = weakref.WeakSet()


def _forget_connections() -> None:
    for connection in _connections:
        connection.forget()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_connections)


def _new_job(statement: Statement | None) -> _Job:
    loop = asyncio.get_running_loop()
    return _Job(statement, loop, loop.create_future(), time.monotonic())


def _work(jobs: SimpleQueue[_Job | None], session: _Session) -> None:
    """Be the thread."""
    while (job := jobs.get()) is not None:
        if not job.waiter.cancelled():
            _do(job, session)
        # Not until the next one comes: it holds rows, and a loop.
        del job
    session.close()


def _do(job: _Job, session: _Session) -> None:
    rows: list[Row] = []
    error: BaseException | None = None
    try:
        if job.statement is None:
            session.close()
        else:
            rows = session.run(job.statement, job.submitted)
    except BaseException as failure:
        error = failure
    # A closed loop has nobody who waits.
    with contextlib.suppress(RuntimeError):
        job.loop.call_soon_threadsafe(_settle, job.waiter, rows, error)


def _settle(
    waiter: asyncio.Future[list[Row]], rows: list[Row], error: BaseException | None
) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(rows)
    else:
        waiter.set_exception(error)


class _Session:
    """The connection as its thread sees it: opened when needed, replaced when broken."""

    def __init__(
        self, parameters: Mapping[str, Any], connect_timeout: float, timeout: float
    ) -> None:
        self._parameters = parameters
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._connection: Connection | None = None
        self._used_at = 0.0
        self._failure: Exception | None = None
        self._failed_before = 0.0

    def run(self, statement: Statement, submitted: float) -> list[Row]:
        """Run a statement that has waited since `submitted` (monotonic)."""
        if self._failure is not None and submitted <= self._failed_before:
            # It waited as long as another one that failed; the limits are not for each in turn.
            raise self._failure
        rows = self._run(statement)
        self._failure = None
        return rows

    def _run(self, statement: Statement) -> list[Row]:
        kept = self._kept()
        if kept is not None:
            try:
                return self._execute(kept, statement)
            except psycopg2.Error:
                if self._connection is not None or not statement.repeatable:
                    raise
        return self._execute(self._open(), statement)

    def _kept(self) -> Connection | None:
        """Return the connection if there is one, and it was not lost while nobody looked."""
        connection = self._connection
        if connection is None:
            return None
        # What the server says unasked is that it ends the connection, or of no interest here.
        if connection.closed or _is_ready(connection, POLL_READ, 0):
            self.close()
        # Not monotonic: that clock may stand still while a Lambda function is frozen.
        elif abs(time.time() - self._used_at) > _IDLE:
            with contextlib.suppress(psycopg2.Error, TimeoutError):
                self._execute(connection, Statement("SELECT 1"), _PROBE_TIMEOUT)
        return self._connection

    def _execute(
        self, connection: Connection, statement: Statement, timeout: float | None = None
    ) -> list[Row]:
        limit = self._timeout if timeout is None else min(timeout, self._timeout)
        begun = time.monotonic()
        try:
            rows = _execute(connection, statement, begun + limit)
        except TimeoutError:
            self.close()
            if timeout is not None:
                raise
            self._failed_before = begun
            self._failure = StatementTimeoutError(f"no answer within {limit:g} seconds")
            raise self._failure from None
        except BaseException as error:
            if _is_lost(connection, error):
                self.close()
            raise
        finally:
            self._used_at = time.time()
        return rows

    def _open(self) -> Connection:
        try:
            self._connection = _connect(self._parameters, self._connect_timeout)
        except (psycopg2.Error, TimeoutError) as error:
            self._failed_before = time.monotonic()
            self._failure = error
            raise
        return self._connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _connect(parameters: Mapping[str, Any], timeout: float) -> Connection:
    """Open a connection in a thread of its own: looking up a host name cannot be interrupted."""
    opened: Future[Connection] = Future()
    give_up_at = time.monotonic() + timeout

    def run() -> None:
        try:
            # An asynchronous connection, not for asyncio: it is the one that waits under a limit.
            connection = psycopg2.connect(**parameters, async_=True)
            _wait(connection, give_up_at)
            # If nobody waits any more, it is closed by being forgotten.
            opened.set_result(connection)
        except BaseException as error:
            opened.set_exception(error)

    Thread(target=run, name="longwire-postgresql-connect", daemon=True).start()
    try:
        return opened.result(timeout)
    except TimeoutError:
        raise ConnectTimeoutError(f"no connection within {timeout:g} seconds") from None


def _execute(connection: Connection, statement: Statement, give_up_at: float) -> list[Row]:
    cursor = connection.cursor()
    cursor.execute(statement.sql, statement.parameters)
    _wait(connection, give_up_at)
    return cursor.fetchall() if cursor.description else []


def _wait(connection: Connection, give_up_at: float) -> None:
    """Let the connection do what it is at; raises TimeoutError when it takes too long."""
    while (state := connection.poll()) != POLL_OK:
        if not _is_ready(connection, state, give_up_at - time.monotonic()):
            raise TimeoutError


def _select(fd: int, state: int, timeout: float) -> bool:
    reading, writing = ([fd], []) if state == POLL_READ else ([], [fd])
    return any(select.select(reading, writing, writing, max(timeout, 0)))


if sys.platform == "win32" or not hasattr(select, "poll"):
    _is_socket_ready = _select
else:  # where select fails in processes with many open files

    def _is_socket_ready(fd: int, state: int, timeout: float) -> bool:
        poller = select.poll()
        poller.register(fd, select.POLLIN if state == POLL_READ else select.POLLOUT)
        return bool(poller.poll(max(timeout, 0) * 1000))


def _is_ready(connection: Connection, state: int, timeout: float) -> bool:
    """Wait at most `timeout` seconds until the socket can be read from or written to."""
    return _is_socket_ready(connection.fileno(), state, timeout)


def _is_lost(connection: Connection, error: BaseException) -> bool:
    """Tell whether a connection is of no use after an error."""
    if connection.closed or connection.isexecuting():
        return True
    if not isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
        return False
    # What has no code does not come from the server.
    return error.pgcode is None or error.pgcode.startswith(_ENDINGS)
