"""The function in npm's osls with serverless-offline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.emulators.emulator import HANDLER, RUNTIME, TIMEOUT, Emulator, bundle
from tests.servers import unavailable
from tests.servers.aws import KEYS
from tests.servers.process import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

# What `DIFFERS` says is said of these.
PACKAGES = {"osls": "4.3.1", "serverless-offline": "14.8.2"}
INSTALL_TIMEOUT = 300.0  # seconds
ROOT = Path(__file__).parents[2]


@contextmanager
def offline(folder: Path) -> Iterator[Emulator]:
    """Run it with a WebSocket API whose three routes go to the function."""
    service = bundle(folder / "service")
    (service / "serverless.json").write_text(json.dumps(_service()))
    osls = _installed() / "osls" / "bin" / "serverless.js"
    command = [_program("node"), str(osls), "offline", "start", "--noSponsor"]
    command += ["--host", "127.0.0.1", "--websocketPort", "{port}"]
    command += ["--httpPort", str(free_port()), "--lambdaPort", str(free_port())]
    server = ServerProcess(command, _environ(folder), folder=service)
    try:
        server.start()
        place = f"127.0.0.1:{server.port}"
        version = f"{PACKAGES['serverless-offline']}, osls {PACKAGES['osls']}"
        yield Emulator("serverless-offline", version, f"ws://{place}", f"http://{place}")
    finally:
        server.close()


def _service() -> dict[str, Any]:
    routes = [{"websocket": {"route": key}} for key in ("$connect", "$disconnect", "$default")]
    return {
        "service": "emulated",
        "plugins": ["serverless-offline"],
        "provider": {"name": "aws", "runtime": RUNTIME, "timeout": TIMEOUT},
        "functions": {"emulated": {"handler": HANDLER, "events": routes}},
    }


def _environ(folder: Path) -> dict[str, str]:
    """Return what the function finds in its environment; osls hands on all of its own."""
    return {
        **KEYS,
        # It runs the first `python3`, and keeps things of its own at home.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONPATH": str(folder / "service"),
        "CONNECTIONS_FILE": str(folder / "connections.sqlite3"),
        # The events' domain name is "localhost", and they do not tell the port.
        "WS_MANAGEMENT_ENDPOINT": "http://127.0.0.1:{port}",
    }


def _installed() -> Path:
    """Return the folder of the packages, installed if they are not there yet."""
    folder = Path(os.environ.get("LONGWIRE_EMULATORS") or ROOT / ".emulators")
    modules = folder / "node_modules"
    if {name: _version(modules / name) for name in PACKAGES} != PACKAGES:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        # The plugin's peer is another framework, which would be installed as well.
        command = [_program("npm"), "install", "--legacy-peer-deps", "--no-package-lock"]
        command += ["--no-audit", "--no-fund", "--ignore-scripts"]
        command += [f"{name}@{version}" for name, version in PACKAGES.items()]
        subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_TIMEOUT)
    return modules


def _version(package: Path) -> str | None:
    try:
        version: str = json.loads((package / "package.json").read_text())["version"]
    except FileNotFoundError:
        return None
    return version


def _program(name: str) -> str:
    return shutil.which(name) or unavailable("serverless-offline", f"{name} is not on the PATH")
