"""What goes wrong on the way to the function, on purpose: to try what an app makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

LOST = math.inf


@dataclass(slots=True)
class Faults:
    """Of one connection; AWS promises neither the order of messages nor a `$disconnect`."""

    # Seconds by which its `$disconnect` is late; `LOST`: the function never gets it.
    disconnect_delay: float = 0.0
    # Its next two messages change places.
    reorders: bool = False
    _held: list[str] = field(default_factory=list)

    def order(self, text: str) -> list[str]:
        """Return which messages go on now that this one has come."""
        if not self.reorders:
            return [text]
        if not self._held:
            self._held.append(text)
            return []
        self.reorders = False
        return [text, self._held.pop()]

    def rest(self) -> list[str]:
        """Return what still waits for a message to change places with; none will come."""
        rest, self._held = self._held, []
        return rest
