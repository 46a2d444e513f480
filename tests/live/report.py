"""The table of what was assumed and what is so, for people and for programs."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.live.findings import Finding, Verdict


class Run(NamedTuple):
    """When and where it was measured; the account's number is nobody else's business."""

    version: str
    region: str
    python: str
    architecture: str
    began: str  # ISO 8601
    emulator: bool = False


_SIGN: dict[Verdict, str] = {"as assumed": "=", "otherwise": "!", "not measured": "?"}
_WIDTH = 100


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Describe the findings for a terminal."""
    for finding in findings:
        yield f"{_SIGN[finding.verdict]} {finding.about}: {finding.verdict}"
        for word, text in (("assumed", finding.assumed), ("seen", finding.seen)):
            yield from textwrap.wrap(
                text, _WIDTH, initial_indent=f"    {word + ':':9}", subsequent_indent=" " * 13
            )
    yield summary(findings)


def summary(findings: Sequence[Finding]) -> str:
    """Count the verdicts."""
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in _SIGN if counts[verdict])


def markdown(run: Run, findings: Sequence[Finding]) -> str:
    """Return a page with the table."""
    where = "an emulator: none of it is AWS's" if run.emulator else run.region
    head = (
        f"# What is so of AWS\n\nLongwire {run.version}, {where}, Python {run.python} on "
        f"{run.architecture}, {run.began}.\n\n"
        "| what | assumed | seen | verdict |\n|---|---|---|---|\n"
    )
    rows = [
        f"| {' | '.join(map(_cell, (one.about, one.assumed, one.seen, one.verdict)))} |\n"
        for one in findings
    ]
    return head + "".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def as_json(run: Run, findings: Sequence[Finding]) -> str:
    """Return all of it, with the numbers."""
    listed = [{**finding._asdict(), "numbers": dict(finding.numbers)} for finding in findings]
    return json.dumps({**run._asdict(), "findings": listed}, indent=2) + "\n"
