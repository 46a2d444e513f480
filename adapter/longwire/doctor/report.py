"""Findings, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from longwire.doctor.findings import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from longwire.doctor.findings import Finding

_COLOURS = {"error": 31, "warning": 33, "note": 36}


def lines(name: str, findings: Sequence[Finding], *, colours: bool = False) -> Iterator[str]:
    """Describe what was found in one template or stack."""
    for one in findings:
        place = f"{name}:{one.line}" if one.line is not None else name
        word = f"\x1b[{_COLOURS[one.severity]}m{one.severity}\x1b[0m" if colours else one.severity
        where = "" if one.resource == "-" else f" ({one.resource})"
        yield f"{place}: {word} {one.code}{where}: {one.message}"
        yield f"    why:     {one.why}"
        yield f"    instead: {one.instead}"


def summary(findings: Sequence[Finding]) -> str:
    """Count what was found, for example `2 errors, 1 note`."""
    counts = Counter(one.severity for one in findings)
    words = [
        f"{counts[severity]} {severity}{'s' if counts[severity] > 1 else ''}"
        for severity in SEVERITIES
        if counts[severity]
    ]
    return ", ".join(words) if words else "nothing found"


def as_json(found: Sequence[tuple[str, Sequence[Finding]]], seen: Sequence[str] = ()) -> str:
    """Return all of it as JSON; the keys stay as they are from version to version."""
    findings = [
        {
            "file": name,
            "line": one.line,
            "resource": None if one.resource == "-" else one.resource,
            "code": one.code,
            "severity": one.severity,
            "message": one.message,
            "why": one.why,
            "instead": one.instead,
        }
        for name, several in found
        for one in several
    ]
    counts = {
        severity: sum(one["severity"] == severity for one in findings) for severity in SEVERITIES
    }
    more = {"seen": list(seen)} if seen else {}
    return json.dumps({"findings": findings, "counts": counts, **more}, indent=2)


def is_bad(findings: Sequence[Finding]) -> bool:
    """Tell whether something has to be mended; notes need not."""
    return any(one.severity != "note" for one in findings)
