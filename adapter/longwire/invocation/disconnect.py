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
    if call.departures:
        await call.departures.tell()
    return {"statusCode": 200}


class EventDepartures(Departures):
    """Those of an event: the app is told by events `like` that one.

    Without the times of an event, as much as an event has is left for each of them.
    """

    def __init__(
        self, application: Application, like: LambdaEvent, context: Any, times: Deadlines | None
    ) -> None:
        super().__init__(math.inf if times is None else times.run)
        self._application, self._like = application, like
        self._context, self._times = context, times
        # What is sent by a channel layer is delivered by nobody's run; without an event, also by
        # nobody in whose context asgiref finds a thread that waits: its runs may outlive that.
        self._runs_in = contextvars.Context() if times is None else contextvars.copy_context()

    def _call(self, raw: LambdaEvent) -> Call:
        times = self._times or Deadlines.of(self._context)
        # How this ends says nothing about the event that has found it.
        return Call(raw, self._context, times, Ending(), self, None)

    async def tell_one(self, departure: Departure) -> None:
        to = departure.connection_id
        try:
            raw = events.lost(to, self._like)
            event = events.DisconnectEvent(events.parse(raw).context, 1006, "")
            endpoint = departure.endpoint or self._application.api.endpoint_of(event.context)
            await disconnect(self._application, self._call(raw), event, endpoint)
        except LongwireError as error:
            logger.error("connection %s: its end was not told: %s", to, error)
        except Exception as error:  # of somebody's own store: the others are told all the same
            logger.error("connection %s: its end was not told", to, exc_info=error)

    def new_deliveries(self) -> Deliveries:
        from longwire.invocation.deliveries import Deliveries  # nobody else pays for it

        return Deliveries(self._application, self._call(self._like), self._runs_in)
