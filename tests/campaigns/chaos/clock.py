"""Time that passes only while everybody waits: hours of a storm take seconds, and repeat exactly.

Longwire asks `time.time` and `time.monotonic`; during a campaign both show this clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Iterator

# Epoch seconds at which every conversation begins.
BEGIN = 1_762_868_735.0
# Seconds for each round of the loop, so that also who never waits comes to its deadline.
ROUND = 0.00001


class StalledError(Exception):
    """Everybody waits, and no timer is set: nothing will ever happen again."""


class Clock:
    """Seconds since the beginning of a conversation; each round of the loop takes `round` more."""

    def __init__(self, round: float = ROUND) -> None:
        self.now = 0.0
        self.round = round

    def time(self) -> float:
        """Return epoch seconds."""
        return BEGIN + self.now

    def monotonic(self) -> float:
        return self.now


class _Selector(selectors.SelectSelector):
    """Waits for nothing: there are no sockets here, so a wait is a step of the clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StalledError
        self._clock.now += max(self._clock.round, timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock of its own; its errors are kept for who looks at them.

    Attributes:
        clock: what `time` shows.
        errors: what came to the loop's exception handler.
        owners: which process each task belongs to.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(_Selector(clock))
        self.clock = clock
        self.errors: list[dict[str, Any]] = []
        self.owners: WeakKeyDictionary[asyncio.Task[Any], object] = WeakKeyDictionary()
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self.clock.now


@contextlib.contextmanager
def shown(clock: Clock) -> Iterator[None]:
    """Let the whole process see this clock."""
    names = ("time", "monotonic")
    real = {name: getattr(time, name) for name in names}
    for name in names:
        setattr(time, name, getattr(clock, name))
    try:
        yield
    finally:
        for name in names:
            setattr(time, name, real[name])
