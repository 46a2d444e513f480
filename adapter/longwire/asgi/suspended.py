"""What a suspended task waits for, read from its frames.

A step of a run is over when the app waits for the client and nothing else of the run can move by
itself. The second half needs an answer to "could this task go on without the client?": a task is
*quiet* when only another task of the same run can wake it. All that is not known to be quiet counts
as busy: a socket, a timer, a thread, a lock that somebody else may hold.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from longwire.asgi import tasks as owned
from longwire.asgi.due import awaited_future, is_runnable
from longwire.asgi.frames import frames_of, is_of_an_app, module_of, place
from longwire.asgi.reachable import KNOWN_CLOSELY, STEPS_PER_TASK, known
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Set
    from types import FrameType

    from longwire.asgi.turns import Turns


_Task = asyncio.Task[Any]

# All that is read here of asyncio and anyio without being documented. It differs between versions
# of Python, event loops and kinds of tasks, so each of these has a test, and wherever one is
# missing or a frame looks different, a task counts as busy: its step takes as long as it may
# linger, and nothing is lost.

# The futures that an `asyncio.gather` waits for.
CHILDREN = "_children"
# The module of futures made in Python, as nest_asyncio and debuggers have them.
FUTURES = "asyncio.futures"

# Frames, each by its module and its qualified name.
# Where a task waits for tasks that are its own children, or that it names.
JOINING = {
    ("asyncio.taskgroups", "TaskGroup.__aexit__"),
    ("asyncio.taskgroups", "TaskGroup._aexit"),
    ("anyio._backends._asyncio", "TaskGroup.__aexit__"),
}
# Where a task waits for somebody who knows the same object, its `self`. Not locks and semaphores:
# whoever holds one may belong to another run.
MEETING = {
    ("asyncio.queues", "Queue.get"),
    ("asyncio.queues", "Queue.put"),
    ("asyncio.queues", "Queue.join"),
    ("asyncio.locks", "Event.wait"),
    ("asyncio.locks", "Condition.wait"),
}
# Functions of `asyncio.tasks`: those that wait for the futures in one of their own variables,
# the one in which `as_completed` waits for its tasks behind a queue, and `sleep`.
WAITING_VARIABLE = {"wait_for": "fut", "_wait": "fs"}
AS_COMPLETED = "_wait_for_one"
SLEEP = "sleep"
# Where anyio waits; all but its events may be sockets.
ANYIO = "anyio._backends"
ANYIO_EVENT = "Event."


class Waits(NamedTuple):
    """What tasks of a run wait for."""

    busy: list[_Task]  # these: something that may come by itself
    asleep: set[_Task]  # these, of the busy ones: the end of an `asyncio.sleep`
    alone: set[_Task]  # these, of the busy ones: somebody with a queue that no other task knows


async def judge(
    tasks: Iterable[_Task], run: Collection[_Task], clients: Set[_Task], turns: Turns
) -> Waits:
    """Tell what these tasks of a run wait for; `clients` are those that wait for the client.

    A task is quiet, and not busy, when only another task of the run can wake it.
    """
    quiet: dict[_Task, bool] = {}
    asleep: set[_Task] = set()
    meeting: dict[_Task, object] = {}  # who waits for somebody who knows this object
    pumped: dict[_Task, object] = {}  # who waits for a task of `clients`, or for this of its doing
    joined: dict[object, list[asyncio.Future[Any]]] = {}  # several may wait for one gather
    for task in tasks:
        await turns.step(STEPS_PER_TASK)
        quiet[task] = False
        frames = _frames(task)
        if not frames or is_runnable(task):
            continue
        innermost = frames[-1]
        future = awaited_future(task)
        if future not in joined:
            awaited = awaited_by(task, innermost)
            await turns.step(len(awaited))
            joined[future] = [one for one in awaited if not (one.done() or one in run)]
            if len(joined[future]) == 1 and not clients.isdisjoint(awaited):
                pumped[task] = joined[future][0]
        quiet[task] = not joined[future]
        where = _where(innermost)
        if where in JOINING or _joins_by_completion(frames):
            quiet[task] = True
        elif where in MEETING:
            quiet[task] = False
            shared = innermost.f_locals.get("self")
            if shared is not None and not _is_io(frames):
                meeting[task] = shared
        elif where == ("asyncio.tasks", SLEEP):
            asleep.add(task)
    woken = await _met(meeting, run, turns) if meeting else set()
    alone = {task for task in meeting.keys() - woken if isinstance(meeting[task], asyncio.Queue)}
    if pumped:
        woken |= await known(pumped, clients, turns, KNOWN_CLOSELY)
    quiet.update(dict.fromkeys(woken, True))
    return Waits([task for task, is_quiet in quiet.items() if not is_quiet], asleep, alone)


async def _met(meeting: dict[_Task, object], run: Collection[_Task], turns: Turns) -> set[_Task]:
    """Tell for which of these objects only the run has anybody who knows them."""
    met = await known(meeting, run, turns)
    if met and (workers := owned.workers(asyncio.get_running_loop())):
        # A worker of the app that has such an object at hand may be about to use it.
        met -= await known({task: meeting[task] for task in met}, workers, turns, KNOWN_CLOSELY)
    return met


def _frames(task: _Task) -> list[FrameType]:
    # Futures made in Python have a frame of their own, below the one of who awaits them.
    return [frame for frame in frames_of(task) if module_of(frame) != FUTURES]


def _where(frame: FrameType) -> tuple[str, str]:
    return module_of(frame), frame.f_code.co_qualname


def sleeps(frames: list[FrameType]) -> bool:
    """Tell whether a task with these frames is inside `asyncio.sleep`."""
    return bool(frames) and _where(frames[-1]) == ("asyncio.tasks", SLEEP)


def waits_for_others(task: _Task, elsewhere_than: Collection[str]) -> bool:
    """Tell whether a task waits for another one, at none of these places; none that sleeps does."""
    frames = _frames(task)
    if not frames or sleeps(frames):
        return False
    return is_of_an_app(task) and place(task) not in elsewhere_than


def _joins_by_completion(frames: list[FrameType]) -> bool:
    """Tell whether this is `asyncio.as_completed`, which waits for its tasks behind a queue."""
    return any(
        frame.f_code.co_name == AS_COMPLETED and module_of(frame) == "asyncio.tasks"
        for frame in frames[-2:]
    )


def awaited_by(task: _Task, frame: FrameType) -> Collection[asyncio.Future[Any]]:
    """List the futures that must move first; the awaited one itself when nothing more is known."""
    future = awaited_future(task)
    if isinstance(children := getattr(future, CHILDREN, None), list):
        return children
    in_tasks = module_of(frame) == "asyncio.tasks"
    variable = WAITING_VARIABLE.get(frame.f_code.co_name) if in_tasks else None
    named = frame.f_locals.get(variable) if variable else None
    if isinstance(named, (set, frozenset)):
        return named
    return [one for one in (named, future) if asyncio.isfuture(one)][:1]


def _is_io(frames: list[FrameType]) -> bool:
    """Tell whether an event stands for a socket: anyio and psycopg wait for theirs in this way."""
    for frame in reversed(frames):
        module, name = module_of(frame), frame.f_code.co_qualname
        if module.startswith("psycopg"):
            return True
        if module.startswith(ANYIO) and not name.startswith(ANYIO_EVENT):
            return True
        if not module.startswith(("asyncio", "anyio")):
            return False
    return False
