"""What is printed: one format for all rows.

A row compares Longwire with a base: the floor, mostly. `control` is the same Longwire once more,
in the same rounds: so far do figures differ by chance. `before` is an earlier one, if it was given.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

How = Literal["ratio", "added", "alone"]
LABEL = 36  # columns
OURS, CONTROL, BEFORE = VERSIONS = ("longwire", "control", "before")


class Aim(NamedTuple):
    """What a comparison should come to.

    Attributes:
        at_least: whether the bound is a lower one.
        how: the value divided by the base, less the base, or alone.
    """

    bound: float | None = None
    at_least: bool = False
    how: How = "ratio"

    def judge(self, figure: float) -> str:
        if self.bound is None:
            return ""
        reached = figure >= self.bound if self.at_least else figure <= self.bound
        sign = ">=" if self.at_least else "<="
        return f"   {sign} {self.bound:g}: {'met' if reached else 'missed'}"


SHOWN = Aim()


class Pair(NamedTuple):
    """What the base and a Longwire took, in the same rounds."""

    base: Sequence[float]
    value: Sequence[float]

    def compare(self, aim: Aim, unit: float) -> float:
        """Return the median of what the rounds came to."""
        rounds = list(zip(self.base, self.value, strict=True))
        match aim.how:
            case "ratio":
                return median(value / base for base, value in rounds)
            case "added":
                return median(value - base for base, value in rounds) * unit
            case "alone":
                return median(self.value) * unit


def show_head(what: str, base: str = "floor", *, how: How = "ratio") -> None:
    columns = f"{base:>10}{OURS:>10}{how:>9}{CONTROL:>9}{BEFORE:>9}"
    print(f"\n{what:{LABEL}}{columns}   aim")


def show(label: str, found: Mapping[str, Pair], aim: Aim = SHOWN, unit: float = 1e6) -> None:
    """Show a row of `VERSIONS`, those that there are; `unit` is of the figures, not of a ratio."""
    ours = found[OURS]
    compared = {version: pair.compare(aim, unit) for version, pair in found.items()}
    line = "".join(
        _compared(compared[version], aim) if version in compared else f"{'-':>9}"
        for version in VERSIONS
    )
    figures = f"{_short(median(ours.base) * unit)}{_short(median(ours.value) * unit)}"
    print(f"{label:{LABEL}}{figures}{line}{aim.judge(compared[OURS])}", flush=True)


def show_beside(
    label: str, theirs: Sequence[float], ours: Sequence[float], aim: Aim = SHOWN, unit: float = 1e6
) -> None:
    """Show what somebody else takes, and how many times as much as Longwire."""
    times = Pair(ours, theirs).compare(SHOWN, unit)
    figure = _short(median(theirs) * unit)
    verdict = aim.judge(times)
    print(f"{f'  {label}':{LABEL}}{figure}{'':10}{times:>8.1f}x of longwire{verdict}", flush=True)


def _compared(figure: float, aim: Aim) -> str:
    match aim.how:
        case "ratio":
            return f"{figure:>8.2f}x"
        case "added":
            return f"{figure:>+9.2f}"
        case "alone":
            return f"{figure:>9,.0f}"


def _short(figure: float) -> str:
    return f"{figure:>10,.0f}" if figure >= 100 else f"{figure:>10.3g}"
