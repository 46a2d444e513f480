"""When a step is over: the app waits for the client and every other task is quiet."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import threading
import tracemalloc
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from starlette.websockets import WebSocketDisconnect

from longwire import Longwire
from longwire.runtime.loop import CallersLoop
from tests.invocation.test_connect import OK, websocket
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event
from tests.talk import Talk, talk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.websockets import WebSocket

    Endpoint = Callable[[WebSocket], Awaitable[None]]

pytestmark = pytest.mark.anyio


async def _reader(websocket: WebSocket, queue: asyncio.Queue[str | None]) -> None:
    async for text in websocket.iter_text():
        await queue.put(text)
    await queue.put(None)


async def _writer(websocket: WebSocket, queue: asyncio.Queue[str | None]) -> None:
    while (text := await queue.get()) is not None:
        await websocket.send_text(text)


async def _gather(websocket: WebSocket) -> None:
    await websocket.accept()
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    await asyncio.gather(_reader(websocket, queue), _writer(websocket, queue))


async def _task_group(websocket: WebSocket) -> None:
    await websocket.accept()
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(_reader(websocket, queue))
        group.create_task(_writer(websocket, queue))


async def _anyio(websocket: WebSocket) -> None:
    await websocket.accept()
    send, receive = anyio.create_memory_object_stream[str](0)

    async def read() -> None:
        async with send:
            async for text in websocket.iter_text():
                await send.send(text)

    async with anyio.create_task_group() as group, receive:
        group.start_soon(read)
        async for text in receive:
            await websocket.send_text(text)


async def _first_completed(websocket: WebSocket) -> None:
    await websocket.accept()
    stopped = asyncio.Event()
    stop = asyncio.create_task(stopped.wait())
    try:
        while not stopped.is_set():
            text = asyncio.create_task(websocket.receive_text())
            await asyncio.wait([text, stop], return_when=asyncio.FIRST_COMPLETED)
            await websocket.send_text(text.result())
    finally:
        stop.cancel()


async def _with_time_limit(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text(await asyncio.wait_for(websocket.receive_text(), 36_000))


async def _thread(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(await asyncio.to_thread(str.lower, text.upper()))


async def _class_with_queue(websocket: WebSocket) -> None:
    """The reader finds the queue as an attribute of an attribute."""
    await Session(websocket).run()


class Session:
    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.outbox: asyncio.Queue[str | None] = asyncio.Queue()

    async def run(self) -> None:
        await self.websocket.accept()
        await asyncio.gather(self.read(), Writer(self).run())

    async def read(self) -> None:
        await _reader(self.websocket, self.outbox)


class Writer:
    def __init__(self, session: Session) -> None:
        self.session = session

    async def run(self) -> None:
        await _writer(self.session.websocket, self.session.outbox)


async def _long_time_limits(websocket: WebSocket) -> None:
    """A limit that ends long after the step may linger is none."""
    await websocket.accept()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def write() -> None:
        while (text := await asyncio.wait_for(queue.get(), 36_000)) is not None:
            await websocket.send_text(text)

    await asyncio.gather(_reader(websocket, queue), write())


@pytest.mark.parametrize(
    "endpoint",
    [
        _class_with_queue,
        _long_time_limits,
        _gather,
        _task_group,
        _anyio,
        _first_completed,
        _with_time_limit,
        _thread,
    ],
)
async def test_an_app_of_several_tasks_parks_at_once(endpoint: Endpoint) -> None:
    """No step is cut off and no deadline is needed, with an hour to linger."""
    async with talk(websocket(endpoint), linger=3600) as client:
        client.seconds = 3600
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["a", "b"]
        await client.leave()


async def test_a_reply_of_a_busy_task_is_awaited() -> None:
    """It sits in a timer, a socket or a thread, and its reply may still come."""
    released = threading.Event()

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()

        async def slow(text: str) -> None:
            await asyncio.to_thread(released.wait)
            await websocket.send_text(text)

        async with asyncio.TaskGroup() as group:
            async for text in websocket.iter_text():
                group.create_task(slow(text))

    async with talk(websocket(app), linger=3600) as client:
        await client.connect()
        reply = asyncio.create_task(client.say("a"))
        await asyncio.to_thread(released.set)
        await reply
        assert client.frames == ["a"]


async def _debounce(websocket: WebSocket) -> None:
    """Send what came together, once nothing more comes."""
    await websocket.accept()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def write() -> None:
        while True:
            text = await queue.get()
            try:
                await asyncio.wait_for(queue.get(), 0.05)
            except TimeoutError:
                await websocket.send_text(str(text))

    async with asyncio.TaskGroup() as group:
        writer = group.create_task(write())
        await _reader(websocket, queue)
        writer.cancel()


async def _later(websocket: WebSocket) -> None:
    """Send from a task that a timer makes."""
    await websocket.accept()
    loop = asyncio.get_running_loop()
    tasks = []
    async for text in websocket.iter_text():

        def send(text: str = text) -> None:
            tasks.append(loop.create_task(websocket.send_text(text)))

        loop.call_later(0.05, send)


async def _thread_and_queue(websocket: WebSocket) -> None:
    """A thread fills a queue that no other task of the run knows."""
    await websocket.accept()
    loop = asyncio.get_running_loop()

    async def answer(text: str) -> None:
        chunks: asyncio.Queue[str] = asyncio.Queue()

        def produce() -> None:
            loop.call_soon_threadsafe(chunks.put_nowait, text)

        timer = threading.Timer(0.05, produce)
        timer.start()
        await websocket.send_text(await chunks.get())

    async with asyncio.TaskGroup() as group:
        async for text in websocket.iter_text():
            group.create_task(answer(text))


@pytest.mark.parametrize("endpoint", [_debounce, _later, _thread_and_queue])
async def test_a_reply_that_a_timer_or_a_thread_brings_is_awaited(endpoint: Endpoint) -> None:
    """Though every task waits for a queue, or none is there to wait."""
    async with talk(websocket(endpoint)) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["a", "b"]


async def test_a_reply_behind_a_socket_of_anyio_is_awaited() -> None:
    """Its reads are waits for an event; httpx reads in this way."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    async def app(websocket: WebSocket) -> None:
        async def fetch(text: str) -> None:
            async with httpx.AsyncClient() as http:
                await websocket.send_text(text + (await http.get(url)).text)

        await websocket.accept()
        async with anyio.create_task_group() as group:
            async for text in websocket.iter_text():
                group.start_soon(fetch, text)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with talk(websocket(app)) as client:
            await client.connect()
            await client.say("a")
            await client.say("b")
            assert client.frames == ["aok", "bok"]


