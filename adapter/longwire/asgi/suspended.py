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

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_Task = asyncio.Task[Any]
_Suspended = CoroutineType, GeneratorType, AsyncGeneratorType

# Where a task waits for tasks that are its own children, or that it names.
_JOINING = {
    ("asyncio.taskgroups", "TaskGroup.__aexit__"),
    ("asyncio.taskgroups", "TaskGroup._aexit"),
    ("anyio._backends._asyncio", "TaskGroup.__aexit__"),
}
# Where a task waits for somebody who knows the same object. Not locks and semaphores: whoever holds
# one may belong to another run.
_MEETING = {
    ("asyncio.queues", "Queue.get"),
    ("asyncio.queues", "Queue.put"),
    ("asyncio.queues", "Queue.join"),
    ("asyncio.locks", "Event.wait"),
    ("asyncio.locks", "Condition.wait"),
}
# Functions of asyncio that wait for the futures in one of their own variables.
_WAITING_VARIABLE = {"wait_for": "fut", "_wait": "fs"}

# How far the search for such an object goes from the variables of another task. It is found within
# a few steps when that task is meant to use it; everything is connected to everything further out.
_SEARCH_STEPS = 8
_SEARCH_OBJECTS = 3000
_OPAQUE = type, ModuleType, asyncio.AbstractEventLoop, asyncio.Future


def is_runnable(task: _Task) -> bool:
    """Tell whether the event loop will step the task without anything further happening."""
    future = awaited_future(task)
    return not task.done() and (future is None or future.done())


def awaited_future(task: _Task) -> asyncio.Future[Any] | None:
    """Return the future that will wake the task; None when it is running or about to."""
    # No public name exists; it has been the same in CPython's C and Python tasks since 3.4.
    return getattr(task, "_fut_waiter", None)


def is_quiet(task: _Task, run: Collection[_Task]) -> bool:
    """Tell whether only another task of the run can wake this one."""
    frames = list(_frames(task))
    if not frames or is_runnable(task):
        return False
    innermost = frames[-1]
    module = innermost.f_globals.get("__name__", "")
    where = module, innermost.f_code.co_qualname
    if where in _JOINING or _joins_by_completion(frames):
        return True
    if where in _MEETING:
        others = [one for one in run if one is not task]
        return not _is_io(frames) and _is_known(innermost.f_locals.get("self"), others)
    return all(one.done() or one in run for one in _awaited(task, innermost, module))


def _joins_by_completion(frames: list[FrameType]) -> bool:
    """Tell whether this is `asyncio.as_completed`, which waits for its tasks behind a queue."""
    return any(
        frame.f_code.co_name == "_wait_for_one" and frame.f_globals["__name__"] == "asyncio.tasks"
        for frame in frames[-2:]
    )


def awaits_any(task: _Task, tasks: Collection[_Task]) -> bool:
    """Tell whether a task waits, by name, for one of these tasks."""
    frames = list(_frames(task))
    if not frames or is_runnable(task):
        return False
    module = frames[-1].f_globals.get("__name__", "")
    return any(one in tasks for one in _awaited(task, frames[-1], module))


def is_asleep(task: _Task, timers: Iterable[asyncio.TimerHandle]) -> bool:
    """Tell whether nothing but one of these timers can wake a task."""
    frames = list(_frames(task))
    if not frames or frames[-1].f_globals.get("__name__") != "asyncio.tasks":
        return False
    asleep = frames[-1].f_code.co_name == "sleep"
    return asleep and any(bounds(timer, [task]) for timer in timers)


def bounds(timer: asyncio.TimerHandle, tasks: Iterable[_Task]) -> bool:
    """Tell whether a timer is the time limit of what one of these tasks waits for.

    `asyncio.timeout` and anyio's scopes know their task; `asyncio.wait`, and before Python 3.12
    `wait_for`, give their timer the future that the task waits for.
    """
    handle: Any = timer  # its fields have no public names; repr() shows them
    bound = getattr(handle._callback, "__self__", None)
    owner = getattr(bound, "_task", None) or getattr(bound, "_host_task", None)
    futures = [argument for argument in handle._args if asyncio.isfuture(argument)]
    return any(
        task is owner or any(awaited_future(task) is future for future in futures) for task in tasks
    )


def describe(tasks: Iterable[_Task]) -> str:
    """Name tasks and where each waits, for a log line."""
    return "; ".join(sorted(f"{task.get_name()} in {_place(task)}" for task in tasks))


def _place(task: _Task) -> str:
    """Name the innermost frame outside asyncio: the line its author can change."""
    for frame in reversed(list(_frames(task))):
        if not frame.f_globals.get("__name__", "").startswith(("asyncio", "longwire")):
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


def _unwrap(awaitable: object) -> object:
    """See through the iterators that `await` and `async for` put around a coroutine.

    Those have no attribute for what they wrap, but the garbage collector follows it.
    """
    for _ in range(3):  # anext() with a default wraps an iterator that wraps the generator
        if isinstance(awaitable, (*_Suspended, asyncio.Future)) or awaitable is None:
            break
        inner = gc.get_referents(awaitable)
        awaitable = next((o for o in inner if hasattr(o, "send") or hasattr(o, "asend")), None)
    return awaitable


def _awaited(task: _Task, frame: FrameType, module: str) -> Collection[asyncio.Future[Any]]:
    """List the futures that must move first; the awaited one itself when nothing more is known."""
    future = awaited_future(task)
    if isinstance(children := getattr(future, "_children", None), list):  # asyncio.gather
        return children
    variable = _WAITING_VARIABLE.get(frame.f_code.co_name) if module == "asyncio.tasks" else None
    named = frame.f_locals.get(variable) if variable else None
    if isinstance(named, (set, frozenset)):
        return named
    return [one for one in (named, future) if asyncio.isfuture(one)][:1]


def _is_io(frames: list[FrameType]) -> bool:
    """Tell whether an event stands for a socket: anyio and psycopg wait for theirs in this way."""
    for frame in reversed(frames):
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_qualname
        if module.startswith("psycopg"):
            return True
        if module == "anyio._backends._asyncio" and not name.startswith("Event."):
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
    if issubclass(kind, _OPAQUE):
        return ()
    if kind is FunctionType:
        return getattr(whole, "__closure__", None) or ()
    return gc.get_referents(whole)
