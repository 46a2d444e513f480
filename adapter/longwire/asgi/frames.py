"""The frames of a suspended task, and what a log line says of them."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import os
import sys
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_Task = asyncio.Task[Any]
_Suspended = CoroutineType, GeneratorType, AsyncGeneratorType

# The folders of packages that were installed, and where the standard library lies.
_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD = os.path.dirname(os.__file__) + os.sep
# What is said of a task without any code of the app.
NOWHERE = "unknown"
# A log line names no more tasks than this.
_MOST_NAMED = 20


def describe(tasks: Iterable[_Task]) -> str:
    """Name tasks and where each waits, for a log line: the first few of many."""
    every = list(tasks)
    named = sorted(f"{task.get_name()} in {place(task)}" for task in every[:_MOST_NAMED])
    if len(every) > _MOST_NAMED:
        named.append(f"and {len(every) - _MOST_NAMED} more")
    return "; ".join(named)


def places(tasks: Iterable[_Task]) -> frozenset[str]:
    """Return where these tasks wait, or a few of many."""
    return frozenset(place(task) for task in itertools.islice(tasks, _MOST_NAMED))


def place(task: _Task) -> str:
    """Name the innermost frame that its author can change: of the app, or else of a library."""
    frames = [one for one in frames_of(task) if _is_foreign(one)]
    own = [one for one in frames if not _is_installed(one)] or frames
    return _named(own[-1]) if own else NOWHERE


def is_inside(task: _Task, where: tuple[str, str]) -> bool:
    """Tell whether a task is in a function, given by its module and its qualified name."""
    return any((module_of(one), one.f_code.co_qualname) == where for one in frames_of(task))


def caller_place() -> str:
    """Name the frame of the app, or else of a library, that calls now."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and not _is_foreign(frame):
        frame = frame.f_back
    first, own = frame, frame
    while own is not None and _is_foreign(own) and _is_installed(own):
        own = own.f_back
    if own is None or not _is_foreign(own):  # whoever runs the event loop has not called
        own = first
    return NOWHERE if own is None else _named(own)


def _named(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"


def _is_foreign(frame: FrameType) -> bool:
    return not module_of(frame).startswith(("asyncio", "longwire"))


def _is_installed(frame: FrameType) -> bool:
    return is_installed(frame.f_code.co_filename)


@functools.lru_cache(4096)
def is_installed(path: str) -> bool:
    """Tell whether a file is of the standard library, or of a package that was installed."""
    return path.startswith(_STANDARD) or not _INSTALLED.isdisjoint(path.split(os.sep))


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


def module_of(frame: FrameType) -> str:
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
