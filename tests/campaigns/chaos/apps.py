"""Apps of every shape, whose frames say whose they are, why they were sent, and which they are.

A frame is `owner kind number`, and no two are the same. What an app sends before it receives is
what every run of it sends again, so these frames depend on nothing but the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire import Connections
from longwire.exceptions import ConnectionGoneError, LongwireError
from tests.campaigns.chaos.socket import AppError, Host, Socket, Witness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Body = Callable[[Socket], Awaitable[None]]

connections = Connections()

# Frames that the streamer sends for each message.
PIECES = 20


async def echo(ws: Socket) -> None:
    await ws.accept()
    while (text := await ws.receive()) is not None:
        await ws.think()
        await ws.send("reply", f"{text}.0")


async def greeting(ws: Socket) -> None:
    await ws.think()
    await ws.accept()
    for number in range(4):
        await ws.send("greet", number)
    while (text := await ws.receive()) is not None:
        for number in range(3):
            await ws.send("reply", f"{text}.{number}")


async def reader_and_writer(ws: Socket) -> None:
    await ws.accept()
    await ws.send("greet", 0)
    texts: asyncio.Queue[str | None] = asyncio.Queue()

    async def read() -> None:
        while (text := await ws.receive()) is not None:
            texts.put_nowait(text)
        texts.put_nowait(None)

    async def write() -> None:
        while (text := await texts.get()) is not None:
            await ws.think()
            await ws.send("reply", f"{text}.0")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        tasks.create_task(write())


async def early_receiver(ws: Socket) -> None:
    """Receive in a task of its own, begun before it accepts, as Quart and Channels do."""
    texts: asyncio.Queue[str | None] = asyncio.Queue()

    async def read() -> None:
        while (text := await ws.receive()) is not None:
            texts.put_nowait(text)
        texts.put_nowait(None)

    await ws.accept()
    reader = asyncio.create_task(read())
    await ws.think()
    await ws.send("greet", 0)
    try:
        while (text := await texts.get()) is not None:
            await ws.send("reply", f"{text}.0")
    finally:
        reader.cancel()


async def stream(ws: Socket) -> None:
    await ws.accept()
    for number in range(6):
        await ws.send("greet", number)
        await asyncio.sleep(0.05)
    while (text := await ws.receive()) is not None:
        await ws.send("reply", f"{text}.0")


async def slow_start(ws: Socket) -> None:
    """Greet for longer than a handshake may wait."""
    await ws.accept()
    for number in range(3):
        await asyncio.sleep(0.6)
        await ws.send("greet", number)
    while (text := await ws.receive()) is not None:
        await ws.send("reply", f"{text}.0")


async def stream_and_end(ws: Socket) -> None:
    await ws.accept()
    for number in range(5):
        await asyncio.sleep(0.05)
        await ws.send("greet", number)


async def ticker(ws: Socket) -> None:
    """Send by a task of its own while it receives."""
    await ws.accept()

    async def tick() -> None:
        for number in range(4):
            await asyncio.sleep(0.04)
            await ws.send("tick", number)

    async with asyncio.TaskGroup() as tasks:
        ticking = tasks.create_task(tick())
        while (text := await ws.receive()) is not None:
            await ws.send("reply", f"{text}.0")
        ticking.cancel()


async def room(ws: Socket) -> None:
    """Chat in a group, which is joined before the handshake is answered."""
    await connections.group_add(ws.room, ws.id)
    await ws.accept()
    await ws.send("greet", 0)
    while (text := await ws.receive()) is not None:
        await connections.group_send(ws.room, f"{ws.room} room {ws.id}.{text}")
        await ws.send("reply", f"{text}.0")


async def late_room(ws: Socket) -> None:
    """Chat in a group, which is joined by a message; its end is told to the others."""
    await ws.accept()
    while (text := await ws.receive()) is not None:
        await connections.group_add(ws.room, ws.id)
        await connections.group_send(ws.room, f"{ws.room} room {ws.id}.{text}")
    for group in await connections.groups(ws.id):
        await connections.group_send(group, f"{group} room {ws.id}.left")


async def to_all(ws: Socket) -> None:
    await ws.accept()
    while (text := await ws.receive()) is not None:
        await connections.broadcast(f"{ws.id} all {text}", exclude=ws.id)
        await ws.send("reply", f"{text}.0")


async def counter(ws: Socket) -> None:
    """Number its replies, by a list that it keeps in a local variable."""
    await ws.accept()
    await ws.send("greet", 0)
    history: list[str] = []
    while (text := await ws.receive()) is not None:
        await ws.think()
        await ws.send("reply", f"{text}.{len(history)}")
        history.append(text)


async def slow_counter(ws: Socket) -> None:
    """Think for so long that the next message mostly comes meanwhile."""
    await ws.accept()
    history: list[str] = []
    while (text := await ws.receive()) is not None:
        await asyncio.sleep(0.4)
        await ws.think()
        await ws.send("reply", f"{text}.{len(history)}")
        history.append(text)


async def streamer(ws: Socket) -> None:
    """Stream for each message, until the next one stops that."""
    await ws.accept()
    count, streaming = 0, None

    async def go_on(text: str, number: int) -> None:
        with contextlib.suppress(LongwireError):
            for piece in range(PIECES):
                await asyncio.sleep(0.05)
                await ws.send("piece", f"{text}.{number}.{piece}")

    while (text := await ws.receive()) is not None:
        if streaming is not None:
            streaming.cancel()
        await ws.send("reply", f"{text}.{count}")
        streaming = asyncio.create_task(go_on(text, count))
        count += 1
    if streaming is not None:
        streaming.cancel()


async def closer(ws: Socket) -> None:
    await ws.accept()
    await ws.send("greet", 0)
    while (text := await ws.receive()) is not None:
        await ws.send("reply", f"{text}.0")
        if text == "m1":
            await ws.close()
            return


async def raiser(ws: Socket) -> None:
    await ws.accept()
    while (text := await ws.receive()) is not None:
        await ws.send("reply", f"{text}.0")
        if text == "m1":
            raise AppError


async def returner(ws: Socket) -> None:
    """Return after a message, with a task that is not done."""
    await ws.accept()
    text = await ws.receive()
    if text is None:
        return

    async def afterwards() -> None:
        await asyncio.sleep(0.1)
        await ws.think()

    task = asyncio.create_task(afterwards())
    await ws.send("reply", f"{text}.0")
    task.add_done_callback(lambda _: None)


async def refuser(ws: Socket) -> None:
    await ws.think()
    await ws.close()


class Kind(NamedTuple):
    """An app, and what its clients see of it on a calm day.

    Attributes:
        greets: how many frames it sends at first, and of which kind.
        replies: how many it sends for each message.
        others: the kind of the frames that others get of a message.
        ends_after: how many messages it takes; 0 for none, None for any number.
        accepts: whether there is a connection at all.
        in_order: whether its frames have one order only.
        counts: it numbers its replies, which only `replay` makes right.
        pieces: how many frames it streams after its reply.
    """

    body: Body
    greets: int = 0
    replies: int = 1
    greet: str = "greet"
    others: str = ""
    ends_after: int | None = None
    accepts: bool = True
    in_order: bool = True
    counts: bool = False
    pieces: int = 0


KINDS = (
    Kind(echo),
    Kind(greeting, greets=4, replies=3),
    Kind(reader_and_writer, greets=1),
    Kind(early_receiver, greets=1),
    Kind(stream, greets=6),
    Kind(slow_start, greets=3),
    Kind(stream_and_end, greets=5, replies=0, ends_after=0),
    Kind(ticker, greets=4, greet="tick", in_order=False),
    # A message of another connection may overtake a greeting: see `docs/differences.md`.
    Kind(room, greets=1, others="room", in_order=False),
    Kind(late_room, replies=0, others="room"),
    Kind(to_all, others="all"),
    Kind(closer, greets=1, ends_after=2),
    Kind(raiser, ends_after=2),
    Kind(returner, ends_after=1),
    Kind(refuser, accepts=False),
)
COUNTING = (
    Kind(counter, greets=1, counts=True),
    Kind(slow_counter, counts=True),
)
# As many as of the others.
KINDS_IN_TURNS = KINDS + COUNTING * 5 + (Kind(streamer, counts=True, pieces=PIECES),) * 4


def make_app(choose: Callable[[Any], Body], witness: Witness, process: Host) -> Any:
    """Make the ASGI app of one process, with a lifespan whose state it looks for.

    Args:
        choose: scope -> what to do with this connection.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(scope, receive, send, process)
            return
        if scope["state"]["process"] is not process:
            witness.violated("an app has the state of another process")
        ws = Socket(process, witness, scope, receive, send)
        try:
            await choose(scope)(ws)
        except (ConnectionGoneError, ExceptionGroup) as error:
            await _learn(ws, error)

    return app


async def _live(scope: Any, receive: Any, send: Any, process: Host) -> None:
    await receive()
    scope["state"]["process"] = process
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _learn(ws: Socket, error: Exception) -> None:
    """Receive after a send has failed, as an app does that wants the code; or raise."""
    if isinstance(error, ConnectionGoneError) and not ws.gone and error.connection_id == ws.id:
        await ws.receive()
        return
    raise error


ALLOWED = (AppError, LongwireError)
"""What an app may raise here, and Longwire log."""
