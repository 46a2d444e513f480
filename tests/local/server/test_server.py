"""Real sockets and a real WebSocket client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from typing import cast

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from longwire.local.rules.settings import GatewaySettings
from longwire.local.server import server as server_module
from longwire.local.server.server import LocalGateway
from tests.local.fakes import (
    OK,
    Event,
    RecordingFunction,
    connection_id,
    frame,
    handshake,
    manage,
    raw_client,
    raw_connection,
    read_frame,
)

pytestmark = pytest.mark.anyio


async def closing(client: ClientConnection) -> tuple[int, str]:
    """Read until the connection is closed, and return how."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await client.recv()
    return client.close_code or 0, client.close_reason or ""


async def post(gateway: LocalGateway, event: Event, body: bytes) -> int:
    status, _, _ = await manage(gateway.management_url, "POST", connection_id(event), body)
    return status


def echo_through(gateway: LocalGateway, function: RecordingFunction) -> None:
    """Let the function post every message back through the management API."""

    async def echo(event: Event) -> object:
        if "body" in event:
            assert await post(gateway, event, event["body"].encode()) == 200
        return OK

    function.answer = echo


async def test_a_message_goes_to_the_function_and_its_post_to_the_client(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """There and back, also empty, long and beyond ASCII."""
    echo_through(gateway, function)
    texts = ["hello", "", "é 🎉", "x" * 32768]
    async with connect(gateway.url) as client:
        for text in texts:
            await client.send(text)
            assert await client.recv() == text
    await function.wait_for("DISCONNECT")
    assert function.bodies() == texts


async def test_messages_arrive_in_order(gateway: LocalGateway, function: RecordingFunction) -> None:
    """A burst of 50, echoed in the order it was sent."""
    echo_through(gateway, function)
    async with connect(gateway.url) as client:
        for number in range(50):
            await client.send(str(number))
        assert [await client.recv() for _ in range(50)] == [str(number) for number in range(50)]


async def test_connect_event_has_what_the_client_sent(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Header names in the client's case, its query, its address; no Connection, no Upgrade."""
    port = gateway.url.rpartition(":")[2]
    async with raw_connection(gateway.url) as (reader, writer):
        writer.write(handshake("/local?a=1&a=2", "X-Odd-CASE: v", "User-Agent: test"))
        await reader.readuntil(b"\r\n\r\n")
        event = await function.wait_for("CONNECT")
    assert event["headers"] == {
        "Host": "127.0.0.1",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "X-Odd-CASE": "v",
        "User-Agent": "test",
        "X-Amzn-Trace-Id": event["headers"]["X-Amzn-Trace-Id"],
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Port": port,
        "X-Forwarded-Proto": "http",
    }
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert event["requestContext"]["identity"] == {"sourceIp": "127.0.0.1", "userAgent": "test"}


async def test_only_the_returned_subprotocol_is_selected(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Nothing is echoed by itself."""
    offered = [Subprotocol("v2"), Subprotocol("v1")]
    async with connect(gateway.url, subprotocols=offered) as client:
        assert client.subprotocol is None

    async def choose(event: Event) -> object:
        return {"statusCode": 200, "headers": {"sec-websocket-protocol": "v1", "X-Other": "lost"}}

    function.answer = choose
    async with connect(gateway.url, subprotocols=offered) as client:
        assert client.subprotocol == "v1"
        assert client.response is not None
        assert "X-Other" not in client.response.headers


@pytest.mark.parametrize(
    ("host", "connectable"), [("0.0.0.0", "127.0.0.1"), ("localhost", "localhost")]
)
async def test_the_url_can_be_connected_to(host: str, connectable: str) -> None:
    """Also when the gateway listens on every address."""
    async with LocalGateway(RecordingFunction(), host=host) as gateway:
        assert gateway.url.startswith(f"ws://{connectable}:")
        async with connect(gateway.url):
            pass


async def test_no_extension_is_negotiated(gateway: LocalGateway) -> None:
    """Compression would hide the sizes of frames."""
    async with connect(gateway.url, compression="deflate") as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


@pytest.mark.parametrize("status", [304, 400, 401, 403, 404, 418, 499, 500, 501])
async def test_a_refused_handshake_has_the_status_of_the_function(
    gateway: LocalGateway, function: RecordingFunction, status: int
) -> None:
    """Unchanged; there is no disconnect after it."""

    async def refuse(event: Event) -> object:
        return {"statusCode": status}

    function.answer = refuse
    with pytest.raises(InvalidStatus) as caught:
        await connect(gateway.url)
    assert caught.value.response.status_code == status
    assert function.types() == ["CONNECT"]


async def test_a_failing_connect_is_502_and_a_late_one_504() -> None:
    """The two ways in which a function has no answer."""

    release = asyncio.Event()

    async def fail(event: Event) -> object:
        if "late" in event.get("queryStringParameters", {}):
            await release.wait()
        raise ValueError

    async with LocalGateway(
        RecordingFunction(fail), GatewaySettings(integration_timeout=0.05)
    ) as gateway:
        for query, status in (("?fail", 502), ("?late", 504)):
            with pytest.raises(InvalidStatus) as caught:
                await connect(f"{gateway.url}/{query}")
            assert caught.value.response.status_code == status
        release.set()


async def test_a_post_inside_connect_is_gone(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """The connection does not exist before its handshake is done; DELETE and GET say the same."""
    statuses = []

    async def try_early(event: Event) -> object:
        if event["requestContext"]["eventType"] == "CONNECT":
            for method in ("GET", "POST", "DELETE"):
                answer = await manage(gateway.management_url, method, connection_id(event))
                statuses.append(answer[0])
        return OK

    function.answer = try_early
    async with connect(gateway.url):
        pass
    assert statuses == [410, 410, 410]


async def test_delete_closes_normally(gateway: LocalGateway, function: RecordingFunction) -> None:
    """The client and the function see 1000 "Connection Closed Normally"; then it is gone."""
    async with connect(gateway.url) as client:
        event = await function.wait_for("CONNECT")
        path = connection_id(event)
        assert (await manage(gateway.management_url, "DELETE", path))[0] == 204
        assert await closing(client) == (1000, "Connection Closed Normally")
    assert (await manage(gateway.management_url, "DELETE", path))[0] == 410
    context = (await function.wait_for("DISCONNECT"))["requestContext"]
    assert context["disconnectStatusCode"] == 1000
    assert context["disconnectReason"] == "Connection Closed Normally"


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (1000, "", (1000, "")),
        (1001, "", (1001, "")),
        (4321, "my reason", (4321, "my reason")),
    ],
)
async def test_disconnect_has_the_code_of_the_client(
    gateway: LocalGateway,
    function: RecordingFunction,
    code: int,
    reason: str,
    expected: tuple[int, str],
) -> None:
    """Its code and its reason."""
    client = await connect(gateway.url)
    await client.close(code, reason)
    context = (await function.wait_for("DISCONNECT"))["requestContext"]
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == expected
    assert client.close_code == code


async def test_a_close_frame_without_code_is_1005(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """With the reason that API Gateway writes for it."""
    async with raw_client(gateway.url) as (reader, writer):
        writer.write(frame(b"", opcode=8))
        assert await read_frame(reader) == (8, True, b"")
        assert await reader.read() == b""
    context = (await function.wait_for("DISCONNECT"))["requestContext"]
    assert context["disconnectStatusCode"] == 1005
    assert context["disconnectReason"] == "Client-side close frame status not set"


@pytest.mark.parametrize("reset", [True, False])
async def test_a_lost_client_is_1006(
    gateway: LocalGateway, function: RecordingFunction, reset: bool
) -> None:
    """A socket that ends without a close frame, by a reset or by a plain end."""
    async with raw_client(gateway.url) as (_, writer):
        if reset:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
    context = (await function.wait_for("DISCONNECT"))["requestContext"]
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (1006, "")


async def test_a_client_that_is_killed_while_connecting_is_reported(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """The function accepted it, so it gets exactly one disconnect."""
    release = function.hold("CONNECT")
    async with raw_connection(gateway.url) as (_, writer):
        writer.write(handshake())
        await function.wait_for("CONNECT")
    # The gateway has noticed when a request that came later is answered.
    await manage(gateway.management_url, "GET", "x")
    release.set()
    context = (await function.wait_for("DISCONNECT"))["requestContext"]
    assert context["disconnectStatusCode"] == 1006
    assert function.types() == ["CONNECT", "DISCONNECT"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"binary", 1003),
        ("x" * 32769, 1009),
        (["x" * 32768] * 4 + ["x"], 1009),
    ],
)
async def test_what_is_not_taken_closes_the_connection(
    gateway: LocalGateway, function: RecordingFunction, message: str | bytes, code: int
) -> None:
    """Binary, a frame over 32 KB, a message over 128 KB; the function hears of the code only."""
    client = await connect(gateway.url)
    with contextlib.suppress(ConnectionClosed):
        await client.send(message)
    assert (await closing(client))[0] == code
    context = (await function.wait_for("DISCONNECT"))["requestContext"]
    assert context["disconnectStatusCode"] == code
    assert function.bodies() == []


async def test_a_client_that_floods_is_closed_with_1008(function: RecordingFunction) -> None:
    """Not before it has got the answer to what it may send, and nobody else with it."""
    # So slow that no time that this test takes lets a second message pass.
    async with LocalGateway(function, GatewaySettings(message_rate=1e-6)) as gateway:
        echo_through(gateway, function)
        async with connect(gateway.url) as other:
            client = await connect(gateway.url)
            await client.send("one")
            assert await client.recv() == "one"
            await client.send("two")
            await client.send("three")
            assert await closing(client) == (1008, "Too many messages")
            context = (await function.wait_for("DISCONNECT"))["requestContext"]
            assert context["disconnectStatusCode"] == 1008
            await other.send("mine")
            assert await other.recv() == "mine"
    assert function.bodies() == ["one", "mine"]


async def test_the_largest_message_is_taken(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """128 KB in frames of 32 KB, and the answer comes in frames of 32 KB too."""
    echo_through(gateway, function)
    text = "x" * 131072
    async with connect(gateway.url) as client:
        await client.send([text[:32768]] * 4)
        assert [len(part) async for part in client.recv_streaming()] == [32768] * 4
    assert function.bodies() == [text]


async def test_text_that_is_not_utf8_is_1007(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Tried on the whole message, so that a character may be split between frames."""
    async with raw_client(gateway.url) as (reader, writer):
        writer.write(frame(b"\xc3", fin=False) + frame(b"\xa9", opcode=0))
        assert (await function.wait_for("MESSAGE"))["body"] == "é"
        writer.write(frame(b"\xff"))
        opcode, _, payload = await read_frame(reader)
        assert (opcode, payload[:2]) == (8, (1007).to_bytes(2))
    context = (await function.wait_for("DISCONNECT"))["requestContext"]
    assert context["disconnectStatusCode"] == 1007


async def test_rubbish_after_the_handshake_is_1002(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Bytes that are no frame."""
    async with raw_client(gateway.url) as (reader, writer):
        writer.write(b"\x00rubbish" * 1000)
        opcode, _, payload = await read_frame(reader)
        assert (opcode, payload[:2]) == (8, (1002).to_bytes(2))
    context = (await function.wait_for("DISCONNECT"))["requestContext"]
    assert context["disconnectStatusCode"] == 1002


async def test_messages_before_a_close_are_handled_before_it(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Also when all of it comes at once, with the handshake and before it was answered."""
    async with raw_connection(gateway.url) as (reader, writer):
        messages = frame(b"1") + frame(b"2") + frame((1000).to_bytes(2), opcode=8)
        writer.write(handshake() + messages)
        await reader.readuntil(b"\r\n\r\n")
        assert await read_frame(reader) == (8, True, (1000).to_bytes(2))
    await function.wait_for("DISCONNECT")
    assert function.types() == ["CONNECT", "MESSAGE", "MESSAGE", "DISCONNECT"]
    assert function.bodies() == ["1", "2"]


async def test_pings_are_answered_while_the_function_is_busy(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """By the gateway itself; the function is not asked."""
    release = function.hold("MESSAGE")
    async with connect(gateway.url) as client:
        await client.send("x")
        await function.wait_for("MESSAGE")
        await (await client.ping())
        release.set()


async def test_fifty_clients_at_once(gateway: LocalGateway, function: RecordingFunction) -> None:
    """Each gets its own answers, and each is connected and disconnected once."""
    echo_through(gateway, function)

    async def talk(number: int) -> list[str | bytes]:
        async with connect(gateway.url) as client:
            received = []
            for turn in range(5):
                await client.send(f"{number}.{turn}")
                received.append(await client.recv())
            return received

    conversations = await asyncio.gather(*(talk(number) for number in range(50)))
    assert conversations == [[f"{number}.{turn}" for turn in range(5)] for number in range(50)]
    await function.wait_for("DISCONNECT", 50)
    assert (function.types().count("CONNECT"), function.types().count("DISCONNECT")) == (50, 50)


async def test_a_client_that_does_not_read_blocks_nobody(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Posts to it are answered with 429 once its buffer is full; others go on."""
    async with raw_client(gateway.url) as (_, writer):
        deaf = await function.wait_for("CONNECT")
        cast("asyncio.Transport", writer.transport).pause_reading()
        status = 200
        while status == 200:
            status = await post(gateway, deaf, bytes(131072))
        assert status == 429
        echo_through(gateway, function)
        async with connect(gateway.url) as client:
            await client.send("still here")
            assert await client.recv() == "still here"


async def test_a_client_that_is_not_idle_sees_1001_at_the_end_of_its_lifetime() -> None:
    """Two hours on AWS, however much is said; the function is told the same."""
    function = RecordingFunction()
    async with LocalGateway(function, GatewaySettings(lifetime=0.1)) as gateway:
        async with connect(gateway.url) as client:
            with pytest.raises(ConnectionClosed):
                await keep_talking(client)
        assert (client.close_code, client.close_reason) == (1001, "Going away")
        context = (await function.wait_for("DISCONNECT"))["requestContext"]
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (1001, "Going away")


async def keep_talking(client: ClientConnection) -> None:
    while True:
        await client.send("still here")
        await asyncio.sleep(0)


async def test_an_idle_client_sees_1001() -> None:
    """Going away, on both sides."""
    function = RecordingFunction()
    async with LocalGateway(function, GatewaySettings(idle_timeout=0.05)) as gateway:
        client = await connect(gateway.url)
        assert await closing(client) == (1001, "Going away")
        context = (await function.wait_for("DISCONNECT"))["requestContext"]
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (1001, "Going away")


async def test_clients_see_1001_when_the_gateway_stops() -> None:
    """And the function gets its disconnects before the gateway is gone."""
    function = RecordingFunction()
    async with LocalGateway(function) as gateway:
        clients = [await connect(gateway.url) for _ in range(3)]
        reading = [asyncio.create_task(closing(client)) for client in clients]
    assert [await each for each in reading] == [(1001, "Going away")] * 3
    assert function.types().count("DISCONNECT") == 3


async def test_stopping_does_not_wait_for_a_client_that_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A half-open socket never answers a close frame."""
    monkeypatch.setattr("longwire.local.server.websocket.CLOSE_TIMEOUT", 0.01)
    function = RecordingFunction()
    async with LocalGateway(function) as gateway, raw_client(gateway.url) as (_, writer):
        cast("asyncio.Transport", writer.transport).pause_reading()
        await gateway.__aexit__(None, None, None)
        assert function.types() == ["CONNECT", "DISCONNECT"]


async def test_a_handshake_in_progress_ends_with_the_gateway() -> None:
    """The function that is still thinking about it is given up."""
    never = asyncio.Event()

    async def wait(event: Event) -> object:
        await never.wait()
        return OK

    function = RecordingFunction(wait)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_module, "STOP_TIMEOUT", 0.05)
        async with LocalGateway(function) as gateway:
            connecting = asyncio.create_task(attempt(gateway.url))
            await function.wait_for("CONNECT")
    assert await connecting


async def attempt(url: str) -> Exception | None:
    try:
        await connect(url)
    except Exception as error:
        return error
    return None


async def test_the_error_frame_reaches_the_client() -> None:
    """A function that raises on a message."""

    async def fail(event: Event) -> object:
        if "body" in event:
            raise ValueError
        return OK

    async with LocalGateway(RecordingFunction(fail)) as gateway, connect(gateway.url) as client:
        await client.send("x")
        assert json.loads(await client.recv())["message"] == "Internal server error"
