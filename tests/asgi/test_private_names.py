"""What `due.py` and `suspended.py` read of asyncio and anyio without a promise: it is there.

Where it is not, or an event loop or a task is of another make, a task counts as busy.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio._backends._asyncio
import pytest

from longwire.asgi import due, tasks
from longwire.asgi import suspended as of_frames
from longwire.asgi.due import is_runnable, timers
from longwire.asgi.run import Run
from tests.asgi import waits
from tests.asgi.test_run import ACCEPT, Recorder
from tests.asgi.waits import BUSY, QUIET, World, is_bounded, is_quiet, suspended, waits_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from longwire.asgi.quiescence import Outcome
    from longwire.types import ASGIApp, Receive, Scope, Send

    Judge = Callable[[asyncio.Task[Any], Any], bool]
    Wait = Callable[[World], Awaitable[None]]

pytestmark = pytest.mark.anyio

# Each name, and what stands for a Python or an anyio that does not have it.
WITHOUT: dict[str, object] = {
    "FUT_WAITER": "_gone",
    "CHILDREN": "_gone",
    "FUTURES": "gone",
    "READY": "_gone",
    "SCHEDULED": "_gone",
    "CONTEXT": "_gone",
    "CALLBACK": "_gone",
    "ARGS": "_gone",
    "WHEN": "_gone",
    "DEADLINE": "_gone",
    "TIMEOUT_OF": ("_gone",),
    "JOINING": set(),
    "MEETING": set(),
    "WAITING_VARIABLE": {},
    "AS_COMPLETED": "gone",
    "SLEEP": "gone",
    "ANYIO": "gone",
    "ANYIO_EVENT": "Gone.",
}


def _lose(patch: pytest.MonkeyPatch, name: str) -> None:
    patch.setattr(due if hasattr(due, name) else of_frames, name, WITHOUT[name])


def _with_and_without(name: str, judge: Judge) -> Callable[[Any, Any], tuple[bool, bool]]:
    """Judge a task twice: with a name, and without it."""

    def both(task: asyncio.Task[Any], run: Any) -> tuple[bool, bool]:
        known = judge(task, run)
        with pytest.MonkeyPatch.context() as patch:
            _lose(patch, name)
            return known, judge(task, run)

    return both


def test_every_private_name_is_known_here() -> None:
    """The lists at the top of the modules are the ones that are tried below."""
    both = {**vars(due), **vars(of_frames)}
    listed = {name for name in both if name.isupper() and not name.startswith("_")}
    assert listed - {"TYPE_CHECKING", "STEPS_PER_TASK", "KNOWN_CLOSELY"} == set(WITHOUT)


# Each name, alone


async def _join(world: World) -> None:
    await world.full.join()


@pytest.mark.parametrize(
    ("name", "wait"),
    [
        ("FUT_WAITER", waits.on_task),
        ("CHILDREN", waits.on_gather),
        ("JOINING", waits.on_task_group),
        ("JOINING", waits.on_anyio_task_group),
        ("MEETING", waits.on_queue),
        ("MEETING", waits.on_full_queue),
        ("MEETING", _join),
        ("MEETING", waits.on_event),
        ("MEETING", waits.on_condition),
        ("WAITING_VARIABLE", waits.on_wait),
        pytest.param(
            "WAITING_VARIABLE",
            waits.on_wait_for,
            marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="it makes no task there"),
        ),
        ("AS_COMPLETED", waits.on_as_completed),
        ("ANYIO_EVENT", waits.on_anyio_stream),
    ],
)
async def test_a_wait_is_quiet_by_its_name(name: str, wait: Wait) -> None:
    """The name is there, and without it the task is busy."""
    assert await suspended(wait, _with_and_without(name, is_quiet)) == (True, False)


async def test_a_task_without_a_future_counts_as_runnable() -> None:
    """`_fut_waiter` tells a suspended task from one that the loop is about to step."""
    judge = _with_and_without("FUT_WAITER", lambda task, run: is_runnable(task))
    assert await suspended(waits.on_future, judge) == (False, True)


async def _timeout(world: World) -> None:
    async with asyncio.timeout(60):
        await world.future


async def _anyio_scope(world: World) -> None:
    with anyio.move_on_after(60):
        await world.future


async def _wait_with_limit(world: World) -> None:
    await asyncio.wait([world.future], timeout=60)


def _is_bounded(task: asyncio.Task[Any], run: object) -> bool:
    return is_bounded(task, getattr(task.get_loop(), due.SCHEDULED))


@pytest.mark.parametrize(
    ("name", "wait"),
    [
        ("TIMEOUT_OF", _timeout),
        ("TIMEOUT_OF", _anyio_scope),
        ("CALLBACK", _timeout),
        ("CALLBACK", _anyio_scope),
        ("ARGS", _wait_with_limit),
        ("FUT_WAITER", _wait_with_limit),
    ],
)
async def test_a_time_limit_is_known_by_its_name(name: str, wait: Wait) -> None:
    """Without it, it is a timer like any other, which a step waits for."""
    assert await suspended(wait, _with_and_without(name, _is_bounded)) == (True, False)


@pytest.mark.parametrize("name", ["SLEEP", "ARGS", "FUT_WAITER"])
async def test_a_sleep_is_known_by_its_name(name: str) -> None:
    """Without it, nobody knows when the task goes on: it may be at any time."""

    def judge(task: asyncio.Task[Any], run: Any) -> bool:
        return task in waits_of(task, run).asleep and _is_bounded(task, run)

    assert await suspended(waits.on_sleep, _with_and_without(name, judge)) == (True, False)


@pytest.mark.parametrize("name", ["SCHEDULED", "CONTEXT"])
async def test_the_timers_of_a_run_are_known_by_their_names(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without them, they are unknown, which is not the same as none."""
    loop = asyncio.get_running_loop()
    run = tasks.TaskSet()
    tasks.install(loop)
    task = tasks.spawn(asyncio.sleep(60), run, "it", loop)
    while is_runnable(task):
        await asyncio.sleep(0)
    assert len(timers(loop, run) or ()) == 1
    assert timers(loop, tasks.TaskSet()) == []
    _lose(monkeypatch, name)
    assert timers(loop, run) is None
    task.cancel()


