"""Nothing of an app's output vanishes without a word: it raises, or one line says so."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from longwire import ConnectionGoneError
from longwire.asgi import noise
from longwire.exceptions import EventOverError
from tests.invocation.test_connect import websocket
from tests.talk import talk

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.websockets import WebSocket

    from longwire.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

TEXT: Message = {"type": "websocket.send", "text": "x"}


@pytest.fixture(autouse=True)
def said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[str]]:
    """Return what is said at WARNING of the places in the code of an app."""
    monkeypatch.setattr(noise, "_said", set())
    if (channels := sys.modules.get("channels.layers")) is not None:
        # Of a project of Django's in an earlier test.
        monkeypatch.setattr(channels.channel_layers, "backends", {})
    return lambda: [
        record.message for record in caplog.records if record.levelno == logging.WARNING
    ]


def _plain(scope: Scope) -> None:
    if scope["type"] != "websocket":
        raise ValueError(scope["type"])


class Worker:
    """A task of the lifespan that sends by what it is given, and notes what it learns.

    Attributes:
        sends: what it is given.
        errors: what came of it.
    """

    def __init__(self) -> None:
        self.sends: asyncio.Queue[Send] = asyncio.Queue()
        self.errors: list[BaseException] = []

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        working = asyncio.create_task(self.work())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        working.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def work(self) -> None:
        while True:
            send = await self.sends.get()
            try:
                await send(TEXT)
            except OSError as error:
                self.errors.append(error)


async def test_a_worker_of_the_lifespan_learns_that_it_reaches_nobody(said: Any) -> None:
    """It was given the WebSocket of an event that is over."""
    worker = Worker()
    late: list[Send] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await worker.lifespan(receive, send)
        await receive()
        await send({"type": "websocket.accept"})
        late.append(send)
        await receive()

    async with talk(app) as client:
        await client.connect()
        for _ in range(2):
            worker.sends.put_nowait(late[0])
        while len(worker.errors) < 2:
            await asyncio.sleep(0)
        assert [type(error) for error in worker.errors] == [EventOverError, EventOverError]
        [line] = said()
        assert f"connection {client.connection_id}: sent after the event of this WebSocket" in line
        assert f"Worker.work ({__file__}:" in line
        assert client.frames == []


async def test_a_task_of_another_event_learns_it_too(said: Any) -> None:
    """As with a dict of connections."""
    late: list[Send] = []
    errors: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        _plain(scope)
        await receive()
        await send({"type": "websocket.accept"})
        late.append(send)
        await receive()
        try:
            await late[0](TEXT)
        except OSError as error:
            errors.append(error)

    async with talk(app) as client:
        await client.connect()
        await client.say("a")
        assert [type(error) for error in errors] == [EventOverError]
        assert len(said()) == 1


async def test_a_thread_that_nobody_awaits_is_told(said: Any) -> None:
    """Its send comes after the event, and its error may be seen by nobody but this line."""
    go, done = threading.Event(), threading.Event()
    errors: list[BaseException | None] = []

    async def app(websocket: WebSocket) -> None:
        loop = asyncio.get_running_loop()

        def think() -> None:
            go.wait()
            future = asyncio.run_coroutine_threadsafe(websocket.send_text("thought"), loop)
            errors.append(future.exception())
            done.set()

        await websocket.accept()
        async for _ in websocket.iter_text():
            loop.run_in_executor(None, think)

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.say("a")
        go.set()
        await asyncio.to_thread(done.wait)
        assert len(errors) == 1
        assert errors[0] is not None
        assert len(said()) == 1
        assert "reaches nobody" in said()[0]
        assert client.frames == []


async def test_a_send_of_a_task_left_behind_by_an_app_that_has_ended_raises(said: Any) -> None:
    """Its client is gone, as it would be under a server; nothing else is to be said of it."""
    errors: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def later() -> None:
            await asyncio.sleep(0.05)
            try:
                await send(TEXT)
            except OSError as error:
                errors.append(error)

        _plain(scope)
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        tasks.append(asyncio.create_task(later()))

    tasks: list[asyncio.Task[None]] = []
    async with talk(app) as client:
        await client.connect()
        await client.say("a")
        assert client.deleted
        assert [type(error) for error in errors] == [ConnectionGoneError]
        assert said() == []


async def test_a_call_whose_answer_comes_in_another_event_is_said_once(said: Any) -> None:
    """As when a central system calls a charging station over its own socket."""

    async def app(websocket: WebSocket) -> None:
        answers: asyncio.Queue[str] = asyncio.Queue()

        async def call() -> None:
            await websocket.send_text("call")
            await asyncio.wait_for(answers.get(), 30)
            await websocket.send_text("answered")

        await websocket.accept()
        calls = []
        async for text in websocket.iter_text():
            if text == "start":
                calls.append(asyncio.create_task(call(), name="call"))
            else:
                answers.put_nowait(text)

    async with talk(websocket(app)) as client:
        await client.connect()
        for text in ("start", "the answer", "start"):
            await client.say(text)
        assert client.frames == ["call", "call"]
        [line] = said()
        assert "only a later one could move them, and that is another event" in line
        assert f"call ({__file__}:" in line


async def test_what_waits_where_it_has_waited_before_is_not_said(said: Any) -> None:
    """A race of `receive` and a queue makes its tasks anew for each message."""

    async def app(websocket: WebSocket) -> None:
        queue: asyncio.Queue[str] = asyncio.Queue()

        async def news() -> str:
            return await queue.get()

        await websocket.accept()
        received = asyncio.create_task(websocket.receive_text())
        told = asyncio.create_task(news())
        while True:
            await asyncio.wait({received, told}, return_when=asyncio.FIRST_COMPLETED)
            if received.done():
                await websocket.send_text(received.result())
                received = asyncio.create_task(websocket.receive_text())
                told.cancel()
                told = asyncio.create_task(news())

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["a", "b"]
        assert said() == []


async def test_a_timer_that_could_not_fire_in_time_is_not_said(said: Any) -> None:
    """A library's keep-alive, which its user cannot change."""

    async def app(websocket: WebSocket) -> None:
        async def keep_alive() -> None:
            while True:
                await asyncio.sleep(60)
                await websocket.send_text("ping")

        await websocket.accept()
        pinging = asyncio.create_task(keep_alive())
        async for text in websocket.iter_text():
            await websocket.send_text(text)
        pinging.cancel()

    async with talk(websocket(app), linger=30) as client:
        await client.connect()
        await client.say("a")
        await client.leave()
        assert client.frames == ["a"]
        assert said() == []


