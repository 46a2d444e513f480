"""Ids of records that are no connections; no connection id of API Gateway has a "#"."""

from __future__ import annotations

import json

INTERNAL = "longwire#"
"""What all of them begin with."""

PART = INTERNAL + "part#"
"""Before the id of a part of a send to many: who has not got it yet."""

ENDED = INTERNAL + "ended#"
"""Before the id of a connection that has proved to be gone: its app has to be told."""


def ended(groups: tuple[str, ...], value: str) -> str:
    """Make the value under an `ENDED` key: the groups in which it was, and its record."""
    return json.dumps([groups, value], separators=(",", ":"))


def read_ended(kept: str) -> tuple[tuple[str, ...], str]:
    """Read what `ended` made; nobody else writes such keys."""
    groups, value = json.loads(kept)
    return tuple(groups), value
