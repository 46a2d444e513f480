"""A gateway with the page, and a browser's requests."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from longwire.local.function.inline import InlineFunction
from longwire.local.inspector.inspector import Inspector
from longwire.local.inspector.stored import StoredRecords
from longwire.local.inspector.web import InspectorPage, Started
from longwire.local.server.server import LocalGateway
from tests.local.fakes import RecordingFunction, exchange, raw_connection

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable

Told = dict[str, Any]


class Look:
    """What a test does with the page of a gateway."""

    def __init__(self, gateway: LocalGateway, inspector: Inspector, stored: StoredRecords) -> None:
        self.gateway, self.inspector, self.stored = gateway, inspector, stored
        self.url = gateway.url

    async def get(self, target: str, *headers: str) -> tuple[int, Told]:
        lines = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
        status, _, body = await exchange(self.url, "\r\n".join(lines).encode())
        return status, json.loads(body)

    async def do(self, **action: Any) -> Told:
        status, told = await self.post(json.dumps(action))
        assert told["ok"] is (status == 200)
        return told

    async def post(self, body: str, *headers: str) -> tuple[int, Told]:
        data = body.encode()
        lines = [
            "POST /_longwire/do HTTP/1.1",
            "Host: 127.0.0.1",
            "Content-Type: application/json",
            f"Content-Length: {len(data)}",
            *headers,
        ]
        head = "\r\n".join([*lines, "", ""]).encode()
        status, _, answer = await exchange(self.url, head + data)
        return status, json.loads(answer)

    async def event(self, number: int) -> Told:
        return (await self.get(f"/_longwire/event?n={number}"))[1]

    async def connect(self, **what: Any) -> str:
        told = await self.do(do="connect", **what)
        connection_id = told["connection"]
        assert isinstance(connection_id, str)
        return connection_id


class Stream:
    """What the page is told, put together as the page does."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.hello: Told = {}
        self.events: dict[int, Told] = {}
        self.connections: dict[str, Told] = {}
        self.other: Told = {}
        self.messages = 0

    async def until(self, enough: Callable[[], object]) -> None:
        while not enough():
            part = b""
            while not part.endswith(b"\n\n"):
                line = await self._reader.readline()
                assert line, "the stream has ended"
                part += line
            self._take(part.decode().strip())

    def _take(self, part: str) -> None:
        lines = [line for line in part.split("\n") if line.startswith("data: ")]
        if not lines:
            return
        told = json.loads(lines[0].removeprefix("data: "))
        if "event: hello" in part:
            self.hello = told
            return
        self.messages += 1
        if told.pop("cleared", False):
            self.events.clear()
        self.events |= {one["n"]: one for one in told.pop("events", ())}
        self.connections |= {one["id"]: one for one in told.pop("connections", ())}
        self.other |= told


@contextlib.asynccontextmanager
async def streaming(url: str) -> AsyncIterator[Stream]:
    async with raw_connection(url) as (reader, writer):
        writer.write(b"GET /_longwire/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head, head
        assert b"content-type: text/event-stream" in head.lower()
        yield Stream(reader)


@contextlib.asynccontextmanager
async def looking(
    function: Any, *, target: str = "main:app", **settings: Any
) -> AsyncIterator[Look]:
    inspector, stored = Inspector(), StoredRecords()
    page = InspectorPage(inspector, stored, Started(target, False, lambda: (["/ws"], "/", "path")))
    watched = inspector.watching(InlineFunction(function))
    gateway = LocalGateway(watched, observer=inspector.handled, watcher=page, **settings)
    page.serve(gateway, watched)
    async with gateway:
        yield Look(gateway, inspector, stored)


@pytest.fixture
async def look(function: RecordingFunction) -> AsyncIterator[Look]:
    async with looking(function) as look:
        yield look
