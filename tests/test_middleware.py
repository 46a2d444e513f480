"""`Connections` where a server holds its clients itself: uvicorn and hypercorn, no Lambda."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from fastapi import FastAPI
from fastapi import WebSocket as FastAPIWebSocket
from hypercorn.asyncio import serve
from hypercorn.config import Config
from litestar import Litestar
from litestar import WebSocket as LitestarWebSocket
from litestar import websocket as litestar_websocket
from quart import Quart
from quart import websocket as quart_websocket
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from longwire import (
    ConfigurationError,
    Connections,
    ConnectionsMiddleware,
    InvalidArgumentError,
    LongwireError,
    SendResult,
)
from longwire.exceptions import EventLoopError
from longwire.registry import in_process
from longwire.registry.in_process import ServedBackend, ServedClients, ServedSocket
from longwire.registry.targets import known_id
from tests.parity.hosts import on_uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    Reply = Callable[[str], Awaitable[object]]

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
connections = Connections()


class Stop(Exception):
    """The client wants the endpoint to return."""


# Apps: each lets its clients call the methods of Connections.


def told(result: SendResult) -> dict[str, Any]:
    """Return a result as JSON holds it."""
    return {"delivered": [*result.delivered], "gone": [*result.gone], "failed": result.failed}


async def _my_id(me: Any) -> str | None:
    await connections.groups(me)
    return known_id(me)


async def _members(me: Any, group: str) -> list[str]:
    return [member async for member in connections.group_members(group)]


async def _return(me: Any) -> None:
    raise Stop


ORDERS: dict[str, Callable[..., Awaitable[Any]]] = {
    "me": _my_id,
    "add": lambda me, group: connections.group_add(group, me),
    "discard": lambda me, group: connections.group_discard(group, me),
    "groups": lambda me: connections.groups(me),
    "members": _members,
    "tell": lambda me, group, data: connections.group_send(group, data),
    "tell others": lambda me, group, data: connections.group_send(group, data, exclude=[me]),
    "tell all": lambda me, data: connections.broadcast(data),
    "bytes": lambda me, data: connections.send(me, bytes(data)),
    "send": lambda me, to, data: connections.send(to, data),
    "info": lambda me, whom: connections.info(whom),
    "close": lambda me, whom: connections.close(whom),
    "return": _return,
}


async def answer(me: Any, text: str, reply: Reply) -> None:
    """Do what a client asks for, and tell it what became of it."""
    try:
        order, *words = json.loads(text)
        result = await ORDERS[order](me, *words)
    except LongwireError as error:
        result = [type(error).__name__, str(error)]
    if isinstance(result, SendResult):
        result = told(result)
    await reply(json.dumps({"answer": result}, default=str))


async def starlette_endpoint(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        async for text in websocket.iter_text():
            await answer(websocket, text, websocket.send_text)
    except Stop:
        return


async def notify(request: Request) -> JSONResponse:
    return JSONResponse(told(await connections.group_send("blue", "by await")))


def notify_sync(request: Request) -> JSONResponse:
    return JSONResponse(told(connections.sync.group_send("blue", "by a thread")))


starlette = Starlette(
    routes=[
        WebSocketRoute("/ws", starlette_endpoint),
        Route("/notify", notify),
        Route("/notify_sync", notify_sync),
    ]
)
fastapi = FastAPI()


@fastapi.websocket("/ws")
async def fastapi_endpoint(websocket: FastAPIWebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await answer(websocket, await websocket.receive_text(), websocket.send_text)
    except (Stop, WebSocketDisconnect):
        return


@litestar_websocket("/ws")
async def litestar_endpoint(socket: LitestarWebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    try:
        while True:
            await answer(socket, await socket.receive_text(), socket.send_text)
    except Stop:
        return


litestar = Litestar([litestar_endpoint], logging_config=None)
quart_app = Quart(__name__)


@quart_app.websocket("/ws")
async def quart_endpoint() -> None:
    await quart_websocket.accept()
    try:
        while True:
            text = str(await quart_websocket.receive())
            await answer(quart_websocket.scope, text, quart_websocket.send)
    except Stop:
        return


async def plain_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        raise ValueError(f"no {scope['type']} here")

    async def reply(text: str) -> None:
        await send({"type": "websocket.send", "text": text})

    await receive()
    await send({"type": "websocket.accept"})
    try:
        while (message := await receive())["type"] != "websocket.disconnect":
            await answer(scope, message["text"], reply)
    except Stop:
        return


APPS: dict[str, Any] = {
    "Starlette": starlette,
    "FastAPI": fastapi,
    "Litestar": litestar,
    "Quart": ConnectionsMiddleware(cast("Any", quart_app)),
    "plain ASGI": ConnectionsMiddleware(plain_app),
}


# Servers and clients.


@asynccontextmanager
async def on_hypercorn(app: Any) -> AsyncIterator[str]:
    """Serve the app with hypercorn; yield its host and port."""
    config, stop = Config(), asyncio.Event()
    listening = socket.create_server(("127.0.0.1", 0))
    # Hypercorn takes over the descriptor, and closes it.
    port, config.bind = listening.getsockname()[1], [f"fd://{listening.detach()}"]
    config.errorlog = config.accesslog = None
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(app, config, shutdown_trigger=stop.wait))
        try:
            yield f"127.0.0.1:{port}"
        finally:
            stop.set()


@asynccontextmanager
async def under_uvicorn(app: Any) -> AsyncIterator[str]:
    """Serve the app with uvicorn; yield its host and port."""
    async with on_uvicorn(app, Path()) as address:
        yield address("", []).removeprefix("ws://").partition("?")[0]


SERVERS = {"uvicorn": under_uvicorn, "hypercorn": on_hypercorn}


class Client:
    """A client that asks the app, and keeps what others have sent meanwhile."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[Any] = []
        self.id = ""

    async def ask(self, *question: Any) -> Any:
        """Return the answer to a question."""
        await self.socket.send(json.dumps(question))
        while not isinstance(frame := await self.hear(), dict) or "answer" not in frame:
            self.heard.append(frame)
        return frame["answer"]

    async def hear(self) -> Any:
        """Return the next frame: JSON, other text, or bytes."""
        async with asyncio.timeout(10):
            frame = await self.socket.recv()
        return json.loads(frame) if frame[:1] == "{" else frame

    async def expect(self, frame: Any) -> None:
        """Wait until this has come, or return if it has already."""
        while frame not in self.heard:
            self.heard.append(await self.hear())

    async def until(self, expected: Any, *question: Any) -> None:
        """Ask again and again until this is the answer."""
        async with asyncio.timeout(10):
            while await self.ask(*question) != expected:
                await asyncio.sleep(0.01)


