"""Is a run at rest: do its tasks still move, or does the app only wait for the client?"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from longwire.asgi import due, frames, tasks
from longwire.asgi.turns import Turns
from longwire_aws.timeouts import limits
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Set
    from typing import Literal

    from longwire.asgi.inbox import Inbox
    from longwire.asgi.suspended import Waits

    Outcome = Literal[
        "ended",  # the app returned or raised
        "parked",  # it waits for the client and nothing else can move soon
        "cut_off",  # it waits for the client; other tasks stayed busy for too long
        "unanswered",  # the response must leave now, the run may go on
        "ready",  # in a replay: the message can be handed over, the run goes on
        "deadline",
    ]
    """Why a step is over."""

_Task = asyncio.Task[Any]

# A task that yields to the event loop this many times without waiting for anything is busy.
REST_ROUNDS = 100
# More turns of the event loop than this without a move are rest: one is for callbacks that are due,
# more where it does not show whether any are.
CALM = 1
CALM_UNSEEN = 8
# With more tasks than this, all count as busy and none is looked at.
MOST_TASKS = 12_000
# With more than this, none is compared with where it was at the hand-over.
MOST_COMPARED = 100
# What one of its timers costs, in the steps of a look.
_STEPS_PER_TIMER = 2
# How often a look at many tasks begins anew because some have moved meanwhile.
LOOKS = 3


class Look(NamedTuple):
    """What a run is seen to do."""

    outcome: Outcome | None  # ended or parked; None while it may still move by itself
    waits: bool = False  # the app waits for the client, but other tasks keep it from parking
    busy: tuple[_Task, ...] = ()  # these tasks, which may move soon
    # When one of them can move at the earliest, in the event loop's time: minus infinity when
    # nobody knows, infinity when none can.
    next_move: float = math.inf


# What most looks see.
ENDED, PARKED, MOVES = Look("ended"), Look("parked"), Look(None)


class Watch:
    """Looks at a run when it has come to rest, and tells when to look again."""

    def __init__(self, run: tasks.TaskSet, inbox: Inbox, linger: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._run = run
        self._inbox = inbox
        inbox.on_change = self.signal
        self._linger = linger  # seconds ahead within which a timer matters
        self._changed: asyncio.Future[None] | None = None
        self._limits = limits()
        self.when: float = math.inf  # until then it waits for a change, by the loop's clock
        self.timers: list[due.Timer] | None = None  # of the run, when last looked at
        due.record_timers(self._loop)

    async def look(self, app: _Task) -> Look:
        """Wait until the run has come to rest and tell what it does, `app` being its first task."""
        if app.done() and self._run <= {app}:
            return ENDED
        for _ in range(LOOKS):
            if not (self._inbox and self._inbox.waiters):
                await self._rest()
            if (seen := self._look_at_once(app)) is not None:
                return seen
            positions = due.positions(self._run)
            turns = Turns()
            look = await self._look_closely(app, turns)
            if turns.taken:
                await self._rest()
                if positions != due.positions(self._run):
                    continue
            return look
        return Look(None, True, tuple(self._others()), -math.inf)

    def glance(self, app: _Task) -> Look | None:
        """Tell what shows before the run has come to rest; mostly nothing does."""
        if app.done():
            return ENDED if self._run <= {app} else None
        return None if self._inbox.waiters or self._inbox.told_the_end else MOVES

    def is_alone(self, app: _Task) -> bool:
        """Tell whether the app's first task asks, is all of its run, and nothing can move it."""
        run = self._run
        return (
            len(run) == 1
            and app in run
            and asyncio.current_task() is app
            and not app.cancelling()
            and due.is_due(self._loop, run) is False
            and due.sees_no_timer(self._loop, run)
        )

    def _look_at_once(self, app: _Task) -> Look | None:
        """Tell what shows without a closer look; None where that needs one."""
        if app.done():
            return ENDED
        waiters = self._inbox.waiters
        comes = (self._inbox and not self._inbox.is_held_up()) or self._inbox.is_heard
        if comes or not (waiters or self._inbox.told_the_end):
            return MOVES
        if len(self._run) > MOST_TASKS:
            return Look(None, bool(waiters), next_move=-math.inf)
        if len(self._run) == len(waiters):
            self.timers = due.timers(self._loop, self._run)
            if not self.timers:
                return PARKED
        return None

    async def _look_closely(self, app: _Task, turns: Turns) -> Look:
        """Tell from what each task waits for whether anything can still move."""
        waiters, others = self._inbox.waiters, self._others()
        waits = await self._judge(others, waiters.keys(), turns)
        if self._inbox.told_the_end:
            waits = _without_those_alone(waits)
        await turns.step(len(others))  # sorting the timers is a turn's work by itself
        next_move, sleepers = await self._next_move(others, waits, turns)
        rests = next_move > self._loop.time() + self._linger
        awaits_client = self._inbox.awaits_client
        if rests and (awaits_client or app not in sleepers):
            return PARKED
        # Those that cannot move in time are not what it is waited for.
        busy = tuple(task for task in waits.busy or others if task not in sleepers)
        # Without waiters it has been told of the end, and is at work.
        return Look(None, awaits_client, busy, next_move)

    def standstill(self) -> due.Standstill:
        """Note where a run is that has been seen to be at rest."""
        return due.Standstill(due.positions(self._run), self.timers)

    async def next_move(self) -> float:
        """Return when something can move at the earliest, though nobody waits for the client."""
        turns, others = Turns(), self._others()
        waits = await self._judge(others, frozenset(), turns)
        next_move, _ = await self._next_move(others, waits, turns)
        return next_move

    async def change(self, look: Look, until: float) -> None:
        """Wait until there is something new to look at, or until a time of the event loop."""
        self._changed = changed = self._loop.create_future()
        known = look.next_move if look.next_move > -math.inf else math.inf
        self.when = min(until, known)
        self._limits.add(self)
        watched = {future for task in look.busy if (future := due.awaited_future(task))}
        for future in watched:
            future.add_done_callback(self.signal)
        try:
            await changed
        finally:
            self._limits.remove(self)
            for future in watched:
                future.remove_done_callback(self.signal)

    async def moving(self) -> Collection[_Task]:
        """List the tasks that may go on by themselves within `linger`; the client never speaks."""
        others = self._others()
        if not 0 < len(others) <= MOST_TASKS:
            return others
        turns = Turns()
        waits = _without_those_alone(await self._judge(others, frozenset(), turns))
        _, sleepers = await self._next_move(others, waits, turns)
        return [task for task in waits.busy if task not in sleepers]

    def signal(self, _: object = None) -> None:
        """Say that there is something new to look at."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def expire(self) -> None:
        """Say that the time has come until which it was waited."""
        self.signal()

    def others(self) -> dict[_Task, str]:
        """Return where the tasks are that do not wait for the client; of many, nothing."""
        if len(self._run) == 1:  # who waits, or is about to
            return {}
        others = self._others()
        return {task: frames.place(task) for task in others} if len(others) <= MOST_COMPARED else {}

    def newly_waiting(self, before: Mapping[_Task, str]) -> list[_Task]:
        """List new tasks that wait for others where none of before did; sleepers do not."""
        if len(self._run) == len(self._inbox.waiters):
            return []
        others = self._others()
        if not 0 < len(others) <= MOST_COMPARED:
            return []
        known = set(before.values())
        new = (task for task in others if task not in before)
        from longwire.asgi.suspended import waits_for_others  # as in `_judge`

        return [task for task in new if waits_for_others(task, known)]

    async def _judge(self, others: Collection[_Task], clients: Set[_Task], turns: Turns) -> Waits:
        from longwire.asgi.suspended import judge  # an app that is one task does not pay for it

        return await judge(others, self._run, clients, turns)

    def _others(self) -> list[_Task]:
        waiters, listeners = self._inbox.waiters, self._inbox.listeners
        return [one for one in self._run if one not in waiters and one not in listeners]

    def held_by(self, look: Look) -> Collection[_Task]:
        """List the tasks that kept a run from parking."""
        return look.busy or self._run

    async def _rest(self) -> None:
        """Wait until no task of the run can go on by itself, or one of them never stops."""
        calm, enough = 0, CALM
        for _ in range(REST_ROUNDS):
            if calm > enough or len(self._run) > MOST_TASKS or self._only_waits():
                return
            await asyncio.sleep(0)
            # One round more than the tasks need lets callbacks (call_soon) move them again.
            is_due = due.is_due(self._loop, self._run)
            enough = CALM if is_due is not None else CALM_UNSEEN
            calm = 0 if is_due or due.any_runnable(self._run) else calm + 1

    def _only_waits(self) -> bool:
        """Tell whether all tasks wait for the client: none is cancelled, no callback is due."""
        waiters = self._inbox.waiters
        return (
            len(waiters) == len(self._run)
            and not any(waiter.cancelled() for waiter in waiters.values())
            and due.is_due(self._loop, self._run) is False
        )

    async def _next_move(
        self, others: Collection[_Task], waits: Waits, turns: Turns
    ) -> tuple[float, Set[_Task]]:
        """Return when something can move by itself, and who of the busy cannot within `linger`.

        A time limit counts whatever it bounds, also the app's own wait for the client: an app may
        look for a moment whether the client has spoken, and go on.
        """
        timers = self.timers = due.timers(self._loop, self._run)
        if timers is None:
            # Any other task may have set one: as if all of them were busy.
            return (-math.inf if others else math.inf), frozenset()
        ends: dict[_Task, float] = {}
        wakes: dict[asyncio.Future[Any] | None, float] = {}
        first = math.inf
        for timer in timers:
            await turns.step(_STEPS_PER_TIMER)
            tasks, futures = due.limited(timer)
            when = timer.when()
            first = min(first, when)
            for task in tasks:
                ends[task] = min(when, ends.get(task, math.inf))
            for future in futures:
                wakes[future] = when
        soon = self._loop.time() + self._linger
        sleepers: set[_Task] = set()
        known = True
        for task in waits.busy:
            await turns.step()
            moves = [wakes.get(due.awaited_future(task)), ends.get(task)]
            known_moves = [move for move in moves if move is not None]
            if task not in waits.asleep or not known_moves:
                known = False
            elif min(known_moves) > soon:
                sleepers.add(task)
        return (first if known else -math.inf), sleepers


def _without_those_alone(waits: Waits) -> Waits:
    """Take for quiet, at the end of a connection, who waits for somebody that has ended."""
    return waits._replace(busy=[task for task in waits.busy if task not in waits.alone])
