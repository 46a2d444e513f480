"""HTTP in `longwire dev`: when it is served, on which port, and what is said of it."""

from __future__ import annotations

import contextlib
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.sync.client import connect

from longwire.cli.http import NOTHING_ANSWERS
from tests.local.running import Dev
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

ROOMS = """
import asyncio, os, sys
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from longwire import Connections, Longwire

connections = Connections()

async def post(request):
    result = await connections.group_send("room", (await request.body()).decode())
    return JSONResponse({"delivered": len(result.delivered)})

async def wrong(request):
    raise RuntimeError("a secret")

async def slow(request):
    await asyncio.sleep(30)

async def short(request):
    print("short", file=sys.stderr, flush=True)
    await asyncio.sleep(1)
    return PlainTextResponse("")

async def form(request):
    data = await request.form()
    return JSONResponse([data["name"], (await data["file"].read()).decode()])

async def cookies(request):
    answer = PlainTextResponse(repr(sorted(request.cookies.items())))
    answer.set_cookie("one", "1")
    answer.set_cookie("two", "2")
    return answer

async def where(request):
    return JSONResponse([str(request.url), request.client.host, os.getpid()])

async def trace(request):
    return JSONResponse([request.headers["x-amzn-trace-id"], os.environ.get("_X_AMZN_TRACE_ID")])

async def talk(ws):
    await ws.accept()
    await connections.group_add("room", ws)
    async for text in ws.iter_text():
        await ws.send_text(text)

app = Starlette(routes=[
    Route("/rooms", post, methods=["POST"]),
    Route("/wrong", wrong),
    Route("/slow", slow),
    Route("/short", short),
    Route("/trace", trace),
    Route("/form", form, methods=["POST"]),
    Route("/cookies", cookies),
    Route("/where", where),
    WebSocketRoute("/talk", talk),
])
"""
PLAIN = """
def handler(event, context):
    if "http" in event["requestContext"]:
        return f"{event['requestContext']['http']['method']} {event['rawPath']}"
    return {"statusCode": 200}
"""
# Mangum as on a machine that has none.
WITHOUT_MANGUM = """
import importlib.util
def find_spec(name, package=None, real=importlib.util.find_spec):
    return None if name == "mangum" else real(name, package)
importlib.util.find_spec = find_spec
"""
RESTARTING = "longwire dev: main.py changed, restarting\n"


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(ROOMS)
    return tmp_path


@contextlib.contextmanager
def taken() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


ways = pytest.mark.parametrize(
    "options",
    [["--http-port", "0"], ["--one-port"], ["--http-port", "0", "--instances", "4"]],
    ids=["inline", "one port", "instances"],
)


@ways
def test_an_app_with_routes_and_sockets(rooms: Path, options: list[str]) -> None:
    """A route sends to sockets; forms, cookies and addresses are as under a server."""
    with Dev(rooms, "main:app", *options) as dev:
        url, ws_url = dev.ready_for_http()
        assert dev.line() == f"  {ws_url}/?path=/talk\n"
        with connect(f"{ws_url}/?path=/talk") as client, httpx.Client(base_url=url) as http:
            assert http.post("/rooms", content="dinner").json() == {"delivered": 1}
            assert client.recv() == "dinner"
            client.send("hi")
            assert client.recv() == "hi"
            posted = http.post("/form", data={"name": "ann"}, files={"file": b"in it"})
            assert posted.json() == ["ann", "in it"]
            assert http.get("/cookies").text == "[]"
            assert http.get("/cookies").text == "[('one', '1'), ('two', '2')]"
            address, host, _ = http.get("/where?x=%20y").json()
            assert (address, host) == (f"{url}/where?x=%20y", "127.0.0.1")
            root, of_process = http.get("/trace").json()
            assert root.startswith("Root=1-")
            if "--instances" in options:
                assert of_process.startswith(f"{root};Parent=")
            wrong = http.get("/wrong")
            assert (wrong.status_code, wrong.text) == (500, "Internal Server Error")
            assert http.get("/talk").status_code == 404
        code, out, err = dev.stop(signal.SIGINT)
    assert code == 0
    lines = [line[10:] for line in out.splitlines()]
    assert any(line.startswith("POST        /rooms                 200  ") for line in lines)
    said = "GET         /wrong                 500, the app raised RuntimeError  "
    assert any(line.startswith(said) for line in lines)
    said = "GET         /talk                  404 (it is the path of a WebSocket)  "
    assert any(line.startswith(said) for line in lines)
    assert (out + err).count("\nRuntimeError: a secret\n") == 1  # Lambda's runtime logs to stdout


@ways
def test_fifty_clients_at_once_are_answered(rooms: Path, options: list[str]) -> None:
    """Or told that all processes are busy, as Lambda does."""
    busy = {503} if "--instances" in options else set()
    with Dev(rooms, "main:app", *options) as dev:
        url, _ = dev.ready_for_http()
        with httpx.Client(base_url=url, timeout=60) as http, ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: http.get("/where").status_code, range(50)))
            assert http.get("/where").status_code == 200
        assert dev.stop(signal.SIGTERM)[0] == 0
    assert {*answers} - busy == {200}


def test_it_has_a_time_limit(rooms: Path) -> None:
    """The client gets what AWS shows; Ctrl-C waits no longer than for others."""
    with Dev(rooms, "main:app", "--http-port", "0", "--http-timeout", "0.5") as dev:
        url, _ = dev.ready_for_http()
        answer = httpx.get(f"{url}/slow", timeout=30)
        code, out, _ = dev.stop(signal.SIGINT)
    assert (answer.status_code, answer.text) == (503, '{"message":"Service Unavailable"}')
    assert "/slow                  timed out, client gets 503  " in out
    assert code == 0


