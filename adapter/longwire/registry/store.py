"""Questions to the store, within the time that an event has."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from longwire.deadlines import doing
from longwire.exceptions import BackendError
from longwire.observability.event import count_store_request

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from longwire_backends import Backend

T = TypeVar("T")

HINT = "; the server is overloaded, stopped or locked, or no route leads to it"


async def before(deadline: float, backend: Backend, operation: str, answer: Awaitable[T]) -> T:
    """Wait for a store's answer no longer than until `deadline`, of `time.monotonic()`.

    Raises:
        BackendError: the store failed, or there was no time left.
    """
    count_store_request()
    left = max(0.0, deadline - time.monotonic())
    try:
        async with asyncio.timeout(left) as limit:
            return await answer
    except TimeoutError as error:
        if not limit.expired():
            raise
        detail = f"no answer within the {left:.3g} s that were left of the event's time"
        if left:
            detail += doing(error.__cause__ or error.__context__) or HINT
        raise BackendError(backend.name, operation, detail) from error
