"""Longwire: one Lambda event in, one response out. Start reading here.

API Gateway turns a WebSocket connection into separate Lambda invocations; an ASGI app is one
coroutine for each connection. So each event (`invocation/`) runs the app from the top, up to where
that event belongs (`asgi/run.py`), with the scope that the connection had at first
(`asgi/scope.py`, stored as `registry/record.py` says), and repeats nothing that an earlier event
has done (`invocation/greeting.py`, `invocation/replies.py`).
"""

from __future__ import annotations

import asyncio
import functools
import math
import os
import time
import weakref
from typing import TYPE_CHECKING, Any, get_args

from longwire import deadlines
from longwire.apigateway import events
from longwire.apigateway.endpoint import base_url
from longwire.asgi.lifespan import LifespanMode, Lifespans
from longwire.config import settings
from longwire.deadlines import Deadlines
from longwire.exceptions import ConfigurationError, LongwireError
from longwire.invocation.connect import connect
from longwire.invocation.disconnect import EventDepartures, disconnect
from longwire.invocation.invocation import TELL_TIME, Application, Call
from longwire.invocation.message import message
from longwire.observability.event import Observed, Observing
from longwire.observability.observer import Observer
from longwire.registry import caller as callers
from longwire.registry.api_gateway import APIGateway
from longwire.registry.caller import Caller, Calling
from longwire.runtime.after_response import AfterResponse, Deferred
from longwire.runtime.loop import (
    handler_loop,
    is_on_lambda,
    loop_of_child,
    of_the_parent,
    refuse_running_loop,
)
from longwire.runtime.sigterm import SURE
from longwire_backends.base import shown

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from longwire.config.settings import Settings
    from longwire.config.ws_config import WSConfig, WSFanout
    from longwire.fanout.sweep import SweepResult
    from longwire.invocation.kept_runs import KeptRuns
    from longwire.registry.base import Departure, HandOver
    from longwire.types import ASGIApp, LambdaEvent, LambdaHandler
    from longwire_aws.signed import Transport
    from longwire_backends import Backend


