"""The smaller part of the campaign: real processes, a real store and real sockets, and SIGKILL.

What happens here depends on the machine's mood, so a seed tells only what was tried.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

from longwire_backends.sqlite3.backend import SQLite3Backend
from tests.campaigns.chaos.apps import COUNTING, KINDS
from tests.connections_server import ConnectionsServer
from tests.lambda_events import connect_event, disconnect_event, message_event

ROOT = Path(__file__).parents[3]

# Processes at a time, and conversations.
PROCESSES = 4
WIDTH = 12
# Seconds that an event may take, and how late its answer may be on a busy machine.
SECONDS = 5.0
LATE = 5.0
# How many of the events kill their process, at a random moment of so many seconds.
KILLING = 0.15
MOMENTS = 0.015
# How long a record may live at most.
LIFETIME = 10_000

# Those of whose frames none is sent twice by design when a connect step is cut off, and who log no
# traceback: see `known.py`.
APPS = [
    kind.body.__name__
    for kind in KINDS
    if kind.body.__name__ not in ("ticker", "early_receiver", "raiser", "returner", "refuser")
]


# With `replay`, those that count too.
APPS_IN_TURNS = APPS + [kind.body.__name__ for kind in COUNTING] * 4


class Child:
    """A process that handles events."""

    def __init__(self, world: World, process: asyncio.subprocess.Process) -> None:
        self.killed = False
        self._world = world
        self._process = process
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def ask(self, event: dict[str, Any]) -> Any:
        """Return the answer; None when the process is killed before."""
        assert self._process.stdin is not None
        number = next(self._world.numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        asked = {"number": number, "event": event, "seconds": SECONDS}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        if self._reading.done():
            return None
        try:
            async with asyncio.timeout(SECONDS + LATE):
                return await answer
        except TimeoutError:
            self._world.violated(f"an event takes longer than its {SECONDS:g} s: {event}")
            return None

    def kill(self) -> None:
        """Kill it, as only the system can."""
        self.killed = True
        if self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        """Let it end by itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._reading
        await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._hear(line)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(None)
        await self._process.wait()
        if not self.killed and self._process.returncode:
            self._world.violated(f"a process ended by itself, with {self._process.returncode}")

    def _hear(self, line: bytes) -> None:
        match json.loads(line):
            case {"told": str(connection_id), "code": code}:
                self._world.tell(connection_id, code)
            case {"heard": str(connection_id), "texts": texts}:
                self._world.heard(connection_id, texts)
            case {"violated": what}:
                self._world.violated(what)
            case {"error": error, "number": number}:
                if not error.startswith("DeadlineError("):  # which its client hears of
                    self._world.violated(f"an event raised {error}")
                self._answers.pop(number).set_result(None)
            case {"answer": answer, "number": number}:
                if not (asked := self._answers.pop(number)).done():
                    asked.set_result(answer)


