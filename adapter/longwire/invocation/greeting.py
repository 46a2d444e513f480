"""How frames reach the client: the greeting of a new connection, and replies to a message."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

from longwire.asgi.run import SupersededError
from longwire.exceptions import NOT_SENT, ConnectionGoneError, ManagementError
from longwire.registry.record import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.apigateway.frames import Frame
    from longwire.invocation.connection import Connection
    from longwire.registry.record import ConnectionRecord

logger = logging.getLogger("longwire")

# Seconds until a frame of a greeting is sent again which surely has not reached API Gateway.
TRY_AGAIN_AFTER = 0.2

# How often an event looks whether another one has delivered the greeting, in seconds.
GREETING_POLL = (0.005, 0.01, 0.02, 0.05, 0.1)


class Greeting:
    """The client of a connect step: nothing can be sent before the response has left.

    Attributes:
        frames: what the client is to get and has not got yet.
        sent: how many of them the app has sent itself.
        is_open: frames go to the client at once.
    """

    def __init__(self, connection: Connection, record: ConnectionRecord) -> None:
        self.frames: list[Frame] = []
        self.sent = 0
        self.is_open = False
        self._connection = connection
        self._record = record
        self._shared: Callable[[], bool] = lambda: False

    def swallow(self, frame: Frame) -> None:
        raise TypeError("a connect step replays nothing")

    async def send(self, frame: Frame) -> bool:
        self._connection.encode(frame)  # what cannot be sent fails here, in the app's own line
        self._record.remember(frame)
        if not self.is_open:
            self.frames.append(frame)
            self.sent += 1
            return True
        if self._shared():
            await self._connection.update(lambda record: _remember(record, frame))
        await post(self._connection, frame)
        return True

    async def close(self, code: int, reason: str) -> None:
        if self.is_open:
            await self._connection.end()

    async def push(self, frame: Frame) -> None:
        """Send a frame that is not the app's own doing, so that no replay sends it again."""
        self._connection.encode(frame)
        if self.is_open:
            await post(self._connection, frame)
        else:
            self.frames.append(frame)

    async def deliver(self, shared: Callable[[], bool] = lambda: False) -> None:
        """Send the greeting, now that the response has left; later frames follow at once.

        What API Gateway refuses is logged and lost. While it cannot be reached, it is tried again,
        and nothing that follows is sent; what no time is left for stays in `frames`.

        Args:
            shared: whether the client may already be speaking to another event, which then has to
                know what this one sends.

        Raises:
            ConnectionGoneError: the client is gone, and the app has to be told.
            SupersededError: the client is gone, and another event tells the app.
        """
        self._shared = shared
        known = self._record.answered
        while self.frames:
            if self.sent > known and shared():
                # What the app has sent meanwhile would be news to the run of the first message.
                known = self.sent
                await self._connection.update(self._remember_all)
            # Out of the queue before it is sent: when the post is cancelled, nobody knows whether
            # it has arrived, and no frame may arrive twice.
            frame = self.frames.pop(0)
            try:
                await post(self._connection, frame, early=True)
            except ManagementError as error:
                if error.sent:
                    _log_lost(self._connection, error)
                    continue
                self.frames.insert(0, frame)
                if not await self._connection.pause(TRY_AGAIN_AFTER, early=True):
                    _log_kept(self._connection, error)
                    return
            except asyncio.CancelledError as error:
                if NOT_SENT in error.args:
                    self.frames.insert(0, frame)
                raise
        self.is_open = True

    def _remember_all(self, record: ConnectionRecord) -> bool:
        record.sent = Counter(self._record.sent)
        return True


class Replies:
    """The client of a message: frames go out at once, but none that the connect step had sent."""

    def __init__(self, connection: Connection, record: ConnectionRecord) -> None:
        self._connection = connection
        self._record = record
        self._swallowed: Counter[str] = Counter()
        self._may_repeat = True

    def hand_over(self, *, complete: bool) -> None:
        """Begin with the replies; after a `complete` connect step nothing of it can come again."""
        self._may_repeat = not complete

    def swallow(self, frame: Frame) -> None:
        self._swallowed[digest(frame)] += 1

    async def send(self, frame: Frame) -> bool:
        self._connection.encode(frame)
        if await self._repeats(frame):
            return False
        await post(self._connection, frame)
        return True

    async def close(self, code: int, reason: str) -> None:
        await self._connection.end()

    async def _repeats(self, frame: Frame) -> bool:
        if not self._may_repeat:
            return False
        if self._record.connecting_until > time.time():
            self._record = await self._connection.read() or self._record
        sent = self._record.sent
        if not sent or self._swallowed.total() >= sent.total():
            return False
        key = digest(frame)
        repeated = sent[key] > self._swallowed[key]
        if repeated:
            self._swallowed[key] += 1
        return repeated


