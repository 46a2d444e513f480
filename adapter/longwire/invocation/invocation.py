"""One Lambda event at work: what the three kinds share.

`connect.py`, `message.py` and `disconnect.py` have what each does.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import math
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from longwire import deadlines
from longwire.apigateway.events import ConnectEvent, Event
from longwire.asgi import scope
from longwire.asgi.messages import is_disconnect
from longwire.asgi.run import Run
from longwire.asgi.state import ScopeState
from longwire.invocation.connection import Connection
from longwire.invocation.outcome import log_cut_off
from longwire.invocation.state import OwnState
from longwire.registry import caller as callers
from longwire.registry.caller import Caller
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.apigateway.events import RequestContext
    from longwire.asgi.lasting import LastingRun
    from longwire.asgi.lifespan import Lifespans
    from longwire.asgi.stage import Outbox, Stage
    from longwire.config.settings import Settings
    from longwire.deadlines import Deadlines
    from longwire.invocation.connection import Gate
    from longwire.invocation.kept_runs import KeptRun, KeptRuns
    from longwire.observability.event import Ending
    from longwire.registry.api_gateway import APIGateway
    from longwire.registry.base import Departed, Departure
    from longwire.registry.caller import ChannelDeliveries
    from longwire.registry.record import ConnectionRecord
    from longwire.runtime.after_response import AfterResponse
    from longwire.types import ASGIApp, LambdaEvent, Scope

logger: logging.Logger = logging.getLogger("longwire")

RunT = TypeVar("RunT", bound=Run)

# Seconds that a response may wait while the app is told of others that are gone.
TELL_TIME = 2.0


class Application(NamedTuple):
    """The app of a handler, and what stays with it from event to event."""

    app: ASGIApp
    settings: Settings
    api: APIGateway
    lifespans: Lifespans
    kept_runs: KeptRuns | None = None  # with `replay`


class Departures:
    """Connections that have proved to be gone in an event: their app is told at its end.

    Before that, what the app has sent to others by a channel layer is delivered.
    """

    _deliveries: ChannelDeliveries | None = None
    _telling = False

    def __init__(self, deadline: float) -> None:
        self.found: Departed = {}  # of whom the app has not been told yet
        self._deadline = deadline

    async def tell_one(self, departure: Departure) -> None:
        """Tell the app of one; only what is no error of this event's may be raised."""
        raise NotImplementedError

    def new_deliveries(self) -> ChannelDeliveries:
        """Make what delivers by a channel layer."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        return bool(self.found) or self.is_delivering

    def deliveries(self) -> ChannelDeliveries:
        """Return what is on its way by a channel layer."""
        if self._deliveries is None:
            self._deliveries = self.new_deliveries()
        return self._deliveries

    def lend_deliveries(self) -> Callable[[], ChannelDeliveries | None]:
        """Return what returns them; None once nobody else keeps this."""
        # A caller may outlive its event for a moment, and must not keep the app alive.
        return functools.partial(_deliveries_of, weakref.ref(self))

    @property
    def is_delivering(self) -> bool:
        """Whether something is on its way by a channel layer."""
        return self._deliveries is not None and self._deliveries.is_busy

    async def tell(self, seconds: float = math.inf) -> None:
        """Tell the app, for so many seconds; those that are left over wait for a sweep."""
        if self._telling:  # and telling it has led here again
            return
        self._telling = True
        until = min(time.monotonic() + seconds, self._deadline)
        try:
            # One by one: what the app sends then may find more, and none is posted to twice.
            while self.found or self.is_delivering:
                if self._deliveries is not None:
                    await self._deliveries.settle()
                if not self.found:
                    continue
                if time.monotonic() >= until:
                    logger.warning("no time was left to tell the app of %d ends", len(self.found))
                    return
                departure = next(iter(self.found))
                del self.found[departure]
                await self.tell_one(departure)
        finally:
            self._telling = False


def _deliveries_of(weak: weakref.ref[Departures]) -> ChannelDeliveries | None:
    departures = weak()
    return None if departures is None else departures.deliveries()


class Call(NamedTuple):
    """One call of the Lambda handler, whatever its event is about."""

    raw: LambdaEvent
    context: Any  # Lambda's, or None
    times: Deadlines
    ending: Ending
    departures: Departures
    after: AfterResponse | None  # None where nothing runs after the response

    def client_is_awaited(self) -> None:
        """Say that the app waits for the client, though other tasks of it may be busy."""
        # A host that keeps a connection's messages in order may go on with the next one; not
        # before what this one sends by a channel layer, or others would get that out of order.
        on_waiting = getattr(self.context, "waits_for_client", None)
        if on_waiting is not None and not self.departures.is_delivering:
            on_waiting()


def _is_fault(error: BaseException | None) -> bool:
    """Tell whether what an app raised while it cleaned up is its author's to mend."""
    return not (error is None or isinstance(error, GeneratorExit) or is_disconnect(error))


