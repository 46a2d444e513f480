"""The page of a running `longwire dev`: in one process, in several, and without it."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import connect

from tests.local.running import Dev

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

APP = """
import logging, os, sys
from longwire import Connections

connections = Connections()

async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    await connections.group_add("blue", scope)
    while (event := await receive())["type"] == "websocket.receive":
        text = event["text"]
        print("printed", text)
        print("to stderr", file=sys.stderr)
        logging.getLogger("mine").warning("logged %s", text)
        if text == "die":
            print("last words", flush=True)
            os._exit(7)
        if text == "crash":
            raise KeyError(text)
        await send({"type": "websocket.send", "text": f"{os.getpid()} {text}"})
"""


class Browser:
    """Asks what the page asks."""

    def __init__(self, url: str) -> None:
        self.base = url.replace("ws://", "http://")

    def get(self, path: str, **headers: str) -> Any:
        request = urllib.request.Request(f"{self.base}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def status(self, path: str, **headers: str) -> int:
        request = urllib.request.Request(f"{self.base}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def do(self, **action: Any) -> Any:
        request = urllib.request.Request(
            f"{self.base}/_longwire/do",
            json.dumps(action).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def event(self, number: int, enough: Callable[[Any], object]) -> Any:
        """Wait until an event is as it should be; what follows its answer comes a moment later."""
        until = time.monotonic() + 20
        told: Any = None
        while time.monotonic() < until:
            try:
                told = self.get(f"/_longwire/event?n={number}")
            except urllib.error.HTTPError as error:
                error.close()
                continue
            if enough(told):
                return told
        raise AssertionError(told)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(APP)
    return tmp_path


WAYS = [[], ["--instances", "2"], ["--instances", "2", "--freeze"], ["--replay"]]


@pytest.mark.parametrize("options", WAYS, ids=[" ".join(one) or "here" for one in WAYS])
def test_what_an_event_shows(directory: Path, options: list[str]) -> None:
    """What it printed and logged, what it posted, where it ran, what is stored."""
    if "--instances" in options:
        pytest.importorskip("awslambdaric")
    with Dev(directory, "main:app", *options) as dev:
        url = dev.ready()[1]
        browser = Browser(url)
        with connect(url) as ws:
            ws.send("hi")
            pid = str(ws.recv(20)).split()[0]
            one = browser.event(
                2, lambda told: told["status"] == "200" and "logged" in told["lines"]
            )
            assert one["process"] == f"pid {pid}"
            lines = one["lines"].splitlines()
            assert "printed hi" in lines
            assert "to stderr" in lines
            assert any("logged hi" in line for line in lines)
            assert one["posts"][0]["data"] == f"{pid} hi"
            assert one["status"] == "200"
            assert browser.event(1, lambda told: "process" in told).get("cold")
            told = browser.get(f"/_longwire/connection?id={one['id']}")
            assert told["stored"]["groups"] == ["blue"]
            assert told["stored"]["store"] == "sqlite3"
            assert told["stored"]["record"]["v"] == 1
            assert ("journal" in told["stored"]) is ("--replay" in options)
            ws.send("crash")
            crashed = browser.event(3, lambda told: told["status"] == "200, raised KeyError")
            assert "KeyError: 'crash'" in crashed["lines"]
            assert "printed crash" in crashed["lines"]
        assert dev.stop(signal.SIGINT)[0] == 0


def test_what_a_process_has_written_last(directory: Path) -> None:
    """It is known though the process is dead; and a process can be killed."""
    pytest.importorskip("awslambdaric")
    with Dev(directory, "main:app", "--instances", "1") as dev:
        url = dev.ready()[1]
        browser = Browser(url)
        with connect(url) as ws:
            ws.send("die")
            died = browser.event(2, lambda told: "last words" in told["lines"])
            assert (
                "exit status 7" in browser.event(2, lambda told: "exit" in told["status"])["status"]
            )
            assert died["posts"] == [] or "Internal server error" in died["posts"][0]["data"]
            ws.recv(20)
            ws.send("a")
            pid = int(str(ws.recv(20)).split()[0])
            assert browser.do(do="kill", pid=pid) == {"ok": True}
            # An event that meets it as it dies fails, as on Lambda.
            answer = '{"message"'
            while answer.startswith("{"):
                ws.send("b")
                answer = str(ws.recv(20))
            assert int(answer.split()[0]) != pid
            with pytest.raises(urllib.error.HTTPError) as refused:
                browser.do(do="kill", pid=pid)
            refused.value.close()
        assert dev.stop(signal.SIGINT)[0] == 0


def test_a_request_is_copied_with_the_port_of_http(directory: Path) -> None:
    pytest.importorskip("mangum")
    with Dev(directory, "main:app", "--http-port", "0") as dev:
        browser = Browser(dev.ready()[1])
        lines = iter(dev.line, "")
        http = next(line.strip() for line in lines if line.startswith("  http:"))
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{http}a?b=c", timeout=20)
        refused.value.close()
        told = browser.get("/_longwire/case?n=1&as=curl")
    assert f"'{http}a?b=c'" in told["text"]


def test_a_browser_at_the_address(directory: Path) -> None:
    html = {"Accept": "text/html"}
    with Dev(directory, "main:app") as dev:
        browser = Browser(dev.ready()[1])
        assert browser.status("/", **html) == 200
        assert browser.status("/") == 426
        assert browser.status("/favicon.ico") == 403
        code, _, err = dev.stop(signal.SIGINT)
        assert (code, err) == (0, "")


@pytest.mark.parametrize("options", [["--no-inspector"], ["--host", "0.0.0.0"]])
def test_no_page(directory: Path, options: list[str]) -> None:
    """If it is not wanted, or if other machines reach this gateway."""
    with Dev(directory, "main:app", *options) as dev:
        browser = Browser(dev.ready()[1])
        assert browser.status("/", Accept="text/html") == 426
        assert browser.status("/_longwire/stream") == 403
        with connect(dev.url) as ws:
            ws.send("hi")
            assert str(ws.recv(20)).endswith("hi")
        assert dev.stop(signal.SIGINT)[0] == 0


def test_code_that_is_broken_is_said_on_the_page(tmp_path: Path) -> None:
    """With --reload clients get 503, and the page says why."""
    (tmp_path / "main.py").write_text("this is no Python")
    with Dev(tmp_path, "main:app", "--reload") as dev:
        assert dev.process.stderr is not None
        dev.process.stderr.readline()
        port = _port_of(dev.process.pid)
        browser = Browser(f"ws://127.0.0.1:{port}")
        request = urllib.request.Request(f"{browser.base}/_longwire/stream")
        with urllib.request.urlopen(request, timeout=20) as stream:
            told = b""
            while b"unavailable" not in told:
                told += stream.readline()
        assert b"main.py:1" in told


def _port_of(pid: int) -> int:
    psutil = pytest.importorskip("psutil")
    for child in psutil.Process(pid).children():
        line = child.cmdline()
        return int(line[len(line) - line[::-1].index("--port")])
    raise AssertionError
