"""Connections that have proved to be gone during an event: their app is told at the event's end."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.registry.api_gateway import Departure

logger = logging.getLogger("longwire")


class Departures:
    """What the sends of one event have found.

    Args:
        tell_one: tells the app of one of them; what that finds is told as well.
        time_left: how many seconds there are for it.

    Attributes:
        found: those of whom the app has not been told yet.
    """

    def __init__(
        self,
        tell_one: Callable[[Departure, Departures], Awaitable[None]],
        time_left: Callable[[], float],
    ) -> None:
        self.found: list[Departure] = []
        self._tell_one = tell_one
        self._time_left = time_left
        self._telling = False

    async def tell(self, seconds: float = math.inf) -> None:
        """Tell the app, and do so only once when telling it leads here again.

        One after the other, since what the app sends then may find more of them, and nobody who is
        gone is posted to twice. Those for whom there is no time wait in the store for a sweep.

        Args:
            seconds: after which no other one is told.
        """
        if self._telling:
            return
        self._telling = True
        until = time.monotonic() + seconds
        try:
            while self.found:
                if self._time_left() <= 0 or time.monotonic() >= until:
                    logger.warning("no time was left to tell the app of %d ends", len(self.found))
                    return
                await self._tell_one(self.found.pop(0), self)
        finally:
            self._telling = False
