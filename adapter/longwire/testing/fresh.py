"""Each event in a process of its own that has just imported the app, for `fresh=True`.

Lambda may give every event of a connection to another environment; here it does, with the least
that is needed for it: no Runtime API, no extension, no store outside this process. So it is fast
enough for tests, and runs on Windows, too. `process.py` is the other side of the pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.exceptions import ConfigurationError
from longwire.local.function.inline import do_nothing, environment
from longwire.local.rules.errors import FunctionExitError, FunctionTimeoutError
from longwire.testing import pipe
from longwire.testing.transport import InMemoryTransport
from longwire_backends.memory import MemoryBackend

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.testing.gateway import Gateway
    from longwire.types import LambdaEvent

# Seconds that the import of the app may take, as on Lambda.
INIT_LIMIT = 10.0
# Seconds that a process has for what goes on after its answer, in which it runs the app's shutdown.
END_LIMIT = 5.0


class Imported(NamedTuple):
    """What a process has to import, and how it wraps that."""

    target: str
    app_dir: str
    factory: bool
    ws_config: dict[str, Any]
    keep_store: bool


class FreshProcesses:
    """The `Function` whose events have nothing in common but the store."""

    def __init__(self, imported: Imported, gateway: Gateway, timeout: float) -> None:
        self._imported = imported
        self._gateway = gateway
        self._timeout = timeout
        self._backend = MemoryBackend()
        self._transport = InMemoryTransport(gateway.manage, gateway._rules.settings.stage)
        # A process that is started ahead, with the environment that it has.
        self._next: tuple[dict[str, str], asyncio.Task[FreshProcess]] | None = None
        self._all: set[FreshProcess] = set()

    async def ready(self) -> None:
        """Start a process ahead; raises `ConfigurationError` where the app cannot be imported."""
        self._prepare()
        assert self._next is not None
        await self._next[1]

    async def invoke(
        self, event: LambdaEvent, waits_for_client: Callable[[], object] = do_nothing
    ) -> object:
        """Return what the function returns, or raise what it raises."""
        process = await self._take()
        self._prepare()
        on_raised = self._gateway._on_error
        process.on_said = {
            "waits": lambda _: waits_for_client(),
            "raised": lambda error: on_raised(event, error),
        }
        return await process.invoke(event, self._timeout)

    async def aclose(self) -> None:
        """End all processes; those at work have a moment to finish."""
        if self._next is not None:
            self._next[1].cancel()
            await asyncio.gather(self._next[1], return_exceptions=True)
        await asyncio.gather(*(one.end() for one in tuple(self._all)))

    async def _take(self) -> FreshProcess:
        ahead, self._next = self._next, None
        if ahead is not None:
            environ, starting = ahead
            # A test that has set a variable since then means the next event.
            if environ == environment():
                return await starting
            starting.cancel()
        return await self._start()

    def _prepare(self) -> None:
        if self._next is None:
            self._next = environment(), asyncio.create_task(self._start())

    async def _start(self) -> FreshProcess:
        process = FreshProcess(self._answer)
        self._all.add(process)
        try:
            await process.start(self._imported, lambda: self._all.discard(process))
        except BaseException:
            process.kill()
            raise
        return process

    async def _answer(self, what: str, arguments: Any) -> object:
        """Answer a question of a process: to the store, or to the management API."""
        if what == "store":
            name, positional, named = arguments
            return await getattr(self._backend, name)(*positional, **named)
        method, url, body = arguments
        return await self._transport.request(method, url, (), body, timeout=self._timeout)


class FreshProcess:
    """A process for one event."""

    def __init__(self, answer: Callable[[str, Any], Any]) -> None:
        self.on_said: dict[str, Callable[[Any], object]] = {}
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, imported: Imported, over: Callable[[], object]) -> None:
        """Start it and wait until it has imported the app."""
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[str | None] = loop.create_future()
        self._returned: asyncio.Future[tuple[bool, Any]] = loop.create_future()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "longwire.testing.process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**26,
        )
        self._reading = asyncio.create_task(self._read(over))
        self._send("import", tuple(imported))
        either: set[asyncio.Future[Any]] = {self._ready, self._reading}
        await asyncio.wait(either, timeout=INIT_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done():
            why = "it ended" if self._reading.done() else f"it takes longer than {INIT_LIMIT:g} s"
            raise ConfigurationError(f"importing {imported.target!r} in a process: {why}")
        problem = self._ready.result()
        if problem is not None:
            raise ConfigurationError(problem)

    async def invoke(self, event: LambdaEvent, timeout: float) -> object:
        """Return what the function returns, or raise what it raises."""
        assert self._reading is not None
        self._send("event", (event, timeout))
        either: set[asyncio.Future[Any]] = {self._returned, self._reading}
        await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not self._returned.done():
            ended = self._reading.done()
            self.kill()
            if ended:
                raise FunctionExitError("the function ended its process")
            raise FunctionTimeoutError(f"the function ran longer than {timeout:g} seconds")
        succeeded, value = self._returned.result()
        if not succeeded:
            raise value
        return value

    async def end(self) -> None:
        """Let it finish what it does after its answer; kill it if that takes too long."""
        if self._reading is not None and self._process is not None:
            if not self._returned.done():
                self.kill()
            await asyncio.wait({self._reading}, timeout=END_LIMIT)
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _send(self, kind: str, value: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(pipe.packed((kind, value)))

    async def _read(self, over: Callable[[], object]) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            while True:
                size = pipe.size_of(await self._process.stdout.readexactly(pipe.HEAD))
                kind, value = pipe.unpacked(await self._process.stdout.readexactly(size))
                self._take(kind, value)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it has ended
        finally:
            if self._process.stdin is not None:
                self._process.stdin.close()
            await self._process.wait()
            over()

    def _take(self, kind: str, value: Any) -> None:
        match kind:
            case "ready":
                self._ready.set_result(value)
            case "returned":
                self._returned.set_result(value)
            case "asks":
                task = asyncio.create_task(self._reply(*value))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case _:
                self.on_said[kind](value)

    async def _reply(self, number: int, what: str, arguments: Any) -> None:
        try:
            reply = True, await self._answer(what, arguments)
        except Exception as error:
            reply = False, error
        self._send("reply", (number, *reply))