class Place:
    """A server, and the clients that connect to it."""

    def __init__(self, address: str, clients: AsyncExitStack) -> None:
        self.address = address
        self._clients = clients

    async def client(self, *groups: str) -> Client:
        """Return one that is in these groups."""
        url = f"ws://{self.address}/ws"
        client = Client(
            await self._clients.enter_async_context(connect(url, compression=None, max_size=None))
        )
        client.id = await client.ask("me")
        for group in groups:
            await client.ask("add", group)
        return client

    async def get(self, path: str) -> Any:
        async with httpx.AsyncClient() as http:
            return (await http.get(f"http://{self.address}{path}")).json()


@asynccontextmanager
async def place(app: Any, server: Any = under_uvicorn) -> AsyncIterator[Place]:
    async with server(app) as address, AsyncExitStack() as clients:
        yield Place(address, clients)


every_app = pytest.mark.parametrize("app", APPS.values(), ids=APPS)
every_server = pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)


# Groups and single connections


@every_server
@every_app
async def test_groups_reach_their_members(app: Any, server: Any) -> None:
    """Each frame to those whom it is for, in order; and what the result says."""
    async with place(app, server) as here:
        ann, bob = await here.client("blue"), await here.client("blue", "red")
        eve = await here.client("red")
        ids = sorted([ann.id, bob.id])
        assert await ann.ask("members", "blue") == ids
        result = await ann.ask("tell", "blue", "1")
        assert result == {"delivered": ids, "gone": [], "failed": {}}
        assert (await ann.ask("tell others", "blue", {"n": 2}))["delivered"] == [bob.id]
        assert (await eve.ask("tell", "red", "3"))["delivered"] == sorted([bob.id, eve.id])
        assert await bob.ask("groups") == ["blue", "red"]
        await bob.ask("discard", "blue")
        assert (await ann.ask("tell", "blue", "4"))["delivered"] == [ann.id]
        assert await bob.ask("groups") == ["red"]
        result = await eve.ask("tell all", "5")
        assert sorted(result["delivered"]) == sorted([*ids, eve.id])
        for client in (ann, bob):
            await client.expect("5")
        assert [ann.heard, bob.heard, eve.heard] == [
            ["1", "4", "5"],
            ["1", {"n": 2}, "3", "5"],
            ["3", "5"],
        ]


