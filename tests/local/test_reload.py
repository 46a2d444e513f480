"""`longwire dev --reload`: a real supervisor, a real child, real changes of files."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.local.running import Dev

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

VERSION = """
def handler(event, context):
    return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "v%d"}}
"""

RESTARTING = "longwire dev: reload_app.py changed, restarting\n"


def subprotocol(url: str) -> str | None:
    with connect(url, subprotocols=[Subprotocol("v1"), Subprotocol("v22")]) as client:
        return client.subprotocol


def test_a_change_restarts_the_gateway(tmp_path: Path) -> None:
    """A broken file is reported and the next change is waited for; Ctrl-C ends it with 0."""
    source = tmp_path / "reload_app.py"
    source.write_text(VERSION % 1)
    with Dev(tmp_path, "reload_app:handler", "--reload") as dev:
        assert subprotocol(dev.ready()[1]) == "v1"
        source.write_text("def broken(:\n")
        assert dev.process.stderr is not None
        assert dev.process.stderr.readline() == RESTARTING
        error = dev.process.stderr.readline()
        assert "reload_app.py:1: SyntaxError: invalid syntax" in error
        source.write_text(VERSION % 22)  # of another size: a .pyc knows its source by time and size
        assert [dev.line().split()[1] for _ in range(2)] == ["CONNECT", "DISCONNECT"]
        assert subprotocol(dev.ready()[1]) == "v22"
        code, _, err = dev.stop(signal.SIGINT)
    assert (code, err) == (0, RESTARTING)


def test_a_child_that_cannot_serve_ends_the_supervisor(tmp_path: Path) -> None:
    """Editing a file will not free a port."""
    (tmp_path / "reload_app.py").write_text(VERSION % 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Dev(tmp_path, "reload_app:handler", "--reload", "--port", port) as dev:
            _, err = dev.process.communicate(timeout=30)
            assert dev.process.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in err
