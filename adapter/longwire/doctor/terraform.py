"""What `terraform show -json` prints of a plan or a state -> resources, in CloudFormation's words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from longwire.doctor.resources import Place, Resource, Source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from longwire.doctor.documents import Lines


def is_shown(value: Mapping[str, Any]) -> bool:
    return "format_version" in value and ("planned_values" in value or "values" in value)


def read(shown: Mapping[str, Any], lines: Lines, folder: Path | None) -> Source:
    return Source(())
