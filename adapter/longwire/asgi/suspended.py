"""What a suspended task waits for, read from its frames.

A step of a run is over when the app waits for the client and nothing else of the run can move by
itself. The second half needs an answer to "could this task go on without the client?": a task is
*quiet* when only another task of the same run can wake it. All that is not known to be quiet counts
as busy: a socket, a timer, a thread, a lock that somebody else may hold.
"""

from __future__ import annotations

import asyncio
import gc
from types import (
    AsyncGeneratorType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any

from longwire.asgi import tasks as owned

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

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
_SEARCH_OBJECTS = 3000
_OPAQUE = type, ModuleType, asyncio.AbstractEventLoop


def is_runnable(task: _Task) -> bool:
    """Tell whether the event loop will step the task without anything further happening."""
    future = awaited_future(task)
    return not task.done() and (future is None or future.done())


def awaited_future(task: _Task) -> asyncio.Future[Any] | None:
    """Return the future that will wake the task; None when it is running or about to."""
    return getattr(task, FUT_WAITER, None)


def is_quiet(task: _Task, run: Collection[_Task]) -> bool:
    """Tell whether only another task of the run can wake this one."""
    frames = list(_frames(task))
    if not frames or is_runnable(task):
        return False
    innermost = frames[-1]
    where = _module(innermost), innermost.f_code.co_qualname
    if where in JOINING or _joins_by_completion(frames):
        return True
    if where in MEETING:
        shared = innermost.f_locals.get("self")
        others = [one for one in run if one is not task]
        return shared is not None and not _is_io(frames) and _is_known(shared, others)
    return all(one.done() or one in run for one in _awaited(task, innermost))


def _joins_by_completion(frames: list[FrameType]) -> bool:
    """Tell whether this is `asyncio.as_completed`, which waits for its tasks behind a queue."""
    return any(
        frame.f_code.co_name == AS_COMPLETED and _module(frame) == "asyncio.tasks"
        for frame in frames[-2:]
    )


def awaits_any(task: _Task, tasks: Collection[_Task]) -> bool:
    """Tell whether a task waits, by name, for one of these tasks."""
    frames = list(_frames(task))
    if not frames or is_runnable(task):
        return False
    return any(one in tasks for one in _awaited(task, frames[-1]))


def is_asleep(task: _Task, timers: Iterable[asyncio.TimerHandle]) -> bool:
    """Tell whether nothing but one of these timers can wake a task."""
    frames = list(_frames(task))
    if not frames or _module(frames[-1]) != "asyncio.tasks":
        return False
    asleep = frames[-1].f_code.co_name == SLEEP
    return asleep and any(bounds(timer, [task]) for timer in timers)


def timers(loop: asyncio.AbstractEventLoop, run: owned.TaskSet) -> list[asyncio.TimerHandle] | None:
    """List the timers that a run has set, directly or by `sleep`, `timeout` and their like.

    None where the event loop does not show them, as uvloop's does not.
    """
    scheduled = getattr(loop, SCHEDULED, None)
    if not isinstance(scheduled, list) or not all(hasattr(timer, CONTEXT) for timer in scheduled):
        return None
    return [
        timer
        for timer in scheduled
        if not timer.cancelled() and owned.owner(getattr(timer, CONTEXT)) is run
    ]


def bounds(timer: asyncio.TimerHandle, tasks: Iterable[_Task]) -> bool:
    """Tell whether a timer is the time limit of what one of these tasks waits for.

    `asyncio.timeout` and anyio's scopes know their task; `asyncio.wait`, and before Python 3.12
    `wait_for`, give their timer the future that the task waits for.
    """
    bound = getattr(getattr(timer, CALLBACK, None), "__self__", None)
    limited = [getattr(bound, name, None) for name in TIMEOUT_OF]
    futures = [
        argument for argument in (getattr(timer, ARGS, None) or ()) if asyncio.isfuture(argument)
    ]
    return any(
        any(task is one for one in limited) or any(awaited_future(task) is one for one in futures)
        for task in tasks
    )


def describe(tasks: Iterable[_Task]) -> str:
    """Name tasks and where each waits, for a log line."""
    return "; ".join(sorted(f"{task.get_name()} in {_place(task)}" for task in tasks))


def _place(task: _Task) -> str:
    """Name the innermost frame outside asyncio: the line its author can change."""
    for frame in reversed(list(_frames(task))):
        if not _module(frame).startswith(("asyncio", "longwire")):
            code = frame.f_code
            return f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})"
    return "unknown"


def _frames(task: _Task) -> Iterator[FrameType]:
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


def _awaited(task: _Task, frame: FrameType) -> Collection[asyncio.Future[Any]]:
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


def _is_known(wanted: object, tasks: Iterable[_Task]) -> bool:
    """Tell whether a variable of one of these tasks leads to this object."""
    level: list[object] = [
        value for task in tasks for frame in _frames(task) for value in frame.f_locals.values()
    ]
    seen: set[int] = set()
    for _ in range(_SEARCH_STEPS):
        following: list[object] = []
        for one in level:
            if one is wanted:
                return True
            if id(one) not in seen and len(seen) < _SEARCH_OBJECTS:
                seen.add(id(one))
                following.extend(_parts(one))
        level = following
    return False


def _parts(whole: object) -> Iterable[object]:
    """List what an object holds, but for what leads anywhere; no code of the object runs."""
    kind = type(whole)
    if issubclass(kind, _OPAQUE) or asyncio.isfuture(whole):
        return ()
    if kind is FunctionType:
        return getattr(whole, "__closure__", None) or ()
    return gc.get_referents(whole)
