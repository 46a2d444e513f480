"""`longwire dev --instances`: the function in processes of its own, as Lambda runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

from longwire.local.function.inline import do_nothing
from longwire.local.function.instance import SHUTDOWN_LIMIT, InitError, Instance
from longwire.local.rules.errors import ThrottledError
from longwire.local.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from longwire.local.function.instance import Report
    from longwire.types import LambdaEvent

logger = logging.getLogger("longwire.local")

# Seconds that a process which has answered is waited for, when it is the only one that could take
# the next event: the way back from Lambda to the client takes AWS longer than that.
NEARLY_IDLE = 0.25


class Instances:
    """Processes of one function, started as they are needed.

    Each event goes to a process that did not have the previous event of its connection, if there
    can be one: what an app keeps in the memory of its process is missing there, as it may be on
    Lambda.

    Args:
        limit: processes at most, as Lambda's reserved concurrency.
        environ: what the processes have in their environment besides ours.
        changes: the names of files that have changed, whenever the processes are to be replaced.
        on_report: told of each invocation that is over.
    """

    def __init__(
        self,
        limit: int,
        environ: dict[str, str],
        app_dir: Path,
        *,
        timeout: float,
        freeze: bool,
        changes: AsyncIterator[str] | None,
        on_report: Callable[[Report], object],
    ) -> None:
        self._limit = limit
        self._app_dir = app_dir
        self._changes = changes
        self._environ = environ
        self._timeout = timeout
        self._freeze = freeze
        self._on_report = on_report
        self._all: set[Instance] = set()
        # The one that has been idle for longest comes first.
        self._idle: list[Instance] = []
        # Which had the latest event of a connection.
        self._latest: dict[str, Instance] = {}
        # Events that wait for one of them, or for the end of one, so that there can be another.
        self._waiters: list[asyncio.Future[Instance]] = []
        self._tasks = Tasks()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Instances]:
        """End all processes at the end; with an extension they get half a second for it."""
        changes = self._changes
        watching = None if changes is None else asyncio.create_task(self._watch(changes))
        try:
            yield self
        finally:
            if watching is not None:
                watching.cancel()
            await asyncio.gather(*(instance.stop() for instance in self._all))
            await self._tasks.settle(SHUTDOWN_LIMIT)

    async def settle(self) -> None:
        """Give what goes on behind responses a moment to come to its end."""
        await asyncio.gather(*(instance.settle() for instance in self._all))

    def kill_now(self) -> None:
        """End all processes as the gateway ends at once."""
        for instance in self._all:
            instance.signal(signal.SIGKILL)

    async def ready(self) -> None:
        """Start the first process, to see whether one can be started.

        Raises:
            InitError: it cannot, and no change of a file is waited for.
        """
        try:
            self._put_back(await self._start(self._add()))
        except InitError as error:
            if self._changes is None:
                raise
            logger.error("the function's process did not start: %s", error)

    async def _watch(self, changes: AsyncIterator[str]) -> None:
        async for names in changes:
            sys.stderr.write(f"longwire dev: {names} changed, new processes\n")
            sys.stderr.flush()
            self._replace()

    def _replace(self) -> None:
        """Let new processes handle what comes from now on, as after a deployment."""
        for instance in self._all:
            instance.retired = True
        for instance in self._idle:
            self._end(instance)
        self._idle.clear()

    async def invoke(
        self, event: LambdaEvent, waits_for_client: Callable[[], object] = do_nothing
    ) -> object:
        """Return what the function returns.

        Raises:
            ThrottledError: all processes are busy.
            InitError: a new process did not start.
            FunctionError: as `Instance.invoke`.
        """
        context = event["requestContext"]
        instance = await self._take(self._latest.pop(context["connectionId"], None))
        returned: object = None
        try:
            returned = await instance.invoke(
                event, waits_for_client, lambda: self._put_back(instance)
            )
            return returned
        finally:
            if context["eventType"] == "MESSAGE" or _accepts(context, returned):
                self._latest[context["connectionId"]] = instance

    async def _take(self, other_than: Instance | None) -> Instance:
        for dead in [instance for instance in self._idle if not instance.is_alive]:
            self._idle.remove(dead)
            self._end(dead)
        for instance in self._idle:
            if instance is not other_than:
                self._idle.remove(instance)
                return instance
        if len(self._all) < self._limit:
            return await self._start(self._add())
        return self._idle.pop(0) if self._idle else await self._next_idle()

    async def _next_idle(self) -> Instance:
        waiter: asyncio.Future[Instance] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await asyncio.wait({waiter}, timeout=NEARLY_IDLE)
        if waiter.done():
            instance = waiter.result()
            if instance.is_alive:
                return instance
            if instance.has_started:  # it has died just now
                self._all.discard(instance)
                self._tasks.spawn(instance.stop())
                instance = self._add()
            return await self._start(instance)
        self._waiters.remove(waiter)
        raise ThrottledError(
            f"all processes are busy ({self._limit}), and Lambda takes no more events; "
            "--instances allows for more"
        )

    def _add(self) -> Instance:
        instance = Instance(
            self._environ,
            self._app_dir,
            timeout=self._timeout,
            freeze=self._freeze,
            on_report=self._on_report,
        )
        self._all.add(instance)
        return instance

    async def _start(self, instance: Instance) -> Instance:
        try:
            await instance.start()
        except BaseException:
            self._discard(instance)
            raise
        return instance

    def _put_back(self, instance: Instance) -> None:
        """Let a process have its next event, unless it has ended."""
        if instance.retired or not instance.is_alive:
            self._end(instance)
        elif self._waiters:
            self._waiters.pop(0).set_result(instance)
        else:
            self._idle.append(instance)

    def _discard(self, instance: Instance) -> None:
        """Let another process, which is not started yet, have its place."""
        self._all.discard(instance)
        if self._waiters:
            self._waiters.pop(0).set_result(self._add())

    def _end(self, instance: Instance) -> None:
        self._discard(instance)
        self._tasks.spawn(instance.stop())


def _accepts(context: Mapping[str, Any], returned: object) -> bool:
    """Tell whether this was a handshake that goes on, so that there will be more of it."""
    status = returned.get("statusCode") if isinstance(returned, dict) else None
    connects = context["eventType"] == "CONNECT"
    return connects and isinstance(status, int) and 200 <= status <= 299
