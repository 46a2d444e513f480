"""A call of the function: who runs it, how long it is waited for, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from longwire.exceptions import BackendError
from longwire.local.rules import results
from longwire.local.rules.errors import FunctionError
from longwire_aws.timeouts import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from longwire.local.tasks import Tasks
    from longwire.types import LambdaEvent

logger: logging.Logger = logging.getLogger("longwire.local")


class Function(Protocol):
    """A Lambda function, however it is run."""

    async def invoke(
        self, event: LambdaEvent, waits_for_client: Callable[[], object] = ...
    ) -> object:
        """Return what the function returns; raise what it raises.

        `waits_for_client` is called, from any thread, when the function has done all that the
        client's next message could depend on, though it goes on.
        """


@dataclass(frozen=True, slots=True)
class HandledEvent:
    """One event and what became of it, for logs and tests."""

    event: LambdaEvent
    # None if it never reached the function: a message that had no route, a handshake that the
    # authorizer refused, an HTTP request that is too large for Lambda.
    outcome: results.Outcome | None
    # Until the answer, or until it was no longer waited for.
    seconds: float
    # Frames posted to this connection since its previous event was answered.
    posts: int = 0
    # Of a CONNECT event.
    verdict: results.Verdict | None = None
    # Of the answer to an HTTP request.
    status: int | None = None
    # The frame that the gateway itself sends after a message.
    reply: bytes | None = None


async def outcome_of(
    tasks: Tasks, call: Coroutine[Any, Any, object], timeout: float, name: str
) -> tuple[results.Outcome, float]:
    """Return what became of a call, and the seconds that it was waited for."""
    began = time.monotonic()
    task = tasks.spawn(call)
    over = asyncio.get_running_loop().create_future()
    task.add_done_callback(lambda task: None if over.done() else over.set_result(None))
    with contextlib.suppress(TimeoutError), limits().within(timeout):
        await over
    seconds = time.monotonic() - began
    if not task.done():
        # It goes on, but nobody waits.
        task.add_done_callback(lambda task: _log_late_error(task, timeout, name))
        return results.TimedOut(), seconds
    if task.cancelled():
        error: BaseException | None = asyncio.CancelledError(f"{name} was cancelled")
    else:
        error = task.exception()
    return results.Returned(task.result()) if error is None else results.Raised(error), seconds


def log_failure(outcome: results.Outcome, name: str) -> None:
    """Log why a call has raised, if it has."""
    if isinstance(outcome, results.Raised):
        # What a process of its own raises has its traceback in the log of that process, and where
        # a store has failed no line of the app is to blame.
        known = isinstance(outcome.error, (FunctionError, BackendError))
        text = f"{name} failed: {outcome.error}" if known else f"{name} raised"
        logger.error(text, exc_info=None if known else outcome.error)


def _log_late_error(task: asyncio.Task[object], timeout: float, name: str) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        text = "%s raised after more than %g seconds, when nobody waited for it any more"
        logger.error(text, name, timeout, exc_info=error)
