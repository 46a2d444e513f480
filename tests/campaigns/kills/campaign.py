"""kill -9 at random moments, under `longwire dev --instances 3 --freeze` with Lambda's usual 3 s.

    python -m tests.campaigns.kills --seed 7 --conversations 500

Real clients send numbers, one after the other, while the function's processes are killed. What
must hold: a number is answered once, by its reply or by API Gateway's error frame (or both, when
the process died behind its post); nobody gets what belongs to another; no number is swallowed.
The order of kills comes from the seed, but what they hit depends on the machine. With
`--replay` it is the campaign of `turns.py`.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

ROOT = Path(__file__).parents[3]

# Conversations at a time: one process of three is mostly free to be killed while it is idle.
WIDTH = 2
NUMBERS = 4
# Seconds until a number that nobody answers counts as swallowed: more than the function has.
PATIENCE = 12.0
# Seconds between two kills, at most.
MOMENTS = 0.6


class Tally:
    """What the clients have seen."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.kills = 0
        self.violations: list[str] = []


@contextlib.asynccontextmanager
async def gateway(pids: Path, target: str, *options: str, seed: int) -> AsyncIterator[str]:
    """Run the local gateway; its URL is that of the WebSocket API."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "longwire", "dev", target, "--port", "0", "--freeze", *options),
        cwd=pids,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONUNBUFFERED": "1",
            "KILLS_PIDS": str(pids),
            "KILLS_SEED": str(seed),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    ready = re.search(r"ws://127\.0\.0\.1:\d+", (await process.stdout.readline()).decode())
    assert ready is not None
    reading = asyncio.create_task(_drain(process.stdout))
    try:
        yield ready[0]
    finally:
        process.terminate()
        await process.wait()
        await reading


async def _drain(output: asyncio.StreamReader) -> None:
    while await output.readline():
        pass


async def _kill(random: Random, pids: Path, tally: Tally) -> None:
    """Kill one of the function's processes, again and again."""
    while True:
        await asyncio.sleep(random.random() * MOMENTS)
        alive = sorted(int(name) for name in os.listdir(pids) if name.isdecimal())
        if alive:
            victim = random.choice(alive)
            (pids / str(victim)).unlink()
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                tally.kills += 1


async def _converse(url: str, name: str, tally: Tally) -> None:
    try:
        async with connect(f"{url}/?name={name}", open_timeout=30) as client:
            for number in range(NUMBERS):
                await client.send(str(number))
                tally.seen[await _answer(client, name, number, tally)] += 1
    except InvalidHandshake:
        tally.seen["handshake refused"] += 1
    except ConnectionClosed:
        tally.seen["closed"] += 1


async def _answer(client: ClientConnection, name: str, number: int, tally: Tally) -> str:
    """Wait for what answers a number; nothing else may come for anybody else, nor twice."""
    until = time.monotonic() + PATIENCE
    heard: set[str] = set()
    while True:
        try:
            async with asyncio.timeout(until - time.monotonic()):
                frame = str(await client.recv())
        except TimeoutError:
            tally.violations.append(f"{name}: {number} was swallowed")
            return "swallowed"
        if frame.startswith("{"):
            return str(json.loads(frame)["message"])
        owner, _, said = frame.partition(" ")
        if owner != name:
            tally.violations.append(f"{name} got {frame!r}")
        if said in heard or (said.isdecimal() and int(said) > number):
            tally.violations.append(f"{name} got {frame!r} twice, or before it was asked for")
        heard.add(said)
        if said == str(number):
            return "replied"


async def campaign(seed: int, conversations: int) -> Tally:
    """Play so many conversations, some at a time, while processes are killed."""
    random, tally = Random(seed), Tally()
    names = iter([f"c{number}" for number in range(conversations)])

    async def play(url: str) -> None:
        for name in names:
            await _converse(url, name, tally)

    with tempfile.TemporaryDirectory() as folder:
        options = ("--timeout", "3", "--instances", "3")
        target = "tests.campaigns.kills.app:app"
        async with gateway(Path(folder), target, *options, seed=seed) as url:
            killing = asyncio.create_task(_kill(random, Path(folder), tally))
            await asyncio.gather(*(play(url) for _ in range(WIDTH)))
            killing.cancel()
    return tally


def main() -> int:
    """Run the campaign and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--conversations", type=int, default=500)
    parser.add_argument("--replay", action="store_true", help="that of turns.py")
    options = parser.parse_args()
    began = time.monotonic()
    if options.replay:
        from tests.campaigns.kills import turns

        tally = asyncio.run(turns.campaign(options.seed, options.conversations))
    else:
        tally = asyncio.run(campaign(options.seed, options.conversations))
    took = time.monotonic() - began
    print(
        f"kills, seed {options.seed}: {options.conversations} conversations in {took:.0f} s, "
        f"{tally.kills} kills"
    )
    for what, times in sorted(tally.seen.items()):
        print(f"{times:8} {what}")
    if tally.violations:
        print("VIOLATED:", *tally.violations, sep="\n")
    return 1 if tally.violations else 0
