"""Endpoints that keep something which the next event will not know.

Each says what is to be told; the comment HERE is on the line that is to be named.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import enum
import inspect
import json
import os
from typing import TYPE_CHECKING, Any

from starlette.endpoints import WebSocketEndpoint
from starlette.websockets import WebSocket, WebSocketDisconnect

from longwire import Connections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FILE = os.path.relpath(__file__)
ENDPOINTS: list[tuple[Any, str]] = []
ELSEWHERE = "the app waits for the client in another line than after connect: the next message "
IN_VAIN = (
    "sent while only the event ends; that has no effect: the connection goes on (docs/state.md)"
)


def changed(name: str) -> str:
    return (
        f"{name!r} changed while a message was handled and will be forgotten: keep it in ws.state "
        "(docs/state.md)"
    )


def loud(text: str) -> Callable[[Any], Any]:
    def add(endpoint: Any) -> Any:
        lines, first = inspect.getsourcelines(endpoint)
        here = [first + number for number, line in enumerate(lines) if "# HERE" in line]
        at_first = [first + number for number, line in enumerate(lines) if "# FIRST" in line]
        again = f"will be given to line {at_first[0]} again (docs/state.md)" if at_first else ""
        ENDPOINTS.append((endpoint, f"{FILE}:{here[0]}: {text}{again}"))
        return endpoint

    return add


@loud(changed("messages"))
async def a_list(ws: WebSocket) -> None:
    await ws.accept()
    messages = []
    while True:
        text = await ws.receive_text()  # HERE
        messages.append(text)
        await ws.send_text(str(len(messages)))


@loud(changed("count"))
async def a_number(ws: WebSocket) -> None:
    await ws.accept()
    count = 0
    async for _ in ws.iter_text():  # HERE
        count += 1
        await ws.send_text(str(count))


@loud(changed("total"))
async def in_one_statement(ws: WebSocket) -> None:
    """Its sum is not in the variable while it waits."""
    await ws.accept()
    total = 0
    while True:
        total += len(await ws.receive_text())  # HERE
        await ws.send_text(str(total))


@loud(changed("errors"))
async def in_an_error_handler(ws: WebSocket) -> None:
    await ws.accept()
    errors = 0
    while True:
        try:
            value = json.loads(await ws.receive_text())  # HERE
        except json.JSONDecodeError:
            errors += 1
            if errors > 3:
                await ws.close()
                return
            continue
        await ws.send_json(value)


@loud(changed("user"))
async def from_none(ws: WebSocket) -> None:
    await ws.accept()
    user = None
    async for text in ws.iter_text():  # HERE
        if user is None:
            user = text
        await ws.send_text(user)


class Step(enum.Enum):
    NAME = 1
    AGE = 2


@loud(changed("step"))
async def an_enum(ws: WebSocket) -> None:
    await ws.accept()
    step = Step.NAME
    async for _ in ws.iter_text():  # HERE
        step = Step.AGE if step is Step.NAME else Step.NAME
        await ws.send_text(step.name)


@loud(changed("words"))
async def a_counter(ws: WebSocket) -> None:
    await ws.accept()
    words: collections.Counter[str] = collections.Counter()
    async for text in ws.iter_text():  # HERE
        words[text] += 1
        await ws.send_json(words)


@dataclasses.dataclass(slots=True)
class Player:
    name: str = ""
    inventory: dict[str, list[int]] = dataclasses.field(default_factory=dict)


@loud(changed("player"))
async def a_dataclass(ws: WebSocket) -> None:
    await ws.accept()
    player = Player()
    async for text in ws.iter_text():  # HERE
        player.inventory.setdefault("texts", []).append(len(text))
        await ws.send_json(player.inventory)


@loud(changed("count"))
async def in_an_inner_function(ws: WebSocket) -> None:
    await ws.accept()
    count = 0

    async def answer() -> None:
        nonlocal count
        count += 1
        await ws.send_text(str(count))

    async for _ in ws.iter_text():  # HERE
        await answer()


@loud(changed("answers"))
async def in_a_task(ws: WebSocket) -> None:
    await ws.accept()
    answers: list[str] = []

    async def read() -> None:
        async for text in ws.iter_text():
            answers.append(text)
            await ws.send_text(str(len(answers)))

    async with asyncio.TaskGroup() as group:  # HERE
        group.create_task(read())


@loud(changed("number"))
async def questions(ws: WebSocket) -> None:
    """How far a loop has come is state, too."""
    await ws.accept()
    for number in range(10):
        await ws.send_text(f"question {number}")
        await ws.receive_text()  # HERE


@loud(ELSEWHERE)
async def login_first(ws: WebSocket) -> None:
    await ws.accept()
    name = await ws.receive_text()  # FIRST
    await ws.send_text("hello")
    while True:
        await ws.send_text(name + await ws.receive_text())  # HERE


@loud(ELSEWHERE)
async def dialogue(ws: WebSocket) -> None:
    """The function that waits is the same; who has called it is not."""
    await ws.accept()
    name = await _ask(ws, "name?")  # FIRST
    age = await _ask(ws, "age?")  # HERE
    await ws.send_text(name + age)


async def _ask(ws: WebSocket, question: str) -> str:
    await ws.send_text(question)
    return await ws.receive_text()


@loud(IN_VAIN)
async def farewell(ws: WebSocket) -> None:
    await ws.accept()
    try:
        async for text in ws.iter_text():
            await ws.send_text(text)
    finally:
        await ws.send_text("bye")  # HERE


@loud(IN_VAIN)
async def farewell_to_others(ws: WebSocket) -> None:
    connections = Connections()
    await ws.accept()
    await connections.group_add("all", ws)
    try:
        while True:
            await connections.group_send("all", await ws.receive_text())
    except WebSocketDisconnect:
        pass
    finally:
        await _tell_all("someone left")  # HERE


async def _tell_all(text: str) -> None:
    await Connections().group_send("all", text)


@loud(IN_VAIN)
async def farewell_to_another(ws: WebSocket) -> None:
    connections = Connections()
    await ws.accept()
    try:
        while True:
            await ws.send_text(await ws.receive_text())
    finally:
        await connections.send(ws, "left")  # HERE


@loud(IN_VAIN)
async def farewell_in_a_context_manager(ws: WebSocket) -> None:
    @contextlib.asynccontextmanager
    async def joined() -> AsyncIterator[None]:
        await ws.accept()
        try:
            yield
        finally:
            await ws.send_text("left")  # HERE

    async with joined():
        async for text in ws.iter_text():
            await ws.send_text(text)


@loud(changed("self.count"))
class Count(WebSocketEndpoint):
    encoding = "text"
    count = 0

    async def on_receive(self, ws: WebSocket, data: Any) -> None:
        self.count += 1  # HERE
        await ws.send_text(f"{self.count} {data}")


@loud(changed("self.texts"))
class Texts(WebSocketEndpoint):
    encoding = "text"

    async def on_connect(self, ws: WebSocket) -> None:
        self.texts: list[str] = []
        await ws.accept()

    async def on_receive(self, ws: WebSocket, data: Any) -> None:
        self.texts.append(data)  # HERE
        await ws.send_text(str(len(self.texts)))


@loud(changed("self.name"))
class Login(WebSocketEndpoint):
    """Assigned by one message, and read by another."""

    encoding = "text"
    name = ""

    async def on_receive(self, ws: WebSocket, data: Any) -> None:
        if not self.name:
            self.name = data  # HERE
        await ws.send_text(f"hello {self.name}")


@loud(ELSEWHERE)
async def login_in_a_race(ws: WebSocket) -> None:
    """Where what waits for the client is a task without any code of the app's own."""
    await ws.accept()
    stop = asyncio.create_task(asyncio.Event().wait())
    first = asyncio.create_task(ws.receive_text())
    await asyncio.wait({stop, first}, return_when=asyncio.FIRST_COMPLETED)  # FIRST
    name = first.result()
    while True:
        text = asyncio.create_task(ws.receive_text())
        await asyncio.wait({stop, text}, return_when=asyncio.FIRST_COMPLETED)  # HERE
        await ws.send_text(name + text.result())
