"""A Lambda function that records, and a client that speaks raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Event = dict[str, Any]
OK = {"statusCode": 200}


async def answer_ok(event: Event) -> object:
    return OK


class RecordingFunction:
    """A plain Lambda function that keeps its events and answers as it is told to."""

    def __init__(self, answer: Callable[[Event], Awaitable[object]] = answer_ok) -> None:
        self.events: list[Event] = []
        self.answer = answer
        self._arrived = asyncio.Condition()

    async def __call__(self, event: Event, context: Any) -> object:
        async with self._arrived:
            self.events.append(event)
            self._arrived.notify_all()
        return await self.answer(event)

    def hold(self, event_type: str) -> asyncio.Event:
        """Answer the events of a type only when what is returned has been set."""
        release = asyncio.Event()

        async def answer(event: Event) -> object:
            if event["requestContext"]["eventType"] == event_type:
                await release.wait()
            return OK

        self.answer = answer
        return release

    def types(self) -> list[str]:
        """Return the types of all events so far."""
        return [event["requestContext"]["eventType"] for event in self.events]

    def bodies(self) -> list[str]:
        """Return the bodies of the MESSAGE events so far."""
        return [event["body"] for event in self.events if "body" in event]

    async def wait_for(self, event_type: str, count: int = 1) -> Event:
        """Wait until that many events of a type have come, and return the last of them."""

        def enough() -> bool:
            return self.types().count(event_type) >= count

        async with self._arrived:
            await self._arrived.wait_for(enough)
        found = [e for e in self.events if e["requestContext"]["eventType"] == event_type]
        return found[count - 1]


def connection_id(event: Event) -> str:
    found = event["requestContext"]["connectionId"]
    assert isinstance(found, str)
    return found


@contextlib.asynccontextmanager
async def raw_connection(
    url: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a TCP connection to the host and port of a URL."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def raw_client(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a WebSocket, and leave its frames to the test."""
    async with raw_connection(url) as (reader, writer):
        writer.write(handshake())
        await reader.readuntil(b"\r\n\r\n")
        yield reader, writer


async def read_response(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read one HTTP response with a content length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split(" ")[1]), headers, body


async def exchange(url: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes on a connection of their own and read one response."""
    async with raw_connection(url) as (reader, writer):
        writer.write(request)
        return await read_response(reader)


async def manage(
    management_url: str, method: str, connection_id: str, body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """Send one request to the management API."""
    path = f"{urlsplit(management_url).path}/@connections/{connection_id}"
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return await exchange(management_url, head.encode() + body)


def handshake(path: str = "/", *headers: str) -> bytes:
    """Build a WebSocket handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def frame(payload: bytes, *, opcode: int = 1, fin: bool = True) -> bytes:
    """Build a client's frame; the mask is zero, so that the payload stays readable."""
    head = bytes([opcode | (0x80 if fin else 0)])
    if len(payload) < 126:
        size = bytes([0x80 | len(payload)])
    elif len(payload) < 65536:
        size = bytes([0x80 | 126]) + len(payload).to_bytes(2)
    else:
        size = bytes([0x80 | 127]) + len(payload).to_bytes(8)
    return head + size + bytes(4) + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    """Read a server's frame: opcode, FIN bit, payload."""
    first, second = await reader.readexactly(2)
    size = second
    if second == 126:
        size = int.from_bytes(await reader.readexactly(2))
    elif second == 127:
        size = int.from_bytes(await reader.readexactly(8))
    return first & 0x0F, bool(first & 0x80), await reader.readexactly(size)


def authorizer_answer(effect: str = "Allow", resource: str = "*", **more: object) -> dict[str, Any]:
    """Return what a Lambda authorizer returns."""
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": resource}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return {"principalId": "user-42", "policyDocument": policy, **more}
