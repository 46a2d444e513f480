"""What newcomers type at `longwire dev`, and what they and their clients see."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from longwire.config.sources import LOCAL_FILE
from tests.local.running import Dev

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

CHAT = """
import os
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from longwire import Connections, Longwire

connections = Connections()
worker = Connections(dsn="dynamodb://connections")  # as of a job that has no event

async def chat(ws):
    await ws.accept()
    await connections.group_add("room", ws)
    async for text in ws.iter_text():
        if text == "boom":
            raise RuntimeError("no")
        members = [one async for one in worker.group_members("room")]
        await connections.group_send("room", f"{ws.path_params['room']} {text} {len(members)}")

app = Starlette(routes=[WebSocketRoute("/rooms/{room}", chat), WebSocketRoute("/shout", chat)])
handler = Longwire(app, dsn="dynamodb://connections?linger=1")
"""

# Neither a region nor keys.
NOTHING = {
    "AWS_REGION": "",
    "AWS_DEFAULT_REGION": "",
    "AWS_ACCESS_KEY_ID": "",
    "AWS_EC2_METADATA_DISABLED": "true",
    "LONGWIRE_DSN": "",
}


def ready(dev: Dev, lines: int) -> tuple[str, list[str]]:
    """Return the URL and so many more lines, with the URL taken out of them."""
    url = dev.ready()[1]
    return url, [dev.line().rstrip("\n").replace(url, "URL") for _ in range(lines)]


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command that is to end by itself; return its exit code and errors."""
    done = subprocess.run(
        [sys.executable, "-m", "longwire", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **NOTHING},
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["main.py"], ["main"], ["main:handler", "--instances", "2"]]
)
def test_a_handler_of_aws_runs_on_this_machine(tmp_path: Path, arguments: list[str]) -> None:
    """However it is named; its routes are URLs, and all its code reaches the same store."""
    (tmp_path / "main.py").write_text(CHAT)
    with Dev(tmp_path, *arguments, **NOTHING) as dev:
        url, lines = ready(dev, 3)
        assert lines == [
            "  URL/?path=/rooms/{room}",
            "  URL/?path=/shout",
            f"  connections are kept in {LOCAL_FILE}, not in the handler's dynamodb "
            "(--remote-store)",
        ]
        with connect(f"{url}/?path=/rooms/blue") as ann, connect(f"{url}/?path=/rooms/red") as bob:
            ann.send("hi")
            assert (ann.recv(20), bob.recv(20)) == ("blue hi 2",) * 2
        assert dev.stop(signal.SIGTERM)[0] == 0
    assert (tmp_path / LOCAL_FILE).exists()


@pytest.mark.parametrize(
    ("arguments", "variable", "file"),
    [
        (["--dsn", "sqlite:///mine.sqlite3"], "", "mine.sqlite3"),
        (["--file", "mine.sqlite3"], "memory://", "mine.sqlite3"),
        (
            ["--backend", "sqlite3", "--params", '{"file_path": "mine.sqlite3"}'],
            "",
            "mine.sqlite3",
        ),
        ([], "sqlite:///theirs.sqlite3", "theirs.sqlite3"),
    ],
)
def test_the_store_may_be_said(
    tmp_path: Path, arguments: list[str], variable: str, file: str
) -> None:
    """By an option, else by the environment."""
    (tmp_path / "main.py").write_text(CHAT)
    with Dev(tmp_path, *arguments, **{**NOTHING, "LONGWIRE_DSN": variable}) as dev:
        url, lines = ready(dev, 3)
        assert f"connections are kept in {file}, not in" in lines[2]
        with connect(f"{url}/?path=/rooms/blue") as client:
            client.send("hi")
            assert client.recv(20) == "blue hi 1"
        assert dev.stop(signal.SIGTERM)[0] == 0
    assert (tmp_path / file).exists()


