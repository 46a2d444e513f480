"""What is in a function's package: the only I/O of a check, made before the checks begin."""

from __future__ import annotations

import ast
import os
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_FILES = 20_000
MOST_BYTES = 2_000_000  # of a module
MOST_COMPILED = 200
_SKIPPED = {
    ".git",
    ".venv",
    "venv",
    "node_modules",
    "__pycache__",
    ".aws-sam",
    "cdk.out",
    ".serverless",
}
_FOR_PYTHON = re.compile(r"\.(?:cpython-|cp)3(\d+)")
# The machine in the header of ELF, and how files of macOS begin.
_MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}
_MACH_O = (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xfe\xed\xfa\xcf")


class Compiled(NamedTuple):
    """A compiled module, and what it is for; empty where nobody can tell."""

    name: str
    python: str  # such as "3.13"
    machine: str  # "x86_64", "arm64", "macOS" or "Windows"


class Package(NamedTuple):
    """What is in a package, as far as checks ask."""

    modules: frozenset[str]  # the dotted names of the modules at its root, and below
    names: frozenset[str] | None  # what the handler's module gives names to; None: who knows
    source: str | None  # the handler's module
    requirements: str | None
    built: bool  # it has the packages of others in it, as after a build
    compiled: tuple[Compiled, ...]


class _Files(Protocol):
    """A folder or a zip file."""

    def names(self) -> Iterator[str]: ...

    def read(self, name: str, most: int) -> bytes: ...


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> Iterator[str]:
        for path, folders, files in os.walk(self._path):
            folders[:] = sorted(one for one in folders if one not in _SKIPPED)
            for file in sorted(files):
                yield Path(path, file).relative_to(self._path).as_posix()

    def read(self, name: str, most: int) -> bytes:
        with (self._path / name).open("rb") as file:
            return file.read(most)


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def names(self) -> Iterator[str]:
        yield from self._archive.namelist()

    def read(self, name: str, most: int) -> bytes:
        with self._archive.open(name) as file:
            return file.read(most)


def read_package(path: Path, handler: object) -> Package | None:
    """Look into a package; None: it cannot be read, so that nothing is known of it."""
    try:
        if path.is_dir():
            return _read(_Folder(path), handler)
        if path.suffix == ".zip" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read(_Zip(archive), handler)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError):
        pass
    return None


def extensions_in(path: Path) -> int:
    """Count the extensions of a layer."""
    try:
        return sum(one.is_file() for one in (path / "extensions").iterdir())
    except OSError:
        return 0


def _read(files: _Files, handler: object) -> Package | None:
    names = []
    for name in files.names():
        names.append(name)
        if len(names) > MOST_FILES:
            return None  # half of it would be wrong to judge by
    known = set(names)
    module = handler.rpartition(".")[0].replace(".", "/") if isinstance(handler, str) else ""
    path = next((one for one in (f"{module}.py", f"{module}/__init__.py") if one in known), None)
    source = files.read(path, MOST_BYTES).decode("utf-8", "replace") if path else None
    requirements = None
    if "requirements.txt" in known:
        requirements = files.read("requirements.txt", MOST_BYTES).decode("utf-8", "replace")
    return Package(
        frozenset(_modules(names)),
        None if source is None else _names(source),
        source,
        requirements,
        any(".dist-info/" in one for one in names),
        tuple(_compiled(files, names)),
    )


def _modules(names: list[str]) -> Iterator[str]:
    for name in names:
        if name.endswith(".py"):
            dotted = name.removesuffix(".py").replace("/", ".")
            yield dotted.removesuffix(".__init__")
        elif "/" in name:
            yield name.partition("/")[0]  # a folder is a package without an __init__


def _names(source: str) -> frozenset[str] | None:
    """Return what a module gives names to; None: that cannot be seen in its text."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.alias(name="*"):
                return None
            case ast.alias():
                found.add((node.asname or node.name).partition(".")[0])
            case ast.Call(func=ast.Name(id="globals" | "setattr" | "exec")):
                return None
    return None if "__getattr__" in found else frozenset(found)


def _compiled(files: _Files, names: list[str]) -> Iterator[Compiled]:
    count = 0
    for name in names:
        if not name.endswith((".so", ".pyd", ".dylib")) or count >= MOST_COMPILED:
            continue
        count += 1
        python = _FOR_PYTHON.search(name)
        version = f"3.{python[1]}" if python else ""
        yield Compiled(name, version, _machine(name, files.read(name, 20)))


def _machine(name: str, head: bytes) -> str:
    if name.endswith(".pyd"):
        return "Windows"
    if head.startswith(_MACH_O):
        return "macOS"
    if head.startswith(b"\x7fELF") and len(head) >= 20:
        return _MACHINES.get(int.from_bytes(head[18:20], "little"), "")
    return ""
