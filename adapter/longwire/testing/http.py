"""HTTP requests of a test: events of an HTTP API for the same function, as in `longwire dev`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.exceptions import EventError
from longwire.local.request import answer
from longwire.local.rules import results
from longwire.testing.errors import key_of

if TYPE_CHECKING:
    from longwire.local.invoking import HandledEvent
    from longwire.local.rules.http_events import HTTPRequest
    from longwire.local.rules.http_results import HTTPResponse
    from longwire.testing.errors import AppErrors
    from longwire.testing.gateway import Gateway
    from longwire.testing.thread import GatewayThread


def answer_to(request: HTTPRequest, running: GatewayThread, errors: AppErrors) -> HTTPResponse:
    """Return what the client gets; raises what the app has raised, if `errors` say so.

    Raises:
        EventError: nothing answers HTTP events.
    """
    limit = running.gateway._rules.settings.http_timeout
    response, handled = running.call(_exchange(running.gateway, request), limit)
    match handled.outcome:
        case results.Raised(EventError() as error):
            raise error
        case results.TimedOut():
            errors.add(handled.event, TimeoutError(results.TIMED_OUT))
    errors.raise_of(key_of(handled.event))
    return response


async def _exchange(gateway: Gateway, request: HTTPRequest) -> tuple[HTTPResponse, HandledEvent]:
    seen: list[HandledEvent] = []

    def observe(handled: HandledEvent) -> None:
        seen.append(handled)
        gateway._observe(handled)

    response, _ = await answer(gateway._rules, gateway._function, request, gateway._tasks, observe)
    return response, seen[0]
