"""One client connection as API Gateway sees it."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import NamedTuple

# Of a handshake that is sent by no socket: the example of RFC 6455.
SAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class ConnectionState(enum.Enum):
    """Where a connection is in its life."""

    CONNECTING = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


class CloseStatus(NamedTuple):
    """How a connection ended: the code and reason of RFC 6455, section 7.4."""

    code: int
    reason: str


# What the function is told when the client closed without a code.
NO_STATUS = CloseStatus(1005, "Client-side close frame status not set")
# The TCP connection ended without a close frame.
LOST = CloseStatus(1006, "")
# Idle for too long, open for too long, or the gateway itself stops.
GOING_AWAY = CloseStatus(1001, "Going away")
# After DELETE @connections.
DELETED = CloseStatus(1000, "Connection Closed Normally")
BINARY = CloseStatus(1003, "Binary messages are not supported")
NOT_UTF8 = CloseStatus(1007, "Text is not UTF-8")
# AWS says that this comes of too many requests of one client, and neither how many nor a reason.
FLOODING = CloseStatus(1008, "Too many messages")
TOO_BIG = CloseStatus(1009, "Message too big")


@dataclass(frozen=True, slots=True)
class ClientHandshake:
    """The request that a client opens its connection with."""

    # As the client sent them: case, order and repeats.
    headers: tuple[tuple[str, str], ...]
    # As sent, without the question mark.
    query: str
    source_ip: str

    def header(self, name: str) -> str | None:
        """Return the last value of a header, found in any case."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[-1] if values else None


@dataclass(slots=True)
class LocalConnection:
    """An entry in the gateway's table; times are in epoch milliseconds."""

    connection_id: str
    handshake: ClientHandshake
    connected_at: int
    # Of the last message in either direction.
    last_active_at: int
    state: ConnectionState = ConnectionState.CONNECTING
    # Frames that the function has posted to it so far.
    posts: int = 0
    # How many messages the client may send at once, as of a time in epoch seconds.
    tokens: float = math.inf
    tokens_at: float = 0.0
    # What the authorizer said of the client; it is in each of the connection's events.
    authorizer: dict[str, str] | None = None
    # Who the client is, as each of its events says.
    identity: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.identity = {"sourceIp": self.handshake.source_ip}
        user_agent = self.handshake.header("User-Agent")
        if user_agent is not None:
            self.identity["userAgent"] = user_agent
