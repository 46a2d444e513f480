"""Work that must happen after the response has left.

What an app sends right after `accept` can only be posted once API Gateway has the response: a
connection does not exist inside its own `$connect`. Where the event loop goes on running after the
response (`await handler.handle(...)`, or on Lambda with the extension of `extension.py`), that work
is a task on it. Where it stops, there is no such place, and the greeting is stored instead.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Any

from longwire.asgi import frames
from longwire.observability.event import Observed
from longwire.observability.event import current as current_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    # Handles one event; given where its work goes on behind the response, and what observes it.
    Handle = Callable[["AfterResponse | None", Observed | None], Coroutine[Any, Any, Any]]

logger: logging.Logger = logging.getLogger("longwire")

# How long a response needs to leave where nothing tells, in seconds: a post before that would
# surely be refused.
RESPONSE_TIME = 0.001


class Deferred:
    """The tasks of a handler that outlive the events they belong to.

    `went_idle` is called, on their loop, when the last one that is going on has ended.
    """

    def __init__(self) -> None:
        self.went_idle: Callable[[], object] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is going on; may be asked from any thread."""
        return not self._tasks

    def describe(self) -> str:
        """Name what is still going on, and where it waits; may be asked from any thread."""
        return frames.describe(tuple(self._tasks))

    async def wait(self) -> None:
        """Wait for all that is still going on."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
            await asyncio.sleep(0)  # their done-callbacks take them out

    async def finish(self) -> None:
        """Cancel what is still going on and wait until it has cleaned up."""
        for task in self._tasks:
            task.cancel()
        await self.wait()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start `work` for the event that is handled here; what it raises is logged."""
        observed = current_event.get()
        if observed is not None:
            observed.keep()
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._done, observed))

    def _done(self, observed: Observed | None, task: asyncio.Task[None]) -> None:
        try:
            self._tell(observed, task)
        finally:  # last: when nothing is left, the process may be frozen
            self._tasks.discard(task)
            if not self._tasks:
                self.went_idle()

    def _tell(self, observed: Observed | None, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("%s failed after its response: %s", task.get_name(), error, exc_info=error)
        if observed is not None:
            if error is not None:
                observed.ending.note("failed", error)
            observed.release()


async def _soon(seconds: float) -> bool:
    await asyncio.sleep(RESPONSE_TIME)
    return True


class AfterResponse:
    """What one event goes on with once its response has left.

    `response_left` waits for that; it is False if the response surely has not left after so many
    seconds, which only what `sees` can tell.
    """

    def __init__(
        self,
        deferred: Deferred,
        response_left: Callable[[float], Awaitable[bool]] = _soon,
        *,
        sees: Callable[[], bool] = lambda: False,
    ) -> None:
        self.response_left = response_left
        self.sees = sees
        self._deferred = deferred

    async def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Go on with `work` behind the response; what it raises is logged."""
        self._deferred.spawn(work, name)
        # A task that is cancelled before its first step never comes to its `finally`.
        await asyncio.sleep(0)
