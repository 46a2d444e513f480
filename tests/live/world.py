"""What the measurements may ask of AWS: really in `aws.py`, for the tests in `fakes.py`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

# How a client reaches API Gateway: as it is, through a line that holds each piece for a while, and
# one that reads nothing at first.
Way = Literal["near", "far", "slow"]
# What is deployed: the stack of `longwire template sam`, and the others of `extras.py`.
Place = Literal["main", "throttled", "snap", "managed"]


class Closed(NamedTuple):
    """The connection has ended."""

    code: int | None
    reason: str = ""


class Unavailable(Exception):
    """This place or service is not there; the text says why."""


class Client(Protocol):
    """One connection, as a client has it."""

    async def say(self, message: str) -> None: ...

    async def say_bytes(self, data: bytes, *, text: bool) -> None:
        """Send a frame of any bytes, as a text or as a binary frame."""
        ...

    async def hear(self, seconds: float) -> str | bytes | Closed | None:
        """Return what comes next: a message, the end, or None when nothing comes."""
        ...

    async def ping(self, seconds: float) -> bool:
        """Tell whether a pong comes."""
        ...


@dataclass(frozen=True)
class World:
    """What the measurements may ask.

    Attributes:
        connect: opens a connection to the path of an app.
        manage: asks `@connections` of the main API (method, id, body); returns the status.
        invoke: invokes a function and returns the request id.
        logs: returns the messages that a function has logged since then, in epoch seconds.
        renew: has all environments of a function end, by changing its configuration.
        now: epoch seconds.
        sleep: waits.
        long: also measures what takes 12 minutes of waiting.
    """

    connect: Callable[[Place, str, Way], AbstractAsyncContextManager[Client]]
    manage: Callable[[str, str, bytes], Awaitable[int]]
    invoke: Callable[[str, dict[str, Any]], Awaitable[str]]
    logs: Callable[[str, float], Awaitable[list[str]]]
    renew: Callable[[str], Awaitable[None]]
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    long: bool = False


async def hear_json(client: Client, seconds: float, key: str) -> dict[str, Any] | None:
    """Return the next message that is an object with this key; None if it does not come."""
    while isinstance(heard := await client.hear(seconds), (str, bytes)):
        try:
            value = json.loads(heard)
        except ValueError:
            continue
        if isinstance(value, dict) and key in value:
            return value
    return None
