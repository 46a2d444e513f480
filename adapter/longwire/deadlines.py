"""What hangs: ends it with the event's time, tells it from other errors, and says so in the log.

Each hang is logged once, by whoever is the last to know of it: where an error is swallowed, there;
when an app lets it go, as what the app raised; when it leaves the handler, on its way out. Lambda's
runtime then reports the error with its traceback, but not which event it was, nor for how long.
Errors that are no hangs and leave the handler are left to the runtime.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from longwire.exceptions import DeadlineError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from longwire.types import LambdaEvent

T = TypeVar("T")

logger = logging.getLogger("longwire")

NO_ROUTE = "; a VPC without a route to execute-api looks like this"


def doing(cancelled: BaseException | None) -> str:
    """Return what was being done when it was cancelled, as notes of the error say; mostly ""."""
    return "".join([f", while {note}" for note in getattr(cancelled, "__notes__", ())])


def is_hang(error: BaseException | None) -> bool:
    """Tell whether an error is about time that was up, or was caused by such a one."""
    while error is not None:
        if isinstance(error, TimeoutError):
            return True
        error = error.__cause__
    return False


def log_leaving(event: LambdaEvent, seconds: float, error: BaseException) -> None:
    """Log a hang whose error leaves the handler.

    Args:
        seconds: since the event began.
    """
    if is_hang(error):
        logger.error("%s failed after %.3g s: %s", _name(event), seconds, error)


def _name(event: object) -> str:
    about = event.get("requestContext") if isinstance(event, dict) else None
    if isinstance(about, dict) and "connectionId" in about:
        return f"connection {about['connectionId']}: {about.get('eventType')}"
    return "an event that is about no connection"


async def within(seconds: float, what: str, work: Awaitable[T]) -> T:
    """Wait for code of others, which is cancelled when it takes too long; a thread of it goes on.

    Args:
        what: has this time, for the error.

    Raises:
        DeadlineError: it took longer.
    """
    try:
        async with asyncio.timeout(max(0.0, seconds)) as limit:
            return await work
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlineError(f"{what} did not end within {seconds:.3g} s") from error
