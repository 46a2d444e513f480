"""A client's end of a connection, with the calls of Starlette's."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Literal, Self

from longwire.local.rules import results
from longwire.testing import disconnects
from longwire.testing.ends import Answer, Closed, Refused
from longwire.testing.gateway import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from longwire.local.rules.connection import ClientHandshake
    from longwire.testing.errors import AppErrors
    from longwire.testing.thread import GatewayThread

Mode = Literal["text", "binary"]

BINARY_HINT = (
    "API Gateway takes no binary messages: it has closed the connection with 1003 (docs/testing.md)"
)


class WebSocketTestSession:
    """A WebSocket of a `TestClient`, open inside its `with` block.

    Attributes:
        accepted_subprotocol: what the app has chosen, if anything.
        extra_headers: always empty, as API Gateway drops the headers of an accept.
    """

    def __init__(
        self,
        start: Callable[[], GatewayThread],
        handshake: ClientHandshake,
        errors: AppErrors,
        timeout: float,
    ) -> None:
        self.accepted_subprotocol: str | None = None
        self.extra_headers: list[tuple[bytes, bytes]] = []
        self._start = start
        self._errors = errors
        self._timeout = timeout
        self._handshake = handshake
        self._opened: WebSocket | None = None
        self._running: GatewayThread | None = None
        # Of what was tried after the end, for the text of what is raised.
        self._sent_binary = False

    @property
    def _limit(self) -> float:
        return self._socket._gateway._answer_timeout

    def __enter__(self) -> Self:
        running = self._running = self._start()
        settings = running.gateway._rules.settings
        limit = settings.integration_timeout + settings.authorizer_timeout
        socket = self._opened = WebSocket(running.gateway, self._handshake)
        try:
            running.call(socket.open(), limit)
        except Refused as error:
            refused = error
        else:
            self.accepted_subprotocol = socket.subprotocol
            return self
        # Not where it was caught: what the app has raised is to be seen with its own causes.
        self._raise_of_app()
        raise disconnects.refusal(refused.status, refused.reason)

    def __exit__(self, *exc_info: object) -> None:
        """Close with 1000; raise what the app has raised, unless that was raised before."""
        socket = self._socket
        if self._running is not None and not self._running.is_stopped:
            try:
                self._call(socket.close(), self._limit)
            finally:
                socket.forget()
        self._raise_of_app()

    @property
    def connection_id(self) -> str:
        """As in the events."""
        return self._socket.connection_id

    @property
    def answers(self) -> list[Answer]:
        """The events of this connection with the function's answers, oldest first."""
        return self._socket.answers

    # Sending

    def send(self, message: dict[str, Any] | str | bytes) -> None:
        """Send an ASGI message, as the app is to receive it; or text or bytes."""
        if isinstance(message, str):
            return self.send_text(message)
        if isinstance(message, bytes):
            return self.send_bytes(message)
        match message.get("type"):
            case "websocket.receive" if message.get("text") is not None:
                self.send_text(message["text"])
            case "websocket.receive":
                self.send_bytes(message.get("bytes") or b"")
            case "websocket.disconnect":
                self.close(message.get("code", 1000), message.get("reason"))
            case kind:
                raise ValueError(
                    f"{kind!r}: a client sends websocket.receive and websocket.disconnect"
                )

    def send_text(self, data: str) -> None:
        """Send a text message; after the end of the connection it reaches nobody."""
        self._call(self._unless_closed(self._socket.send, data), self._limit)

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message, which API Gateway answers with close code 1003."""
        self._sent_binary = True
        self._call(self._unless_closed(self._socket.send_bytes, data), self._limit)

    def send_json(self, data: Any, mode: Mode = "text") -> None:
        """Send a value as JSON, in a text message."""
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        if _checked(mode) == "text":
            self.send_text(text)
        else:
            self.send_bytes(text.encode())

    def close(self, code: int | None = 1000, reason: str | None = None) -> None:
        """Close, and wait until the app has been told; None closes without a code."""
        self._call(self._socket.close(code, reason or ""), self._limit)

    def vanish(self) -> None:
        """Lose the connection without a close frame, and wait until the app has been told."""
        self._call(self._socket.vanish(), self._limit)

    def expire(self) -> None:
        """Let the idle timeout or the lifetime of the connection pass, in no time."""
        self._call(self._socket._gateway.expire(self._socket), self._limit)

    async def _unless_closed(self, send: Callable[[Any], Any], data: object) -> None:
        # As on a real connection, whose end the client may not have seen yet: what a test sees must
        # not depend on which was first. The next `receive` tells.
        with contextlib.suppress(Closed):
            await send(data)

    # Receiving

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the next message as the app has sent it, or `websocket.close`.

        Raises:
            TimeoutError: nothing came within `timeout` seconds, or those of the client; the text
                has the last answer.
        Also what the app has raised, once all that it sent before has been received.
        """
        seconds = self._timeout if timeout is None else timeout
        try:
            text = self._call(self._socket.receive(seconds), seconds)
        except (Closed, TimeoutError) as error:
            nothing = error
        else:
            if results.INTERNAL_SERVER_ERROR in text:
                self._raise_of_app()  # the function itself raised; a client gets nothing but this
            return {"type": "websocket.send", "text": text}
        if isinstance(nothing, Closed):
            self._call(self._socket.answered(), self._limit)  # so that it is known what it raised
        self._raise_of_app()
        if isinstance(nothing, Closed):
            return {"type": "websocket.close", "code": nothing.code, "reason": nothing.reason}
        raise nothing

    def receive_text(self, timeout: float | None = None) -> str:
        """Return the next message.

        Raises:
            WebSocketDisconnect: there is none, and none will come.
        Otherwise as `receive`.
        """
        message = self.receive(timeout)
        if message["type"] == "websocket.close":
            error = disconnects.disconnect(message["code"], message["reason"])
            if self._sent_binary:
                error.add_note(BINARY_HINT)
            raise error
        text: str = message["text"]
        return text

    def receive_bytes(self, timeout: float | None = None) -> bytes:
        """Return the bytes of the next message; to a client of API Gateway each is text."""
        return self.receive_text(timeout).encode()

    def receive_json(self, mode: Mode = "text", timeout: float | None = None) -> Any:
        """Return the next message, read as JSON; the mode makes no difference."""
        _checked(mode)
        return json.loads(self.receive_text(timeout))

    def nothing(self, seconds: float = 0.05) -> None:
        """Check that nothing comes once every event so far is answered, nor `seconds` later.

        Raises:
            AssertionError: something came; the text shows it.
        """
        self._call(self._socket.nothing(seconds), self._limit + seconds)

    # What it is made of

    @property
    def _socket(self) -> WebSocket:
        if self._opened is None:
            raise RuntimeError(
                "the connection is not open yet: use `with client.websocket_connect(...) as ws:`"
            )
        return self._opened

    def _call(self, coroutine: Coroutine[Any, Any, Any], timeout: float) -> Any:
        assert self._running is not None  # as there is a socket
        return self._running.call(coroutine, timeout)

    def _raise_of_app(self) -> None:
        self._errors.raise_of(self._socket.connection_id)


def _checked(mode: str) -> str:
    if mode not in ("text", "binary"):
        raise ValueError(f"mode is {mode!r}; expected 'text' or 'binary'")
    return mode
