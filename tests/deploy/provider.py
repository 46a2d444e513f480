"""Compare Terraform files with the AWS provider's types: `python provider.py FILE.tf ...`.

It runs in .venv-terraform, and prints each mistake as a line of its own. `terraform validate` says
the same, but needs the provider, which is not to be had from a package registry. The types of
cdktn-provider-aws are made of the provider's schema; they are read as text, since importing them
starts node.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hcl2

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of Terraform itself; `connection` and the like are in the types, too.
META = {"count", "depends_on", "for_each", "lifecycle", "provider"}


class Argument(NamedTuple):
    """An argument of a resource or of a block in it."""

    required: bool
    # The type of a block; None for a value.
    block: str | None
    is_text: bool


@functools.cache
def provider() -> Path:
    """Return the folder of the types."""
    files = importlib.metadata.files("cdktn-provider-aws") or ()
    found = next(path for path in files if path.parts[-2:] == ("cdktn_provider_aws", "__init__.py"))
    return Path(str(found.locate())).parent


@functools.cache
def types(module: str) -> dict[str, dict[str, Argument]]:
    """Return all types of a module: their arguments by name."""
    file = provider() / module / "__init__.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {one.name: _arguments(one) for one in tree.body if isinstance(one, ast.ClassDef)}


def _arguments(node: ast.ClassDef) -> dict[str, Argument]:
    made = next((one for one in node.body if getattr(one, "name", "") == "__init__"), None)
    if not isinstance(made, ast.FunctionDef):
        return {}
    found = {}
    for argument, default in zip(made.args.kwonlyargs, made.args.kw_defaults, strict=True):
        kind = ast.unparse(argument.annotation) if argument.annotation else ""
        block = re.search(rf"'?\b({node.name}\w+)\b'?", kind) or re.search(
            r"Union\['([A-Z]\w+)', typing\.Dict", kind
        )
        name = argument.arg.rstrip("_")
        is_text = "builtins.str" in kind and "Sequence" not in kind and "Mapping" not in kind
        found[name] = Argument(default is None, block and block[1], is_text and block is None)
    return found


def mistakes(file: Path) -> Iterator[str]:
    """Yield what the provider would refuse."""
    with file.open(encoding="utf-8") as text:
        content = hcl2.load(text)
    for kind, label, body in _resources(content):
        where = f"{file.name}: {kind}.{label}"
        module = kind.removeprefix("aws_")
        if not (provider() / module).is_dir():
            yield f"{where}: the provider has no such resource"
            continue
        name = "".join(part.title() for part in module.split("_"))
        known = next(key for key in types(module) if key.lower() == name.lower())
        yield from _check(where, module, types(module)[known], body, top=True)
    yield from _references(file.name, content)


def _resources(content: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for block in content.get("resource", ()):
        for kind, labelled in _plain(block).items():
            for label, body in _plain(labelled).items():
                yield kind.strip('"'), label.strip('"'), body


def _plain(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if not name.startswith("__")}


def _check(
    where: str, module: str, known: dict[str, Argument], body: dict[str, Any], *, top: bool = False
) -> Iterator[str]:
    given = _plain(body)
    for name, argument in known.items():
        if argument.required and name not in given:
            yield f"{where}: {name} is missing"
    for name, value in given.items():
        if top and name in META:
            continue
        if name not in known:
            yield f"{where}: there is no argument {name}"
            continue
        block = known[name].block
        is_block = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
        if is_block and block is not None:
            for one in value:
                yield from _check(f"{where}.{name}", module, types(module)[block], one)
        elif is_block or (block is not None and not _is_expression(value)):
            yield f"{where}: {name} is {'a value' if block is None else 'a block'}"
        elif known[name].is_text and isinstance(value, list | dict):
            yield f"{where}: {name} is a text"


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("${")


REFERENCE = re.compile(r"\b(aws_\w+)\.(\w+)(?:\[[^\]]*\])?\.(\w+)|\bvar\.(\w+)")


def _references(file: str, content: dict[str, Any]) -> Iterator[str]:
    """Yield references to what is not in the file, or to what it has not."""
    there = {(kind, label) for kind, label, _ in _resources(content)}
    variables = {name.strip('"') for one in content.get("variable", ()) for name in _plain(one)}
    for kind, label, attribute, variable in REFERENCE.findall(str(content)):
        if variable and variable not in variables:
            yield f"{file}: there is no variable {variable}"
        elif kind and (kind, label) not in there:
            yield f"{file}: there is no {kind}.{label}"
        elif kind and attribute not in _attributes(kind.removeprefix("aws_")):
            yield f"{file}: {kind} has no {attribute}"


@functools.cache
def _attributes(module: str) -> set[str]:
    """Return what a resource can be asked for: its properties."""
    file = provider() / module / "__init__.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    name = module.replace("_", "")
    made = next(
        one for one in tree.body if isinstance(one, ast.ClassDef) and one.name.lower() == name
    )
    return {one.name for one in made.body if isinstance(one, ast.FunctionDef)}


if __name__ == "__main__":
    found = [line for file in sys.argv[1:] for line in mistakes(Path(file))]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    sys.exit(bool(found))
