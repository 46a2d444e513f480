"""One connection to PostgreSQL: whose turn it is, time limits, losses and forks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import time
import weakref
from collections import deque
from concurrent.futures import Future
from threading import RLock, Thread
from typing import TYPE_CHECKING, Any

from longwire_aws.tuples import NamedTuple
from longwire_backends.postgresql.link import DONE, READ, WRITE, sqlstate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from longwire_backends.postgresql.link import Driver, Link, Row

# Seconds of wall time after which a kept connection is asked whether it still leads anywhere: a
# network may forget one that is idle, and neither side hears of it.
_IDLE = 60.0
# Seconds that the answer may take.
_PROBE_TIMEOUT = 1.0

# Seconds within which answers have to come for the loop to stand still for the next one: to turn to
# other things and come back costs more than most answers take.
_AT_ONCE = 0.001
# Seconds that it stands still at most. Less than a tick of Linux, mostly 4 ms, would need a timer
# of its own each time: on a virtual machine, as Lambda's are, a fifth of what a statement costs.
_STILL = 0.005
# Statements in a row that may be answered so: who asks for ever must not keep the loop for ever.
_ROW = 16

# SQLSTATE classes and codes after which the server has ended the connection.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_ENDINGS = ("08", "57P01", "57P02", "57P03", "57P05", "25P03")


class ConnectTimeoutError(TimeoutError):
    """The server did not let us in within the limit."""


class StatementTimeoutError(TimeoutError):
    """The server did not answer a statement within the limit."""


class Statement(NamedTuple):
    """What is to be run."""

    sql: str  # with the driver's own placeholders
    parameters: tuple[object, ...] = ()
    repeatable: bool = True  # running it twice does no harm


def is_loss(driver: Driver, error: BaseException) -> bool:
    """Tell whether an error is the end of a connection."""
    code = sqlstate(error)
    # What has no code does not come from the server.
    return isinstance(error, driver.lost) and (code is None or code.startswith(_ENDINGS))


class _Ticket:
    """The right to use the connection, and who waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.granted: asyncio.Future[None] | None = None


class PostgreSQLConnection:
    """Runs statements one after the other, on one connection, for any loop.

    It is opened by the first statement, and again by the next one after `close`, a fork or a loss.
    """

    def __init__(
        self,
        driver: Driver,
        parameters: Mapping[str, Any],
        connect_timeout: float,
        timeout: float,
    ) -> None:
        self._driver = driver
        self._parameters = parameters
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._quick = 0  # statements that may still be waited for at once
        self._used_at = 0.0
        self._failure: Exception | None = None
        self._failed_before = 0.0
        self.forget()
        _connections.add(self)

    def forget(self) -> None:
        """Begin anew in a forked child: the connection is its parent's."""
        # Neither driver ends a connection that another process has opened.
        self._link: Link | None = None
        self._has_input: Callable[[float], bool]  # of the link, within so many seconds
        # Garbage that lets go of its turn may be collected while the lock is held.
        self._lock = RLock()
        self._turn: _Ticket | None = None
        self._waiting: deque[_Ticket] = deque()

    async def execute(self, statement: Statement) -> list[Row]:
        """Run one statement; one that is cancelled does not begin, or ends with the connection."""
        turn, since = _Ticket(asyncio.get_running_loop()), None
        if not self._take(turn):
            since = time.monotonic()
            await self._granted(turn)
        try:
            if since is not None and self._failure is not None and since <= self._failed_before:
                # It waited as long as another one that failed; limits are not for each in turn.
                raise self._failure
            rows = await self._run(statement)
            self._failure = None
            return rows
        finally:
            self._leave(turn)

    async def close(self) -> None:
        """End the connection when those who wait for it have had their turn."""
        turn = _Ticket(asyncio.get_running_loop())
        if not self._take(turn):
            await self._granted(turn)
        self._drop()
        self._leave(turn)

    def _take(self, turn: _Ticket) -> bool:
        """Take the turn where nobody has it; else become one of those who wait."""
        with self._lock:
            if self._turn is not None:
                if self._turn.loop.is_running():
                    turn.granted = turn.loop.create_future()
                    self._waiting.append(turn)
                    return False
                # Its loop has stopped in mid-statement. If it goes on, so does the statement; until
                # then that loop has the socket in its selector, so it must not be closed here.
                self._link = None
            self._turn = turn
            return True

    async def _granted(self, turn: _Ticket) -> None:
        assert turn.granted is not None
        try:
            await turn.granted
        except asyncio.CancelledError:
            if not turn.granted.cancelled():
                self._leave(turn)
            raise

    def _leave(self, turn: _Ticket) -> None:
        with self._lock:
            if self._turn is not turn:
                return  # it was taken away
            self._turn = None
            while self._turn is None and self._waiting:
                following = self._waiting.popleft()
                # A closed loop has nobody who waits.
                with contextlib.suppress(RuntimeError):
                    following.loop.call_soon_threadsafe(self._grant, following)
                    self._turn = following

    def _grant(self, turn: _Ticket) -> None:
        assert turn.granted is not None
        if turn.granted.done():  # cancelled
            self._leave(turn)
        else:
            turn.granted.set_result(None)

    async def _run(self, statement: Statement) -> list[Row]:
        kept = self._kept()
        # Not monotonic: that clock may stand still while a Lambda function is frozen.
        if kept is not None and abs(time.time() - self._used_at) > _IDLE:
            kept = await self._probed(kept)
        if kept is not None:
            try:
                return await self._execute(kept, statement, self._timeout)
            except self._driver.error:
                if self._link is not None or not statement.repeatable:
                    raise
        return await self._execute(await self._open(), statement, self._timeout)

    def _kept(self) -> Link | None:
        """Return the connection if there is one, and it was not lost while nobody looked."""
        link = self._link
        # What the server says unasked is that it ends the connection, or of no interest here.
        if link is not None and (not link.is_usable() or self._has_input(0)):
            self._drop()
        return self._link

    async def _probed(self, link: Link) -> Link | None:
        """Return the connection if it still leads anywhere."""
        with contextlib.suppress(self._driver.error, TimeoutError):
            limit = min(_PROBE_TIMEOUT, self._timeout)
            await self._execute(link, Statement("SELECT 1"), limit, is_probe=True)
        return self._link

    async def _execute(
        self, link: Link, statement: Statement, limit: float, *, is_probe: bool = False
    ) -> list[Row]:
        begun = time.monotonic()
        try:
            link.begin(statement.sql, statement.parameters)
            if (state := self._polled(link, begun)) != DONE:
                await self._answered(link, state, begun, begun + limit)
            return link.rows()
        except TimeoutError:
            self._drop(link)
            if is_probe:
                raise
            self._failed_before = begun
            self._failure = StatementTimeoutError(f"no answer within {limit:g} seconds")
            raise self._failure from None
        except BaseException as error:
            # One that is cancelled leaves an answer behind that nobody must take for another's.
            if not link.is_usable() or is_loss(self._driver, error):
                self._drop(link)
            raise
        finally:
            self._used_at = time.time()

    def _polled(self, link: Link, begun: float) -> int:
        """Go on with what was begun, after a moment if that will do; return for what to wait."""
        if self._quick and not self._waiting:
            self._has_input(_STILL)
            self._quick = self._quick - 1 if time.monotonic() - begun < _AT_ONCE else 0
        return link.poll()

    async def _answered(self, link: Link, state: int, begun: float, give_up_at: float) -> None:
        while state != DONE:
            if not await _until_ready(link.fileno(), state, give_up_at - time.monotonic()):
                raise TimeoutError
            state = link.poll()
        if time.monotonic() - begun < _AT_ONCE:
            self._quick = _ROW

    async def _open(self) -> Link:
        try:
            link = await self._connected()
        except (self._driver.error, TimeoutError) as error:
            self._failed_before = time.monotonic()
            self._failure = error
            raise
        self._link, self._has_input = link, _watched(link.fileno(), READ)
        return link

    async def _connected(self) -> Link:
        """Connect in a thread: looking up a host name cannot be interrupted."""
        opened: Future[Link] = Future()
        opened.set_running_or_notify_cancel()  # nobody can cancel it from here on
        arguments = (opened, self._driver, self._parameters, self._connect_timeout)
        Thread(target=_connect, args=arguments, name="longwire-postgresql", daemon=True).start()
        try:
            async with asyncio.timeout(self._connect_timeout):
                # If nobody waits any more, it is closed by being forgotten.
                return await asyncio.wrap_future(opened)
        except TimeoutError:
            text = f"no connection within {self._connect_timeout:g} seconds"
            raise ConnectTimeoutError(text) from None

    def _drop(self, link: Link | None = None) -> None:
        """End the connection, or one that was it."""
        link = link or self._link
        if link is self._link:
            self._link = None
        if link is not None:
            link.close()