def test_the_handlers_own_store_has_to_be_asked_for(tmp_path: Path) -> None:
    """Then what it needs is needed here, and said in one line."""
    (tmp_path / "main.py").write_text(CHAT)
    code, err = run(tmp_path, "dev", "main:handler", "--remote-store", "--port", "0")
    assert code == 2
    assert "importing 'main' failed at " in err
    assert "the region is unknown" in err
    assert len(err.splitlines()) == 1
    (tmp_path / "main.py").write_text(CHAT.replace("dynamodb://connections", "memory://"))
    with Dev(tmp_path, "main:handler", "--remote-store", **NOTHING) as dev:
        assert len(ready(dev, 2)[1]) == 2
        assert dev.stop(signal.SIGTERM)[0] == 0
    code, err = run(tmp_path, "dev", "main:app", "--remote-store", "--port", "0")
    assert (code, err) == (
        2,
        "longwire: --remote-store: main:app is an ASGI app, which has no store of its own: "
        "name a handler, or say which store with --dsn\n",
    )


def test_a_store_that_fails_is_one_line(tmp_path: Path) -> None:
    """For each client; none of it is the app's fault."""
    (tmp_path / "main.py").write_text(LOUD)
    with Dev(tmp_path, "--dsn", "redis://127.0.0.1:1", **NOTHING) as dev:
        with pytest.raises(InvalidStatus) as refused:
            connect(dev.ready()[1])
        assert refused.value.response.status_code == 502
        assert "raised BackendError, client gets 502" in dev.line()
        err = dev.stop(signal.SIGTERM)[2]
    assert "ERROR longwire.local: the function failed: redis: " in err
    assert "Connection refused" in err
    assert "Traceback" not in err


def test_an_app_that_says_nothing_and_needs_variables(tmp_path: Path) -> None:
    """`Longwire(app)` is all that the code has; the rest is in a file."""
    source = "import os\nos.environ['MY_SECRET']\n" + CHAT
    source = source.replace(', dsn="dynamodb://connections?linger=1"', "")
    (tmp_path / "app.py").write_text(source)
    (tmp_path / ".env").write_text("MY_SECRET=x\nLONGWIRE_DSN=sqlite:///env.sqlite3\n")
    environ = {name: value for name, value in NOTHING.items() if name != "LONGWIRE_DSN"}
    with Dev(tmp_path, "--env-file", ".env", **environ) as dev:
        url, lines = ready(dev, 2)
        assert lines == ["  URL/?path=/rooms/{room}", "  URL/?path=/shout"]
        with connect(f"{url}/?path=/rooms/blue") as client:
            client.send("hi")
            assert client.recv(20) == "blue hi 1"
        assert dev.stop(signal.SIGTERM)[0] == 0
    assert (tmp_path / "env.sqlite3").exists()
    code, err = run(tmp_path, "dev", "--port", "0")
    assert code == 2
    assert "app.py:2: KeyError: 'MY_SECRET'" in err


def test_a_restart_reads_the_variables_anew(tmp_path: Path) -> None:
    source, variables = tmp_path / "main.py", tmp_path / ".env"
    source.write_text("import os\nprint(os.environ['WORD'], flush=True)\n" + LOUD)
    variables.write_text("WORD=one\n")
    with Dev(tmp_path, "--env-file", ".env", "--reload") as dev:
        assert dev.line() == "one\n"
        dev.ready()
        variables.write_text("WORD=two\n")
        source.write_text(source.read_text() + "\n")
        assert dev.line() == "two\n"
        dev.ready()
        assert dev.stop(signal.SIGINT)[0] == 0
    code, err = run(tmp_path, "dev", "--env-file", "nope", "--reload")
    assert (code, err) == (2, "longwire: --env-file: nope: No such file or directory\n")


def test_a_factory(tmp_path: Path) -> None:
    """In this process and in others."""
    (tmp_path / "main.py").write_text(CHAT + "\ndef make():\n    return app\n")
    for more in ([], ["--instances", "1"]):
        with Dev(tmp_path, "main:make", "--factory", *more, **NOTHING) as dev:
            url, _ = ready(dev, 2)
            with connect(f"{url}/?path=/rooms/blue") as client:
                client.send("hi")
                assert client.recv(20) == "blue hi 1"
            assert dev.stop(signal.SIGTERM)[0] == 0


