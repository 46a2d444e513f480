"""The app's answer to a handshake, and what it may say after it.

ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html#websocket
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from typing import Literal

    HandshakeState = Literal[
        "pending",
        "accepted",
        "denying",
        "closed",  # refused, or accepted and then closed
    ]
    """How far the app's answer to `websocket.connect` has come."""


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
        return self.state in ("denying", "closed")


PENDING = HandshakeAnswer("pending", at=0.0)
"""Where every run begins; when that was does not matter."""

EXPECTED: dict[HandshakeState, str] = {
    "pending": "ASGI expects websocket.accept, websocket.close or a denial response now",
    "accepted": "ASGI expects websocket.send or websocket.close now",
    "denying": "ASGI expects websocket.http.response.body now",
    "closed": "the connection is closed",
}
