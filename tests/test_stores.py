"""A whole conversation with each store, its events in several processes' places."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from longwire import Longwire
from longwire.config.settings import load, make_backend
from tests.connections_server import ConnectionsServer
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event
from tests.servers.proxy import CountingProxy

if TYPE_CHECKING:
    from pathlib import Path

    from longwire.types import LambdaEvent, Receive, Scope, Send
    from tests.servers.postgresql import PostgreSQLServer
    from tests.servers.process import ServerProcess
    from tests.servers.redis import RedisServer

pytestmark = pytest.mark.anyio

STORES = ["redis", "postgresql", "dynamodb", "s3"]

# The port is put in later: a store may be spoken to directly, or by a proxy.
DSN = Callable[[int], str]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Greet, then repeat what is said with what the handshake said."""
    await receive()
    name = dict(scope["headers"])[b"x-name"].decode()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": f"hello {name}"})
    while (message := await receive())["type"] == "websocket.receive":
        reply = described(scope) if message["text"] == "scope" else f"{name}: {message['text']}"
        await send({"type": "websocket.send", "text": reply})
    farewells.append((name, message["code"]))


farewells: list[tuple[str, int]] = []


async def keep(scope: Scope, receive: Receive, send: Send) -> None:
    """Keep what is said under a key of its own, once all have been told; show what is kept."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "show":
            await send({"type": "websocket.send", "text": json.dumps(scope["state"])})
            continue
        await barrier.wait()
        scope["state"][message["text"]] = [message["text"]] * 10


barrier: asyncio.Barrier


def described(scope: Scope) -> str:
    """Return what a handshake said, as JSON."""
    headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
    (cookie,) = (value for name, value in headers if name == "cookie")
    repeated = [value for name, value in headers if name == "x-repeated"]
    return json.dumps([cookie, repeated, scope["query_string"].decode()], ensure_ascii=False)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, aws_keys: None) -> tuple[int, DSN]:
    """The port of a store's server, and what makes a dsn of a port that leads there."""
    name = f"n{uuid.uuid4().hex[:20]}"
    match request.param:
        case "redis":
            redis: RedisServer = request.getfixturevalue("redis_server")
            return redis.port, lambda port: f"redis://127.0.0.1:{port}?key_prefix={name}:"
        case "postgresql":
            postgresql: PostgreSQLServer = request.getfixturevalue("postgresql_server")
            return postgresql.port, lambda port: postgresql.uri(port) + f"?table_name={name}"
    aws: ServerProcess = request.getfixturevalue("ministack")
    return (
        aws.port,
        lambda port: (
            f"{request.param}://{name}?region=eu-west-1&endpoint_url=http://127.0.0.1:{port}"
        ),
    )


@pytest.fixture
async def api() -> AsyncIterator[ConnectionsServer]:
    """The management API."""
    async with ConnectionsServer() as server:
        yield server


@pytest.fixture
async def process(api: ConnectionsServer) -> AsyncIterator[Callable[[str], Longwire]]:
    """Make handlers, each of which has nothing from the others but the store."""
    async with AsyncExitStack() as handlers:

        def make(dsn: str) -> Longwire:
            handler = Longwire(echo, dsn=f"{dsn}&api_gateway_endpoint_url={api.url}")
            handlers.push_async_callback(handler.aclose)
            return handler

        yield make


@pytest.fixture(params=["memory", "sqlite3", *STORES])
def any_dsn(request: pytest.FixtureRequest, aws_keys: None, tmp_path: Path) -> str:
    """A dsn of each store that there is."""
    name = f"n{uuid.uuid4().hex[:20]}"
    match request.param:
        case "memory":
            return "memory://?ttl=600"
        case "sqlite3":
            return f"sqlite:///{tmp_path}/ws.sqlite3?ttl=600"
        case "redis":
            redis: RedisServer = request.getfixturevalue("redis_server")
            return f"redis://127.0.0.1:{redis.port}?key_prefix={name}:"
        case "postgresql":
            postgresql: PostgreSQLServer = request.getfixturevalue("postgresql_server")
            return f"{postgresql.uri(postgresql.port)}?table_name={name}"
    aws: ServerProcess = request.getfixturevalue("ministack")
    return f"{request.param}://{name}?region=eu-west-1&endpoint_url=http://127.0.0.1:{aws.port}"


async def invoke(handler: Longwire, event: LambdaEvent) -> None:
    """Give it one event, and let what it does after the response come to its end."""
    answer = await handler.handle(event, LambdaContext())
    assert answer["statusCode"] == 200
    await handler._deferred.wait()


async def create(dsn: str) -> None:
    """Do what `longwire init` does."""
    backend = make_backend(load(None, dsn))
    await backend.create()
    await backend.close()


