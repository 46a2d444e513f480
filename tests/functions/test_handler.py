"""`websocket_handler`: functions by route, over real sockets and with recorded events."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from anyio.from_thread import start_blocking_portal
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from longwire.connections import Connections
from longwire.exceptions import (
    ConfigurationError,
    ConnectionGoneError,
    EventError,
    EventLoopError,
    InvalidArgumentError,
    LongwireError,
    ManagementError,
)
from longwire.functions.handler import WebSocketHandler, websocket_handler
from longwire.local.function.inline import ThreadFunction, kind
from longwire.local.rules.settings import GatewaySettings
from longwire.local.server.server import LocalGateway
from longwire.registry import record
from longwire.ws_gateway import WSGateway
from longwire_backends.memory import MemoryBackend
from tests.connections_server import ConnectionsServer
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from longwire.functions.context import WebSocketContext

ID = "QWErT_fALIAMCug="
OTHER = "XWErT_fALIAMCug="
OK = {"statusCode": 200}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing of AWS in the environment; what a test sets there goes after it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", "")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectionsServer]:
    """Serve the management API from another thread."""
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(ConnectionsServer()) as server:
            monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", server.url)
            yield server


@contextlib.asynccontextmanager
async def served(
    handler: WebSocketHandler, monkeypatch: pytest.MonkeyPatch, *routes: str
) -> AsyncIterator[str]:
    """Run a handler as `longwire dev` does."""
    settings = GatewaySettings(routes=GatewaySettings().routes | set(routes))
    async with ThreadFunction(handler).running() as function:
        async with LocalGateway(function, settings) as gateway:
            monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", gateway.management_url)
            yield gateway.url


# Over real sockets


@pytest.mark.anyio
async def test_a_function_answers_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets every event when no other function is there; what it returns is no frame."""
    seen: list[tuple[str, str, object]] = []
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    @websocket_handler
    async def echo(event: Any, context: WebSocketContext) -> None:
        seen.append((context.event_type, context.route_key, context.body))
        if context.event_type == "MESSAGE":
            await context.send({"echo": context.body})
        if context.event_type == "DISCONNECT":
            loop.call_soon_threadsafe(ended.set)

    assert kind(echo) == "lambda"
    async with served(echo, monkeypatch) as url:
        async with connect(url) as client:
            for text in ("one", "é 🎉"):
                await client.send(text)
                assert json.loads(await client.recv()) == {"echo": text}
        await ended.wait()
    assert seen == [
        ("CONNECT", "$connect", ""),
        ("MESSAGE", "$default", "one"),
        ("MESSAGE", "$default", "é 🎉"),
        ("DISCONNECT", "$disconnect", ""),
    ]


@pytest.mark.anyio
async def test_a_status_refuses_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its handshake says; a `$disconnect` without a function is nothing to worry about."""
    handler = websocket_handler()

    @handler.route("$connect")
    async def check(event: Any, context: WebSocketContext) -> dict[str, int] | None:
        known = context.query_string_parameters.get("token") == "good"
        return None if known and context.headers["x-kind"] == "Test" else {"statusCode": 401}

    @handler.route("$default")
    async def reply(event: Any, context: WebSocketContext) -> None:
        await context.send("here")

    async with served(handler, monkeypatch) as url:
        with pytest.raises(InvalidStatus) as refused:
            await connect(url + "?token=bad", additional_headers={"X-Kind": "Test"})
        assert refused.value.response.status_code == 401
        async with connect(url + "?token=good", additional_headers={"X-Kind": "Test"}) as client:
            await client.send("?")
            assert await client.recv() == "here"


@pytest.mark.anyio
async def test_functions_by_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message goes to the function that it names, else to that of `$default`; one closes."""
    handler = websocket_handler()

    @handler.route("add")
    async def add(event: Any, context: WebSocketContext) -> None:
        assert isinstance(context.body, str)
        await context.send(str(sum(json.loads(context.body)["numbers"])))

    @handler.route("bye")
    def bye(event: Any, context: WebSocketContext) -> dict[str, int]:
        context.sync.send("see you")
        context.sync.close()
        return {"statusCode": 200}

    @handler.route("$default")
    async def other(event: Any, context: WebSocketContext) -> None:
        await context.send("add or bye")

    async with served(handler, monkeypatch, "add", "bye", "lost") as url, connect(url) as client:
        await client.send('{"action":"add","numbers":[1,2,39]}')
        assert await client.recv() == "42"
        for text in ("hello", '{"action":"lost"}'):
            await client.send(text)
            assert await client.recv() == "add or bye"
        await client.send('{"action":"bye"}')
        assert await client.recv() == "see you"
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1000


