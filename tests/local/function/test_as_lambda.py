"""`longwire dev --instances` where AWS's own Lambda core was looked at: `runtime_api.py`."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from longwire.local.rules.errors import (
    FunctionExitError,
    FunctionRaisedError,
    FunctionTimeoutError,
)
from tests.lambda_process import lambda_process
from tests.local.running import READY, Dev
from tests.servers.process import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

APP = """
import os, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shut down", flush=True)
        return await send({"type": "lifespan.shutdown.complete"})
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": time.strftime("%Z")})
"""

WRAPPED = (
    APP
    + """
from longwire import Longwire
longwire = Longwire(app, ws_config={"backend": "sqlite3", "params": {"file_path": "store"}})

def handler(event, context):
    if event["requestContext"]["eventType"] == "MESSAGE":
        time.sleep(60)
    return longwire(event, context)
"""
)

# Until the test has seen what it wants to see, and no longer than Lambda waits.
SLOW = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n" + APP


def test_an_app_is_shut_down_before_its_time_out_ends_the_process(tmp_path: Path) -> None:
    (tmp_path / "wrapped.py").write_text(WRAPPED)
    with Dev(tmp_path, "wrapped:handler", "--instances", "1", "--timeout", "1") as dev:
        with connect(dev.ready()[1]) as client:
            client.send("a")
            assert '"message": "Internal server error"' in str(client.recv(20))
            # Not that of the end: the process of the next event has been told of none.
            while (line := dev.line()) != "shut down\n":
                assert line
        code, out, err = dev.stop(signal.SIGINT)
    assert code == 0
    assert "Task timed out after 1.00 seconds" in out + err


def test_the_time_zone_is_lambdas(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP)
    with Dev(tmp_path, "main:app", "--instances", "1", TZ="Asia/Tokyo") as dev:
        with connect(dev.ready()[1]) as client:
            client.send("which?")
            assert client.recv(20) == "UTC"
        dev.stop(signal.SIGINT)


@pytest.mark.anyio
async def test_the_runtimes_tracebacks_are_readable(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = "def handler(event, context):\n    raise ValueError('no')\n"
    async with lambda_process(tmp_path, source, {}) as process:
        with pytest.raises(FunctionRaisedError):
            await process.invoke({})
    out, _ = capfd.readouterr()
    assert "[ERROR] ValueError: no\nTraceback (most recent call last):\n  File " in out
    assert "\r" not in out.replace("\r\n", "\n")
    assert "\u00a0" not in out


LATE = """
import asyncio, pathlib, time
from longwire import Longwire

ending = pathlib.Path(__file__).with_name("ending")

async def app(scope, receive, send):  # that does not end its shutdown
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    ending.touch()
    await asyncio.sleep(3600)

longwire = Longwire(app, ws_config={"backend": "memory"}, http=lambda event, context: "started")

def handler(event, context):
    if event:
        return longwire(event, context)
    while not ending.exists():
        time.sleep(0.01)
    return "late"
"""


@pytest.mark.anyio
async def test_what_is_answered_after_the_time_out_is_nothing(tmp_path: Path) -> None:
    """Though the process goes on for the moment that its shutdown has."""
    async with lambda_process(tmp_path, LATE, {}, timeout=2.0) as process:
        assert await process.invoke({"path": "/"}) == "started"
        with pytest.raises(FunctionTimeoutError):
            await process.invoke({})
    assert (tmp_path / "ending").exists()


REPORTING = """
import http.client, os

def ask(method, path, headers, body=None):
    address, _, secret = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
    connection = http.client.HTTPConnection(address)
    connection.request(method, f"/{secret}/2020-01-01/extension/{path}", body, headers)
    return connection.getresponse()

name = "lambda-extension-identifier"
mine = ask("POST", "register", {"lambda-extension-name": "mine"}, "{}").headers[name]
why = {name: mine, "lambda-extension-function-error-type": "Mine.Broken"}
assert ask("POST", "exit/error", why, "{}").status == 202

def handler(event, context):
    if event:
        os._exit(5)
    return "served"