async def test_what_an_ended_app_has_left_behind_is_said(said: Any) -> None:
    """Under a server it would go on."""

    async def app(websocket: WebSocket) -> None:
        async def audit() -> None:
            while True:
                await asyncio.sleep(0.01)

        await websocket.accept()
        await websocket.receive_text()
        tasks.append(asyncio.create_task(audit()))

    tasks: list[asyncio.Task[None]] = []
    async with talk(websocket(app), linger=0.1) as client:
        await client.connect()
        await client.say("a")
        [line] = said()
        assert "cancelled tasks that went on after the app had ended" in line
        assert f"audit ({__file__}:" in line


async def test_a_sleeper_left_behind_is_not_waited_for(said: Any) -> None:
    """Nor said: it could not have moved within `linger`."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()
        tasks.append(asyncio.create_task(asyncio.sleep(3600)))

    tasks: list[asyncio.Task[None]] = []
    async with talk(websocket(app), linger=600) as client:
        await client.connect()
        await client.say("a")
        assert client.deleted
        assert said() == []


async def test_errors_of_tasks_that_were_cancelled_are_not_said_by_asyncio(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As when a relay's upstream connection breaks while it is closed; those of before are."""

    async def app(websocket: WebSocket) -> None:
        async def relay() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                raise OSError("upstream is closed")

        await websocket.accept()
        tasks.append(asyncio.create_task(relay()))
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    tasks: list[asyncio.Task[None]] = []
    async with talk(websocket(app), linger=0.01) as client:
        await client.connect()
        await client.say("a")
    tasks.clear()
    assert "never retrieved" not in caplog.text


async def test_a_send_of_a_worker_while_an_event_begins_is_not_taken_for_its_replay(
    said: Any,
) -> None:
    """It has the WebSocket of this event before the message is handed over."""
    worker = Worker()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await worker.lifespan(receive, send)
        await receive()
        await send({"type": "websocket.accept"})
        if scope["extensions"]["longwire"]["phase"] == "message":
            worker.sends.put_nowait(send)
            while not worker.errors:
                await asyncio.sleep(0)
        await receive()
        await send({"type": "websocket.send", "text": "echo"})
        await receive()

    async with talk(app) as client:
        await client.connect()
        await client.say("a")
        assert [type(error) for error in worker.errors] == [EventOverError]
        assert len(said()) == 1
        assert client.frames == ["echo"]


async def test_what_has_ended_by_itself_behind_the_response_is_no_news(said: Any) -> None:
    """Nothing of it was cut off."""

    async def app(websocket: WebSocket) -> None:
        async def load() -> None:
            await asyncio.sleep(0.2)
            await websocket.send_text("loaded")

        await websocket.accept()
        loading = asyncio.create_task(load())
        async for text in websocket.iter_text():
            await websocket.send_text(text)
        await loading

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.handler._deferred.wait()
        assert client.frames == ["loaded"]
        assert said() == []


async def test_the_apps_own_task_may_wait_at_another_line(said: Any) -> None:
    """It was there before the message, and waits for the client by way of its reader."""

    async def app(websocket: WebSocket) -> None:
        texts: asyncio.Queue[str] = asyncio.Queue()

        async def read() -> None:
            async for text in websocket.iter_text():
                texts.put_nowait(text)

        await websocket.accept()
        reader = asyncio.create_task(read())
        text = await texts.get()
        while True:
            await websocket.send_text(text)
            text = await texts.get()
            assert not reader.done()

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.say("a")
        assert client.frames == ["a"]
        assert said() == []


async def test_each_kind_of_loss_is_said_at_a_place() -> None:
    """One that was said of it does not hide another."""
    assert noise.level("begun", ["a"]) == logging.WARNING
    assert noise.level("begun", ["a"]) == logging.DEBUG
    assert noise.level("begun", ["a", "b"]) == logging.WARNING
    assert noise.level("cut off", ["a"]) == logging.WARNING