@pytest.mark.anyio
async def test_a_client_speaks_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody who is known gets it once; who has left is reported, and stops nobody."""
    ids: dict[str, str] = {}
    results: list[list[list[str]]] = []
    left = asyncio.Event()
    loop = asyncio.get_running_loop()
    handler = websocket_handler()

    @handler.route("$connect")
    async def joined(event: Any, context: WebSocketContext) -> None:
        ids[context.query_string_parameters["name"]] = context.connection_id

    @handler.route("$disconnect")
    async def gone(event: Any, context: WebSocketContext) -> None:
        loop.call_soon_threadsafe(left.set)

    @handler.route("$default")
    async def say(event: Any, context: WebSocketContext) -> None:
        members = [ids[name] for name in ("ann", "bob", "eve", "ann")]
        result = await context.broadcast(members, context.body)
        results.append([list(result.delivered), list(result.gone), list(result.failed)])

    async with served(handler, monkeypatch) as url:
        async with connect(url + "?name=ann") as ann, connect(url + "?name=bob") as bob:
            async with connect(url + "?name=eve"):
                pass
            await left.wait()
            await ann.send("hello")
            assert (await ann.recv(), await bob.recv()) == ("hello", "hello")
            await bob.send("again")
            assert (await ann.recv(), await bob.recv()) == ("again", "again")
    assert [[sorted(part) for part in result] for result in results] == [
        [sorted([ids["ann"], ids["bob"]]), [ids["eve"]], []]
    ] * 2


@pytest.mark.anyio
async def test_an_error_of_a_function_is_seen_by_its_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As API Gateway shows it, at the handshake and later, also for what nobody may return."""
    handler = websocket_handler()

    @handler.route("$connect")
    async def fail_if_asked(event: Any, context: WebSocketContext) -> None:
        if context.query_string_parameters:
            raise RuntimeError

    @handler.route("$default")
    def wrong(event: Any, context: WebSocketContext) -> object:
        return {"ConnectionId": context.connection_id, "statusCode": 200}

    async with served(handler, monkeypatch) as url:
        with pytest.raises(InvalidStatus) as refused:
            await connect(url + "?fail=1")
        assert refused.value.response.status_code == 502
        async with connect(url) as client:
            await client.send("x")
            assert json.loads(await client.recv())["message"] == "Internal server error"


@pytest.mark.anyio
async def test_ws_gateway_inside_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Synchronous sends from an async function wait for another loop than its own."""

    @websocket_handler
    async def reply(event: Any, context: WebSocketContext) -> None:
        if context.event_type == "MESSAGE":
            assert WSGateway.send("direct", event["requestContext"]) is True
            await asyncio.to_thread(context.connections.sync.send, context.connection_id, "thread")
            await Connections().send(context.connection_id, "found")

    async with served(reply, monkeypatch) as url, connect(url) as client:
        await client.send("x")
        assert [await client.recv() for _ in range(3)] == ["direct", "thread", "found"]


@pytest.mark.anyio
async def test_functions_of_a_process_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two events at the same time, of functions with and without `async`."""
    both = threading.Barrier(2, timeout=10)
    handler = websocket_handler()

    @handler.route("$connect")
    async def meet_async(event: Any, context: WebSocketContext) -> None:
        await asyncio.to_thread(both.wait)

    @handler.route("$default")
    def meet(event: Any, context: WebSocketContext) -> None:
        both.wait()
        context.sync.send("met")

    async with served(handler, monkeypatch) as url:
        one, other = await asyncio.gather(connect(url), connect(url))
        async with one, other:
            await one.send("x")
            await other.send("x")
            assert (await one.recv(), await other.recv()) == ("met", "met")


# With a store


