"""One run of an app, as the apps of `apps.py` see it."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import parse_qs


class AppError(Exception):
    """What apps raise here when they raise."""


class Host(Protocol):
    """The process in which an app runs."""

    async def app_request(self, phase: str) -> None:
        """Let the app wait for something of its own."""


class Witness(Protocol):
    """Who is to know what an app sees."""

    def tell(self, process: Any, connection_id: str, code: int) -> None:
        """Note that an app was told of an end."""

    def heard(self, process: Any, connection_id: str, texts: tuple[str, ...]) -> None:
        """Note that an app was given the last of these messages, and before that the others."""

    def violated(self, what: str) -> None:
        """Note what must never happen."""


class Socket:
    """One run of an app.

    Attributes:
        gone: it has been told that its client is gone.
    """

    def __init__(self, process: Host, witness: Witness, scope: Any, receive: Any, send: Any):
        extension = scope["extensions"]["longwire"]
        self.id: str = extension["connection_id"]
        self.scope = scope
        self.room = parse_qs(scope["query_string"].decode())["room"][0]
        self.gone = False
        self._heard: tuple[str, ...] = ()
        self._phase = extension["phase"]
        self._process = process
        self._witness = witness
        self._receive = receive
        self._send = send
        self._closing = False

    async def accept(self) -> None:
        assert (await self._receive())["type"] == "websocket.connect"
        await self._send({"type": "websocket.accept"})

    async def send(self, kind: str, number: object) -> None:
        await self.send_text(f"{self.id} {kind} {number}")

    async def send_text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def close(self) -> None:
        self._closing = True
        await self._send({"type": "websocket.close", "code": 4000})

    async def receive(self) -> str | None:
        """Return the next message; None when the client is gone."""
        message = await self._receive()
        if message["type"] == "websocket.receive":
            self._phase = "with a message"
            self._heard += (message["text"],)
            if not self.scope["extensions"]["longwire"].get("replaying"):
                self._witness.heard(self._process, self.id, self._heard)
            return str(message["text"])
        assert message["type"] == "websocket.disconnect"
        if not self._closing:
            self._witness.tell(self._process, self.id, message["code"])
        self.gone = True
        return None

    async def think(self) -> None:
        """Ask something that is not Longwire's."""
        phase = {"message": "replay", "disconnect": "replay"}.get(self._phase, self._phase)
        await self._process.app_request(f"the app {phase}")
