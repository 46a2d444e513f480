"""`TestClient.websocket_connect`: Starlette's calls, API Gateway's rules."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

import longwire.testing
from longwire import Connections, Longwire
from longwire.exceptions import ConfigurationError, StoredRecordError
from longwire.testing import TestClient, thread

connections = Connections()


async def echo(websocket: WebSocket) -> None:
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol=offered[-1] if offered else None)
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            ends.append((message["code"], message["reason"]))
            return
        if message["text"] == "close":
            return await websocket.close(4000, "bye")
        if message["text"] == "boom":
            raise ValueError("boom") from KeyError("its cause")
        await websocket.send_text(message["text"])


async def about(websocket: WebSocket) -> None:
    await websocket.accept(headers=[(b"x-dropped", b"1")])
    await websocket.send_json(
        {
            "url": str(websocket.url),
            "path": websocket.url.path,
            "query": websocket.query_params.multi_items(),
            "headers": websocket.headers.items(),
            "cookies": websocket.cookies,
            "client": websocket.client and websocket.client.host,
        }
    )
    await websocket.send_bytes(b"bytes")


async def secret(websocket: WebSocket) -> None:
    raise HTTPException(401, "who are you?")


async def closes_first(websocket: WebSocket) -> None:
    await websocket.close(1008)


async def raises_first(websocket: WebSocket) -> None:
    raise RuntimeError("before accept")


async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    await connections.group_add("room", websocket)
    async for text in websocket.iter_text():
        await connections.group_send("room", text, exclude=websocket)


def _talk(client: TestClient, path: str, text: str, timeout: float | None = None) -> None:
    with client.websocket_connect(path) as ws:
        ws.send_text(text)
        ws.receive_text(timeout)


ends: list[tuple[int, str]] = []
ROUTES = [
    WebSocketRoute("/", echo),
    WebSocketRoute("/ws", echo),
    WebSocketRoute("/rooms/{name}/about", about),
    WebSocketRoute("/secret", secret),
    WebSocketRoute("/closes", closes_first),
    WebSocketRoute("/raises", raises_first),
    WebSocketRoute("/room", room),
]
app = Starlette(routes=ROUTES)


@pytest.fixture
def client() -> Any:
    ends.clear()
    with TestClient(app) as client:
        yield client


def test_text_and_json_go_and_come(client: TestClient) -> None:
    with client.websocket_connect("/ws") as ws:
        ws.send_text("hello")
        assert ws.receive_text() == "hello"
        ws.send_json({"n": [1, "é"]})
        assert ws.receive_json() == {"n": [1, "é"]}
        ws.send_json("x", mode="text")
        assert ws.receive_json(mode="binary") == "x"
        ws.send({"type": "websocket.receive", "text": "raw"})
        assert ws.receive() == {"type": "websocket.send", "text": "raw"}
        ws.send("as Litestar's")
        assert ws.receive_bytes(timeout=3) == b"as Litestar's"
        ws.nothing()
    assert ends == [(1000, "")]


@pytest.mark.parametrize("url", ["/", "ws://testserver/", "/?path=/ws", "ws", "/ws?path2=x"])
def test_a_url_names_a_path_in_any_way(client: TestClient, url: str) -> None:
    with client.websocket_connect(url) as ws:
        ws.send_text("there")
        assert ws.receive_text() == "there"


def test_the_handshake_is_what_the_test_says(client: TestClient) -> None:
    """What the client has for all of them is in it, too."""
    client.headers["X-All"] = "all"
    client.cookies.set("session", "s")
    with client.websocket_connect(
        "/rooms/a b/about",
        subprotocols=["v1"],
        headers={"X-One": "one", "User-Agent": "mine"},
        params=[("a", "1"), ("a", "&")],
    ) as ws:
        assert (ws.accepted_subprotocol, ws.extra_headers) == (None, [])
        said = ws.receive_json()
        assert ws.receive_bytes() == b"bytes"
    headers = dict(said["headers"])
    assert said["path"] == "/rooms/a b/about"
    assert said["query"] == [["a", "1"], ["a", "&"]]
    assert (headers["x-all"], headers["x-one"], headers["user-agent"]) == ("all", "one", "mine")
    assert headers["sec-websocket-protocol"] == "v1"
    assert (said["cookies"], said["client"]) == ({"session": "s"}, "127.0.0.1")


@pytest.mark.parametrize("base_url", ["http://testserver", "https://testserver:444"])
def test_the_app_sees_the_host_and_the_scheme_of_the_test(base_url: str) -> None:
    with TestClient(app, base_url=base_url) as client:
        with client.websocket_connect("/rooms/x/about") as ws:
            assert ws.receive_json()["url"] == f"{base_url.replace('http', 'ws')}/rooms/x/about"


def test_credentials_of_the_client_are_sent() -> None:
    with TestClient(app, client=("203.0.113.7", 1), cookies={"a": "1"}) as client:
        with client.websocket_connect("/rooms/x/about", auth=("ann", "pw")) as ws:
            said = ws.receive_json()
    assert dict(said["headers"])["authorization"] == "Basic YW5uOnB3"
    assert (said["cookies"], said["client"]) == ({"a": "1"}, "203.0.113.7")


def test_a_subprotocol_is_agreed_upon(client: TestClient) -> None:
    with client.websocket_connect("/ws", subprotocols=["v2", "v1"]) as ws:
        assert ws.accepted_subprotocol == "v1"


@pytest.mark.parametrize(
    ("path", "status"), [("/secret", 401), ("/closes", 403), ("/nowhere", 403)]
)
def test_a_refusal_is_starlettes_denial_response(
    client: TestClient, path: str, status: int
) -> None:
    """And so a disconnect; the text says that a code is nothing that a client gets."""
    assert longwire.testing.WebSocketDenialResponse is WebSocketDenialResponse
    assert longwire.testing.WebSocketDisconnect is WebSocketDisconnect
    with pytest.raises(WebSocketDisconnect) as caught:
        with client.websocket_connect(path):
            pytest.fail("it was accepted")
    refusal = caught.value
    assert isinstance(refusal, WebSocketDenialResponse)
    assert (refusal.status_code, refusal.text, refusal.code) == (status, "", 1006)
    assert str(status) in refusal.__notes__[0]


def test_an_authorizer_refuses_with_a_reason() -> None:
    def authorize(event: Any, context: object) -> dict[str, Any]:
        raise Exception("Unauthorized")

    with TestClient(app, authorizer=authorize, stage="prod") as client:
        with pytest.raises(WebSocketDenialResponse) as caught:
            with client.websocket_connect("/ws"):
                pass
    assert caught.value.status_code == 401


def test_the_end_is_a_disconnect_with_the_code_that_a_client_sees(client: TestClient) -> None:
    """API Gateway's own: it knows no other way to close than to delete a connection."""
    with client.websocket_connect("/ws") as ws:
        ws.send_text("last")
        ws.send_text("close")
        assert ws.receive_text() == "last"
        for receive in (ws.receive_text, ws.receive_bytes, ws.receive_json):
            with pytest.raises(WebSocketDisconnect) as caught:
                receive()
            assert (caught.value.code, caught.value.reason) == (1000, "Connection Closed Normally")
        assert ws.receive()["type"] == "websocket.close"
        ws.send_text("too late, and no error: the client may not know yet")
        ws.close()


