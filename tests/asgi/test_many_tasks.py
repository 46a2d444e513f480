"""Work on the event loop is linear in tasks and timers, and lets the loop turn.

Counted in calls of functions, in Python and in C, as a profiler sees them: no clock is asked.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from longwire.asgi import quiescence
from longwire.asgi.due import is_due, timers
from longwire.asgi.frames import describe
from longwire.asgi.run import Run
from longwire.asgi.tasks import TaskSet
from tests.asgi.test_run import ACCEPT, Recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from longwire.asgi.stage import Stage
    from longwire.types import Receive, Scope, Send

    Wait = Callable[["World", int], Awaitable[object]]

pytestmark = pytest.mark.anyio

# Calls that take less than 10 ms: one costs less than 0.1 microseconds.
A_TURN = 100_000


class World:
    """What the tasks of an app wait for."""

    def __init__(self, size: int) -> None:
        self.queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(size)]
        self.event = asyncio.Event()
        self.gather: asyncio.Future[Any] | None = None


async def _sleep(world: World, number: int) -> None:
    await asyncio.sleep(36_000)


async def _with_limit(world: World, number: int) -> None:
    async with asyncio.timeout(36_000):
        await world.queues[number].get()


async def _known_queue(world: World, number: int) -> None:
    await world.queues[number].get()


async def _own_queue(world: World, number: int) -> None:
    await asyncio.Queue[int]().get()


async def _event(world: World, number: int) -> None:
    await world.event.wait()


async def _one_gather(world: World, number: int) -> None:
    if world.gather is None:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        done.set_result(0)
        rest = asyncio.create_task(world.event.wait())
        world.gather = asyncio.gather(*(asyncio.shield(done) for _ in world.queues), rest)
    await world.gather


def _crowd(size: int, wait: Wait) -> Any:
    """Make an app of so many tasks beside the one that waits for the client."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        world = World(size)
        tasks = [asyncio.create_task(_begin(wait, world, number)) for number in range(size)]
        await receive()
        await asyncio.gather(*tasks)

    return app


async def _begin(wait: Wait, world: World, number: int) -> None:
    await wait(world, number)


def _run(app: Any, linger: float = 20.0, stage: Stage = "connect") -> Run:
    return Run(app, {}, Recorder(), stage=stage, connection_id="c=", linger=linger)


@contextmanager
def _counted() -> Iterator[list[int]]:
    """Count the calls in each turn of the event loop."""
    loop = asyncio.get_running_loop()
    turns = [0]

    def count(frame: object, event: str, argument: object) -> None:
        turns[-1] += event in ("call", "c_call")

    def turn() -> None:
        turns.append(0)
        handles.append(loop.call_soon(turn))

    handles = [loop.call_soon(turn)]
    gc.disable()  # what it finds of other tests makes calls, too
    sys.setprofile(count)
    try:
        yield turns
    finally:
        sys.setprofile(None)
        gc.enable()
        handles[-1].cancel()


async def _settle(run: Run, size: int) -> None:
    """Let the tasks of an app come to where they wait."""
    while len(run._tasks) <= size:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)


async def _look(size: int, wait: Wait) -> tuple[quiescence.Look, list[int]]:
    """Look at an app of so many tasks; return the calls that each turn of the loop took."""
    run = _run(_crowd(size, wait))
    await _settle(run, size)
    with _counted() as turns:
        look = await run._watch.look(run._task)
    await run.stop()
    return look, turns


WAITS = [
    pytest.param(_sleep, True, id="sleep"),
    pytest.param(_with_limit, True, id="limit"),
    pytest.param(_known_queue, True, id="known queue"),
    pytest.param(_own_queue, False, id="own queue"),
    pytest.param(_event, True, id="event"),
]


@pytest.mark.parametrize(("wait", "parks"), [*WAITS, (_one_gather, True)])
async def test_a_look_is_linear_in_the_tasks(wait: Wait, parks: bool) -> None:
    """Twice as many take twice the calls, not four times."""
    look, few = await _look(400, wait)
    assert (look.outcome == "parked") is parks
    _, many = await _look(800, wait)
    assert sum(many) < 2.5 * sum(few)


@pytest.mark.slow
@pytest.mark.parametrize(("wait", "parks"), WAITS)
async def test_ten_thousand_tasks_are_judged_while_the_loop_turns(wait: Wait, parks: bool) -> None:
    """In far fewer calls than a second has, and never many of them without a turn."""
    look, turns = await _look(10_000, wait)
    assert (look.outcome == "parked") is parks
    assert len(look.busy) == (0 if parks else 10_000)
    assert sum(turns) < 8_000_000
    assert max(turns) < A_TURN


