"""What to tell an app's author about a run: what the next event will not know, and acts in vain.

Compares what the app's own functions hold when a message is handed over with what they hold when
the app waits again. For a `Run` it is one object with four calls; texts are all that leaves it.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from longwire.asgi import suspended
from longwire.asgi.channel import runs_consumers
from longwire.asgi.frames import frames_of
from longwire.asgi.hints import liveness, own, values
from longwire.asgi.inbox import Inbox
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable

    _Task = asyncio.Task[Any]
    _Stacks = dict[_Task, "_Stack"]

_Tell = Callable[[str], object]
_Notes = dict[str, "Hashable"]
_Line = tuple[str, int]

# Whoever writes this attribute of a consumer expects to be run for group messages.
CHANNEL_LAYER = "channel_layer"

# The methods that frameworks call with a message.
RECEIVING = {"receive", "receive_json", "websocket_receive", "on_receive"}

# What the app calls to wait for the client.
_RECEIVE = Inbox.receive.__code__

# Of an app with more tasks only those are looked at that wait for the client.
MOST_TASKS = 200

# What this process has been told, or need not be: each text once.
decided: set[str] = set()

# The runs that are being cancelled, whose connections go on.
_ending: set[Hints] = set()


class _Change(NamedTuple):
    """A variable that has changed, and where its author finds it."""

    name: str
    value: object
    place: _Line
    of: object  # the function's frame, or the object that has the attribute


class _Stack(NamedTuple):
    """The frames of a task, outermost first, and which of them are of the app's own code."""

    frames: list[FrameType]
    own: list[FrameType]