def test_a_client_closes_vanishes_and_is_idle_for_too_long(client: TestClient) -> None:
    with client.websocket_connect("/ws") as ws:
        ws.close(4001, "done")
        assert ends.pop() == (4001, "done")
    with client.websocket_connect("/ws") as ws:
        ws.send({"type": "websocket.disconnect", "code": 4002})
        assert ends.pop() == (4002, "")
    with client.websocket_connect("/ws") as ws:
        ws.vanish()
        assert ends.pop()[0] == 1006
    with client.websocket_connect("/ws") as ws:
        ws.expire()
        with pytest.raises(WebSocketDisconnect) as caught:
            ws.receive_text()
        assert caught.value.code == 1001
    assert [one[0] for one in ends] == [1001]


@pytest.mark.parametrize("send", ["send_bytes", "send_json"])
def test_binary_is_refused_as_by_api_gateway(client: TestClient, send: str) -> None:
    with client.websocket_connect("/ws") as ws:
        if send == "send_bytes":
            ws.send_bytes(b"x")
        else:
            ws.send_json({}, mode="binary")
        with pytest.raises(WebSocketDisconnect) as caught:
            ws.receive_bytes()
    assert caught.value.code == 1003
    assert "no binary messages" in caught.value.__notes__[0]


def test_a_frame_is_at_most_32_kb(client: TestClient) -> None:
    with client.websocket_connect("/ws") as ws:
        ws.send_text("x" * 32 * 1024)
        assert len(ws.receive_text()) == 32 * 1024
        ws.send_text("x" * (32 * 1024 + 1))
        with pytest.raises(WebSocketDisconnect) as caught:
            ws.receive_text()
    assert caught.value.code == 1009


def test_each_message_is_an_event_of_its_own() -> None:
    """What is kept in a local variable is lost; with replay it is not."""

    async def counts(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        for count in range(10):
            if (await receive())["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": str(count)})

    for config, last in ((None, "0"), ({"replay": True}, "1")):
        with TestClient(counts, ws_config=config) as client:
            with client.websocket_connect("/") as ws:
                ws.send_text("")
                assert ws.receive_text() == "0"
                ws.send_text("")
                assert ws.receive_text() == last
            assert [one.result for one in client.answers] == [{"statusCode": 200}] * 4
            assert [one.event["requestContext"]["eventType"] for one in ws.answers][1] == "MESSAGE"


