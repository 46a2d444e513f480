"""HTTP/1.1: a connection's requests, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from longwire.local import http11
from longwire.local.http11 import HTTP1Connection
from longwire.local.rules.management_api import JSONResponse
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
    raw_client,
    raw_connection,
    read_frame,
    read_response,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from longwire.local.parser import Request

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1\r\nHost: localhost\r\n"


async def test_a_connection_is_kept_for_many_requests(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Posts one after the other, or sent at once, arrive in order."""
    async with raw_client(gateway.url) as (client, _):
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


async def test_chunked_bodies_and_100_continue(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Both are things that HTTP clients do with a body."""
    async with raw_client(gateway.url) as (client, _):
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
    release = function.hold("CONNECT")
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

    def get_write_buffer_size(self) -> int:
        return len(self.written)


class DeafTransport(LostTransport):
    """Of a client that reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


class LongAnswers(HTTP1Connection):
    async def route(self, request: Request, body: bytes) -> None:
        self.respond(JSONResponse(200, bytes(100_000)))


async def test_a_client_that_reads_no_answer_gets_no_more_of_them() -> None:
    """Though it asks on: what is kept for it has a limit."""
    answering: list[Coroutine[Any, Any, None]] = []
    transport = DeafTransport()
    connection = LongAnswers(answering.append, {}, 1)
    connection.connection_made(transport)
    connection.data_received((b"GET / " + HEAD + b"\r\n") * 50)
    answers = 0
    while answering:
        await answering.pop()
        answers += 1
    connection.connection_lost(None)
    assert transport.aborted
    assert answers == 12
    assert len(transport.written) < http11.UNREAD_ANSWERS + 200_000


async def test_a_client_that_is_gone_when_it_is_refused_is_no_fault() -> None:
    """As a browser is that closes at the first byte of a refusal."""
    transport = LostTransport()
    connection = HTTP1Connection(lambda work: work.close(), {}, 1)
    connection.connection_made(transport)
    connection.data_received(b"rubbish\r\n\r\n")
    assert transport.written.startswith(b"HTTP/1.1 400 ")


async def test_an_idle_connection_is_closed_where_that_is_wanted(
    function: RecordingFunction,
) -> None:
    """As a frozen process finds it; each request gives it its whole time again."""
    async with LocalGateway(function, keep_alive=1.0) as gateway:
        async with raw_connection(gateway.url) as (reader, writer):
            for _ in range(2):
                asked = time.monotonic()
                writer.write(b"GET /local/@connections/x " + HEAD + b"\r\n")
                assert (await read_response(reader))[0] == 400
                await asyncio.sleep(0.1)  # of its time, so that a rest of it would show
            assert await reader.read() == b""
            assert time.monotonic() - asked >= 1.0


PARTS = [
    b"GET / HTTP/1.1\r\nHos",
    b"G",
    b"POST /local/@connections/x " + HEAD + b"Content-Length: 10\r\n\r\n",
    b"POST /local/@connections/x " + HEAD + b"Content-Length: 10\r\n\r\nhalf",
    b"POST /local/@connections/x " + HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhalf",
]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("before", [b"", b"GET /local/@connections/x " + HEAD + b"\r\n"])
async def test_a_request_that_does_not_arrive_is_given_up(
    function: RecordingFunction, monkeypatch: pytest.MonkeyPatch, before: bytes, part: bytes
) -> None:
    """With 408, also as the second of its connection; the socket is closed."""
    monkeypatch.setattr(http11, "REQUEST_TIMEOUT", 0.05)
    async with LocalGateway(function) as gateway, raw_connection(gateway.url) as (reader, writer):
        writer.write(before)
        if before:
            assert (await read_response(reader))[0] == 400
        writer.write(part)
        assert (await read_response(reader))[0] == 408
        assert await reader.read() == b""
        assert gateway.arriving == {}


async def test_a_request_that_comes_byte_by_byte_has_no_longer(
    function: RecordingFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time begins once, not anew with each byte."""
    monkeypatch.setattr(http11, "REQUEST_TIMEOUT", 0.05)
    async with LocalGateway(function) as gateway, raw_connection(gateway.url) as (reader, writer):
        answered = asyncio.create_task(read_response(reader))
        for byte in b"GET / " + HEAD + b"X: " + b"x" * 15_000:
            if answered.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.001)
        assert (await answered)[0] == 408


async def test_a_connection_without_a_request_is_closed(
    function: RecordingFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an answer, as nobody has asked."""
    monkeypatch.setattr(http11, "REQUEST_TIMEOUT", 0.05)
    async with LocalGateway(function) as gateway, raw_connection(gateway.url) as (reader, _):
        assert await reader.read() == b""


async def test_what_has_arrived_has_no_limit_of_ours(
    function: RecordingFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an idle connection after its request nor a WebSocket, nor a function that thinks."""
    monkeypatch.setattr(http11, "REQUEST_TIMEOUT", 0.05)
    thought = asyncio.Event()

    async def think(event: Event) -> object:
        asyncio.get_running_loop().call_later(0.2, thought.set)
        await thought.wait()
        return OK

    function.answer = think
    async with LocalGateway(function) as gateway:
        async with (
            raw_connection(gateway.url) as (reader, writer),
            raw_connection(gateway.url) as (idle, asking),
        ):
            for _ in range(2):
                asking.write(b"GET /local/@connections/x " + HEAD + b"\r\n")
                assert (await read_response(idle))[0] == 400
                if not thought.is_set():
                    writer.write(handshake())
                    assert (await read_response(reader))[0] == 101
            writer.write(frame(b"still here"))
            await function.wait_for("MESSAGE")


async def test_too_many_requests_in_pieces_end_the_oldest(
    gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never one that comes at once."""
    monkeypatch.setattr(http11, "ARRIVING_LIMIT", 3)
    async with contextlib.AsyncExitStack() as stack:
        halves = []
        for number in range(5):
            reader, writer = await stack.enter_async_context(raw_connection(gateway.url))
            writer.write(PARTS[number])
            halves.append((reader, writer))
            assert (await exchange(gateway.url, handshake()))[0] == 101
        for reader, _ in halves[:2]:
            assert (await read_response(reader))[0] == 408
        assert len(gateway.arriving) == 3
        halves[4][1].write(b"1\r\n0\r\n\r\n")
        assert (await read_response(halves[4][0]))[0] == 400
        assert len(gateway.arriving) == 2


async def test_no_more_of_a_body_is_kept_than_a_message_may_have(gateway: LocalGateway) -> None:
    """Forty clients with eleven megabytes each are no half gigabyte."""
    size = 11 * 1024 * 1024
    head = b"POST /local/@connections/x " + HEAD + b"Content-Length: %d\r\n\r\n" % size
    async with raw_connection(gateway.url) as (_, writer):
        tracemalloc.start()
        try:
            writer.write(head)
            sent = 0
            while sent < size - 1:
                part = bytes(min(65536, size - 1 - sent))
                writer.write(part)
                await writer.drain()
                sent += len(part)
            (arriving,) = gateway.arriving
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(arriving._body) < 1024 * 1024
        assert peak < 4 * 1024 * 1024
