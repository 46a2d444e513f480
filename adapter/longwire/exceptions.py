"""Every error that Longwire raises on purpose.

LongwireError
├── ConfigurationError (ValueError)      ws_config, dsn or the command line is wrong
├── InvalidArgumentError (ValueError)    a target, group or message given to Connections is none
├── EventError (ValueError)              the event is not one of API Gateway's WebSocket events
├── ResponseError (ValueError)           a function returned what API Gateway does not take
├── EventLoopError (RuntimeError)        a synchronous call where an event loop is running
├── LifespanError                        the app's startup failed
├── DeadlineError (TimeoutError)         the app or a function did not end within its event's time
├── StateError (ValueError)              what an app keeps in its state cannot be stored
├── OnceError (ValueError)               a key or a result of longwire.once cannot be one
├── StoredRecordError                    what a store returned is not a record of ours
│   └── RecordVersionError               it is one of a Longwire that this one does not know
├── ASGIMessageError (RuntimeError)      the app sent what ASGI does not allow here
├── ConnectionGoneError (OSError)        the client is gone (ASGI 2.4: send() raises an OSError)
├── EventOverError (OSError)             a WebSocket, or `once`, was used after its event
├── ManagementError                      the management API refused or failed a request
│   ├── MessageTooLargeError             a frame over API Gateway's 128 KB; it was not sent
│   ├── SlowClientError                  the client does not read what it is sent; it was not sent
│   └── GreetingTooLargeError            more before the handshake's response than can be kept
├── QueueError                           SQS did not take a part of a send to many
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
    "DeadlineError",
    "EventError",
    "EventLoopError",
    "EventOverError",
    "GreetingTooLargeError",
    "InvalidArgumentError",
    "LifespanError",
    "LongwireError",
    "ManagementError",
    "MessageTooLargeError",
    "OnceError",
    "QueueError",
    "RecordTooLargeError",
    "RecordVersionError",
    "ResponseError",
    "SlowClientError",
    "StateError",
    "StoredRecordError",
]


NOT_SENT = "it was not sent, or surely refused"
"""The argument of a CancelledError that has cut off a post while nothing was under way."""


class InvalidArgumentError(LongwireError, ValueError):
    """What was given as a target, a group's name or a message cannot be one; nothing was done."""


class EventError(LongwireError, ValueError):
    """A Lambda event is foreign or malformed."""


class ResponseError(LongwireError, ValueError):
    """A function returned what API Gateway answers with "Internal server error"."""


class EventLoopError(LongwireError, RuntimeError):
    """A synchronous call was made where an event loop is running already."""


class LifespanError(LongwireError):
    """The app's startup failed; the next event tries it again."""


class DeadlineError(LongwireError, TimeoutError):
    """The time of an event was up before the app, or a function, was done with it."""


class StateError(LongwireError, ValueError):
    """What an app has put into its connection's state cannot be stored; its other keys are.

    Attributes:
        connection_id: whose.
        key: of `scope["state"]` or `scope["session"]`; None when the dict itself is none any more.
        reason: what is wrong, without the value, which may be a secret.
    """

    def __init__(self, connection_id: str, of: str, key: str | None, reason: str) -> None:
        where = f"its {of}" if key is None else f"{key[:100]!r} in its {of}"
        super().__init__(
            f"connection {connection_id}: {where} cannot be kept: {reason}; keep there what JSON "
            "gives back (str, int, float, bool, None, list, dict), and what is large elsewhere"
        )
        self.connection_id = connection_id
        self.key = key
        self.reason = reason


class OnceError(LongwireError, ValueError):
    """What was given to `longwire.once`, or came of it, cannot be kept.

    Attributes:
        key: the key, "" where it is no str.
        reason: what is wrong, without the value, which may be a secret.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"longwire.once({key[:100]!r}): {reason}")
        self.key = key
        self.reason = reason


class StoredRecordError(LongwireError):
    """A stored record is damaged, or none of ours; the text has nothing of what is in it."""


class RecordVersionError(StoredRecordError):
    """A stored record was written by a Longwire whose records this one does not know."""


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


class EventOverError(LongwireError, OSError):
    """A WebSocket, or `longwire.once`, was used after its event was over: nothing was done.

    Each message of a connection is an event with a WebSocket of its own. Only code that outlives
    an event meets this, such as a worker of the lifespan, a thread, or a task of another event.
    Its connection may well be alive: `Connections` reaches it.

    Attributes:
        connection_id: whose.
    """

    def __init__(self, connection_id: str, place: str, *, once: str | None = None) -> None:
        if once is None:
            what = "sent after the event of this WebSocket was over, so it reaches nobody"
            hint = "send by longwire.Connections instead"
        else:
            what = f"longwire.once({once[:100]!r}) was asked for after its event was over"
            hint = "nothing was called, as an app may clean up several times (docs/state.md)"
        super().__init__(f"connection {connection_id}: {what}: {hint}, in {place}")
        self.connection_id = connection_id


class ManagementError(LongwireError):
    """A request to `@connections` failed for a reason other than a gone client.

    Attributes:
        connection_id: whose connection it was about; "" when it was about many.
        status: the HTTP status, or None when no answer came.
        sent: False when the request surely never reached API Gateway.
    """

    def __init__(
        self, connection_id: str, detail: str, *, status: int | None = None, sent: bool = True
    ) -> None:
        super().__init__(f"@connections/{connection_id}: {detail}" if connection_id else detail)
        self.connection_id = connection_id
        self.status = status
        self.sent = sent


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


class SlowClientError(ManagementError):
    """A client does not read, so that API Gateway takes no more for it (429); nothing was sent.

    It has been given `slow_client` seconds. The next requests about it are made once each: it has
    its time back in the course of the minute after it takes something again, or after which nobody
    has tried. Each process learns that by itself.

    Attributes:
        until: so long, by `time.monotonic()`, whoever sends to many tries it again; None where its
            time is over.
    """

    def __init__(self, connection_id: str, detail: str, *, until: float | None = None) -> None:
        super().__init__(
            connection_id,
            f"its client does not read, or there are too many requests: {detail}",
            status=429,
        )
        self.until = until


class GreetingTooLargeError(ManagementError):
    """More was sent before the handshake was answered than is kept until then; it was not sent.

    Attributes:
        frames: the limit in frames.
        size: the limit in bytes.
    """

    def __init__(self, connection_id: str, frames: int, size: int) -> None:
        super().__init__(
            connection_id,
            f"before the handshake is answered an app may send {frames} frames and {size} bytes; "
            "send the rest after the first receive()",
            sent=False,
        )
        self.frames = frames
        self.size = size


class QueueError(LongwireError):
    """A message could not be queued, or nobody knows whether it was; the text says what to do.

    Attributes:
        queue_url: which queue.
        unsure: the message may have been queued, so that delivering it otherwise may do it twice.
    """

    def __init__(self, queue_url: str, detail: str, *, unsure: bool = False) -> None:
        maybe = "; the messages may have been queued" if unsure else ""
        super().__init__(f"SQS queue {queue_url}: {detail}{maybe}")
        self.queue_url = queue_url
        self.unsure = unsure
