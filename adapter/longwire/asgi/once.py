"""Says the same of the same place in an app once: WARNING for the first time, then DEBUG."""

from __future__ import annotations

import logging

# More places than an app has; from then on all is said.
_MOST = 10_000

_said: set[str] = set()


def level(*places: str) -> int:
    """Return the level for what happens at these places in the code of an app."""
    if _said.issuperset(places):
        return logging.DEBUG
    if len(_said) < _MOST:
        _said.update(places)
    return logging.WARNING
