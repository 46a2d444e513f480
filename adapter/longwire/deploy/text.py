"""Texts with blanks, and with blocks that are there only for some plans.

A block is what stands between a line `%if NAME` and a line `%end`, perhaps with an `%else`;
`%if not NAME` and `%if NAME or OTHER` are what they say. A blank is `<<NAME>>`. All else comes out
as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def fill(template: str, facts: Mapping[str, object]) -> str:
    """Return the text for these facts; one that is missing is a `KeyError`."""
    kept: list[str] = []
    inside: list[bool] = []
    for line in template.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "%if":
            inside.append(_holds(rest, facts))
        elif word == "%else":
            inside[-1] = not inside[-1]
        elif word == "%end":
            inside.pop()
        elif all(inside):
            kept.append(re.sub(r"<<(\w+)>>", lambda blank: str(facts[blank[1]]), line))
    return "\n".join(kept).strip("\n") + "\n"


def _holds(condition: str, facts: Mapping[str, object]) -> bool:
    return any(
        not facts[name.removeprefix("not ")] if name.startswith("not ") else bool(facts[name])
        for name in condition.split(" or ")
    )
