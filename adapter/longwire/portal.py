"""From threads to event loops: where synchronous code waits for what is asynchronous."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from longwire.exceptions import EventLoopError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

# Seconds after which work that keeps its own deadline is surely not being done.
GRACE = 5.0

_loops: dict[tuple[int, str], asyncio.AbstractEventLoop] = {}
_starting = threading.Lock()


def run(
    work: Callable[[], Coroutine[Any, Any, T]],
    loop: asyncio.AbstractEventLoop | None,
    seconds: float | None = None,
) -> T:
    """Wait for work on an event loop that runs in another thread; None: on one of our own.

    Args:
        seconds: in which the work is done if its loop runs; None for any time.

    Raises:
        EventLoopError: it is the one that is running here, or it has stopped meanwhile.
    """
    home = loop if loop is not None and loop.is_running() else own_loop()
    if running_loop() is home:
        raise EventLoopError(
            "this event loop would have to do the work and cannot wait for itself: leave `.sync` "
            "out and use await, or call from a thread (await asyncio.to_thread(...))"
        )
    future = asyncio.run_coroutine_threadsafe(work(), home)
    try:
        return future.result(None if seconds is None else seconds + GRACE)
    except TimeoutError:
        if future.done():
            raise
        future.cancel()
        raise EventLoopError(
            "the event loop that would have to do the work has stopped: its Lambda event is over, "
            "as it may be for a thread that no task waits for"
        ) from None


def own_loop(name: str = "longwire-sync") -> asyncio.AbstractEventLoop:
    """Return an event loop that runs in a thread of this name, for as long as the process lives."""
    key = os.getpid(), name  # a fork has no such thread any more
    with _starting:
        if key not in _loops:
            loop, running = asyncio.new_event_loop(), threading.Event()
            loop.call_soon(running.set)
            threading.Thread(target=loop.run_forever, name=name, daemon=True).start()
            running.wait()
            _loops[key] = loop
        return _loops[key]


def is_own_loop(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether `own_loop` has made it."""
    return loop in tuple(_loops.values())


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread; None when there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
