"""Does an app do the same when it is given its messages again? What is said if it does not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from longwire.asgi import noise
from longwire.registry.record import digest
from longwire.replay.journal import FramesSent

if TYPE_CHECKING:
    from longwire.asgi.lasting import LastingRun
    from longwire.types import Frame

logger: logging.Logger = logging.getLogger("longwire")

CAUSES = (
    "What it does must not hang on a clock, on random numbers or ids, on a token that has expired "
    "since, or on data that has changed: longwire.once keeps what may not be got anew "
    "(docs/state.md)"
)
_MOST = 2**64


class FrameCount:
    """What an app sends for one message; in any order, as its tasks may be as fast as they like."""

    def __init__(self) -> None:
        self._frames = self._sum = 0
        self._differs = False

    def add(self, frame: Frame) -> None:
        self._frames += 1
        self._sum += int(digest(frame), 16)

    def take(self) -> FramesSent:
        """Return what was sent, and begin with the next message."""
        sent = FramesSent(self._frames, f"{self._sum % _MOST:016x}")
        self._frames = self._sum = 0
        return sent

    def compare(self, connection_id: str, number: int, before: FramesSent | None) -> None:
        """Say so, the first time, if what was sent for a message differs from what was before."""
        now = self.take()
        if before is None or now == before or self._differs:
            return
        self._differs = True
        logger.log(
            noise.level("differs", [connection_id]),
            "connection %s: message %d: the app sent %s when it was given this once more, and had "
            "sent %d: its variables may be others, too. %s",
            connection_id,
            number,
            f"{now.frames} frames" if now.frames != before.frames else "other frames",
            before.frames,
            CAUSES,
        )


def log_diverged(connection_id: str, number: int, run: LastingRun) -> None:
    """Say that the app did not do again what it had done, and is not to go on."""
    where = f"after message {number}" if number else "before its first message"
    logger.error(
        "connection %s: closed: the app went another way when it was given its earlier messages "
        "again: %s it did not wait for the next one%s. %s",
        connection_id,
        where,
        f" ({run.answer.words})" if run.answer.words else "",
        CAUSES,
        exc_info=run.error,
    )