class Departed:
    """The client of a connection that has ended: nothing is sent any more."""

    def swallow(self, frame: Frame) -> None:
        """Do nothing: no later frame is compared with this one."""

    async def send(self, frame: Frame) -> bool:
        return False

    async def close(self, code: int, reason: str) -> None:
        """Do nothing: the connection has ended."""


async def post(connection: Connection, frame: Frame, *, early: bool = False) -> None:
    """Send a frame; when the client proves to be gone, decide who tells the app.

    Args:
        early: as of `Connection.post`.

    Raises:
        ConnectionGoneError: this event does.
        SupersededError: another one does, or has done so.
    """
    try:
        await connection.post(frame, early=early)
    except ConnectionGoneError:
        if not await connection.lose():
            raise SupersededError from None
        await connection.leave()
        raise


async def greeted(connection: Connection, record: ConnectionRecord) -> ConnectionRecord | None:
    """Make sure that the greeting has reached the client before anything else does.

    Returns:
        The record as it is then; None when the connection has ended meanwhile, or there was no
        time to deliver the greeting.

    Raises:
        ConnectionGoneError, SupersededError: as for `post`.
    """
    pauses = itertools.chain(GREETING_POLL, itertools.repeat(GREETING_POLL[-1]))
    current: ConnectionRecord | None = record
    while current is not None:
        if current.greeting:
            if (claimed := await _claim(connection)) is not None:
                return claimed if await _deliver_stored(connection, claimed) else None
        elif current.greeting_until <= time.time() or not await connection.pause(next(pauses)):
            return current
        current = await connection.read()
    return None


async def _claim(connection: Connection) -> ConnectionRecord | None:
    """Take over the greeting; the returned record is still the only place that holds it."""
    owed: list[Frame] = []

    def claim(record: ConnectionRecord) -> bool:
        owed[:] = record.greeting
        record.greeting, record.greeting_until = [], connection.greeting_lease
        return bool(owed)

    claimed = await connection.update(claim)
    if claimed is not None:
        claimed.greeting = owed
    return claimed


async def _deliver_stored(connection: Connection, record: ConnectionRecord) -> bool:
    """Send a stored greeting; False when the rest of it is stored again for lack of time."""
    owed = list(record.greeting)
    while owed:
        try:
            await post(connection, owed[0], early=True)
        except ManagementError as error:
            if not error.sent:
                if await connection.pause(TRY_AGAIN_AFTER, early=True):
                    continue
                _log_kept(connection, error)
                await connection.update(owe(owed))
                return False
            _log_lost(connection, error)
        del owed[0]
    await connection.update(release_greeting)
    return True


def owe(frames: list[Frame], *, ended: bool = False) -> Callable[[ConnectionRecord], bool]:
    """Return the change that leaves these frames of a greeting to the next message's event.

    Args:
        ended: the app has ended the connection, which is deleted after them.
    """

    def change(record: ConnectionRecord) -> bool:
        record.greeting = frames
        record.ended = record.ended or ended
        return end_connect_step(record) or bool(frames)

    return change


def release_greeting(record: ConnectionRecord) -> bool:
    """Let other events go on: the greeting is with the client."""
    waiting = record.greeting_until > 0.0
    record.greeting_until = 0.0
    return waiting


def end_connect_step(record: ConnectionRecord) -> bool:
    """Note that the connect step is over and its greeting delivered."""
    connecting = record.connecting_until > 0.0
    record.connecting_until = 0.0
    return release_greeting(record) or connecting


def _log_kept(connection: Connection, error: ManagementError) -> None:
    logger.error(
        "connection %s: the rest of its greeting waits for a message: %s", connection.id, error
    )


def _log_lost(connection: Connection, error: ManagementError) -> None:
    logger.error("connection %s: a frame of its greeting was lost: %s", connection.id, error)


def _remember(record: ConnectionRecord, frame: Frame) -> bool:
    record.remember(frame)
    return True