# What the app raises


def test_what_the_app_raises_is_raised_in_the_test_once(client: TestClient) -> None:
    """After what it had sent, with its own cause."""
    with client.websocket_connect("/ws") as ws:
        ws.send_text("before")
        ws.send_text("boom")
        assert ws.receive_text() == "before"
        with pytest.raises(ValueError, match="boom") as caught:
            ws.receive_text()
        assert isinstance(caught.value.__cause__, KeyError)
        with pytest.raises(WebSocketDisconnect):
            ws.receive_text()


def test_it_is_raised_at_the_end_where_nobody_receives(client: TestClient) -> None:
    with pytest.raises(ValueError, match="boom"):
        with client.websocket_connect("/ws") as ws:
            ws.send_text("boom")


def test_it_is_raised_where_the_connection_begins(client: TestClient) -> None:
    with pytest.raises(RuntimeError, match="before accept"):
        with client.websocket_connect("/raises"):
            pytest.fail("it was accepted")


def test_without_that_a_test_sees_what_a_client_sees() -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        with pytest.raises(WebSocketDenialResponse) as caught:
            with client.websocket_connect("/raises"):
                pass
        assert caught.value.status_code == 500
        with client.websocket_connect("/ws") as ws:
            ws.send_text("boom")
            with pytest.raises(WebSocketDisconnect):
                ws.receive_text()
        client.raise_server_exceptions = True
        with pytest.raises(RuntimeError), client.websocket_connect("/raises"):
            pass


def test_a_function_that_raises_itself_is_no_frame_alone() -> None:
    def function(event: Any, context: object) -> dict[str, Any]:
        if event["requestContext"]["eventType"] == "MESSAGE":
            raise StoredRecordError("broken")
        return {"statusCode": 200}

    with TestClient(function) as client, client.websocket_connect("/") as ws:
        ws.send_text("x")
        with pytest.raises(StoredRecordError):
            ws.receive_text()
        client.raise_server_exceptions = False
        ws.send_text("x")
        assert ws.receive_json()["message"] == "Internal server error"


# Nothing hangs


def test_a_receive_ends_in_time(client: TestClient) -> None:
    with client.websocket_connect("/ws") as ws:
        with pytest.raises(TimeoutError, match=r"within 0\.05 s; the last answer was: .*200"):
            ws.receive_text(timeout=0.05)
    with TestClient(app, timeout=0.05) as short, short.websocket_connect("/ws") as ws:
        with pytest.raises(TimeoutError):
            ws.receive()


