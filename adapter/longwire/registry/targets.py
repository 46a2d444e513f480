"""What `Connections` is given: whom to reach, and names of groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from longwire.apigateway.events import INTERNAL
from longwire.exceptions import InvalidArgumentError
from longwire.registry import names

# Bytes that a store takes for a name; an id may get a prefix (`names.py`).
MAX_NAME = 1024
MAX_ID = 1000


def scope_of(target: object) -> Mapping[str, Any] | None:
    """Return the ASGI scope that a target is, or has, as a WebSocket of any framework."""
    scope = getattr(target, "scope", target)
    return scope if isinstance(scope, Mapping) and "type" in scope else None


def known_id(target: object) -> str | None:
    """Return the connection id that a target is, or that Longwire gave its scope; else None."""
    if isinstance(target, str):
        return check_id(target)
    scope = scope_of(target)
    if scope is None or scope["type"] != "websocket":
        what = f"the scope of type {scope['type']!r}" if scope else f"a {type(target).__name__}"
        raise InvalidArgumentError(
            f"the target is {what}; expected a connection id, a WebSocket or the scope of one"
        )
    extension = (scope.get("extensions") or {}).get("longwire") or {}
    connection_id = extension.get("connection_id")
    return check_id(connection_id) if isinstance(connection_id, str) else None


def is_unknown(target: object) -> bool:
    """Tell whether a target is a WebSocket that has no id yet; False for what is no target."""
    if isinstance(target, str):
        return False
    scope = scope_of(target)
    return scope is not None and scope["type"] == "websocket" and known_id(target) is None


def several(targets: object) -> Iterable[object]:
    """Return targets one by one, also where there is only one."""
    if isinstance(targets, str) or scope_of(targets) is not None:
        return (targets,)
    if not isinstance(targets, Iterable):
        raise InvalidArgumentError(
            f"exclude is a {type(targets).__name__}; expected a target, or several"
        )
    return targets


def check_id(connection_id: str, what: str = "a connection id") -> str:
    """Return a connection id that every store takes."""
    name = check_name(connection_id, what, MAX_ID)
    if names.is_internal(name):
        raise InvalidArgumentError(f"{what} begins with {INTERNAL!r}; no connection has such an id")
    return name


def group_key(group: object) -> str:
    """Return the name under which every store keeps a group."""
    if isinstance(group, names.OwnGroup):
        return str(group)
    name = check_name(group, "the name of a group")
    kept = names.of_users_group(name)
    return check_name(kept, 'the name of a group, with "~" before it,') if kept != name else name


def check_name(name: object, what: str, limit: int = MAX_NAME) -> str:
    """Return a name that every store takes; the text of an error begins with `what`."""
    if not isinstance(name, str):
        raise InvalidArgumentError(f"{what} is a {type(name).__name__}; expected a str")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{what} holds half of a surrogate pair") from None
    if not 1 <= size <= limit or "\0" in name:
        raise InvalidArgumentError(
            f"{what} must have 1 to {limit} bytes in UTF-8 and no NUL; this one has {size} bytes"
        )
    return name