class Longwire:
    """A Lambda handler that runs an unmodified ASGI WebSocket app behind API Gateway.

    Args:
        app: the ASGI app.
        ws_config: `{"backend": name, "params": {...}}` and more; see `docs/configuration.md`.
        dsn: the same in one URL, for example `sqlite:///connections.sqlite3`. If neither is given,
            the environment variable LONGWIRE_DSN says it.
        lifespan: whether the app has startup and shutdown: "auto" finds out, "on", "off".
        http: the Lambda handler for all other events; Mangum is taken when it is installed.
        fanout: `{"queue_url": ...}`: sends to large groups go to SQS; see `docs/large-groups.md`.
        metrics: the CloudWatch namespace of metrics about each event, which are written to stdout
            in CloudWatch's Embedded Metric Format; None writes none.
        tracing: makes each event a span of OpenTelemetry, in the trace of `X-Amzn-Trace-Id`.

    Attributes:
        app: the ASGI app.
        settings: what `ws_config`, `dsn` or the environment said.

    Raises:
        ConfigurationError: something is wrong with the arguments, or a driver is missing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        ws_config: WSConfig | None = None,
        dsn: str | None = None,
        lifespan: LifespanMode = "auto",
        http: LambdaHandler | None = None,
        fanout: WSFanout | None = None,
        metrics: str | None = None,
        tracing: bool = False,
    ) -> None:
        if not callable(app):
            raise ConfigurationError(f"app is {shown(app)}; expected an ASGI app")
        if lifespan not in get_args(LifespanMode):
            raise ConfigurationError(
                f"lifespan is {shown(lifespan)}; expected 'auto', 'on' or 'off'"
            )
        if http is not None and not callable(http):
            raise ConfigurationError(f"http is {shown(http)}; expected a Lambda handler")
        self.app = app
        self.settings: Settings = settings.load(ws_config, dsn, fanout)
        self._http = http
        self._api = APIGateway.configured(self.settings, hand_over=_hand_over(self.settings))
        self._takes_parts = self.settings.fanout is not None
        self._observer = Observer(metrics, tracing=tracing, takes_parts=self._takes_parts)
        self._lifespans = Lifespans(app, lifespan)
        self._kept_runs = _kept_runs(self.settings, self._api)
        self._application = Application(
            app, self.settings, self._api, self._lifespans, self._kept_runs
        )
        self._deferred = Deferred()
        self._loop = handler_loop(
            self._deferred, self._observer, self.close, self._shut_down, self._lifespans.shutdown
        )
        if is_on_lambda():  # which starts a process with more CPU, or long before its first event
            self._api.prepare_tls()
        # The last event that was about a connection, its endpoint, and the loop it was handled on.
        self._latest: tuple[LambdaEvent, str, asyncio.AbstractEventLoop | None] | None = None
        self._weak_caller = weakref.WeakMethod(self.caller)
        _handlers.add(self)

    def __call__(self, event: LambdaEvent, context: Any = None) -> Any:
        """Handle one Lambda event on an event loop of this handler's own.

        Threads that call it at the same time wait for each other, but on Lambda Managed Instances:
        there their events run side by side on the one loop.

        Raises:
            EventError: the event is malformed, or nothing can answer it.
            LifespanError: the app's startup failed.
            BackendError: the store failed.
            DeadlineError: a message could not be given to its app in time; or what answers other
                events, or an app that blocks its event loop on Lambda, did not end in time.
            EventLoopError: an event loop is running here already.
        """
        refuse_running_loop()
        handle = functools.partial(self._handle, event, context)
        return self._loop.handle(event, context, handle)

    async def handle(self, event: LambdaEvent, context: Any = None) -> Any:
        """Handle one Lambda event on the running event loop, which goes on running after it.

        Raises what calling the handler raises.
        """
        return await self._handle(event, context, AfterResponse(self._deferred), None)

    @property
    def answers_http(self) -> bool:
        """Whether there is anything that answers HTTP: `http=`, or Mangum, which is installed."""
        from longwire.asgi.http import can_respond  # for who asks

        return can_respond(self._http)

    @property
    def transport(self) -> Transport:
        """What speaks HTTP to the management API; a test may set another before the first event."""
        return self._api.transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self._api.transport = transport

    @property
    def backend(self) -> Backend | None:
        """The store; a test may set another before the first event."""
        return self._api.backend

    @backend.setter
    def backend(self, backend: Backend) -> None:
        self._api.backend = backend

    @property
    def endpoint_url(self) -> str | None:
        """Where the management API is, if no event has to tell; a test may set another."""
        return self._api.configured_endpoint()

    @endpoint_url.setter
    def endpoint_url(self, endpoint_url: str | None) -> None:
        self._api.endpoint_url = endpoint_url

    async def startup(self) -> None:
        """Run the app's startup on the running event loop; without this the first event does.

        Raises:
            LifespanError: it failed.
        """
        await self._lifespans.current().startup(math.inf)

    async def settle(self) -> None:
        """Wait for what goes on behind the responses of the events so far, as greetings do."""
        await self._deferred.wait()

    async def aclose(self) -> None:
        """Run the app's shutdown and let go of the store and all connections."""
        callers.forget(self._weak_caller)
        await self._deferred.finish()
        if self._kept_runs is not None:
            await self._kept_runs.end_all()
        await self._lifespans.shutdown()
        await self._api.aclose()

    def close(self) -> None:
        """Do what `aclose` does, after synchronous use, once the events of other threads are over.

        Raises:
            EventLoopError: an event loop is running here already.
        """
        refuse_running_loop()
        self._loop.close(self.aclose)

    def _begin_in_child(self) -> None:
        """Begin anew in a forked process: loops, locks and tasks are its parent's."""
        of_the_parent.extend((self._deferred, self._lifespans.leave_to_parent()))
        of_the_parent.append(self._kept_runs)
        self._kept_runs = _kept_runs(self.settings, self._api)
        self._application = self._application._replace(kept_runs=self._kept_runs)
        self._deferred = Deferred()
        self._loop = loop_of_child(self._loop, self._observer, self._lifespans.shutdown)
        if self._latest is not None:
            self._latest = *self._latest[:2], None

    async def _shut_down(self, seconds: float) -> None:
        """Stop what goes on and run the app's shutdown, as the process is about to end."""
        until = time.monotonic() + 0.9 * seconds
        finishing = asyncio.ensure_future(self._deferred.finish())
        await asyncio.wait({finishing}, timeout=min(SURE, seconds / 2))
        if self._kept_runs is not None:
            await self._kept_runs.end_all()
        # It goes on beside the shutdown if it is slow, and has what is left of the time.
        await self._lifespans.shutdown(deadlines.left(until))
        await asyncio.wait({finishing}, timeout=deadlines.left(until))

    async def sweep(
        self,
        *,
        rate: float | None = None,
        min_age: float | None = None,
        timeout: float | None = None,
        endpoint_url: str | None = None,
        context: Any = None,
    ) -> SweepResult:
        """Find connections that are gone, which API Gateway may not tell, and tell their app.

        The Lambda event `{"longwire": "sweep"}`, which may have `rate` and `min_age`, does this.

        Args:
            rate: requests per second to the management API, at most (50).
            min_age: seconds; younger connections are left in peace (600).
            timeout: seconds that it may take; None takes what `context` leaves, else an hour.
            endpoint_url: of the management API; None takes the configured one.
            context: Lambda's context object.

        Raises:
            ConfigurationError: the management API is not known, or a number cannot be one.
            LifespanError: the app's startup failed.
        """
        from longwire.fanout import sweep  # nobody else pays for it

        times = None if context is None else Deadlines.of(context)
        if timeout is None and times is not None:
            deadline = times.send
        else:
            deadline = time.monotonic() + (sweep.TIMEOUT if timeout is None else timeout)
        departures = EventDepartures(self._application, {}, context, times)
        if endpoint_url is None:
            endpoint = self._api.configured_endpoint()
        else:
            endpoint = base_url(endpoint_url)
        registry, loop = self._api.at(endpoint), asyncio.get_running_loop()
        caller = Caller(registry, deadline, loop=loop, departed=departures.found)
        await self._lifespans.current().startup(deadlines.left(deadline))
        return await sweep.sweep(caller, departures.tell, rate=rate, min_age=min_age)

    async def _handle(
        self,
        raw: LambdaEvent,
        context: Any,
        after: AfterResponse | None,
        observed: Observed | None,
    ) -> Any:
        with observed or self._observer.begin(raw, context) as observed:
            observed.ending.on_raised = getattr(context, "app_error", None)
            try:
                times = Deadlines.of(context)
                # Not observed: what it starts goes on when this event has long been over.
                if not (lifespan := self._lifespans.current()).is_up:
                    await lifespan.startup(deadlines.left(times.run))
                with Observing(observed):
                    departures = EventDepartures(self._application, raw, context, times)
                    call = Call(raw, context, times, observed.ending, departures, after)
                    return await self._answer(call)
            except LongwireError as error:
                deadlines.log_leaving(raw, time.monotonic() - observed.started, error)
                raise
            finally:
                # Of `longwire dev`: an app that raises is answered for all the same.
                if observed.ending.word == "raised" and hasattr(context, "app_raised"):
                    context.app_raised(observed.ending.error_type)

    def _answer(self, call: Call) -> Coroutine[Any, Any, Any]:
        if not events.is_websocket_event(call.raw):
            return self._answer_other(call)
        event = events.parse(call.raw)
        endpoint = self._api.endpoint_of(event.context)
        self._latest = call.raw, endpoint, asyncio.get_running_loop()
        callers.latest = self._weak_caller
        match event:
            case events.ConnectEvent():
                return connect(self._application, call, event, endpoint)
            case events.MessageEvent():
                return message(self._application, call, event, endpoint)
            case events.DisconnectEvent():
                return disconnect(self._application, call, event, endpoint)

    # Events that are about no connection: ours, a queue's, or somebody else's

    async def _answer_other(self, call: Call) -> Any:
        if events.is_sweep_event(call.raw):
            answer: Any = await self._sweep(call)
        elif self._takes_parts and events.is_queue_event(call.raw):
            answer = await self._deliver_parts(call)
        else:
            answer = await self._answer_http(call)
        departures = call.departures
        if call.after is not None and departures:
            await call.after.start(departures.tell(), "ends that were found")
        else:
            await departures.tell(TELL_TIME)
        return answer

    async def _sweep(self, call: Call) -> dict[str, Any]:
        options = {key: call.raw[key] for key in ("rate", "min_age") if key in call.raw}
        swept = await self.sweep(**options, context=call.context)
        if not swept.ok:
            call.ending.note("incomplete")
        return swept.as_dict()

    async def _deliver_parts(self, call: Call) -> dict[str, Any]:
        from longwire.fanout.delivery import deliver  # nobody else pays for it

        caller = functools.partial(self._caller, call, hands_over=False)
        delivered = await deliver(call.raw, caller, self._api.configured_endpoint())
        if delivered["batchItemFailures"]:
            call.ending.note("incomplete")
        return delivered

    async def _answer_http(self, call: Call) -> Any:
        from longwire.asgi.http import respond  # nobody else pays for it

        caller = self._caller(call, self._api.configured_endpoint())
        try:
            with Calling(caller):
                answer = await respond(
                    self._http,
                    self._application.app,
                    self._lifespans.current().state,
                    call.raw,
                    call.context,
                    deadlines.left(call.times.run),
                    functools.partial(call.ending.note, "raised"),
                )
        finally:
            await caller.finish()
        status = answer.get("statusCode") if isinstance(answer, dict) else None
        call.ending.status = status if isinstance(status, int) else None
        return answer

    # Who calls `Connections` where no run does

    def _caller(self, call: Call, endpoint: str | None, *, hands_over: bool = True) -> Caller:
        registry = self._api.at(endpoint, hands_over=hands_over)
        loop = asyncio.get_running_loop()
        return Caller(
            registry,
            call.times.send,
            loop=loop,
            departed=call.departures.found,
            deliveries=call.departures.lend_deliveries(),
        )

    def caller(self, timeout: float) -> Caller:
        """Return who calls where no event is known, as in a thread that was started by hand."""
        raw, endpoint, loop = self._latest or ({}, self._api.configured_endpoint(), None)

        async def tell(departed: Sequence[Departure]) -> None:
            departures = EventDepartures(self._application, raw, None, None)
            departures.found.update(dict.fromkeys(departed))
            await self._lifespans.current().startup(TELL_TIME)
            await departures.tell(TELL_TIME)

        return Caller(
            self._api.at(endpoint, tell=tell),
            time.monotonic() + timeout,
            loop=loop,
            deliveries=EventDepartures(self._application, raw, None, None).deliveries,
        )


_handlers: weakref.WeakSet[Longwire] = weakref.WeakSet()


def _begin_in_child() -> None:
    for handler in _handlers:
        handler._begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


def _kept_runs(configured: Settings, api: APIGateway) -> KeptRuns | None:
    if not configured.replay:
        return None
    if api.backend is None or not api.backend.keeps_journal():
        raise ConfigurationError(
            f"replay needs a store that keeps journals: {type(api.backend).__name__} lacks append, "
            "journal or drop_journal (longwire_backends.base.Backend says what they do)"
        )
    from longwire.invocation.kept_runs import KeptRuns  # nobody else pays for it

    return KeptRuns()


def _hand_over(configured: Settings) -> HandOver | None:
    if configured.fanout is None:
        return None
    from longwire.fanout.hand_over import QueueHandOver  # nobody else pays for it

    return QueueHandOver(configured.fanout)
