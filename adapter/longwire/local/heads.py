"""The heads of HTTP/1.1 answers."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# What would make two headers of one, or end the head.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Write the head of a response.

    Raises:
        ValueError: a header would be more than one.
    """
    lines = [f"HTTP/1.1 {status} {phrase(status)}"]
    for name, value in headers:
        line = f"{name}: {value}"
        if _CONTROL.search(line):
            raise ValueError(f"the header {name!r} of an answer has control characters")
        lines.append(line)
    return "\r\n".join([*lines, "\r\n"]).encode(errors="replace")


def phrase(status: int) -> str:
    """Return the words that go with a status, "" when there are none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
