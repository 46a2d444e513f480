"""A connection, as the page shows it, also when it is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from longwire.local.rules.connection import ConnectionState
from longwire.local.rules.faults import LOST
from longwire.local.rules.results import HandshakeRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from longwire.local.rules.results import Verdict
    from longwire.local.session import Session

# Connections that are over, of which the latest are kept.
MOST_CLOSED = 200


@dataclass(slots=True, eq=False)
class Peer:
    """One client; its session knows the rest."""

    session: Session
    messages: int = 0
    frames: int = 0  # from the function and from the gateway
    verdict: Verdict | None = None
    ended_at: float = 0.0  # epoch seconds
    is_of_page: bool = False


def closed_in_excess(peers: Iterable[tuple[str, Peer]]) -> list[str]:
    """Return the ids of connections, oldest first, that are over and need not be kept."""
    closed = [connection_id for connection_id, peer in peers if peer.ended_at]
    return closed[: max(0, len(closed) - MOST_CLOSED)]


def describe(peer: Peer, default_path: str, path_query: str | None) -> dict[str, Any]:
    """Describe a connection for the page."""
    connection, faults = peer.session.connection, peer.session.faults
    handshake, status = connection.handshake, peer.session.close_status
    return {
        "id": connection.connection_id,
        "path": _path(handshake.query, default_path, path_query),
        "query": handshake.query,
        "state": state_of(peer),
        "at": connection.connected_at,
        "active": connection.last_active_at,
        "ended": round(peer.ended_at * 1000),
        "code": None if status is None else status.code,
        "reason": None if status is None else status.reason,
        "messages": peer.messages,
        "frames": peer.frames,
        "page": peer.is_of_page,
        "agent": handshake.header("User-Agent"),
        "ip": handshake.source_ip,
        "faults": None
        if faults is None
        else {
            "reorders": faults.reorders,
            "disconnect": "lost" if faults.disconnect_delay == LOST else faults.disconnect_delay,
        },
    }


def state_of(peer: Peer) -> str:
    """Say in a word how a connection is."""
    if isinstance(peer.verdict, HandshakeRefused):
        return "refused"
    if peer.ended_at or peer.session.ended:
        return "closed"
    is_open = peer.session.connection.state is ConnectionState.OPEN
    return "open" if is_open else "connecting"


def _path(query: str, default: str, parameter: str | None) -> str:
    if parameter is None:
        return default
    given = parse_qs(query, keep_blank_values=True).get(parameter)
    return given[-1] if given else default
