"""Raw bytes on the gateway's port: the management API, and everything that is not a handshake."""

from __future__ import annotations

import asyncio
import errno
import json
from typing import TYPE_CHECKING

import pytest

from longwire.local.http11 import HTTP1Connection
from longwire.local.server.server import LocalGateway
from tests.local.fakes import (
    OK,
    Event,
    RecordingFunction,
    connection_id,
    exchange,
    frame,
    handshake,
    manage,
    raw_connection,
    read_frame,
    read_response,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def function() -> RecordingFunction:
    return RecordingFunction()


@pytest.fixture
async def gateway(function: RecordingFunction) -> AsyncIterator[LocalGateway]:
    async with LocalGateway(function) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505),
        (b"GET / " + HEAD + b"X: \x00\r\n\r\n", 400),
        (b"GET / " + HEAD + b"Content-Length: x\r\n\r\n", 400),
        (b"GET / " + HEAD + b"X: " + b"x" * 200_000, 431),
        (b"GET /?" + b"x" * 5000 + b" " + HEAD + b"\r\n", 414),
        (b"GET / " + HEAD + b"\r\n", 426),
        (b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", 505),
        (b"POST / " + HEAD + b"Content-Length: 0\r\n\r\n", 403),
        (b"GET /favicon.ico " + HEAD + b"\r\n", 403),
        (handshake("/below/the/stage"), 403),
        (handshake("/local/hello"), 403),
        (handshake("/local/@connections/x"), 400),
        (handshake().replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
        (handshake().replace(b"==", b""), 400),
        (handshake().replace(b"Version: 13", b"Version: 8"), 400),
        (handshake().replace(b"Upgrade: websocket", b"Upgrade: h2c"), 426),
    ],
)
async def test_what_is_no_handshake_is_refused(
    gateway: LocalGateway, function: RecordingFunction, request_bytes: bytes, status: int
) -> None:
    """With a status, without asking the function; the gateway goes on."""
    assert (await exchange(gateway.url, request_bytes))[0] == status
    assert function.events == []
    assert (await exchange(gateway.url, handshake()))[0] == 101


@pytest.mark.parametrize("path", ["/", "/local", "/local/", "/local?a=b"])
async def test_sockets_are_opened_at_the_root_and_at_the_stage(
    gateway: LocalGateway, path: str
) -> None:
    """With and without a slash."""
    assert (await exchange(gateway.url, handshake(path)))[0] == 101


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:5173"])
async def test_any_origin_is_let_through(
    gateway: LocalGateway, function: RecordingFunction, origin: str
) -> None:
    """Whom to refuse is the function's to say."""
    assert (await exchange(gateway.url, handshake("/", f"Origin: {origin}")))[0] == 101
    assert (await function.wait_for("CONNECT"))["headers"]["Origin"] == origin


async def test_management_errors_have_the_header_that_sdks_read(gateway: LocalGateway) -> None:
    """410 without a body, 400 with one."""
    status, headers, body = await manage(gateway.management_url, "POST", "L0SM9cOFvHcCIhw%3D")
    assert (status, body) == (410, b"")
    assert headers["x-amzn-errortype"] == "goneexception"
    assert headers["content-type"] == "application/json"
    status, _, body = await manage(gateway.management_url, "POST", "nonsense")
    assert status == 400
    assert json.loads(body) == {"message": "Invalid connectionId: nonsense"}