class World:
    """The clients, the processes and what they share."""

    def __init__(self, seed: int, folder: Path, server: ConnectionsServer, *, replay: bool) -> None:
        self.replay = replay
        self.random = Random(f"{seed}/real")
        self.numbers = itertools.count()
        self.violations: list[str] = []
        self.told: defaultdict[str, list[int]] = defaultdict(list)
        self.histories: defaultdict[str, list[list[str]]] = defaultdict(list)
        self.rooms: dict[str, str] = {}
        self.events: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        self.apps: Counter[str] = Counter()
        self.server = server
        self.store = folder / "store.sqlite3"
        self.log = folder / "log.txt"
        self._children: list[Child] = []

    def violated(self, what: str) -> None:
        self.violations.append(what)

    def tell(self, connection_id: str, code: int) -> None:
        self.told[connection_id].append(code)
        if len(self.told[connection_id]) > 1:
            self.violated(f"the app was told of the end of {connection_id} again")

    def heard(self, connection_id: str, texts: list[str]) -> None:
        """See that each message is handled once, with `replay`, by who knows those before it."""
        if not self.replay:
            return
        known = self.histories[connection_id]
        if any(before[-1] == texts[-1] for before in known):
            self.violated(f"{texts[-1]!r} of {connection_id} was handled twice")
        for before in known:
            if before[: len(texts)] != texts[: len(before)]:
                self.violated(f"the app of {connection_id} was given {texts}, and {before}")
        known.append(texts)

    async def start(self) -> Child:
        how = self.random.choice(("call", "handle"))
        replay = ("replay",) * self.replay
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *(
                    "-m",
                    "tests.campaigns.chaos.child",
                    str(self.store),
                    self.server.url,
                    how,
                    *replay,
                ),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={key: value for key, value in os.environ.items() if "AWS" not in key},
            )
        return Child(self, process)

    async def fill(self) -> None:
        """Start what is missing."""
        self._children += [await self.start() for _ in range(PROCESSES - len(self._children))]

    async def invoke(self, kind: str, event: dict[str, Any]) -> Any:
        """Let some process handle an event, and kill it meanwhile, perhaps."""
        while not self._children:  # somebody is starting them
            await asyncio.sleep(0.01)
        child = self.random.choice(self._children)
        self.events[kind] += 1
        answer = asyncio.create_task(child.ask(event))
        if self.random.random() < KILLING:
            await asyncio.wait({answer}, timeout=self.random.uniform(0.0, MOMENTS))
            if child in self._children:
                self._children.remove(child)
                self.kills[kind if not answer.done() else f"{kind}, after the response"] += 1
                child.kill()
                await self.fill()
        return await answer

    async def converse(self, index: int) -> None:
        """Let one client come, speak and leave."""
        connection_id, app = (
            f"real{index}=",
            self.random.choice(APPS_IN_TURNS if self.replay else APPS),
        )
        self.rooms[connection_id] = room = f"room{index // WIDTH}"
        self.apps[app] += 1
        hello = connect_event(connection_id, query={"app": [app], "room": [room]})
        answer = await self.invoke("connect", hello)
        if answer is None or answer["statusCode"] != 200:
            return
        self.server.known.add(connection_id)
        speaking = []
        for number in range(self.random.randint(1, 4)):
            event = message_event(f"m{number}", connection_id)
            speaking.append(asyncio.create_task(self.invoke("message", event)))
            if self.random.random() < 0.7:
                await speaking[-1]
        if self.random.random() < 0.5:
            await asyncio.wait(speaking)
        self.server.known.discard(connection_id)
        for _ in range(self.random.choice((0, 1, 1, 2))):
            await self.invoke("disconnect", disconnect_event(connection_id, 1001))
        await asyncio.wait(speaking)

    async def finish(self) -> None:
        """Find who has left unnoticed, and look at what is left."""
        self.server.known.clear()
        await self.fill()
        sweep = {"longwire": "sweep", "rate": 10_000, "min_age": 0}
        await self._children[0].ask(sweep)
        for child in self._children:
            await child.stop()
        self._look_at_frames()
        if "Traceback" in (log := self.log.read_text()):
            self.violated(f"a process has logged {log[log.index('Traceback') :][:2000]}")
        store = SQLite3Backend(self.store, clock=lambda: time.time() + LIFETIME)
        await store.sweep()
        await store.close()
        later = SQLite3Backend(self.store, clock=lambda: 0.0)
        if left := (await later.connections()).members:
            self.violated(f"records without an expiry: {left}")
        for room in set(self.rooms.values()):
            if left := (await later.group_members(room)).members:
                self.violated(f"memberships without an expiry, in {room}: {left}")
        await later.close()

    def _look_at_frames(self) -> None:
        for (to, frame), count in Counter(self.server.delivered).items():
            owner, kind, _ = frame.decode().split(" ", 2)
            if count > 1:
                self.violated(f"{to} got {frame!r} {count} times")
            if kind != "all" and owner not in (to, self.rooms[to]):
                self.violated(f"{to} got {frame!r}")


async def storm(seed: int, conversations: int, *, replay: bool = False) -> World:
    """Play so many conversations with real processes."""
    with tempfile.TemporaryDirectory() as folder:
        async with ConnectionsServer(unknown_is_gone=True) as server:
            world = World(seed, Path(folder), server, replay=replay)
            await world.fill()
            waiting = iter(range(conversations))

            async def some() -> None:
                for index in waiting:
                    await world.converse(index)

            await asyncio.gather(*(some() for _ in range(WIDTH)))
            await world.finish()
    return world