@pytest.mark.anyio
async def test_groups_need_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client joins at connect, hears its group, and has left it when it has gone."""
    backend = MemoryBackend()
    handler = websocket_handler(ws_config={"backend": backend})
    loop = asyncio.get_running_loop()
    farewells: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()

    @handler.route("$connect")
    async def join(event: Any, context: WebSocketContext) -> dict[str, int]:
        await context.connections.group_add("room", context.connection_id)
        return {"statusCode": 403 if context.query_string_parameters else 201}

    @handler.route("$default")
    async def say(event: Any, context: WebSocketContext) -> None:
        result = await context.connections.group_send("room", context.body)
        assert len(result.delivered) == 2
        assert result.ok

    @handler.route("$disconnect")
    async def leave(event: Any, context: WebSocketContext) -> None:
        groups = await context.connections.groups(context.connection_id)
        await context.connections.group_send("room", "one left")
        loop.call_soon_threadsafe(farewells.put_nowait, groups)

    async with served(handler, monkeypatch) as url:
        with pytest.raises(InvalidStatus):
            await connect(url + "?refuse=1")
        async with connect(url) as ann:
            async with connect(url) as bob:
                await bob.send("hello")
                assert (await ann.recv(), await bob.recv()) == ("hello", "hello")
            assert await ann.recv() == "one left"
            assert await farewells.get() == ("room",)
        assert await farewells.get() == ("room",)
    assert (await backend.connections()).members == ()
    assert (await backend.group_members("room")).members == ()


def test_a_record_lives_as_long_as_its_connection() -> None:
    """It has nothing that the client has sent, and at the end all memberships go with it."""
    backend = MemoryBackend()

    @websocket_handler(ws_config={"backend": backend})
    def join(event: Any, context: WebSocketContext) -> None:
        if context.event_type == "CONNECT":
            context.connections.sync.group_add("room", context.connection_id)

    headers = {"Cookie": ["secret"], "Sec-WebSocket-Protocol": ["secret"]}
    join(connect_event(ID, headers=headers, query={"token": ["secret"]}), LambdaContext())
    stored = asyncio.run(backend.get(ID))
    assert stored is not None
    assert "secret" not in stored.value
    assert time.time() + 7700 < stored.expires_at < time.time() + 7900
    assert asyncio.run(backend.groups(ID)) == ("room",)
    join(disconnect_event(ID), LambdaContext())
    assert asyncio.run(backend.get(ID)) is None
    assert asyncio.run(backend.groups(ID)) == ()


def test_a_connection_is_new_until_its_handshake_is_surely_answered() -> None:
    """What surrounds the handler may hold the answer back, until its event's time is up."""
    backend = MemoryBackend()
    handler = websocket_handler(lambda event, context: None, ws_config={"backend": backend})
    handler(connect_event(ID), LambdaContext(20))
    stored = asyncio.run(backend.get(ID))
    assert stored is not None
    known = record.loads(stored.value)
    assert known.is_new(time.time() + 15)
    assert not known.is_new(time.time() + 25)


def test_without_a_store_there_are_no_groups(server: ConnectionsServer) -> None:
    """The error says what is missing."""

    @websocket_handler
    async def join(event: Any, context: WebSocketContext) -> None:
        await context.connections.group_add("room", context.connection_id)

    with pytest.raises(ConfigurationError, match=r"^groups and broadcast need a store: say "):
        join(message_event("x"), LambdaContext())


# By itself


def test_it_is_a_plain_lambda_handler(server: ConnectionsServer) -> None:
    """Called event by event without a loop, it keeps one TCP connection."""

    @websocket_handler
    async def echo(event: Any, context: WebSocketContext) -> None:
        """Echo."""
        await context.send(context.body)

    assert (echo.__name__, echo.__doc__) == ("echo", "Echo.")  # type: ignore[attr-defined]
    for text in ("a", "b", "c"):
        assert echo(message_event(text), LambdaContext()) == OK
    assert server.requests == [("POST", ID, b"a"), ("POST", ID, b"b"), ("POST", ID, b"c")]
    assert server.connected == 1