def test_the_end_waits_for_requests_and_says_so(rooms: Path) -> None:
    """For a few seconds, as for clients of WebSockets."""
    with Dev(rooms, "main:app", "--http-port", "0") as dev, ThreadPoolExecutor(1) as pool:
        url, _ = dev.ready_for_http()
        asked = pool.submit(httpx.get, f"{url}/short", timeout=30)
        assert dev.process.stderr is not None
        assert dev.process.stderr.readline() == "short\n"
        dev.process.send_signal(signal.SIGINT)
        assert asked.result().status_code == 200
        _, err = dev.process.communicate(timeout=30)
    said = "stopping: an HTTP request is still being answered (Ctrl-C again to stop now)"
    assert (dev.process.returncode, err) == (0, f"longwire dev: {said}\n")


def test_a_port_that_nobody_named_gives_way(rooms: Path) -> None:
    """The line says so, and where it is instead."""
    options = ("--port", str(free_port()), "--usual-http-port")
    with taken() as usual, Dev(rooms, "main:app", *options, usual) as dev:
        dev.ready()
        line = dev.line()
        assert line.endswith(f"/ ({usual} is in use; --http-port says another)\n")
        assert httpx.get(f"{line.split('/ (')[0].strip()}/where").status_code == 200


def test_a_port_that_was_named_does_not(rooms: Path) -> None:
    """With --reload, too: no change of a file frees it."""
    for more in ([], ["--reload"]):
        with taken() as port, Dev(rooms, "main:app", "--http-port", port, *more) as dev:
            _, err = dev.process.communicate(timeout=60)
            assert dev.process.returncode == 1
        advice = "choose another with --http-port, or 0 for any"
        assert err == f"longwire: port {port} of 127.0.0.1 is in use; {advice}\n"


def test_the_port_of_the_websockets_is_no_other(rooms: Path) -> None:
    """Who wants one port is told how."""
    port = str(free_port())
    with Dev(rooms, "main:app", "--port", port, "--http-port", port) as dev:
        _, err = dev.process.communicate(timeout=60)
    said = f"port {port} is that of the WebSockets; --one-port serves both on it"
    assert (dev.process.returncode, err) == (1, f"longwire: --http-port: {said}\n")


def test_a_lambda_function_serves_http_if_it_is_told_to(tmp_path: Path) -> None:
    """Nobody can tell whether it answers; it may answer in short."""
    (tmp_path / "main.py").write_text(PLAIN)
    with Dev(tmp_path, "main:handler", "--http-port", "0") as dev:
        url, _ = dev.ready_for_http()
        answer = httpx.put(f"{url}/a/b")
        assert (answer.text, answer.headers["content-type"]) == ("PUT /a/b", "application/json")
        assert dev.line()[10:].startswith("PUT         /a/b                   200  ")


def test_without_mangum_there_is_none(rooms: Path) -> None:
    """One who wants it is told what is missing."""
    (rooms / "sitecustomize.py").write_text(WITHOUT_MANGUM)
    environ = {"PYTHONPATH": str(rooms)}
    with Dev(rooms, "main:app", "--http-port", "0", **environ) as dev:
        _, err = dev.process.communicate(timeout=60)
    assert (dev.process.returncode, err) == (
        2,
        f"longwire: --http-port: {NOTHING_ANSWERS}\n",
    )
    with Dev(rooms, "main:app", "--usual-http-port", "0", **environ) as dev:
        dev.ready()
        assert dev.line() == f"  no HTTP: {NOTHING_ANSWERS}\n"


def test_reload_keeps_the_port_and_says_what_is_broken(rooms: Path) -> None:
    """A browser gets the error as text until a change mends it."""
    with Dev(rooms, "main:app", "--http-port", "0", "--reload") as dev:
        url, ws_url = dev.ready_for_http()
        assert dev.process.stderr is not None
        (rooms / "main.py").write_text("def broken(:\n")
        assert dev.process.stderr.readline() == RESTARTING
        assert "main.py:1: SyntaxError" in dev.process.stderr.readline()
        broken = _asked(f"{url}/where")
        assert broken.status_code == 503
        assert "main.py:1: SyntaxError: invalid syntax" in broken.json()["message"]
        (rooms / "main.py").write_text(ROOMS.replace("/where", "/elsewhere"))
        assert dev.line() == f"  {ws_url}/?path=/talk\n"
        while "503" in (line := dev.line()):
            pass
        assert line.startswith(f"longwire dev: ready on {ws_url} ")
        assert dev.line().startswith("  inspector: ")
        assert dev.line() == f"  {url}/\n"
        assert _asked(f"{url}/elsewhere").json()[0] == f"{url}/elsewhere"
        assert dev.stop(signal.SIGINT)[0] == 0


def _asked(url: str) -> httpx.Response:
    """Ask until somebody listens."""
    with httpx.Client(transport=httpx.HTTPTransport(retries=10), timeout=30) as client:
        return client.get(url)


def test_the_options_exclude_each_other(rooms: Path) -> None:
    """One port, a port of its own, or none."""
    with Dev(rooms, "main:app", "--one-port", "--http-port", "3000") as dev:
        _, err = dev.process.communicate(timeout=60)
    assert dev.process.returncode == 2
    assert "not allowed with argument" in err
