"""Which values JSON gives back as they were, and why it does not so with others."""

from __future__ import annotations

import json
import math
from types import NoneType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Levels of lists and dicts in a value: far fewer than make JSON's recursion fail.
MAX_DEPTH = 100
_ATOMS = (str, int, float, bool, NoneType)
_CONTAINERS = (dict, list, tuple)
encode: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode


def are_alike(value: object, before: object) -> bool:
    """Tell whether two atoms are the same: 1 is neither True nor 1.0, and 0.0 is not -0.0."""
    kind = type(value)
    if kind is not type(before) or kind not in _ATOMS or value != before:
        return False
    return kind is not float or str(value) == str(before)


def text(value: object) -> str:
    """Return a value's JSON; "" if it has none."""
    try:
        return encode(value)
    except Exception:  # JSON's own errors, a RecursionError, and whatever a subclass may raise
        return ""


def wrong(value: Any, text: str, *, tuples: bool = False) -> str:
    """Return why JSON would not give a value back as it is; "" if it does.

    With `tuples`, those may become lists.
    """
    seen: set[int] = set()  # a value may contain itself
    level: list[Any] = [value]
    while level:
        inner: list[Any] = []
        for one in level:
            kind = type(one)
            if kind is dict or kind is list or (tuples and kind is tuple):
                if kind is dict and not all(type(key) is str for key in one):
                    return "it has a dict with keys that are no str"
                if id(one) not in seen:
                    seen.add(id(one))
                    inner += _inside(one)
            elif reason := _wrong_atom(one):
                return reason
        level = inner
    if not text:
        return "it contains itself, is nested too deeply, or has a dict or number JSON cannot hold"
    return "" if _is_shallow([value], MAX_DEPTH) else f"it is nested over {MAX_DEPTH} levels deep"


def _is_shallow(level: list[Any], depth: int) -> bool:
    """Tell whether values that do not contain themselves have so few levels."""
    for _ in range(depth):
        level = [each for one in level if isinstance(one, _CONTAINERS) for each in _inside(one)]
        if not level:
            return True
    return not any(isinstance(one, _CONTAINERS) for one in level)


def are_plain(parsed: list[Any], most: int) -> bool:
    """Tell whether these values, which JSON held, are such as these functions write."""
    try:
        text = json.dumps(parsed, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (ValueError, RecursionError):  # no number; half of a surrogate pair
        return False
    return size <= most and _is_shallow(parsed, MAX_DEPTH + 1)


def _inside(container: Any) -> list[Any]:
    if isinstance(container, dict):
        return [*container, *container.values()]
    return list(container)


def _wrong_atom(value: object) -> str:
    if type(value) not in _ATOMS:
        return f"it has a value of type {type(value).__name__}, which JSON would not give back"
    if isinstance(value, float) and not math.isfinite(value):
        return "it has a number that is not finite"
    if isinstance(value, str) and not is_text(value):
        return "it has half of a surrogate pair"
    return ""


def is_text(text: str) -> bool:
    try:
        return text.isascii() or text.encode() is not None
    except UnicodeEncodeError:
        return False
