"""The names under which a store keeps things: those that users choose, and those that are ours.

A client may be the one who names a group or a target, so no name of theirs leads to ours:

    longwire#...         records that are no connections; no id that somebody gives may begin so
    longwire:...         groups of ours, as an `OwnGroup`, which no text from outside is
    ~longwire:...        a user's group called "longwire:..."; one called so gets one more "~"
    any other name       a user's group of this name, or a connection
"""

from __future__ import annotations

import hashlib

from longwire.apigateway.events import INTERNAL

_OWN_GROUP = "longwire:"
_ESCAPE = "~"


class OwnGroup(str):
    """The name of a group of ours, which is kept under it as it is."""

    __slots__ = ()


def is_internal(connection_id: str) -> bool:
    """Tell whether an id is that of a record of ours, and not of a connection."""
    return connection_id.startswith(INTERNAL)


def of_part(part_id: str) -> str:
    """Return the id of the record that says who has not got a part of a send to many yet."""
    return f"{INTERNAL}part#{part_id}"


def of_api(endpoint: str) -> str:
    """Return the id of the record with which a sender to many notes an API that its parts name."""
    return f"{INTERNAL}api#{hashlib.sha256(endpoint.encode()).hexdigest()}"


def of_sweep() -> str:
    """Return the id of the record that says where a sweep has stopped for want of time."""
    return f"{INTERNAL}sweep"


def of_manager(manager: str, kind: str = "", name: str = "") -> OwnGroup:
    """Return the group of a `WebSocketManager` for all, one user or a room; or what all begin with.

    `kind` is "all", "user:" or "room:".
    """
    return OwnGroup(f"{_OWN_GROUP}{_escape(manager).replace(':', '%3A')}:{kind}{_escape(name)}")


def of_users_group(name: str) -> str:
    """Return the name under which a user's group is kept."""
    return _ESCAPE + name if _looks_ours(name) else name


def users_groups(kept: tuple[str, ...]) -> tuple[str, ...]:
    """Return the users' names of groups, sorted, by the names under which they are kept."""
    users = (name for name in kept if not name.startswith(_OWN_GROUP))
    return tuple(sorted(name[1:] if _looks_ours(name) else name for name in users))


def _looks_ours(name: str) -> bool:
    return name.lstrip(_ESCAPE).startswith(_OWN_GROUP)


def _escape(name: str) -> str:
    """Return a name without NUL, which stores do not take."""
    return name.replace("%", "%25").replace("\0", "%00")