@pytest.mark.parametrize("wait", BUSY)
async def test_no_missing_name_makes_a_busy_task_quiet(wait: Wait) -> None:
    """Whichever it is."""

    def judge(task: asyncio.Task[Any], run: Any) -> list[str]:
        quiet = []
        for name in WITHOUT:
            with pytest.MonkeyPatch.context() as patch:
                _lose(patch, name)
                if is_quiet(task, run):
                    quiet.append(name)
        return quiet

    assert await suspended(wait, judge) == []


async def test_a_meeting_without_self_is_busy() -> None:
    """None is what a variable of any other task may hold, too."""
    source = "class Queue:\n    async def get(this, future): await future"
    other: dict[str, Any] = {"__name__": "asyncio.queues"}
    exec(source, other)  # an asyncio of another shape

    async def wait(world: World) -> None:
        nothing = None  # noqa: F841
        await other["Queue"]().get(world.future)

    assert not await suspended(wait, is_quiet)


# Tasks and futures of another make

PythonTask: Any = getattr(asyncio.tasks, "_PyTask")  # noqa: B009
PythonFuture: Any = getattr(asyncio.futures, "_PyFuture")  # noqa: B009


@pytest.fixture(autouse=True)
def known_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have asyncio find tasks made in Python, too, which it keeps apart since Python 3.14."""
    apart: Any = asyncio.tasks
    if not hasattr(apart, "_py_all_tasks"):
        return
    of_c: Any = (apart._c_all_tasks, apart._c_current_task)
    of_python: Any = (apart._py_all_tasks, apart._py_current_task)
    for module in (asyncio, asyncio.tasks, anyio._backends._asyncio):
        monkeypatch.setattr(
            module, "all_tasks", lambda loop=None: of_c[0](loop) | of_python[0](loop)
        )
        monkeypatch.setattr(
            module, "current_task", lambda loop=None: of_c[1](loop) or of_python[1](loop)
        )


@pytest.fixture(params=["tasks", "tasks and futures"])
async def python_made(request: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the loop make asyncio's tasks in pure Python, as nest_asyncio and debuggers do."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(lambda loop, coro, **options: PythonTask(coro, loop=loop, **options))
    if request.param == "tasks and futures":
        monkeypatch.setattr(loop, "create_future", lambda: PythonFuture(loop=loop))
    yield
    loop.set_task_factory(before)


@pytest.mark.parametrize("wait", BUSY)
async def test_what_is_busy_is_busy_as_a_python_task(wait: Wait, python_made: None) -> None:
    """Its frames end in another one, and the garbage collector looks into it."""
    assert not await suspended(wait, is_quiet)


@pytest.mark.parametrize("wait", QUIET)
async def test_what_is_quiet_is_quiet_as_a_python_task(
    wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the futures are the usual ones."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(lambda loop, coro, **options: PythonTask(coro, loop=loop, **options))
    try:
        assert await suspended(wait, is_quiet)
    finally:
        loop.set_task_factory(before)


# Whole runs


class HiddenTimers(asyncio.SelectorEventLoop):
    """Does not show its timers, as uvloop's does not."""

    def __getattribute__(self, name: str) -> Any:
        if name == "_scheduled" and sys._getframe(1).f_globals["__name__"].startswith("longwire."):
            raise AttributeError(name)
        return super().__getattribute__(name)


