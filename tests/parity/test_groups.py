"""One app file with groups: each client hears the same under uvicorn and behind API Gateway."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from longwire import Connections, LongwireError
from longwire.targets import known_id
from tests.parity.hosts import HOSTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from tests.parity.hosts import Address

    Step = tuple[str, str, Sequence[str]]

pytestmark = pytest.mark.anyio

connections = Connections()
everywhere = pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)


def _name(websocket: WebSocket) -> str:
    return websocket.query_params["name"]


async def _tell(text: str, **options: Any) -> None:
    await connections.group_send("room", text, **options)


# Ways to write a chat room


async def _join(websocket: WebSocket) -> None:
    await websocket.accept()
    await connections.group_add("room", websocket)
    await _tell(f"{_name(websocket)} joined")


async def in_except(websocket: WebSocket) -> None:
    await _join(websocket)
    try:
        while True:
            await _tell(f"{_name(websocket)}: {await websocket.receive_text()}")
    except WebSocketDisconnect:
        await _tell(f"{_name(websocket)} left")


async def after_the_loop(websocket: WebSocket) -> None:
    await _join(websocket)
    async for text in websocket.iter_text():
        await _tell(f"{_name(websocket)}: {text}")
    await connections.group_discard("room", websocket)
    await _tell(f"{_name(websocket)} left")


async def in_finally(websocket: WebSocket) -> None:
    await _join(websocket)
    try:
        async for text in websocket.iter_text():
            await _tell(f"{_name(websocket)}: {text}")
    finally:
        await connections.group_discard("room", websocket)
        await _tell(f"{_name(websocket)} left")


async def before_accept(websocket: WebSocket) -> None:
    """Join first: the others are told at once, oneself after the acceptance."""
    await connections.group_add("room", websocket)
    await _tell(f"{_name(websocket)} joined", exclude=[websocket])
    await websocket.accept()
    await connections.send(websocket, f"{_name(websocket)} joined")
    try:
        while True:
            await _tell(f"{_name(websocket)}: {await websocket.receive_text()}")
    except WebSocketDisconnect:
        await _tell(f"{_name(websocket)} left")


async def in_tasks(websocket: WebSocket) -> None:
    """Nothing is awaited, as in apps that hand everything to a background task."""
    tasks = set()

    def begin(text: str) -> None:
        tasks.add(asyncio.create_task(_tell(text)))

    await websocket.accept()
    await connections.group_add("room", websocket)
    begin(f"{_name(websocket)} joined")
    async for text in websocket.iter_text():
        begin(f"{_name(websocket)}: {text}")
    await asyncio.gather(*tasks, _tell(f"{_name(websocket)} left"))


async def by_threads(websocket: WebSocket) -> None:
    """Synchronous code that the app runs in threads."""

    async def tell(text: str) -> None:
        await asyncio.to_thread(connections.sync.group_send, "room", text)

    await websocket.accept()
    await connections.group_add("room", websocket)
    await tell(f"{_name(websocket)} joined")
    async for text in websocket.iter_text():
        await tell(f"{_name(websocket)}: {text}")
    await tell(f"{_name(websocket)} left")


ROOMS = [in_except, after_the_loop, in_finally, before_accept, in_tasks, by_threads]


# What one does to another, and to oneself


async def commands(websocket: WebSocket) -> None:
    await websocket.accept()
    await connections.group_add("room", websocket)
    await connections.group_add("quiet", websocket)
    await websocket.send_text("ready")
    try:
        async for text in websocket.iter_text():
            await COMMANDS[text](websocket)
    finally:
        groups = await connections.groups(websocket)
        await _tell(f"{_name(websocket)} was in {groups}; {await _refused(websocket)}")


async def _refused(websocket: WebSocket) -> str:
    """Return what becomes of what one does to oneself after the end."""
    said = []
    for work in (connections.send(websocket, "x"), connections.group_add("room", websocket)):
        try:
            await work
        except LongwireError as error:
            said.append(type(error).__name__)
    return ", ".join(said)


async def _kick(websocket: WebSocket) -> None:
    me = known_id(websocket)
    for member in [one async for one in connections.group_members("room") if one != me]:
        await connections.close(member)


async def _write_to_oneself(websocket: WebSocket) -> None:
    me = known_id(websocket)
    assert me is not None
    await connections.send(me, "by id")
    await connections.send(websocket, "by object")
    await websocket.send_text("by framework")


async def _close_oneself(websocket: WebSocket) -> None:
    await connections.close(websocket)


async def _count(websocket: WebSocket) -> None:
    result = await connections.group_send("room", "count me")
    await websocket.send_text(f"{len(result.delivered)} {len(result.gone)} {result.failed}")


COMMANDS: dict[str, Callable[[WebSocket], Awaitable[None]]] = {
    "kick": _kick,
    "self": _write_to_oneself,
    "close": _close_oneself,
    "count": _count,
}
app = Starlette(
    routes=[WebSocketRoute(f"/{each.__name__}", each) for each in [*ROOMS, commands]],
)


# Clients


async def _play(address: Address, path: str, steps: Sequence[Step]) -> dict[str, list[str]]:
    """Play the steps: (who, what, who then hears one frame more); return what each has heard."""
    heard: dict[str, list[str]] = {}
    clients: dict[str, ClientConnection] = {}
    async with AsyncExitStack() as stack:
        for who, what, hearers in steps:
            if who not in clients:
                url = address(path, [("name", who)])
                clients[who] = await stack.enter_async_context(connect(url, compression=None))
                heard[who] = []
            if what == "leaves":
                await clients[who].close()
            elif what:
                await clients[who].send(what)
            for hearer in hearers:
                heard[hearer].append(await _next(clients[hearer]))
    return heard


async def _next(client: ClientConnection) -> str:
    try:
        async with asyncio.timeout(10):
            return str(await client.recv())
    except ConnectionClosed as closed:
        return f"closed with {closed.rcvd.code if closed.rcvd else None}"


TALK: list[Step] = [
    ("ann", "", ["ann"]),
    ("bob", "", ["ann", "bob"]),
    ("ann", "hi", ["ann", "bob"]),
    ("bob", "hello", ["ann", "bob"]),
    ("ann", "bye", ["ann", "bob"]),
    ("bob", "leaves", ["ann"]),
    ("ann", "alone", ["ann"]),
]


@everywhere
@pytest.mark.parametrize("room", ROOMS)
async def test_a_room_gives_one_transcript(room: Any, host: Any, tmp_path: Path) -> None:
    """Joins once each, every message once to each, and one end: however the app is written."""
    async with host(app, tmp_path) as address:
        heard = await _play(address, f"/{room.__name__}", TALK)
    talk = ["ann: hi", "bob: hello", "ann: bye"]
    assert heard["bob"] == ["bob joined", *talk]
    assert heard["ann"] == ["ann joined", "bob joined", *talk, "bob left", "ann: alone"]


READY: list[Step] = [("ann", "", ["ann"]), ("bob", "", ["bob"])]
END = "('quiet', 'room'); ConnectionGoneError, ConnectionGoneError"
SCRIPTS: dict[str, tuple[list[Step], dict[str, list[str]]]] = {
    "one closes another": (
        [*READY, ("ann", "kick", ["bob", "ann"]), ("ann", "count", ["ann", "ann"])],
        {
            "ann": ["ready", f"bob was in {END}", "count me", "1 0 {}"],
            "bob": ["ready", "closed with 1000"],
        },
    ),
    "to oneself": (
        [*READY, ("ann", "self", ["ann", "ann", "ann"]), ("bob", "count", ["bob", "bob", "ann"])],
        {
            "ann": ["ready", "by id", "by object", "by framework", "count me"],
            "bob": ["ready", "count me", "2 0 {}"],
        },
    ),
    "the client leaves": (
        [*READY, ("bob", "leaves", ["ann"]), ("ann", "count", ["ann", "ann"])],
        {"ann": ["ready", f"bob was in {END}", "count me", "1 0 {}"], "bob": ["ready"]},
    ),
    "one closes oneself": (
        [*READY, ("bob", "close", ["bob", "ann"]), ("ann", "count", ["ann", "ann"])],
        {
            "ann": ["ready", f"bob was in {END}", "count me", "1 0 {}"],
            "bob": ["ready", "closed with 1000"],
        },
    ),
}


@everywhere
@pytest.mark.parametrize(("steps", "expected"), SCRIPTS.values(), ids=SCRIPTS)
async def test_single_connections_give_one_transcript(
    steps: list[Step], expected: dict[str, list[str]], host: Any, tmp_path: Path
) -> None:
    """Also what an app is told about itself after its end."""
    async with host(app, tmp_path) as address:
        assert await _play(address, "/commands", steps) == expected