class Hints:
    """Watches one run of an app; `tell` gets each text."""

    def __init__(self, app: object, scope: object, tell: _Tell) -> None:
        self._app = app
        self._scope = scope
        self._tell = tell
        self._variables: dict[int, tuple[FrameType, _Notes]] = {}
        self._attributes: dict[int, tuple[object, _Notes]] = {}
        self._waited_at: list[_Line] | None = None
        self._suspended: set[FrameType] = set()
        # The frames that were looked at, those of the app's own code, and whose methods they are.
        # Most of them are still there when the app waits again.
        self._known: set[FrameType] = set()
        self._own: set[FrameType] = set()
        self._selves: dict[FrameType, object] = {}

    def hand_over(self, main: _Task, tasks: Collection[_Task], clients: Collection[_Task]) -> None:
        """Note what the app holds as it gets a message; `clients` wait for the client."""
        try:
            self._note(self._stacks(main, tasks, clients), clients)
        except Exception as error:
            self._say_of(error)

    def park(self, main: _Task, tasks: Collection[_Task], clients: Collection[_Task]) -> None:
        """Say what will be forgotten: the app waits again, and is about to be cancelled."""
        try:
            self._look_again(self._stacks(main, tasks, clients), clients)
        except Exception as error:
            self._say_of(error)

    def swallowed(self, message: object = None) -> None:
        """Say it if the app's own code has sent something while it is being cancelled.

        `message` is the one that a framework or a middleware may have passed on.
        """
        called: list[FrameType] = []  # innermost first
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not _was_suspended(frame):
            if own.is_frame(frame) and not _passes_on(frame, message):
                called.append(frame)
            frame = frame.f_back
        if frame is None:
            return
        # What a framework that is cancelled calls at each end, on_disconnect say, has its effect at
        # the real one. A dependency with `yield` is no such call but goes on, as a `finally` does.
        going_on = [one for one in called if _is_generator(one)]
        if own.is_frame(frame):
            going_on.append(frame)
        if going_on:
            place = own.place(going_on[0].f_code.co_filename, going_on[0].f_lineno)
            self._say(
                f"{place}: sent while only the event ends; that has no effect: the connection goes "
                "on (docs/state.md)"
            )

    def over(self) -> None:
        """Let go of the run."""
        _ending.discard(self)
        self._suspended.clear()
        self._variables.clear()
        self._attributes.clear()
        self._known.clear()
        self._own.clear()
        self._selves.clear()

    def _stacks(self, main: _Task, tasks: Collection[_Task], clients: Collection[_Task]) -> _Stacks:
        """Return the frames of tasks; the app's first task comes first."""
        others = tasks if len(tasks) <= MOST_TASKS else ()
        return {task: self._stack(task) for task in dict.fromkeys((main, *clients, *others))}

    def _stack(self, task: _Task) -> _Stack:
        frames = _frames_of(task)
        if news := [frame for frame in frames if frame not in self._known]:
            self._known.update(news)
            self._own.update(own.among(news))
            self._selves.update(_selves(news))
        return _Stack(frames, [frame for frame in frames if frame in self._own])

    def _objects(self, stacks: _Stacks) -> list[object]:
        """List the objects of the app's own classes in whose methods, or a base's, it waits."""
        if not self._selves:
            return []
        found = [self._selves[frame] for frame in _frames(stacks) if frame in self._selves]
        return list({id(one): one for one in found}.values())

    def _note(self, stacks: _Stacks, clients: Collection[_Task]) -> None:
        self._waited_at = _waits_at(stacks, clients)
        for frame in itertools.chain(*(stack.own for stack in stacks.values())):
            self._variables[id(frame)] = frame, _noted(frame.f_locals)
        for one in self._objects(stacks):
            self._attributes[id(one)] = one, _noted(values.attributes(one))

    def _look_again(self, stacks: _Stacks, clients: Collection[_Task]) -> None:
        self._suspended = set(_frames(stacks))
        _ending.add(self)
        objects = self._objects(stacks)
        for one in objects:
            if _expects_group_messages(one):
                self._say(
                    f"consumer {type(one).__name__} waits for a channel layer that is not "
                    "Longwire's, but nobody runs it for that between events: set "
                    '"BACKEND": "longwire.channels.ChannelLayer" in CHANNEL_LAYERS '
                    "(docs/channels.md)"
                )
        if self._waited_at is not None:
            self._compare(stacks, objects)
            self._compare_places(self._waited_at, _waits_at(stacks, clients))

    def _say_of(self, error: Exception) -> None:
        # An object that is like no other must not disturb the event that is looked at.
        self._say(f"the app's variables could not be looked at: {error!r}")

    def _compare(self, stacks: _Stacks, objects: list[object]) -> None:
        changes = self._changed_variables(stacks)
        if objects:
            changes += self._changed_attributes(stacks, objects)
        if not changes:
            return
        states = [self._scope, *_scopes(stacks)]
        kept = [one.get(name) for one in states if isinstance(one, dict) for name in _KEPT]
        for change in changes:
            text = (
                f"{own.place(*change.place)}: {change.name!r} changed while a message was handled "
                "and will be forgotten: keep it in ws.state (docs/state.md)"
            )
            if text in decided or values.keeps(kept, change.name.split(".")[-1], change.value):
                continue
            shared = values.is_shared(change.value, self._app) or (
                not isinstance(change.of, FrameType) and values.is_shared(change.of, self._app)
            )
            if shared:  # no search again at the next message
                decided.add(text)
            self._say(text)

    def _changed_variables(self, stacks: _Stacks) -> list[_Change]:
        changes = []
        # What goes on by itself changes with or without a message.
        awake = [stack.own for stack in stacks.values() if not suspended.sleeps(stack.frames)]
        for frame in itertools.chain(*awake):
            _, before = self._variables.get(id(frame), (None, {}))
            if not before:
                continue
            later = liveness.read_later(frame)
            line = frame.f_code.co_filename, frame.f_lineno
            for name, value in frame.f_locals.items():
                if name not in before or name not in later:
                    continue
                is_told = id(value) in self._attributes  # as `self`
                if not is_told and values.differs(before[name], values.note(value)):
                    changes.append(_Change(name, value, line, frame))
        # A variable that functions share is told where it belongs, if that can be seen.
        owned = {change.name for change in changes if not _is_borrowed(change)}
        return [one for one in changes if not (_is_borrowed(one) and one.name in owned)]

    def _changed_attributes(self, stacks: _Stacks, objects: list[object]) -> list[_Change]:
        changes = []
        frames = itertools.chain(*(stack.own for stack in stacks.values()))
        next_ones = list(map(liveness.attributes_assigned_next, frames))
        for one in objects:
            _, before = self._attributes.get(id(one), (None, {}))
            if not before:
                continue
            anew = _assigned_anew(type(one)).union(*next_ones)
            for name, value in values.attributes(one).items():
                if name not in before or name in anew:
                    continue
                # What no code of the app's own names belongs to its framework.
                codes = own.functions(type(one))
                if values.differs(before[name], values.note(value)) and (
                    place := liveness.line_of_attribute(codes, name)
                ):
                    changes.append(_Change(f"self.{name}", value, place, one))
        return changes

    def _compare_places(self, before: list[_Line], now: list[_Line]) -> None:
        if before == now or not (before and now):
            return
        pairs = list(zip(before, now, strict=False))
        was, waits = next((pair for pair in pairs if pair[0] != pair[1]), (before[-1], now[-1]))
        again = f"line {was[1]}" if was[0] == waits[0] else own.place(*was)
        self._say(
            f"{own.place(*waits)}: the app waits for the client in another line than after "
            f"connect: the next message will be given to {again} again (docs/state.md)"
        )

    def _say(self, text: str) -> None:
        if text not in decided:
            decided.add(text)
            self._tell(text)


