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

from longwire.asgi import suspended
from longwire.asgi.hints import own

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

_SIMPLE = {
    *(bool, int, float, complex, str, bytes, NoneType, range, decimal.Decimal, fractions.Fraction),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, uuid.UUID),
}
_MAPPINGS = {dict, OrderedDict, defaultdict, Counter}
_SEQUENCES = {list, tuple, deque}
_SETS = {set, frozenset}
_DATA = (dict, list, tuple, deque, set, frozenset)

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
        return kind, self._of_items(attributes(value).items(), levels)

    def _of_data(self, value: Any, kind: Any, levels: int) -> Hashable:
        is_own = own.is_class(kind)
        if levels == 0 or self._left <= 0:
            return kind, len(value)
        if isinstance(value, dict) and (is_own or kind in _MAPPINGS):
            if _is_asgi(value):
                return OPAQUE
            return kind, self._of_items(dict.items(value), levels)
        if isinstance(value, (set, frozenset)) and (is_own or kind in _SETS):
            return kind, frozenset(self._of_each(value, levels))
        # A class of `collections.namedtuple` is its author's, in whatever module.
        if is_own or kind in _SEQUENCES or hasattr(kind, "_fields"):
            return kind, tuple(self._of_each(value, levels))
        return OPAQUE

    def _of_each(self, values: Any, levels: int) -> Iterator[Hashable]:
        for value in self._first(values):
            if (noted := self.of(value, levels - 1)) != OPAQUE:
                yield noted
        if self._left <= 0:
            yield len(values)

    def _of_items(self, items: Any, levels: int) -> Hashable:
        pairs = [
            (self.of(key, levels - 1), noted)
            for key, value in self._first(items)
            if (noted := self.of(value, levels - 1)) != OPAQUE
        ]
        return tuple(pairs), len(items) if self._left <= 0 else None

    def _first(self, values: Iterable[Any]) -> list[Any]:
        # A list at once, since a thread of the app may change them.
        first = list(itertools.islice(values, max(0, self._left)))
        self._left -= len(first)
        return first


def _is_asgi(value: dict[Any, Any]) -> bool:
    """Tell a scope or a message of ASGI, which an app gets and does not keep."""
    kind = value.get("type")
    return isinstance(kind, str) and kind.partition(".")[0] in ("websocket", "http", "lifespan")


def attributes(value: object) -> dict[str, Any]:
    """Return the attributes of an object of the app's own, with the defaults of its class."""
    try:
        found = dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:
        found = {}
    for base in type(value).__mro__:
        if own.is_class(base):
            for name, default in list(vars(base).items()):
                if isinstance(default, MemberDescriptorType):  # one of `__slots__`
                    default = getattr(value, name, None)
                if not name.startswith("__"):
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
    roots: list[object] = [app]
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
            parts += suspended.way_into(kind)(one)
            if len(seen) + len(parts) > _SEARCH_OBJECTS:
                return False
        level = parts
    return False


def _is_simple(value: object) -> bool:
    return type(value) in _SIMPLE or isinstance(value, enum.Enum)


def _is_ours(one: object) -> bool:
    return str(type(one).__module__).startswith("longwire.")
