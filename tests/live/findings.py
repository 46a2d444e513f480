"""What was assumed of AWS, and what is so."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Verdict = Literal["as assumed", "otherwise", "not measured"]


class Finding(NamedTuple):
    """One line of the table.

    Attributes:
        about: what was looked at.
        assumed: what Longwire and its documents assume.
        seen: what AWS did, or why nothing was seen.
        verdict: whether that is the same.
        numbers: what was measured, for the file.
    """

    about: str
    assumed: str
    seen: str
    verdict: Verdict
    numbers: Mapping[str, Any] = {}


def judged(about: str, assumed: str, seen: str, *, so: bool, **numbers: Any) -> Finding:
    """Return a finding of something that was seen."""
    return Finding(about, assumed, seen, "as assumed" if so else "otherwise", numbers)


def unmeasured(about: str, assumed: str, why: str, **numbers: Any) -> Finding:
    """Return a finding of something that could not be seen."""
    return Finding(about, assumed, why, "not measured", numbers)


def milliseconds(seconds: Sequence[float]) -> str:
    """Return the least, the middle and the most."""
    values = [1000 * each for each in (min(seconds), statistics.median(seconds), max(seconds))]
    low, middle, high = (f"{value:.0f}" if value >= 10 else f"{value:.1f}" for value in values)
    return f"{low} / {middle} / {high} ms (min, median, max of {len(seconds)})"
