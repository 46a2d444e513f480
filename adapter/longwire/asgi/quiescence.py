"""Watches the tasks of one run: do they still move, or is only the client's turn left?"""

from __future__ import annotations

import asyncio
import enum
import math
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.asgi import suspended, tasks
from longwire.exceptions import ASGIMessageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.types import Message

_Task = asyncio.Task[Any]

# A task that yields to the event loop this many times without waiting for anything is busy.
REST_ROUNDS = 100

# An app that receives this often after it has been cancelled is left to wait.
REFUSALS = 4


class Outcome(enum.Enum):
    """Why a step is over."""

    ENDED = enum.auto()  # the app returned or raised
    PARKED = enum.auto()  # it waits for the client and nothing else can move
    CUT_OFF = enum.auto()  # it waits for the client; other tasks stayed busy for too long
    UNANSWERED = enum.auto()  # the response must leave now, the run may go on
    DEADLINE = enum.auto()


class Look(NamedTuple):
    """What a run is seen to do.

    Attributes:
        outcome: ENDED or PARKED; None while it may still move by itself.
        waits: the app waits for the client, but other tasks keep it from parking.
        busy: these tasks.
        next_move: when one of them can move at the earliest, in the event loop's time; minus
            infinity when nobody knows, infinity when none can.
    """

    outcome: Outcome | None
    waits: bool = False
    busy: tuple[_Task, ...] = ()
    next_move: float = math.inf


class Inbox:
    """What the app is to receive, and which of its tasks wait for more.

    Attributes:
        waiters: the tasks inside `receive()` with nothing to deliver.
        waited: whether there has ever been one.
        closed: the run is over; whoever receives is cancelled.
    """

    def __init__(self, first: Message, on_wait: Callable[[], object]) -> None:
        self.waiters: dict[_Task, asyncio.Future[None]] = {}
        self.waited = False
        self.closed = False
        self._messages: deque[Message] = deque([first])
        self._on_wait = on_wait
        self._refused = 0

    def __bool__(self) -> bool:
        return bool(self._messages)

    def deliver(self, message: Message) -> None:
        """Give the app a message."""
        self._messages.append(message)
        self._wake()

    async def receive(self) -> Message:
        """Return the next message: ASGI's `receive`."""
        while not self._messages:
            if self.closed:
                await self._refuse()
            await self._wait()
        return self._messages.popleft()

    async def _wait(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise ASGIMessageError("receive() was called outside a task")
        self.waited = True
        self.waiters[task] = waiter = asyncio.get_running_loop().create_future()
        self._on_wait()
        try:
            await waiter
        finally:
            del self.waiters[task]
            if self._messages:  # cancelled with a message on its way: another may have it
                self._wake()

    async def _refuse(self) -> None:
        """Cancel again an app that receives while it unwinds; in the end let it wait for ever."""
        self._refused += 1
        if self._refused > REFUSALS:
            await asyncio.get_running_loop().create_future()
        raise asyncio.CancelledError

    def _wake(self) -> None:
        for waiter in self.waiters.values():
            if not waiter.done():
                waiter.set_result(None)
                return


class Watch:
    """Looks at a run when it has come to rest, and tells when to look again.

    Args:
        run: the tasks of the run that have not ended.
        inbox: of the app.
        linger: seconds ahead within which a timer matters.
    """

    def __init__(self, run: tasks.TaskSet, inbox: Inbox, linger: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._run = run
        self._inbox = inbox
        self._linger = linger
        self._changed: asyncio.Future[None] | None = None

    async def look(self, app: _Task) -> Look:
        """Wait until the run has come to rest and tell what it does, `app` being its first task."""
        await self._rest()
        if app.done():
            return Look(Outcome.ENDED)
        if self._inbox or not self._inbox.waiters:
            return Look(None)
        others = tuple(task for task in self._run if task not in self._inbox.waiters)
        busy = tuple(task for task in others if not suspended.is_quiet(task, self._run))
        next_move = self._next_move(others, busy)
        if busy:
            return Look(None, True, busy, next_move)
        if next_move <= self._loop.time() + self._linger:
            return Look(None, True, others, next_move)
        return Look(Outcome.PARKED)

    async def change(self, look: Look, until: float) -> None:
        """Wait until there is something new to look at, or until a time of the event loop."""
        self._changed = changed = self._loop.create_future()
        known = look.next_move if look.next_move > -math.inf else math.inf
        timer = self._loop.call_at(min(until, known), self.signal)
        watched = [future for task in look.busy if (future := suspended.awaited_future(task))]
        for future in watched:
            future.add_done_callback(self.signal)
        try:
            await changed
        finally:
            timer.cancel()
            for future in watched:
                future.remove_done_callback(self.signal)

    def signal(self, _: object = None) -> None:
        """Say that there is something new to look at."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def describe(self, look: Look) -> str:
        """Name the tasks that kept a run from parking, and where they wait."""
        return suspended.describe(look.busy or self._run)

    async def _rest(self) -> None:
        """Wait until no task of the run can go on by itself, or one of them never stops."""
        calm = 0
        for _ in range(REST_ROUNDS):
            if calm > 1 or len(self._run) <= len(self._inbox.waiters):
                return
            await asyncio.sleep(0)
            # One round more than the tasks need lets callbacks (call_soon) move them again.
            calm = 0 if any(suspended.is_runnable(task) for task in self._run) else calm + 1

    def _next_move(self, others: tuple[_Task, ...], busy: tuple[_Task, ...]) -> float:
        """Return when something of the run can move by itself, as far as that is known."""
        timers = tasks.timers(self._loop, self._run)
        if not all(suspended.is_asleep(task, timers) for task in busy):
            return -math.inf
        # A time limit of the app's own wait for the client is no reason to wait for it.
        waiters = self._inbox.waiters
        limits = [*waiters, *(task for task in others if suspended.awaits_any(task, waiters))]
        return min(
            (timer.when() for timer in timers if not suspended.bounds(timer, limits)),
            default=math.inf,
        )
