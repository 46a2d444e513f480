"""What happens in a stack at scale: each scenario is played from a seed and comes to figures."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.deadlines import PATIENCE
from longwire.exceptions import BackendError
from tests.campaigns.chaos.clock import BEGIN
from tests.campaigns.scale import facts, money
from tests.campaigns.scale.functions import Function, KilledError, ThrottledError
from tests.campaigns.scale.money import Usage
from tests.campaigns.scale.world import World, ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.campaigns.scale.functions import Environment
    from tests.campaigns.scale.gateway import Region

SPEAKER = "Speaker0000000A="
TEXT = "x" * 200
# Seconds until what was deferred is over, and a handshake is no longer new.
PAUSE = 5.0


class Reached(NamedTuple):
    """What became of one send to everybody.

    Attributes:
        members: how many were in the group.
        handed_over: seconds until its sender had its answer.
        half: seconds until half of all had it.
        last: seconds until everybody had it who did.
        once: how many got it exactly once.
        twice: how many got it more often.
        gone: how many had left before without a word.
        slow: how many of those who got nothing do not read.
        lost: who of those who read got nothing.
        refused: how many posts were answered 429.
        busiest: posts that API Gateway took in the busiest second.
        environments: how many ran at once.
        again: how many parts were handed out again.
        dollars: what it cost.
    """

    members: int
    handed_over: float
    half: float
    last: float
    once: int
    twice: int
    gone: int
    slow: int
    lost: int
    refused: int
    busiest: int
    environments: int
    again: int
    dollars: float


class Crowd(NamedTuple):
    """Who is in a group: the shares of those who have gone, and of those who do not read.

    `patience` is the handler's setting `slow_client`.
    """

    gone: float = 0.0
    slow: float = 0.0
    patience: float = PATIENCE


def reach(
    members: int,
    seed: int,
    function: Function | None = None,
    *,
    crowd: Crowd | None = None,
    kills: Sequence[float] = (),
    sender_dies: int | None = None,
    fanout: bool = True,
    region: Region | None = None,
) -> Reached:
    """Send one message to everybody.

    Args:
        members: how many are in the group, with the speaker.
        seed: of all that is random.
        function: how the function and its queue are configured.
        crowd: what is wrong with some of them.
        kills: how many seconds after the beginning of the first parts their processes are killed.
        sender_dies: the sender's process is killed when so many parts are in the queue.
        fanout: whether there is a queue.
        region: the account's limits.
    """
    crowd = crowd or Crowd()
    world = World(seed, function, fanout=fanout, region=region, slow_client=crowd.patience)
    everybody = ids(members - 1)
    left = {one for one in everybody if world.random.random() < crowd.gone}
    spans: list[float] = []

    async def play() -> None:
        await world.connect(SPEAKER)
        world.seat(everybody)
        world.gateway.connected -= left
        for one in everybody:
            if world.random.random() < crowd.slow:
                world.gateway.full[one] = math.inf
        await asyncio.sleep(PAUSE)
        _kill(world, kills, sender_dies)
        spans.append(world.now())
        with contextlib.suppress(KilledError):
            await world.say(SPEAKER, TEXT)
        spans.append(world.now())
        await world.source.run()

    world.run(play)
    began, answered = spans
    got, times = world.gateway.got, world.gateway.times
    silent = [one for one in (*everybody, SPEAKER) if one not in left and not got[one]]
    slow = sum(one in world.gateway.full for one in silent)
    return Reached(
        members=members,
        handed_over=answered - began,
        half=times[len(times) // 2] - began if times else math.inf,
        last=times[-1] - began if times else math.inf,
        once=sum(count == 1 for count in got.values()),
        twice=sum(count > 1 for count in got.values()),
        gone=len(left),
        slow=slow,
        lost=len(silent) - slow,
        refused=world.gateway.answers[429],
        busiest=int(world.gateway.peak.most),
        environments=world.function.most,
        again=world.source.failed,
        dollars=money.dollars(world.usage() + Usage(messages=1)),
    )


def _kill(world: World, parts: Sequence[float], sender_dies: int | None) -> None:
    """Kill the processes of the next parts, and that of the sender."""
    waiting = list(parts)

    def begin(environment: Environment, event: dict[str, Any]) -> None:
        if "Records" not in event and sender_dies is not None:
            world.queue.on_sent = lambda: _kill_at(world, sender_dies, environment)
        elif "Records" in event and waiting:
            seconds = waiting.pop(0)
            asyncio.get_running_loop().call_later(seconds, environment.kill_in, environment.events)

    world.function.on_event = begin


def _kill_at(world: World, sent: int, environment: Environment) -> None:
    if world.queue.sent >= sent:
        environment.kill()


class Stormed(NamedTuple):
    """What became of clients that all connect again.

    Attributes:
        clients: how many there were.
        seconds: until the last one was connected.
        refused: handshakes that API Gateway refused, as too many; they are tried again.
        failed: handshakes that the function did not accept.
        throttled: requests that DynamoDB refused.
        environments: how many ran at once.
        unserved: events for which Lambda had no environment.
        dollars: what it cost.
    """

    clients: int
    seconds: float
    refused: int
    failed: int
    throttled: int
    environments: int
    unserved: int
    dollars: float


def storm(clients: int, seed: int, *, rooms: int = 1, within: float = 1.0) -> Stormed:
    """Let clients connect anew whose connections broke at the same time, each until it is in.

    Their first attempts come within so many seconds.
    """
    world = World(seed)
    failed = 0
    last = 0.0

    async def come(name: str, number: int) -> None:
        nonlocal failed, last
        pause = within
        await asyncio.sleep(world.random.random() * within)
        while True:
            if world.gateway.handshake():
                if await _enters(world, name, f"room-{number % rooms}"):
                    break
                failed += 1
            # As good clients do: longer each time, and not all at once.
            pause = min(2 * pause, 60.0)
            await asyncio.sleep(pause * world.random.random())
        last = world.now()

    async def play() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number, name in enumerate(ids(clients)):
                tasks.create_task(come(name, number))

    world.run(play)
    return Stormed(
        clients=clients,
        seconds=last,
        refused=world.gateway.handshakes.refused,
        failed=failed,
        throttled=world.table.throttled,
        environments=world.function.most,
        unserved=world.function.throttled,
        dollars=money.dollars(world.usage()),
    )


async def _enters(world: World, name: str, room: str) -> bool:
    try:
        await world.connect(name, room)
    except (ThrottledError, BackendError):
        return False
    return True


class Talked(NamedTuple):
    """What a sample of a chat came to.

    Attributes:
        messages: how many were said.
        wanting: how many did not reach everybody once, or not in order.
        median: seconds from a message to the last one who got it.
        usage: what was charged, for one message.
    """

    messages: int
    wanting: int
    median: float
    usage: Usage


def talk(audience: int, messages: int, seed: int, *, replay: bool = False) -> Talked:
    """Let a client say so many things to a room, one after the other."""
    world = World(seed, replay=replay)
    others = ids(audience - 1)
    times: list[float] = []
    spent: list[Usage] = []

    async def play() -> None:
        await world.connect(SPEAKER)
        world.seat(others)
        await asyncio.sleep(PAUSE)
        await world.say(SPEAKER, "warm")
        await world.source.run()
        world.gateway.keeps_frames = True
        before = world.usage()
        for number in range(messages):
            began = world.now()
            await world.say(SPEAKER, f"{number:05}".ljust(len(TEXT), "x"))
            await world.source.run()
            await world.function.settle()
            times.append(world.gateway.times[-1] - began)
            await asyncio.sleep(PAUSE)
        spent.append(world.usage() + before * -1.0)

    world.run(play)
    expected = [f"{number:05}".ljust(len(TEXT), "x").encode() for number in range(messages)]
    wanting = sum(world.gateway.frames.get(one) != expected for one in (*others, SPEAKER))
    usage = (spent[0] + Usage(messages=messages)) * (1 / messages)
    return Talked(messages, wanting, sorted(times)[messages // 2], usage)


class Swept(NamedTuple):
    """What one sweep came to.

    Attributes:
        connections: how many records there were.
        checked: about how many API Gateway was asked.
        gone: how many of these it did not know.
        seconds: how long it took.
        reads: units of DynamoDB, and `requests` to it.
        incomplete: why not all were looked at.
        dollars: what it cost.
    """

    connections: int
    checked: int
    gone: int
    seconds: float
    reads: float
    incomplete: str | None
    dollars: float


def sweep(
    connections: int,
    seed: int,
    *,
    gone: float = 0.01,
    rate: float | None = None,
    timeout: float = facts.LONGEST.value,
    times: int = 1,
) -> list[Swept]:
    """Sweep a store of old connections, some of which have gone without a word."""
    world = World(seed, Function(timeout=timeout), named=True)
    swept: list[Swept] = []

    async def play() -> None:
        await world.connect("model=")
        world.settle_in(ids(connections), "model=", connected_at=BEGIN - 3_000)
        for one in ids(connections):
            if world.random.random() < gone:
                world.gateway.connected.discard(one)
        for _ in range(times):
            before, began = world.usage(), world.now()
            event = {"longwire": "sweep"} | ({} if rate is None else {"rate": rate})
            answer = await world.function.invoke(event)
            await world.function.settle()
            spent = world.usage() + before * -1.0
            swept.append(
                Swept(
                    connections=connections,
                    checked=answer["checked"],
                    gone=answer["gone"],
                    seconds=world.now() - began,
                    reads=spent.reads,
                    incomplete=answer["incomplete"],
                    dollars=money.dollars(spent),
                )
            )
            await asyncio.sleep(PAUSE)

    world.run(play)
    return swept