@every_server
@every_app
async def test_single_connections_are_reached_by_id(app: Any, server: Any) -> None:
    """One sends to, asks about and ends another; nobody else hears of it."""
    async with place(app, server) as here:
        ann, bob, eve = [await here.client("blue") for _ in range(3)]
        assert await ann.ask("send", bob.id, "hello") is None
        assert await bob.hear() == "hello"
        await eve.ask("bytes", [0, 255])  # there is no API Gateway that would make text of it
        assert "127.0.0.1" in await ann.ask("info", bob.id)
        await ann.ask("close", bob.id)
        with pytest.raises(ConnectionClosed) as closed:
            await bob.hear()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000
        await ann.until(sorted([ann.id, eve.id]), "members", "blue")
        assert (await ann.ask("send", bob.id, "more"))[0] == "ConnectionGoneError"
        assert await ann.ask("close", bob.id) is None
        assert (ann.heard, eve.heard) == ([], [b"\x00\xff"])


async def test_with_the_middleware_a_broadcast_reaches_those_nobody_told_of() -> None:
    """A client that the app has never given to Connections is a connection, too."""
    async with place(ConnectionsMiddleware(starlette)) as here:
        async with connect(f"ws://{here.address}/ws") as unknown:
            ann = await here.client()
            assert len((await ann.ask("tell all", "hello"))["delivered"]) == 2
            assert await unknown.recv() == "hello"


async def test_text_that_no_frame_can_hold_is_refused_before_any_is_sent() -> None:
    """As on Lambda."""
    async with place(starlette) as here:
        ann, bob = await here.client("blue"), await here.client("blue")
        assert (await ann.ask("tell", "blue", "\ud800"))[0] == "ASGIMessageError"
        await ann.ask("tell", "blue", "good")
        assert await bob.hear() == "good"


# Ends


async def _leave(client: Client) -> None:
    await client.socket.close()


async def _abort(client: Client) -> None:
    client.socket.transport.abort()


async def _have_it_return(client: Client) -> None:
    await client.socket.send('["return"]')
    await client.socket.wait_closed()


async def _have_it_raise(client: Client) -> None:
    await client.socket.send('["nonsense"]')
    await client.socket.wait_closed()


@every_server
@every_app
async def test_who_has_ended_is_in_no_group(app: Any, server: Any) -> None:
    """Closed by the client, aborted, returned or raised: no member, and gone for every send."""
    if (app, server) == (litestar, on_hypercorn):
        # Hypercorn swallows what is sent after the end, and Litestar's object does not know of it.
        app = ConnectionsMiddleware(app)
    async with place(app, server) as here:
        ann = await here.client("blue")
        for end in (_leave, _abort, _have_it_return, _have_it_raise):
            bob = await here.client("blue", "red")
            await end(bob)
            await ann.until({"delivered": [ann.id], "gone": [], "failed": {}}, "tell", "blue", "x")
            assert await ann.ask("members", "blue") == [ann.id]
            assert await ann.ask("members", "red") == []
            assert (await ann.ask("send", bob.id, "more"))[0] == "ConnectionGoneError"
            assert (await ann.ask("info", bob.id))[0] == "ConnectionGoneError"


async def _cycle(here: Place) -> None:
    async with connect(f"ws://{here.address}/ws", compression=None) as socket:
        client = Client(socket)
        await client.ask("add", "blue")
        await client.ask("add", f"user {id(client)}")


