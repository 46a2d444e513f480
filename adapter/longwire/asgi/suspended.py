"""What a suspended task waits for, read from its frames.

A step of a run is over when the app waits for the client and nothing else of the run can move by
itself. The second half needs an answer to "could this task go on without the client?": a task is
*quiet* when only another task of the same run can wake it. All that is not known to be quiet counts
as busy: a socket, a timer, a thread, a lock that somebody else may hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import weakref
from typing import TYPE_CHECKING, Any, Protocol, cast

from longwire.asgi import tasks as owned
from longwire.asgi.frames import frames_of, is_of_an_app, module_of, place
from longwire.asgi.reachable import KNOWN_CLOSELY, STEPS_PER_TASK, known
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Collection, Iterable, Set
    from types import FrameType

    from longwire.asgi.reachable import Turns

    class Timer(Protocol):
        """A `TimerHandle`, as far as it is asked here."""

        def when(self) -> float: ...
        def cancelled(self) -> bool: ...


_Task = asyncio.Task[Any]

# All that is read here of asyncio and anyio without being documented. It differs between versions
# of Python, event loops and kinds of tasks, so each of these has a test, and wherever one is
# missing or a frame looks different, a task counts as busy: its step takes as long as it may
# linger, and nothing is lost.

# The future that will wake a task: in C tasks and Python ones.
FUT_WAITER = "_fut_waiter"
# The futures that an `asyncio.gather` waits for.
CHILDREN = "_children"
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
# The module of futures made in Python, as nest_asyncio and debuggers have them.
FUTURES = "asyncio.futures"
# The tasks that an `asyncio.timeout` and a scope of anyio would cancel.
TIMEOUT_OF = ("_task", "_host_task")

# Frames, each by its module and its qualified name.
# Where a task waits for tasks that are its own children, or that it names.
JOINING = {
    ("asyncio.taskgroups", "TaskGroup.__aexit__"),
    ("asyncio.taskgroups", "TaskGroup._aexit"),
    ("anyio._backends._asyncio", "TaskGroup.__aexit__"),
}
# Where a task waits for somebody who knows the same object, its `self`. Not locks and semaphores:
# whoever holds one may belong to another run.
MEETING = {
    ("asyncio.queues", "Queue.get"),
    ("asyncio.queues", "Queue.put"),
    ("asyncio.queues", "Queue.join"),
    ("asyncio.locks", "Event.wait"),
    ("asyncio.locks", "Condition.wait"),
}
# Functions of `asyncio.tasks`: those that wait for the futures in one of their own variables,
# the one in which `as_completed` waits for its tasks behind a queue, and `sleep`.
WAITING_VARIABLE = {"wait_for": "fut", "_wait": "fs"}
AS_COMPLETED = "_wait_for_one"
SLEEP = "sleep"
# Where anyio waits; all but its events may be sockets.
ANYIO = "anyio._backends"
ANYIO_EVENT = "Event."

# So few callbacks are looked through each time; of more, it is noted whose they are.
_FEW_READY = 8
# With more timers than this on an event loop, they count as unknown.
_MOST_TIMERS = 20_000
# So few are looked through faster than it takes to sort them by run.
_FEW_TIMERS = 16


class Waits(NamedTuple):
    """What tasks of a run wait for."""

    busy: list[_Task]  # these: something that may come by itself
    asleep: set[_Task]  # these, of the busy ones: the end of an `asyncio.sleep`
    alone: set[_Task]  # these, of the busy ones: somebody with a queue that no other task knows


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


async def judge(
    tasks: Iterable[_Task], run: Collection[_Task], clients: Set[_Task], turns: Turns
) -> Waits:
    """Tell what these tasks of a run wait for; `clients` are those that wait for the client.

    A task is quiet, and not busy, when only another task of the run can wake it.
    """
    quiet: dict[_Task, bool] = {}
    asleep: set[_Task] = set()
    meeting: dict[_Task, object] = {}  # who waits for somebody who knows this object
    pumped: dict[_Task, object] = {}  # who waits for a task of `clients`, or for this of its doing
    joined: dict[object, list[asyncio.Future[Any]]] = {}  # several may wait for one gather
    for task in tasks:
        await turns.step(STEPS_PER_TASK)
        quiet[task] = False
        frames = _frames(task)
        if not frames or is_runnable(task):
            continue
        innermost = frames[-1]
        future = awaited_future(task)
        if future not in joined:
            awaited = awaited_by(task, innermost)
            await turns.step(len(awaited))
            joined[future] = [one for one in awaited if not (one.done() or one in run)]
            if len(joined[future]) == 1 and not clients.isdisjoint(awaited):
                pumped[task] = joined[future][0]
        quiet[task] = not joined[future]
        where = _where(innermost)
        if where in JOINING or _joins_by_completion(frames):
            quiet[task] = True
        elif where in MEETING:
            quiet[task] = False
            shared = innermost.f_locals.get("self")
            if shared is not None and not _is_io(frames):
                meeting[task] = shared
        elif where == ("asyncio.tasks", SLEEP):
            asleep.add(task)
    woken = await _met(meeting, run, turns) if meeting else set()
    alone = {task for task in meeting.keys() - woken if isinstance(meeting[task], asyncio.Queue)}
    if pumped:
        woken |= await known(pumped, clients, turns, KNOWN_CLOSELY)
    quiet.update(dict.fromkeys(woken, True))
    return Waits([task for task, is_quiet in quiet.items() if not is_quiet], asleep, alone)


async def _met(meeting: dict[_Task, object], run: Collection[_Task], turns: Turns) -> set[_Task]:
    """Tell for which of these objects only the run has anybody who knows them."""
    met = await known(meeting, run, turns)
    if met and (workers := owned.workers(asyncio.get_running_loop())):
        # A worker of the app that has such an object at hand may be about to use it.
        met -= await known({task: meeting[task] for task in met}, workers, turns, KNOWN_CLOSELY)
    return met


def _frames(task: _Task) -> list[FrameType]:
    # Futures made in Python have a frame of their own, below the one of who awaits them.
    return [frame for frame in frames_of(task) if module_of(frame) != FUTURES]


def _where(frame: FrameType) -> tuple[str, str]:
    return module_of(frame), frame.f_code.co_qualname


def sleeps(frames: list[FrameType]) -> bool:
    """Tell whether a task with these frames is inside `asyncio.sleep`."""
    return bool(frames) and _where(frames[-1]) == ("asyncio.tasks", SLEEP)


def waits_for_others(task: _Task, elsewhere_than: Collection[str]) -> bool:
    """Tell whether a task waits for another one, at none of these places; none that sleeps does."""
    frames = _frames(task)
    if not frames or sleeps(frames):
        return False
    return is_of_an_app(task) and place(task) not in elsewhere_than


def _joins_by_completion(frames: list[FrameType]) -> bool:
    """Tell whether this is `asyncio.as_completed`, which waits for its tasks behind a queue."""
    return any(
        frame.f_code.co_name == AS_COMPLETED and module_of(frame) == "asyncio.tasks"
        for frame in frames[-2:]
    )


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


def awaited_by(task: _Task, frame: FrameType) -> Collection[asyncio.Future[Any]]:
    """List the futures that must move first; the awaited one itself when nothing more is known."""
    future = awaited_future(task)
    if isinstance(children := getattr(future, CHILDREN, None), list):
        return children
    in_tasks = module_of(frame) == "asyncio.tasks"
    variable = WAITING_VARIABLE.get(frame.f_code.co_name) if in_tasks else None
    named = frame.f_locals.get(variable) if variable else None
    if isinstance(named, (set, frozenset)):
        return named
    return [one for one in (named, future) if asyncio.isfuture(one)][:1]


def _is_io(frames: list[FrameType]) -> bool:
    """Tell whether an event stands for a socket: anyio and psycopg wait for theirs in this way."""
    for frame in reversed(frames):
        module, name = module_of(frame), frame.f_code.co_qualname
        if module.startswith("psycopg"):
            return True
        if module.startswith(ANYIO) and not name.startswith(ANYIO_EVENT):
            return True
        if not module.startswith(("asyncio", "anyio")):
            return False
    return False
