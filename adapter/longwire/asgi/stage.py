"""Where a run of the app stands, and what it may do to its client there."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from longwire.types import Frame, Message


class Stage(enum.Enum):
    """Where a run stands in the life of its connection; decides what `send()` does."""

    CONNECT = enum.auto()  # the first run: effects are real
    REPLAY = enum.auto()  # the connect step once more: effects are swallowed
    LIVE = enum.auto()  # a message has been handed over
    KEPT = enum.auto()  # between two events: nothing takes effect, and it must not move
    GONE = enum.auto()  # the client has left: `send()` raises
    UNWINDING = enum.auto()  # the run is over and cleans up: nothing takes effect


# A tuple, as the hash of a member is a call of Python code.
WITHOUT_EFFECT = Stage.REPLAY, Stage.KEPT, Stage.UNWINDING


class Replay:
    """How the connect step goes when it is run once more."""

    sent: int = 0  # frames
    sent_at: float = 0.0  # the last of them, in the event loop's time
    complete: bool = False  # the step was over when the app was ready for the message
    # For an app that streams and never waits: what it learns once it has sent more frames than
    # the connect step had, and until when (in the event loop's time) it may send all the same.
    disconnect: tuple[Message, int, float] | None = None


class SupersededError(Exception):
    """Another event has told the app, or is telling it, that the client is gone."""


class Outbox(Protocol):
    """What a run may do to its client: the counterpart of the `Inbox`."""

    def swallow(self, frame: Frame) -> None:
        """Note that the replayed connect step has sent this frame again."""

    async def send(self, frame: Frame) -> bool:
        """Send a frame; False when the connect step had already sent it.

        Raises:
            ConnectionGoneError: the client is gone, and this run is the one to tell the app.
            SupersededError: the client is gone, and another run tells the app.
        """

    async def close(self, code: int, reason: str) -> None:
        """End the connection; no error when it has ended already."""