async def test_a_connection_is_kept_for_many_requests(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Posts one after the other, or sent at once, arrive in order."""
    async with raw_connection(gateway.url) as (client, client_writer):
        client_writer.write(handshake())
        await client.readuntil(b"\r\n\r\n")
        name = connection_id(await function.wait_for("CONNECT")).encode()
        post = b"POST /local/@connections/" + name + b" " + HEAD + b"Content-Length: 1\r\n\r\n"
        async with raw_connection(gateway.url) as (reader, writer):
            writer.write(post + b"1")
            assert (await read_response(reader))[0] == 200
            writer.write(post + b"2" + post + b"3")
            assert (await read_response(reader))[0] == 200
            assert (await read_response(reader))[0] == 200
        assert [await read_frame(client) for _ in range(3)] == [
            (1, True, b"1"),
            (1, True, b"2"),
            (1, True, b"3"),
        ]


async def test_a_post_is_on_its_way_before_it_is_answered(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """A reply to a message comes before whatever the function does next."""

    async def post_then_fail(event: Event) -> object:
        if "body" in event:
            await manage(gateway.management_url, "POST", connection_id(event), b"reply")
            raise ValueError
        return OK

    function.answer = post_then_fail
    async with raw_connection(gateway.url) as (reader, writer):
        writer.write(handshake() + frame(b"x"))
        await reader.readuntil(b"\r\n\r\n")
        assert await read_frame(reader) == (1, True, b"reply")
        assert b"Internal server error" in (await read_frame(reader))[2]


async def test_chunked_bodies_and_100_continue(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Both are things that HTTP clients do with a body."""
    async with raw_connection(gateway.url) as (client, client_writer):
        client_writer.write(handshake())
        await client.readuntil(b"\r\n\r\n")
        name = connection_id(await function.wait_for("CONNECT")).encode()
        async with raw_connection(gateway.url) as (reader, writer):
            writer.write(
                b"POST /local/@connections/" + name + b" " + HEAD
                + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
            )  # fmt: skip
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
            assert (await read_response(reader))[0] == 200
        assert await read_frame(client) == (1, True, b"abcdef")


@pytest.mark.parametrize("size", [131073, 11 * 1024 * 1024])
async def test_a_body_over_the_limit_is_413(gateway: LocalGateway, size: int) -> None:
    """Read to its end, so that the client gets to read its answer."""
    status, headers, _ = await manage(gateway.management_url, "POST", "a" * 15 + "=", bytes(size))
    assert status == 413
    assert headers["x-amzn-errortype"] == "payloadtoolargeexception"


async def test_a_client_may_shut_down_its_side_after_a_request(gateway: LocalGateway) -> None:
    """It still gets its answer, and then the end."""
    async with raw_connection(gateway.url) as (reader, writer):
        writer.write(b"GET /local/@connections/nonsense " + HEAD + b"\r\n")
        writer.write_eof()
        assert (await read_response(reader))[0] == 400
        assert await reader.read() == b""


async def test_half_a_request_harms_nobody(gateway: LocalGateway) -> None:
    """A connection that ends, or stays, in the middle of its headers."""
    async with raw_connection(gateway.url) as (_, stays):
        stays.write(b"POST /local/@connec")
        async with raw_connection(gateway.url) as (_, ends):
            ends.write(b"GET / HTTP/1.1\r\nHos")
        assert (await exchange(gateway.url, handshake()))[0] == 101


async def test_a_flood_before_the_answer_is_held_back(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Early data is kept up to a limit; beyond it the client waits, and nothing is lost."""
    release = asyncio.Event()

    async def wait(event: Event) -> object:
        if event["requestContext"]["eventType"] == "CONNECT":
            await release.wait()
        return OK

    function.answer = wait
    async with raw_connection(gateway.url) as (reader, writer):
        writer.write(handshake() + frame(b"x" * 30_000) * 20)
        await function.wait_for("CONNECT")
        release.set()
        await reader.readuntil(b"\r\n\r\n")
        await function.wait_for("MESSAGE", 20)
    assert function.bodies() == ["x" * 30_000] * 20


async def test_a_fault_in_the_gateway_closes_one_connection_only(
    gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its client is not left waiting, and the traceback is logged."""

    def fail(path: str) -> bool:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(gateway.rules, "is_endpoint", fail)
        async with raw_connection(gateway.url) as (reader, writer):
            writer.write(handshake())
            assert await reader.read() == b""
    assert "ZeroDivisionError" in caplog.text
    assert (await exchange(gateway.url, handshake()))[0] == 101


class LostTransport(asyncio.Transport):
    """Of a client that is gone, which the loop does not know yet."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    def resume_reading(self) -> None:
        pass


async def test_a_client_that_is_gone_when_it_is_refused_is_no_fault() -> None:
    """As a browser is that closes at the first byte of a refusal."""
    transport = LostTransport()
    connection = HTTP1Connection(lambda work: work.close())
    connection.connection_made(transport)
    connection.data_received(b"rubbish\r\n\r\n")
    assert transport.written.startswith(b"HTTP/1.1 400 ")


async def test_an_idle_connection_is_closed_where_that_is_wanted(
    function: RecordingFunction,
) -> None:
    """As a frozen process finds it; one that is in use stays."""
    async with LocalGateway(function, keep_alive=0.2) as gateway:
        async with raw_connection(gateway.url) as (reader, writer):
            for _ in range(3):
                writer.write(b"GET /local/@connections/x " + HEAD + b"\r\n")
                assert (await read_response(reader))[0] == 400
                await asyncio.sleep(0.1)
            assert await reader.read() == b""
