"""Longwire: one Lambda event in, one response out. Start reading here.

API Gateway turns a WebSocket connection into separate Lambda invocations; an ASGI app is one
coroutine for each connection. So each event (`invocation.py`) runs the app from the top, up to
where that event belongs (`run.py`), with the scope that the connection had at first (`scope.py`,
stored as `record.py` says), and takes back nothing that an earlier event did (`greeting.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, get_args

from longwire.apigateway import events
from longwire.asgi import http
from longwire.asgi.lifespan import LifespanMode, Lifespans
from longwire.config import settings as config
from longwire.deadlines import log_leaving
from longwire.exceptions import ConfigurationError, EventLoopError, LongwireError
from longwire.invocation.departures import Departures
from longwire.invocation.invocation import TELL_TIME, Invocation, margin, time_left
from longwire.observability.event import Ending, Observing
from longwire.observability.observer import Observer
from longwire.registry import caller
from longwire.registry.api_gateway import HandlerLayers
from longwire.registry.caller import Caller, calling
from longwire.runtime.after_response import AfterResponse, Deferred

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from longwire.apigateway.management import Management
    from longwire.fanout.sweep import SweepResult
    from longwire.observability.event import Observed
    from longwire.registry.api_gateway import Departure
    from longwire.runtime.lambda_loop import LambdaLoop
    from longwire.types import ASGIApp, LambdaEvent, LambdaHandler
    from longwire_aws.http import HTTPClient
    from longwire_aws.signed import Transport

logger = logging.getLogger("longwire")


class Longwire:
    """A Lambda handler that runs an unmodified ASGI WebSocket app behind API Gateway.

    Args:
        app: the ASGI app.
        ws_config: `{"backend": name, "params": {...}}` and more; see `docs/configuration.md`.
        dsn: the same in one URL, for example `sqlite:///connections.sqlite3`.
        lifespan: whether the app has startup and shutdown: "auto" finds out, "on", "off".
        http: the Lambda handler for all other events; Mangum is taken when it is installed.
        fanout: `{"queue_url": ...}`: sends to large groups go to SQS; see `docs/large-groups.md`.
        metrics: the CloudWatch namespace of metrics about each event, which are written to stdout
            in CloudWatch's Embedded Metric Format; None writes none.
        tracing: makes each event a span of OpenTelemetry, in the trace of `X-Amzn-Trace-Id`.

    Attributes:
        settings: what `ws_config` or `dsn` said.
        transport: speaks HTTP to the management API.

    Raises:
        ConfigurationError: something is wrong with the arguments, or a driver is missing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        ws_config: Mapping[str, Any] | None = None,
        dsn: str | None = None,
        lifespan: LifespanMode = "auto",
        http: LambdaHandler | None = None,
        fanout: Mapping[str, Any] | None = None,
        metrics: str | None = None,
        tracing: bool = False,
    ) -> None:
        if not callable(app):
            raise ConfigurationError(f"app is {app!r}; expected an ASGI app")
        if lifespan not in get_args(LifespanMode):
            raise ConfigurationError(f"lifespan is {lifespan!r}; expected 'auto', 'on' or 'off'")
        self.settings = config.load(ws_config, dsn, fanout)
        self._transport: Transport | None = None
        self._app = app
        self._http = http
        self._backend = config.make_backend(self.settings)
        self._layers = HandlerLayers(self.settings, self._backend, self._management)
        self._observer = Observer(metrics, tracing=tracing, takes_parts=self._layers.takes_parts)
        self._client: HTTPClient | None = None
        self._lifespans = Lifespans(app, lifespan)
        self._deferred = Deferred()
        self._runner: asyncio.Runner | None = None
        self._one_event = threading.Lock()
        self._latest: tuple[LambdaEvent, str, asyncio.AbstractEventLoop]
        self._weak_caller = weakref.WeakMethod(self._latest_caller)
        self._lambda_loop: LambdaLoop | None = None
        # Which tells Lambda's runtime client where its events are.
        if "AWS_LAMBDA_RUNTIME_API" in os.environ:
            from longwire.runtime.lambda_loop import LambdaLoop  # nobody else pays for it

            self._lambda_loop = LambdaLoop(
                self._deferred, self._observer, self.close, self._shut_down
            )

    def __call__(self, event: LambdaEvent, context: Any = None) -> Any:
        """Handle one Lambda event on an event loop of this handler's own.

        Raises:
            EventError: the event is malformed, or nothing can answer it.
            LifespanError: the app's startup failed.
            BackendError: the store failed.
            DeadlineError: what answers other events, or an app that blocks its event loop on
                Lambda, did not end in time.
            EventLoopError: an event loop is running here already.
        """
        _refuse_running_loop()
        with self._one_event:
            if self._lambda_loop is not None:
                handle = functools.partial(self._handle, event, context)
                return self._lambda_loop.handle(event, context, handle)
            if self._runner is None:
                self._runner = asyncio.Runner()
                self._abandoned = weakref.finalize(
                    self, _close_abandoned, self._runner, self._lifespans
                )
            # Not `Runner.run`: its guard against Ctrl-C costs a fifth of an event.
            try:
                return self._runner.get_loop().run_until_complete(
                    self._handle(event, context, after=None)
                )
            finally:
                self._observer.flush()

    async def handle(self, event: LambdaEvent, context: Any = None) -> Any:
        """Handle one Lambda event on the running event loop, which goes on running after it.

        Raises:
            The same errors as calling the handler.
        """
        return await self._handle(event, context, after=AfterResponse(self._deferred))

    async def _shut_down(self, seconds: float) -> None:
        """Stop what goes on and run the app's shutdown, as the process is about to end."""
        until = time.monotonic() + 0.9 * seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds / 2):
                await self._deferred.finish()
        await self._lifespans.shutdown(max(0.0, until - time.monotonic()))

    @property
    def transport(self) -> Transport:
        """What speaks HTTP to the management API; a test may set another before the first event."""
        if self._transport is None:
            from longwire.apigateway.signing import SigningTransport
            from longwire_aws.http import HTTPClient

            self._client = HTTPClient()
            self._signing = SigningTransport(self._client, self.settings.region_name)
            self._transport = self._signing
        return self._transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self._transport = transport

    def _management(self) -> Management:
        """Make a client of the management API; a cold start that posts nothing imports none."""
        from longwire.apigateway.management import Management

        return Management(self.transport)

    async def aclose(self) -> None:
        """Run the app's shutdown and let go of the store and all connections."""
        caller.forget(self._weak_caller)
        await self._deferred.finish()
        await self._lifespans.shutdown()
        if self._client is not None:
            await self._client.close()
            self._signing.forget_keys()
        await self._backend.close()

    def close(self) -> None:
        """Do what `aclose` does, after synchronous use.

        Raises:
            EventLoopError: an event loop is running here already.
        """
        _refuse_running_loop()
        with self._one_event:
            if self._lambda_loop is not None:
                self._lambda_loop.run(self.aclose())
                return
            if self._runner is None:
                return
            with self._runner:
                self._runner.run(self.aclose())
            self._runner = None
            self._abandoned.detach()

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
        from longwire.fanout import sweep as sweeping  # nobody else pays for it

        departures = self._departures({}, context)
        endpoint = (
            self._layers.configured_endpoint() if endpoint_url is None else endpoint_url.rstrip("/")
        )
        here = self._caller_at(endpoint, context, departures)
        if timeout is not None or context is None:
            here.deadline = time.monotonic() + (sweeping.TIMEOUT if timeout is None else timeout)
        await self._lifespans.current().startup(here.deadline - time.monotonic())
        return await sweeping.sweep(here, departures.tell, rate=rate, min_age=min_age)

    async def _handle(
        self,
        raw: LambdaEvent,
        context: Any,
        after: AfterResponse | None,
        observed: Observed | None = None,
    ) -> Any:
        with observed or self._observer.begin(raw, context) as observed:
            try:
                # Not observed: what it starts goes on when this event has long been over.
                await self._lifespans.current().startup(time_left(context))
                with Observing(observed):
                    return await self._answer(raw, context, after, observed.ending)
            except LongwireError as error:
                log_leaving(raw, time.monotonic() - observed.started, error)
                raise

    async def _answer(
        self, raw: LambdaEvent, context: Any, after: AfterResponse | None, ending: Ending
    ) -> Any:
        departures = self._departures(raw, context)
        if not events.is_websocket_event(raw):
            answer = await self._handle_other(raw, context, departures, ending)
            if after is not None and departures.found:
                await after.start(departures.tell(), "ends that were found")
            else:
                await departures.tell(TELL_TIME)
            return answer
        event = events.parse(raw)
        endpoint = self._layers.endpoint_of(event.context)
        invocation = self._invocation(event, raw, context, endpoint, after, departures, ending)
        self._latest = raw, endpoint, asyncio.get_running_loop()
        caller.latest = self._weak_caller
        match event:
            case events.ConnectEvent():
                return await invocation.connect(event)
            case events.MessageEvent():
                return await invocation.message(event)
            case events.DisconnectEvent():
                return await invocation.disconnect(event)

    async def _handle_other(
        self, raw: LambdaEvent, context: Any, departures: Departures, ending: Ending
    ) -> Any:
        """Handle an event that is about no connection: ours, a queue's, or somebody else's."""
        if events.is_sweep_event(raw):
            options = {key: raw[key] for key in ("rate", "min_age") if key in raw}
            swept = await self.sweep(**options, context=context)
            if not swept.ok:
                ending.note("incomplete")
            return swept.as_dict()
        if self._layers.takes_parts and events.is_queue_event(raw):
            from longwire.fanout.delivery import deliver  # nobody else pays for it

            caller_at = functools.partial(self._caller_at, context=context, departures=departures)
            delivered = await deliver(raw, caller_at, self.settings.endpoint_url)
            if delivered["batchItemFailures"]:
                ending.note("incomplete")
            return delivered
        here = self._caller_at(self._layers.configured_endpoint(), context, departures)
        with calling(here):
            state = self._lifespans.current().state
            seconds = time_left(context)
            answer = await http.respond(self._http, self._app, state, raw, context, seconds)
        await here.finish()
        status = answer.get("statusCode") if isinstance(answer, dict) else None
        ending.status = status if isinstance(status, int) else None
        return answer

    def _invocation(
        self,
        event: events.Event,
        raw: LambdaEvent,
        context: Any,
        endpoint: str,
        after: AfterResponse | None,
        departures: Departures,
        ending: Ending,
    ) -> Invocation:
        return Invocation(
            self._app,
            event,
            raw,
            context,
            settings=self.settings,
            layer=self._layers.at(endpoint),
            endpoint=endpoint,
            backend=self._backend,
            management=self._management,
            state=self._lifespans.current().state,
            after=after,
            departures=departures,
            ending=ending,
        )

    # Who calls `Connections` where no run does, and who is told of connections that are gone

    def _caller_at(self, endpoint: str | None, context: Any, departures: Departures) -> Caller:
        seconds = time_left(context)
        deadline = time.monotonic() + seconds - margin(seconds)
        loop = asyncio.get_running_loop()
        return Caller(self._layers.at(endpoint), deadline, loop=loop, departed=departures.found)

    def _latest_caller(self, timeout: float) -> Caller:
        """Return who calls where no event is known, as in a thread that was started by hand."""
        raw, endpoint, loop = self._latest

        async def tell(departed: Sequence[Departure]) -> None:
            departures = self._departures(raw, None)
            departures.found.extend(departed)
            await self._lifespans.current().startup(TELL_TIME)
            await departures.tell(TELL_TIME)

        layer = self._layers.at(endpoint)._replace(tell=tell)
        return Caller(layer, time.monotonic() + timeout, loop=loop)

    def _departures(self, like: LambdaEvent, context: Any) -> Departures:
        """Make what an event collects; `like` is that event."""

        async def tell_one(departure: Departure, departures: Departures) -> None:
            raw = events.lost(departure.connection_id, like)
            event = events.DisconnectEvent(events.parse(raw).context, 1006, "")
            endpoint = departure.endpoint or self._layers.endpoint_of(event.context)
            # How this ends is not how the event ends that has found it.
            invocation = self._invocation(event, raw, context, endpoint, None, departures, Ending())
            try:
                await invocation.disconnect(event)
            except LongwireError as error:
                to = departure.connection_id
                logger.error("connection %s: its end was not told: %s", to, error)

        return Departures(tell_one, lambda: time_left(context))


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise EventLoopError(
        "an event loop is running here, and handler(event, context) needs one of its own: "
        "use await handler.handle(event, context), and await handler.aclose() at the end"
    )


def _close_abandoned(runner: asyncio.Runner, lifespans: Lifespans) -> None:
    """Run the app's shutdown for a handler that nobody has closed; so at the end of the process."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with runner:
            runner.run(lifespans.shutdown())
    else:  # collected while another loop runs: this one cannot run any more
        runner.get_loop().close()