def test_an_app_that_blocks_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the test leaves it alone."""
    monkeypatch.setattr(thread, "LATE", 0.2)
    go_on = threading.Event()

    async def blocks(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        go_on.wait()

    client = TestClient(blocks)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"still blocks its event loop, at .*threading\.py"):
        _talk(client, "/", "x", timeout=0.05)
    assert time.monotonic() - began < 5
    go_on.set()
    client.close()


def test_an_app_that_does_not_start_is_not_said_to_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "LATE", 0.2)
    monkeypatch.setattr("longwire.testing.client.STARTUP_TIMEOUT", 0.1)

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        await receive()  # what comes at the shutdown

    with pytest.raises(TimeoutError, match=r"not done after 0\.3 s, though its event loop is free"):
        with TestClient(waits):
            pass


def test_an_app_that_ends_the_process_ends_nothing(client: TestClient) -> None:
    async def exits(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        asyncio.get_running_loop().call_soon(exit)
        await receive()

    with TestClient(exits) as other, other.websocket_connect("/"):
        pass


# Several clients, and their lives


def test_several_connections_and_clients_of_an_app_reach_each_other(client: TestClient) -> None:
    """Each client is a user of its own."""
    with TestClient(app) as other:
        with (
            client.websocket_connect("/room") as ann,
            client.websocket_connect("/room") as bob,
            other.websocket_connect("/room") as eve,
        ):
            ann.send_text("hi")
            assert (bob.receive_text(), eve.receive_text()) == ("hi", "hi")
            eve.send_text("ho")
            assert (ann.receive_text(), bob.receive_text()) == ("ho", "ho")
            ann.nothing()
            connections.sync.send(ann.connection_id, "from the test itself")
            assert ann.receive_text() == "from the test itself"


def test_a_handler_keeps_its_own_store_out_of_it(tmp_path: Any) -> None:
    """So a test needs no DynamoDB; with `keep_store` it has it."""
    dsn = f"sqlite:///{tmp_path}/ws.sqlite3"
    handler = Longwire(app, dsn=dsn)
    own = handler.backend
    with TestClient(handler) as one, TestClient(handler) as two:
        assert one.app is app
        with one.websocket_connect("/room") as ann, two.websocket_connect("/room") as bob:
            ann.send_text("hi")
            assert bob.receive_text() == "hi"
        assert (list(tmp_path.iterdir()), handler.backend) != ([], own)
    assert (list(tmp_path.iterdir()), handler.backend) == ([], own)
    with TestClient(handler, keep_store=True) as client, client.websocket_connect("/room"):
        assert (tmp_path / "ws.sqlite3").exists()
    with TestClient(handler):
        assert handler.backend is not own


def test_a_client_without_with_starts_by_itself_and_again() -> None:
    client = TestClient(app)
    for _ in range(2):
        with client.websocket_connect("/ws") as ws:
            ws.send_text("x")
            assert ws.receive_text() == "x"
        client.close()
    client.close()


def test_a_client_that_nobody_has_is_no_thread_for_long() -> None:
    before = set(threading.enumerate())
    client = TestClient(app)
    with client.websocket_connect("/ws"):
        pass
    running = weakref.ref(client._start())
    threads = set(threading.enumerate()) - before
    del client
    gc.collect()
    for one in threads:
        one.join(10)
    assert not any(one.is_alive() for one in threads)
    stopped = running()
    assert stopped is None or stopped.is_stopped


def test_a_connection_outlives_no_client() -> None:
    with contextlib.ExitStack() as stack:
        client = TestClient(app)
        ws = stack.enter_context(client.websocket_connect("/ws"))
        client.close()
        assert ends[-1][0] == 1001
        with pytest.raises(RuntimeError, match="TestClient of this connection is closed"):
            ws.send_text("x")


async def _in_a_coroutine() -> None:
    with TestClient(app) as client, client.websocket_connect("/ws") as ws:
        ws.send_text("x")
        assert ws.receive_text() == "x"


def test_it_works_where_a_loop_runs() -> None:
    """As in tests of pytest-asyncio or anyio that are coroutines."""
    asyncio.run(_in_a_coroutine())
    anyio.run(_in_a_coroutine, backend="asyncio")


# Mistakes


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"backend": "trio"}, "backend is 'trio': on Lambda apps run on asyncio"),
        ({"root_path": "/x"}, "root_path is '/x'"),
        ({"backend_options": {"x": 1}}, "'x' is not known; expected use_uvloop"),
        ({"fresh": True}, r'name it, as in TestClient\("main:app"\)'),
        ({"keep_store": True}, "only a Longwire handler has a store of its own"),
        ({"stage": "$default"}, "not a stage name"),
    ],
)
def test_a_mistake_says_what_to_do(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        with TestClient(app, **options):
            pass


def test_more_mistakes_say_so(client: TestClient) -> None:
    with pytest.raises(TypeError, match="'tiemout'; did you mean 'timeout'"):
        TestClient(app, tiemout=3)
    with pytest.raises(TypeError, match="'message_rat'; did you mean 'message_rate'"):
        TestClient(app, message_rat=3)
    with pytest.raises(ConfigurationError, match="there is no module 'nowhere_to_be_found'"):
        TestClient("nowhere_to_be_found:app")
    with pytest.raises(ConfigurationError, match="a handler has its own"):
        TestClient(Longwire(app, dsn="memory://"), ws_config={"backend": "memory"})
    with pytest.raises(RuntimeError, match="not open yet: use `with"):
        client.websocket_connect("/ws").send_text("x")
    with pytest.raises(ConfigurationError, match="the query has another in 'path'"):
        client.websocket_connect("/ws?path=/other")
    with client.websocket_connect("/ws") as ws:
        with pytest.raises(ValueError, match="a client sends websocket"):
            ws.send({"type": "websocket.accept"})
        with pytest.raises(ValueError, match="mode is 'bin'"):
            ws.send_json({}, mode="bin")  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="no attribute '_nothing'"):
        _ = client._nothing


@pytest.mark.parametrize(("name", "path"), [("p", "/ws"), (None, "/ws")])
def test_a_path_is_sent_as_the_handler_reads_it(name: str | None, path: str) -> None:
    config = {"backend": "memory", "path_query": name, "path": "/" if name else "/ws"}
    with TestClient(app, ws_config=config) as client:
        with client.websocket_connect(path) as ws:
            ws.send_text("x")
            assert ws.receive_text() == "x"
        if name is None:
            with pytest.raises(ConfigurationError, match="every client gets '/ws'"):
                client.websocket_connect("/secret")
