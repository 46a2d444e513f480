"""The world of a generated case: its time, its event loops and its store.

Time does not pass by itself. It jumps to the next timer as soon as nothing else can happen, so that
a case takes milliseconds however long its apps sleep, and ends in the same way each time. A loop
that waits while there is no timer at all can never go on: that is how a hang is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import selectors
import threading
import time
from typing import TYPE_CHECKING, Any

from longwire_backends.memory import MemoryBackend
from longwire_backends.sqlite3.backend import SQLite3Backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from longwire_backends import Backend

EPOCH = 1_800_000_000.0
TICK = 0.0002  # seconds per round of a loop, so that a task which never waits meets its deadline
LIMIT = 3600.0  # seconds of a case's time after which something goes round in circles
PATIENCE = 20.0  # real seconds for a store's thread
GLANCE = 0.005  # real seconds for a thread of somebody else

# How often an app's task has to be cancelled before it surely ends.
STUBBORN = 20


class HangError(BaseException):
    """Nothing can ever wake the loop, or nothing can ever let it rest."""


class World:
    """One case's time, and everything that went wrong in it.

    Attributes:
        now: seconds since the case began.
        busy: how many questions to a store are under way in other threads.
        threads: how many other jobs are under way there.
        wrong: what must not happen, in words.
        loops: every event loop of the case.
        given_up: the log said that an app ignored its cancellation.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.given_up = False
        self.busy = self.threads = 0
        self.wrong: list[str] = []
        self.loops: list[Loop] = []
        self._threads_before = set(threading.enumerate())

    def monotonic(self) -> float:
        return 1000.0 + self.now

    def time(self) -> float:
        return EPOCH + self.now

    def runner(self) -> asyncio.Runner:
        return _RUNNER(loop_factory=self.loop)

    def loop(self) -> Loop:
        self.loops.append(Loop(self))
        return self.loops[-1]

    @property
    def may_be_woken(self) -> bool:
        """Whether there is a thread that may wake a loop."""
        return bool(self.busy or self.threads) or not self._threads_before.issuperset(
            threading.enumerate()
        )

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Let no time pass while a thread works."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1

    @contextlib.contextmanager
    def rules(self) -> Iterator[None]:
        """Let the clocks, and the loops that a handler makes, be those of this world."""
        real = time.monotonic, time.time, asyncio.Runner
        home = threading.get_ident()

        def runner() -> asyncio.Runner:
            return self.runner() if threading.get_ident() == home else _RUNNER()

        patched: Any = time, asyncio
        patched[0].monotonic, patched[0].time, patched[1].Runner = self.monotonic, self.time, runner
        try:
            yield
        finally:
            time.monotonic, time.time, patched[1].Runner = real


_RUNNER = asyncio.Runner


class Selector(selectors.DefaultSelector):
    """Lets time jump where a loop would sleep."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        world = self._world
        world.now += 0.0 if world.busy else TICK
        if world.now > LIMIT:
            raise HangError(f"it has gone on for {LIMIT:g} s")
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if timeout is None:
            ready = super().select(PATIENCE if world.may_be_woken else 0)
            if not ready:
                raise HangError("nothing can ever wake it")
            return ready
        ready = super().select(PATIENCE if world.busy else GLANCE if world.threads else 0)
        if not ready:
            world.now += timeout
        return ready


class Loop(asyncio.SelectorEventLoop):
    """An event loop that lives in a world's time, and tells it what nobody has handled."""

    def __init__(self, world: World) -> None:
        super().__init__(Selector(world))
        self._world = world

    def time(self) -> float:
        return self._world.monotonic()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        self._world.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for threads in real time; this world's would be over at once."""
        with self._world.working():
            await super().shutdown_default_executor()

    def _done(self, _: object) -> None:
        self._world.threads -= 1

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        culprit = context.get("task") or context.get("future")
        error = context.get("exception")
        if not is_apps_own(culprit, error):
            self._world.wrong.append(
                f"the loop was told: {context.get('message')} {error!r} {culprit!r}"
            )


async def end_tasks(world: World) -> None:
    """End what a closed handler has left on this loop, and note what it should not have left."""
    here = asyncio.current_task()
    for task in asyncio.all_tasks() - {here}:
        given_up = world.given_up and task.get_name().startswith("app ")
        if not given_up and not (is_apps_own(task, None) and task.cancelling()):
            world.wrong.append(f"left a task behind: {task!r}")
    for _ in range(STUBBORN):
        for task in asyncio.all_tasks() - {here}:
            task.cancel()
        await asyncio.sleep(0)


def is_apps_own(culprit: object, error: object) -> bool:
    """Tell whether something left behind is the doing of the app, not of this library."""
    if isinstance(culprit, asyncio.Task):
        name = culprit.get_name()
        return name.startswith("fuzz") or "fuzz_apps" in repr(culprit.get_coro())
    return type(culprit).__name__ == "_GatheringFuture"


class Context:
    """Lambda's context object, with some seconds left."""

    def __init__(self, world: World, seconds: float) -> None:
        self._world = world
        self._until = world.now + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._until - self._world.now) * 1000))


# The store


def make_store(world: World, kind: str, folder: Path) -> Backend:
    """Return an empty store in the world's time."""
    if kind == "memory":
        return MemoryBackend(clock=world.time)
    for old in folder.glob("fuzz.sqlite3*"):
        old.unlink()
    store: Backend = _patient_store()(folder / "fuzz.sqlite3", clock=world.time)
    store.world = world  # type: ignore[attr-defined]
    return store


@functools.cache
def _patient_store() -> Any:
    """Make a class of a store in a file whose answers take no time."""
    names = (
        *("put", "get", "take", "update", "connections", "groups", "sweep", "close"),
        *("group_add", "group_discard", "group_members", "group_discard_all"),
    )
    return type("PatientSQLite3", (SQLite3Backend,), {name: _patient(name) for name in names})


def _patient(name: str) -> Callable[..., Any]:
    ask = getattr(SQLite3Backend, name)

    async def patient(self: Any, *args: Any, **options: Any) -> Any:
        with self.world.working():
            return await ask(self, *args, **options)

    return patient
