"""Ids of records that are no connections; no connection id of API Gateway has a "#"."""

from __future__ import annotations

INTERNAL = "longwire#"
"""What all of them begin with."""

PART = INTERNAL + "part#"
"""Before the id of a part of a send to many: who has not got it yet."""

ENDED = INTERNAL + "ended#"
"""Before the id of a connection that has proved to be gone: its app has to be told."""
