"""Endpoints of one task that remember what they were told: counters, logins, games and forms."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import random
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from tests.parity.frameworks.socket import Socket


def hear(what: str) -> None:
    """Append a line to the file PARITY_HEARD, which tells what endpoints do when they are left."""
    file = os.open(os.environ["PARITY_HEARD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{what}\n".encode())
    os.close(file)


async def count(socket: Socket) -> None:
    await socket.accept()
    counted = 0
    while True:
        text = await socket.receive()
        counted += 1
        await socket.send(f"{counted} {text[:10]}")


async def count_from(socket: Socket) -> None:
    """The greeting is the number that it counts from."""
    await socket.accept()
    counted = 10
    while True:
        await socket.send(str(counted))
        await socket.receive()
        counted += 1


async def history(socket: Socket) -> None:
    await socket.accept()
    texts: list[str] = []
    while True:
        texts.append(await socket.receive())
        await socket.send(json.dumps(texts))


async def last_three(socket: Socket) -> None:
    await socket.accept()
    texts: deque[str] = deque(maxlen=3)
    while True:
        texts.append(await socket.receive())
        await socket.send(" ".join(texts))


async def sizes(socket: Socket) -> None:
    """Messages may be large; all of them are kept."""
    await socket.accept()
    texts = []
    while True:
        texts.append(await socket.receive())
        await socket.send(f"{len(texts)} {sum(map(len, texts))} {texts[0][-3:]}")


async def log_in(socket: Socket) -> None:
    """Close the connection of who does not begin with a name."""
    await socket.accept()
    name = await socket.receive()
    if not name.startswith("I am "):
        return await socket.close(4401, "who are you?")
    await socket.send("welcome")
    while True:
        await socket.send(f"{name[5:]}: {await socket.receive()}")


async def log_in_soon(socket: Socket) -> None:
    """The first message has to come within 1.5 seconds, the others may take longer."""
    await socket.accept()
    try:
        name = await asyncio.wait_for(socket.receive(), 1.5)
    except TimeoutError:
        return await socket.close(4408, "too late")
    while True:
        await socket.send(f"{name}: {await socket.receive()}")


async def log_in_and_out(socket: Socket) -> None:
    """Three tries for the password; afterwards it may be changed."""
    await socket.accept()
    password = "secret"
    while True:
        for tries in range(3):
            if await socket.receive() == password:
                break
            await socket.send(f"{2 - tries} tries left")
        else:
            return await socket.close(4403, "no")
        await socket.send("in")
        while (text := await socket.receive()) != "out":
            password = text
            await socket.send("changed")
        await socket.send("out")


async def begin_first(socket: Socket) -> None:
    """A handshake as GraphQL has it, and then questions with ids."""
    await socket.accept()
    if json.loads(await socket.receive())["type"] != "connection_init":
        return await socket.close(4401, "Unauthorized")
    await socket.send(json.dumps({"type": "connection_ack"}))
    used: set[str] = set()
    while True:
        asked = json.loads(await socket.receive())
        if asked["type"] == "connection_init":
            return await socket.close(4429, "Too many initialisation requests")
        if asked["id"] in used:
            return await socket.close(4409, f"Subscriber for {asked['id']} already exists")
        used.add(asked["id"])
        await socket.send(json.dumps({"id": asked["id"], "type": "next"}))


async def json_rpc(socket: Socket) -> None:
    """What a server of MCP or LSP does: initialize, then tools, then the end."""
    await socket.accept()
    client: dict[str, Any] | None = None
    calls = 0
    while True:
        asked = json.loads(await socket.receive())
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": asked.get("id")}
        match asked["method"]:
            case "initialize":
                client = asked["params"]
                answer["result"] = {"protocolVersion": client["protocolVersion"]}
            case "exit":
                return await socket.close()
            case "initialized":
                continue
            case _ if client is None:
                answer["error"] = {"code": -32002, "message": "not initialized"}
            case "tools/call":
                calls += 1
                answer["result"] = {"calls": calls, "for": client["clientInfo"]["name"]}
            case other:
                answer["error"] = {"code": -32601, "message": f"no {other}"}
        await socket.send(json.dumps(answer))


QUIZ = {"1 + 1": "2", "2 + 2": "4", "3 * 3": "9"}


async def quiz(socket: Socket) -> None:
    await socket.accept()
    score = 0
    for question, answer in QUIZ.items():
        await socket.send(question)
        score += await socket.receive() == answer
    await socket.send(f"{score} of {len(QUIZ)}")
    await socket.close(4000, "over")


async def cart(socket: Socket) -> None:
    await socket.accept()
    items: dict[str, int] = {}
    while True:
        match (await socket.receive()).split():
            case ["add", name]:
                items[name] = items.get(name, 0) + 1
                await socket.send(f"{name}: {items[name]}")
            case ["remove", name]:
                await socket.send("removed" if items.pop(name, None) else "not there")
            case _:
                await socket.send(json.dumps(items))


async def _ask(socket: Socket, what: str) -> str:
    await socket.send(f"your {what}?")
    return await socket.receive()


async def wizard(socket: Socket) -> None:
    """Steps that are functions, of which one is repeated until its answer is right."""
    await socket.accept()
    name = await _ask(socket, "name")
    while not (age := await _ask(socket, "age")).isdigit():
        await socket.send("a number, please")
    if await _ask(socket, "consent") == "yes":
        await socket.send(f"{name} is {age}")


async def guess(socket: Socket) -> None:
    """The numbers are random, but the same in each game."""
    await socket.accept()
    numbers = random.Random(7)
    secret, tries = numbers.randint(1, 100), 0
    while True:
        text, tries = await socket.receive(), tries + 1
        if (number := int(text)) == secret:
            await socket.send(f"yes, by {tries}")
            secret, tries = numbers.randint(1, 100), 0
        else:
            await socket.send("higher" if number < secret else "lower")


async def calculate(socket: Socket) -> None:
    """A stack, and errors that change nothing of it."""
    await socket.accept()
    stack: list[int] = []
    while True:
        text = await socket.receive()
        try:
            if text == "+":
                stack[-2:] = [stack[-2] + stack[-1]]
            else:
                stack.append(int(text))
            await socket.send(str(stack))
        except (ValueError, IndexError) as error:
            await socket.send(type(error).__name__)


async def crash_third(socket: Socket) -> None:
    await socket.accept()
    texts: list[str] = []
    while True:
        texts.append(await socket.receive())
        if len(texts) == 3:
            raise ValueError("the third")
        await socket.send(str(len(texts)))


async def close_third(socket: Socket) -> None:
    await socket.accept()
    for number in range(3):
        await socket.send(f"{number} {await socket.receive()}")
    await socket.close(4003, "three are enough")


async def return_third(socket: Socket) -> None:
    await socket.accept()
    texts = [await socket.receive() for _ in range(3)]
    await socket.send(" ".join(texts))


def _average() -> Generator[float, float, None]:
    total, number, average = 0.0, 0, 0.0
    while True:
        total, number = total + (yield average), number + 1
        average = total / number


async def by_generator(socket: Socket) -> None:
    await socket.accept()
    averages = _average()
    next(averages)
    while True:
        await socket.send(str(averages.send(float(await socket.receive()))))


async def _pages(socket: Socket) -> AsyncIterator[list[int]]:
    """Each page is asked for."""
    begin = 0
    while True:
        size = int(await socket.receive())
        yield list(range(begin, begin + size))
        begin += size


async def by_pages(socket: Socket) -> None:
    await socket.accept()
    async for page in _pages(socket):
        await socket.send(json.dumps(page))


user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


async def by_variable(socket: Socket) -> None:
    """Who has logged in is known to a task of each message, too."""
    await socket.accept()

    async def answer(text: str) -> None:
        await socket.send(f"{user.get()}: {text}")

    while True:
        text = await socket.receive()
        if text.startswith("I am "):
            user.set(text[5:])
        await asyncio.create_task(answer(text))


@asynccontextmanager
async def _opened(names: list[str], name: str) -> AsyncIterator[None]:
    names.append(name)
    try:
        yield
    finally:
        names.remove(name)


async def by_contexts(socket: Socket) -> None:
    """Contexts that are entered by one message and left by another."""
    await socket.accept()
    names: list[str] = []
    while True:
        async with AsyncExitStack() as stack:
            while (text := await socket.receive()) != "close":
                await stack.enter_async_context(_opened(names, text))
                await socket.send(" ".join(names))
        await socket.send(f"open: {names}")


async def busily(socket: Socket) -> None:
    """What comes in meanwhile waits."""
    await socket.accept()
    done = 0
    while True:
        text = await socket.receive()
        await asyncio.sleep(0.2)
        done += 1
        await socket.send(f"{done} {text}")


async def in_threads(socket: Socket) -> None:
    await socket.accept()
    texts: list[str] = []
    while True:
        await asyncio.to_thread(texts.append, await socket.receive())
        await socket.send(await asyncio.to_thread(" ".join, texts))


async def streams(socket: Socket) -> None:
    """Each answer is a stream, and its words are numbered throughout."""
    await socket.accept()
    number = 0
    while True:
        for word in (await socket.receive()).split():
            await asyncio.sleep(0.05)
            number += 1
            await socket.send(f"{number} {word}")


async def farewell(socket: Socket) -> None:
    """What is done at the end knows all that was said."""
    await socket.accept()
    texts: list[str] = []
    try:
        while True:
            texts.append(await socket.receive())
            await socket.send(str(len(texts)))
            if texts[-1] == "crash":
                raise ValueError("as told")
            if texts[-1] == "close":
                return await socket.close()
    finally:
        hear(f"{type(socket).__name__} heard {' '.join(texts)}")


ENDPOINTS = [
    count,
    count_from,
    history,
    last_three,
    sizes,
    log_in,
    log_in_soon,
    log_in_and_out,
    begin_first,
    json_rpc,
    quiz,
    cart,
    wizard,
    guess,
    calculate,
    crash_third,
    close_third,
    return_third,
    by_generator,
    by_pages,
    by_variable,
    by_contexts,
    busily,
    in_threads,
    streams,
    farewell,
]
