"""Every error that Longwire raises on purpose.

LongwireError
├── ConfigurationError (ValueError)      ws_config, dsn or the command line is wrong
├── EventError (ValueError)              the event is not one of API Gateway's WebSocket events
├── LifespanError                        the app's startup failed
├── StoredRecordError                    what a store returned is not a record of ours
├── ASGIMessageError (RuntimeError)      the app sent what ASGI does not allow here
├── ConnectionGoneError (OSError)        the client is gone (ASGI 2.4: send() raises an OSError)
├── ManagementError                      the management API refused or failed a request
│   └── MessageTooLargeError             a frame over API Gateway's 128 KB; it was not sent
└── BackendError                         a store failed; the driver's error is the cause
    └── RecordTooLargeError              the store does not take a record of this size
"""

from __future__ import annotations

from longwire_backends.base import (
    BackendError,
    ConfigurationError,
    LongwireError,
    RecordTooLargeError,
)

__all__ = [
    "ASGIMessageError",
    "BackendError",
    "ConfigurationError",
    "ConnectionGoneError",
    "EventError",
    "EventLoopError",
    "LifespanError",
    "LongwireError",
    "ManagementError",
    "MessageTooLargeError",
    "RecordTooLargeError",
    "StoredRecordError",
]


class EventError(LongwireError, ValueError):
    """A Lambda event is foreign or malformed."""


class EventLoopError(LongwireError, RuntimeError):
    """A synchronous call was made where an event loop is running already."""


class LifespanError(LongwireError):
    """The app's startup failed; the next event tries it again."""


class StoredRecordError(LongwireError):
    """A stored record is truncated, or written by an unknown version of Longwire."""


class ASGIMessageError(LongwireError, RuntimeError):
    """The app sent a message that ASGI does not allow, or not in this state."""


class ConnectionGoneError(LongwireError, OSError):
    """The connection no longer exists.

    Attributes:
        connection_id: whose.
    """

    def __init__(self, connection_id: str) -> None:
        super().__init__(f"connection {connection_id} is gone")
        self.connection_id = connection_id


class ManagementError(LongwireError):
    """A request to `@connections` failed for a reason other than a gone client.

    Attributes:
        connection_id: whose connection it was about.
        status: the HTTP status, or None when no answer came.
    """

    def __init__(self, connection_id: str, detail: str, *, status: int | None = None) -> None:
        super().__init__(f"@connections/{connection_id}: {detail}")
        self.connection_id = connection_id
        self.status = status


class MessageTooLargeError(ManagementError):
    """A frame is larger than API Gateway takes; nothing was sent.

    Attributes:
        size: bytes that were to be sent.
        limit: bytes that API Gateway takes.
    """

    def __init__(self, connection_id: str, size: int, limit: int) -> None:
        super().__init__(
            connection_id,
            f"a message of {size} bytes is over API Gateway's limit of {limit}; send it in parts",
        )
        self.size = size
        self.limit = limit
