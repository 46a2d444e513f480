"""A message of a channel layer as JSON: what JSON does not know is put into an object.

A dict is `{"d": [key, value, ...]}`, bytes are `{"b": base64}`, a float that JSON lacks is
`{"f": "nan"}`; all else is itself.
"""

from __future__ import annotations

import base64
import math
from typing import Any


def pack(value: Any) -> Any:
    """Return what JSON can hold of a value that `asgi.channel.copied` has made."""
    match value:
        case dict():
            return {"d": [pack(one) for pair in value.items() for one in pair]}
        case list():
            return [pack(one) for one in value]
        case bytes():
            return {"b": base64.b64encode(value).decode()}
        case float() if not math.isfinite(value):
            return {"f": str(value)}
        case _:
            return value


def unpack(value: Any) -> Any:
    """Return what was packed; raises `ValueError` or `TypeError` for all else."""
    match value:
        case {"d": [*both], **others} if not others and len(both) % 2 == 0:
            parts = [unpack(one) for one in both]
            return dict(zip(parts[::2], parts[1::2], strict=True))
        case {"b": str(text), **others} if not others:
            return base64.b64decode(text, validate=True)
        case {"f": str(text), **others} if not others:
            return float(text)
        case dict():
            raise ValueError("no packed value")
        case [*items]:
            return [unpack(one) for one in items]
        case _:
            return value
