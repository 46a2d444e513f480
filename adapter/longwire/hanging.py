"""What hangs: ends it with the event's time, tells it from other errors, and says so in the log.

Each hang is logged once, by whoever is the last to know of it: where an error is swallowed, there;
when an app lets it go, as what the app raised; when it leaves the handler, on its way out. Lambda's
runtime then reports the error with its traceback, but not which event it was, nor for how long.
Errors that are no hangs and leave the handler are left to the runtime.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from longwire.exceptions import DeadlineError

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

logger = logging.getLogger("longwire")


def is_hang(error: BaseException | None) -> bool:
    """Tell whether an error is about time that was up, or was caused by such a one."""
    while error is not None:
        if isinstance(error, TimeoutError):
            return True
        error = error.__cause__
    return False


def log_leaving(what: str, seconds: float, error: BaseException) -> None:
    """Log a hang whose error leaves the handler.

    Args:
        what: the event.
        seconds: since it began.
    """
    if is_hang(error):
        logger.error("%s failed after %.3g s: %s", what, seconds, error)


async def within(seconds: float, what: str, work: Coroutine[Any, Any, T]) -> T:
    """Wait for code of others, which may ignore that it is cancelled.

    Args:
        what: has this time, for the error.

    Raises:
        DeadlineError: it took longer; it is cancelled, and what runs in a thread goes on.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=max(0.0, seconds))
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.add_done_callback(_forget)
        task.cancel()
        raise DeadlineError(f"{what} did not end within {seconds:.3g} s; it is given up")
    return task.result()


def _forget(task: asyncio.Task[Any]) -> None:
    """Look at how it ended, so that asyncio does not complain that nobody does."""
    if not task.cancelled():
        task.exception()
