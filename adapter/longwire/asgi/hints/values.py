"""Has a value changed? Compares plain data by what is in it, and runs no code of the app's."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import itertools
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from types import CoroutineType, FrameType, GeneratorType, MemberDescriptorType, NoneType
from typing import TYPE_CHECKING, Any

from longwire.asgi import reachable
from longwire.asgi.hints import own

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

_SIMPLE = {
    *(bool, int, float, complex, str, bytes, NoneType, range, decimal.Decimal, fractions.Fraction),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, uuid.UUID),
}
_DATA: tuple[Any, ...] = dict, list, tuple, deque, set, frozenset
_PLAIN = {*_DATA, OrderedDict, defaultdict, Counter}
_SETS = {set, frozenset}

# What is noted of one variable, and how deep.
_MOST_ITEMS = 1000
_MOST_LEVELS = 6

# How far the search goes for what all connections of a process share.
_SEARCH_STEPS = 12
_SEARCH_OBJECTS = 50_000
# These lead to what belongs to one connection.
_PATHS_OF_RUNS = FrameType, CoroutineType, GeneratorType

OPAQUE = "opaque"
"""What is noted of all that is no plain data: connections, tasks, clients of databases."""


def note(value: object) -> Hashable:
    """Return what tells whether a value is still the same."""
    return _Notes().of(value, _MOST_LEVELS)


def differs(before: Hashable, now: Hashable) -> bool:
    """Tell whether plain data has become other plain data."""
    return before != now and OPAQUE not in (before, now)


class _Notes:
    """Notes of one value, within bounds."""

    def __init__(self) -> None:
        self._left = _MOST_ITEMS

    def of(self, value: Any, levels: int) -> Hashable:
        kind: Any = type(value)
        if kind in _SIMPLE:
            return kind, value
        if isinstance(value, enum.Enum):
            return kind, id(value)
        if kind is bytearray:
            return kind, bytes(value)
        if isinstance(value, _DATA):
            return self._of_data(value, kind, levels)
        if not own.is_data(kind):
            return OPAQUE
        if levels == 0:
            return kind, ...
        found = attributes(value)
        return kind, self._of_items(found.items(), len(found), levels)

    def _of_data(self, value: Any, kind: Any, levels: int) -> Hashable:
        # A class of `collections.namedtuple` is its author's, in whatever module.
        if not (kind in _PLAIN or own.is_class(kind) or hasattr(kind, "_fields")):
            return OPAQUE
        if isinstance(value, dict) and _is_asgi(value):
            return OPAQUE
        base = next(one for one in _DATA if isinstance(value, one))  # whose methods no class has
        size = base.__len__(value)
        if levels == 0 or self._left <= 0:
            return kind, size
        if base is dict:
            return kind, self._of_items(dict.items(value), size, levels)
        each = self._of_each(base.__iter__(value), size, levels)
        return kind, frozenset(each) if base in _SETS else tuple(each)

    def _of_each(self, values: Iterable[Any], size: int, levels: int) -> Iterator[Hashable]:
        for value in self._first(values):
            if (noted := self.of(value, levels - 1)) != OPAQUE:
                yield noted
        if self._left <= 0:
            yield size

    def _of_items(self, items: Iterable[tuple[Any, Any]], size: int, levels: int) -> Hashable:
        pairs = [
            (self.of(key, levels - 1), noted)
            for key, value in self._first(items)
            if (noted := self.of(value, levels - 1)) != OPAQUE
        ]
        return tuple(pairs), size if self._left <= 0 else None

    def _first(self, values: Iterable[Any]) -> list[Any]:
        first = list(itertools.islice(values, max(0, self._left)))
        self._left -= len(first)
        return first


def _is_asgi(value: dict[Any, Any]) -> bool:
    """Tell a scope or a message of ASGI, which an app gets and does not keep."""
    kind = dict.get(value, "type")
    return isinstance(kind, str) and kind.partition(".")[0] in ("websocket", "http", "lifespan")


def attributes(value: object) -> dict[str, Any]:
    """Return the attributes of an object of the app's own, with the defaults of its class."""
    try:
        found = dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:  # its class has `__slots__`
        found = {}
    for base in type(value).__mro__:
        if own.is_class(base):
            for name, default in list(vars(base).items()):
                if name.startswith("__"):
                    continue
                if isinstance(default, MemberDescriptorType):
                    try:
                        default = default.__get__(value)
                    except AttributeError:  # not assigned yet
                        continue
                found.setdefault(name, default)
    return found


def keeps(states: Iterable[object], name: str, value: object) -> bool:
    """Tell whether a variable only shows what one of these states keeps."""
    for state in states:
        if isinstance(state, dict):
            if name in state and not differs(note(state[name]), note(value)):
                return True
            if not _is_simple(value) and _leads([state], value, _MOST_LEVELS):
                return True
    return False


def is_shared(value: object, app: object) -> bool:
    """Tell whether something belongs to the process and not to one connection."""
    if _is_simple(value):
        return False
    if _leads([app], value, _SEARCH_STEPS):  # by itself: modules may lead to too many objects
        return True
    roots: list[object] = []
    for module in own.modules():
        for one in list(vars(module).values()):
            roots += vars(one).values() if isinstance(one, type) and own.is_class(one) else [one]
    return _leads(roots, value, _SEARCH_STEPS)


def _leads(roots: list[object], wanted: object, steps: int) -> bool:
    """Tell whether these objects lead to another one."""
    seen: set[int] = set()
    level = roots
    for _ in range(steps):
        parts: list[object] = []
        for one in level:
            if one is wanted:
                return True
            if id(one) in seen or isinstance(one, _PATHS_OF_RUNS) or _is_ours(one):
                continue
            seen.add(id(one))
            kind: Any = type(one)
            parts += reachable.way_into(kind)(one)
            if len(seen) + len(parts) > _SEARCH_OBJECTS:
                return False
        level = parts
    return False


def _is_simple(value: object) -> bool:
    return type(value) in _SIMPLE or isinstance(value, enum.Enum)


def _is_ours(one: object) -> bool:
    return str(type(one).__module__).startswith("longwire.")
