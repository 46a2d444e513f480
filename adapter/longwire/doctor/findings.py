"""What has been found."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from longwire.doctor.rules import resources, seen, stack

if TYPE_CHECKING:
    from longwire.doctor.resources import Place
    from longwire.doctor.rules.rule import Severity

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
RULES = {**stack.RULES, **resources.RULES, **seen.RULES}


class Finding(NamedTuple):
    """One mistake, in one place."""

    code: str
    severity: Severity
    resource: str
    line: int | None
    message: str
    why: str
    instead: str


def found(
    code: str, at: Place, message: str, *properties: str, instead: str | None = None
) -> Finding:
    """Make a finding; its line is that of the first of these properties that is there."""
    rule = RULES[code]
    line = at.line_of(*properties)
    text = rule.instead if instead is None else instead
    return Finding(code, rule.severity, at.name, line, message, rule.why, text)
