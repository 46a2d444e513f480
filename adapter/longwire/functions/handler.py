"""`websocket_handler`: Lambda functions for WebSocket events, without an ASGI app.

handler = websocket_handler()

@handler.route("$connect")
async def connect(event, context):
    return {"statusCode": 401}

@handler.route("$default")
async def message(event, context):
    await context.send(context.body)
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from longwire import deadlines, ws_gateway
from longwire.apigateway import events
from longwire.config import settings
from longwire.connections import Connections
from longwire.deadlines import Deadlines
from longwire.exceptions import ConfigurationError, DeadlineError, EventError, LongwireError
from longwire.functions.answer import answer
from longwire.functions.context import WebSocketContext, route_of
from longwire.functions.records import with_record
from longwire.observability.event import Observing
from longwire.observability.observer import Observer
from longwire.registry.caller import Calling
from longwire.registry.standalone import Standalone
from longwire.runtime import threads

if TYPE_CHECKING:
    from longwire.apigateway.events import Event
    from longwire.config.ws_config import WSConfig
    from longwire.functions.answer import Function, Response
    from longwire.types import Dumps, LambdaEvent

F = TypeVar("F", bound=Callable[..., object])

# Not the event loop of `sync`, on which synchronous calls that a function makes wait.
LOOP = "longwire-functions"


def websocket_handler(
    function: Function | None = None,
    /,
    *,
    ws_config: WSConfig | None = None,
    dsn: str | None = None,
    api_gateway_endpoint_url: str | None = None,
    dumps: Dumps | None = None,
) -> WebSocketHandler:
    """Make a Lambda handler of functions that take an event and a context (see `WebSocketContext`).

    A function may return None, which is `{"statusCode": 200}`, or what API Gateway takes: a dict
    of statusCode, headers, multiValueHeaders, body and isBase64Encoded; a body that is no str
    becomes JSON. A statusCode of `$connect` that is not 2xx refuses the client. A function without
    `async` runs in a thread.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-api-route-keys-connect-disconnect.html

    Args:
        function: gets all events whose route has no function of its own.
        ws_config: as of `Longwire`: with it, or with LONGWIRE_DSN, `context.connections` has
            groups and broadcast.
        dsn: the same in one URL.
        api_gateway_endpoint_url: of the management API; else WS_MANAGEMENT_ENDPOINT, else that of
            the event.
        dumps: as of `Connections`, for `context.send`, `broadcast` and `connections`.

    Raises:
        ConfigurationError: something is wrong with the arguments, or a driver is missing.
    """
    handler = WebSocketHandler(ws_config, dsn, api_gateway_endpoint_url, dumps)
    return handler if function is None else handler(function)


class WebSocketHandler:
    """A Lambda handler made of functions; see `websocket_handler`."""

    def __init__(
        self,
        ws_config: WSConfig | None,
        dsn: str | None,
        api_gateway_endpoint_url: str | None,
        dumps: Dumps | None,
    ) -> None:
        stored = ws_config is not None or dsn is not None
        loaded = settings.load(ws_config, dsn) if stored else settings.said_elsewhere(None)
        self._api = Standalone(loaded, api_gateway_endpoint_url)
        self._ttl = loaded.ttl if loaded is not None else 0
        self._connections = Connections(dumps=dumps)
        self._observer = Observer(None, tracing=False, takes_parts=False)
        self._functions: dict[str, Function] = {}
        self._function: Function | None = None

    @overload
    def __call__(self, event: Function) -> Self: ...
    @overload
    def __call__(self, event: LambdaEvent, lambda_context: Any = None) -> Response: ...
    def __call__(self, event: LambdaEvent | Function, lambda_context: Any = None) -> Any:
        """Handle one Lambda event, or decorate a function.

        The event loop runs in a thread of its own, so that connections are kept from one event to
        the next, and that any number of threads may call.

        Raises:
            EventError: the event is malformed, or no function is there for it.
            ResponseError: the function returned what API Gateway does not take.
            DeadlineError: the function did not end in time.
            EventLoopError: this was called on that very event loop.
            Exception: whatever the function raised.
        """
        if not isinstance(event, dict) and callable(event):
            return self._decorate(event)
        seconds = deadlines.left(Deadlines.of(lambda_context).end)
        late = f"no end within {seconds:.3g} s: a function that is async blocks its event loop"
        try:
            response, error = threads.run(
                lambda: self._outcome(event, lambda_context),
                threads.own_loop(LOOP),
                seconds,
                late=late,
            )
        except DeadlineError as blocked:
            deadlines.log_leaving(event, seconds, blocked)
            raise
        if error is not None:
            raise error
        return response

    def route(self, key: str) -> Callable[[F], F]:
        """Decorate the function of one route: `$connect`, `$disconnect`, `$default`, your own.

        Raises:
            ConfigurationError: the route has a function already.
        """
        if not key or not isinstance(key, str):
            raise ConfigurationError(f"route({key!r}): expected a route key, such as '$connect'")

        def decorate(function: F) -> F:
            if key in self._functions:
                raise ConfigurationError(f"route({key!r}): this route has a function already")
            self._functions[key] = _checked(function)
            return function

        return decorate

    async def handle(self, event: LambdaEvent, lambda_context: Any = None) -> Response:
        """Handle one Lambda event on the running event loop; raises as calling it does."""
        with self._observer.begin(event, lambda_context) as observed, Observing(observed):
            response = await self._handle(event, lambda_context)
            if events.identify(event, takes_parts=False).phase == "connect":
                observed.ending.status = status = response["statusCode"]
                observed.ending.note("accepted" if 200 <= status <= 299 else "refused")
            return response

    async def _handle(self, event: LambdaEvent, lambda_context: Any) -> Response:
        if not events.is_websocket_event(event):
            raise EventError("this is not a WebSocket event of API Gateway")
        parsed = events.parse(event)
        function = self._find(parsed)
        times = Deadlines.of(lambda_context)
        caller = self._api.caller(
            times.send,  # what it sends has to be back before the function is cancelled
            endpoint=self._api.endpoint() or ws_gateway.endpoint(event["requestContext"]),
            loop=asyncio.get_running_loop(),
        )
        context = WebSocketContext(parsed, caller, self._connections, lambda_context)
        begun, what = time.monotonic(), f"the function of {context.route_key!r}"

        async def work() -> Response:
            left = deadlines.left(times.run)
            return await deadlines.within(left, what, answer(function, event, context))

        with Calling(caller):
            try:
                if caller.registry.backend is None:
                    return await work()
                store = caller.store.until(times.store)
                return await with_record(parsed, store, self._ttl, work)
            except LongwireError as error:
                deadlines.log_leaving(event, time.monotonic() - begun, error)
                raise
            finally:
                await caller.settle()

    async def aclose(self) -> None:
        """Let go of the store and all connections; a later event opens them again."""
        await self._api.aclose()

    def _decorate(self, function: Function) -> Self:
        if self._function is not None:
            raise ConfigurationError(
                "this handler has a function already: use .route(key) for more"
            )
        self._function = _checked(function)
        functools.update_wrapper(self, function)
        return self

    def _find(self, event: Event) -> Function | None:
        """Return the function of a route; None where none is needed."""
        key, event_type = route_of(event)
        found = self._functions.get(key)
        if found is None and event_type == "MESSAGE":
            found = self._functions.get("$default")
        if found is None:
            found = self._function
        if found is None and event_type == "MESSAGE":
            raise EventError(
                f"the route {key!r} has no function: add one with .route({key!r}), or one for all "
                "messages with .route('$default')"
            )
        return found

    async def _outcome(
        self, event: LambdaEvent, lambda_context: Any
    ) -> tuple[Response | None, BaseException | None]:
        """Return what `handle` does: a future loses tracebacks, and SystemExit ends its loop."""
        try:
            return await self.handle(event, lambda_context), None
        except BaseException as error:
            return None, error


def _checked(function: F) -> F:
    if not callable(function):
        raise ConfigurationError(f"{function!r} is no function of (event, context)")
    return function
