"""The function in npm's osls with serverless-offline."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.emulators.emulator import HANDLER, RUNTIME, TIMEOUT, Emulator, bundle
from tests.emulators.npm import installed, program
from tests.servers.aws import KEYS
from tests.servers.process import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "serverless-offline"
# What `DIFFERS` says is said of these.
PACKAGES = {"osls": "4.3.1", "serverless-offline": "14.8.2"}


@contextmanager
def offline(folder: Path) -> Iterator[Emulator]:
    """Run it with a WebSocket API whose three routes go to the function."""
    service = bundle(folder / "service")
    (service / "serverless.json").write_text(json.dumps(_service()))
    osls = installed(NAME, PACKAGES) / "osls" / "bin" / "serverless.js"
    command = [program(NAME, "node"), str(osls), "offline", "start", "--noSponsor"]
    command += ["--host", "127.0.0.1", "--websocketPort", "{port}"]
    command += ["--httpPort", str(free_port()), "--lambdaPort", str(free_port())]
    server = ServerProcess(command, _environ(folder), folder=service)
    try:
        server.start()
        place = f"127.0.0.1:{server.port}"
        version = f"{PACKAGES['serverless-offline']}, osls {PACKAGES['osls']}"
        yield Emulator(NAME, version, f"ws://{place}", f"http://{place}")
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
