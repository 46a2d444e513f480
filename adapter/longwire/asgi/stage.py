"""Where a run of the app stands, and what it may do to its client there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Literal, Protocol

    from longwire.types import Frame, Message

    # Names: members of an enumeration take ten times as long to be looked up and to be hashed.
    Stage = Literal[
        "connect",  # the first run: effects are real
        "replay",  # the connect step once more: effects are swallowed
        "live",  # a message has been handed over
        "kept",  # between two events: nothing takes effect, and it must not move
        "gone",  # the client has left: `send()` raises
        "unwinding",  # the run is over and cleans up: nothing takes effect
    ]
    """Where a run stands in the life of its connection; decides what `send()` does."""


BETWEEN: frozenset[Stage] = frozenset({"kept", "unwinding"})
WITHOUT_EFFECT: frozenset[Stage] = BETWEEN | {"replay"}


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


if TYPE_CHECKING:

    class Outbox(Protocol):
        """What a run may do to its client: the counterpart of the `Inbox`."""

        def swallow(self, frame: Frame) -> None:
            """Note that the replayed connect step has sent this frame again.

            Raises:
                ASGIMessageError: it cannot be sent, as it could not then.
                MessageTooLargeError: it is too large, as it was then.
            """

        async def send(self, frame: Frame) -> bool:
            """Send a frame; False when the connect step had already sent it.

            Raises:
                ConnectionGoneError: the client is gone, and this run is the one to tell the app.
                SupersededError: the client is gone, and another run tells the app.
            """

        async def close(self, code: int, reason: str) -> None:
            """End the connection; no error when it has ended already."""
