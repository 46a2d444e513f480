"""A Lambda function, and one call of it for as long as API Gateway waits."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from longwire.local.rules.results import Outcome, Raised, Returned, TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from longwire.local.tasks import Tasks
    from longwire.types import LambdaEvent

logger = logging.getLogger("longwire.local")


class Function(Protocol):
    """The side of a session that faces the Lambda function."""

    async def invoke(
        self, event: LambdaEvent, waits_for_client: Callable[[], object] = ...
    ) -> object:
        """Return what the function returns; raise what it raises.

        Args:
            waits_for_client: called, from any thread, when the function has done all that the
                client's next message could depend on, though it goes on.
        """


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
