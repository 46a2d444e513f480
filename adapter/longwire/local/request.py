"""One HTTP request: the event that the function gets for it, and what its client gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.local.invoking import HandledEvent, log_failure, outcome_of
from longwire.local.rules import http_events, http_results

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.local.invoking import Function
    from longwire.local.rules.gateway import GatewayRules
    from longwire.local.rules.http_events import HTTPRequest
    from longwire.local.rules.http_results import HTTPResponse
    from longwire.local.tasks import Tasks


async def answer(
    gateway: GatewayRules,
    function: Function,
    request: HTTPRequest,
    tasks: Tasks,
    observer: Callable[[HandledEvent], None],
) -> tuple[HTTPResponse, str]:
    """Return the answer to a request, and the id of the request."""
    refused = http_events.refusal(request)
    event = gateway.http_event(request if refused is None else request._replace(body=b""))
    request_id: str = event["requestContext"]["requestId"]
    if refused is None and http_events.is_too_large(event):
        refused = 413
    if refused is not None:
        observer(HandledEvent(event, None, 0.0, status=refused))
        return http_results.REFUSALS[refused], request_id
    limit, name = gateway.settings.http_timeout, "the function"
    outcome, seconds = await outcome_of(tasks, function.invoke(event), limit, name)
    log_failure(outcome, name)
    response = http_results.http_response(outcome, request.method)
    observer(HandledEvent(event, outcome, seconds, status=response.status))
    return response, request_id
