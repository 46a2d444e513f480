"""A Lambda authorizer at work: it is asked, for as long as API Gateway waits for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from longwire.local.calls import outcome_of
from longwire.local.function.inline import FunctionError
from longwire.local.rules import authorizer
from longwire.local.rules.results import Raised, Refused

if TYPE_CHECKING:
    from longwire.local.calls import Function
    from longwire.local.rules.settings import Settings
    from longwire.local.tasks import Tasks
    from longwire.types import LambdaEvent

logger = logging.getLogger("longwire.local")


async def ask(
    function: Function, settings: Settings, tasks: Tasks, connect_event: LambdaEvent
) -> tuple[authorizer.Granted | Refused, float]:
    """Return what an authorizer decides about a handshake, and the seconds that it took."""
    refused = authorizer.unidentified(settings, connect_event)
    if refused is not None:
        return refused, 0.0
    request = authorizer.request_event(settings, connect_event)
    outcome, seconds = await outcome_of(
        function.invoke(request), tasks, settings.authorizer_timeout, name="the authorizer"
    )
    decision = authorizer.decide(outcome, request["methodArn"])
    # "Unauthorized" is an answer like any other, though it is raised.
    if isinstance(outcome, Raised) and decision != authorizer.NOT_AUTHENTICATED:
        known = isinstance(outcome.error, FunctionError)
        text = f"the authorizer failed: {outcome.error}" if known else "the authorizer raised"
        logger.error(text, exc_info=None if known else outcome.error)
    return decision, seconds
