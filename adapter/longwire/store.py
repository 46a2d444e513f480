"""Questions to the store, within the time that an event has."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from longwire.exceptions import BackendError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from longwire_backends import Backend

T = TypeVar("T")


async def before(deadline: float, backend: Backend, operation: str, answer: Awaitable[T]) -> T:
    """Wait for a store's answer no longer than until `deadline`, of `time.monotonic()`.

    Raises:
        BackendError: the store failed, or there was no time left.
    """
    left = max(0.0, deadline - time.monotonic())
    try:
        async with asyncio.timeout(left) as limit:
            return await answer
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise BackendError(backend.name, operation, _detail(left, error)) from error


def _detail(left: float, error: TimeoutError) -> str:
    # What was cancelled may have said what it was doing.
    cancelled = error.__cause__ or error.__context__
    doing = "".join([f", while {note}" for note in getattr(cancelled, "__notes__", ())])
    detail = f"no answer within the {left:.3g} s that were left of the event's time{doing}"
    if not left:
        return detail
    return f"{detail}; the server is overloaded, stopped or locked, or no route leads to it"