def test_an_event_tells_where_its_client_is(
    server: ConnectionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without anything in the environment, as `WSGateway` finds it."""
    monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", "")
    event = message_event("x")
    domain, stage = server.url.removeprefix("http://").split("/")
    event["requestContext"] |= {"domainName": domain, "stage": stage}

    @websocket_handler
    async def echo(event: Any, context: WebSocketContext) -> None:
        await context.send("one")
        await context.broadcast([OTHER], "two")
        await asyncio.to_thread(context.sync.send, "three")

    assert echo(event) == OK
    assert server.requests == [
        ("POST", ID, b"one"),
        ("POST", OTHER, b"two"),
        ("POST", ID, b"three"),
    ]
    assert server.connected == 1  # a thread's synchronous calls are made on the function's own loop


def test_a_function_without_async_reaches_everybody(
    server: ConnectionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its context and `Connections` know its event, and share one TCP connection."""
    monkeypatch.delenv("WS_MANAGEMENT_ENDPOINT")
    handler = websocket_handler(api_gateway_endpoint_url=server.url)

    @handler.route("$default")
    def reply(event: Any, context: WebSocketContext) -> None:
        context.sync.send("one")
        context.connections.sync.send(OTHER, "two")
        Connections().sync.send(OTHER, "three")
        context.sync.broadcast([ID], "four")

    assert handler(message_event("x"), LambdaContext()) == OK
    assert [body for _, _, body in server.requests] == [b"one", b"two", b"three", b"four"]
    assert server.connected == 1


@pytest.mark.anyio
async def test_it_can_be_called_and_awaited_while_a_loop_runs(server: ConnectionsServer) -> None:
    """The call has its own loop; `handle` runs on this one."""
    loops: list[bool] = []
    here = asyncio.get_running_loop()

    @websocket_handler
    async def echo(event: Any, context: WebSocketContext) -> None:
        loops.append(asyncio.get_running_loop() is here)
        await context.send(context.body)

    assert echo(message_event("a")) == OK
    assert await echo.handle(message_event("b"), LambdaContext()) == OK
    assert echo(message_event("c"), LambdaContext()) == OK
    await echo.aclose()
    assert server.frames(ID) == [b"a", b"b", b"c"]
    assert loops == [False, True, False]


def test_a_function_cannot_call_its_handler_and_wait(server: ConnectionsServer) -> None:
    """That would wait for ever; it is an error that says so."""

    @websocket_handler
    async def again(event: Any, context: WebSocketContext) -> None:
        handler(event, None)

    handler: WebSocketHandler = again
    with pytest.raises(EventLoopError, match="would have to do the work and cannot wait"):
        handler(message_event("x"))


def test_the_context_has_what_the_event_and_lambda_say(server: ConnectionsServer) -> None:
    """Names of headers in lower case; the last of repeated ones; bytes where base64 was decoded."""
    contexts: list[WebSocketContext] = []

    @websocket_handler
    def keep(event: Any, context: WebSocketContext) -> None:
        contexts.append(context)

    keep(
        connect_event(ID, headers={"X-Odd-CASE": ["1", "2"]}, query={"a": ["1", "2"], "b": [""]}),
        LambdaContext(20.0),
    )
    keep(message_event("AP8=", ID, base64=True), LambdaContext(20.0))
    keep(disconnect_event(ID), None)
    first, message, last = contexts
    assert first.headers == {"x-odd-case": "2"}
    assert first.query_string_parameters == {"a": "2", "b": ""}
    assert (first.connection_id, first.stage) == (ID, "prod")
    assert first.domain_name == "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"
    assert message.body == b"\x00\xff"
    assert (message.headers, message.query_string_parameters) == ({}, {})
    assert 0 < message.get_remaining_time_in_millis() <= 20_000
    assert (last.event_type, last.route_key, last.body) == ("DISCONNECT", "$disconnect", "")
    with pytest.raises(AttributeError):
        _ = last.aws_request_id
    with pytest.raises(AttributeError):
        _ = last._unknown


def test_sends_end_with_the_time_of_the_event(server: ConnectionsServer) -> None:
    """An API that does not answer costs the time that Lambda left, less a margin, and no more."""

    handler = websocket_handler()

    @handler.route("$default")
    async def echo(event: Any, context: WebSocketContext) -> None:
        await context.send("x")

    @handler.route("direct")
    async def direct(event: Any, context: WebSocketContext) -> None:
        event["requestContext"] |= {"domainName": server.url.split("/")[2], "stage": "local"}
        WSGateway.send("x", event["requestContext"])

    for route in ("$default", "direct"):
        event = message_event("x")
        event["requestContext"]["routeKey"] = route
        _sends_in_vain(handler, event, server)


def _sends_in_vain(
    handler: WebSocketHandler, event: dict[str, Any], server: ConnectionsServer
) -> None:
    server.answers[ID].append("silence")
    started = time.monotonic()
    with pytest.raises(ManagementError, match=r"POST timed out: 127\.0\.0\.1:\d+: no answer"):
        handler(event, LambdaContext(0.2))
    assert time.monotonic() - started < 5  # without an event it is 10 or more


@pytest.mark.parametrize("call", ["send", "close"])
def test_a_client_cannot_be_reached_in_its_handshake(call: str, server: ConnectionsServer) -> None:
    """The error says when it can, and nothing is sent."""

    @websocket_handler
    async def early(event: Any, context: WebSocketContext) -> None:
        await (context.send("x") if call == "send" else context.close())

    with pytest.raises(ManagementError) as caught:
        early(connect_event(ID), LambdaContext())
    advice = {"send": "send to it from another event", "close": "close it from another event"}
    assert str(caught.value) == (
        f"@connections/{ID}: API Gateway knows the connection only after the response to $connect: "
        f"{advice[call]} (return a statusCode that is not 2xx to refuse it)"
    )
    assert server.requests == []


def test_a_broadcast_in_a_handshake_reaches_the_others(server: ConnectionsServer) -> None:
    """The new client itself is among those that failed, not among those that are gone."""
    failed: list[dict[str, str]] = []

    @websocket_handler
    async def early(event: Any, context: WebSocketContext) -> None:
        result = await context.broadcast([ID, OTHER], "x")
        failed.append(result.failed)
        assert list(result.delivered) == [OTHER]

    early(connect_event(ID), LambdaContext())
    assert [list(one) for one in failed] == [[ID]]
    assert server.requests == [("POST", OTHER, b"x")]


@pytest.mark.parametrize(
    ("ids", "data", "text"),
    [
        (ID, "x", "ids is a str; expected several connection ids"),
        ([ID, 7], "x", "a connection id is a int; expected a str"),
        (
            [ID],
            [b"1"],
            "data is a value of type list that JSON cannot hold: data[0] is of type bytes; send a "
            "str, bytes, or what JSON knows, or say dumps=...",
        ),
    ],
)
def test_a_wrong_broadcast_is_an_error(
    ids: Any, data: object, text: str, server: ConnectionsServer
) -> None:
    """Nothing is sent."""

    @websocket_handler
    def wrong(event: Any, context: WebSocketContext) -> None:
        context.sync.broadcast(ids, data)

    with pytest.raises(InvalidArgumentError) as caught:
        wrong(message_event("x"), LambdaContext())
    assert str(caught.value) == text
    assert server.requests == []


def test_a_client_that_is_gone_is_an_error(server: ConnectionsServer) -> None:
    """The function's error is the handler's, too; to close once more is none."""

    @websocket_handler
    async def close_and_send(event: Any, context: WebSocketContext) -> None:
        await context.close()
        await context.close()
        await context.send("x")

    with pytest.raises(ConnectionGoneError, match=f"^connection {ID} is gone$"):
        close_and_send(message_event("x"), LambdaContext())


@pytest.mark.parametrize(
    ("returned", "answer"),
    [
        (None, OK),
        ({"statusCode": 401}, {"statusCode": 401}),
        ({"statusCode": 401, "body": None}, {"statusCode": 401, "body": None}),
        ({"statusCode": 401, "body": {"e": [1]}}, {"statusCode": 401, "body": '{"e":[1]}'}),
        (
            {
                "statusCode": 200,
                "headers": {"Sec-WebSocket-Protocol": "v1"},
                "multiValueHeaders": {},
                "body": "x",
                "isBase64Encoded": False,
            },
            {
                "statusCode": 200,
                "headers": {"Sec-WebSocket-Protocol": "v1"},
                "multiValueHeaders": {},
                "body": "x",
                "isBase64Encoded": False,
            },
        ),
    ],
)
def test_what_a_function_may_return(returned: object, answer: object) -> None:
    """Nothing, or what API Gateway takes."""
    assert websocket_handler(lambda event, context: returned)(connect_event(ID)) == answer


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("ok", "expected a dict, got str"),
        ({}, "statusCode: expected an int of 200 to 599, got None"),
        ({"statusCode": "401"}, "statusCode: expected an int of 200 to 599, got '401'"),
        ({"statusCode": 200, "ConnectionId": ID, "Data": 1}, "unknown keys: ConnectionId, Data"),
        ({"statusCode": 200, "body": b"x"}, "body: expected a string, got bytes"),
    ],
)
def test_what_a_function_may_not_return(returned: object, reason: str) -> None:
    """The error names the route, and what is wrong."""
    with pytest.raises(LongwireError) as caught:
        websocket_handler(lambda event, context: returned)(connect_event(ID))
    assert str(caught.value) == (
        "the function of route '$connect' returned what API Gateway answers with "
        f'"Internal server error": {reason}'
    )


