"""What JSON itself does not know, as pydantic writes it: models, dates, UUIDs, Decimals and so on.

Imported once such a value is sent: plain JSON pays for none of it.
https://docs.pydantic.dev/latest/concepts/conversion_table/
"""

from __future__ import annotations

import dataclasses
import json
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from uuid import UUID

_ATOMS = (str, int, float, type(None))


def jsonable(value: object, place: str = "data") -> object:
    """Return the same with nothing in it but what JSON knows.

    Raises:
        TypeError: there is something that has no form; the text says where and what.
    """
    if isinstance(value, _ATOMS):
        return value
    if isinstance(value, dict):
        return {_key(key, place): jsonable(one, f"{place}[{key!r}]") for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(one, f"{place}[{index}]") for index, one in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return [jsonable(one, f"{place}{{...}}") for one in _in_order(value)]
    if isinstance(value, Enum):
        return jsonable(value.value, place)
    if (text := _text(value)) is not None:
        return text
    if (text := model_text(value)) is not None:
        return json.loads(text)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: jsonable(getattr(value, name), f"{place}.{name}") for name in names}
    raise TypeError(f"{place} is {_described(value)}")


def model_text(value: object) -> str | None:
    """Return the JSON that a model makes of itself, as those of pydantic do; None of all else."""
    dump = getattr(type(value), "model_dump_json", None)
    text = dump(value) if callable(dump) else None
    return text if isinstance(text, str) else None


def _text(value: object) -> str | None:
    if isinstance(value, (datetime, time)):
        text = value.isoformat()
        return f"{text[:-6]}Z" if text.endswith("+00:00") else text
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, (UUID, Decimal)) else None


def _key(key: object, place: str) -> object:
    """Return what a key of a dict is in JSON."""
    if isinstance(key, _ATOMS):
        return key
    if isinstance(key, Enum):
        return _key(key.value, place)
    if (text := _text(key)) is not None:
        return text
    raise TypeError(f"{place} has a key that is {_described(key)}")


def _in_order(values: set[object] | frozenset[object]) -> list[object]:
    # The same in every process, as strings have other hashes in each: Longwire compares what an
    # app sends with what it has sent.
    try:
        return sorted(values)  # type: ignore[type-var]  # what cannot be compared says so
    except TypeError:
        return sorted(values, key=repr)


def _described(value: object) -> str:
    kind = type(value).__name__
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {kind}"
