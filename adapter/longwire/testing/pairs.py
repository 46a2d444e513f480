"""Headers and queries, as pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Pairs = Mapping[str, str] | Iterable[tuple[str, str]]


def pairs_of(pairs: Pairs) -> list[tuple[str, str]]:
    """Return a mapping, or pairs, as a list of pairs."""
    # keys() is what tells a mapping, here as for dict().
    return list(pairs.items()) if hasattr(pairs, "items") else list(pairs)
