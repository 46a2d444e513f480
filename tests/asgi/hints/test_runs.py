"""When hints are given: only where they are asked for, and only of connections that go on."""

from __future__ import annotations

import asyncio
import contextlib
import decimal
import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from longwire import Connections, Longwire
from longwire.asgi.hints.hints import MOST_TASKS
from longwire.testing import Gateway
from tests.lambda_events import connect_event, message_event

pytestmark = pytest.mark.anyio

COLD = """
import json, sys
from longwire import Longwire

async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    texts = []
    while True:
        texts.append(await receive())

class Context:
    aws_request_id = "1"

    def get_remaining_time_in_millis(self):
        return 3000

handler = Longwire(app, dsn="memory://")
for event in json.loads(sys.argv[1]):
    assert handler(event, Context()) == {"statusCode": 200}
print(*(name for name in sys.modules if "hints" in name or name == "dis"))
"""


def test_nothing_of_it_is_loaded_on_lambda() -> None:
    """Whose context does not ask for it."""
    events = json.dumps([connect_event(), message_event("a"), message_event("b")])
    command = [sys.executable, "-c", COLD, events]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "longwire.asgi.hints" not in run.stdout
    assert "changed" not in run.stderr


async def _hints(
    app: Any, caplog: pytest.LogCaptureFixture, *messages: str, **options: Any
) -> list[str]:
    caplog.set_level(logging.WARNING, "longwire")
    async with Gateway(app, **options) as gateway, gateway.connect() as ws:
        for message in messages:
            await ws.send(message)
            with contextlib.suppress(AssertionError):
                await ws.nothing(0)
    texts = [record.getMessage() for record in caplog.records if record.name == "longwire"]
    return [text for text in texts if "(docs/" in text]


def _app(endpoint: Any) -> Starlette:
    return Starlette(routes=[WebSocketRoute("/", endpoint)])


async def test_an_app_that_ends_the_conversation_forgets_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody will ask again, and what its `finally` sends is late in any case."""

    async def endpoint(ws: WebSocket) -> None:
        await ws.accept()
        count = 0
        try:
            while count < 1:
                await ws.receive_text()
                count += 1
            await ws.send_text("bye")
        finally:
            await ws.close()

    assert await _hints(_app(endpoint), caplog, "a") == []


async def test_a_client_that_leaves_is_no_message(caplog: pytest.LogCaptureFixture) -> None:
    """What is done then has its effect."""

    async def endpoint(ws: WebSocket) -> None:
        await ws.accept()
        done = False
        while not done:
            try:
                await ws.receive_text()
            except WebSocketDisconnect:
                done = True
                await Connections().broadcast("someone left")

    assert await _hints(_app(endpoint), caplog, "a", "b") == []


async def test_an_event_that_is_cut_off_says_so_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its app was in the middle of something."""

    async def endpoint(ws: WebSocket) -> None:
        await ws.accept()
        count = 0
        async for _ in ws.iter_text():
            count += 1
            await asyncio.sleep(60 if count else 0)

    assert await _hints(_app(endpoint), caplog, "a", timeout=0.5) == []
    assert any("at the deadline" in record.getMessage() for record in caplog.records)


async def test_a_middleware_that_passes_on_is_not_who_sends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A framework that is cancelled may say goodbye by itself, through the app's middleware."""
    library: dict[str, Any] = {"__name__": "starlette.something"}
    exec(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'websocket.accept'})\n"
        "    try:\n"
        "        while (await receive())['type'] == 'websocket.receive':\n"
        "            pass\n"
        "    finally:\n"
        "        await send({'type': 'websocket.send', 'text': 'bye'})\n",
        library,
    )

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        sent = 0

        async def counting(message: Any) -> None:
            nonlocal sent
            sent += 1
            await send(message)

        await library["app"](scope, receive, counting)

    assert await _hints(middleware, caplog, "a", "b") == []


async def test_memory_of_the_process_is_another_matter(caplog: pytest.LogCaptureFixture) -> None:
    """It is there at the next event, or not, whatever one message does."""

    class Room:
        def __init__(self) -> None:
            self.texts: list[str] = []

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "websocket":
                raise NotImplementedError
            await receive()
            await send({"type": "websocket.accept"})
            texts = self.texts
            while (message := await receive())["type"] == "websocket.receive":
                texts.append(message["text"])
                await send({"type": "websocket.send", "text": str(len(self.texts))})

    room = Room()
    assert await _hints(room, caplog, "a", "b") == []
    assert room.texts == ["a", "b"]


async def test_of_very_many_tasks_only_those_that_wait_for_the_client_are_looked_at(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """So that no event takes long because of hints."""

    async def endpoint(ws: WebSocket) -> None:
        await ws.accept()
        queue: asyncio.Queue[int] = asyncio.Queue()

        async def work() -> None:
            done = 0
            while True:
                done += await queue.get()

        count = 0
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work()) for _ in range(MOST_TASKS)]
            async for _ in ws.iter_text():
                count += 1
                await queue.put(count)
            for worker in workers:
                worker.cancel()

    (hint,) = await _hints(_app(endpoint), caplog, "a", "b")
    assert "'count' changed" in hint


async def test_an_object_like_no_other_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Here a number that raises where it is compared."""

    async def endpoint(ws: WebSocket) -> None:
        await ws.accept()
        number = decimal.Decimal("sNaN")
        async for _ in ws.iter_text():
            await ws.send_text(str(number))
            number = decimal.Decimal("sNaN")

    assert await _hints(_app(endpoint), caplog, "a", "b") == []
    assert [record.getMessage()[:43] for record in caplog.records] == [
        "the app's variables could not be looked at:"
    ]


async def test_a_handler_is_watched_where_its_context_asks_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not by being configured."""

    async def endpoint(ws: WebSocket) -> None:
        await ws.accept()
        count = 0
        async for _ in ws.iter_text():
            count += 1

    handler = Longwire(_app(endpoint), dsn="memory://")
    assert len(await _hints(handler, caplog, "a", "b")) == 1
