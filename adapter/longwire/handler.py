"""Longwire: one Lambda event in, one response out. Start reading here.

API Gateway turns a WebSocket connection into separate Lambda invocations; an ASGI app is one
coroutine for each connection. So each event (`invocation.py`) runs the app from the top, up to
where that event belongs (`cycle.py`), with the scope that the connection had at first (`scope.py`,
stored as `record.py` says), and takes back nothing that an earlier event did (`delivery.py`).
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import TYPE_CHECKING, Any, get_args

from longwire import config, events, http
from longwire.deferred import AfterResponse
from longwire.exceptions import ConfigurationError, EventLoopError
from longwire.invocation import Invocation, time_left
from longwire.lifespan import LifespanMode, Lifespans

if TYPE_CHECKING:
    from collections.abc import Mapping

    from longwire.management import Management
    from longwire.types import ASGIApp, LambdaEvent, LambdaHandler
    from longwire_aws.client import Transport
    from longwire_aws.http import HTTPClient


class Longwire:
    """A Lambda handler that runs an unmodified ASGI WebSocket app behind API Gateway.

    Args:
        app: the ASGI app.
        ws_config: `{"backend": name, "params": {...}}` and more; see the README.
        dsn: the same in one URL, for example `sqlite:///connections.sqlite3`.
        lifespan: whether the app has startup and shutdown: "auto" finds out, "on", "off".
        http: the Lambda handler for all other events; Mangum is taken when it is installed.

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
    ) -> None:
        if not callable(app):
            raise ConfigurationError(f"app is {app!r}; expected an ASGI app")
        if lifespan not in get_args(LifespanMode):
            raise ConfigurationError(f"lifespan is {lifespan!r}; expected 'auto', 'on' or 'off'")
        self.settings = config.load(ws_config, dsn)
        self._transport: Transport | None = None
        self._app = app
        self._http = http
        self._backend = config.make_backend(self.settings)
        self._client: HTTPClient | None = None
        self._lifespans = Lifespans(app, lifespan)
        self._after = AfterResponse()
        self._runner: asyncio.Runner | None = None
        self._one_event = threading.Lock()

    def __call__(self, event: LambdaEvent, context: Any = None) -> Any:
        """Handle one Lambda event on an event loop of this handler's own.

        Raises:
            EventError: the event is malformed, or nothing can answer it.
            LifespanError: the app's startup failed.
            BackendError: the store failed.
            EventLoopError: an event loop is running here already.
        """
        _refuse_running_loop()
        with self._one_event:
            if self._runner is None:
                self._runner = asyncio.Runner()
                self._abandoned = weakref.finalize(
                    self, _close_abandoned, self._runner, self._lifespans
                )
            # Not `Runner.run`: its guard against Ctrl-C costs a fifth of an event.
            return self._runner.get_loop().run_until_complete(
                self._handle(event, context, after=None)
            )

    async def handle(self, event: LambdaEvent, context: Any = None) -> Any:
        """Handle one Lambda event on the running event loop, which goes on running after it.

        Raises:
            The same errors as calling the handler.
        """
        return await self._handle(event, context, after=self._after)

    @property
    def transport(self) -> Transport:
        """What speaks HTTP to the management API; a test may set another before the first event."""
        if self._transport is None:
            from longwire.signing import SigningTransport
            from longwire_aws.http import HTTPClient

            self._client = HTTPClient()
            self._transport = SigningTransport(self._client, self.settings.region_name)
        return self._transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self._transport = transport

    def _management(self) -> Management:
        """Make a client of the management API; a cold start that posts nothing imports none."""
        from longwire.management import Management

        return Management(self.transport)

    async def aclose(self) -> None:
        """Run the app's shutdown and let go of the store and all connections."""
        await self._after.finish()
        await self._lifespans.shutdown()
        if self._client is not None:
            await self._client.close()
        await self._backend.close()

    def close(self) -> None:
        """Do what `aclose` does, after synchronous use.

        Raises:
            EventLoopError: an event loop is running here already.
        """
        _refuse_running_loop()
        with self._one_event:
            if self._runner is None:
                return
            with self._runner:
                self._runner.run(self.aclose())
            self._runner = None
            self._abandoned.detach()

    async def _handle(self, raw: LambdaEvent, context: Any, after: AfterResponse | None) -> Any:
        lifespan = self._lifespans.current()
        await lifespan.startup(time_left(context))
        if not events.is_websocket_event(raw):
            return await http.respond(self._http, self._app, lifespan.state, raw, context)
        event = events.parse(raw)
        invocation = Invocation(
            self._app,
            event,
            raw,
            context,
            settings=self.settings,
            backend=self._backend,
            management=self._management,
            state=lifespan.state,
            after=after,
        )
        match event:
            case events.ConnectEvent():
                return await invocation.connect(event)
            case events.MessageEvent():
                return await invocation.message(event)
            case events.DisconnectEvent():
                return await invocation.disconnect(event)


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
