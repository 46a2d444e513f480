"""Endpoints that keep nothing from one message to the next, each in a style of its own."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import datetime
import functools
import itertools
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
from pydantic import BaseModel, ValidationError
from starlette.endpoints import WebSocketEndpoint
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

Endpoint = Callable[[WebSocket], Awaitable[None]]
ENDPOINTS: list[Any] = []

logger = logging.getLogger(__name__)
shared: list[str] = []
seen: dict[str, int] = {}
SCALE = ("do", "re", "mi")


def quiet(endpoint: Any) -> Any:
    ENDPOINTS.append(endpoint)
    return endpoint


@quiet
async def loop(ws: WebSocket) -> None:
    await ws.accept()
    while True:
        text = await ws.receive_text()
        await ws.send_text(text)


@quiet
async def iterate(ws: WebSocket) -> None:
    await ws.accept()
    async for text in ws.iter_text():
        await ws.send_text(text)


@quiet
async def initial_value(ws: WebSocket) -> None:
    """Bound when the message comes, but never read before it is bound anew."""
    await ws.accept()
    text = ""
    while text != "quit":
        text = await ws.receive_text()
        await ws.send_text(text)


@quiet
async def plain_messages(ws: WebSocket) -> None:
    while True:
        message = await ws.receive()
        if message["type"] == "websocket.connect":
            await ws.send({"type": "websocket.accept"})
        elif message["type"] == "websocket.disconnect":
            break
        else:
            await ws.send({"type": "websocket.send", "text": message["text"]})


@quiet
async def last_text_in_log(ws: WebSocket) -> None:
    """Its log may name the text that it failed with."""
    await ws.accept()
    text = None
    try:
        while True:
            text = await ws.receive_text()
            await ws.send_text(text)
    except WebSocketDisconnect:
        pass
    except Exception:
        logger.exception("failed with %r", text)
        raise


@quiet
async def answer_errors(ws: WebSocket) -> None:
    await ws.accept()
    while True:
        try:
            value = json.loads(await ws.receive_text())
            answer = value["text"] + str(1 / value.get("by", 1))
        except (LookupError, TypeError, ValueError) as error:
            answer = f"{type(error).__name__}: {error}"
        except WebSocketDisconnect:
            return
        await ws.send_text(answer)


@quiet
async def time_limit(ws: WebSocket) -> None:
    await ws.accept()
    while True:
        try:
            text = await asyncio.wait_for(ws.receive_text(), 30)
        except TimeoutError:
            await ws.send_text("ping")
            continue
        except WebSocketDisconnect:
            break
        await ws.send_text(text)


@quiet
async def timeout_block(ws: WebSocket) -> None:
    await ws.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            async with asyncio.timeout(30):
                text = await ws.receive_text()
            await ws.send_text(text)


@quiet
async def timing(ws: WebSocket) -> None:
    started = time.monotonic()
    await ws.accept()
    logger.debug("accepted after %s", time.monotonic() - started)
    async for text in ws.iter_text():
        started = time.monotonic()
        await ws.send_text(text)
        took = time.monotonic() - started
        logger.debug("took %s", took)


@quiet
async def connected_since(ws: WebSocket) -> None:
    """Different in each event, but not because of a message."""
    await ws.accept()
    identifier, since = uuid.uuid4(), datetime.datetime.now()
    async for text in ws.iter_text():
        await ws.send_text(f"{identifier} {since} {text}")


@quiet
async def walrus(ws: WebSocket) -> None:
    await ws.accept()
    while (text := await ws.receive_text()) != "quit":
        await ws.send_text(text)


@quiet
async def match_statement(ws: WebSocket) -> None:
    await ws.accept()
    async for value in ws.iter_json():
        match value:
            case {"text": str(text), **rest}:
                await ws.send_text(text + str(rest))
            case [first, *others]:
                await ws.send_json([first, others])
            case other:
                await ws.send_json(other)


@quiet
async def comprehensions(ws: WebSocket) -> None:
    await ws.accept()
    letters = [letter.upper() for letter in "abc"]
    async for text in ws.iter_text():
        letters_of_text = {letter: text.count(letter) for letter in text}
        longest = max((letter for letter in letters_of_text), default="")
        await ws.send_json([letters, longest, [x async for x in _numbers(2)]])


async def _numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


@quiet
async def same_names_in_greeting(ws: WebSocket) -> None:
    """Its greeting and its answers loop with the same variables."""
    await ws.accept()
    for number, note in enumerate(SCALE):
        await ws.send_text(f"{number} {note}")
    async for text in ws.iter_text():
        for number, note in enumerate(reversed(SCALE[1:])):
            await ws.send_text(f"{number} {note} {text}")


@quiet
async def static_iterator(ws: WebSocket) -> None:
    await ws.accept()
    async for text in ws.iter_text():
        notes = iter(SCALE)
        await ws.send_text(text + next(notes) + next(notes))


@quiet
async def reader_and_writer(ws: WebSocket) -> None:
    await ws.accept()
    texts: asyncio.Queue[str] = asyncio.Queue()

    async def read() -> None:
        async for text in ws.iter_text():
            await texts.put(text)

    async def write() -> None:
        while True:
            text = await texts.get()
            await ws.send_text(text)

    writing = asyncio.create_task(write())
    try:
        await read()
    finally:
        writing.cancel()


@quiet
async def task_group(ws: WebSocket) -> None:
    await ws.accept()
    texts: asyncio.Queue[str | None] = asyncio.Queue()

    async def read() -> None:
        async for text in ws.iter_text():
            await texts.put(text)
        await texts.put(None)

    async def write() -> None:
        while (text := await texts.get()) is not None:
            await ws.send_text(text)

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        group.create_task(write())


@quiet
async def anyio_streams(ws: WebSocket) -> None:
    await ws.accept()
    sender, receiver = anyio.create_memory_object_stream[str](10)

    async def read() -> None:
        async with sender:
            async for text in ws.iter_text():
                await sender.send(text)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        async with receiver:
            async for text in receiver:
                await ws.send_text(text)


@quiet
async def race(ws: WebSocket) -> None:
    """Waits for the client and a queue, whichever is first."""
    await ws.accept()
    notes: asyncio.Queue[str] = asyncio.Queue()
    receiving = asyncio.create_task(ws.receive_text())
    noting = asyncio.create_task(notes.get())
    while True:
        done, pending = await asyncio.wait({receiving, noting}, return_when=asyncio.FIRST_COMPLETED)
        if receiving in done:
            try:
                await notes.put(receiving.result())
            except WebSocketDisconnect:
                break
            receiving = asyncio.create_task(ws.receive_text())
        if noting in done:
            await ws.send_text(noting.result())
            noting = asyncio.create_task(notes.get())
    for task in pending:
        task.cancel()


@quiet
async def new_tasks_each_time(ws: WebSocket) -> None:
    await ws.accept()
    stop = asyncio.Event()
    while not stop.is_set():
        tasks = [asyncio.create_task(ws.receive_text()), asyncio.create_task(stop.wait())]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            if isinstance(text := task.result(), str):
                await ws.send_text(text)


@quiet
async def background_tasks(ws: WebSocket) -> None:
    await ws.accept()
    tasks: set[asyncio.Task[None]] = set()
    async for text in ws.iter_text():
        task = asyncio.create_task(ws.send_text(text))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


class Order(BaseModel):
    text: str = ""
    amount: int = 1


@quiet
async def models(ws: WebSocket) -> None:
    await ws.accept()
    while True:
        try:
            order = Order.model_validate_json(await ws.receive_text())
        except ValidationError as error:
            await ws.send_text(str(error.error_count()))
            continue
        order.amount += 1
        await ws.send_text(order.model_dump_json())


@dataclasses.dataclass
class Frame:
    text: str
    parts: list[str] = dataclasses.field(default_factory=list)


@quiet
async def dataclass_each_time(ws: WebSocket) -> None:
    await ws.accept()
    async for text in ws.iter_text():
        frame = Frame(text)
        frame.parts.append(text)
        frame.parts.append(text)
        await ws.send_json(dataclasses.asdict(frame))


@quiet
async def context_managers(ws: WebSocket) -> None:
    await ws.accept()
    with _named("outer") as name:
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(logger.debug, "over")
            async for text in ws.iter_text():
                with _named("inner") as inner:
                    await ws.send_text(name + inner + text)


@contextlib.contextmanager
def _named(name: str) -> Iterator[str]:
    yield name


@quiet
async def own_generator(ws: WebSocket) -> None:
    await ws.accept()
    async for text in _texts(ws):
        await ws.send_text(text)


async def _texts(ws: WebSocket) -> AsyncIterator[str]:
    while ws.client_state is WebSocketState.CONNECTED:
        message = await ws.receive()
        if message["type"] == "websocket.disconnect":
            return
        yield message["text"]


@quiet
async def helper_functions(ws: WebSocket) -> None:
    await ws.accept()
    while await _one_more(ws):
        pass


async def _one_more(ws: WebSocket) -> bool:
    try:
        text = await ws.receive_text()
    except WebSocketDisconnect:
        return False
    await ws.send_text(text)
    return True


@quiet
async def empty_buffer(ws: WebSocket) -> None:
    """Filled and emptied within each message."""
    await ws.accept()
    buffer: collections.deque[str] = collections.deque()
    async for text in ws.iter_text():
        buffer.extend(text)
        while buffer:
            buffer.popleft()
        await ws.send_text(text)


@quiet
async def deleted(ws: WebSocket) -> None:
    await ws.accept()
    greeting = "hello"
    async for text in ws.iter_text():
        await ws.send_text(text)
        if "greeting" in vars():
            del greeting


@quiet
async def process_memory(ws: WebSocket) -> None:
    """Shared by all connections of a process: another matter, and not forgotten with an event."""
    await ws.accept()
    history, counts = shared, seen
    async for text in ws.iter_text():
        history.append(text)
        counts[text] = counts.get(text, 0) + 1
        await ws.send_text(text)


@functools.lru_cache
def _known() -> list[str]:
    return []


@quiet
async def cached_by_a_function(ws: WebSocket) -> None:
    await ws.accept()
    known = _known()
    async for text in ws.iter_text():
        known.append(text)
        await ws.send_text(text)


@quiet
async def kept_by_the_app(ws: WebSocket) -> None:
    await ws.accept()
    state = ws.app.state._state
    texts = state.setdefault("texts", [])
    async for text in ws.iter_text():
        texts.append(text)
        await ws.send_text(text)


@quiet
async def kept_in_session(ws: WebSocket) -> None:
    await ws.accept()
    session = ws.scope.setdefault("session", {"n": 0, "texts": []})
    async for text in ws.iter_text():
        session["n"] += 1
        session["texts"].append(text)
        await ws.send_text(text)


@quiet
async def kept_in_state(ws: WebSocket) -> None:
    await ws.accept()
    ws.state.texts = []
    ws.state.n = n = 0
    async for text in ws.iter_text():
        ws.state.texts.append(text)
        n = ws.state.n + 1
        ws.state.n = n
        await ws.send_text(text)


@quiet
async def tuple_targets(ws: WebSocket) -> None:
    await ws.accept()
    kind = text = rest = ""
    while kind != "quit":
        kind, _, rest = (await ws.receive_text()).partition(" ")
        [first, *_], text = list(rest or "x"), kind
        await ws.send_text(first + text)


@quiet
async def shared_with_a_function(ws: WebSocket) -> None:
    await ws.accept()
    text = ""

    def shout() -> str:
        return text.upper()

    while text != "quit":
        text = await ws.receive_text()
        await ws.send_text(await asyncio.to_thread(shout))


@quiet
async def retries(ws: WebSocket) -> None:
    await ws.accept()
    async for text in ws.iter_text():
        for attempt in itertools.count():
            try:
                await ws.send_text(f"{attempt} {text}")
            except RuntimeError:
                continue
            break


@quiet
async def close_in_the_end(ws: WebSocket) -> None:
    await ws.accept()
    try:
        async for text in ws.iter_text():
            await ws.send_text(text)
    finally:
        with contextlib.suppress(RuntimeError):
            await ws.close()


@quiet
async def cleanup_without_frames(ws: WebSocket) -> None:
    await ws.accept()
    shared.append("someone")
    try:
        await _texts_to(ws, ws.send_text)
    finally:
        shared.remove("someone")


async def _texts_to(ws: WebSocket, send: Callable[[str], Awaitable[None]]) -> None:
    async for text in ws.iter_text():
        await send(text)


@quiet
class Echo(WebSocketEndpoint):
    encoding = "text"
    greeting = "hello"

    async def on_connect(self, ws: WebSocket) -> None:
        self.name, self.latest = "echo", ""
        await ws.accept()
        await ws.send_text(self.greeting)

    async def on_receive(self, ws: WebSocket, data: Any) -> None:
        self.latest = data
        await self.answer(ws)

    async def answer(self, ws: WebSocket) -> None:
        await ws.send_text(self.name + self.latest)

    async def on_disconnect(self, ws: WebSocket, close_code: int) -> None:
        shared.append("gone")
        await ws.send_text("nobody reads this")


class Conversation:
    """An object for each connection, which hands each message on in an attribute."""

    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws
        self.text = ""
        self.parts: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        await self.ws.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                self.text = await self.ws.receive_text()
                await self.answer()

    async def answer(self) -> None:
        self.parts.extend(self.text)
        await self.ws.send_json(self.parts)
        self.parts.clear()
        self.tasks.add(asyncio.create_task(asyncio.sleep(0)))


@quiet
async def conversation(ws: WebSocket) -> None:
    await Conversation(ws).run()


class Model:
    """As of a library that writes to a database what is assigned to attributes."""

    __module__ = "starlette.models"


class User(Model):
    texts = 0


@quiet
async def row_of_a_database(ws: WebSocket) -> None:
    user = User()
    await ws.accept()
    async for text in ws.iter_text():
        user.texts += 1
        await ws.send_text(text)


@quiet
async def heartbeat(ws: WebSocket) -> None:
    """Goes on by itself, message or no message."""

    async def beat() -> None:
        beats = 0
        while True:
            beats += 1
            await asyncio.sleep(3 if beats > 2 else 0)

    await ws.accept()
    beating = asyncio.create_task(beat())
    try:
        async for text in ws.iter_text():
            await ws.send_text(text)
    finally:
        beating.cancel()


@quiet
async def generator_on_the_stack(ws: WebSocket) -> None:
    await ws.accept()
    scale = itertools.cycle(SCALE)
    while True:
        note, text = next(scale), await ws.receive_text()
        await ws.send_text(note + text)


@quiet
async def nested_loops(ws: WebSocket) -> None:
    await ws.accept()
    running = True
    while running:
        async for text in ws.iter_text():
            words = text.split()
            total = 0
            for index, word in enumerate(words):
                total += index * len(word)
            await ws.send_json({"total": total, "last": words[-1:]})
        running = False


@quiet
async def dispatcher(ws: WebSocket) -> None:
    handlers: dict[str, Callable[[str], Awaitable[None]]] = {"echo": ws.send_text}
    await ws.accept()
    handler = handlers["echo"]
    async for text in ws.iter_text():
        handler = handlers.get(text, ws.send_text)
        await handler(text)


@quiet
async def lock_and_semaphore(ws: WebSocket) -> None:
    lock, semaphore = asyncio.Lock(), asyncio.Semaphore(3)
    await ws.accept()
    async for text in ws.iter_text():
        async with lock, semaphore:
            result = error = None
            try:
                result = text.upper()
            except ValueError as e:
                error = e
            await ws.send_text(str(error or result))


@quiet
async def ticker(ws: WebSocket) -> None:
    """Is now here, now there while it does not wait for the client itself."""
    await ws.accept()
    receiving = asyncio.create_task(ws.receive_text())
    while True:
        for _ in range(3):
            await asyncio.sleep(0.03)
        await asyncio.sleep(0.02)
        if receiving.done():
            try:
                await ws.send_text(receiving.result())
            except WebSocketDisconnect:
                return
            receiving = asyncio.create_task(ws.receive_text())
