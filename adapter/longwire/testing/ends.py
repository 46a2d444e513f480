"""What a connection, and an event, can come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from longwire.exceptions import LongwireError

if TYPE_CHECKING:
    from longwire.local.rules.connection import CloseStatus
    from longwire.types import LambdaEvent


class Refused(LongwireError):
    """The handshake was refused.

    Attributes:
        status: the HTTP status that the client gets.
        reason: why the function was not even asked, for example `authorizer: Deny`; None if it was.
    """

    def __init__(self, status: int, reason: str | None = None) -> None:
        why = "" if reason is None else f" ({reason})"
        super().__init__(f"the handshake was refused with status {status}{why}")
        self.status: int = status
        self.reason: str | None = reason


class Closed(LongwireError):
    """The connection is closed, and everything that was sent before has been received.

    Attributes:
        code: the close code that the client sees.
        reason: the reason beside it.
    """

    def __init__(self, close_status: CloseStatus) -> None:
        super().__init__(
            f"the connection is closed: {close_status.code} {close_status.reason}".rstrip()
        )
        self.code: int = close_status.code
        self.reason: str = close_status.reason


class Answer(NamedTuple):
    """An event and what the function returned.

    If it raised, `result` is the exception; if it did not answer in time, a TimeoutError.
    """

    event: LambdaEvent
    result: object
