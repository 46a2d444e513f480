"""What may import what, what is public, and what an import costs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import longwire
import longwire_aws
import longwire_backends

SOURCES = {
    "longwire": Path(longwire.__file__).parent,
    "longwire_backends": Path(longwire_backends.__file__).parent,
    "longwire_aws": Path(longwire_aws.__file__).parent,
}
ALLOWED = {
    "longwire": {"longwire", "longwire_backends", "longwire_aws"},
    "longwire_backends": {"longwire_backends", "longwire_aws"},
    "longwire_aws": {"longwire_aws"},
}
# The extra that a module may need besides the standard library.
THIRD_PARTY = {
    "longwire_backends/sqlite3/backend.py": {"aiosqlite"},
    "longwire_backends/sqlite3/file.py": {"aiosqlite"},
    "longwire_backends/redis/backend.py": {"redis"},
    "longwire_backends/redis/errors.py": {"redis"},
    "longwire_backends/postgresql/backend.py": {"psycopg2"},
    "longwire_backends/postgresql/connection.py": {"psycopg2"},
    "longwire_backends/postgresql/errors.py": {"psycopg2"},
    "longwire/asgi/http.py": {"mangum"},
    "longwire/observability/tracing.py": {"opentelemetry"},
    "longwire/local/cli/dev.py": {"awslambdaric"},
    "longwire/local/server/http.py": {"h11", "websockets"},
    "longwire/local/http11.py": {"h11"},
    "longwire/local/function/runtime_api.py": {"h11"},
    "longwire/local/server/websocket.py": {"h11", "websockets"},
    "longwire/local/reload.py": {"watchfiles"},
    "longwire/local/cli/main.py": {"h11", "websockets", "watchfiles"},
    "longwire/runtime/snapstart.py": {"snapshot_restore_py"},
}


def _modules() -> list[tuple[str, str, set[str]]]:
    found = []
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            name = f"{package}/{path.relative_to(folder)}"
            found.append((package, name, _imports(ast.parse(path.read_text()))))
    return found


def _imports(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize(
    ("package", "name", "imports"), _modules(), ids=[name for _, name, _ in _modules()]
)
def test_a_module_imports_only_what_its_place_allows(
    package: str, name: str, imports: set[str]
) -> None:
    """longwire -> longwire_backends -> longwire_aws -> nothing of ours."""
    foreign = imports - set(sys.stdlib_module_names) - ALLOWED[package]
    assert foreign <= THIRD_PARTY.get(name, set())


def test_public_names_are_these() -> None:
    """A new one is a decision."""
    assert longwire.__all__ == [
        "BackendError",
        "ConfigurationError",
        "ConnectionGoneError",
        "Connections",
        "ConnectionsMiddleware",
        "InvalidArgumentError",
        "Longwire",
        "LongwireError",
        "ManagementError",
        "MessageTooLargeError",
        "SendResult",
        "WSGateway",
        "WebSocketManager",
        "get_websocket_manager",
        "websocket_handler",
    ]
    assert longwire_backends.__all__ == [
        "Backend",
        "BackendError",
        "Page",
        "Record",
        "RecordTooLargeError",
    ]
    for module in (longwire, longwire_backends):
        assert all(hasattr(module, name) for name in module.__all__)


def test_the_wheel_holds_nothing_else(tmp_path: Path) -> None:
    """Generic folder names never become import names."""
    root = SOURCES["longwire"].parent.parent
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=root, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {*SOURCES, f"longwire-{longwire.__version__}.dist-info"}
    assert {f"{package}/py.typed" for package in SOURCES} <= set(names)


def test_importing_longwire_loads_no_driver_and_no_framework() -> None:
    """A cold start pays only for what it uses."""
    script = "import longwire, sys; print(*sys.modules)"
    # Measuring coverage would load more.
    environ = {name: value for name, value in os.environ.items() if "COV" not in name}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environ
    )
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert loaded.isdisjoint(
        {"aiosqlite", "sqlite3", "boto3", "botocore", "redis", "psycopg2", "starlette", "mangum"}
        | {"h11", "websockets", "watchfiles", "anyio", "argparse", "email", "opentelemetry"}
    )
