"""`longwire dev --instances`: processes under Lambda's own runtime, as a client sees them."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.documents import FILES
from tests.local.running import Dev

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

APP = """
import asyncio, os, subprocess, threading, time

ticks = 0

def tick():
    global ticks
    while True:
        time.sleep(0.01)
        ticks += 1

threading.Thread(target=tick, daemon=True).start()

async def wait_for(path):
    while not os.path.exists(path):
        await asyncio.sleep(0.01)

async def act(text):
    match text.split():
        case ["wait", path]:
            await wait_for(path)
        case ["exit"]:
            os._exit(3)
        case ["block"]:
            time.sleep(60)
        case ["spin"]:
            while True:
                pass
        case ["child"]:
            return f"{os.getpid()} {subprocess.Popen(['sleep', '600']).pid}"
        case ["raise"]:
            raise ValueError("no")
        case ["ticks"]:
            return f"{os.getpid()} {ticks}"
    return f"{os.getpid()} {text}"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shut down", flush=True)
        return await send({"type": "lifespan.shutdown.complete"})
    await receive()
    await act(scope["path"].strip("/").replace("-", " "))
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": await act(message["text"])})
"""

REPORT = re.compile(
    r"REPORT RequestId: [0-9a-f-]{36}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
    r"Memory Size: 128 MB\tMax Memory Used: \d+ MB(\tInit Duration: \d+\.\d\d ms)?\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "many.py").write_text(APP)
    return tmp_path


def ask(client: ClientConnection, text: str) -> tuple[int, str]:
    """Say something; return which process replied, and what."""
    client.send(text)
    pid, _, reply = str(client.recv(20)).partition(" ")
    return int(pid), reply


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], bool]) -> None:
    """Wait for another process."""
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_messages_of_one_connection_land_in_different_processes(folder: Path) -> None:
    """Each is started once, and reported as Lambda reports it; Ctrl-C ends them all."""
    with Dev(folder, "many:app", "--instances", "2") as dev:
        with connect(dev.ready()[1]) as client:
            replies = [ask(client, str(number)) for number in range(6)]
            pids = [pid for pid, _ in replies]
            assert [reply for _, reply in replies] == list("012345")
            assert len(set(pids)) == 2
        code, out, _ = dev.stop(signal.SIGINT)
    assert code == 0
    reports = list(REPORT.finditer(out))
    assert [bool(report[1]) for report in reports] == [True, True] + [False] * 6
    assert out.count("shut down") == 2
    assert not any(alive(pid) for pid in pids)


def test_more_events_than_processes(folder: Path) -> None:
    """Lambda refuses an event that no process can take; API Gateway then says "internal"."""
    with Dev(folder, "many:app", "--instances", "1") as dev:
        url = dev.ready()[1]
        with connect(url) as one, connect(url) as two:
            one.send("wait there")
            until(lambda: "CONNECT" in dev.line())
            until(lambda: "CONNECT" in dev.line())
            until(lambda: _refused(two))
            with pytest.raises(InvalidStatus) as refused:
                connect(url)
            assert refused.value.response.status_code == 500
            (folder / "there").touch()
            assert str(one.recv(20)).endswith(" wait there")
            assert ask(two, "a")[1] == "a"
        _, out, err = dev.stop(signal.SIGINT)
    assert "all processes are busy (1)" in out
    assert "--instances allows for more" in err


def _refused(client: ClientConnection) -> bool:
    client.send("x")
    return '"message": "Internal server error"' in str(client.recv(20))


def test_a_process_that_ends_is_replaced(folder: Path) -> None:
    """The client sees what API Gateway shows: 502, and a frame; the connection lives on."""
    with Dev(folder, "many:app", "--instances", "1") as dev:
        url = dev.ready()[1]
        assert _status(f"{url}/?path=/exit") == 502
        with connect(url) as client:
            before, _ = ask(client, "a")
            client.send("exit")
            assert '"message": "Internal server error"' in str(client.recv(20))
            after, reply = ask(client, "b")
        _, out, err = dev.stop(signal.SIGINT)
    assert reply == "b"
    assert after != before
    assert not alive(before)
    assert out.count("the function's process ended with exit status 3") == 2
    assert err.count("the function's process ended with exit status 3") == 2


def test_a_process_that_dies_between_two_events_costs_none(folder: Path) -> None:
    """Its next event goes to a new one; and what it had started ends with it."""
    with Dev(folder, "many:app", "--instances", "1") as dev:
        with connect(dev.ready()[1]) as client:
            before, child = ask(client, "child")
            for _ in ("CONNECT", "MESSAGE"):
                until(lambda: "REPORT" in dev.line())
            os.kill(before, signal.SIGKILL)
            until(lambda: not Path(f"/proc/{before}").exists())
            after, reply = ask(client, "b")
            assert reply == "b"
            assert after != before
            until(lambda: not alive(int(child)))
        assert dev.stop(signal.SIGINT)[0] == 0


@pytest.mark.parametrize("how", ["Ctrl-C twice", "SIGHUP", "SIGKILL"])
def test_no_process_is_left_however_the_gateway_ends(folder: Path, how: str) -> None:
    """Not even one whose app never gives the processor back."""
    with Dev(folder, "many:app", "--instances", "1") as dev:
        with connect(dev.ready()[1]) as client:
            pid, _ = ask(client, "a")
            client.send("spin")
            if how == "SIGKILL":
                dev.process.kill()
            else:
                dev.process.send_signal(signal.SIGHUP if how == "SIGHUP" else signal.SIGINT)
            if how == "Ctrl-C twice":
                errors = dev.process.stderr
                assert errors is not None
                until(lambda: "stopping" in errors.readline())
                dev.process.send_signal(signal.SIGINT)
            until(lambda: not alive(pid))


def test_events_are_handled_though_nobody_sees_their_lines(folder: Path) -> None:
    """As with a terminal that was closed, or `| head -1`."""
    with Dev(folder, "many:app", "--instances", "1") as dev:
        url = dev.ready()[1]
        assert dev.process.stdout is not None
        dev.process.stdout.close()
        with connect(url) as client:
            assert [ask(client, word)[1] for word in "abc"] == list("abc")
        dev.process.send_signal(signal.SIGTERM)
        assert dev.process.wait(20) == 0


def test_ctrl_c_while_the_first_process_starts(folder: Path) -> None:
    """Nothing is served then, and nothing is left."""
    slow = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(8)\n"
    (folder / "slow.py").write_text(slow)
    with Dev(folder, "slow:app", "--instances", "1") as dev:
        until(lambda: (folder / "pid").exists() and bool((folder / "pid").read_text()))
        began = time.monotonic()
        code, out, _ = dev.stop(signal.SIGINT)
    assert time.monotonic() - began < 5
    assert (code, out) == (0, "")
    assert not alive(int((folder / "pid").read_text()))


def test_modules_are_found_where_the_app_is_and_nowhere_else(folder: Path) -> None:
    """A module of the current folder must not stand in for one that Lambda's runtime needs."""
    app_dir = folder / "app"
    app_dir.mkdir()
    (folder / "many.py").rename(app_dir / "many.py")
    (folder / "simplejson.py").write_text("raise ImportError('not this one')\n")
    with Dev(folder, "many:app", "--instances", "1", "--app-dir", "app") as dev:
        with connect(dev.ready()[1]) as client:
            assert ask(client, "a")[1] == "a"