class Invocation:
    """An event that is about a connection; `endpoint` is the URL of its management API."""

    def __init__(self, application: Application, call: Call, event: Event, endpoint: str) -> None:
        self.call = call
        self.settings: Settings = application.settings
        self.connection: Connection = Connection(
            event.context.connection_id,
            application.api,
            endpoint,
            application.settings,
            call.times,
            is_new=isinstance(event, ConnectEvent),
        )
        self.kept_runs: KeptRuns | None = application.kept_runs
        # Who calls in its run, and the run's scope; None before there is one.
        self.caller: Caller | None = None
        self.scope: Scope | None = None
        self._application = application
        self._request = event.context
        self._endpoint = endpoint
        # Until when the app runs and has cleaned up, on the clock of its loop.
        self.run_until: float = deadlines.on_loop(call.times.run)
        self._unwind_until = self.run_until + call.times.unwind - call.times.run

    def run(
        self,
        record: ConnectionRecord,
        outbox: Outbox,
        stage: Stage,
        phase: str,
        gate: Gate | None = None,
    ) -> Run:
        """Call the app; a connect step has a gate, and a record that is not stored yet."""
        run = self._call(Run, record, outbox, stage, phase, gate)
        if self.wants_hints:
            from longwire.asgi.hints.hints import Hints

            assert self.scope is not None
            assert self.caller is not None
            run.hints = Hints(self._application.app, self.scope, _tell)
            self.caller.on_swallowed = run.hints.swallowed
        return run

    def lasting_run(
        self,
        record: ConnectionRecord,
        outbox: Outbox,
        stage: Stage,
        phase: str,
        gate: Gate | None = None,
    ) -> LastingRun:
        """Call the app as `run`, with `replay`."""
        from longwire.asgi.lasting import LastingRun  # nobody else pays for it

        return self._call(LastingRun, record, outbox, stage, phase, gate)

    def _call(
        self,
        kind: type[RunT],
        record: ConnectionRecord,
        outbox: Outbox,
        stage: Stage,
        phase: str,
        gate: Gate | None,
    ) -> RunT:
        call, connection = self.call, self.connection
        caller = self.caller = self._new_caller()
        lifespan = self._application.lifespans.current().state
        asgi_scope = self.scope = scope.asgi_scope(
            record.handshake,
            state=lifespan,
            extension=scope.extension(self._of(record), phase, connection.expires_at),
            event=call.raw,
            context=call.context,
        )
        state = OwnState(
            connection.id,
            ScopeState(asgi_scope, connection.kept or record.kept, lifespan),
            connection.update_state,
            self.settings.state_limit if self.settings.state else None,
        )
        context = contextvars.copy_context()
        context.run(callers.current.set, caller)
        run = kind(
            self._application.app,
            asgi_scope,
            outbox,
            stage=stage,
            connection_id=connection.id,
            linger=self.settings.linger,
            on_hand_over=state.restore,
            context=context,
        )
        connection.begin(run, state, gate, None if gate is None else record)
        return run

    def resume(self, kept: KeptRun, outbox: Outbox, phase: str) -> None:
        """Go on with a kept run: all that belongs to an event becomes this event's."""
        connection, kept_scope = self.connection, kept.scope
        connection.expires_at = kept.expires_at
        connection.note_answered(kept.record)
        kept.caller.go_on(self._new_caller())
        self.caller, self.scope = kept.caller, kept_scope
        # In place, as an app may have copied the scope.
        of_event = scope.extension(self._of(kept.record), phase, kept.expires_at)
        kept_scope["extensions"]["longwire"].update(of_event)
        kept_scope["aws.event"], kept_scope["aws.context"] = self.call.raw, self.call.context
        kept.run.resume(outbox)
        connection.begin(kept.run, kept.state)

    def _of(self, record: ConnectionRecord) -> RequestContext:
        """Return what is known of the event; one that we have made does not know all."""
        if self._request.connected_at is None:
            return self._request._replace(connected_at=record.handshake.connected_at)
        return self._request

    def _new_caller(self) -> Caller:
        return Caller(
            self._application.api.at(self._endpoint),
            self.call.times.send,
            loop=asyncio.get_running_loop(),
            own=self.connection,
            departed=self.call.departures.found,
            deliveries=self.call.departures.lend_deliveries(),
        )

    @property
    def wants_hints(self) -> bool:
        """Whether it runs on a developer's machine."""
        # Lambda's own context has no such attribute, so nobody pays for it there.
        return getattr(self.call.context, "wants_hints", None) is True

    async def stop(self, run: Run) -> None:
        """End a run, and log what its author should know of its end."""
        error = run.error
        given_up = await run.stop(self.run_until, self._unwind_until)
        self.connection.state.release()
        log_cut_off(run, self.connection.id, "after the app had ended")
        if error is None and _is_fault(run.error):
            logger.error(
                "connection %s: the app raised while it was being cancelled",
                self.connection.id,
                exc_info=run.error,
            )
        if given_up:
            logger.error(
                "connection %s: the app ignored its cancellation and is given up: %s",
                self.connection.id,
                given_up,
            )


def _tell(hint: str) -> None:
    logger.warning("%s", hint)
