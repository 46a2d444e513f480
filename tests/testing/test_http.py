"""HTTP of the `TestClient`: events of an HTTP API for the same function."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute

from longwire import Connections, Longwire
from longwire.exceptions import EventError, LifespanError
from longwire.local.rules import http_events
from longwire.testing import TestClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.websockets import WebSocket

connections = Connections()
VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]


async def echo(request: Request) -> Response:
    return JSONResponse(
        {
            "method": request.method,
            "path": request.url.path,
            "query": request.query_params.multi_items(),
            "headers": dict(request.headers),
            "cookies": request.cookies,
            "body": (await request.body()).decode("latin-1"),
            "url": str(request.url),
            "client": request.client and request.client.host,
        }
    )


async def form(request: Request) -> Response:
    async with request.form() as sent:
        names = {
            name: value if isinstance(value, str) else [value.filename, str(await value.read())]
            for name, value in sent.items()
        }
    return JSONResponse(names)


async def cookies(request: Request) -> Response:
    response = PlainTextResponse("set")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", httponly=True)
    return response


async def visit(request: Request) -> Response:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse(request.session)


async def streamed(request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        for number in range(3):
            yield str(number) * 1000

    return StreamingResponse(parts())


async def binary(request: Request) -> Response:
    return Response(bytes(range(256)), media_type="application/octet-stream")


async def redirect(request: Request) -> Response:
    return RedirectResponse("/stream")


async def boom(request: Request) -> Response:
    raise ValueError("boom")


async def say(request: Request) -> Response:
    sent = await connections.group_send("room", (await request.body()).decode())
    return JSONResponse(len(sent.delivered))


async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    await connections.group_add("room", websocket)
    await websocket.send_json([websocket.session, websocket.state.started])
    await websocket.receive_text()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    lives.append("start")
    app.state.database = "open"
    yield {"started": len(lives)}
    lives.append("stop")


lives: list[str] = []
databases: list[str] = []
app = Starlette(
    routes=[
        Route("/echo/{rest:path}", echo, methods=VERBS),
        Route("/form", form, methods=["POST"]),
        Route("/cookies", cookies),
        Route("/visit", visit),
        Route("/stream", streamed),
        Route("/binary", binary),
        Route("/redirect", redirect),
        Route("/boom", boom),
        Route("/say", say, methods=["POST"]),
        WebSocketRoute("/room", room),
    ],
    middleware=[Middleware(GZipMiddleware), Middleware(SessionMiddleware, secret_key="s")],
    lifespan=lifespan,
)


@pytest.fixture
def client() -> Any:
    lives.clear()
    with TestClient(app) as client:
        yield client
    assert lives == ["start", "stop"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_method(client: TestClient, verb: str) -> None:
    response = getattr(client, verb.lower())("/echo/a%20b/c", params=[("x", "1"), ("x", "é")])
    assert response.status_code == 200
    if verb == "HEAD":
        assert response.content == b""
    else:
        said = response.json()
        assert (said["method"], said["path"]) == (verb, "/echo/a b/c")
        assert said["query"] == [["x", "1"], ["x", "é"]]
        assert said["client"] == "127.0.0.1"
        assert said["url"].startswith("http://testserver/echo/a b/c?x=1")


def test_bodies_of_every_kind(client: TestClient) -> None:
    def body(**options: Any) -> str:
        text: str = client.post("/echo/", **options).json()["body"]
        return text

    assert body(json={"a": [1]}) == '{"a":[1]}'
    assert body(content=bytes(range(256))) == bytes(range(256)).decode("latin-1")
    assert body(content="é", headers={"Content-Type": "text/plain"}) == "é".encode().decode(
        "latin-1"
    )
    assert body(data={"a": "1", "b": "é"}) == "a=1&b=%C3%A9"
    assert body(
        content=b"\xff", headers={"Content-Type": "text/plain"}
    ) == "\ufffd".encode().decode("latin-1")
    files = {"f": ("name.txt", b"inside")}
    assert client.post("/form", data={"a": "1"}, files=files).json() == {
        "a": "1",
        "f": ["name.txt", "b'inside'"],
    }


def test_headers_and_cookies_persist_as_in_a_browser(client: TestClient) -> None:
    client.headers["X-All"] = "1"
    response = client.get("/cookies", headers={"X-One": "2"})
    assert dict(response.cookies) == {"a": "1", "b": "2"}
    said = client.get("/echo/", headers=[("X-Two", "1"), ("X-Two", "2")]).json()
    assert said["cookies"] == {"a": "1", "b": "2"}
    assert (said["headers"]["x-all"], said["headers"]["x-two"]) == ("1", "1,2")
    assert said["headers"]["user-agent"] == "testclient"
    client.cookies = {}
    client.headers = {"X-Other": "3"}
    said = client.get("/echo/").json()
    assert (said["cookies"], said["headers"]["x-other"]) == ({}, "3")


def test_responses_of_every_kind(client: TestClient) -> None:
    assert client.get("/binary").content == bytes(range(256))
    response = client.request("GET", "/stream")
    assert response.headers["content-encoding"] == "gzip"
    assert response.text == "0" * 1000 + "1" * 1000 + "2" * 1000
    assert client.get("/redirect").url.path == "/stream"
    assert client.get("/redirect", follow_redirects=False).status_code == 307
    assert client.get("/nowhere").status_code == 404
    with client.stream("GET", "/stream") as stream:
        assert len("".join(stream.iter_text())) == 3000
    with client.stream("GET", "/binary") as stream:
        assert b"".join(stream.iter_raw()) == bytes(range(256))


def test_routes_and_sockets_are_one_app(client: TestClient) -> None:
    """One function, one lifespan, one client: cookies, state, and a route that pushes."""
    assert (client.app, client.app.state.database) == (app, "open")
    assert [client.get("/visit").json()["visits"] for _ in range(2)] == [1, 2]
    with client.websocket_connect("/room") as ws:
        assert ws.receive_json() == [{"visits": 2}, 1]
        assert client.post("/say", content="news").json() == 1
        assert ws.receive_text() == "news"
    assert client.post("/say", content="nobody").json() == 0


def test_a_route_pushes_though_nobody_has_been_there() -> None:
    with TestClient(app) as client:
        assert client.post("/say", content="nobody").json() == 0


def test_what_a_route_raises_is_raised_in_the_test(client: TestClient) -> None:
    with pytest.raises(ValueError, match="boom"):
        client.get("/boom")
    client.raise_server_exceptions = False
    response = client.get("/boom")
    assert (response.status_code, response.text) == (500, "Internal Server Error")


# The function behind it need not be an app


def _client(function: Any, **options: Any) -> TestClient:
    return TestClient(function, raise_server_exceptions=False, **options)


@pytest.mark.parametrize(
    ("result", "status", "text"),
    [
        ({"statusCode": 201, "body": "made"}, 201, "made"),
        ({"statusCode": 200, "body": "bWFkZQ==", "isBase64Encoded": True}, 200, "made"),
        ({"statusCode": "202", "headers": {"X-N": 1}, "cookies": ["a=1"]}, 202, ""),
        ({"key": "value"}, 200, '{"key": "value"}'),
        ("text", 200, "text"),
        ({"statusCode": "many"}, 500, '{"message":"Internal Server Error"}'),
    ],
)
def test_a_plain_function_answers_in_the_forms_of_aws(
    result: object, status: int, text: str
) -> None:
    def function(event: Any, context: object) -> object:
        seen.append(event)
        return result

    seen: list[Any] = []
    with _client(function) as client:
        response = client.get("/a?b=1&b=2", cookies=None, headers={"Cookie": "c=1; d=2"})
        assert (response.status_code, response.text) == (status, text)
        assert client.answers[-1].event is seen[0]
    event = seen[0]
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "$default", "/a")
    assert (event["rawQueryString"], event["queryStringParameters"]) == ("b=1&b=2", {"b": "1,2"})
    assert event["cookies"] == ["c=1", "d=2"]
    assert "cookie" not in event["headers"]
    assert event["requestContext"]["http"]["method"] == "GET"


def test_a_function_that_fails_or_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async def function(event: Any, context: object) -> object:
        if event["rawPath"] == "/late":
            import asyncio

            await asyncio.Event().wait()
        raise KeyError("x")

    monkeypatch.setattr(http_events, "BODY_LIMIT", 10)
    with _client(function, http_timeout=0.05) as client:
        assert client.get("/").json() == {"message": "Internal Server Error"}
        assert client.get("/late").status_code == 503
        assert client.post("/", content=b"x" * 11).status_code == 413
        client.raise_server_exceptions = True
        with pytest.raises(KeyError):
            client.get("/")
        with pytest.raises(TimeoutError, match="timed out"):
            client.get("/late")


def test_who_answers_http_is_said_where_nobody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mangum", None)
    with _client(app) as client, pytest.raises(EventError, match=r"longwire\[http\]"):
        client.get("/")
    handler = Longwire(app, dsn="memory://", http=lambda event, context: {"statusCode": 418})
    with _client(handler) as client:
        assert client.get("/").status_code == 418


# Lifespan


def test_a_startup_that_fails_fails_the_with_block() -> None:
    @asynccontextmanager
    async def broken(app: Starlette) -> AsyncIterator[None]:
        if not databases:
            raise OSError("no database")
        yield

    with pytest.raises(OSError, match="no database"):
        with TestClient(Starlette(lifespan=broken)):
            pytest.fail("it started")
    with pytest.raises(LifespanError, match="no database"):
        with _client(Starlette(lifespan=broken)):
            pytest.fail("it started")


def test_without_with_the_first_call_starts_and_close_stops() -> None:
    lives.clear()
    client = TestClient(app)
    assert lives == []
    client.get("/echo/")
    assert lives == ["start"]
    client.close()
    assert lives == ["start", "stop"]


# Without httpx

WITHOUT = """
import sys
for name in ("httpx", "httpx2", "starlette", "anyio"):
    sys.modules[name] = None