_connections: weakref.WeakSet[PostgreSQLConnection] = weakref.WeakSet()


def _forget_connections() -> None:
    for connection in _connections:
        connection.forget()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_connections)


def _connect(
    opened: Future[Link], driver: Driver, parameters: Mapping[str, Any], timeout: float
) -> None:
    give_up_at = time.monotonic() + timeout
    try:
        link = driver.link(parameters)
        while (state := link.poll()) != DONE:
            if not _is_ready(link.fileno(), state, give_up_at - time.monotonic()):
                raise TimeoutError
        opened.set_result(link)
    except BaseException as error:
        opened.set_exception(error)


async def _until_ready(fd: int, state: int, timeout: float) -> bool:
    """Wait at most `timeout` seconds, while the loop turns to other things."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[bool] = loop.create_future()
    try:
        if state & READ:
            loop.add_reader(fd, _settle, ready, True)
        if state & WRITE:
            loop.add_writer(fd, _settle, ready, True)
    except NotImplementedError:  # a loop of Windows that only knows its own sockets
        return await asyncio.to_thread(_is_ready, fd, state, timeout)
    timer = loop.call_later(timeout, _settle, ready, False)
    try:
        return await ready
    finally:
        timer.cancel()
        if state & READ:
            loop.remove_reader(fd)
        if state & WRITE:
            loop.remove_writer(fd)


def _settle(ready: asyncio.Future[bool], is_ready: bool) -> None:
    if not ready.done():
        ready.set_result(is_ready)


def _by_select(fd: int, state: int) -> Callable[[float], bool]:
    reading, writing = [fd] if state & READ else [], [fd] if state & WRITE else []
    return lambda timeout: any(select.select(reading, writing, writing, max(timeout, 0)))


if sys.platform == "win32" or not hasattr(select, "poll"):
    _watched = _by_select
else:  # where select fails in processes with many open files

    def _watched(fd: int, state: int) -> Callable[[float], bool]:
        """Return what waits so many seconds until a socket is ready, and tells whether it is."""
        poller = select.poll()
        reading, writing = state & READ and select.POLLIN, state & WRITE and select.POLLOUT
        poller.register(fd, reading | writing)
        return lambda timeout: bool(poller.poll(max(timeout, 0) * 1000))


def _is_ready(fd: int, state: int, timeout: float) -> bool:
    """Wait at most `timeout` seconds until a socket can be read from or written to."""
    return _watched(fd, state)(timeout)
