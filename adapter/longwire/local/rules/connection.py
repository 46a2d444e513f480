"""One client connection as API Gateway sees it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple


class ConnectionState(enum.Enum):
    """Where a connection is in its life."""

    CONNECTING = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


class CloseStatus(NamedTuple):
    """A close code and reason, RFC 6455 section 7.4."""

    code: int
    reason: str


# What the function is told when the client closed without a code.
NO_STATUS = CloseStatus(1005, "Client-side close frame status not set")
# The TCP connection ended without a close frame.
LOST = CloseStatus(1006, "")
# Idle for too long, lived for too long, or the gateway itself stops.
GOING_AWAY = CloseStatus(1001, "Going away")
# After DELETE @connections.
DELETED = CloseStatus(1000, "Connection Closed Normally")
BINARY = CloseStatus(1003, "Binary messages are not supported")
NOT_UTF8 = CloseStatus(1007, "Text is not UTF-8")
TOO_BIG = CloseStatus(1009, "Message too big")


@dataclass(frozen=True, slots=True)
class ClientHandshake:
    """The request that a client opens its connection with.

    Attributes:
        headers: names in the case that the client sent, in its order, with repeats.
        query: the query string as sent, without the question mark.
        source_ip: the client's address.
    """

    headers: tuple[tuple[str, str], ...]
    query: str
    source_ip: str

    def header(self, name: str) -> str | None:
        """Return the last value of a header, found in any case."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[-1] if values else None


@dataclass(slots=True)
class LocalConnection:
    """An entry in the gateway's table.

    Attributes:
        connected_at: epoch milliseconds.
        last_active_at: epoch milliseconds of the last message in either direction.
        posts: frames that the function posted to this connection so far.
        authorizer: what an authorizer said of the client, for each of its events.
    """

    connection_id: str
    handshake: ClientHandshake
    connected_at: int
    last_active_at: int
    state: ConnectionState = ConnectionState.CONNECTING
    posts: int = 0
    authorizer: dict[str, str] | None = None
