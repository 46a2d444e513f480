"""6. Bytes that are not UTF-8, pings and the idle time, ids that never existed, large posts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.live.findings import Finding, judged, unmeasured
from tests.live.world import Closed, hear_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.live.world import Client, World

# Of the shape that ids have, and of none.
NEVER, NONSENSE = "AAAAAAAAAAAAAAA=", "no-id"
KB = 1024
NOT_UTF8 = b"\xff\xfe"
PATIENCE = 15.0
# API Gateway closes after ten minutes without a message.
IDLE, PING_EVERY = 720.0, 60.0

Heard = str | bytes | Closed | None


async def measure(world: World) -> list[Finding]:
    """Post and send what is odd."""
    return [
        judge_status("a post to an id that never existed", 410, await _post_to(world, NEVER)),
        judge_status("a post to what is no id", 400, await _post_to(world, NONSENSE)),
        *[await _post(world, size) for size in (33 * KB, 128 * KB, 128 * KB + 1)],
        await _post_bytes(world),
        judge_close(
            "text of a client that is not UTF-8", 1007, await _say(world, NOT_UTF8, text=True)
        ),
        judge_close("a binary frame of a client", 1003, await _say(world, b"abc", text=False)),
        judge_close(
            "a frame of 40 KB of a client", 1009, await _say(world, b"x" * 40 * KB, text=True)
        ),
        await _idle(world),
    ]


def judge_status(about: str, assumed: int, status: int) -> Finding:
    """Judge the status of a request to `@connections`."""
    return judged(about, str(assumed), str(status), so=status == assumed, status=status)


def judge_post(size: int, status: int, heard: Heard) -> Finding:
    """Judge a post of so many bytes."""
    about, within = f"a post of {size:,} bytes", size <= 128 * KB
    seen = f"{status}, " + describe(heard)
    if within:
        whole = isinstance(heard, (str, bytes)) and len(heard) == size
        return judged(
            about, "200, and comes whole", seen, so=status == 200 and whole, status=status
        )
    return judged(about, "413, and nothing comes", seen, so=status == 413 and heard is None)


def judge_bytes(status: int, heard: Heard) -> Finding:
    """Judge a post of bytes that are not UTF-8."""
    about, assumed = "a post of bytes that are not UTF-8", "do not come as they are"
    seen = f"{status}, {describe(heard)}"
    return judged(about, assumed, seen, so=heard != NOT_UTF8, status=status)


def judge_close(about: str, assumed: int, heard: Heard) -> Finding:
    """Judge how a connection ended."""
    code = heard.code if isinstance(heard, Closed) else None
    return judged(about, f"closed with {assumed}", describe(heard), so=code == assumed, code=code)


def judge_idle(pongs: Sequence[bool], lasted: float, heard: Heard) -> Finding:
    """Judge whether pings kept a connection open."""
    about, assumed = (
        "pings and the idle time",
        "pings do not keep a connection open: 1001 after 600 s",
    )
    seen = f"{sum(pongs)} of {len(pongs)} pings answered; after {lasted:.0f} s: {describe(heard)}"
    closed = isinstance(heard, Closed) and heard.code == 1001
    return judged(about, assumed, seen, so=closed and 540 <= lasted <= 680, seconds=lasted)


def describe(heard: Heard) -> str:
    """Say in a few words what came."""
    match heard:
        case None:
            return "nothing comes"
        case Closed(None):
            return "the connection breaks, without a close frame"
        case Closed():
            return f"closed with {heard.code}" + (f" {heard.reason!r}" if heard.reason else "")
        case bytes():
            return f"{len(heard):,} bytes in a binary frame" + _short(heard)
        case str():
            return f"{len(heard):,} characters" + _short(heard)


def _short(heard: str | bytes) -> str:
    return f" {heard!r}" if len(heard) < 40 else ""


async def _post_to(world: World, connection_id: str) -> int:
    return await world.manage("POST", connection_id, b"hello")


async def _own_id(client: Client) -> str:
    await client.say("?")
    told = await hear_json(client, PATIENCE, "connection_id")
    if told is None:
        raise RuntimeError("the app at /who did not answer")
    connection_id: str = told["connection_id"]
    return connection_id


async def _post(world: World, size: int) -> Finding:
    async with world.connect("main", "/who", "near") as client:
        status = await world.manage("POST", await _own_id(client), b"x" * size)
        # Nothing is waited for shortly only: it would be there already.
        heard = await client.hear(PATIENCE if status == 200 else 3.0)
    return judge_post(size, status, heard)


async def _post_bytes(world: World) -> Finding:
    async with world.connect("main", "/who", "near") as client:
        status = await world.manage("POST", await _own_id(client), NOT_UTF8)
        return judge_bytes(status, await client.hear(PATIENCE))


async def _say(world: World, data: bytes, *, text: bool) -> Heard:
    async with world.connect("main", "/echo", "near") as client:
        await client.say_bytes(data, text=text)
        return await client.hear(PATIENCE)


async def _idle(world: World) -> Finding:
    if not world.long:
        about, assumed = "pings and the idle time", "pings do not keep a connection open"
        return unmeasured(about, assumed, "takes 12 minutes: ask for it with LONG=1")
    async with world.connect("main", "/echo", "near") as client:
        return await watch_idle(client, world)


async def watch_idle(client: Client, world: World) -> Finding:
    """Ping, and say nothing, until the connection ends or should have."""
    pongs: list[bool] = []
    began = world.now()
    while (heard := await client.hear(PING_EVERY)) is None and world.now() - began < IDLE:
        pongs.append(await client.ping(PATIENCE))
    return judge_idle(pongs, world.now() - began, heard)
