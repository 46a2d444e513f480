"""How the time of an event is divided, and what is said when it is up.

`asgi/run.py` ends an app whose time is up, and `invocation/outcome.py` says so in the log.

There is one clock: every deadline is in seconds of `time.monotonic()`. What asyncio is to wait for
until a deadline needs the time of its loop, which is another clock by contract: `on_loop`.

What hangs is logged once, by whoever is the last to know of it: where an error is swallowed, there;
when an app lets it go, as what the app raised; when it leaves the handler, on its way out. Lambda's
runtime then reports the error with its traceback, but not which event it was, nor for how long.
Errors that are no hangs and leave the handler are left to the runtime.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from longwire.exceptions import DeadlineError
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from longwire.types import LambdaEvent

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("longwire")

# What looks like the remedy, an execute-api VPC endpoint, makes a 403 of it.
NO_ROUTE = (
    "; a VPC without a route to execute-api looks like this (it needs a NAT gateway, or IPv6 "
    "egress and a dualstack API; an execute-api VPC endpoint is for REST APIs only)"
)

# Without a Lambda context: the time that API Gateway waits for an integration, in seconds.
DEFAULT_TIME = 29.0
# Seconds for one client that does not read, if not told else.
PATIENCE = 2.0
# What is left of an event's time when everything of ours is over: seconds, and as a part of a short
# event's time.
MARGIN = 0.5
MARGIN_PART = 0.2
# The parts of that margin that go to what follows the app's end.
UNWINDING = 0.3
LAST_WORDS = 0.6
EVERYTHING = 0.8


class Deadlines(NamedTuple):
    """Until when each part of an event has to be over."""

    send: float  # a send to many is back with what it could not do, before the app is cancelled
    run: float  # the app is cancelled
    unwind: float  # a cancelled app has cleaned up, and time is left for the store
    store: float  # the store and API Gateway have been told how it ended
    end: float  # all is over, even if nothing else has kept its time

    @classmethod
    def of(cls, context: Any) -> Self:
        """Divide what is left of the time of an event with this Lambda context, or with None."""
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        seconds = remaining() / 1000 if remaining is not None else DEFAULT_TIME
        seconds = max(0.0, seconds - _margin(seconds))
        run, margin = time.monotonic() + seconds, _margin(seconds)
        unwind, store = run + UNWINDING * margin, run + LAST_WORDS * margin
        return cls(run - margin, run, unwind, store, run + EVERYTHING * margin)


def _margin(seconds: float) -> float:
    return min(MARGIN, seconds * MARGIN_PART)


def left(deadline: float) -> float:
    """Return the seconds until a deadline, at least 0."""
    return max(0.0, deadline - time.monotonic())


def on_loop(deadline: float) -> float:
    """Return a deadline in the time of the running event loop."""
    return asyncio.get_running_loop().time() + deadline - time.monotonic()


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
    """Log a hang whose error leaves the handler, so many seconds after its event has begun."""
    if is_hang(error):
        logger.error("%s failed after %.3g s: %s", _name(event), seconds, error)


def _name(event: object) -> str:
    about = event.get("requestContext") if isinstance(event, dict) else None
    if isinstance(about, dict) and "connectionId" in about:
        return f"connection {about['connectionId']}: {about.get('eventType')}"
    return "an event that is about no connection"


async def within(seconds: float, what: str, work: Awaitable[T]) -> T:
    """Wait for code of others, or raise `DeadlineError` that names it; a thread of it goes on."""
    try:
        async with asyncio.timeout(max(0.0, seconds)) as limit:
            return await work
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlineError(f"{what} did not end within {seconds:.3g} s") from error
