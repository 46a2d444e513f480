"""What may import what, what is public, and what an import costs."""

from __future__ import annotations

import ast
import gc
import os
import subprocess
import sys
import traceback
import zipfile
from collections import Counter
from pathlib import Path

import pytest

import longwire
import longwire_aws
import longwire_backends
import longwire_pytest

SOURCES = {
    "longwire": Path(longwire.__file__).parent,
    "longwire_pytest": Path(longwire_pytest.__file__).parent,
    "longwire_backends": Path(longwire_backends.__file__).parent,
    "longwire_aws": Path(longwire_aws.__file__).parent,
}
ALLOWED = {
    "longwire": {"longwire", "longwire_backends", "longwire_aws"},
    "longwire_pytest": {"longwire"},
    "longwire_backends": {"longwire_backends", "longwire_aws"},
    "longwire_aws": {"longwire_aws"},
}
# The extra that a module may need besides the standard library.
THIRD_PARTY = {
    "longwire_backends/postgresql/with_psycopg.py": {"psycopg"},
    "longwire_backends/postgresql/with_psycopg2.py": {"psycopg2"},
    "longwire/asgi/http.py": {"mangum"},
    "longwire/channels.py": {"channels"},
    "longwire/observability/tracing.py": {"opentelemetry"},
    "longwire_pytest/__init__.py": {"pytest"},
    "longwire/testing/__init__.py": {"starlette"},  # of types alone
    "longwire/cli/dev.py": {"awslambdaric"},
    "longwire/cli/entry.py": {"awslambdaric"},
    "longwire/local/server/websocket.py": {"websockets"},
    "longwire/local/reload.py": {"watchfiles"},
    "longwire/cli/main.py": {"websockets", "watchfiles"},
    "longwire/doctor/documents.py": {"yaml"},
    "longwire/doctor/sam.py": {"boto3", "samtranslator"},
    "longwire/doctor/looking.py": {"boto3", "botocore"},
    "longwire/doctor/handshake.py": {"websockets"},
    "longwire/runtime/snapstart.py": {"snapshot_restore_py"},
}


# The rooms of `longwire`, from the roof to the ground: each imports only from floors below.
FLOORS = (
    {"__main__"},
    {"testing"},
    {"cli"},
    {"local", "deploy", "doctor"},
    {"__init__"},
    {"functions", "channels"},
    {"handler", "manager"},
    {"connections"},
    {"middleware", "ws_gateway", "event_end", "replaying"},
    {"invocation", "fanout"},
    {"replay"},
    {"registry"},
    {"runtime"},
    {"asgi", "observability", "config"},
    {"apigateway"},
    {"deadlines"},
    {"exceptions", "types"},
)
# What these take from the rest: what users may, constants, and shapes of AWS.
ITSELF = (
    "longwire.cli.",
    "longwire.deploy.",
    "longwire.doctor.",
    "longwire.local.",
    "longwire.testing.",
)
OF_USERS = {
    "longwire.__init__",
    "longwire.apigateway.responses",
    "longwire.config.settings",
    "longwire.config.sources",
    "longwire.exceptions",
    "longwire.fanout.sweep",
    "longwire.handler",
    "longwire.types",
}


def _sources() -> dict[str, ast.Module]:
    """Return all modules by their dotted names; a package is its `__init__`."""
    return {
        ".".join((package, *path.relative_to(folder).with_suffix("").parts)): ast.parse(
            path.read_text(encoding="utf-8")
        )
        for package, folder in SOURCES.items()
        for path in sorted(folder.rglob("*.py"))
    }


TREES = _sources()
NAMES = sorted(TREES)


def _imports(name: str) -> set[str]:
    """Return what a module imports, wherever in it, also where only types need it."""
    found: set[str] = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if _module(submodule) else node.module)
    return found


def _module(dotted: str) -> str | None:
    """Return the name under which one of our modules is known."""
    return next((name for name in (dotted, f"{dotted}.__init__") if name in TREES), None)


ARROWS = {
    name: {ours for one in _imports(name) if (ours := _module(one)) and ours != name}
    for name in NAMES
}