def test_a_wrong_path_gets_a_hint_and_a_browser_none(tmp_path: Path) -> None:
    """The line of its event says what was meant; for what browsers ask nobody is blamed."""
    (tmp_path / "main.py").write_text(CHAT)
    with Dev(tmp_path, "main:app", **NOTHING) as dev:
        url, _ = ready(dev, 2)
        for query, status, text in (
            ("?path=shout", 400, "(path shout; did you mean /shout?)"),
            ("?path=/shuot", 403, "(path /shuot; did you mean /shout?)"),
            ("?path=/nope", 403, "(path /nope; the app has /rooms/{room}, /shout)"),
            ("", 403, "(no ?path=; the app has /rooms/{room}, /shout)"),
        ):
            with pytest.raises(InvalidStatus) as refused:
                connect(f"{url}/{query}")
            assert refused.value.response.status_code == status
            assert text in dev.line()
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{url.replace('ws', 'http', 1)}/favicon.ico")
        with error.value as answer:
            assert (answer.code, answer.reason) == (403, "Forbidden")
        code, _, err = dev.stop(signal.SIGTERM)
    assert code == 0
    assert "favicon" not in err


@pytest.mark.parametrize("more", [[], ["--instances", "1"]])
def test_the_line_of_an_event_says_what_the_app_raised(tmp_path: Path, more: list[str]) -> None:
    """As its status does not: the client has been closed properly."""
    (tmp_path / "main.py").write_text(CHAT)
    with Dev(tmp_path, "main:app", *more, **NOTHING) as dev:
        url, _ = ready(dev, 2)
        with connect(f"{url}/?path=/rooms/blue") as client:
            client.send("boom")
            with pytest.raises(ConnectionClosed):
                client.recv(20)
        out = dev.stop(signal.SIGTERM)[1]
    (line,) = re.findall(r"MESSAGE .*", out)
    assert "  200, the app raised RuntimeError  " in line
    assert "\x1b" not in out


IN_ANOTHER_ZONE = """
import os, time
os.environ["TZ"] = "HERE-7"
time.tzset()  # as Django does

async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no tzset")
def test_the_time_of_a_line_is_that_of_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(IN_ANOTHER_ZONE)
    with Dev(tmp_path, "main:app", TZ="UTC") as dev:
        with connect(dev.ready()[1]):
            pass
        hours = [f"{datetime.now(UTC) - timedelta(minutes=ago):%H}" for ago in (0, 5)]
        out = dev.stop(signal.SIGTERM)[1]
    (hour,) = re.findall(r"(\d\d):\d\d:\d\d  CONNECT", out)
    assert hour in hours


STARTING = """
import contextlib
from starlette.applications import Starlette

@contextlib.asynccontextmanager
async def lifespan(app):
    print("starts", flush=True)
    {0}
    yield
    print("stops", flush=True)

app = Starlette(lifespan=lifespan)
"""


def test_startup_comes_before_ready(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(STARTING.format("pass"))
    with Dev(tmp_path) as dev:
        assert dev.line() == "starts\n"
        dev.ready()
        code, out, err = dev.stop(signal.SIGTERM)
    assert (code, out, err) == (0, "stops\n", "")


def test_a_startup_that_fails_is_one_line(tmp_path: Path) -> None:
    """And exit code 1; nobody is told that it is ready."""
    (tmp_path / "main.py").write_text(STARTING.format("raise OSError('no database')"))
    with Dev(tmp_path) as dev:
        out, err = dev.process.communicate(timeout=30)
    where = tmp_path / "main.py"
    assert (dev.process.returncode, out) == (1, "starts\n")
    assert err == f"longwire: the app's startup failed at {where}:8: OSError: no database\n"


LOUD = """
import logging

