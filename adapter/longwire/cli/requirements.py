"""requirements.txt: what Lambda installs."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import longwire

if TYPE_CHECKING:
    from longwire.deploy.plan import Plan


def lines(plan: Plan, app: Any) -> tuple[str, ...]:
    """Return Longwire with the extras that the plan needs, and the framework of the app."""
    extras = ["http"] if plan.answers_http else []
    extras += [plan.store] if plan.in_vpc else []
    listed = f"[{','.join(extras)}]" if extras else ""
    return (f"longwire{listed}=={longwire.__version__}", *_framework(app))


def _framework(app: Any) -> list[str]:
    """Return the package that an app is of, if it is of one, in the version that is here."""
    top = type(app).__module__.partition(".")[0]
    if top in sys.stdlib_module_names or top == "longwire":
        return []
    names = metadata.packages_distributions().get(top, [])
    return [f"{name.lower()}=={metadata.version(name)}" for name in names[:1]]


def missing(text: str, line: str) -> str | None:
    """Return what a requirements.txt lacks of Longwire's line: all of it, or extras; or None."""
    wanted = re.match(r"longwire(?:\[(.*)\])?", line)
    found = re.search(r"(?im)^\s*longwire\s*(?:\[(.*?)\])?\s*(?:$|[=<>~!;@#\s])", text)
    if wanted is None or found is None:
        return "longwire"
    extras = _names(wanted[1]) - _names(found[1])
    return f"the extra {' and '.join(sorted(extras))} of longwire" if extras else None


def _names(listed: str | None) -> set[str]:
    return {name.strip().lower() for name in (listed or "").split(",")} - {""}