def test_what_the_app_logs_leaves_each_event_its_line(folder: Path) -> None:
    with Dev(folder, "many:app", "--instances", "1") as dev:
        with connect(dev.ready()[1]) as client:
            client.send("raise")
            with pytest.raises(ConnectionClosed):
                client.recv(20)
        _, out, _ = dev.stop(signal.SIGINT)
    assert "ValueError: no\n" in out
    assert len(re.findall(r"^\d\d:\d\d:\d\d  [A-Z]+ ", out, re.MULTILINE)) == 3


def test_an_app_that_blocks_its_process_is_replaced(folder: Path) -> None:
    """The log says where it blocks, and no later event has to wait behind it."""
    with Dev(folder, "many:app", "--instances", "1", "--timeout", "1") as dev:
        with connect(dev.ready()[1]) as client:
            before, _ = ask(client, "a")
            client.send("block")
            assert '"message": "Internal server error"' in str(client.recv(20))
            until(lambda: not alive(before))
            assert ask(client, "b")[1] == "b"
        _, out, err = dev.stop(signal.SIGINT)
    assert re.search(r"the app blocks its event loop, in act \(.*many.py:\d+\)", out)
    assert "DeadlineError" in err
    # The extension waits for the app, so Lambda's own timeout ends the process.
    assert "Task timed out after 1.00 seconds" in err


def test_a_function_that_takes_too_long_is_killed(folder: Path) -> None:
    """A plain Lambda function, which knows nothing of deadlines."""
    (folder / "slow.py").write_text("import time\ndef handler(event, context): time.sleep(60)\n")
    with Dev(folder, "slow:handler", "--instances", "1", "--timeout", "0.5") as dev:
        url = dev.ready()[1]
        assert [_status(url), _status(url)] == [502, 502]
        _, out, err = dev.stop(signal.SIGINT)
    assert out.count("Task timed out after 0.50 seconds, client gets 502") == 2
    assert out.count("Init Duration") == 2
    assert "Task timed out after 0.50 seconds" in err


def test_the_integration_timeout_goes_first(folder: Path) -> None:
    """Lambda is not stopped by it."""
    options = "--instances", "1", "--integration-timeout", "0.5"
    with Dev(folder, "many:app", *options) as dev:
        url = dev.ready()[1]
        with connect(url) as client:
            client.send("wait here")
            assert '"message": "Endpoint request timed out"' in str(client.recv(20))
            (folder / "here").touch()
            assert str(client.recv(20)).endswith(" wait here")
        until(lambda: _status(f"{url}/?path=/wait-there") == 504)
        (folder / "there").touch()
        dev.stop(signal.SIGINT)


