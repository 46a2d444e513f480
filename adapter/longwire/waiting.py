"""What a suspended task waits for, read from its frames.

A step of a run is over when the app waits for the client and nothing else of the run can move by
itself. The second half needs an answer to "could this task go on without the client?": a task is
*quiet* when only another task of the same run can wake it (a queue, an event, a lock, a task). All
that is not known to be quiet counts as busy: a socket, a timer, a thread.
"""

from __future__ import annotations

import asyncio
import gc
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_Task = asyncio.Task[Any]
_Suspended = CoroutineType, GeneratorType, AsyncGeneratorType

# Modules whose every wait is for another task, and single functions of mixed modules. What anyio
# offers is built on the first two, but for the end of its task group.
_QUIET_MODULES = frozenset({"asyncio.queues", "asyncio.locks", "asyncio.taskgroups"})
_QUIET_FUNCTIONS = frozenset({("anyio._backends._asyncio", "TaskGroup.__aexit__")})

# Functions of asyncio that wait for the futures in one of their own variables.
_WAITING_VARIABLE = {"wait_for": "fut", "_wait": "fs"}


class Waiting(NamedTuple):
    """Where a task is suspended, and on which future."""

    frame: FrameType | None
    future: asyncio.Future[Any] | None

    def __str__(self) -> str:
        if self.frame is None:
            return "unknown"
        code = self.frame.f_code
        return f"{code.co_qualname} ({code.co_filename}:{self.frame.f_lineno})"


def is_runnable(task: _Task) -> bool:
    """Tell whether the event loop will step the task without anything further happening."""
    future = _future(task)
    return not task.done() and (future is None or future.done())


def is_quiet(task: _Task, run: Collection[_Task]) -> bool:
    """Tell whether only another task of the run can wake this one."""
    waiting = waits_for(task)
    if waiting.frame is None or is_runnable(task):
        return False
    module = waiting.frame.f_globals.get("__name__", "")
    function = waiting.frame.f_code.co_qualname
    if module in _QUIET_MODULES or (module, function) in _QUIET_FUNCTIONS:
        return True
    return all(future.done() or future in run for future in _awaited(waiting, module, function))


def waits_for(task: _Task) -> Waiting:
    """Find the innermost frame in which a suspended task waits."""
    awaitable: object = task.get_coro()
    frame: FrameType | None = None
    while isinstance(awaitable := _unwrap(awaitable), _Suspended):
        frame, awaitable = _step(awaitable)
    return Waiting(frame, _future(task))


def describe(tasks: Iterable[_Task]) -> str:
    """Name tasks and where each waits, for a log line."""
    return "; ".join(sorted(f"{task.get_name()} in {_place(task)}" for task in tasks))


def _place(task: _Task) -> str:
    """Name the innermost frame outside asyncio: the line its author can change."""
    awaitable: object = task.get_coro()
    shown = Waiting(None, None)
    while isinstance(awaitable := _unwrap(awaitable), _Suspended):
        frame, awaitable = _step(awaitable)
        if frame and not frame.f_globals.get("__name__", "").startswith(("asyncio", "longwire")):
            shown = Waiting(frame, None)
    return str(shown)


def _future(task: _Task) -> asyncio.Future[Any] | None:
    # No public name exists; it has been the same in CPython's C and Python tasks since 3.4.
    return getattr(task, "_fut_waiter", None)


def _step(suspended: Any) -> tuple[FrameType | None, object]:
    """Return the frame of a suspended coroutine or generator and what it awaits in turn."""
    match suspended:
        case CoroutineType():
            return suspended.cr_frame, suspended.cr_await
        case GeneratorType():
            return suspended.gi_frame, suspended.gi_yieldfrom
        case _:
            return suspended.ag_frame, suspended.ag_await


def _unwrap(awaitable: object) -> object:
    """See through the iterators that `await` and `async for` put around a coroutine.

    Those have no attribute for what they wrap, but the garbage collector follows it.
    """
    for _ in range(3):  # anext() with a default wraps an iterator that wraps the generator
        if isinstance(awaitable, (*_Suspended, asyncio.Future)) or awaitable is None:
            break
        inner = gc.get_referents(awaitable)
        awaitable = next(
            (one for one in inner if hasattr(one, "send") or hasattr(one, "asend")), None
        )
    return awaitable


def _awaited(waiting: Waiting, module: str, function: str) -> Collection[asyncio.Future[Any]]:
    """List the futures that must move first; the awaited one itself when nothing more is known."""
    frame, future = waiting
    if frame is None or future is None:
        return ()
    if isinstance(children := getattr(future, "_children", None), list):  # asyncio.gather
        return children
    variable = _WAITING_VARIABLE.get(function) if module == "asyncio.tasks" else None
    if variable is None:
        return (future,)
    named = frame.f_locals.get(variable)
    return named if isinstance(named, (set, frozenset)) else (named or future,)
