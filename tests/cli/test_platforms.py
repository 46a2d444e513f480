"""`longwire dev` and `longwire.testing` where POSIX ends: on Windows, and in what resembles it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.local.running import Dev, interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOWS = Path(__file__).parents[1] / "local" / "windows.py"

APP = """
import asyncio
from longwire import Connections

connections = Connections()
ended = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shut down", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    await connections.group_add("room", scope)
    await send({"type": "websocket.send", "text": "hello"})
    while (message := await receive())["type"] == "websocket.receive":
        text = await asyncio.to_thread(str.upper, message["text"])
        await connections.group_send("room", {"said": text})
        connections.sync  # has a loop of its own
    print(f"left {message['code']}", flush=True)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(APP, encoding="utf-8")
    return tmp_path


@pytest.fixture
def dev(directory: Path) -> Iterator[Dev]:
    with Dev(directory, command=[str(WINDOWS), "dev", "--port", "0"]) as dev:
        yield dev


def test_clients_talk_until_ctrl_c(dev: Dev, directory: Path) -> None:
    """Through the management API, with the sqlite3 file; the end is the same as elsewhere."""
    url = dev.ready()[1]
    with connect(url) as ann, connect(url) as bob:
        assert (ann.recv(), bob.recv()) == ("hello", "hello")
        ann.send("hi")
        assert json.loads(ann.recv()) == json.loads(bob.recv()) == {"said": "HI"}
        while "MESSAGE" not in dev.line():
            pass  # the event is over
        interrupt(dev.process)
        for client in (ann, bob):
            with pytest.raises(ConnectionClosed):
                client.recv()
            assert client.protocol.close_code == 1001
    out, err = dev.process.communicate(timeout=30)
    assert dev.process.returncode == 0
    assert out.count("left 1001") == 2, out
    assert out.count("shut down") == 1
    assert err.startswith("longwire dev: stopping: 2 connected, ")
    assert len(err.splitlines()) == 1  # and nothing of an event loop that lacks something
    assert (directory / ".longwire.sqlite3").exists()


@pytest.mark.parametrize("more", [[], ["--reload"], ["--reload", "--authorizer", "main:no"]])
def test_processes_are_for_linux(directory: Path, more: list[str]) -> None:
    """One line says so, and what helps; not how to install what would not run."""
    command = [sys.executable, str(WINDOWS), "dev", "--instances", "2", "--port", "0", *more]
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == (
        "longwire: --instances: AWS's own Lambda runtime, in which it runs the function, is for "
        "Linux only: leave it out, or run longwire dev in WSL or a container\n"
    )


TESTED = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import windows
if sys.platform != "win32":
    windows.take_away()
from longwire.testing import Gateway
from main import app

async def test():
    async with Gateway(app) as gateway, gateway.connect("/") as ws:
        assert await ws.receive() == "hello"
        await ws.send("hi")
        assert await ws.receive_json() == {"said": "HI"}

asyncio.run(test())
"""


def test_an_app_is_tested_there(directory: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", TESTED, str(WINDOWS.parent)]
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")
