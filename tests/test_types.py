"""What type checkers know: all that users touch, and what is wrong in a configuration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

import longwire
from longwire.config import schema
from longwire.config.ws_config import WSConfig, WSFanout, WSParams
from longwire_backends.base import Backend
from tests.documents import FILES

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "tests" / "typed" / "program.py"

PARAMS = [key for store in schema.STORES.values() for key in store.keys]


@pytest.mark.parametrize(
    ("typed", "keys"),
    [(WSConfig, schema.OWN), (WSFanout, schema.FANOUT_KEYS), (WSParams, PARAMS)],
)
def test_the_types_say_what_the_tables_say(typed: Any, keys: Iterable[schema.Key]) -> None:
    """The same keys, and for each what it may be."""
    hints = get_type_hints(typed)
    assert set(hints) == {key.name for key in keys}
    for key in keys:
        kinds = _kinds(hints[key.name])
        if key in PARAMS and None in {one.default for one in PARAMS if one.name == key.name}:
            kinds -= {types.NoneType}  # an optional one may be given as None
        assert kinds == set(key.kind.types), key.name


def _kinds(hint: Any) -> set[type]:
    """Return the types of values that fit."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return {kind for one in get_args(hint) for kind in _kinds(one)}
    if origin is Literal:
        return {type(one) for one in get_args(hint)}
    if hint is float:
        return {float, int}
    if hint in (WSParams, WSFanout):
        return {Mapping}
    return {origin or hint}


def test_a_backend_is_one_that_there_is() -> None:
    names, other = get_args(get_type_hints(WSConfig)["backend"])
    assert (set(get_args(names)), other) == (set(schema.STORES), Backend)


def test_every_type_that_is_handed_out_has_a_public_name() -> None:
    """The program has them all."""
    used = set(re.findall(r"\w+", PROGRAM.read_text(encoding="utf-8")))
    classes = {name for name in longwire.__all__ if isinstance(getattr(longwire, name), type)}
    assert {name for name in classes - used if not name.endswith("Error")} == {
        "ConnectionsMiddleware",
        "ReplayFilter",
    }


MISTAKES = """
Longwire(app, ws_config={"backend": "nope"})
Longwire(app, ws_config={"backend": "memory", "parms": {}})
Longwire(app, ws_config={"params": {}})
Longwire(app, ws_config={"backend": "sqlite3", "params": {"file_pth": "x"}})
Longwire(app, fanout={"queue": "x"})
Connections(ws_config={"backend": "memory", "ttl": "60"})
Connections(dumps=lambda: "x")
Gateway(app, {"backend": "memory", "exclude_headers": "cookie"})
websocket_handler(ws_config={"backend": "memory", "binary": "utf-8"})
config: WSConfig = {"backend": "memory", "liger": 1}
"""
IMPORTS = """\
from longwire import Connections, Longwire, WSConfig, websocket_handler
from longwire.testing import Gateway
async def app(scope: object, receive: object, send: object) -> None: ...
"""


@pytest.fixture
def mistakes(tmp_path: Path) -> Path:
    file = tmp_path / "mistakes.py"
    file.write_text(IMPORTS.rstrip() + MISTAKES, encoding="utf-8")
    return file


def _wrong_lines(checked: str, file: Path) -> set[int]:
    return {int(line) for line in re.findall(rf"{file.name}:(\d+).*? error:", checked)}


def _run(*command: str, **environ: str) -> str:
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environ}
    )
    return run.stdout + run.stderr


LINES = {number for number, _ in enumerate(MISTAKES.strip().splitlines(), 4)}


@pytest.mark.timeout(300)
def test_mypy_finds_each_mistake_and_nothing_else(mistakes: Path) -> None:
    pytest.importorskip("mypy")
    folder = mistakes.parent
    for name in ("typed.py", "main.py"):  # the documents' own
        (folder / name).write_text(FILES[name], encoding="utf-8")
    checked = _run(
        *(sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "cache")),
        *(str(mistakes), str(PROGRAM), str(folder / "typed.py")),
    )
    assert _wrong_lines(checked, mistakes) == LINES, checked
    assert "program.py" not in checked
    assert "typed.py" not in checked


@pytest.mark.timeout(300)
def test_pyright_finds_each_mistake_and_nothing_else(mistakes: Path) -> None:
    if find_spec("pyright") is None:
        pytest.skip("pyright is not installed")
    # In strict mode, and with our folders where an installed package would be.
    found = os.pathsep.join(str(ROOT / folder) for folder in ("adapter", "backends"))
    program = mistakes.with_name("program.py")
    program.write_text(f"# pyright: strict\n{PROGRAM.read_text(encoding='utf-8')}", "utf-8")
    command = (sys.executable, "-m", "pyright", "--pythonpath", sys.executable)
    checked = _run(*command, str(mistakes), str(program), PYTHONPATH=found)
    if "error" not in checked:
        pytest.skip(f"pyright cannot run here: {checked[-200:]}")
    assert _wrong_lines(checked.replace(" - error", " error"), mistakes) == LINES, checked
    assert "program.py" not in checked
