"""A model of Lambda: environments, each with a real handler, and what hands them their events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.campaigns.scale import facts
from tests.campaigns.scale.bucket import Bucket, with_tail
from tests.campaigns.scale.edge import here
from tests.campaigns.scale.sqs import event_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from longwire import Longwire
    from tests.campaigns.scale.sqs import Message, Queue

# Seconds before Lambda hands out again what it had no environment for.
_AGAIN = 1.0


class ThrottledError(Exception):
    """Lambda had no environment for an event."""


class KilledError(Exception):
    """The process was killed, or its time was up."""


class Function(NamedTuple):
    """How the function is configured, and its queue."""

    memory: int = 512
    timeout: float = 30.0
    concurrency: int = int(facts.CONCURRENCY.value)
    at_once: int = int(facts.POLLERS_MOST.value)  # the maximum concurrency of its event source


class _Context:
    """Lambda's context object."""

    def __init__(self, now: Callable[[], float], seconds: float) -> None:
        self._now = now
        self._until = now() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._until - self._now()) * 1000))


class Environment:
    """One process: a handler of its own, and a share of a core, which its requests use in turn."""

    def __init__(self, handler: Longwire, share: float, now: Callable[[], float]) -> None:
        self.handler = handler
        self.killed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.events = 0  # that it has had, with the one that runs
        self.busy = False
        self._share = min(1.0, share)
        self._now = now
        self._free_at = 0.0

    @property
    def dead(self) -> bool:
        """Whether nothing that it does has an effect any more."""
        return self.killed.done()

    def kill(self) -> None:
        """End it, in whatever it does."""
        if not self.dead:
            self.killed.set_result(None)

    def kill_in(self, event: int) -> None:
        """End it if it is still in this event."""
        if self.events == event and self.busy:
            self.kill()

    async def work(self, seconds: float) -> None:
        """Use the core for so long, after those who are waiting for it."""
        if not seconds:
            return
        now = self._now()
        self._free_at = max(now, self._free_at) + seconds / self._share
        await asyncio.sleep(self._free_at - now)


class Lambda:
    """One function.

    Attributes:
        events: how many events were handled.
        seconds: how long, as it is billed.
        most: how many environments had an event at once.
        throttled: how many events had none.
        killed: how many environments ended so.
        on_event: called with each environment whose event begins; it may kill it later.
    """

    def __init__(
        self,
        make: Callable[[], Longwire],
        random: Random,
        now: Callable[[], float],
        function: Function,
    ) -> None:
        self.function = function
        self.events = self.most = self.throttled = self.killed = 0
        self.seconds = 0.0
        self.on_event: Callable[[Environment, dict[str, Any]], object] = lambda *_: None
        self._make = make
        self._random = random
        self._now = now
        self._idle: list[Environment] = []
        self._busy = 0
        self._new = Bucket(facts.RAMP.value, facts.RAMP_BURST.value)
        self._running: set[asyncio.Task[None]] = set()

    async def invoke(self, event: dict[str, Any]) -> Any:
        """Handle an event; returns with its answer, while the environment may have more to do."""
        if self._busy >= self.function.concurrency or not (
            self._idle or self._new.take(self._now())
        ):
            self.throttled += 1
            raise ThrottledError
        environment = self._idle.pop() if self._idle else None
        self._busy += 1
        self.most = max(self.most, self._busy)
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(environment, event, answered))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await answered

    async def settle(self) -> None:
        """Wait until all environments rest."""
        while self._running:
            await asyncio.wait(self._running)

    async def close(self) -> None:
        """Close the handlers of all environments."""
        for environment in self._idle:
            await environment.handler.aclose()

    def _environment(self) -> Environment:
        share = self.function.memory / facts.CORE.value
        return Environment(self._make(), share, self._now)

    async def _run(
        self, environment: Environment | None, event: dict[str, Any], answered: asyncio.Future[Any]
    ) -> None:
        began = self._now()
        if environment is None:
            await asyncio.sleep(with_tail(self._random, facts.INIT.value))
            environment = self._environment()
        environment.events, environment.busy = environment.events + 1, True
        handling = asyncio.create_task(self._handle(environment, event, answered))
        self.on_event(environment, event)
        await asyncio.wait(
            {handling, environment.killed},
            timeout=self.function.timeout,
            return_when=asyncio.FIRST_COMPLETED,
        )
        self.seconds += self._now() - began
        self.events += 1
        self._busy -= 1
        environment.busy = False
        if handling.done() and not environment.dead:
            self._idle.append(environment)
            return
        environment.kill()
        self.killed += 1
        if not answered.done():
            answered.set_exception(KilledError())
        handling.cancel()

    async def _handle(
        self, environment: Environment, event: dict[str, Any], answered: asyncio.Future[Any]
    ) -> None:
        here.set(environment)
        await environment.work(facts.EVENT_CPU.value)
        context = _Context(self._now, self.function.timeout)
        try:
            answer = await environment.handler.handle(event, context)
        except Exception as error:
            if not answered.done():
                answered.set_exception(error)
        else:
            if not answered.done():
                answered.set_result(answer)
        await environment.handler.settle()


class EventSource:
    """What polls the queue and invokes the function with each message: batches of one."""

    def __init__(
        self, function: Lambda, queue: Queue, random: Random, now: Callable[[], float]
    ) -> None:
        self.failed = 0
        self._function = function
        self._queue = queue
        self._random = random
        self._now = now

    async def run(self) -> None:
        """Serve the queue until nothing is in it any more."""
        began = self._now()
        serving: set[asyncio.Task[None]] = set()
        while not self._queue.is_empty:
            grown = facts.POLLERS.value + facts.POLLERS_RAMP.value / 60 * (self._now() - began)
            most = min(int(grown), self._function.function.at_once, int(facts.POLLERS_MOST.value))
            while len(serving) < most and (message := self._queue.receive()) is not None:
                serving.add(asyncio.create_task(self._serve(message)))
            if serving:
                _, serving = await asyncio.wait(
                    serving, timeout=0.1, return_when=asyncio.FIRST_COMPLETED
                )
            elif (at := self._queue.returns_at()) is not None:
                await asyncio.sleep(max(0.0, at - self._now()))

    async def _serve(self, message: Message) -> None:
        await asyncio.sleep(with_tail(self._random, facts.POLL_TIME.value))
        try:
            answer = await self._function.invoke(event_of(message))
        except ThrottledError:
            await asyncio.sleep(_AGAIN)
            self._queue.release(message)
        except Exception:  # of any kind: Lambda leaves the message in the queue
            self.failed += 1
        else:
            if answer["batchItemFailures"]:
                self.failed += 1
            else:
                self._queue.delete(message)
