"""The Lambda function, run in this process."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import logging
import os
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from longwire.local import loops
from longwire.local.loops import Calls
from longwire.local.rules.errors import FunctionExitError, FunctionTimeoutError
from longwire_aws.timeouts import limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from longwire.types import LambdaEvent

    Handle = Callable[[LambdaEvent, "LambdaContext"], Awaitable[object]]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("longwire.local")

# Seconds. Lambda allows 15 minutes, but API Gateway waits no longer than 29 seconds, and 30 with
# HTTP. A handler gives up a little before the function's time is over: it shows what API Gateway
# does only if that is longer.
DEFAULT_TIMEOUT = 35.0

FUNCTION_NAME = "longwire-dev"
FUNCTION_ARN = f"arn:aws:lambda:us-east-1:000000000000:function:{FUNCTION_NAME}"
# Lambda gives this one as a string.
MEMORY_SIZE = "128"


def environment() -> dict[str, str]:
    """Copy the variables of this process, though another thread changes them, as pytest's does."""
    while True:
        with contextlib.suppress(KeyError, RuntimeError):  # one has just gone, or come
            return dict(os.environ)


def do_nothing(*arguments: object) -> None:
    """Stand in for a callback that nobody needs."""


class LambdaContext:
    """Lambda's context object, https://docs.aws.amazon.com/lambda/latest/dg/python-context.html."""

    function_name = FUNCTION_NAME
    function_version = "$LATEST"
    invoked_function_arn = FUNCTION_ARN
    memory_limit_in_mb = MEMORY_SIZE
    log_group_name: str = f"/aws/lambda/{FUNCTION_NAME}"
    log_stream_name = "local"
    identity = None
    client_context = None
    # Not Lambda's, but the gateway's own: a handler tells the app's author what to know in time.
    wants_hints = True

    def __init__(
        self,
        timeout: float,
        waits_for_client: Callable[[], object] = do_nothing,
        app_raised: Callable[[str], object] = do_nothing,
        app_error: Callable[[BaseException], object] = do_nothing,
    ) -> None:
        # Not Lambda's, but the gateway's own: a handler calls it when its app waits for the client
        # again while other tasks of it go on,
        self.waits_for_client = waits_for_client
        # and this with the name of what its app has raised, or with that itself.
        self.app_raised = app_raised
        self.app_error = app_error
        self._deadline = time.monotonic() + timeout

    @functools.cached_property
    def aws_request_id(self) -> str:
        return str(uuid.uuid4())

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def kind(target: Any) -> Literal["handler", "lambda", "asgi"]:
    """Tell a Longwire handler, a plain Lambda function and an ASGI app apart."""
    from longwire.handler import Longwire

    if isinstance(target, Longwire):
        return "handler"
    least, most = arity(target)
    return "lambda" if most is not None and least <= 2 <= most else "asgi"


