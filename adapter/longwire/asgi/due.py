"""What an event loop is about to do for a run: step its tasks, call what is ready, fire timers."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import weakref
from typing import TYPE_CHECKING, Any, Protocol, cast

from longwire.asgi import tasks as owned
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterable

    class Timer(Protocol):
        """A `TimerHandle`, as far as it is asked here."""

        def when(self) -> float: ...
        def cancelled(self) -> bool: ...


_Task = asyncio.Task[Any]

# All that is read here of asyncio and anyio without being documented, as in `suspended.py`: each of
# these has a test, and where one is missing a run counts as busy.

# The future that will wake a task: in C tasks and Python ones.
FUT_WAITER = "_fut_waiter"
# The callbacks that an event loop is about to call.
READY = "_ready"
# The timers of an event loop, the context in which one was set, and what it calls with what.
SCHEDULED = "_scheduled"
CONTEXT = "_context"
CALLBACK = "_callback"
ARGS = "_args"
# When a timer is due, and a scope of anyio, which looks again when its timer fires.
WHEN = "_when"
DEADLINE = "_deadline"
# The tasks that an `asyncio.timeout` and a scope of anyio would cancel.
TIMEOUT_OF = ("_task", "_host_task")

# So few callbacks are looked through each time; of more, it is noted whose they are.
_FEW_READY = 8
# With more timers than this on an event loop, they count as unknown.
_MOST_TIMERS = 20_000
# So few are looked through faster than it takes to sort them by run.
_FEW_TIMERS = 16


def is_runnable(task: _Task) -> bool:
    """Tell whether the event loop will step the task without anything further happening."""
    return any_runnable([task])


def any_runnable(tasks: Iterable[_Task]) -> bool:
    """Tell whether the event loop will step one of the tasks; they may be many."""
    for task in tasks:
        future = getattr(task, FUT_WAITER, None)
        if (future is None or future.done()) and not task.done():
            return True
    return False


def is_due(loop: asyncio.AbstractEventLoop, run: owned.TaskSet) -> bool | None:
    """Tell whether the event loop is about to call something that a run has asked for.

    None where the loop does not show it.
    """
    ready = getattr(loop, READY, None)
    if ready is None:
        return None
    if len(ready) > _FEW_READY:
        known = _due.get(loop)
        if known is None:
            known = _due[loop] = _Due()
            loop.call_soon(_due.pop, loop, None, context=_NOBODYS)
        return known.has(run, ready)
    for handle in tuple(ready):  # a copy at once: threads add to it at any time
        context = getattr(handle, CONTEXT, None)
        if context is not None and owned.owner(context) is run:
            return True
    return False


# In this, what is called for nobody's run.
_NOBODYS = contextvars.Context()


class _Due:
    """Whose callbacks an event loop is about to call, as seen in this turn of it.

    Many runs may ask in one turn, so none looks at what another has looked at.
    """

    def __init__(self) -> None:
        self._noted = 0  # how many have been looked at, which all are called in this order
        self._last_of: dict[int, int] = {}  # of those, the last of each run, by its set's id
        self._last: object = None  # that has been looked at

    def has(self, run: owned.TaskSet, ready: deque[object]) -> bool:
        """Tell whether this run is among them, by now."""
        owners: list[owned.TaskSet | None] = []
        newest: object = None
        try:
            for handle in reversed(ready):
                if handle is self._last:
                    break
                newest = newest or handle
                context = getattr(handle, CONTEXT, None)
                owners.append(None if context is None else owned.owner(context))
        except RuntimeError:  # a thread has added one meanwhile
            return True
        for owner in reversed(owners):
            if owner is not None:
                self._last_of[id(owner)] = self._noted
            self._noted += 1
        self._last = newest or self._last
        return self._last_of.get(id(run), -1) >= self._noted - len(ready)


_due: dict[asyncio.AbstractEventLoop, _Due] = {}


def positions(tasks: Iterable[_Task]) -> dict[_Task, object]:
    """Note where each task is: none has moved while it waits for the same future."""
    return {task: getattr(task, FUT_WAITER, None) for task in tasks}


def awaited_future(task: _Task) -> asyncio.Future[Any] | None:
    """Return the future that will wake the task; None when it is running or about to."""
    return getattr(task, FUT_WAITER, None)


def sees_no_timer(loop: asyncio.AbstractEventLoop, run: owned.TaskSet) -> bool:
    """Tell whether a run surely has set no timer; False where that would take long to see."""
    scheduled = getattr(loop, SCHEDULED, None)
    known = _sorted.get(loop)
    if known is not None and not known.is_current(scheduled):
        return False  # many have set some in this very turn, and each would look through all
    return timers(loop, run) == []


def timers(loop: asyncio.AbstractEventLoop, run: owned.TaskSet) -> list[Timer] | None:
    """List the timers that a run has set, directly or by `sleep`, `timeout` and their like.

    None where the event loop neither shows nor has them recorded, and where there are many.
    """
    scheduled = getattr(loop, SCHEDULED, None)
    if not isinstance(scheduled, list):
        run.timers = {timer for timer in run.timers if not timer.cancelled()}
        return list(run.timers) if loop in _recorded else None
    if len(scheduled) > _MOST_TIMERS:
        return None
    if not scheduled:
        return []
    if len(scheduled) <= _FEW_TIMERS:
        by_run = _sort_by_run(scheduled)
    else:
        known = _sorted.get(loop)
        if known is None:
            loop.call_soon(_sorted.pop, loop, None, context=_NOBODYS)
        if known is None or not known.is_current(scheduled):
            known = _Sorted(_sort_by_run(scheduled), scheduled, len(scheduled), scheduled[0])
            _sorted[loop] = known
        by_run = known.by_run
    if by_run is None:
        return None
    return [timer for timer in by_run.get(id(run), ()) if not timer.cancelled()]


def skip(loop: asyncio.AbstractEventLoop, run: owned.TaskSet, seconds: float) -> bool:
    """Make the timers of a run due by so many seconds earlier; False where the loop has its own."""
    scheduled = getattr(loop, SCHEDULED, None)
    of_run = timers(loop, run) if isinstance(scheduled, list) else None
    if not (of_run and all(hasattr(timer, WHEN) for timer in of_run)):
        return False
    for timer in of_run:
        setattr(timer, WHEN, timer.when() - seconds)
        scope = getattr(getattr(timer, CALLBACK, None), "__self__", None)
        if isinstance(due := getattr(scope, DEADLINE, None), float):
            setattr(scope, DEADLINE, due - seconds)
    heapq.heapify(cast("Any", scheduled))
    _sorted.pop(loop, None)
    return True


class Standstill(NamedTuple):
    """A run at rest, to see later whether it has moved."""

    positions: dict[_Task, object]
    timers: list[Timer] | None

    def lasts(self, loop: asyncio.AbstractEventLoop, run: owned.TaskSet) -> bool:
        """Tell whether none of the run has moved since, and none is about to."""
        if len(run) != len(self.positions) or is_due(loop, run) is not False:
            return False
        for task, before in self.positions.items():
            future = awaited_future(task)
            if future is None or future is not before or future.done() or task not in run:
                return False
        if not self.timers:
            return self.timers is not None
        now = loop.time()
        return all(timer.when() > now for timer in self.timers)


def record_timers(loop: asyncio.AbstractEventLoop) -> None:
    """Have a loop that does not show its timers, as uvloop's, keep a record of those of runs."""
    if isinstance(getattr(loop, SCHEDULED, None), list) or loop in _recorded:
        return
    recorder, methods = _Recorder(loop), cast("Any", loop)
    with contextlib.suppress(AttributeError, TypeError):  # a loop whose methods are fixed
        methods.call_at, methods.call_later = recorder.call_at, recorder.call_later
        _recorded.add(loop)