class _AsyncObject:
    async def __call__(self, event: Any, context: WebSocketContext) -> dict[str, int]:
        return {"statusCode": 202}


async def _with_status(status: int, event: Any, context: WebSocketContext) -> dict[str, int]:
    return {"statusCode": status}


@pytest.mark.parametrize(
    "function",
    [
        _AsyncObject(),
        functools.partial(_with_status, 202),
        lambda event, context: _with_status(202, event, context),
    ],
)
def test_a_function_may_be_async_in_other_ways(
    function: Callable[[Any, WebSocketContext], object],
) -> None:
    """An object, a partial, and what only returns something to await."""
    assert websocket_handler(function)(message_event("x")) == {"statusCode": 202}


def test_routes_without_a_function() -> None:
    """Handshakes succeed and ends are taken note of, but a message needs somebody."""
    handler = websocket_handler()
    assert handler(connect_event(ID)) == OK
    assert handler(disconnect_event(ID)) == OK
    event = message_event("x")
    event["requestContext"]["routeKey"] = "chat"
    with pytest.raises(EventError) as caught:
        handler(event)
    assert str(caught.value) == (
        "the route 'chat' has no function: add one with .route('chat'), or one for all messages "
        "with .route('$default')"
    )


def test_a_decorated_function_beside_routes() -> None:
    """It gets what they leave; options may stand before it."""

    @websocket_handler(api_gateway_endpoint_url="https://ws.example.com/x")
    async def rest(event: Any, context: WebSocketContext) -> dict[str, int]:
        return {"statusCode": 201}

    @rest.route("$default")
    async def default(event: Any, context: WebSocketContext) -> dict[str, int]:
        return {"statusCode": 202}

    assert rest(connect_event(ID)) == {"statusCode": 201}
    assert rest(disconnect_event(ID)) == {"statusCode": 201}
    assert rest(message_event("x")) == {"statusCode": 202}
    assert asyncio.run(default({}, None)) == {"statusCode": 202}  # type: ignore[arg-type]


