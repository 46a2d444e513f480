"""Has a value changed? Told by what is in it, within bounds, and with no code of the app's run."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from longwire.asgi.hints.values import OPAQUE, attributes, differs, note

if TYPE_CHECKING:
    from collections.abc import Callable


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Point(NamedTuple):
    x: int
    of: object = None


@dataclasses.dataclass
class Cart:
    items: list[Any] = dataclasses.field(default_factory=list)
    client: object = None


@dataclasses.dataclass(slots=True)
class Slots:
    n: int = 0


class Default:
    n = 0


class Loud(dict[str, int]):
    """Whose methods nobody may call who only looks."""

    def __len__(self) -> int:
        raise AssertionError

    def __iter__(self) -> Any:
        raise AssertionError

    def get(self, key: str, default: object = None) -> Any:
        raise AssertionError


def set_n(value: Any) -> None:
    value.n = 1


CHANGES: list[tuple[Any, Callable[[Any], object]]] = [
    ([], lambda v: v.append(1)),
    ([[]], lambda v: v[0].append(1)),
    ([1, 2], lambda v: v.reverse()),
    ({}, lambda v: v.update(a=1)),
    ({"a": {"b": [1]}}, lambda v: v["a"]["b"].clear()),
    ({1, 2}, lambda v: v.discard(1)),
    (collections.deque([1]), lambda v: v.popleft()),
    (collections.Counter("a"), lambda v: v.update("a")),
    (collections.defaultdict(list), lambda v: v["a"]),
    (bytearray(b"a"), lambda v: v.extend(b"b")),
    (Cart(), lambda v: v.items.append("a")),
    ([Cart()], lambda v: v[0].items.append("a")),
    (Slots(), set_n),
    (Default(), set_n),
    (Loud(a=1), lambda v: v.update(b=2)),
    (list(range(5000)), lambda v: v.append(1)),
]


@pytest.mark.parametrize(("value", "change"), CHANGES, ids=lambda one: type(one).__name__)
def test_what_changes_inside_is_seen(value: Any, change: Callable[[Any], object]) -> None:
    """In containers and in objects of the app's own, nested as they may be."""
    before = note(value)
    assert not differs(before, note(value))
    change(value)
    assert differs(before, note(value))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0, 1),
        (1, True),
        (1, 1.0),
        ("a", "b"),
        (b"a", "a"),
        (None, 0),
        (None, []),
        (None, Cart()),
        (Color.RED, Color.BLUE),
        (Point(1), Point(2)),
        (datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)),
        (decimal.Decimal(1), decimal.Decimal(2)),
    ],
)
def test_another_value_is_seen(one: object, other: object) -> None:
    """Also of another type."""
    assert differs(note(one), note(other))
    assert not differs(note(one), note(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([], []),
        (Cart(["a"]), Cart(["a"])),
        (float("nan"), None),
        (Cart(client=object()), Cart(client=object())),
        ([object()], [object(), object()]),
        ({"a": object()}, {}),
        ({"type": "websocket.connect"}, {"type": "websocket.receive", "text": "a"}),
        (None, object()),
        (object(), None),
        (asyncio.Queue, asyncio.Event),
        (Point(1, object()), Point(1, object())),
    ],
)
def test_what_is_no_other_data_is_no_change(one: object, other: object) -> None:
    """Connections, tasks and messages come and go."""
    if one != one:
        other = one
    assert not differs(note(one), note(other))


def test_a_ring_has_an_end() -> None:
    """As has what is very large."""
    ring: list[Any] = []
    ring.append(ring)
    assert not differs(note(ring), note(ring))
    large = {n: [str(n)] * 10 for n in range(10_000)}
    assert not differs(note(large), note(large))


def test_an_object_of_a_library_is_opaque() -> None:
    """Nobody knows what of it would be missed."""
    assert note(asyncio.Lock()) == OPAQUE
    assert attributes(Default()) == {"n": 0}
