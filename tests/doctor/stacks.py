"""A good stack, and changes to it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longwire.doctor.cloudformation import read
from longwire.doctor.diagnosis import diagnose
from longwire.doctor.modelling import stack_of

if TYPE_CHECKING:
    from longwire.doctor.findings import Finding

TEMPLATES = Path(__file__).with_name("templates")
GOOD: dict[str, Any] = json.loads((TEMPLATES / "good.json").read_text(encoding="utf-8"))
# In the place of a value: there is none.
GONE = object()


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the good template with changes; a path is `Resource.property.property`."""
    template = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *way, last = path.split("/")
        place: Any = template["Resources"]
        for key in way:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        if value is GONE:
            place.pop(int(last)) if isinstance(place, list) else place.pop(last, None)
        elif isinstance(place, list):
            place.insert(int(last), value) if int(last) == len(place) else place.__setitem__(
                int(last), value
            )
        else:
            place[last] = value
    return template


def findings_of(template: dict[str, Any], *named: str) -> list[Finding]:
    """Diagnose a template of CloudFormation."""
    return diagnose(stack_of(read(template, {}, None)), named)


def codes_of(template: dict[str, Any], *named: str) -> set[str]:
    """Return the codes of what is found in a template."""
    return {one.code for one in findings_of(template, *named)}
