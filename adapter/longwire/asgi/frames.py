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
    from collections.abc import Iterable

_Task = asyncio.Task[Any]
_Suspended = CoroutineType, GeneratorType, AsyncGeneratorType
# Where asyncio has its futures in C, and the nameless type that they are awaited by.
_FUTURES = "_asyncio"

# The folders of packages that were installed, and where the standard library lies.
_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD = os.path.dirname(os.__file__) + os.sep
# Those who run an app, which have no part in what it does.
_OURS = {"asyncio", "longwire", "longwire_aws", "longwire_backends"}
# And what apps are made of: also where it lies beside them, as in a bundle for Lambda, or in a
# folder of its author's, as an editable install or a copy does.
_LIBRARIES = {
    *("longwire", "longwire_aws", "longwire_backends", "awslambdaric", "uvicorn", "hypercorn"),
    *("anyio", "asgiref", "ariadne", "blacksheep", "channels", "django", "engineio", "falcon"),
    *("fastapi", "fasthtml", "litestar", "ocpp", "opentelemetry", "pydantic", "quart", "sanic"),
    *("sentry_sdk", "socketio", "starlette", "strawberry", "websockets", "werkzeug"),
}
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
    frames = frames_of(task)
    others = [one for one in frames if not _is_ours(one)] or frames
    own = [one for one in others if not _is_library(one)] or others
    return _named(own[-1]) if own else "unknown"


def is_of_an_app(task: _Task) -> bool:
    """Tell whether any code of an app, or of a library, is at work in a task."""
    return not all(map(_is_ours, frames_of(task)))


def is_inside(task: _Task, where: tuple[str, str]) -> bool:
    """Tell whether a task is in a function, given by its module and its qualified name."""
    return any((module_of(one), one.f_code.co_qualname) == where for one in frames_of(task))


def caller_place() -> str:
    """Name the frame of the app, or else the outermost of a library, that calls now."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    outermost = frame
    while frame is not None and not _is_ours(frame):  # whoever runs the event loop does not call
        if not _is_library(frame):
            return _named(frame)
        outermost, frame = frame, frame.f_back
    return "unknown" if outermost is None else _named(outermost)


def _named(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"


def _is_ours(frame: FrameType) -> bool:
    return module_of(frame).partition(".")[0] in _OURS


def is_of_a_library(module: str, path: str) -> bool:
    """Tell whether code, by its module and its file, is not what an app's author has written."""
    return module.partition(".")[0] in _LIBRARIES or _is_installed(path)


def _is_library(frame: FrameType) -> bool:
    return is_of_a_library(module_of(frame), frame.f_code.co_filename)


@functools.lru_cache(4096)
def _is_installed(path: str) -> bool:
    return path.startswith(_STANDARD) or not _INSTALLED.isdisjoint(path.split(os.sep))


def frames_of(task: _Task) -> list[FrameType]:
    """Walk the frames of a suspended task, outermost first."""
    frames: list[FrameType | None] = []
    awaitable: object = task.get_coro()
    while True:
        if type(awaitable) is CoroutineType:  # nearly always, and nobody inherits from it
            frames.append(awaitable.cr_frame)
            awaitable = awaitable.cr_await
        elif isinstance(awaitable, GeneratorType):
            frames.append(awaitable.gi_frame)
            awaitable = awaitable.gi_yieldfrom
        elif isinstance(awaitable, AsyncGeneratorType):
            frames.append(awaitable.ag_frame)
            awaitable = awaitable.ag_await
        elif isinstance(inner := _unwrap(awaitable), _Suspended):
            awaitable = inner
        else:
            return [frame for frame in frames if frame is not None]


def module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _unwrap(awaitable: object) -> object:
    """See through the iterators that `await` and `async for` put around a coroutine.

    Those have no attribute for what they wrap, but the garbage collector follows it.
    """
    if type(awaitable).__module__ == _FUTURES:  # nearly always: what a task waits for
        return awaitable
    for _ in range(3):  # anext() with a default wraps an iterator that wraps the generator
        if isinstance(awaitable, _Suspended) or asyncio.isfuture(awaitable) or awaitable is None:
            break
        inner = gc.get_referents(awaitable)
        awaitable = next((o for o in inner if hasattr(o, "send") or hasattr(o, "asend")), None)
    return awaitable
