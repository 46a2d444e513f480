"""What is printed: two contenders side by side, and the aim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from benchmarks.race import Figures

LABEL = 34  # columns


class Aim(NamedTuple):
    """What a ratio should be: how much cheaper Longwire is, or, with `at_most`, how much dearer."""

    bound: float | None
    at_most: bool = False
    clock: Literal["CPU", "wall"] = "CPU"

    def judge(self, figure: float) -> str:
        if self.bound is None:
            return ""
        reached = figure <= self.bound if self.at_most else figure >= self.bound
        sign = "<=" if self.at_most else ">="
        return f"{sign} {self.bound:g}: {'met' if reached else 'missed'}"


def show_head(what: str, other: str) -> None:
    columns = f"{'longwire':>10}{other:>10}{'ratio':>9}"
    print(f"\n{'':{LABEL}}{'CPU':>10}{'':19}{'wall':>10}")
    print(f"{what:{LABEL}}{columns}{columns}   aim")


def show(label: str, ours: Figures, other: Figures, unit: float, aim: Aim) -> None:
    line, ratios = f"{label:{LABEL}}", {}
    for clock, mine, its in (("CPU", ours.cpu, other.cpu), ("wall", ours.wall, other.wall)):
        ratios[clock] = mine / its if aim.at_most else its / mine
        line += f"{mine * unit:>10,.0f}{its * unit:>10,.0f}{ratios[clock]:>8.2f}x"
    verdict = aim.judge(ratios[aim.clock])
    print(f"{line}   {aim.clock} {verdict}" if verdict else line, flush=True)
