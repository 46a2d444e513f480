"""The texts of our errors and of what we log, as the source has them."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from tests.documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEVELS = ("warning", "error", "critical", "exception")


class Said(NamedTuple):
    """A text of the source: where it is, of which class or level, and its fixed parts."""

    place: str
    kind: str
    parts: tuple[str, ...]


def collected(*folders: str) -> list[Said]:
    """Return what is logged as a warning or worse, and each error that is made with a text."""
    found = []
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            found += list(_in_file(file))
    return found


def _in_file(file: Path) -> Iterator[Said]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        kind = _kind(node.func)
        if kind is None:
            continue
        for argument in node.args:
            given = constants.get(argument.id) if isinstance(argument, ast.Name) else argument
            parts = tuple(_fixed(given)) if given is not None else ()
            if parts:
                place = f"{file.relative_to(ROOT).as_posix()}:{node.lineno}"
                yield Said(place, kind, parts)
                break


def _kind(called: ast.expr) -> str | None:
    match called:
        case ast.Attribute(value=ast.Name("logger"), attr=level) if level in LEVELS:
            return level
        case ast.Name(name) | ast.Attribute(attr=name) if name.endswith("Error"):
            return name
    return None


def _fixed(node: ast.AST) -> Iterator[str]:
    """Yield the parts of a text that are always the same."""
    match node:
        case ast.Constant(value=str(text)):
            for part in re.split(r"%[-.\d]*[a-z]", text):
                if len(part.strip(" :;,.'\"()")) > 3:
                    yield " ".join(part.split()).strip(" :;,.'\"()")
        case ast.JoinedStr(values=values):
            for value in values:
                yield from _fixed(value)
        case ast.BinOp(left=left, right=right):
            yield from _fixed(left)
            yield from _fixed(right)