from longwire.testing import TestClient, WebSocketDenialResponse, WebSocketDisconnect

async def app(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()
    if scope["path"] == "/no":
        return await send({"type": "websocket.close"})
    await send({"type": "websocket.accept"})
    await receive()
    names = dict(scope["headers"])
    sent = names[b"user-agent"], names[b"cookie"], names[b"x"]
    texts = scope["path"], scope["query_string"], *sent
    await send({"type": "websocket.send", "text": repr(texts)})
    await send({"type": "websocket.close"})

with TestClient(app, headers={"X": "1"}, cookies={"a": "b"}) as client:
    client.headers["User-Agent"] = "me"
    with client.websocket_connect("/ws?a=1", params={"b": "2"}, cookies={"c": "d"}) as ws:
        ws.send_text("")
        print(ws.receive_text())
        try:
            ws.receive_text()
        except WebSocketDisconnect as error:
            print(error.code, error.reason, error)
    try:
        with client.websocket_connect("/no"):
            pass
    except WebSocketDisconnect as error:
        print(type(error) is WebSocketDenialResponse, error.status_code, error.code, error.text)
    for call in (lambda: client.get("/"), lambda: client.websocket_connect("/", auth=("a", "b"))):
        try:
            call()
        except Exception as error:
            print(error)
    print(client.cookies)
"""


def test_sockets_need_nothing_that_is_not_installed() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "('/ws', b'a=1&b=2', b'me', b'a=b; c=d', b'1')",
        "1000 Connection Closed Normally (1000, 'Connection Closed Normally')",
        "True 403 1006 ",
        "HTTP requests of the TestClient need httpx: pip install 'longwire[testing]'",
        "websocket_connect: 'auth' needs httpx: pip install 'longwire[testing]'",
        "{'a': 'b'}",
    ], done.stderr


LITESTAR = """
from litestar import Litestar, WebSocket, get, websocket
from litestar.exceptions import WebSocketDisconnect
from longwire.testing import TestClient

@websocket("/ws")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_json(await socket.receive_json())
    await socket.close()

@get("/")
async def root() -> dict[str, int]:
    return {"a": 1}

with TestClient(app=Litestar([echo, root])) as client:
    print(client.get("/").json())
    with client.websocket_connect("/ws") as ws:
        ws.send_json({"hello": "x"})
        print(ws.receive_json(timeout=10))
        try:
            ws.receive_json()
        except WebSocketDisconnect as error:
            print(error.code, error)
"""


def test_litestars_calls_and_its_own_exception() -> None:
    done = subprocess.run([sys.executable, "-c", LITESTAR], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "{'a': 1}",
        "{'hello': 'x'}",
        "1000 (1000, 'Connection Closed Normally')",
    ], done.stderr
