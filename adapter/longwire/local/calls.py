"""One call of a Lambda function, for as long as API Gateway waits for it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from longwire.local.results import Outcome, Raised, Returned, TimedOut

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from longwire.local.session import Tasks

logger = logging.getLogger("longwire.local")


async def outcome_of(
    call: Coroutine[Any, Any, object], tasks: Tasks, timeout: float, *, name: str = "the function"
) -> tuple[Outcome, float]:
    """Return what became of a call, and the seconds that it took.

    After `timeout` seconds the call goes on, but nobody waits; then only its error is logged.

    Args:
        name: of the function, for the log.
    """
    began = time.monotonic()
    task = tasks.spawn(call)
    await asyncio.wait({task}, timeout=timeout)
    seconds = time.monotonic() - began
    if not task.done():
        task.add_done_callback(lambda task: _log_late_error(task, timeout, name))
        return TimedOut(), seconds
    if task.cancelled():
        return Raised(asyncio.CancelledError(f"{name} was cancelled")), seconds
    error = task.exception()
    return (Returned(task.result()) if error is None else Raised(error)), seconds


def _log_late_error(task: asyncio.Task[object], timeout: float, name: str) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        text = "%s raised after more than %g seconds, when nobody waited for it any more"
        logger.error(text, name, timeout, exc_info=error)