async def test_a_heartbeat_costs_no_time(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing can come of a timer that ends after the step may linger: why wait?"""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        heart = asyncio.create_task(asyncio.sleep(36_000), name="heart")
        try:
            async for text in websocket.iter_text():
                await websocket.send_text(text)
        finally:
            heart.cancel()

    async with talk(websocket(app), linger=3600) as client:
        client.seconds = 7200
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["a", "b"]
    assert caplog.text == ""  # it could not have moved in time


async def test_a_task_that_stays_busy_is_cut_off_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One warning says which and where, and not again for the same place; it goes on."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        ticker = asyncio.create_task(_forever(), name="ticker")
        try:
            async for text in websocket.iter_text():
                await websocket.send_text(text)
        finally:
            ticker.cancel()

    caplog.set_level(logging.DEBUG, "longwire")
    async with talk(websocket(app), linger=0.05) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["a", "b"]
    said = [record for record in caplog.records if "cancelled tasks" in record.message]
    assert [record.levelno for record in said] == [logging.WARNING, logging.DEBUG, logging.DEBUG]
    for record in said:
        assert "that went on while the app waited for the client" in record.message
        assert f"ticker in _forever ({__file__}:" in record.message


async def _forever() -> None:
    while True:
        await asyncio.sleep(0.01)


async def test_a_step_lingers_after_the_last_send() -> None:
    """A task that goes on sending is not cut off in the middle."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()

        async def stream() -> None:
            for number in range(8):
                await asyncio.sleep(0.05)
                await websocket.send_text(str(number))

        async with asyncio.TaskGroup() as group:
            async for _ in websocket.iter_text():
                group.create_task(stream())

    async with talk(websocket(app), linger=0.3) as client:
        await client.connect()
        await client.say("go")
        assert client.frames == [str(number) for number in range(8)]


async def test_a_greeting_of_a_busy_task_is_ahead_of_the_reply() -> None:
    """The message is handed over when the replay has made as many sends as connect did."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        queue: asyncio.Queue[str | None] = asyncio.Queue()

        async def write() -> None:
            await asyncio.sleep(0.02)
            await websocket.send_text("welcome")
            await _writer(websocket, queue)

        await asyncio.gather(_reader(websocket, queue), write())

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.until("welcome")
        await client.say("welcome")
        await client.say("a")
        assert client.frames == ["welcome", "welcome", "a"]


async def test_cleaning_up_at_a_park_touches_neither_client_nor_store() -> None:
    """`finally: await manager.disconnect(...)` is right on a server and must do no harm here."""
    cleaned = 0

    async def app(websocket: WebSocket) -> None:
        nonlocal cleaned
        await websocket.accept()
        try:
            async for text in websocket.iter_text():
                await websocket.send_text(text)
        finally:
            cleaned += 1
            await websocket.send_text("goodbye")
            await websocket.close()

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["a", "b"]
        assert not client.deleted
    assert cleaned == 3


async def test_an_error_while_an_app_is_cancelled_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its cleaning up may fail; the event has not."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.receive_text()
        finally:
            raise ValueError("cleaning up")

    async with talk(websocket(app)) as client:
        assert await client.connect() == {"statusCode": 200}
    (record,) = caplog.records
    assert "the app raised while it was being cancelled" in record.message


async def test_tasks_left_behind_by_an_ended_app_may_finish() -> None:
    """Fire and forget, as under a server; but not for ever."""
    saved = asyncio.Event()

    async def save() -> None:
        await asyncio.sleep(0.02)
        saved.set()

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()
        tasks.extend([asyncio.create_task(save()), asyncio.create_task(_forever())])

    tasks: list[asyncio.Task[None]] = []
    async with talk(websocket(app), linger=0.2) as client:
        await client.connect()
        await client.say("a")
        assert client.deleted
    assert saved.is_set()
    assert [task.cancelled() for task in tasks] == [False, True]


async def test_an_app_that_ignores_its_cancellation_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The event ends all the same, and the log says who stayed."""
    release = asyncio.Event()

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with talk(websocket(app)) as client:
        client.seconds = 0.1
        await client.connect()
        await client.handler.aclose()
        release.set()
    assert "ignored its cancellation" in caplog.text


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_thousands_of_events_leave_nothing_behind() -> None:
    """Neither memory, nor tasks, nor file descriptors."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async with talk(websocket(app)) as client:
        await _converse(client, 200)
        before = _footprint()
        tracemalloc.start()
        await _converse(client, 20)
        gc.collect()  # how much waits for it depends on how much the whole process has
        start, _ = tracemalloc.get_traced_memory()
        await _converse(client, 3_800)
        gc.collect()
        end, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        after = _footprint()
        # Not exactly as many: what earlier tests left open may be closed meanwhile.
        assert all(now <= then for now, then in zip(after, before, strict=True))
        assert end - start < 100_000


async def _converse(client: Talk, events: int) -> None:
    handler = client.handler
    for number in range(events // 4):
        one = f"m{number:014d}="
        client.server.known.add(one)
        for event in (
            connect_event(one),
            message_event("a", one),
            message_event("b", one),
            disconnect_event(one),
        ):
            await handler.handle(event, LambdaContext())
        client.server.known.discard(one)
    client.server.requests.clear()
    client.server.headers.clear()
    client.server.targets.clear()
    client.server.delivered.clear()
    client.server.answers.clear()
    gc.collect()


def _footprint() -> tuple[int, int]:
    return len(asyncio.all_tasks()), len(os.listdir("/dev/fd"))


def test_synchronous_events_leave_no_task_behind() -> None:
    """The loop stands still between events, so nothing may wait on it."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        task = asyncio.create_task(_forever())
        try:
            await websocket.receive_text()
        finally:
            task.cancel()

    handler = Longwire(websocket(app), ws_config={"backend": "memory", "params": {}, "linger": 0})
    counts: list[Any] = []
    for number in range(3):
        handler(connect_event(f"s{number}="), LambdaContext())
        assert isinstance(handler._loop, CallersLoop)
        assert handler._loop._runner is not None
        counts.append(len(asyncio.all_tasks(handler._loop._runner.get_loop())))
    handler.close()
    assert counts == [1, 1, 1]  # the lifespan


async def test_no_code_of_an_apps_objects_runs_while_its_frames_are_read() -> None:
    """A dead proxy, or a lazy object of Django's, must not be looked into by itself."""

    class Thing:
        pass

    async def app(ws: WebSocket) -> None:
        dead = weakref.proxy(Thing())  # even its class cannot be asked for
        queue: asyncio.Queue[str] = asyncio.Queue()

        async def write() -> None:
            while True:
                await ws.send_text(await queue.get())

        await ws.accept()
        writer = asyncio.create_task(write())
        try:
            async for text in ws.iter_text():
                queue.put_nowait(f"echo {text}")
        finally:
            writer.cancel()
            del dead

    async with talk(websocket(app)) as client:
        assert await client.connect() == OK
        await client.say("hi")
        assert client.frames == ["echo hi"]


async def _sleeps_forever(websocket: WebSocket) -> None:
    """By anyio and by asyncio."""
    await websocket.accept()
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        group.start_soon(asyncio.sleep, math.inf)
        async for text in websocket.iter_text():
            await websocket.send_text(text)
        group.cancel_scope.cancel()


async def _leaves_a_writer_behind(websocket: WebSocket) -> None:
    await websocket.accept()
    texts: asyncio.Queue[str] = asyncio.Queue()

    async def write() -> None:
        while True:
            await websocket.send_text(await texts.get())

    left.append(asyncio.create_task(write()))
    async for text in websocket.iter_text():
        texts.put_nowait(text)


async def _gathers_what_never_ends(websocket: WebSocket) -> None:
    """Its reader returns when the client leaves, its writer and its heart do not."""
    await websocket.accept()
    texts: asyncio.Queue[str] = asyncio.Queue()

    async def read() -> None:
        async for text in websocket.iter_text():
            texts.put_nowait(text)

    async def write() -> None:
        while True:
            await websocket.send_text(await texts.get())

    await asyncio.gather(read(), write(), asyncio.sleep(36_000))


left: list[asyncio.Task[None]] = []


@pytest.mark.parametrize(
    "endpoint", [_sleeps_forever, _leaves_a_writer_behind, _gathers_what_never_ends]
)
async def test_no_event_waits_for_what_cannot_move(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """With an hour to linger, and two for the event; the end of a connection is one, too."""
    async with talk(websocket(endpoint), linger=3600) as client:
        client.seconds = 7200
        await client.connect()
        await client.say("a")
        await client.leave()
        assert client.frames == ["a"]
    assert caplog.text == ""


async def test_an_app_that_is_told_of_the_end_may_work_on() -> None:
    """It waits for nobody then, and so nobody may take it for at rest."""
    done: list[str] = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.receive_text()
        except WebSocketDisconnect:
            await asyncio.sleep(0.2)
            done.append(await asyncio.to_thread(str.lower, "LEFT"))

    async with talk(websocket(app), linger=0.05) as client:
        await client.connect()
        await client.leave()
        assert done == ["left"]
