"""Asking again what a service did not do, or what never reached it."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, TypeVar

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Backoff(NamedTuple):
    """How often to ask again, until when, and how long to wait before: twice as long each time."""

    first: float  # seconds
    longest: float  # seconds
    times: float = math.inf
    until: float = math.inf  # by `time.monotonic()`

    def pause(self, count: int, jitter: float) -> float:
        """Return the seconds to wait after `count` repeats: all of them, or down to half."""
        return min(self.first * 2.0 ** min(count, 10), self.longest) * (0.5 + jitter / 2)


async def retry(
    answer: T,
    attempt: Callable[[], Awaitable[T]],
    judge: Callable[[T], Backoff | None],
    *,
    deadline: float,
    random: Callable[[], float],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """Repeat what was answered so as `judge` says, within the deadline; return the last answer."""
    count = 0
    while True:
        backoff = judge(answer)
        if backoff is None or count >= backoff.times:
            return answer
        seconds = backoff.pause(count, random())
        if time.monotonic() + seconds >= min(deadline, backoff.until):
            return answer
        await sleep(seconds)
        answer = await attempt()
        count += 1
