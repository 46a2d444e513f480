"""One app file with groups: each client hears the same under uvicorn and behind API Gateway."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from longwire import Longwire
from tests.lambda_events import LambdaContext, connect_event
from tests.parity import rooms
from tests.parity.hosts import HOSTS, Processes, on_uvicorn
from tests.parity.rooms import ROOMS, app

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.parity.hosts import Address

    Step = tuple[str, str, Sequence[str]]

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

everywhere = pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)


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
        async with asyncio.timeout(40):  # as long as a busy machine takes
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


async def test_a_handler_that_nobody_has_closed_takes_nothing_from_a_server(tmp_path: Path) -> None:
    """As where a program has called a handler, and then serves the app itself."""
    handler = Longwire(app, ws_config={"backend": "memory"}, lifespan="off")
    event = connect_event(query={"path": ["/nowhere"]})
    assert (await handler.handle(event, LambdaContext()))["statusCode"] == 403
    async with on_uvicorn(app, tmp_path) as address:
        heard = await _play(address, "/in_except", TALK[:3])
    assert heard["bob"] == ["bob joined", "ann: hi"]
    await handler.aclose()


@pytest.mark.parametrize("room", [rooms.in_except, rooms.before_accept, rooms.by_threads])
async def test_a_room_in_processes_gives_it_too(room: Any, tmp_path: Path) -> None:
    """Each message may be handled by another process than the one before."""
    with Processes(tmp_path, "tests.parity.rooms:app") as processes:
        heard = await _play(processes.address(""), f"/{room.__name__}", TALK)
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