"""


@pytest.mark.anyio
async def test_an_error_of_an_extension_is_named_when_the_process_ends(tmp_path: Path) -> None:
    """It is not waited for any more, and the next event is served."""
    async with lambda_process(tmp_path, REPORTING, {}) as process:
        assert await process.invoke({}) == "served"
        with pytest.raises(FunctionExitError, match=r"^Extension.ExitError: .* exit status 5"):
            await process.invoke({"end": True})


@pytest.fixture
def port() -> int:
    return free_port()


def _until_it_listens(port: int) -> None:
    limit = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < limit
            time.sleep(0.01)


def test_the_first_handshake_waits_for_the_first_process(tmp_path: Path, port: int) -> None:
    """And a second one is refused, as that of a function whose one environment is busy."""
    (tmp_path / "slow.py").write_text(SLOW)
    with (
        Dev(tmp_path, "slow:app", "--instances", "1", "--port", str(port)) as dev,
        ThreadPoolExecutor() as pool,
    ):
        _until_it_listens(port)
        url = f"ws://127.0.0.1:{port}"
        both: set[Future[Any]] = {pool.submit(connect, url, open_timeout=30) for _ in "12"}
        done, waiting = wait(both, timeout=20, return_when=FIRST_COMPLETED)
        with pytest.raises(InvalidStatus) as refused:
            done.pop().result()
        assert refused.value.response.status_code == 500
        (tmp_path / "go").touch()
        with waiting.pop().result(20) as client:
            client.send("which?")
            assert client.recv(20) == "UTC"
        code, out, _ = dev.stop(signal.SIGINT)
    assert code == 0
    assert out.count("Init Duration") == 1


def test_ctrl_c_while_a_handshake_waits_for_the_first_process(tmp_path: Path, port: int) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    with (
        Dev(tmp_path, "slow:app", "--instances", "1", "--port", str(port)) as dev,
        ThreadPoolExecutor() as pool,
    ):
        _until_it_listens(port)
        url = f"ws://127.0.0.1:{port}"
        both: set[Future[Any]] = {pool.submit(connect, url, open_timeout=30) for _ in "12"}
        wait(both, timeout=20, return_when=FIRST_COMPLETED)  # so the other one waits
        began = time.monotonic()
        code, out, err = dev.stop(signal.SIGINT)
        assert time.monotonic() - began < 4
    assert code == 0
    assert not READY.search(out)
    assert "Traceback" not in out + err


def test_a_handshake_that_waits_for_a_process_that_cannot_start(tmp_path: Path, port: int) -> None:
    """Its client and the terminal hear of it, at once; no other process is tried."""
    (tmp_path / "slow.py").write_text(
        SLOW.replace("async def app", "raise OSError('not today')\n\n\nasync def app")
    )
    with (
        Dev(tmp_path, "slow:app", "--instances", "1", "--port", str(port)) as dev,
        ThreadPoolExecutor() as pool,
    ):
        _until_it_listens(port)
        url = f"ws://127.0.0.1:{port}"
        both: set[Future[Any]] = {pool.submit(connect, url, open_timeout=30) for _ in "12"}
        _, waiting = wait(both, timeout=20, return_when=FIRST_COMPLETED)
        (tmp_path / "go").touch()
        with pytest.raises(InvalidStatus) as refused:
            waiting.pop().result(20)
        assert refused.value.response.status_code in (500, 502)
        _, err = dev.process.communicate(timeout=20)
    assert dev.process.returncode == 2
    assert "not today" in err.splitlines()[-1]
    assert "Traceback" not in err


HELD_BACK = """
import asyncio, os, time
from longwire import Longwire

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "welcome"})
    for number in range(3 if scope["query_string"] else 0):
        await asyncio.sleep(1)
        await send({"type": "websocket.send", "text": str(number)})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})

longwire = Longwire(app, ws_config={"backend": "sqlite3", "params": {"file_path": "store"}})

def handler(event, context):
    response = longwire(event, context)
    if event["requestContext"]["eventType"] == "CONNECT":
        time.sleep(2.5)  # as a flush of telemetry
    return {**response} if "queryStringParameters" in event else response
"""


@pytest.mark.parametrize(("query", "then"), [("", []), ("?stream=1", ["0", "1", "2"])])
def test_a_response_that_a_wrapper_holds_back(tmp_path: Path, query: str, then: list[str]) -> None:
    """Or a copy of it. The greeting comes once, after it; then the client can talk."""
    (tmp_path / "wrapped.py").write_text(HELD_BACK)
    with Dev(tmp_path, "wrapped:handler", "--instances", "2") as dev:
        with connect(f"{dev.ready()[1]}/{query}") as client:
            assert [client.recv(20) for _ in ["welcome", *then]] == ["welcome", *then]
            for text in "abc":
                client.send(text)
                assert client.recv(20) == text
        _, out, err = dev.stop(signal.SIGINT)
    assert "no stored record" not in out + err