def arity(target: Callable[..., Any]) -> tuple[int, int | None]:
    """Return how many positional arguments are needed at least, and taken at most (None: any)."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return 0, None  # written in C, say: it cannot be told
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 0, None
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    needed = [parameter for parameter in positional if parameter.default is parameter.empty]
    return len(needed), len(positional)


def to_handle(target: Any) -> Handle:
    """Return one way to await the answer of a handler or of a plain Lambda function."""
    if kind(target) == "handler":
        handle: Handle = target.handle
        return handle
    if inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(target.__call__):
        coroutine_function: Handle = target
        return coroutine_function

    # It gets a thread for each event, so that waiting in it stops nobody else.
    async def in_thread(event: LambdaEvent, context: LambdaContext) -> object:
        return await _run_in_thread(lambda: target(event, context))

    return in_thread


class InlineFunction:
    """Runs the function on the event loop of the caller."""

    def __init__(
        self,
        target: Any,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        app_raised: Callable[[LambdaEvent, str], object] = do_nothing,
        app_error: Callable[[LambdaEvent, BaseException], object] = do_nothing,
    ) -> None:
        self._handle = to_handle(target)
        self._timeout = timeout
        self._app_raised = app_raised
        self._app_error = app_error

    async def invoke(
        self, event: LambdaEvent, waits_for_client: Callable[[], object] = do_nothing
    ) -> object:
        """Return what the function returns; raise what it raises, or a `FunctionError`."""
        try:
            with limits().within(self._timeout) as deadline:
                raised = functools.partial(self._app_raised, event)
                app_error = functools.partial(self._app_error, event)
                context = LambdaContext(self._timeout, waits_for_client, raised, app_error)
                return await self._handle(event, context)
        except TimeoutError:
            if not deadline.expired:
                raise
        except SystemExit as error:
            raise FunctionExitError(f"the function ended its process: {error!r}") from error
        raise FunctionTimeoutError(f"the function ran longer than {self._timeout:g} seconds")


class ThreadFunction:
    """Runs the function on an event loop and a thread of its own."""

    # An app that blocks its loop blocks its other connections, as it does on a server, but never
    # the gateway: timeouts are seen, and pings are answered.

    def __init__(
        self,
        target: Any,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        app_raised: Callable[[LambdaEvent, str], object] = do_nothing,
    ) -> None:
        self._target = target
        self._inline = InlineFunction(target, timeout=timeout, app_raised=app_raised)
        self._loop = asyncio.new_event_loop()
        self._calls = Calls(self._loop)
        self._answers: Calls  # into the loop of who runs it
        self._stopping = False
        # A daemon: nothing can stop an app that blocks for ever.
        self._thread = threading.Thread(target=self._run, name="longwire-function", daemon=True)

    async def invoke(
        self, event: LambdaEvent, waits_for_client: Callable[[], object] = do_nothing
    ) -> object:
        """Like `InlineFunction.invoke`, from the loop that runs it."""
        return await self.run(self._inline.invoke(event, waits_for_client))

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something else on the loop of the function."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        context = contextvars.copy_context()
        task: asyncio.Task[T]

        def begin() -> None:
            nonlocal task
            # Not `create_task(context=...)`: a task factory looks at the context that calls it.
            task = context.run(self._loop.create_task, work)
            task.add_done_callback(end)

        def end(task: asyncio.Task[T]) -> None:
            with contextlib.suppress(RuntimeError):  # nobody waits: the caller's loop is closed
                self._answers.put(_settle, over)

        self._calls.put(begin)
        try:
            await over
        except asyncio.CancelledError:
            self._calls.put(lambda: task.cancel())
            raise
        return task.result()

    # As `Instances`, which has something to wait for.

    async def settle(self) -> None:
        pass

    async def ready(self) -> None:
        """Run the startup of a handler's app, however long that takes."""
        if kind(self._target) == "handler":
            await self.run(self._target.startup())

    @contextlib.asynccontextmanager
    async def running(self, *, grace: float = 5.0) -> AsyncIterator[ThreadFunction]:
        """Run the thread; at the end the handler has `grace` seconds to shut down."""
        self._answers = Calls(asyncio.get_running_loop())
        self._thread.start()
        try:
            yield self
        finally:
            await self._stop(grace)

    def _run(self) -> None:
        loops.run(self._loop, lambda: self._stopping)

    async def _stop(self, grace: float) -> None:
        closing = asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop)
        done, _ = await asyncio.wait({asyncio.wrap_future(closing)}, timeout=grace)
        if not done:
            logger.warning("the function did not shut down within %g seconds", grace)
            return
        self._stopping = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, grace)

    async def _shut_down(self) -> None:
        if kind(self._target) == "handler":
            try:
                await self._target.aclose()
            except Exception:
                logger.exception("the handler failed to shut down")
        remaining = asyncio.all_tasks() - {asyncio.current_task()}
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_asyncgens()
        await asyncio.get_running_loop().shutdown_default_executor()


def _settle(over: asyncio.Future[None]) -> None:
    if not over.done():  # else who waited was cancelled
        over.set_result(None)


async def _run_in_thread(call: Callable[[], object]) -> object:
    """Call in a thread of its own."""
    # A daemon, as a call that never returns must not keep the process from ending.
    loop = asyncio.get_running_loop()
    # Not an exception of the future: there StopIteration would never arrive.
    answered: asyncio.Future[tuple[object, Exception | None]] = loop.create_future()

    def run() -> None:
        result: object = None
        error: Exception | None = None
        try:
            result = call()
        except SystemExit as exit_:
            error = FunctionExitError(f"the function ended its process: {exit_!r}")
        except Exception as exc:
            error = exc
        except BaseException as exc:
            error = FunctionExitError(f"the function would end its process: {exc!r}")
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    def settle(result: object, error: Exception | None) -> None:
        if not answered.done():  # else timed out or cancelled
            answered.set_result((result, error))

    # What it prints is then known to be of this event.
    run_here = functools.partial(contextvars.copy_context().run, run)
    threading.Thread(target=run_here, name="longwire-lambda", daemon=True).start()
    result, error = await answered
    if error is not None:
        raise error
    return result