def _circle(arrows: dict[str, set[str]]) -> list[str]:
    """Return what imports itself by way of others; empty when nothing does."""
    done: set[str] = set()

    def search(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            done.add(name)
            for other in sorted(arrows.get(name, ())):
                if found := search(other, [*way, name]):
                    return found
        return []

    return next((found for name in sorted(arrows) if (found := search(name, []))), [])


def _inside(folder: str) -> dict[str, set[str]]:
    """Return the arrows between what a folder holds: its modules, and folders as one."""
    arrows: dict[str, set[str]] = {}

    def room(name: str) -> str:
        return name.removeprefix(f"{folder}.").partition(".")[0]

    for name, targets in ARROWS.items():
        if name.startswith(f"{folder}."):
            others = {room(one) for one in targets if one.startswith(f"{folder}.")}
            arrows.setdefault(room(name), set()).update(others - {room(name)})
    return arrows


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert _circle(ARROWS) == []


def test_no_folder_imports_itself_by_way_of_others() -> None:
    folders = {name.rpartition(".")[0] for name in NAMES}
    assert len(folders) > 15
    assert [circle for folder in folders if (circle := _circle(_inside(folder)))] == []


def test_a_circle_is_found() -> None:
    assert _circle({"a": {"b"}, "b": {"c", "d"}, "c": {"b"}}) == ["b", "c", "b"]


def test_imports_point_down() -> None:
    """And each new room says on which floor it is."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    arrows = _inside("longwire")
    assert sorted(floor) == sorted(arrows)
    up = [(a, b) for a, others in arrows.items() for b in others if floor[a] >= floor[b]]
    assert up == []


@pytest.mark.parametrize("name", NAMES)
def test_a_module_imports_only_what_its_place_allows(name: str) -> None:
    """longwire -> longwire_backends -> longwire_aws -> nothing of ours."""
    package, _, rest = name.partition(".")
    path = f"{package}/{rest.replace('.', '/')}.py"
    foreign = {one.partition(".")[0] for one in _imports(name)} - set(sys.stdlib_module_names)
    assert foreign - ALLOWED[package] <= THIRD_PARTY.get(path, set())


def test_the_local_gateway_uses_what_users_could() -> None:
    inside = [name for name in NAMES if name.startswith(ITSELF)]
    taken = {one for name in inside for one in ARROWS[name] if one.startswith("longwire.")}
    assert {one for one in taken if not one.startswith(ITSELF)} == OF_USERS


def test_a_class_name_is_used_once() -> None:
    """Nobody has to ask which `Connection` is meant."""
    names = Counter(
        node.name for tree in TREES.values() for node in tree.body if isinstance(node, ast.ClassDef)
    )
    assert [name for name, times in names.items() if times > 1] == []


def test_public_names_are_these() -> None:
    """A new one is a decision."""
    assert longwire.__all__ == [
        "BackendError",
        "ConfigurationError",
        "ConnectionGoneError",
        "ConnectionInfo",
        "Connections",
        "ConnectionsMiddleware",
        "InvalidArgumentError",
        "Longwire",
        "LongwireError",
        "ManagementError",
        "MessageTooLargeError",
        "OnceError",
        "ReplayFilter",
        "SendResult",
        "SlowClientError",
        "StateError",
        "SyncConnections",
        "SyncWebSocketContext",
        "UserConnection",
        "WSConfig",
        "WSFanout",
        "WSGateway",
        "WSParams",
        "WebSocketContext",
        "WebSocketHandler",
        "WebSocketManager",
        "get_websocket_manager",
        "is_event_end",
        "once",
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
    assert "longwire/local/inspector/page.html" in names
    assert "longwire/deploy/projects/chat/main.py.txt" in names


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
        {"sqlite3", "boto3", "botocore", "redis", "psycopg", "psycopg2", "starlette", "mangum"}
        | {"websockets", "watchfiles", "anyio", "argparse", "email", "opentelemetry"}
    )


def test_a_file_is_parsed_while_the_collector_prints_a_traceback() -> None:
    """As for a task whose error nobody asked for; Python 3.11 parses a line for it itself."""
    printed = []

    def prints(phase: str, info: object) -> None:
        printed.append(traceback.format_exception(error))

    try:
        raise ValueError
    except ValueError as raised:
        error = raised
    gc.callbacks.append(prints)
    try:
        ast.parse("x = [1, 2, 3]\n" * 5000)
    finally:
        gc.callbacks.remove(prints)
    assert printed
