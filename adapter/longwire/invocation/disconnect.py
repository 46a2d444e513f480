"""An end: `$disconnect`, or a client that has proved to be gone. The app is told, once."""

from __future__ import annotations

import contextvars
import logging
import math
from typing import TYPE_CHECKING, Any

from longwire.apigateway import events
from longwire.asgi import messages
from longwire.deadlines import Deadlines
from longwire.exceptions import LongwireError, StoredRecordError
from longwire.invocation.invocation import Application, Call, Departures, Invocation
from longwire.invocation.tell import tell
from longwire.observability.event import Ending

if TYPE_CHECKING:
    from longwire.apigateway.events import DisconnectEvent
    from longwire.invocation.deliveries import Deliveries
    from longwire.registry.base import Departure
    from longwire.types import LambdaEvent, LambdaResponse

logger: logging.Logger = logging.getLogger("longwire")


async def disconnect(
    application: Application, call: Call, event: DisconnectEvent, endpoint: str
) -> LambdaResponse:
    """Tell the app that its client is gone, unless it has been told."""
    invocation = Invocation(application, call, event, endpoint)
    connection, record = invocation.connection, None
    call.ending.note("no_record")
    try:
        record = await connection.take()
    except StoredRecordError as error:
        logger.error("connection %s: its end was not told: %s", connection.id, error)
    await connection.leave_groups()
    if record is not None and not record.has_ended:
        gone = messages.disconnect(event.code, event.reason)
        await tell(invocation, record, gone, "told")
    await call.departures.tell()
    return {"statusCode": 200}


def collect_departures(
    application: Application, like: LambdaEvent, context: Any, times: Deadlines | None
) -> Departures:
    """Make what collects an event's departures; the app is told by events `like` that one.

    Without the times of an event, as much as an event has is left for each of them.
    """

    async def tell_one(departure: Departure, found: Departures) -> None:
        to = departure.connection_id
        try:
            raw = events.lost(to, like)
            event = events.DisconnectEvent(events.parse(raw).context, 1006, "")
            endpoint = departure.endpoint or application.api.endpoint_of(event.context)
            # How this ends says nothing about the event that has found it.
            call = Call(raw, context, times or Deadlines.of(context), Ending(), found, None)
            await disconnect(application, call, event, endpoint)
        except LongwireError as error:
            logger.error("connection %s: its end was not told: %s", to, error)
        except Exception as error:  # of somebody's own store: the others are told all the same
            logger.error("connection %s: its end was not told", to, exc_info=error)

    def new_deliveries(found: Departures) -> Deliveries:
        from longwire.invocation.deliveries import Deliveries  # nobody else pays for it

        of_event = times or Deadlines.of(context)
        call = Call(like, context, of_event, Ending(), found, None)
        return Deliveries(application, call, in_context)

    # What is sent by a channel layer is delivered by nobody's run; without an event, also by nobody
    # in whose context asgiref finds a thread that waits: its runs may outlive that.
    in_context = contextvars.Context() if times is None else contextvars.copy_context()
    return Departures(tell_one, math.inf if times is None else times.run, new_deliveries)
