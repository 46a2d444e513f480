"""kill -9, SIGSTOP and a store that fails, with `replay`: no message twice, no number back.

    python -m tests.campaigns.kills --replay --seed 7 --conversations 3000

Clients send messages, one by one or several at once, to an app that numbers its replies by a local
variable. Its processes die and stand still at chosen moments (`turns_app.py`), and at random ones.
What must hold: no message is handled twice, each is handled by who knows all before it, in the
order of the journal; no frame comes twice; the numbers never go back; each message is answered, by
its reply or by API Gateway's error frame. What is known of crashes is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.campaigns.kills.campaign import Tally, gateway

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

TABLE = """CREATE TABLE heard (
    at INTEGER PRIMARY KEY, name TEXT, text TEXT, history TEXT, pid INTEGER, time REAL)"""

# Conversations at a time, and processes.
WIDTH = 5
PROCESSES = 10
# Seconds that the function has, and until a message that nobody answers counts as swallowed.
TIMEOUT = 8
PATIENCE = 2 * TIMEOUT + 4.0
# Seconds for which a process that has stopped itself stands still: longer than a lease.
STANDSTILL = 4.0
# Seconds between two random kills, stops and outages of the store, at most.
KILLS, STOPS, OUTAGES = 8.0, 20.0, 60.0
# A reply that comes later than this is late, as who waits for a lease that nobody renews is.
LATE = 1.5
# Seconds that a client waits for what may still come.
CALM = 0.4


class Client:
    """One client, and what it has sent and got."""

    def __init__(self, name: str, how: str, tally: Tally, folder: Path) -> None:
        self.name = name
        self.how = how
        self.sent: dict[str, float] = {}
        self.frames: list[str] = []
        self.errors = 0
        self._tally = tally
        self._cuts = folder / "cuts"

    async def converse(self, url: str, random: Random) -> None:
        seen = self._tally.seen
        query = f"name={self.name}&how={self.how.replace(' ', '+')}"
        try:
            async with connect(f"{url}/?{query}", open_timeout=60) as client:
                for _ in range(random.randint(1, 3)):
                    await self._speak(client, random)
                    if random.random() < 0.1:
                        seen["left amid its messages"] += 1
                        return
                await self._listen(client, lambda: False, CALM)
        except InvalidHandshake:
            seen["handshake refused"] += 1
        except ConnectionClosed:
            seen["closed by the function"] += 1

    async def _speak(self, client: ClientConnection, random: Random) -> None:
        """Send one message or some, and wait until each is answered."""
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            text = f"m{len(self.sent)}"
            self.sent[text] = time.monotonic()
            await client.send(text)
        await asyncio.sleep(random.choice((0.0, 0.0, 0.3)))
        if not await self._listen(client, lambda: len(self.unanswered) <= self.errors, PATIENCE):
            # Of what another event's process had taken when it died, nobody says that it failed.
            if self.errors or self.how == "slow start":
                lost = len(self.unanswered) - self.errors
                self._tally.seen["window: lost without an error frame of its own"] += lost
            elif all(map(self._was_cut_off, self.unanswered)):
                self._tally.seen["window: stopped until its event's time was over"] += 1
            else:
                self._tally.violations.append(
                    f"{self.name}: {self.unanswered} swallowed, {self.errors} errors: {self.frames}"
                )
            self.errors = len(self.unanswered)

    def _was_cut_off(self, text: str) -> bool:
        """Tell whether the app was cancelled as it answered; two standstills take all its time."""
        cuts = self._cuts.read_text().splitlines() if self._cuts.exists() else []
        return any(line.endswith(f" {self.name}.{text}") for line in cuts)

    @property
    def unanswered(self) -> list[str]:
        answered = {frame.split(".")[1] for frame in self.frames if frame.startswith("reply.")}
        return [text for text in self.sent if text not in answered]

    async def _listen(self, client: ClientConnection, done: object, seconds: float) -> bool:
        until = time.monotonic() + seconds
        assert callable(done)
        while not done():
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    self._hear(str(await client.recv()))
            except TimeoutError:
                return False
        return True

    def _hear(self, frame: str) -> None:
        if frame.startswith("{"):
            self.errors += 1
            self._tally.seen[f"frame: {json.loads(frame)['message']}"] += 1
            return
        owner, _, said = frame.partition(" ")
        if owner != self.name:
            self._tally.violations.append(f"{self.name} got {frame!r}")
        if said in self.frames:
            self._tally.violations.append(f"{self.name} got {frame!r} twice: {self.frames}")
        if said.startswith("reply."):
            took = time.monotonic() - self.sent[said.split(".")[1]]
            self._tally.seen["reply"] += 1
            self._tally.seen["reply later than 1.5 s"] += took > LATE
        self.frames.append(said)


class Judge:
    """Compares what clients have got with what the app was given."""

    def __init__(self, folder: Path, tally: Tally) -> None:
        with contextlib.closing(sqlite3.connect(folder / "heard.sqlite3")) as table:
            rows = table.execute("SELECT name, text, history, pid FROM heard ORDER BY at")
            self._heard = defaultdict(list)
            for name, text, history, pid in rows:
                self._heard[name].append((text, history.split(), pid))
        self._tally = tally

    def judge(self, client: Client, *, stopped: bool) -> None:
        """Look at one conversation; `stopped`: a process may have stood still meanwhile."""
        heard, seen = self._heard[client.name], self._tally.seen
        texts = [text for text, _, _ in heard if text != "end"]
        for text, count in Counter(texts).items():
            if count > 1:
                self._violated(client, f"{text} was handled {count} times")
        if len(heard) - len(texts) > 1:
            self._violated(client, "its end was told twice")
        stories = [[*history, text] for text, history, _ in heard]
        known = max(stories, key=len, default=[])
        for story in stories:
            if story != known[: len(story)]:
                self._violated(client, f"the app was given {story}, and {known}")
        # Who is stopped while it has a message handles it behind the next one, of another owner.
        if stories != sorted(stories, key=len):
            self._moved(client, "it handles messages out of order", stopped=stopped)
        state = known[:-1] if known[-1:] == ["end"] else known
        replies = [frame.split(".") for frame in client.frames if frame.startswith("reply.")]
        for _, text, number in replies:
            if text not in state or state.index(text) + 1 != int(number):
                self._violated(client, f"{text} was number {number}, but the app knows {state}")
        numbers = [int(number) for _, _, number in replies]
        if numbers != sorted(numbers):
            self._moved(client, "its numbers go back", stopped=stopped)
        answered = {text for _, text, _ in replies}
        seen["message"] += len(client.sent)
        seen["window: in the state, but its reply was lost"] += len(set(state) - answered)
        seen["window: in the state, but the app never had it with effect"] += len(
            set(state) - set(texts)
        )
        seen["not in the state"] += len(set(client.sent) - set(state))
        seen["end told"] += known[-1:] == ["end"]

    def _moved(self, client: Client, what: str, *, stopped: bool) -> None:
        if stopped:
            self._tally.seen[f"window: two owners, as one was stopped: {what}"] += 1
        else:
            self._violated(client, what)

    def _violated(self, client: Client, what: str) -> None:
        story = f"; got {client.frames}, the app {self._heard[client.name]}"
        self._tally.violations.append(f"{client.name} ({client.how}): {what}{story}")


class Bad:
    """Kills, stops and outages at random moments."""

    def __init__(self, seed: int, folder: Path, tally: Tally) -> None:
        self._random = Random(f"{seed}/bad")
        self._folder = folder
        self._tally = tally
        self._waking = 0  # lines of the file of stops that have been seen to

    async def kill(self) -> None:
        while True:
            await asyncio.sleep(self._random.random() * KILLS)
            if (victim := self._victim()) is not None:
                (self._folder / str(victim)).unlink(missing_ok=True)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    self._tally.kills += 1

    async def stop(self) -> None:
        while True:
            await asyncio.sleep(self._random.random() * STOPS)
            if (victim := self._victim()) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGSTOP)
                    self._tally.seen["stopped at random"] += 1
                    await asyncio.sleep(STANDSTILL)
                    os.kill(victim, signal.SIGCONT)

    async def fail(self) -> None:
        while True:
            await asyncio.sleep(self._random.random() * OUTAGES)
            (self._folder / "away").touch()
            self._tally.seen["store away for 1 s"] += 1

    async def wake(self) -> None:
        """Let those go on who have stopped themselves."""
        while True:
            await asyncio.sleep(0.05)
            with contextlib.suppress(FileNotFoundError):
                lines = (self._folder / "stops").read_text().splitlines()
                for line in lines[self._waking :]:
                    pid = int(line.split(" ", 1)[0])
                    asyncio.get_running_loop().call_later(STANDSTILL, _go_on, pid)
                self._waking = len(lines)

    def _victim(self) -> int | None:
        alive = sorted(int(name) for name in os.listdir(self._folder) if name.isdecimal())
        return self._random.choice(alive) if alive else None


def _go_on(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


async def campaign(seed: int, conversations: int) -> Tally:
    """Play so many conversations, some at a time, in bad weather."""
    tally, clients = Tally(), []
    hows = ("count", "count", "slow", "stream", "slow start")
    randoms = [Random(f"{seed}/{number}") for number in range(conversations)]
    waiting = iter(enumerate(randoms))

    async def play(url: str) -> None:
        for number, random in waiting:
            clients.append(client := Client(f"c{number}", random.choice(hows), tally, folder))
            await client.converse(url, random)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with contextlib.closing(sqlite3.connect(folder / "heard.sqlite3")) as table, table:
            table.execute("PRAGMA journal_mode=WAL")
            table.execute(TABLE)
        options = ("--instances", str(PROCESSES), "--timeout", str(TIMEOUT), "--unordered")
        target = "tests.campaigns.kills.turns_app:handler"
        async with gateway(folder, target, *options, seed=seed) as url:
            bad = Bad(seed, folder, tally)
            doing = [asyncio.create_task(each()) for each in (bad.kill, bad.stop, bad.fail)]
            waking = asyncio.create_task(bad.wake())
            await asyncio.gather(*(play(url) for _ in range(WIDTH)))
            for each in doing:
                each.cancel()
            await asyncio.sleep(STANDSTILL + 1)
            waking.cancel()
        judge = Judge(folder, tally)
        for client in clients:
            judge.judge(client, stopped=True)
        for kind in ("deaths", "stops", "faults"):
            with contextlib.suppress(FileNotFoundError):
                for line in (folder / kind).read_text().splitlines():
                    tally.seen[f"{kind}: {line.split(' ', 2)[2]}"] += 1
                    tally.kills += kind == "deaths"
    return tally