def _known() -> int:
    gc.collect()
    return sum(
        type(each) is ServedSocket for each in gc.get_objects()
    )  # asks no lazy object of Django


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cycles"), [("Starlette", 1000), ("Litestar", 1000)])
async def test_connections_that_have_ended_leave_nothing(name: str, cycles: int) -> None:
    """Thousands come and go, and neither they nor their groups stay in memory."""
    async with place(APPS[name]) as here:
        watcher = await here.client("blue")
        before = _known()
        for _ in range(cycles // 50):
            await asyncio.gather(*(_cycle(here) for _ in range(50)))
        await watcher.until([watcher.id], "members", "blue")
        async with asyncio.timeout(10):
            while _known() > before:
                await asyncio.sleep(0.01)
        assert (await watcher.ask("tell all", "x"))["delivered"] == [watcher.id]


# What cannot be sent


class SlowClient:
    """A client that connects, says one thing and never reads."""

    def __init__(self, here: Place) -> None:
        host, _, port = here.address.partition(":")
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((host, int(port)))

    def __enter__(self) -> None:
        handshake = (
            "GET /slow HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        self._socket.sendall(handshake.encode())

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()


async def test_a_client_that_does_not_read_stops_nobody_else() -> None:
    """The others get every frame; the sender learns who did not, within its timeout."""
    mine, joined = Connections(timeout=0.2), asyncio.Event()

    async def slow(websocket: WebSocket) -> None:
        await websocket.accept()
        await mine.group_add("blue", websocket)
        joined.set()
        await websocket.receive()

    app = Starlette(routes=[WebSocketRoute("/slow", slow), *starlette.routes])
    async with place(app) as here:
        with SlowClient(here):
            async with asyncio.timeout(10):
                await joined.wait()
            ann = await here.client("blue")
            for number in range(4):
                result = await mine.group_send("blue", str(number) + "x" * 3_000_000)
                assert ann.id in result.delivered
                assert (await ann.hear())[0] == str(number)
            (reason,) = result.failed.values()
            assert "its client does not read" in reason
            assert not result.gone


async def test_who_has_not_been_accepted_yet_is_not_gone() -> None:
    """A send to it fails; it stays a member, and gets the next one."""
    seen: list[SendResult] = []

    async def late(websocket: WebSocket) -> None:
        await connections.group_add("late", websocket)
        seen.append(await connections.group_send("late", "early"))
        await websocket.accept()
        seen.append(await connections.group_send("late", "in time"))

    async with place(Starlette(routes=[WebSocketRoute("/late", late)])) as here:
        async with connect(f"ws://{here.address}/late") as client:
            assert await client.recv() == "in time"
    (reason,) = seen[0].failed.values()
    assert reason.endswith("the app has not accepted it yet")
    assert (len(seen[0].gone), len(seen[1].delivered)) == (0, 1)


async def test_what_a_server_raises_of_its_own_stops_nobody_else() -> None:
    """A member whose server fails is in `failed`; the others get the frame."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def broken(message: Any) -> None:
            if message["type"] == "websocket.send" and message.get("text") == "odd":
                raise LookupError("no such stream")
            await send(message)

        await ConnectionsMiddleware(plain_app)(
            scope, receive, broken if scope["path"] == "/broken" else send
        )

    async with place(app) as here:
        async with connect(f"ws://{here.address}/broken") as socket:
            bob, ann = Client(socket), await here.client("odd")
            await bob.ask("add", "odd")
            result = await ann.ask("tell", "odd", "odd")
            assert (result["delivered"], result["gone"]) == ([ann.id], [])
            (reason,) = result["failed"].values()
            assert "LookupError('no such stream')" in reason


async def test_a_scope_is_a_target_only_with_the_middleware() -> None:
    """The error says what to do instead."""
    texts: list[str] = []

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        with pytest.raises(InvalidArgumentError) as refused:
            await connections.group_add("blue", websocket.scope)
        texts.append(str(refused.value))
        await websocket.close()

    async with place(Starlette(routes=[WebSocketRoute("/ws", endpoint)])) as here:
        async with connect(f"ws://{here.address}/ws") as client:
            await client.wait_closed()
    assert texts == [
        "this server's connection can be reached through its WebSocket object, not through its "
        "scope: give Connections the WebSocket, or wrap the app in longwire.ConnectionsMiddleware"
    ]


# Around the connections


async def test_http_routes_send_to_groups() -> None:
    """Of the same app: `async def`, and `def` in a thread."""
    async with place(starlette) as here:
        ann = await here.client("blue")
        for path, text in {"/notify": "by await", "/notify_sync": "by a thread"}.items():
            assert (await here.get(path))["delivered"] == [ann.id]
            assert await ann.hear() == text


async def test_a_broadcast_without_the_middleware_says_once_what_it_misses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On Lambda it reaches all, so that its author should know."""
    clients = ServedClients()
    backend = ServedBackend(clients)
    with caplog.at_level(logging.WARNING, "longwire"):
        for _ in range(2):
            await backend.connections()
        clients.watched = True
        await ServedBackend(clients).connections()
    (warning,) = caplog.messages
    assert warning.startswith("without longwire.ConnectionsMiddleware around the app, broadcast")


def _serve_in_thread(ready: Callable[[Place], Awaitable[None]]) -> None:
    async def main() -> None:
        async with place(starlette, on_hypercorn) as here:
            await ready(here)

    asyncio.run(main())


async def test_servers_in_several_threads_reach_each_others_clients() -> None:
    """One process, two event loops, one group."""
    loop, done = asyncio.get_running_loop(), threading.Event()
    elsewhere: asyncio.Queue[str] = asyncio.Queue()

    async def ready(there: Place) -> None:
        bob = await there.client("both")
        loop.call_soon_threadsafe(elsewhere.put_nowait, bob.id)
        loop.call_soon_threadsafe(elsewhere.put_nowait, await bob.hear())
        await bob.ask("tell", "both", "back")
        await asyncio.to_thread(done.wait, 10)

    async with place(starlette) as here:
        ann = await here.client("both")
        thread = asyncio.create_task(asyncio.to_thread(_serve_in_thread, ready))
        async with asyncio.timeout(10):
            bob_id = await elsewhere.get()
            assert len((await ann.ask("tell others", "both", "over"))["delivered"]) == 1
            assert await elsewhere.get() == "over"
            await ann.expect("back")
            with pytest.raises(EventLoopError):  # and does not wait for itself across the other
                connections.sync.group_send("both", "x")
        done.set()
        await thread
        # That loop is closed now: whoever is left of it is gone, at once.
        assert (await ann.ask("send", bob_id, "x"))[0] == "ConnectionGoneError"
        assert (await ann.ask("tell", "both", "end"))["delivered"] == [ann.id]


def test_a_server_that_has_stopped_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever goes on in its process is told that there is nobody to reach."""

    async def main() -> None:
        async with place(starlette) as here:
            await here.client("blue")
            assert len((await connections.group_send("blue", "x")).delivered) == 1

    monkeypatch.delenv("WS_MANAGEMENT_ENDPOINT", raising=False)
    monkeypatch.setattr(in_process, "TEST_CLIENTS", ())  # another test may have imported one
    asyncio.run(main())
    with pytest.raises(ConfigurationError, match=r"^Connections\(\) finds nobody to reach"):
        connections.sync.group_send("blue", "x")


NOBODY_YET = """
import threading, urllib.request, uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from longwire import Connections

connections = Connections()

async def by_await(request):
    return PlainTextResponse(repr(await connections.group_send("g", "x")))

def by_thread(request):
    return PlainTextResponse(repr(connections.sync.group_send("g", "x")))

app = Starlette(routes=[Route("/await", by_await), Route("/thread", by_thread)])
server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))

def ask():
    while not server.started:
        pass
    port = server.servers[0].sockets[0].getsockname()[1]
    for path in ("/await", "/thread"):
        try:
            print(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}").read().decode())
        except OSError as error:
            print(error)
    server.should_exit = True

threading.Thread(target=ask).start()
server.run()
"""


@pytest.mark.parametrize("endpoint", ["", "https://nobody.invalid/prod"])
def test_a_server_whose_clients_are_still_to_come_reaches_nobody(endpoint: str) -> None:
    """No error: `def` routes, too. But WS_MANAGEMENT_ENDPOINT means API Gateway's clients."""
    environ = {**os.environ, "WS_MANAGEMENT_ENDPOINT": endpoint}
    run = subprocess.run(
        [sys.executable, "-c", NOBODY_YET],
        capture_output=True,
        text=True,
        check=True,
        env=environ,
        cwd=HERE.parent,
    )
    nobody = "SendResult(delivered=ConnectionIds([]), gone=ConnectionIds([]), failed={}"
    error = "HTTP Error 500: Internal Server Error"  # it has no store
    for line in run.stdout.splitlines():
        assert line.startswith(error if endpoint else nobody)
    assert len(run.stdout.splitlines()) == 2
