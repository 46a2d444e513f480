"""`longwire dev --instances`: the function in processes of its own, as Lambda runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
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

logger: logging.Logger = logging.getLogger("longwire.local")

# Seconds for which an event waits for a process when all are busy. One that has answered may still
# be at work for a moment; on AWS the way back to the client takes longer than that.
NEARLY_IDLE = 0.25


class Instances:
    """Processes of one function, started as they are needed."""

    # Each event goes to a process that did not have the previous event of its connection, if there
    # can be one: what an app keeps in the memory of its process is missing there, as it may be on
    # Lambda.

    def __init__(
        self,
        limit: int,  # as Lambda's reserved concurrency
        environ: dict[str, str],  # besides ours
        app_dir: Path,
        *,
        timeout: float,
        freeze: bool,
        # Yields the names of files that have changed; the processes are replaced each time.
        changes: AsyncIterator[str] | None,
        on_report: Callable[[Report], object],
        on_said: Callable[[dict[str, Any]], object] = do_nothing,
        # Called when no process can start until a file changes, and with None when one has changed.
        on_broken: Callable[[InitError | None], object] = do_nothing,
        # Called when a process begins with an event,
        on_taken: Callable[[LambdaEvent, Instance], object] = do_nothing,
        # and with what it writes to its output; None leaves that alone.
        on_output: Callable[[str, str], object] | None = None,
    ) -> None:
        self._limit = limit
        self._app_dir = app_dir
        self._changes = changes
        self._environ = environ
        self._timeout = timeout
        self._freeze = freeze
        self._on_report = on_report
        self._on_said = on_said
        self._on_broken = on_broken
        self._on_taken = on_taken
        self._on_output = on_output
        self._all: set[Instance] = set()
        # The one that has been idle for longest comes first.
        self._idle: list[Instance] = []
        # Which had the latest event of a connection.
        self._latest: dict[str, Instance] = {}
        # Events that wait for one of them, or for one to end, so that there can be another.
        self._waiters: list[asyncio.Future[Instance]] = []
        # The first process, while it starts and no event has come that is to have it.
        self._first: asyncio.Future[Instance] | None = None
        self._tasks = Tasks()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Instances]:
        """End all processes at the end."""
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
        """Give the processes a moment to finish what they do after their responses."""
        await asyncio.gather(*(instance.settle() for instance in self._all))

    @property
    def processes(self) -> list[Instance]:
        """Those that have started and live."""
        return [instance for instance in self._all if instance.is_alive]

    def kill_now(self) -> None:
        """Kill all processes: the gateway itself ends at once."""
        for instance in self._all:
            instance.signal("SIGKILL")

    async def ready(self) -> None:
        """Start the first process, to see whether one can be started."""
        self._first = first = asyncio.get_running_loop().create_future()
        try:
            instance = await self._start(self._add())
        except BaseException as error:
            if self._is_taken(first):
                it_ends = ThrottledError("no process has started")
                first.set_exception(error if isinstance(error, InitError) else it_ends)
            if self._changes is None or not isinstance(error, InitError):
                raise
            # The next change of a file may mend it.
            logger.error("the function's process did not start: %s", error)
        else:
            if self._is_taken(first):
                first.set_result(instance)
            else:
                self._put_back(instance)
        finally:
            self._first = None

    def _is_taken(self, first: asyncio.Future[Instance]) -> bool:
        return self._first is not first and not first.cancelled()

    async def _watch(self, changes: AsyncIterator[str]) -> None:
        async for names in changes:
            sys.stderr.write(f"longwire dev: {names} changed, new processes\n")
            sys.stderr.flush()
            self._on_broken(None)
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
        """Return what the function returns, or raise a `FunctionError`."""
        context = event["requestContext"]
        connection_id = context.get("connectionId", "")  # no HTTP request has one
        instance = await self._take(self._latest.pop(connection_id, None))
        returned: object = None
        self._on_taken(event, instance)
        try:
            returned = await instance.invoke(
                event, waits_for_client, lambda: self._put_back(instance)
            )
            return returned
        finally:
            if context.get("eventType") == "MESSAGE" or _accepts(context, returned):
                self._latest[connection_id] = instance

    async def _take(self, other_than: Instance | None) -> Instance:
        if self._first is not None:
            # On Lambda it would start for this event, which waits for it however long that takes.
            first, self._first = self._first, None
            return await first
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
            if instance.has_started:  # it has just died
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
            secret=secrets.token_urlsafe(32),
            timeout=self._timeout,
            freeze=self._freeze,
            on_report=self._on_report,
            on_said=self._on_said,
            on_output=self._on_output,
        )
        self._all.add(instance)
        return instance

    async def _start(self, instance: Instance) -> Instance:
        try:
            await instance.start()
        except BaseException as error:
            self._discard(instance)
            if isinstance(error, InitError) and self._changes is not None:
                self._on_broken(error)
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
        """Let another process, not started yet, have its place."""
        self._all.discard(instance)
        if self._waiters:
            self._waiters.pop(0).set_result(self._add())

    def _end(self, instance: Instance) -> None:
        self._discard(instance)
        self._tasks.spawn(instance.stop())


def _accepts(context: Mapping[str, Any], returned: object) -> bool:
    """Tell whether a handshake was accepted, so that more events of its connection will come."""
    status = returned.get("statusCode") if isinstance(returned, dict) else None
    connects = context.get("eventType") == "CONNECT"
    return connects and isinstance(status, int) and 200 <= status <= 299