@pytest.mark.parametrize("event", [None, [], {}, {"requestContext": {"http": {}}}])
def test_other_events_are_errors(event: Any) -> None:
    """A handler of functions has nobody for them."""
    with pytest.raises(EventError) as caught:
        websocket_handler(lambda event, context: None)(event)
    assert str(caught.value) == "this is not a WebSocket event of API Gateway"


def test_wrong_functions_and_routes_are_errors() -> None:
    """When they are declared, not when their first event comes."""
    handler = websocket_handler(lambda event, context: None)
    handler.route("a")(lambda event, context: None)
    wrong: list[tuple[Callable[[], object], str]] = [
        (
            lambda: handler(lambda event, context: None),
            "this handler has a function already: use .route(key) for more",
        ),
        (
            lambda: handler.route("a")(lambda event, context: None),
            "route('a'): this route has a function already",
        ),
        (lambda: handler.route(""), "route(''): expected a route key, such as '$connect'"),
        (
            lambda: handler.route(None),  # type: ignore[arg-type]
            "route(None): expected a route key, such as '$connect'",
        ),
        (
            lambda: handler.route("b")("x"),  # type: ignore[type-var]
            "'x' is no function of (event, context)",
        ),
        (
            lambda: websocket_handler(api_gateway_endpoint_url="x"),
            "api_gateway_endpoint_url must be an http:// or https:// URL with a host",
        ),
    ]
    for call, text in wrong:
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert str(caught.value) == text


@pytest.mark.parametrize("error", [KeyError("x"), TimeoutError("a database")])
def test_an_error_of_a_function_is_the_handler_s(error: Exception) -> None:
    """With `async` and without."""

    def fail(event: Any, context: WebSocketContext) -> None:
        raise error

    async def fail_async(event: Any, context: WebSocketContext) -> None:
        raise error

    for function in (fail, fail_async):
        with pytest.raises(type(error)) as caught:
            websocket_handler(function)(message_event("x"))
        assert caught.value is error


def test_an_iterator_s_end_is_an_error() -> None:
    """A forgotten default of `next` hangs nobody."""
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        websocket_handler(lambda event, context: next(iter(())))(message_event("x"))


@pytest.mark.parametrize("in_thread", [False, True])
def test_sys_exit_ends_the_caller_and_not_the_loop(in_thread: bool) -> None:
    """As it would without a handler; the next event is served."""

    def leave(event: Any, context: WebSocketContext) -> object:
        return sys.exit(5) if event.get("body") == "exit" else None

    async def leave_async(event: Any, context: WebSocketContext) -> object:
        return leave(event, context)

    handler = websocket_handler(leave if in_thread else leave_async)
    with pytest.raises(SystemExit) as caught:
        handler(message_event("exit"))
    assert caught.value.code == 5
    assert handler(message_event("x")) == OK
