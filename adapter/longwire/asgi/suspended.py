"""What a suspended task waits for, read from its frames.

A step of a run is over when the app waits for the client and nothing else of the run can move by
itself. The second half needs an answer to "could this task go on without the client?": a task is
*quiet* when only another task of the same run can wake it. All that is not known to be quiet counts
as busy: a socket, a timer, a thread, a lock that somebody else may hold.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
from collections import deque
from types import (
    AsyncGeneratorType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.asgi import tasks as owned

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

_Task = asyncio.Task[Any]
_Suspended = CoroutineType, GeneratorType, AsyncGeneratorType

# All that is read here of asyncio and anyio without being documented. It differs between versions
# of Python, event loops and kinds of tasks, so each of these has a test, and wherever one is
# missing or a frame looks different, a task counts as busy: its step takes as long as it may
# linger, and nothing is lost.

# The future that will wake a task: in C tasks and Python ones.
FUT_WAITER = "_fut_waiter"
# The futures that an `asyncio.gather` waits for.
CHILDREN = "_children"
# The timers of an event loop, the context in which one was set, and what it calls with what.
SCHEDULED = "_scheduled"
CONTEXT = "_context"
CALLBACK = "_callback"
ARGS = "_args"
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

# How far the search for such an object goes from the variables of another task. It is found within
# a few steps when that task is meant to use it; everything is connected to everything further out.
_SEARCH_STEPS = 8
_SEARCH_OBJECTS = 20_000
_SEARCH_OBJECTS_PER_TASK = 100
_LARGEST_WHOLE = 10_000
_OPAQUE = type, ModuleType, asyncio.AbstractEventLoop
_CONTAINERS: tuple[Any, ...] = list, tuple, dict, set, frozenset, deque

# Steps of this work between two turns of the event loop: a few milliseconds.
_STEPS_AT_ONCE = 1000
_STEPS_PER_TASK = 5

# A log line names no more tasks than this.
_MOST_NAMED = 20

# With more timers than this on an event loop, they count as unknown.
_MOST_TIMERS = 20_000
# So few are looked through faster than it takes to sort them by run.
_FEW_TIMERS = 16


class Waits(NamedTuple):
    """What tasks of a run wait for."""

    busy: list[_Task]  # these: something that may come by itself
    asleep: set[_Task]  # these, of the busy ones: the end of an `asyncio.sleep`
    through: list[_Task]  # these: by name, one of the tasks that wait for the client


class Turns:
    """Lets the event loop turn between the steps of a long piece of work."""

    def __init__(self) -> None:
        self.taken = False  # others have run meanwhile
        self._left = _STEPS_AT_ONCE

    async def step(self, steps: int = 1) -> None:
        """Count steps; wait for a turn of the loop when they have become many."""
        self._left -= steps
        if self._left < 0:
            self._left = _STEPS_AT_ONCE
            self.taken = True
            await asyncio.sleep(0)


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


def places(tasks: Iterable[_Task]) -> dict[_Task, object]:
    """Note where each task is: none has moved while it waits for the same future."""
    return {task: getattr(task, FUT_WAITER, None) for task in tasks}


def awaited_future(task: _Task) -> asyncio.Future[Any] | None:
    """Return the future that will wake the task; None when it is running or about to."""
    return getattr(task, FUT_WAITER, None)


async def judge(
    tasks: Iterable[_Task], run: Collection[_Task], clients: Collection[_Task], turns: Turns
) -> Waits:
    """Tell what these tasks of a run wait for; `clients` are those that wait for the client.

    A task is quiet, and not busy, when only another task of the run can wake it.
    """
    quiet: dict[_Task, bool] = {}
    asleep: set[_Task] = set()
    through: list[_Task] = []
    meeting: dict[_Task, object] = {}  # who waits for somebody who knows this object
    joined: dict[object, tuple[bool, bool]] = {}  # several may wait for one gather
    for task in tasks:
        await turns.step(_STEPS_PER_TASK)
        quiet[task] = False
        frames = list(frames_of(task))
        if not frames or is_runnable(task):
            continue
        innermost = frames[-1]
        future = awaited_future(task)
        if future not in joined:
            awaited = awaited_by(task, innermost)
            await turns.step(len(awaited))
            joined[future] = (
                all(one.done() or one in run for one in awaited),
                any(one in clients for one in awaited),
            )
        quiet[task], names_client = joined[future]
        if names_client:
            through.append(task)
        where = _module(innermost), innermost.f_code.co_qualname
        if where in JOINING or _joins_by_completion(frames):
            quiet[task] = True
        elif where in MEETING:
            quiet[task] = False
            shared = innermost.f_locals.get("self")
            if shared is not None and not _is_io(frames):
                meeting[task] = shared
        elif where == ("asyncio.tasks", SLEEP):
            asleep.add(task)
    for task in await _known(meeting, run, turns) if meeting else ():
        quiet[task] = True
    return Waits([task for task, is_quiet in quiet.items() if not is_quiet], asleep, through)


def _joins_by_completion(frames: list[FrameType]) -> bool:
    """Tell whether this is `asyncio.as_completed`, which waits for its tasks behind a queue."""
    return any(
        frame.f_code.co_name == AS_COMPLETED and _module(frame) == "asyncio.tasks"
        for frame in frames[-2:]
    )


def timers(loop: asyncio.AbstractEventLoop, run: owned.TaskSet) -> list[asyncio.TimerHandle] | None:
    """List the timers that a run has set, directly or by `sleep`, `timeout` and their like.

    None where the event loop does not show them, as uvloop's does not, and where there are many.
    """
    scheduled = getattr(loop, SCHEDULED, None)
    if not isinstance(scheduled, list) or len(scheduled) > _MOST_TIMERS:
        return None
    if len(scheduled) <= _FEW_TIMERS:
        by_run = _sort_by_run(scheduled)
    else:
        known = _sorted.get(loop)
        if known is None:
            loop.call_soon(_sorted.pop, loop, None)
        if known is None or not known.is_current(scheduled):
            known = _Sorted(_sort_by_run(scheduled), scheduled, len(scheduled), scheduled[0])
            _sorted[loop] = known
        by_run = known.by_run
    if by_run is None:
        return None
    return [timer for timer in by_run.get(id(run), ()) if not timer.cancelled()]


def set_timer(
    loop: asyncio.AbstractEventLoop, when: float, callback: Callable[[], object]
) -> asyncio.TimerHandle:
    """Set a timer that belongs to no run."""
    known = _sorted.get(loop)
    keeps = known is not None and known.is_current(known.scheduled)
    timer = loop.call_at(when, callback, context=_ownerless)
    if known is not None and keeps:  # the next run need not sort them anew
        scheduled = known.scheduled
        _sorted[loop] = known._replace(length=len(scheduled), first=scheduled[0])
    return timer


class _Sorted(NamedTuple):
    """The timers of an event loop by the id of their run, as they were in this turn of the loop.

    Many runs may look in one turn.
    """

    by_run: dict[int, list[asyncio.TimerHandle]] | None
    scheduled: list[asyncio.TimerHandle]  # the loop's own heap: only its first is ever taken out,
    length: int  # so one of this length
    first: asyncio.TimerHandle  # with this at its head has the same timers as it had

    def is_current(self, scheduled: list[asyncio.TimerHandle]) -> bool:
        return (
            scheduled is self.scheduled
            and len(scheduled) == self.length
            and scheduled[0] is self.first
        )


_sorted: dict[asyncio.AbstractEventLoop, _Sorted] = {}
_ownerless = contextvars.Context()


def _sort_by_run(
    scheduled: list[asyncio.TimerHandle],
) -> dict[int, list[asyncio.TimerHandle]] | None:
    by_run: dict[int, list[asyncio.TimerHandle]] = {}
    for timer in scheduled:
        context = getattr(timer, CONTEXT, None)
        if context is None:
            return None
        if (run := owned.owner(context)) is not None:
            by_run.setdefault(id(run), []).append(timer)
    return by_run


def limited(timer: asyncio.TimerHandle) -> tuple[list[_Task], list[asyncio.Future[Any]]]:
    """List the tasks that a timer is a time limit of, and the futures that it ends.

    `asyncio.timeout` and anyio's scopes know their task; `asyncio.wait`, and before Python 3.12
    `wait_for`, give their timer the future that the task waits for, and so does `sleep`.
    """
    bound = getattr(getattr(timer, CALLBACK, None), "__self__", None)
    stops = [getattr(bound, name, None) for name in TIMEOUT_OF]
    tasks: list[Any] = [task for task in stops if asyncio.isfuture(task)]
    return tasks, [one for one in (getattr(timer, ARGS, None) or ()) if asyncio.isfuture(one)]


def describe(tasks: Iterable[_Task]) -> str:
    """Name tasks and where each waits, for a log line: the first few of many."""
    every = list(tasks)
    places = sorted(f"{task.get_name()} in {_place(task)}" for task in every[:_MOST_NAMED])
    if len(every) > _MOST_NAMED:
        places.append(f"and {len(every) - _MOST_NAMED} more")
    return "; ".join(places)


def _place(task: _Task) -> str:
    """Name the innermost frame outside asyncio: the line its author can change."""
    for frame in reversed(list(frames_of(task))):
        if not _module(frame).startswith(("asyncio", "longwire")):
            code = frame.f_code
            return f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})"
    return "unknown"


def frames_of(task: _Task) -> Iterator[FrameType]:
    """Walk the frames of a suspended task, outermost first."""
    awaitable: object = task.get_coro()
    while isinstance(awaitable := _unwrap(awaitable), _Suspended):
        match awaitable:
            case CoroutineType():
                frame, awaitable = awaitable.cr_frame, awaitable.cr_await
            case GeneratorType():
                frame, awaitable = awaitable.gi_frame, awaitable.gi_yieldfrom
            case _:
                frame, awaitable = awaitable.ag_frame, awaitable.ag_await
        if frame is not None:
            yield frame


def sleeps(frames: list[FrameType]) -> bool:
    """Tell whether a task with these frames is inside `asyncio.sleep`."""
    return bool(frames) and (_module(frames[-1]), frames[-1].f_code.co_qualname) == (
        "asyncio.tasks",
        SLEEP,
    )


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _unwrap(awaitable: object) -> object:
    """See through the iterators that `await` and `async for` put around a coroutine.

    Those have no attribute for what they wrap, but the garbage collector follows it.
    """
    for _ in range(3):  # anext() with a default wraps an iterator that wraps the generator
        if isinstance(awaitable, _Suspended) or asyncio.isfuture(awaitable) or awaitable is None:
            break
        inner = gc.get_referents(awaitable)
        awaitable = next((o for o in inner if hasattr(o, "send") or hasattr(o, "asend")), None)
    return awaitable


def awaited_by(task: _Task, frame: FrameType) -> Collection[asyncio.Future[Any]]:
    """List the futures that must move first; the awaited one itself when nothing more is known."""
    future = awaited_future(task)
    if isinstance(children := getattr(future, CHILDREN, None), list):
        return children
    in_tasks = _module(frame) == "asyncio.tasks"
    variable = WAITING_VARIABLE.get(frame.f_code.co_name) if in_tasks else None
    named = frame.f_locals.get(variable) if variable else None
    if isinstance(named, (set, frozenset)):
        return named
    return [one for one in (named, future) if asyncio.isfuture(one)][:1]


def _is_io(frames: list[FrameType]) -> bool:
    """Tell whether an event stands for a socket: anyio and psycopg wait for theirs in this way."""
    for frame in reversed(frames):
        module, name = _module(frame), frame.f_code.co_qualname
        if module.startswith("psycopg"):
            return True
        if module.startswith(ANYIO) and not name.startswith(ANYIO_EVENT):
            return True
        if not module.startswith(("asyncio", "anyio")):
            return False
    return False


async def _known(wanted: dict[_Task, object], run: Collection[_Task], turns: Turns) -> set[_Task]:
    """Find the tasks to whose wanted object a variable of another task leads.

    One search from the variables of all tasks: it notes by which task an object is reached first,
    and whether by others, too. So it comes to each object twice at most.
    """
    seekers: dict[int, set[_Task]] = {}
    for task, one in wanted.items():
        seekers.setdefault(id(one), set()).add(task)
    found: set[_Task] = set()
    unseen = object()
    reached: dict[int, object] = {}  # by this task; None: by several
    left = _SEARCH_OBJECTS + _SEARCH_OBJECTS_PER_TASK * len(run)
    # Lists side by side: pairs by the thousand would have the garbage collector run.
    level, finders = await _variables(run, turns)
    for _ in range(_SEARCH_STEPS):
        fresh: list[object] = []
        fresh_of: list[_Task] = []
        for one, by in zip(level, finders, strict=True):
            key = id(one)
            first = reached.get(key, unseen)
            if first is by or first is None:
                continue
            reached[key] = by if first is unseen else None
            if key in seekers:
                found |= seekers[key] - {by}
                if len(found) == len(wanted):
                    return found
            fresh.append(one)
            fresh_of.append(by)
            if len(fresh) % _STEPS_AT_ONCE == 0:
                await turns.step(_STEPS_AT_ONCE)
        level, finders = await _expand(fresh, fresh_of, left, turns)
        left -= len(level)
    return found


async def _expand(
    level: list[object], finders: list[_Task], most: int, turns: Turns
) -> tuple[list[object], list[_Task]]:
    """List what these objects hold, up to so many, and for each by which task it is found."""
    parts: list[object] = []
    tasks: list[_Task] = []
    steps = 0
    for one, by in zip(level, finders, strict=True):
        if len(parts) >= most:
            break
        kind: Any = type(one)
        parts += [part for part in way_into(kind)(one) if gc.is_tracked(part)]
        steps += 2 + len(parts) - len(tasks)
        tasks += [by] * (len(parts) - len(tasks))
        if steps > _STEPS_AT_ONCE // 10:
            await turns.step(steps)
            steps = 0
    return parts, tasks


async def _variables(run: Iterable[_Task], turns: Turns) -> tuple[list[object], list[_Task]]:
    """List the variables of tasks, and for each of them its task."""
    values: list[object] = []
    tasks: list[_Task] = []
    for task in run:
        for frame in frames_of(task):
            values += frame.f_locals.values()
        tasks += [task] * (len(values) - len(tasks))
        await turns.step(_STEPS_PER_TASK)
    return values, tasks


@functools.lru_cache(256)
def way_into(kind: type) -> Callable[[Any], Iterable[object]]:
    """Return what lists the parts of objects of a type; no code of these objects runs."""
    # The second is how `asyncio.isfuture` tells the type of a future, of whatever kind.
    if issubclass(kind, _OPAQUE) or hasattr(kind, "_asyncio_future_blocking"):
        return lambda whole: ()
    if kind is FunctionType:
        return lambda whole: whole.__closure__ or ()
    for container in _CONTAINERS:
        if issubclass(kind, container):
            size = container.__len__
            return lambda whole: gc.get_referents(whole) if size(whole) <= _LARGEST_WHOLE else ()
    return gc.get_referents
