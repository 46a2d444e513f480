"""Processes that run the handler: each has its own, and all lead to one store and one gateway.

Between a process and these there is a network. A request that has left takes effect whether or not
its sender still lives or waits, and at a process that is dead nothing arrives any more.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from longwire import Longwire
from tests.campaigns.chaos.event import here, now_in
from tests.campaigns.chaos.remote import RemoteGateway, RemoteStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire_backends.memory import MemoryBackend
    from tests.campaigns.chaos.clock import SimulatedLoop
    from tests.campaigns.chaos.faults import Faults
    from tests.campaigns.chaos.gateway import Gateway

T = TypeVar("T")

ENDPOINT = "http://gateway.test/prod"

# What a dead process could still wait for is short; this many looks make sure that it is over.
BURIAL_ROUNDS = 400
BURIAL_PAUSE = 0.05


class Process:
    """One process with a handler.

    Args:
        goes_on: work goes on after the response, and events may overlap; else nothing runs then,
            and one event comes at a time, as on Lambda.

    Attributes:
        dead: it has been killed.
        died: done from then on.
        busy: how many events it has in hand.
    """

    def __init__(
        self,
        name: str,
        make_app: Callable[[Process], Any],
        store: MemoryBackend,
        gateway: Gateway,
        faults: Faults,
        loop: SimulatedLoop,
        *,
        goes_on: bool,
        linger: float,
        replay: bool = False,
    ) -> None:
        self.name = name
        self.goes_on = goes_on
        self.dead = False
        self.died: asyncio.Future[None] = loop.create_future()
        self.busy = 0
        self.faults = faults
        self._loop = loop
        self.gateway = gateway
        self.log = gateway.log
        self.handler = Longwire(
            make_app(self),
            ws_config={
                "backend": RemoteStore(store, self),
                "api_gateway_endpoint_url": ENDPOINT,
                "ttl": faults.weather.ttl,
                "linger": linger,
                "replay": replay,
            },
        )
        self.handler.transport = RemoteGateway(gateway, self)

    @property
    def is_free(self) -> bool:
        return not self.dead and (self.goes_on or not self.busy)

    async def handle(self, raw: dict[str, Any], context: Any) -> Any:
        """Handle an event; a dead process never answers."""
        here.set(self)
        self.busy += 1
        try:
            if self.goes_on:
                return await self.handler.handle(raw, context)
            # As `handler(event, context)` does on a loop of its own.
            observed = self.handler._observer.begin(raw, context)
            return await self.handler._handle(raw, context, None, observed)
        finally:
            self.busy -= 1

    async def request(
        self, name: str, fault: str, perform: Callable[[], T], lost: Callable[[], Exception]
    ) -> T:
        """Send a request over the network and wait for what comes back.

        Args:
            name: of what is asked.
            fault: what happens to it.
            perform: has its effect, where it arrives.
            lost: makes the error of a request whose answer does not come.
        """
        if self.dead:
            raise asyncio.CancelledError
        death = self.faults.death(name)
        if death is not None and death.before:
            await self._die(name, "before")
        call = _Call(self, name, "killed" if death else fault, perform, lost)
        result: T = await call.answer
        return result

    async def app_request(self, phase: str) -> None:
        """Let the app wait for something of its own."""
        event = now_in.get()
        if event is not None:
            event.phase = phase
        slow = self.faults.app()
        await self.request("app", slow, lambda: None, lambda: AssertionError("it is not lost"))
        if event is not None:
            event.phase = ""

    async def stop(self) -> None:
        """Shut down as a host does that has time for it."""
        here.set(self)
        await self.handler.aclose()

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Return what is still going on here."""
        owners = self._loop.owners
        return [task for task in asyncio.all_tasks(self._loop) if owners.get(task) is self]

    def going_on(self) -> list[asyncio.Task[Any]]:
        """Return that without what waits until the process is shut down."""
        kept = set[asyncio.Task[Any]]()
        if self.handler._kept_runs is not None:
            kept.update(*(one.run._tasks for one in self.handler._kept_runs._runs.values()))
        return [task for task in self.tasks() if task not in kept and task.get_name() != "lifespan"]

    async def _die(self, name: str, moment: str) -> None:
        self.fall(name, moment)
        await self._loop.create_future()

    def fall(self, name: str, moment: str) -> None:
        """Be dead from now on."""
        if self.dead:
            return
        event = now_in.get()
        phase = f"{event.where if event else 'outside an event'}: {moment} {name}"
        self.dead = True
        self.died.set_result(None)
        self.faults.kills[phase] += 1
        self.log(f"{self.name} is killed, {phase}")
        self.later(0.0, self._bury)

    def _bury(self, rounds: int = BURIAL_ROUNDS) -> None:
        """Cancel all that is left, which can have no effect any more."""
        if (left := self.tasks()) and rounds:
            for task in left:
                task.cancel()
            self.later(BURIAL_PAUSE, lambda: self._bury(rounds - 1))

    def later(self, seconds: float, callback: Callable[[], object]) -> None:
        """Let something happen outside this process, whatever becomes of it."""
        # In a context without a run, whose timers would be taken for the app's own; but a kill
        # has to know the event.
        context = Context()
        context.run(now_in.set, now_in.get())
        self._loop.call_later(seconds, callback, context=context)


class _Call:
    """One request on the network, with a fault or without.

    Attributes:
        answer: done when one has come back to a process that lives and still waits.
    """

    def __init__(
        self,
        process: Process,
        name: str,
        fault: str,
        perform: Callable[[], Any],
        lost: Callable[[], Exception],
    ) -> None:
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._process = process
        self._name = name
        self._fault = fault
        self._perform = perform
        self._lost = lost
        self._slow = fault == "slow"
        if fault in ("late effect", "request lost"):
            self._back(lambda: self._reply(lost()), process.faults.patience())
        if fault != "request lost":
            late = process.faults.delay() if fault == "late effect" or self._slow else 0.0
            process.later(process.faults.travel() + late, self._arrive)

    def _arrive(self) -> None:
        result, process = self._perform(), self._process
        match self._fault:
            case "killed":
                process.fall(self._name, "after")
            case "repeated":
                self._back(lambda: self._reply(self._perform()), 0.03)
            case "reply lost":
                self._back(lambda: self._reply(self._lost()), process.faults.patience())
            case "late effect":
                pass  # who asked has been told already that it is lost
            case _:
                self._back(lambda: self._reply(result), 0.0)

    def _back(self, callback: Callable[[], object], late: float) -> None:
        faults = self._process.faults
        self._process.later(faults.travel() + late + self._slow * faults.delay(), callback)

    def _reply(self, result: Any) -> None:
        if self._process.dead or self.answer.done():
            return
        if isinstance(result, Exception):
            self.answer.set_exception(result)
        else:
            self.answer.set_result(result)