async def test_each_event_in_another_process(
    store: tuple[int, DSN], process: Callable[[str], Longwire], api: ConnectionsServer
) -> None:
    """The client cannot tell: greeting, replies and farewell are those of one conversation."""
    port, dsn = store
    await create(dsn(port))
    farewells.clear()
    for name, connection_id in (("ann", "a="), ("bob", "b=")):
        event = connect_event(connection_id, headers={"X-Name": [name]})
        await invoke(process(dsn(port)), event)
    for text in ("one", "two"):
        for connection_id in ("a=", "b="):
            await invoke(process(dsn(port)), message_event(text, connection_id))
    await invoke(process(dsn(port)), disconnect_event("a=", 1001))
    await invoke(process(dsn(port)), disconnect_event("a=", 1001))
    assert api.frames("a=") == [b"hello ann", b"ann: one", b"ann: two"]
    assert api.frames("b=") == [b"hello bob", b"bob: one", b"bob: two"]
    assert farewells == [("ann", 1001)]


async def test_the_largest_handshake_is_kept_to_the_byte(
    store: tuple[int, DSN], process: Callable[[str], Longwire], api: ConnectionsServer
) -> None:
    """10,240 bytes of headers and 4,096 of URL: API Gateway lets no more through."""
    port, dsn = store
    await create(dsn(port))
    headers = {"X-Name": ["ann"], "Cookie": ["é" * 10_000], "X-Repeated": ["a", "b", "a"] * 10}
    event = connect_event("a=", headers=headers, query={"token": ['%/\\"\u0001' * 800]})
    await invoke(process(dsn(port)), event)
    await invoke(process(dsn(port)), message_event("one", "a="))
    await invoke(process(dsn(port)), message_event("scope", "a="))
    connected, replayed = api.frames("a=")[0], api.frames("a=")[-1]
    assert connected == b"hello ann"
    cookie, repeated, query = json.loads(replayed)
    assert cookie == "é" * 10_000
    assert repeated == ["a", "b", "a"] * 10
    assert parse_qs(query) == {"token": ['%/\\"\u0001' * 800]}


async def test_a_warm_process_asks_the_store_once_for_a_message(
    store: tuple[int, DSN], process: Callable[[str], Longwire], api: ConnectionsServer
) -> None:
    """On the connection that it has; what is done per process is not done per event."""
    port, dsn = store
    await create(dsn(port))
    async with CountingProxy(port) as proxy:
        handler = process(dsn(proxy.port))
        await invoke(handler, connect_event("a=", headers={"X-Name": ["ann"]}))
        await invoke(handler, message_event("one", "a="))
        proxy.reset()
        for text in ("two", "three"):
            await invoke(handler, message_event(text, "a="))
        assert (proxy.turns, proxy.connections) == (2, 0)
        await handler.aclose()
    assert api.frames("a=")[2:] == [b"ann: two", b"ann: three"]


async def test_twenty_clients_at_once(
    store: tuple[int, DSN], process: Callable[[str], Longwire], api: ConnectionsServer
) -> None:
    """Each gets its own replies, in two processes that share the store."""
    port, dsn = store
    await create(dsn(port))
    handlers = [process(dsn(port)), process(dsn(port))]

    async def client(n: int) -> None:
        connection_id = f"c{n}="
        event = connect_event(connection_id, headers={"X-Name": [f"n{n}"]})
        await invoke(handlers[n % 2], event)
        for text in ("one", "two"):
            await invoke(handlers[(n + 1) % 2], message_event(text, connection_id))

    await asyncio.gather(*map(client, range(20)))
    for n in range(20):
        expected = [f"hello n{n}", f"n{n}: one", f"n{n}: two"]
        assert [frame.decode() for frame in api.frames(f"c{n}=")] == expected


async def test_twenty_events_at_once_keep_what_each_has_changed(
    any_dsn: str, api: ConnectionsServer
) -> None:
    """With each store, in two processes; all have read the same record before one writes."""
    global barrier
    barrier = asyncio.Barrier(20)
    dsn = f"{any_dsn}&api_gateway_endpoint_url={api.url}"
    await create(dsn)
    one = Longwire(keep, dsn=dsn)
    # Memory is one process's.
    handlers = [one, one if dsn.startswith("memory") else Longwire(keep, dsn=dsn)]
    await invoke(one, connect_event("a=", headers={"X-Name": ["ann"]}))
    said = [f"key {n}" for n in range(20)]
    await asyncio.gather(
        *(invoke(handlers[n % 2], message_event(text, "a=")) for n, text in enumerate(said))
    )
    await invoke(handlers[1], message_event("show", "a="))
    for handler in handlers:
        await handler.aclose()
    (shown,) = api.frames("a=")
    assert json.loads(shown) == {text: [text] * 10 for text in said}
