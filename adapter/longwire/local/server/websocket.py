"""A client's socket after its handshake: frames in, frames out."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from longwire.local.http11 import CLOSE_TIMEOUT
from longwire.local.rules.connection import BINARY, LOST, NO_STATUS, NOT_UTF8, TOO_BIG, CloseStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire.local.rules.settings import GatewaySettings
    from longwire.local.session import Session

# The protocol logs each frame with its payload at DEBUG, and payloads are nobody's business.
logger: logging.Logger = logging.getLogger("longwire.local.server.websocket")
logger.setLevel(logging.WARNING)

# Bytes kept for a client that does not read. API Gateway has such a buffer too, of unknown size.
BUFFER = 1024 * 1024
# From here on such a client is not read from either, or its pings would grow the buffer for ever.
# Well above BUFFER, since a client that sends everything before it reads must be able to.
UNREAD_LIMIT = 4 * BUFFER


def answer_handshake(path: str, headers: Sequence[tuple[str, str]]) -> Response:
    """Check a handshake: status 101, or the status (400, 426) to refuse it with.

    No extension is ever negotiated, so frame sizes are what the client sent.
    """
    request = Request(path, Headers(headers))
    return ServerProtocol(logger=logger).accept(request)


class ServerWebSocket(asyncio.Protocol):
    """Frames of one open connection; the `ClientSocket` of its session."""

    def __init__(
        self,
        transport: asyncio.Transport,
        settings: GatewaySettings,
        session: Session,
        *,
        on_lost: Callable[[], None],
    ) -> None:
        self.closed: asyncio.Event = asyncio.Event()  # the socket is gone
        # The client does not read: it has no room for another message.
        self.is_full: bool = False
        self._transport = transport
        self._session = session
        self._on_lost = on_lost
        self._frame_limit = settings.frame_limit
        self._protocol = Protocol(
            Side.SERVER,
            state=State.OPEN,
            max_size=(settings.message_limit, settings.frame_limit),
            logger=logger,
        )
        self._parts: list[bytes] = []
        self._held = False
        self._abort: asyncio.TimerHandle | None = None
        transport.set_write_buffer_limits(high=BUFFER)

    # From the session

    def send_text(self, data: bytes) -> None:
        """Send a message in frames of at most the frame limit, always as text."""
        size = self._frame_limit
        parts = [data[start : start + size] for start in range(0, len(data), size)] or [b""]
        for number, part in enumerate(parts, start=1):
            send = self._protocol.send_text if number == 1 else self._protocol.send_continuation
            send(part, fin=number == len(parts))
        self._flush()

    def close(self, close_status: CloseStatus) -> None:
        """Begin the closing handshake, which the client has `CLOSE_TIMEOUT` to finish."""
        self._protocol.send_close(close_status.code, close_status.reason)
        self._flush()
        # Its answer is still to be read.
        self.hold(False)

    def abort(self) -> None:
        """Let the connection break, without a close frame."""
        self._transport.abort()

    def hold(self, on: bool) -> None:
        """Stop reading while the function is behind."""
        self._held = on
        self._regulate_reading()

    # From the transport

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            self._frame_received(cast("Frame", event))
        self._flush()
        self._notice_end()

    def eof_received(self) -> bool:
        self._protocol.receive_eof()
        self._flush()
        self._notice_end()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self._abort is not None:
            self._abort.cancel()
        self.closed.set()
        self._on_lost()
        self._session.client_closed(LOST)

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self._regulate_reading()

    def _frame_received(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            self._fail(BINARY)
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._parts.append(bytes(frame.data))
            if frame.fin:
                self._message_received()

    def _message_received(self) -> None:
        data, self._parts = b"".join(self._parts), []
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self._fail(NOT_UTF8)
        else:
            self._session.receive(text)

    def _fail(self, close_status: CloseStatus) -> None:
        self._protocol.fail(close_status.code, close_status.reason)
        self._session.client_closed(close_status)

    def _notice_end(self) -> None:
        """Tell the session how the client ended the connection, if it did."""
        if self._protocol.close_rcvd is not None:
            self._session.client_closed(_client_close_status(self._protocol))
        elif self._protocol.parser_exc is not None:
            sent = self._protocol.close_sent
            close_status = LOST if sent is None else CloseStatus(sent.code, sent.reason)
            self._session.client_closed(
                TOO_BIG if close_status.code == TOO_BIG.code else close_status
            )

    def _regulate_reading(self) -> None:
        if self._transport.is_closing():
            return
        if self._held or self._transport.get_write_buffer_size() > UNREAD_LIMIT:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if self._transport.is_closing():
                return
            if data:
                self._transport.write(data)
            else:
                # Not `close`: that resets a client still sending, and it loses the close frame.
                self._transport.write_eof()
        if self._transport.get_write_buffer_size() > UNREAD_LIMIT:
            self._regulate_reading()
        if self._protocol.close_expected() and self._abort is None:
            loop = asyncio.get_running_loop()
            self._abort = loop.call_later(CLOSE_TIMEOUT, self._transport.abort)


def _client_close_status(protocol: Protocol) -> CloseStatus:
    close = protocol.close_rcvd
    if close is None or close.code == NO_STATUS.code:
        return NO_STATUS
    return CloseStatus(close.code, close.reason)
