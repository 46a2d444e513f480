"""A client's socket, without a network: what is written, and when it is not read from."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest

from longwire.local.function.inline import InlineFunction
from longwire.local.rules.connection import DELETED, ClientHandshake
from longwire.local.rules.gateway import GatewayRules
from longwire.local.rules.settings import GatewaySettings
from longwire.local.server.websocket import UNREAD_LIMIT, ServerWebSocket, answer_handshake
from longwire.local.session import Session
from longwire.local.tasks import Tasks
from tests.local.fakes import RecordingFunction, frame

pytestmark = pytest.mark.anyio

PING, PONG = 9, b"\x8a"


class Transport(asyncio.Transport):
    """Keeps what is written, as if the client did not read any of it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.ended = False
        self.closing = False
        self.unread = 0

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unread

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        self.closing = True


class Bench:
    """A `WebSocket` between a recording transport and a session."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.tasks = Tasks()
        self.function = RecordingFunction()
        settings = GatewaySettings()
        rules = GatewayRules(settings, clock=time.time, random_bytes=os.urandom)
        self.session = Session(
            rules,
            InlineFunction(self.function),
            ClientHandshake((), "", "203.0.113.7"),
            self.tasks,
            lambda invocation: None,
        )
        self.socket = ServerWebSocket(self.transport, settings, self.session, on_lost=lambda: None)

    def is_read_from(self) -> bool:
        return self.transport.reading

    async def opened(self) -> ServerWebSocket:
        await self.session.connect()
        self.session.open(self.socket)
        return self.socket

    async def close(self) -> None:
        self.socket.connection_lost(None)
        await self.tasks.settle(10)


async def test_a_client_that_only_pings_is_not_read_from_for_ever() -> None:
    """The answers would grow the buffer; reading goes on once the client has read them."""
    bench = Bench()
    socket = await bench.opened()
    socket.data_received(frame(b"x", opcode=PING))
    assert bench.transport.written == PONG + b"\x01x"
    assert bench.is_read_from()
    bench.transport.unread = UNREAD_LIMIT + 1
    socket.pause_writing()
    socket.data_received(frame(b"x", opcode=PING))
    assert not bench.is_read_from()
    bench.transport.unread = 0
    socket.resume_writing()
    assert bench.is_read_from()
    await bench.close()


async def test_a_full_buffer_is_known() -> None:
    """Until the client has read."""
    bench = Bench()
    socket = await bench.opened()
    full = [socket.is_full]
    socket.pause_writing()
    full.append(socket.is_full)
    socket.resume_writing()
    full.append(socket.is_full)
    assert full == [False, True, False]
    await bench.close()


async def test_a_held_client_is_read_again_when_it_is_closed() -> None:
    """Its answer to the close frame must be seen."""
    bench = Bench()
    socket = await bench.opened()
    socket.hold(True)
    assert not bench.is_read_from()
    bench.session.close(DELETED)
    assert bench.is_read_from()
    socket.data_received(frame((1000).to_bytes(2), opcode=8))
    assert bench.transport.ended
    await bench.close()


async def test_nothing_is_written_to_a_socket_that_is_closing() -> None:
    """The client was lost a moment ago, and the transport has not said so yet."""
    bench = Bench()
    socket = await bench.opened()
    bench.transport.closing = True
    socket.send_text(b"x")
    socket.hold(True)
    assert (bench.transport.written, bench.transport.reading) == (b"", True)
    await bench.close()


async def test_messages_are_split_into_frames() -> None:
    """Of 32 KB at most, the first one text, all but the last without FIN; an empty one is one."""
    bench = Bench()
    socket = await bench.opened()
    socket.send_text(b"")
    assert bench.transport.written == b"\x81\x00"
    bench.transport.written = b""
    socket.send_text(b"x" * 32769)
    assert bench.transport.written == b"\x01\x7e\x80\x00" + b"x" * 32768 + b"\x80\x01x"
    await bench.close()


def test_a_handshake_is_answered_with_the_key_of_rfc_6455() -> None:
    """The example of section 1.3; extensions that are offered are not taken."""
    response = answer_handshake(
        "/",
        [
            ("Host", "x"),
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ],
    )
    assert response.status_code == 101
    assert response.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert "Sec-WebSocket-Extensions" not in response.headers
