"""HTTP/1.1: a connection's requests, one at a time."""

from __future__ import annotations

import asyncio
import errno

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

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1\r\nHost: localhost\r\n"


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
