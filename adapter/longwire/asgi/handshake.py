"""The app's answer to a handshake, and what it may say after it.

ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html#websocket
"""

from __future__ import annotations

import enum

from longwire.asgi.stage import quick
from longwire_aws.tuples import NamedTuple


@quick
class HandshakeState(enum.Enum):
    """How far the app's answer to `websocket.connect` has come."""

    PENDING = enum.auto()
    ACCEPTED = enum.auto()
    DENYING = enum.auto()
    CLOSED = enum.auto()  # refused, or accepted and then closed


class HandshakeAnswer(NamedTuple):
    """What the app has answered to `websocket.connect` so far."""

    state: HandshakeState
    at: float  # of the accept or the refusal, in the event loop's time
    accepted: bool = False  # stays when the app closes the connection later
    subprotocol: str | None = None
    dropped_headers: tuple[str, ...] = ()  # names of those of the accept: no client sees them
    status: int | None = None  # the HTTP status of a refusal
    closed_with: tuple[object, object] | None = None  # the app's code and reason

    @property
    def words(self) -> str:
        """Return the app's own for its end, for the log; "" where it has not closed."""
        if self.closed_with is None:
            return ""
        code, reason = self.closed_with
        return f"it closed with {code}{f', {reason!r}' if reason else ''}"

    @property
    def is_closing(self) -> bool:
        """Whether the app has ended the connection, or is about to have refused it."""
        return self.state in (HandshakeState.DENYING, HandshakeState.CLOSED)


EXPECTED = {
    HandshakeState.PENDING: (
        "ASGI expects websocket.accept, websocket.close or a denial response now"
    ),
    HandshakeState.ACCEPTED: "ASGI expects websocket.send or websocket.close now",
    HandshakeState.DENYING: "ASGI expects websocket.http.response.body now",
    HandshakeState.CLOSED: "the connection is closed",
}
