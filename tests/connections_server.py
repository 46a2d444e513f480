"""A stand-in for the management API: a real HTTP server that records requests, by a script."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

INFO = {
    "connectedAt": "2025-11-11T13:45:35.513Z",
    "identity": {"sourceIp": "203.0.113.7", "userAgent": "probe/1.0"},
    "lastActiveAt": "2025-11-11T13:45:46.020Z",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to the letter."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Answer = int | Reply | Literal["reset", "silence"]
"""A status, an exact reply, or, once the request is read, a reset or no answer at all."""

FULL = Reply(
    429,
    b'{"message":"Client side buffer is full"}',
    {"x-amzn-errortype": "LimitExceededException"},
)


class ConnectionsServer:
    """Answers `/{stage}/@connections/{id}` on a free port of 127.0.0.1.

    Without a script a POST gets 200, a GET 200 with `INFO`, and a DELETE 204, after which the
    connection is gone (410).

    Attributes:
        url: the endpoint, stage included.
        requests: (method, connection id, body), in the order of arrival.
        delivered: (connection id, body) of the posts that reached their client.
        headers: those of each request, with names in lower case.
        targets: each request's target as it came, escapes and all.
        answers: for each connection id, what its next requests get.
        full: the ids whose client does not read: each request is answered 429.
        known: the ids that exist; only looked at with `unknown_is_gone`.
        unknown_is_gone: answer 410 for every id that is not in `known`.
        connected: how many TCP connections there were.
        delay: seconds that each answer takes.
    """

    def __init__(self, *, stage: str = "local", unknown_is_gone: bool = False) -> None:
        self.url = ""
        self.requests: list[tuple[str, str, bytes]] = []
        self.delivered: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.answers: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self.full: set[str] = set()
        self.known: set[str] = set()
        self.unknown_is_gone = unknown_is_gone
        self.delay = 0.0
        self.connected = 0
        self._stage = stage
        self._deleted: set[str] = set()
        self._handlers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._arrived = asyncio.Condition()
        self._closing = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/{self._stage}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        self._server.close()
        for writer in self._handlers.values():
            writer.transport.abort()  # its handler then reads the end of the stream
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

    def frames(self, connection_id: str) -> list[bytes]:
        """Return the bodies that were posted to a connection, whatever they were answered."""
        return [
            body for method, to, body in self.requests if (method, to) == ("POST", connection_id)
        ]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, looked at after each request that arrives."""
        async with self._arrived:
            await self._arrived.wait_for(condition)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:
            writer.transport.abort()
            return
        self.connected += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._handlers[task] = writer
        task.add_done_callback(self._handlers.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; return False when the connection is of no more use."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        await asyncio.sleep(self.delay)
        answer = await self._record(method, target, headers, body)
        if answer == "reset":
            reset(writer)
            return False
        if answer == "silence":
            await reader.read()
            return False
        writer.write(_encoded(Reply(answer) if isinstance(answer, int) else answer))
        await writer.drain()
        return True

    async def _record(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> Answer:
        match = re.fullmatch(rf"/{re.escape(self._stage)}/@connections/([^/]+)", target)
        if match is None:
            return Reply(403, b'{"message":"Forbidden"}')
        connection_id = unquote(match[1])
        self.requests.append((method, connection_id, body))
        self.headers.append(headers)
        self.targets.append(target)
        answer = self._answer(method, connection_id)
        if method == "POST" and answer == 200:
            self.delivered.append((connection_id, body))
        async with self._arrived:
            self._arrived.notify_all()
        return answer

    def _answer(self, method: str, connection_id: str) -> Answer:
        if self.answers[connection_id]:
            return self.answers[connection_id].popleft()
        unknown = self.unknown_is_gone and connection_id not in self.known
        if unknown or connection_id in self._deleted:
            return Reply(410, headers={"x-amzn-errortype": "GoneException"})
        if connection_id in self.full:
            return FULL
        if method == "DELETE":
            self._deleted.add(connection_id)
            return 204
        return Reply(200, json.dumps(INFO).encode()) if method == "GET" else 200


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection off, so that the other side sees a reset and not an end."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _encoded(reply: Reply) -> bytes:
    headers = {"Content-Type": "application/json", **reply.headers}
    if reply.status != 204:
        headers["Content-Length"] = str(len(reply.body))
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body
