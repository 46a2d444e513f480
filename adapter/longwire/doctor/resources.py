"""What every reader makes of its source: resources, in the words of CloudFormation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.doctor.values import UNKNOWN, Ref, Text, Unknown, Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Place(NamedTuple):
    """Where something is: what findings name."""

    name: str  # the logical id of CloudFormation, the address of Terraform, or a name at AWS
    line: int | None = None
    lines: Mapping[str, int] = {}  # of its properties

    def line_of(self, *properties: str) -> int | None:
        """Return the line of the first of these properties that is there, else its own."""
        return next((self.lines[one] for one in properties if one in self.lines), self.line)


class Resource(NamedTuple):
    """One resource, as its template says it."""

    type: str  # such as "AWS::Lambda::Function"
    place: Place
    id: Value  # what others refer to it by
    properties: Mapping[str, Value]
    depends_on: tuple[str, ...] = ()

    def get(self, *path: str, default: Any = None) -> Value:
        """Return a property, or one within it; UNKNOWN where nobody can tell."""
        value: Value = self.properties
        for key in path:
            if isinstance(value, dict):
                value = value.get(key)
            elif value is None:
                return default
            else:
                return UNKNOWN
        return default if value is None else value


class Source(NamedTuple):
    """What a reader has found."""

    resources: tuple[Resource, ...]
    complete: bool = True  # False: more is somewhere else, such as in nested stacks
    folder: Path | None = None  # to which paths in it are relative
    region: str | None = None
    deployed: bool = False  # what is there is all there is, under the names that it has
    notes: tuple[str, ...] = ()


def number(value: Value) -> Value:
    """Return a number, also of a text; what is none is left."""
    if isinstance(value, str):
        try:
            return float(value) if "." in value else int(value)
        except ValueError:
            return UNKNOWN
    return UNKNOWN if isinstance(value, Ref | Text) else value


def flag(value: Value, default: bool = False) -> bool | Unknown:
    """Return a flag, also of a text."""
    if value is None:
        return default
    if isinstance(value, str):
        return value.lower() == "true"
    return value if isinstance(value, bool) else UNKNOWN
