"""Long pieces of work, between the steps of which the event loop turns."""

from __future__ import annotations

import asyncio

# Steps between two turns of the event loop: a few milliseconds.
STEPS_AT_ONCE = 1000


class Turns:
    """Lets the event loop turn between the steps of a long piece of work."""

    def __init__(self) -> None:
        self.taken: bool = False  # others have run meanwhile
        self._left = STEPS_AT_ONCE

    async def step(self, steps: int = 1) -> None:
        """Count steps; wait for a turn of the loop when they have become many."""
        self._left -= steps
        if self._left < 0:
            self._left = STEPS_AT_ONCE
            self.taken = True
            await asyncio.sleep(0)
