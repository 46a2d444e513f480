"""One conversation in bad weather: its script, and what must be true of it."""

from __future__ import annotations

import asyncio
import gc
import random as randomness
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from longwire_backends.memory import MemoryBackend
from tests.campaigns.chaos.apps import KINDS, KINDS_IN_TURNS, Kind, make_app
from tests.campaigns.chaos.calm import calm_day
from tests.campaigns.chaos.clock import Clock, SimulatedLoop, StalledError, shown
from tests.campaigns.chaos.event import here
from tests.campaigns.chaos.faults import Faults, draw_weather
from tests.campaigns.chaos.gateway import Client, Gateway
from tests.campaigns.chaos.listener import Listener
from tests.campaigns.chaos.process import Process
from tests.campaigns.chaos.remote import at_once

if TYPE_CHECKING:
    from collections.abc import Callable

# Longer than any event and whatever goes on after its response, in seconds.
LONG = 30.0
# How long a record may live at most: longer than any `ttl` here.
LIFETIME = 10_000


@dataclass
class Outcome:
    """What became of one conversation."""

    index: int
    app: str = ""
    calm: bool = False
    violations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    clients: int = 0
    frames: int = 0
    told: int = 0
    processes: int = 0
    events: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    tolerated: Counter[str] = field(default_factory=Counter)
    windows: Counter[str] = field(default_factory=Counter)


def converse(
    seed: int,
    index: int,
    make_store: Callable[..., MemoryBackend] = MemoryBackend,
    *,
    replay: bool = False,
) -> Outcome:
    """Play one conversation; the same seed and index play the same one."""
    clock = Clock()
    with shown(clock):
        loop = SimulatedLoop(clock)
        loop.set_task_factory(_owned)
        randomness.seed(f"{seed}/{index}")  # the jitter of Longwire's own waits
        random, store = Random(f"{seed}/{index}"), make_store(clock=clock.time)
        conversation = Conversation(random, loop, store, replay=replay)
        with Listener(conversation.gateway, conversation.faults, loop):
            try:
                loop.run_until_complete(conversation.play())
            except StalledError:
                conversation.gateway.violated("everybody waits for ever")
            _close(loop)
    return conversation.outcome(index)


def _owned(loop: Any, coro: Any, **options: Any) -> Any:
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    if (process := here.get()) is not None:
        loop.owners[task] = process
        task.add_done_callback(_look_away)
    return task


def _look_away(task: asyncio.Task[Any]) -> None:
    """See the error of a dead process's task, of which nobody is told."""
    process = here.get()
    if process is not None and process.dead and not task.cancelled():
        task.exception()


def _close(loop: SimulatedLoop) -> None:
    for _ in range(10):
        for task in (left := asyncio.all_tasks(loop)):
            task.cancel()
        if not left:
            break
        loop.run_until_complete(asyncio.wait(left, timeout=1.0))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    gc.collect()  # so that a task tells now of an error that nobody has looked at


