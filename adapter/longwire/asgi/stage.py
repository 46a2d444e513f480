"""Where a run of the app stands, and what it may do to its client there."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from longwire.types import Frame, Message

KindT = TypeVar("KindT", bound=type[enum.Enum])


def quick(kind: KindT) -> KindT:
    """Let the members of an `Enum`, which nobody iterates over, be attributes of a plain class.

    To get at one takes 0.1 us else, before Python 3.12, and to hash it as long: an event does so
    again and again.
    """
    setattr(kind, "__hash__", object.__hash__)  # noqa: B010 - mypy takes it for a method
    return cast("KindT", type(kind.__name__, (), dict(kind.__members__)))


@quick
class Stage(enum.Enum):
    """Where a run stands in the life of its connection; decides what `send()` does."""

    CONNECT = enum.auto()  # the first run: effects are real
    REPLAY = enum.auto()  # the connect step once more: effects are swallowed
    LIVE = enum.auto()  # a message has been handed over
    KEPT = enum.auto()  # between two events: nothing takes effect, and it must not move
    GONE = enum.auto()  # the client has left: `send()` raises
    UNWINDING = enum.auto()  # the run is over and cleans up: nothing takes effect


WITHOUT_EFFECT = frozenset({Stage.REPLAY, Stage.KEPT, Stage.UNWINDING})


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
