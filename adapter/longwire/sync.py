"""`Connections` for synchronous code: each call waits for what an event loop does."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from longwire.exceptions import EventLoopError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from longwire.connections import Connections
    from longwire.fanout import SendResult
    from longwire.management import ConnectionInfo

T = TypeVar("T")

_loops: dict[tuple[int, str], asyncio.AbstractEventLoop] = {}
_starting = threading.Lock()


class SyncConnections:
    """The methods of `Connections`, to be called without `await`; see there.

    Each may also raise `EventLoopError`: it was called on the event loop that would have to do the
    work, which cannot wait for itself.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def send(self, target: object, data: object) -> None:
        self._wait(lambda: self._connections.send(target, data), target)

    def close(self, target: object) -> None:
        self._wait(lambda: self._connections.close(target), target)

    def info(self, target: object) -> ConnectionInfo:
        return self._wait(lambda: self._connections.info(target), target)

    def group_add(self, group: str, target: object) -> None:
        self._wait(lambda: self._connections.group_add(group, target), target)

    def group_discard(self, group: str, target: object) -> None:
        self._wait(lambda: self._connections.group_discard(group, target), target)

    def groups(self, target: object) -> tuple[str, ...]:
        return self._wait(lambda: self._connections.groups(target), target)

    def group_members(self, group: str) -> Iterator[str]:
        members = self._connections.group_members(group)
        while (member := self._wait(lambda: _next(members))) is not None:
            yield member

    def group_send(self, group: str, data: object, *, exclude: Iterable[object] = ()) -> SendResult:
        return self._wait(lambda: self._connections.group_send(group, data, exclude=exclude))

    def broadcast(self, data: object, *, exclude: Iterable[object] = ()) -> SendResult:
        return self._wait(lambda: self._connections.broadcast(data, exclude=exclude))

    def aclose(self) -> None:
        """Let go of what was opened."""
        run(self._connections.aclose, None)

    def _wait(self, work: Callable[[], Coroutine[Any, Any, T]], target: object = None) -> T:
        return run(work, self._connections._loop(target))


def run(work: Callable[[], Coroutine[Any, Any, T]], loop: asyncio.AbstractEventLoop | None) -> T:
    """Wait for work on an event loop that runs in another thread; None: on one of our own.

    Raises:
        EventLoopError: it is the one that is running here.
    """
    home = loop if loop is not None and loop.is_running() else own_loop()
    if running_loop() is home:
        raise EventLoopError(
            "this event loop would have to do the work and cannot wait for itself: leave `.sync` "
            "out and use await, or call from a thread (await asyncio.to_thread(...))"
        )
    return asyncio.run_coroutine_threadsafe(work(), home).result()


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


async def _next(members: Any) -> str | None:
    return await anext(members, None)


def is_own_loop(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether `own_loop` has made it."""
    return loop in tuple(_loops.values())


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread; None when there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