def _status(url: str) -> int:
    with pytest.raises(InvalidStatus) as refused:
        connect(url)
    return refused.value.response.status_code


def test_a_frozen_process_stands_still(folder: Path) -> None:
    """Its threads, too; and it dies with the gateway, however that ends."""
    with Dev(folder, "many:app", "--instances", "1", "--freeze") as dev:
        with connect(dev.ready()[1]) as client:
            pid, first = ask(client, "ticks")
            until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
            time.sleep(2)  # two hundred ticks, if it went on
            _, second = ask(client, "ticks")
            until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
            dev.process.kill()
        assert int(second) - int(first) < 100
        until(lambda: not alive(pid))


def test_reload_replaces_the_processes_and_keeps_the_clients(folder: Path) -> None:
    with Dev(folder, "many:app", "--instances", "1", "--reload") as dev:
        with connect(dev.ready()[1]) as client:
            before, _ = ask(client, "a")
            (folder / "many.py").write_text(APP.replace('{text}"', '{text} anew"'))
            until(lambda: ask(client, "b")[1] == "b anew")
            assert ask(client, "c")[0] != before
        _, _, err = dev.stop(signal.SIGINT)
    assert "longwire dev: many.py changed, new processes" in err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["many:ap", "--instances", "1"], 2, "module 'many' has no attribute 'ap'; did you mean"),
        (["many:app", "--freeze"], 2, "--freeze: only processes can be frozen; add --instances"),
        (["many:app", "--instances", "0"], 2, "expected 1 or more"),
        (["dies:app", "--instances", "1"], 1, "process did not start: Runtime.ExitError"),
        (["many:app", "--instances", "1", "--timeout", "nan"], 2, "more than 0 and at most 900"),
        (["many:app", "--timeout", "1e300"], 2, "more than 0 and at most 900 seconds"),
        (["functions:asynchronous"], 2, "functions:asynchronous is async, and Lambda does not"),
        (["many:app", "--authorizer", "functions:asynchronous"], 2, "--authorizer: functions:asy"),
        (
            ["many:app", "--instances", "2", "--backend", "memory"],
            2,
            "use another, such as sqlite3",
        ),
    ],
)
def test_mistakes_are_said_in_one_line(
    folder: Path, arguments: list[str], code: int, text: str
) -> None:
    (folder / "dies.py").write_text("import os\nos._exit(9)\n")
    (folder / "functions.py").write_text("async def asynchronous(event, context): pass\n")
    with Dev(folder, *arguments) as dev:
        _, err = dev.process.communicate(timeout=30)
    assert dev.process.returncode == code
    assert text in err.splitlines()[-1]
    assert "Traceback" not in err


def test_an_app_that_cannot_be_looked_at_is_said(folder: Path) -> None:
    """What is no mistake of the command line has its traceback, and the gateway says what it is."""
    (folder / "odd.py").write_text("def __getattr__(name):\n    raise RuntimeError('not today')\n")
    with Dev(folder, "odd:app", "--instances", "1") as dev:
        _, err = dev.process.communicate(timeout=30)
    assert dev.process.returncode == 1
    assert err.endswith("longwire: the function's process did not start: RuntimeError: not today\n")
    assert "in __getattr__" in err


@pytest.mark.parametrize(("module", "hears"), [("lonely", []), ("together", ["bob: hi"])])
def test_what_the_readme_says_of_a_dict_of_connections(
    tmp_path: Path, module: str, hears: list[str]
) -> None:
    """With a dict nobody hears anybody else; with `Connections` they do."""
    (tmp_path / f"{module}.py").write_text(FILES[f"{module}.py"])
    with Dev(tmp_path, f"{module}:app", "--instances", "2") as dev:
        url = dev.ready()[1]
        with connect(f"{url}/?name=ann") as ann:
            # Its process is idle again, so Bob connects there, and his message goes elsewhere.
            while not dev.line().startswith("REPORT"):
                pass
            with connect(f"{url}/?name=bob") as bob:
                bob.send("hi")
                assert bob.recv(20) == "bob: hi"
                heard = [ann.recv(20) for _ in hears]  # before the end, which may overtake it
                dev.process.send_signal(signal.SIGINT)
                heard += list(ann)
        dev.process.wait(20)
    assert heard == hears


def test_bytes_are_a_malformed_answer(folder: Path) -> None:
    """What Lambda's runtime sends of them is no JSON."""
    (folder / "odd.py").write_text("def handler(event, context): return b'\\xff'\n")
    with Dev(folder, "odd:handler", "--instances", "1") as dev:
        assert _status(dev.ready()[1]) == 502
        _, out, err = dev.stop(signal.SIGINT)
    assert "malformed (expected a dict, got bytes)" in out
    assert "Traceback" not in err


def test_orphans(folder: Path) -> None:
    """A gateway that is killed leaves no process that is not frozen either."""
    with Dev(folder, "many:app", "--instances", "1") as dev:
        with connect(dev.ready()[1]) as client:
            pid, _ = ask(client, "a")
            os.kill(dev.process.pid, signal.SIGKILL)
        until(lambda: not alive(pid))