logging.getLogger().setLevel(logging.INFO)  # as Litestar does
logging.getLogger("app").info("loaded")

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
"""


@pytest.mark.parametrize("more", [[], ["--instances", "1"]])
def test_an_event_is_shown_once_whatever_the_root_logger_says(
    tmp_path: Path, more: list[str]
) -> None:
    """The app's own records are shown as it wants."""
    (tmp_path / "main.py").write_text(LOUD)
    with Dev(tmp_path, *more) as dev:
        loaded = dev.line() if more else ""  # where Lambda's runtime writes it
        with connect(dev.ready()[1]):
            pass
        _, out, err = dev.stop(signal.SIGTERM)
    assert "loaded" in loaded + err
    assert (out + err).count("CONNECT ") == 2  # and DISCONNECT


BROKEN = "def handler(:\n"


def test_clients_are_told_while_the_code_is_broken(tmp_path: Path) -> None:
    """At the same port, which stays; one that is mended is served there."""
    source = tmp_path / "main.py"
    source.write_text(BROKEN)
    with Dev(tmp_path, "--reload") as dev:
        assert dev.process.stderr is not None
        error = dev.process.stderr.readline()
        assert "main.py:1: SyntaxError: invalid syntax" in error
        source.write_text(STARTING.format("raise OSError('no database')"))
        assert dev.process.stderr.readline() == "longwire dev: main.py changed, restarting\n"
        assert dev.line() == "starts\n"
        assert "OSError: no database" in dev.process.stderr.readline()
        source.write_text(CHAT)
        url, _ = ready(dev, 3)
        source.write_text(BROKEN)
        for _ in range(2):
            dev.process.stderr.readline()
        assert "SyntaxError" in dev.process.stderr.readline()
        with pytest.raises(InvalidStatus) as refused:
            connect(f"{url}/?path=/shout")
        assert refused.value.response.status_code == 503
        assert b"main.py:1: SyntaxError: invalid syntax" in refused.value.response.body
        source.write_text(CHAT + "\n")
        assert ready(dev, 3)[0] == url
        with connect(f"{url}/?path=/rooms/blue") as client:
            client.send("hi")
            assert client.recv(20) == "blue hi 1"
        assert dev.stop(signal.SIGINT)[0] == 0


def test_clients_of_processes_are_told_too(tmp_path: Path) -> None:
    """Those who are connected stay so, and are served again when the code is mended."""
    source = tmp_path / "main.py"
    source.write_text(CHAT)
    with Dev(tmp_path, "--reload", "--instances", "1", **NOTHING) as dev:
        url, _ = ready(dev, 3)
        assert dev.process.stderr is not None
        with connect(f"{url}/?path=/rooms/blue") as client:
            source.write_text(BROKEN)
            assert dev.process.stderr.readline() == "longwire dev: main.py changed, new processes\n"
            statuses = []
            for _ in range(2):
                with pytest.raises(InvalidStatus) as refused:
                    connect(f"{url}/?path=/shout", open_timeout=20)
                statuses.append(refused.value.response.status_code)
            assert statuses[1] == 503
            assert b"main.py:1: SyntaxError: invalid syntax" in refused.value.response.body
            source.write_text(CHAT + "\n")
            while "changed, new processes" not in dev.process.stderr.readline():
                pass
            client.send("hi")
            assert client.recv(20) == "blue hi 1"
        assert dev.stop(signal.SIGTERM)[0] == 0


def test_colours_are_for_terminals(tmp_path: Path) -> None:
    """Green for what is well; with NO_COLOR none."""
    pty = pytest.importorskip("pty")
    (tmp_path / "main.py").write_text(LOUD)
    for environ, expected in (({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        terminal, other = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "longwire", "dev", "--port", "0", "--no-http"],
            cwd=tmp_path,
            stdout=other,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm", **environ},
        ) as process:
            os.close(other)
            with open(terminal, encoding="utf-8") as shown:
                found = re.search(r"ws://127\.0\.0\.1:\d+", shown.readline())
                assert found is not None
                assert "inspector" in shown.readline()
                with connect(found[0]):
                    line = shown.readline()
                process.terminate()
                process.wait(30)
        assert ("\x1b[32m200\x1b[0m" in line) is expected