class _RecordedTimer:
    """What a `TimerHandle` of asyncio's own loops has, under the same names."""

    def __init__(self, when: float, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.handle: asyncio.TimerHandle | None = None
        self._when, self._callback, self._args = when, callback, args

    def when(self) -> float:
        return self._when

    def cancelled(self) -> bool:
        return self.handle is not None and self.handle.cancelled()


class _Recorder:
    """Sets the timers of a loop, and notes with each run its own until they fire."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._time = loop.time
        self._call_at = loop.call_at
        self._call_later = loop.call_later
        self._is_setting = False  # a loop's two methods may call each other

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_later(when - self._time(), callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        run = owned.owner(contextvars.copy_context() if context is None else context)
        if self._is_setting or run is None:
            return self._set(delay, callback, args, context)
        timer = _RecordedTimer(self._time() + delay, callback, args)

        def fire() -> None:
            run.timers -= {timer}
            callback(*args)

        run.timers |= {timer}
        timer.handle = self._set(delay, fire, (), context)
        return timer.handle

    def _set(
        self, delay: float, callback: Callable[..., object], args: tuple[Any, ...], context: Any
    ) -> asyncio.TimerHandle:
        if self._is_setting:
            return self._call_at(self._time() + delay, callback, *args, context=context)
        self._is_setting = True
        try:
            return self._call_later(delay, callback, *args, context=context)
        finally:
            self._is_setting = False


_recorded: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


class _Sorted(NamedTuple):
    """The timers of an event loop by the id of their run, as they were in this turn of the loop.

    Many runs may look in one turn.
    """

    by_run: dict[int, list[Timer]] | None
    scheduled: list[asyncio.TimerHandle]  # the loop's own heap: only its first is ever taken out,
    length: int  # so one of this length
    first: asyncio.TimerHandle  # with this at its head has the same timers as it had

    def is_current(self, scheduled: object) -> bool:
        return (
            scheduled is self.scheduled
            and len(self.scheduled) == self.length
            and self.scheduled[0] is self.first
        )


_sorted: dict[asyncio.AbstractEventLoop, _Sorted] = {}


def _sort_by_run(
    scheduled: list[asyncio.TimerHandle],
) -> dict[int, list[Timer]] | None:
    by_run: dict[int, list[Timer]] = {}
    for timer in scheduled:
        context = getattr(timer, CONTEXT, None)
        if context is None and not timer.cancelled():
            return None
        run = None if context is None else owned.owner(context)
        if run is not None and not timer.cancelled():
            by_run.setdefault(id(run), []).append(timer)
    return by_run


def limited(timer: Timer) -> tuple[list[_Task], list[asyncio.Future[Any]]]:
    """List the tasks that a timer is a time limit of, and the futures that it ends.

    `asyncio.timeout` and anyio's scopes know their task; `asyncio.wait`, and before Python 3.12
    `wait_for`, give their timer the future that the task waits for, and so does `sleep`.
    """
    bound = getattr(getattr(timer, CALLBACK, None), "__self__", None)
    stops = [getattr(bound, name, None) for name in TIMEOUT_OF]
    tasks: list[Any] = [task for task in stops if asyncio.isfuture(task)]
    return tasks, [one for one in (getattr(timer, ARGS, None) or ()) if asyncio.isfuture(one)]
