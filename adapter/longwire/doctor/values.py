"""What a property of a resource may be, besides what JSON has.

Templates refer to what is known only when they are deployed. Such a value stays a reference: two
that refer to the same are equal, and of all others nothing is guessed.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable


class Unknown(enum.Enum):
    """Nobody can tell from the file."""

    UNKNOWN = "?"


UNKNOWN = Unknown.UNKNOWN


class Ref(NamedTuple):
    """What is known only when the stack is deployed.

    `open`: it may turn out to be anything, as a parameter may. What is not open is of a resource of
    the stack, and so equals no name that somebody has written down.
    """

    name: str
    attribute: str = ""
    open: bool = False


class Text(NamedTuple):
    """A text with such values in it."""

    parts: tuple[str | Ref | Unknown, ...]


Value: TypeAlias = Any  # what JSON has, a Ref, a Text or UNKNOWN

# Longer texts are none that is looked at; names that double each other would fill the memory.
MOST_TEXT = 100_000


def joined(parts: Iterable[Value]) -> Value:
    """Make one value of the parts of a text: a str if all of them are known, and not too long."""
    found: list[str | Ref | Unknown] = []
    size = 0
    for part in _flat(parts):
        size += len(part) if isinstance(part, str) else 1
        if size > MOST_TEXT:
            return UNKNOWN
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part != "":
            found.append(part)
    if not found:
        return ""
    if len(found) == 1:
        return found[0]
    return Text(tuple(found))


def _flat(parts: Iterable[Value]) -> Iterable[str | Ref | Unknown]:
    for part in parts:
        if isinstance(part, Text):
            yield from part.parts
        elif isinstance(part, str | Ref | Unknown):
            yield part
        elif isinstance(part, bool):
            yield str(part).lower()
        elif isinstance(part, int | float):
            yield str(part)
        else:
            yield UNKNOWN


def parts_of(value: Value) -> tuple[str | Ref | Unknown, ...]:
    """Take a text apart; what is no text is unknown."""
    return tuple(_flat([value]))


def refs_in(value: Value) -> list[Ref]:
    """Return what a text refers to."""
    return [part for part in parts_of(value) if isinstance(part, Ref)]


def is_known(value: Value) -> bool:
    """Tell whether it is what JSON has, all through."""
    if isinstance(value, dict):
        return all(map(is_known, value.values()))
    if isinstance(value, list):
        return all(map(is_known, value))
    return not isinstance(value, Ref | Text | Unknown)


def is_open(value: Value) -> bool:
    """Tell whether it may turn out to be anything."""
    return any(
        isinstance(part, Unknown) or (isinstance(part, Ref) and part.open)
        for part in parts_of(value)
    )


def same(one: Value, other: Value) -> bool | None:
    """Tell whether two texts are equal; None: nobody can tell."""
    if UNKNOWN in parts_of(one) or UNKNOWN in parts_of(other):
        return None
    if one == other:
        return True
    return None if is_open(one) or is_open(other) else False


def shown(value: Value) -> str:
    """Show it to a reader, with references as `${Name.Attribute}`."""
    if isinstance(value, dict | list):
        return "..."
    return "".join(map(_shown_part, parts_of(value)))


def _shown_part(part: str | Ref | Unknown) -> str:
    if isinstance(part, Unknown):
        return "..."
    if isinstance(part, Ref):
        return "${" + ".".join(filter(None, (part.name, part.attribute))) + "}"
    return part


def matches(pattern: Value, target: Value) -> bool | None:
    """Tell whether a pattern of IAM, with `*` and `?`, matches a text; None: nobody can tell."""
    tokens: dict[Ref, str] = {}
    text = "".join(_token(part, tokens) for part in parts_of(target))
    if _regex(pattern, tokens, loose=False).fullmatch(text):
        return True
    if is_open(target) or _regex(pattern, tokens, loose=True).fullmatch(text):
        return None
    return False


def _token(part: str | Ref | Unknown, tokens: dict[Ref, str]) -> str:
    """Return what stands for it; a reference is one character that no text has."""
    if isinstance(part, Ref):
        return tokens.setdefault(part, chr(0xF0000 + len(tokens)))
    return "\x00" if isinstance(part, Unknown) else part


def _regex(pattern: Value, tokens: dict[Ref, str], *, loose: bool) -> re.Pattern[str]:
    between = [""]  # what is between the stars
    for part in parts_of(pattern):
        if isinstance(part, str):
            first, *more = part.split("*")
            between[-1] += _literal(first)
            between += map(_literal, more)
        elif loose and (isinstance(part, Unknown) or part.open):
            between.append("")
        else:
            between[-1] += "\x01" if isinstance(part, Unknown) else _token(part, tokens)
    first, *more = between
    if more:
        # Each is taken where it is found first, and never sought again: many stars cost no more.
        first += "".join(f"(?>.*?{one})" for one in more[:-1]) + f".*{more[-1]}"
    return re.compile(first, re.DOTALL | re.IGNORECASE)


def _literal(text: str) -> str:
    return ".".join(map(re.escape, text.split("?")))
