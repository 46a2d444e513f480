"""Ids of records that are no connections; no connection id of API Gateway has a "#"."""

from __future__ import annotations

import json

INTERNAL = "longwire#"
"""What all of them begin with."""

PART = INTERNAL + "part#"
"""Before the id of a part of a send to many: who has not got it yet."""

ENDED = INTERNAL + "ended#"
"""Before the id of a connection that has proved to be gone: its app has to be told."""


def ended(groups: tuple[str, ...], value: str, *, tells: bool = False) -> str:
    """Make the value under an `ENDED` key.

    Args:
        groups: in which the connection was.
        value: its record.
        tells: whoever takes it out tells the app, as nobody can take the record itself any more.
    """
    return json.dumps([groups, value, tells], separators=(",", ":"))


def read_ended(kept: str) -> tuple[tuple[str, ...], str, bool]:
    """Read what `ended` made; nobody else writes such keys."""
    groups, value, tells = json.loads(kept)
    return tuple(groups), value, tells