async def test_with_too_many_tasks_all_count_as_busy_unseen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The step takes as long as it may linger, and no call for each of them."""
    monkeypatch.setattr(quiescence, "MOST_TASKS", 400)
    look, turns = await _look(400, _event)  # and the app's own
    assert (look.outcome, look.waits, look.busy) == (None, True, ())
    assert sum(turns) < 100
    run = _run(_crowd(400, _event), linger=0.05)
    deadline = asyncio.get_running_loop().time() + 20
    assert await run.until_answer(deadline, patient=True) == "unanswered"
    assert "_event" in run.cut_off
    await run.stop()


async def test_a_task_that_moves_during_a_long_look_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is judged first may be stirred while the last are judged: that is no rest."""
    run = _run(_crowd(1000, _stirred))
    await _settle(run, 1000)
    first = next(task for task in run._tasks if task not in run._inbox.waiters)
    looking = asyncio.create_task(run._watch.look(run._task))
    for _ in range(4):
        await asyncio.sleep(0)
    assert not looking.done()
    stirred[first].put_nowait(0)
    look = await looking
    assert look.busy == (first,)
    await run.stop()


stirred: dict[asyncio.Task[Any] | None, asyncio.Queue[int]] = {}


async def test_tasks_may_end_while_others_are_looked_at() -> None:
    """One after the other, and all before the look is over."""
    size = 1000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def end_all() -> None:
            for task in tasks:
                await asyncio.sleep(0)
                task.cancel()

        tasks = [asyncio.create_task(asyncio.Event().wait()) for _ in range(size)]
        ending = asyncio.create_task(end_all())
        await receive()
        await send(ACCEPT)
        await receive()
        ending.cancel()

    run = _run(app)
    loop = asyncio.get_running_loop()
    assert await run.until_over(loop.time() + 20) == "parked"
    await run.stop()


async def _stirred(world: World, number: int) -> None:
    stirred[asyncio.current_task()] = world.queues[number]
    await world.queues[number].get()
    await asyncio.get_running_loop().create_future()


async def _look_together(runs: int) -> int:
    """Look at so many runs in one turn of the loop; return the calls that it took."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        sleeper = asyncio.create_task(asyncio.sleep(15))
        await receive()
        await sleeper

    every = [_run(app) for _ in range(runs)]
    for run in every:
        await _settle(run, 1)
    with _counted() as turns:
        looks = await asyncio.gather(*(run._watch.look(run._task) for run in every))
        changes = [
            asyncio.ensure_future(run._watch.change(look, look.next_move))
            for run, look in zip(every, looks, strict=True)
        ]
        await asyncio.gather(*(run._watch.look(run._task) for run in every))
    assert all(len(look.busy) == 1 for look in looks)
    for change in changes:
        change.cancel()
    for run in every:
        await run.stop()
    return sum(turns)


async def test_many_runs_on_a_loop_do_not_look_through_the_timers_of_all() -> None:
    """A thousand connections of `longwire dev` share one; their own timers, too."""
    few = await _look_together(100)
    assert await _look_together(200) < 2.5 * few


async def _rest_together(runs: int) -> int:
    """Ask in one turn of the loop, for so many runs, whether each is about to move."""
    loop = asyncio.get_running_loop()
    for _ in range(runs):
        loop.call_soon(lambda: is_due(loop, TaskSet()))
    with _counted() as turns:
        await asyncio.sleep(0)
    return sum(turns)


async def test_a_few_runs_on_a_loop_do_not_each_look_through_what_is_due() -> None:
    """Fifty clients of `longwire dev` that talk all the time have as much in each turn."""
    few = await _rest_together(20)
    assert await _rest_together(40) < 2.5 * few


async def test_a_timer_that_another_look_did_not_see_is_seen() -> None:
    """It may be set in the very turn in which the timers of all runs were sorted."""
    loop = asyncio.get_running_loop()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        while True:
            await receive()
            loop.call_later(timer_in, lambda: None)

    timer_in = 10.0
    crowd = _run(_crowd(100, _sleep))
    await _settle(crowd, 100)
    for _ in range(3):  # whichever way the loop's list of timers has changed
        run = _run(app, stage="replay")
        await _settle(run, 0)
        assert timers(loop, run._tasks) == []
        run.hand_over({"type": "websocket.receive", "text": "a"})
        await asyncio.sleep(0)
        assert timers(loop, run._tasks) != []
        assert (await run._watch.look(run._task)).outcome is None
        await run.stop()
    await crowd.stop()


async def test_a_log_line_names_a_few_tasks_of_many() -> None:
    """Not ten thousand."""
    run = _run(_crowd(100, _sleep))
    await _settle(run, 100)
    text = describe(run._tasks)
    assert text.count("_sleep (") <= 20
    assert text.endswith("; and 81 more")  # than twenty of 101
    await run.stop()


async def test_cancelled_tasks_clean_up_while_the_loop_turns() -> None:
    """A hundred at a time."""
    run = _run(_crowd(5000, _sleep))
    await _settle(run, 5000)
    with _counted() as turns:
        await run.stop()
    assert all(task.done() for task in run._tasks)
    assert max(turns) < A_TURN
