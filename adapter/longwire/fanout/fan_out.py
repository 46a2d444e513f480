"""One frame to many connections: a bounded number at a time, slower when there are too many.

The members are read in pages while posts are on their way, and neither they nor who got the frame
are ever all in memory as objects of their own, so that a group may have any size.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from typing import TYPE_CHECKING

from longwire.apigateway.slow_clients import SEVERAL, patient_until
from longwire.deadlines import is_hang
from longwire.exceptions import (
    BackendError,
    ConnectionGoneError,
    LongwireError,
    ManagementError,
    SlowClientError,
)
from longwire.fanout.result import ConnectionIds, SendResult

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from longwire.registry.base import Post

    Pages = AsyncGenerator[Sequence[str], None]

logger: logging.Logger = logging.getLogger("longwire")

# Posts at the same time: as many as the HTTP client has connections.
WIDTH = 100

# Seconds between two posts after the first 429, at most, and how much less after each success.
FIRST_GAP = 0.001
LONGEST_GAP = 0.02
RECOVERY = 0.98

# Seconds before another try at those that could not be reached yet: at first, and at most.
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0

# Seconds for which a send waits for those that are not known yet.
NEW_FOR = 3.0

NOT_KNOWN_YET = "its handshake is not over yet"
CUT_OFF = "not sent: there was no time left"
UNREAD = "there was no time left to read who else is to get it"


class Pace:
    """How fast posts go out: at once, until API Gateway says that they are too many.

    Each such 429 doubles the gap between two posts; each success makes it a little shorter. That of
    a client which does not read is none of them.
    """

    # A random number from 0 to 1 keeps several processes from going in step.
    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._gap = 0.0
        self._next = 0.0
        self._slowed = 0.0

    @property
    def is_slow(self) -> bool:
        """Whether posts have to wait for their turn."""
        return self._gap > 0

    async def turn(self, now: float, deadline: float) -> float:
        """Wait until the next post may go out, unless that is too late; return when it is."""
        at = max(now, self._next)
        if at >= deadline:
            return at
        self._next = at + self._gap * (0.5 + self._random())
        await asyncio.sleep(at - now)
        return time.monotonic()

    def slow_down(self, posted_at: float) -> None:
        """Note that a post was one too many; those that were on their way by then say no more."""
        if posted_at >= self._slowed:
            self._slowed = time.monotonic()
            self._gap = min(max(2 * self._gap, FIRST_GAP), LONGEST_GAP)

    def speed_up(self) -> None:
        if self._gap:
            self._gap *= RECOVERY
            if self._gap < FIRST_GAP / 4:
                self._gap = 0.0


class FanOut:
    """One frame on its way to many."""

    def __init__(
        self,
        post: Post,
        deadline: float,
        # Judges one that API Gateway does not know: gone, or so new that it is tried again?
        is_gone: Callable[[str], Awaitable[bool]],
        # Asked before it is tried again: has somebody else found that it is gone?
        is_known_gone: Callable[[str], Awaitable[bool]],
        *,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.result: SendResult = SendResult()
        self.hang: str | None = None  # the error of one for whom nobody answered, or a foreign one
        self._post = post
        self._deadline = deadline
        self._is_gone = is_gone
        self._is_known_gone = is_known_gone
        self._random = random
        self._pace = Pace(random)
        self._patient_until = patient_until(time.monotonic(), deadline)
        self._again: dict[str, str] = {}  # whom to try again, and why
        self._slow: dict[str, str] = {}  # likewise; they do not read
        self._slow_until = math.inf  # when the first of them has had its time
        # Whose time was cut short by that of the send: who knows whether they do not read, if
        # several others were served after a refusal, or not for other reasons?
        self._unproven = ConnectionIds()
        self._served_late = 0
        self._is_first_time = True
        self._new: dict[str, float] = {}  # those not known yet, and until when they may be so

    async def run(self, pages: Pages) -> None:
        """Send it to everybody on these pages, each once."""
        self._unproven, self._served_late, self._is_first_time = ConnectionIds(), 0, True
        await self._run(pages)
        doubted = len(self._unproven) + len(self.result.slow)
        if self._served_late < SEVERAL and len(self.result.failed) == doubted:
            for connection_id in self._unproven:
                self.result.slow.add(connection_id)
        if len(self.result.slow) >= SEVERAL and not self.result.delivered:
            # Nobody was served, so nothing proves that it is they who are slow.
            self.result.slow = ConnectionIds()

    async def _run(self, pages: Pages) -> None:
        await self._send(pages)
        pause = FIRST_PAUSE
        while self._again or self._slow:
            seconds = pause * (0.5 + self._random())
            # Who does not read has its last attempt when its time is over, and not later.
            seconds = max(0.0, min(seconds, self._slow_until - time.monotonic()))
            if time.monotonic() + seconds >= self._deadline:
                self.result.failed.update(self._again)
                for connection_id, reason in self._slow.items():
                    self._fail_slow(connection_id, reason, self._unproven)
                return
            await asyncio.sleep(seconds)
            self._is_first_time = False
            again = (*self._again, *self._slow)
            self._again, self._slow, self._slow_until = {}, {}, math.inf
            await self._send(one_page(again))
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _send(self, pages: Pages) -> None:
        async with asyncio.TaskGroup() as tasks:
            members = _Members(pages, self._deadline, tasks)
            workers = 0
            while await members.turn():
                for _ in range(min(WIDTH, members.at_hand) - workers):
                    tasks.create_task(self._work(members))
                    workers += 1
        self.result.incomplete = self.result.incomplete or members.error

    async def _work(self, members: _Members) -> None:
        task = asyncio.current_task()
        while members.at_hand or await members.are_more():
            connection_id = members.take()
            try:
                await self._deliver(connection_id)
            except asyncio.CancelledError:
                if task is None or task.cancelling():
                    raise
                # Not this task was: a driver of somebody's store has cancelled what was awaited.
                self._fail(connection_id, RuntimeError("what was awaited has been cancelled"))

    async def _deliver(self, connection_id: str) -> None:
        posted_at = time.monotonic()
        if self._pace.is_slow:
            posted_at = await self._pace.turn(posted_at, self._deadline)
        if posted_at >= self._deadline:
            self.result.failed[connection_id] = CUT_OFF
            return
        try:
            if connection_id in self._new and await self._is_known_gone(connection_id):
                self.result.gone.add(connection_id)
                return
            await self._post(connection_id, deadline=self._deadline, patient=False)
        except ConnectionGoneError as error:
            await self._unknown(connection_id, error)
        except SlowClientError as error:
            self._not_read(connection_id, error)
        except ManagementError as error:
            if error.status == 429:
                self._pace.slow_down(posted_at)
                self._again[connection_id] = str(error)
            else:
                self._fail(connection_id, error)
        except Exception as error:
            self._fail(connection_id, error)
        else:
            self.result.delivered.add(connection_id)
            self._pace.speed_up()
            self._served_late += not (self._is_first_time or connection_id in self._new)

    def _fail(self, connection_id: str, error: Exception) -> None:
        self.result.failed[connection_id] = reason_of(error)
        if not isinstance(error, LongwireError) or is_hang(error):
            self.hang = reason_of(error)

    def _not_read(self, connection_id: str, error: SlowClientError) -> None:
        """Judge a connection that does not read, or is refused as others are."""
        if error.until is None:
            self._fail_slow(connection_id, str(error), self.result.slow)
        elif time.monotonic() < self._patient_until:
            self._slow[connection_id] = str(error)
            self._slow_until = min(self._slow_until, error.until, self._patient_until)
        elif self._is_first_time:
            self.result.failed[connection_id] = str(error)
        else:
            self._fail_slow(connection_id, str(error), self._unproven)

    def _fail_slow(self, connection_id: str, reason: str, slow: ConnectionIds) -> None:
        self.result.failed[connection_id] = reason
        slow.add(connection_id)

    async def _unknown(self, connection_id: str, error: ConnectionGoneError) -> None:
        """Judge a connection that API Gateway does not know."""
        try:
            gone = await self._is_gone(connection_id)
        except Exception as failure:  # also of somebody's own store: it ends no loop over many
            self.result.failed[connection_id] = f"{error}, but the store: {reason_of(failure)}"
            return
        now = time.monotonic()
        if gone:
            self.result.gone.add(connection_id)
        elif now < self._new.setdefault(connection_id, now + NEW_FOR):
            self._again[connection_id] = NOT_KNOWN_YET
        else:
            self.result.failed[connection_id] = NOT_KNOWN_YET


class _Members:
    """The members still to be sent to; a page is read while the one before it is posted."""

    def __init__(self, pages: Pages, deadline: float, tasks: asyncio.TaskGroup) -> None:
        self.error: str | None = None  # why reading ended early
        self._pages = pages
        self._deadline = deadline
        self._page: Sequence[str] = ()
        self._taken = 0
        self._ended = False
        self._turned = asyncio.Event()
        self._used_up = asyncio.Event()
        self._tasks = tasks
        self._reading = tasks.create_task(self._read())

    @property
    def at_hand(self) -> int:
        """How many have been read and not been taken."""
        return len(self._page) - self._taken

    def take(self) -> str:
        """Return one that is at hand."""
        self._taken += 1
        return self._page[self._taken - 1]

    async def are_more(self) -> bool:
        """Wait until one is at hand; False when there are no more."""
        while not self.at_hand:
            if self._ended:
                return False
            self._used_up.set()
            await self._turned.wait()
        return True

    async def turn(self) -> bool:
        """Wait until all are taken, and go on to the next page; False when there is none."""
        if self.at_hand:
            await self._used_up.wait()
        page = await self._reading
        self._ended = page is None
        self._page, self._taken = page or (), 0
        self._used_up.clear()
        self._turned.set()
        self._turned = asyncio.Event()
        if not self._ended:
            self._reading = self._tasks.create_task(self._read())
        return not self._ended

    async def _read(self) -> Sequence[str] | None:
        page, self.error = await read_page(self._pages, self._deadline)
        return page


async def read_page(pages: Pages, deadline: float) -> tuple[Sequence[str] | None, str | None]:
    """Return the next page, and why there is none if that is not because all are read."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await anext(pages, None), None
    except TimeoutError:
        return None, UNREAD
    except BackendError as error:
        return None, str(error)
    except Exception as error:  # of somebody's own store
        logger.error("a page of connections could not be read", exc_info=error)
        return None, reason_of(error)


def reason_of(error: Exception) -> str:
    """Return what an error says, or, of one that is not ours, what it is."""
    return str(error) if isinstance(error, LongwireError) else repr(error)


async def one_page(page: Sequence[str]) -> Pages:
    """Yield these members."""
    yield page
