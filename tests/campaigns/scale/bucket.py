"""A token bucket, and times with a tail: what the models of all services are made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tests.campaigns.scale import facts

if TYPE_CHECKING:
    from random import Random

# The standard normal distribution has one in a hundred above this.
_HUNDREDTH = 2.326


class Bucket:
    """So many tokens a second, and no more than `size` at once.

    Attributes:
        taken: how many were taken, in all.
        refused: how often there were not enough.
    """

    def __init__(self, rate: float, size: float) -> None:
        self.rate = rate
        self.size = size
        self.taken = 0.0
        self.refused = 0
        self._level = size
        self._at = 0.0

    def take(self, now: float, tokens: float = 1.0) -> bool:
        """Take tokens if they are there; one request may go below zero, as AWS lets it."""
        self._level = min(self.size, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level < min(tokens, 1.0):
            self.refused += 1
            return False
        self._level -= tokens
        self.taken += tokens
        return True


class Peak:
    """How much of something there was in the busiest second."""

    def __init__(self) -> None:
        self.most = 0.0
        self._second = -1
        self._count = 0.0

    def add(self, now: float, amount: float = 1.0) -> None:
        if int(now) != self._second:
            self._second, self._count = int(now), 0.0
        self._count += amount
        self.most = max(self.most, self._count)


def with_tail(random: Random, median: float) -> float:
    """Return a time of which half are shorter than the median, and few are much longer."""
    spread = math.log(facts.TAIL.value) / _HUNDREDTH
    return median * math.exp(spread * random.gauss(0.0, 1.0))