# Where in a scope something outlives its event.
_KEPT = "state", "session"


def _frames_of(task: _Task) -> list[FrameType]:
    """Walk the frames of a task that waits, or that is about to and calls this, outermost first."""
    if task is not asyncio.current_task():
        return frames_of(task)
    outermost = getattr(task.get_coro(), "cr_frame", None)
    frame: FrameType | None = sys._getframe()
    frames: list[FrameType] = []
    while frame is not None and frame.f_code is not _RECEIVE:
        frame = frame.f_back  # what is called here belongs to nobody who waits
    while frame is not None:
        frames.append(frame)
        frame = None if frame is outermost else frame.f_back
    return frames[::-1]


def _frames(stacks: _Stacks) -> Iterator[FrameType]:
    return itertools.chain(*(stack.frames for stack in stacks.values()))


def _waits_at(stacks: _Stacks, clients: Collection[_Task]) -> list[_Line]:
    """Return the lines of the app's own code that lead to where it waits for the client."""
    inside = [stack for task, stack in stacks.items() if task in clients]
    if found := _own_lines(inside):
        return found
    # A task that is a framework's `receive()` alone is waited for by somebody.
    by_name = [
        stack
        for task, stack in stacks.items()
        if stack.frames
        and not set(clients).isdisjoint(suspended.awaited_by(task, stack.frames[-1]))
    ]
    return _own_lines(by_name)


def _own_lines(stacks: list[_Stack]) -> list[_Line]:
    lines = (
        [
            (frame.f_code.co_filename, frame.f_lineno)
            for frame in stack.own
            if frame.f_lineno is not None
        ]
        for stack in stacks
    )
    return list(itertools.chain(*sorted(lines)))


def _selves(frames: Iterable[FrameType]) -> Iterator[tuple[FrameType, object]]:
    """Find the objects of the app's own classes in whose methods, or a base's, some frames are."""
    for frame in frames:
        names = frame.f_code.co_varnames
        if names and names[0] == "self":  # `f_locals` costs more
            one = frame.f_locals.get("self")
            kind: Any = type(one)
            if own.is_class(kind):
                yield frame, one


def _scopes(stacks: _Stacks) -> list[object]:
    """List the scopes that frameworks may have made of the first one."""
    return [frame.f_locals["scope"] for frame in _frames(stacks) if "scope" in frame.f_locals]


def _assigned_anew(kind: type) -> frozenset[str]:
    """Return the attributes that each message assigns before anybody reads them."""
    hooks = [code for code in own.functions(kind) if code.co_name in RECEIVING]
    return frozenset().union(*map(liveness.attributes_assigned_first, hooks))


def _noted(variables: dict[str, Any]) -> _Notes:
    return {name: values.note(value) for name, value in variables.items()}


def _is_borrowed(change: _Change) -> bool:
    return isinstance(change.of, FrameType) and change.name in change.of.f_code.co_freevars


def _expects_group_messages(one: object) -> bool:
    """Tell a consumer of Channels whose own code has to do with groups."""
    bases = [(base.__module__, base.__name__) for base in type(one).__mro__]
    if ("channels.consumer", "AsyncConsumer") not in bases:
        return False
    found = values.attributes(one)
    layer = found.get(CHANNEL_LAYER)
    if layer is None or runs_consumers(layer):
        return False
    names = (code.co_names for code in own.functions(type(one)))
    return bool(found.get("groups")) or CHANNEL_LAYER in itertools.chain(*names)


def _was_suspended(frame: FrameType) -> bool:
    return any(frame in one._suspended for one in tuple(_ending))


def _passes_on(frame: FrameType, message: object) -> bool:
    return message is not None and any(one is message for one in frame.f_locals.values())


def _is_generator(frame: FrameType) -> bool:
    return bool(frame.f_code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR))
