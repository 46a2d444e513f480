"""What a function answers to an event: called with or without `async`, and checked."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from longwire.apigateway.frames import json_text
from longwire.apigateway.responses import MalformedResultError, parse_result
from longwire.exceptions import ResponseError

if TYPE_CHECKING:
    from longwire.functions.context import WebSocketContext
    from longwire.types import LambdaEvent

    Function = Callable[[LambdaEvent, WebSocketContext], object]
    Response = dict[str, Any]


async def answer(
    function: Function | None, event: LambdaEvent, context: WebSocketContext
) -> Response:
    """Return what API Gateway is answered; without a function, that all is well.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-api-develop-integrations.html
    """
    result = await _call(function, event, context) if function is not None else None
    if result is None:
        return {"statusCode": 200}
    if isinstance(result, dict) and not isinstance(result.get("body"), str | bytes | None):
        result = {**result, "body": json_text(result["body"], context.connections._dumps)}
    try:
        parse_result(result)
    except MalformedResultError as error:
        raise ResponseError(
            f"the function of route {context.route_key!r} returned what API Gateway answers with "
            f'"Internal server error": {error}'
        ) from None
    response: Response = result  # type: ignore[assignment]  # it takes nothing else
    return response


async def _call(function: Function, event: LambdaEvent, context: WebSocketContext) -> object:
    called = getattr(function, "__call__", None)  # noqa: B004  # an object may have an async one
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called):
        result = function(event, context)
    else:
        result = await _in_thread(functools.partial(function, event, context))
    return await result if isinstance(result, Awaitable) else result


async def _in_thread(call: Callable[[], object]) -> object:
    """Call in a daemon thread: one that never returns must not keep the process from ending."""
    # Not an exception of the future: there StopIteration would never arrive.
    answered: Future[tuple[object, BaseException | None]] = Future()
    answered.set_running_or_notify_cancel()
    inherited = contextvars.copy_context()

    def run() -> None:
        try:
            result = inherited.run(call)
        except BaseException as error:
            answered.set_result((None, error))
        else:
            answered.set_result((result, None))

    threading.Thread(target=run, name="longwire-function", daemon=True).start()
    result, error = await asyncio.wrap_future(answered)
    if error is not None:
        raise error
    return result
