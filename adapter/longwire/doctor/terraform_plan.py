"""The shapes in what Terraform prints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_MODULES = 30  # deep


class PlannedResource(NamedTuple):
    """A resource of a plan or a state."""

    address: str
    type: str
    module: str  # of the configuration, such as "module.chat."
    values: Mapping[str, Any]
    unknown: Any  # which of its values are known afterwards
    sensitive: Mapping[str, Any]  # which of its values come from something secret
    expressions: Mapping[str, Any]
    line: int | None
    lines: Mapping[str, int]


def modules(
    configuration: Mapping[str, Any], name: str, parent: tuple[str, Any] | None, depth: int = 0
) -> Iterator[tuple[str, tuple[str | None, Any, dict[str, Any]]]]:
    """Give each module of a configuration: its parent, how it is called, its expressions."""
    expressions = {
        local_name(one): mapping_in(one.get("expressions"))
        for one in list_in(configuration.get("resources"))
        if isinstance(one, dict)
    }
    yield name, (parent[0] if parent else None, parent[1] if parent else None, expressions)
    for call, said in mapping_in(configuration.get("module_calls")).items():
        if depth < MOST_MODULES:
            inner = mapping_in(mapping_in(said).get("module"))
            yield from modules(inner, f"{name}module.{call}.", (name, said), depth + 1)


def without_keys(address: str) -> str:
    """Take `[0]` and `["name"]` out of an address."""
    return re.sub(r"\[[^\]]*\]", "", address)


def references_in(expression: Any) -> list[str]:
    references = mapping_in(expression).get("references")
    return [one for one in list_in(references) if isinstance(one, str)]


def first(value: Any) -> Any:
    return (
        value[0]
        if isinstance(value, list) and value
        else value
        if isinstance(value, dict)
        else None
    )


def mapping_in(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def list_in(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def local_name(resource: Mapping[str, Any]) -> str:
    """Return what a module's own references call a resource."""
    data = "data." if resource.get("mode") == "data" else ""
    return f"{data}{resource.get('type')}.{resource.get('name')}"
