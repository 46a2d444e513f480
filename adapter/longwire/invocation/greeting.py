"""The greeting: what an app sends right after `accept`, delivered once the connection exists.

A connect step delivers it behind the response. What it could not deliver, as no time was left or
nothing runs there, is stored with the connection, and the event of the first message delivers it
ahead of any reply (`greeted`). A killed process takes with it what it was delivering.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from longwire.asgi.stage import SupersededError
from longwire.exceptions import (
    NOT_SENT,
    ConnectionGoneError,
    DeadlineError,
    GreetingTooLargeError,
    ManagementError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.invocation.connection import Connection
    from longwire.registry.record import ConnectionRecord
    from longwire.types import Frame

    # Frames that the client has not got yet, each with its payload.
    Owed = deque[tuple[Frame, bytes]]

logger: logging.Logger = logging.getLogger("longwire")

# Seconds until a frame of a greeting is sent again which surely has not reached API Gateway.
TRY_AGAIN_AFTER = 0.2

# What a greeting may have in all: as many frames as take some seconds to deliver, and two of the
# largest messages, which leaves a third of a DynamoDB item (400 KB, the smallest of the stores) for
# the scope and for JSON.
MOST_FRAMES = 500
MOST_BYTES = 256 * 1024

# How often an event looks whether another one has delivered the greeting, in seconds.
GREETING_POLL = (0.005, 0.01, 0.02, 0.05, 0.1)


class Greeting:
    """The outbox of a connect step: nothing can be sent before the response has left."""

    def __init__(self, connection: Connection, record: ConnectionRecord) -> None:
        self.sent: int = 0  # frames that the app itself sent before it was open
        self.is_open: bool = False  # frames go to the client at once
        self._owed: Owed = deque()
        self._frames = self._bytes = 0  # in all that has ever been owed
        # Done when its delivery is over. No `asyncio.Event`: a task that waits for one is quiet.
        self._delivery: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._record = record
        self._shared: Callable[[], bool] = lambda: False
        # With `replay`: makes sure, before a frame, that nobody else goes on with the connection.
        self.ensure: Callable[[], Awaitable[None]] = _nothing

    @property
    def frames(self) -> list[Frame]:
        """What the client is to get and has not got yet."""
        return [frame for frame, _ in self._owed]

    @property
    def is_owed(self) -> bool:
        """Whether the client is to get something that it may not have yet."""
        return self._frames > 0 and not self.is_open

    def swallow(self, frame: Frame) -> None:
        raise TypeError("a connect step replays nothing")

    async def send(self, frame: Frame) -> bool:
        data = self._connection.encode(frame)  # what cannot be sent fails in the app's own line
        if not (self.is_open or self._has_room(data)):
            await self._wait_for_room()
        self._record.remember(frame)
        if not self.is_open:
            self._owe(frame, data)
            self.sent += 1
            return True
        if self._shared():
            await self._connection.update(lambda record: _remember(record, frame))
        await self.ensure()
        await self._connection.post(data)
        return True

    async def close(self, code: int, reason: str) -> None:
        # One that its client may not know of yet ends when the step is over.
        if self.is_open and not self._shared():
            await self._connection.end()

    async def push(self, frame: Frame) -> None:
        """Send a frame that is not the app's own doing, so that no replay sends it again."""
        data = self._connection.encode(frame)
        if not (self.is_open or self._has_room(data)):
            await self._wait_for_room()
        if self.is_open:
            await self._connection.post(data)
        else:
            self._owe(frame, data)

    async def _wait_for_room(self) -> None:
        """Wait until it is delivered, if the response is leaving; else, or if it fails, raise."""
        if self._connection.is_unanswered:
            await asyncio.sleep(0)  # an app may try it in a loop without end
            raise GreetingTooLargeError(self._connection.id, MOST_FRAMES, MOST_BYTES)
        await asyncio.shield(self._delivery)
        if not self.is_open:
            late = "it was sent faster than the greeting before it could be delivered in time"
            raise ManagementError(self._connection.id, late, sent=False)

    def _has_room(self, data: bytes) -> bool:
        return self._frames < MOST_FRAMES and self._bytes + len(data) <= MOST_BYTES

    def _owe(self, frame: Frame, data: bytes) -> None:
        self._frames += 1
        self._bytes += len(data)
        self._owed.append((frame, data))

    async def deliver(self, shared: Callable[[], bool] = lambda: False) -> None:
        """Send it, now that the response has left; what there is no time for stays in `frames`."""
        # `shared`: the client may be talking to another event, which must know what this one sends.
        self._shared = shared
        known = self._record.answered

        async def remember() -> None:
            nonlocal known
            if self.sent > known and shared():
                # What the app has sent meanwhile would be news to the run of the first message.
                known = self.sent
                await self._connection.update(self._remember_all)

        try:
            self.is_open = await _deliver(self._connection, self._owed, remember)
        except (ConnectionGoneError, SupersededError) as error:
            self._delivery.set_exception(error)
            self._delivery.exception()  # mostly nobody waits for it
            raise
        finally:
            if not self._delivery.done():
                self._delivery.set_result(None)

    def _remember_all(self, record: ConnectionRecord) -> bool:
        record.sent = self._record.sent.copy()
        return True


