"""Watches the tasks of one run: do they still move, or is only the client's turn left?"""

from __future__ import annotations

import asyncio
import enum
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.asgi import suspended, tasks

if TYPE_CHECKING:
    from longwire.asgi.inbox import Inbox

_Task = asyncio.Task[Any]

# A task that yields to the event loop this many times without waiting for anything is busy.
REST_ROUNDS = 100


class Outcome(enum.Enum):
    """Why a step is over."""

    ENDED = enum.auto()  # the app returned or raised
    PARKED = enum.auto()  # it waits for the client and nothing else can move
    CUT_OFF = enum.auto()  # it waits for the client; other tasks stayed busy for too long
    UNANSWERED = enum.auto()  # the response must leave now, the run may go on
    READY = enum.auto()  # in a replay: the message can be handed over, the run goes on
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