def _python_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.SelectorEventLoop()
    loop.set_task_factory(lambda loop, coro, **options: PythonTask(coro, loop=loop, **options))
    return loop


async def _after_a_time_limit(scope: Scope, receive: Receive, send: Send) -> None:
    """A task waits for another one, and for a timer that not every loop shows."""

    async def work() -> None:
        try:
            async with asyncio.timeout(0.2):
                await queue.get()
        except TimeoutError:
            await send({"type": "websocket.send", "text": "late"})

    await receive()
    await send(ACCEPT)
    queue: asyncio.Queue[None] = asyncio.Queue()
    worker = asyncio.create_task(work())
    await receive()
    await queue.put(None)
    await worker


async def _from_a_thread(scope: Scope, receive: Receive, send: Send) -> None:
    """A task waits for a queue of its own, which a thread fills."""

    async def work() -> None:
        queue: asyncio.Queue[None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        threading.Timer(0.2, loop.call_soon_threadsafe, (queue.put_nowait, None)).start()
        await queue.get()
        await send({"type": "websocket.send", "text": "late"})

    await receive()
    await send(ACCEPT)
    worker = asyncio.create_task(work())
    await receive()
    await worker


@pytest.fixture(params=["usual", "hidden timers", "python tasks", *WITHOUT])
def loop_factory(request: Any) -> Iterator[Callable[[], asyncio.AbstractEventLoop]]:
    """Make loops of which less is known, or lose a name."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param in WITHOUT:
            _lose(patch, request.param)
        loops = {"hidden timers": HiddenTimers, "python tasks": _python_loop}
        yield loops.get(request.param, asyncio.SelectorEventLoop)


@pytest.mark.parametrize("app", [_after_a_time_limit, _from_a_thread])
def test_a_step_does_not_end_before_its_tasks_have(
    app: ASGIApp, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Whatever is not known: what a task sends within `linger` arrives."""
    client = Recorder()

    async def main() -> None:
        run = Run(app, {}, client, stage="connect", connection_id="c=", linger=0.5)
        await run.until_answer(asyncio.get_running_loop().time() + 20, patient=True)
        await run.stop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert client.did == ["late"]


def test_an_app_alone_parks_at_once_where_timers_are_hidden() -> None:
    """Its own time limits are none of the run's, so it does not matter that they are unknown."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        async with asyncio.timeout(60):
            await receive()

    async def main() -> Outcome:
        run = Run(app, {}, Recorder(), stage="connect", connection_id="c=", linger=20.0)
        outcome = await run.until_answer(asyncio.get_running_loop().time() + 20, patient=True)
        await run.stop()
        return outcome

    with asyncio.Runner(loop_factory=HiddenTimers) as runner:
        assert runner.run(main()) == "parked"
