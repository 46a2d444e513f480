"""What hangs when the app is cancelled with it: the log says so, since then no error does."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from longwire import deadlines

if TYPE_CHECKING:
    import asyncio

logger: logging.Logger = logging.getLogger("longwire")

# Seconds after which an answer is late: whoever is cancelled then may well have waited for ever.
SLOW = 0.2


class CutOff:
    """A request of a connection that was cancelled; its app is so at a deadline."""

    def __init__(self, connection_id: str, deadline: float, what: str, hint: str = "") -> None:
        self._id, self._deadline, self._what, self._hint = connection_id, deadline, what, hint

    def log(self, error: asyncio.CancelledError, began: float) -> None:
        """Log it if it may well have hung; it began at a time in `time.monotonic()`."""
        now = time.monotonic()
        if now >= self._deadline and now - began >= SLOW:
            why = deadlines.doing(error) or self._hint
            what, waited = self._what, now - began
            logger.error(
                "connection %s: %s: no answer within %.3g s%s", self._id, what, waited, why
            )
