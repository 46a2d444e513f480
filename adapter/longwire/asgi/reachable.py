"""Whose variables lead to an object: which tasks of a run know it."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections import deque
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from longwire.asgi.frames import frames_of
from longwire.asgi.turns import STEPS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from longwire.asgi.turns import Turns

_Task = asyncio.Task[Any]

# How far the search for an object goes from the variables of another task. It is found within
# a few steps when that task is meant to use it; everything is connected to everything further out.
_SEARCH_STEPS = 8
# So far for what anybody else may have, too: an attribute of an object that the task works for.
KNOWN_CLOSELY = 3
_SEARCH_OBJECTS = 20_000
_SEARCH_OBJECTS_PER_TASK = 100
_LARGEST_WHOLE = 10_000
_OPAQUE = type, ModuleType, asyncio.AbstractEventLoop
_CONTAINERS: tuple[Any, ...] = list, tuple, dict, set, frozenset, deque

# What a task costs, in these steps.
STEPS_PER_TASK = 5


async def known(
    wanted: dict[_Task, object], run: Collection[_Task], turns: Turns, steps: int = _SEARCH_STEPS
) -> set[_Task]:
    """Find the tasks to whose wanted object a variable of another task leads.

    One search from the variables of all tasks: it notes by which task an object is reached first,
    and whether by others, too. So it comes to each object twice at most.
    """
    seekers: dict[int, set[_Task]] = {}
    for task, one in wanted.items():
        seekers.setdefault(id(one), set()).add(task)
    found: set[_Task] = set()
    unseen = object()
    reached: dict[int, object] = {}  # by this task; None: by several
    left = _SEARCH_OBJECTS + _SEARCH_OBJECTS_PER_TASK * len(run)
    # Lists side by side: pairs by the thousand would have the garbage collector run.
    level, finders = await _variables(run, turns)
    for _ in range(steps):
        fresh: list[object] = []
        fresh_of: list[_Task] = []
        for one, by in zip(level, finders, strict=True):
            key = id(one)
            first = reached.get(key, unseen)
            if first is by or first is None:
                continue
            reached[key] = by if first is unseen else None
            if key in seekers:
                found |= seekers[key] - {by}
                if len(found) == len(wanted):
                    return found
            fresh.append(one)
            fresh_of.append(by)
            if len(fresh) % STEPS_AT_ONCE == 0:
                await turns.step(STEPS_AT_ONCE)
        level, finders = await _expand(fresh, fresh_of, left, turns)
        left -= len(level)
    return found


async def _expand(
    level: list[object], finders: list[_Task], most: int, turns: Turns
) -> tuple[list[object], list[_Task]]:
    """List what these objects hold, up to so many, and for each by which task it is found."""
    parts: list[object] = []
    tasks: list[_Task] = []
    steps = 0
    for one, by in zip(level, finders, strict=True):
        if len(parts) >= most:
            break
        kind: Any = type(one)
        parts += [part for part in way_into(kind)(one) if gc.is_tracked(part)]
        steps += 2 + len(parts) - len(tasks)
        tasks += [by] * (len(parts) - len(tasks))
        if steps > STEPS_AT_ONCE // 10:
            await turns.step(steps)
            steps = 0
    return parts, tasks


async def _variables(run: Iterable[_Task], turns: Turns) -> tuple[list[object], list[_Task]]:
    """List the variables of tasks, and for each of them its task."""
    values: list[object] = []
    tasks: list[_Task] = []
    for task in tuple(run):  # it may change between two steps
        for frame in frames_of(task):
            values += frame.f_locals.values()
        tasks += [task] * (len(values) - len(tasks))
        await turns.step(STEPS_PER_TASK)
    return values, tasks


@functools.lru_cache(256)
def way_into(kind: type) -> Callable[[Any], Iterable[object]]:
    """Return what lists the parts of objects of a type; no code of these objects runs."""
    # The second is how `asyncio.isfuture` tells the type of a future, of whatever kind.
    if issubclass(kind, _OPAQUE) or hasattr(kind, "_asyncio_future_blocking"):
        return lambda whole: ()
    if kind is FunctionType:
        return lambda whole: whole.__closure__ or ()
    for container in _CONTAINERS:
        if issubclass(kind, container):
            size = container.__len__
            return lambda whole: gc.get_referents(whole) if size(whole) <= _LARGEST_WHOLE else ()
    return gc.get_referents