class Conversation:
    """Some clients of one app, of one to many processes, and one store."""

    def __init__(
        self, random: Random, loop: SimulatedLoop, store: MemoryBackend, *, replay: bool
    ) -> None:
        self.kind: Kind = random.choice(KINDS_IN_TURNS if replay else KINDS)
        self.app = self.kind.body.__name__
        self.weather = draw_weather(random)
        self.faults = Faults(self.weather, Random(random.random()), replay=replay)
        self.store = store
        journals = store if replay else None
        self.gateway = Gateway(
            self.app, self.faults, Random(random.random()), self._start, journals
        )
        self._linger = random.choice((0.3, 2.0)) if not self.weather.is_calm else 2.0
        self._loop = loop
        self._random = random

    def _start(self) -> Process:
        return Process(
            f"process {len(self.gateway.processes)}",
            lambda process: make_app(lambda _: self.kind.body, self.gateway, process),
            self.store,
            self.gateway,
            self.faults,
            self._loop,
            goes_on=self._random.random() < 0.6,
            linger=self._linger,
            replay=self.gateway.journals is not None,
        )

    async def play(self) -> None:
        """Let the clients speak, then look at what is left."""
        self.gateway.log(f"{self.app} in {self.weather}")
        clients = [
            Client(f"client{number}=", self._random.choice(("blue", "red")))
            for number in range(self._random.choice((2, 3, 4) if self.kind.others else (1, 1, 2)))
        ]
        if self.weather.is_calm:
            await calm_day(self.gateway, self.kind, self.store, clients, self._random)
        else:
            await self._storm(clients)
        await self._settle()
        self._look_at_store()
        await self._aftermath()
        self._look_at_store()
        self._look_at_expired_store()

    # A storm

    async def _storm(self, clients: list[Client]) -> None:
        speaking = [self.gateway.spawn(self._speak(client)) for client in clients]
        for _ in range(self._random.randint(0, 3)):
            await asyncio.sleep(self._random.choice((0.01, 0.3, 3.0)))
            await self._interfere()
        await asyncio.wait(speaking, timeout=10 * LONG)

    async def _speak(self, client: Client) -> None:
        await asyncio.sleep(self._random.choice((0.0, 0.0, 0.01, 1.0)))
        if not await self.gateway.connect(client):
            return
        if self.weather.disorder and self._random.random() < 0.1:
            self.gateway.spawn(self._interrupt())
        for number in range(self._random.randint(0, 5)):
            await asyncio.sleep(self._random.choice((0.0, 0.0, 0.01, 0.3, 2.5)))
            if client.leaving:
                return
            if self.weather.disorder and self._random.random() < 0.4:
                self.faults.note("messages out of order")
                late = self._random.choice((0.0, 0.05, 0.3))
                self.gateway.spawn(self.gateway.say(client, f"m{number}", late))
            else:
                await self.gateway.say(client, f"m{number}")
        if self.weather.ttl < 100 and self._random.random() < 0.5:
            self.faults.note("a record expired")
            await asyncio.sleep(self.weather.ttl + 1)
            await self.gateway.say(client, "late")
        await asyncio.sleep(self._random.choice((0.0, 0.3, 2.2, 6.0)))
        if self.kind.others and self._random.random() < 0.8:
            # Nobody takes a connection for a ghost that is new.
            await asyncio.sleep(3.0)
            self._mention(client)
        self.gateway.close(client, self._random.choice((1000, 1001, 1006)), "")

    def _mention(self, leaving: Client) -> None:
        """Let the others speak just when somebody leaves, so that they find a ghost."""
        for client in self.gateway.clients.values():
            if not client.leaving and client.known_at is not None and client is not leaving:
                late = self._random.choice((0.0, 0.0, 0.003))
                self.gateway.spawn(self.gateway.say(client, f"bye-{leaving.id}", late))

    async def _interfere(self) -> None:
        """Shut down a process that has nothing to do, or let one sweep."""
        if self._random.random() < 0.4:
            await self._retire("a process was shut down", lambda one: not one.busy)
        else:
            await self.gateway.sweep()

    async def _interrupt(self) -> None:
        """Shut down a process that still goes on behind a response."""
        await asyncio.sleep(self._random.choice((0.0, 0.002, 0.005, 0.05)))
        name = "a process was shut down behind a response"
        await self._retire(name, lambda one: not one.busy and bool(one.going_on()))

    async def _retire(self, name: str, fits: Callable[[Process], bool]) -> None:
        fitting = [one for one in self.gateway.processes if not one.dead and fits(one)]
        if fitting:
            process = self._random.choice(fitting)
            self.faults.note(name)
            self.gateway.processes.remove(process)
            self.gateway.log(f"{process.name} is shut down")
            await self._stop(process)

    # After the storm

    async def _settle(self) -> None:
        """Wait until nothing is going on any more."""
        until = time.monotonic() + 10 * LONG
        while self.gateway.going_on and time.monotonic() < until:
            await asyncio.wait(set(self.gateway.going_on), timeout=LONG)
        if self.gateway.going_on:
            self.gateway.violated(f"still going on: {self.gateway.going_on}")
        await asyncio.sleep(LONG)
        for process in self.gateway.processes:
            if (left := process.going_on()) and not process.dead:
                self.gateway.violated(f"{process.name} still goes on with {left}")

    async def _aftermath(self) -> None:
        for client in self.gateway.clients.values():
            client.leaving = client.closed = True  # who has vanished is known to have by now
        if self._random.random() < 0.5:
            await self.gateway.sweep()
        self.faults.healed = True
        if self._random.random() < 0.8:
            await self.gateway.sweep()
        await self._settle()
        for process in self.gateway.processes:
            if not process.dead:
                await self._stop(process)

    async def _stop(self, process: Process) -> None:
        here.set(process)
        stopping = asyncio.create_task(process.stop())
        here.set(None)
        await asyncio.wait(
            (stopping, process.died), timeout=LONG, return_when=asyncio.FIRST_COMPLETED
        )
        if process.dead:
            return
        if not stopping.done():
            self.gateway.violated(f"{process.name} does not stop")
        elif (error := stopping.exception()) is not None:
            self.gateway.violated(f"{process.name} raised {error!r} when it was stopped")
        elif left := process.tasks():
            self.gateway.violated(f"{process.name} has left tasks behind: {left}")

    def _look_at_store(self) -> None:
        limit = time.time() + LIFETIME
        for key, record in self.store._records.items():
            if not 0 < record.expires_at <= limit:
                self.gateway.violated(f"the record {key} expires at {record.expires_at}")
        for group, members in self.store._groups.items():
            for member, expires_at in members.items():
                if not 0 < expires_at <= limit:
                    self.gateway.violated(f"{member} is in {group} until {expires_at}")
        for name, (_, expires_at) in self.store._journals.items():
            if not 0 < expires_at <= limit:
                self.gateway.violated(f"the journal of {name} expires at {expires_at}")

        for name, (_, expires_at) in self.store._journals.items():
            if not 0 < expires_at <= limit:
                self.gateway.violated(f"the journal of {name} expires at {expires_at}")

    def _look_at_expired_store(self) -> None:
        self._loop.clock.now += LIFETIME
        at_once(self.store.sweep())
        left = self.store._records, self.store._groups, self.store._journals
        if any(left):
            self.gateway.violated(f"left: {left}")

    def outcome(self, index: int) -> Outcome:
        clients = self.gateway.clients.values()
        return Outcome(
            index,
            self.app,
            self.weather.is_calm,
            self.gateway.violations,
            self.gateway.lines,
            clients=len(clients),
            frames=sum(len(client.frames) for client in clients),
            told=sum(len(client.told) for client in clients),
            processes=len(self.gateway.processes),
            events=Counter(self.gateway.events),
            faults=self.faults.done,
            kills=self.faults.kills,
            tolerated=self.gateway.tolerated,
            windows=self.gateway.windows(),
        )
