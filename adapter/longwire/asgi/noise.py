"""Says the same of the same place in an app once: WARNING for the first time, then DEBUG."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# More than an app has; from then on all is said.
_MOST = 10_000

_said: set[tuple[str, str]] = set()


def level(what: str, places: Iterable[str]) -> int:
    """Return the level for saying something of places in the code of an app."""
    new = {(what, place) for place in places}
    if _said >= new:
        return logging.DEBUG
    if len(_said) < _MOST:
        _said.update(new)
    return logging.WARNING
