"""Time limits that cost little where most are met: one timer serves all, and is seldom moved."""

from __future__ import annotations

import asyncio
import contextvars
import math
import weakref
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Protocol

# Seconds between two looks: that many limits which pass one after the other cost no look each.
_PAUSE = 0.01


if TYPE_CHECKING:

    class Expiring(Protocol):
        """What is to be told that a time has come, unless it is taken out before."""

        when: float  # by the loop's clock

        def expire(self) -> None: ...


class Limits:
    """The time limits of one event loop, which it does not keep alive."""

    # `asyncio.timeout` makes a timer for each, which costs as much as signing a request, and stays
    # with the loop until its time, though it was cancelled.

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._running: set[Expiring] = set()
        self._look_at: float = math.inf  # when the timer that was set last is due

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop; whoever asks runs on it."""
        loop = self._loop()
        assert loop is not None
        return loop

    def within(self, seconds: float) -> Limit:
        """Return what limits the time of a `with` block."""
        loop = self.loop
        return Limit(self, asyncio.current_task(loop), loop.time() + seconds)

    def add(self, limit: Expiring) -> None:
        """Tell this at its time, which must not change until then."""
        self._running.add(limit)
        if limit.when < self._look_at:
            self._set_timer(limit.when)

    def remove(self, limit: Expiring) -> None:
        # The timer may stay: it finds nothing then, or sets itself anew.
        self._running.discard(limit)

    def _set_timer(self, when: float) -> None:
        self._look_at = when
        # In a context of its own: it belongs to none of the requests, whoever made the first.
        self.loop.call_at(when, self._look, when, context=contextvars.Context())

    def _look(self, set_for: float) -> None:
        now = self.loop.time()
        for limit in [limit for limit in self._running if limit.when <= now]:
            self._running.discard(limit)
            limit.expire()
        # A timer behind which an earlier one was set leaves the rest to that one.
        if set_for == self._look_at:
            self._look_at = math.inf
            if self._running:
                self._set_timer(max(now + _PAUSE, min(limit.when for limit in self._running)))


def limits() -> Limits:
    """Return those of the running event loop."""
    global _latest
    loop, found = asyncio.get_running_loop(), _latest()
    if found is None or found._loop() is not loop:
        found = _of_loops.get(loop)
        if found is None:
            found = _of_loops[loop] = Limits(loop)
        _latest = weakref.ref(found)
    return found


def _none() -> None:
    """No loop has any yet."""


# Of the loop that asked last, which mostly is the only one.
_latest: Callable[[], Limits | None] = _none
_of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Limits] = (
    weakref.WeakKeyDictionary()
)


class Limit:
    """Cancels the task in a `with` block that takes too long, which then raises `TimeoutError`."""

    __slots__ = ("_cancelling", "_limits", "_task", "expired", "when")

    def __init__(self, limits: Limits, task: asyncio.Task[object] | None, when: float) -> None:
        if task is None:
            raise RuntimeError("a request needs a task that it runs in")
        self.when: float = when  # by the loop's clock
        self.expired: bool = False
        self._limits = limits
        self._task = task

    def __enter__(self) -> Self:
        self._cancelling = self._task.cancelling()
        self._limits.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._limits.remove(self)
        # As in `asyncio.timeout`: somebody else may have cancelled the task as well.
        alone = self.expired and self._task.uncancel() <= self._cancelling
        if alone and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        self.expired = True
        self._task.cancel()