def _remember(record: ConnectionRecord, frame: Frame) -> bool:
    record.remember(frame)
    return True


async def _nothing() -> None:
    """Do nothing before a frame."""


async def _deliver(
    connection: Connection, owed: Owed, before_each: Callable[[], Awaitable[None]] = _nothing
) -> bool:
    """Send a greeting; False when there was no time for all of it: the rest is still owed."""
    while owed:
        await connection.renew_greeting()
        await before_each()
        # Out of the queue before it is sent: when the post is cancelled, nobody knows whether it
        # has arrived, and no frame may arrive twice.
        frame, data = owed.popleft()
        try:
            await connection.post(data, early=True)
        except ManagementError as error:
            # What API Gateway refuses is lost; what it never saw is tried again before the rest.
            if error.sent:
                logger.error(
                    "connection %s: a frame of its greeting was lost: %s", connection.id, error
                )
                continue
            owed.appendleft((frame, data))
            if not await connection.pause(TRY_AGAIN_AFTER, early=True):
                logger.error(
                    "connection %s: the rest of its greeting waits for a message: %s",
                    connection.id,
                    error,
                )
                return False
        except asyncio.CancelledError as error:
            if NOT_SENT in error.args:
                owed.appendleft((frame, data))
            raise
    return True


async def greeted(connection: Connection, record: ConnectionRecord) -> ConnectionRecord | None:
    """Let the greeting go first, and return the record as it is then; None when it has ended.

    Raises:
        DeadlineError: there was no time for it, and so none for what follows it.
    """
    pauses = itertools.chain(GREETING_POLL, itertools.repeat(GREETING_POLL[-1]))
    current: ConnectionRecord | None = record
    lease, ends = 0.0, 0.0
    while current is not None:
        if current.greeting:
            if (claimed := await _claim(connection)) is not None:
                if not await _deliver_stored(connection, claimed):
                    raise DeadlineError("no time was left for its greeting, which has to go first")
                return claimed
        elif not current.greeting_until:
            return current
        else:
            if current.greeting_until != lease:
                lease = current.greeting_until
                ends = connection.greeting_ends(lease)
            if ends <= time.monotonic():
                return current
            if not await connection.pause(next(pauses), early=True):
                raise DeadlineError("its greeting, which has to go first, is still under way")
        current = await connection.read()
    return None


async def _claim(connection: Connection) -> ConnectionRecord | None:
    """Take over the greeting; the returned record is still the only place that holds it."""
    owed: list[Frame] = []

    def claim(record: ConnectionRecord) -> bool:
        owed[:] = record.greeting
        record.greeting, record.greeting_until = [], connection.lease_greeting()
        return bool(owed)

    claimed = await connection.update(claim)
    if claimed is not None:
        claimed.greeting = owed
    return claimed


async def _deliver_stored(connection: Connection, record: ConnectionRecord) -> bool:
    """Send a stored greeting; False when the rest of it is stored again for lack of time."""
    owed: Owed = deque((frame, connection.encode(frame)) for frame in record.greeting)
    if await _deliver(connection, owed):
        await connection.update(release_greeting)
        return True
    await connection.update(owe([frame for frame, _ in owed]))
    return False


# Changes of a record


def owe(
    frames: list[Frame], *, ended: bool = False, shared: bool = False
) -> Callable[[ConnectionRecord], bool]:
    """Leave frames to the next message's event; if `ended`, the connection ends after them.

    One whose client may be speaking meanwhile, as it is `shared`, does not end if that is so.
    """

    def change(record: ConnectionRecord) -> bool:
        record.greeting = frames
        record.ended = record.ended or (ended and not (shared and record.spoken))
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
