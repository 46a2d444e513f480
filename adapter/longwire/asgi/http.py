"""HTTP events of the same function, answered by Mangum or by any other Lambda handler."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import inspect
import weakref
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any

from longwire.deadlines import within
from longwire.exceptions import EventError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from longwire.types import ASGIApp, LambdaHandler, Message, Receive, Scope, Send

    Bridge = Callable[[Scope, Receive, Send], Any]

NOBODYS = (
    "this is not an API Gateway WebSocket event, and there is nothing to answer others: give "
    "Longwire(app, http=<a Lambda handler>)"
)
# More events than an environment of Lambda Managed Instances has at once by default.
MOST_THREADS = 512
WHAT = "what answers events that are no WebSocket events (http=...)"


async def respond(
    handler: LambdaHandler | None,
    app: ASGIApp,
    state: dict[str, Any],
    event: Any,
    context: object,
    seconds: float,
    on_raised: Callable[[BaseException], object] | None = None,  # by an app that Mangum calls
) -> Any:
    """Let a Lambda handler answer an event that is not a WebSocket event.

    Mangum calls the app on the running event loop with the given lifespan state; Mangum itself is
    synchronous, so it works in a thread meanwhile. Any other synchronous handler is called in a
    thread too, which goes on when the time is up; an asynchronous one is awaited.
    """
    answering: Any = handler or _mangum(app)
    running: list[Future[None]] = []
    if _is_mangum(answering):
        _check_known(answering, event, context)
        answering = copy.copy(answering)
        answering.app = _bridge(answering.app, state, running, on_raised)
        answering.lifespan = "off"  # it has been started already
    elif inspect.iscoroutinefunction(answering) or inspect.iscoroutinefunction(answering.__call__):
        return await within(seconds, WHAT, answering(event, context))
    try:
        return await within(seconds, WHAT, _in_thread(_call, answering, event, context))
    finally:
        for run in running:
            run.cancel()  # with it the thread of a Mangum that waits for the app


def _mangum(app: Any) -> Any:
    try:
        from mangum import Mangum
    except ImportError:
        raise EventError(f"{NOBODYS}, or pip install 'longwire[http]'") from None
    return Mangum(app, lifespan="off")


def _is_mangum(handler: object) -> bool:
    return any(cls.__module__.startswith("mangum.") for cls in type(handler).__mro__)


def _check_known(mangum: Any, event: Any, context: object) -> None:
    """Raise `EventError` for what is nobody's: a warm-up ping, a schedule, a queue's, nothing."""
    try:
        _ = mangum.infer(event, context).scope  # which is made of what every event of its has
    except Exception as error:  # whatever its looking into an event of any shape comes to
        raise EventError(f"{NOBODYS} that knows it, as Mangum does not") from error


def _in_thread(call: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
    """Call in a thread, as `asyncio.to_thread` does, but leave the loop's own threads to the app.

    Those are few: handlers that wait for the app would have them all, and the app wait for one.
    They stay from event to event, as beginning one takes as long as the rest of such an event.
    """
    loop = asyncio.get_running_loop()
    pool = _threads.get(loop)
    if pool is None:
        from concurrent.futures import ThreadPoolExecutor  # for who has HTTP events

        pool = _threads[loop] = ThreadPoolExecutor(MOST_THREADS, "longwire-http")
    return loop.run_in_executor(pool, contextvars.copy_context().run, call, *arguments)


_threads: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadPoolExecutor] = (
    weakref.WeakKeyDictionary()
)


def _call(handler: LambdaHandler, event: Any, context: object) -> Any:
    """Call a synchronous handler with an event loop of its own, as it would have on Lambda."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return handler(event, context)
    except StopIteration as error:  # no future can hold it, and so its event would never end
        raise RuntimeError("the handler raised StopIteration") from error
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _bridge(
    app: ASGIApp,
    state: dict[str, Any],
    running: list[Future[None]],
    on_raised: Callable[[BaseException], object] | None,
) -> Bridge:
    """Return an app for another thread's event loop: it runs `app` here, and notes that it does."""
    home = asyncio.get_running_loop()

    async def bridged(scope: Scope, receive: Receive, send: Send) -> None:
        away = asyncio.get_running_loop()

        async def receive_at_home() -> Message:
            return await asyncio.wrap_future(_on(away, receive))

        async def send_at_home(message: Message) -> None:
            await asyncio.wrap_future(_on(away, send, message))

        scope["state"] = state.copy()
        running.append(_on(home, app, scope, receive_at_home, send_at_home))
        try:
            await asyncio.wrap_future(running[-1])
        except Exception as error:  # which Mangum makes a 500 of
            if on_raised is not None:
                on_raised(error)
            raise

    return bridged


def _on(loop: asyncio.AbstractEventLoop, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Call on the event loop of another thread.

    Nothing is called, nor left unawaited, on a loop that has stopped meanwhile. Who cancels the
    answer cancels the call.
    """
    answer: Future[Any] = Future()

    async def relay() -> None:
        with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
            try:
                answer.set_result(await call(*arguments))
            except BaseException as error:
                answer.set_exception(error)

    def begin() -> None:
        task = loop.create_task(relay())

        def end(_: Future[Any]) -> None:  # which keeps the task: a loop itself does not
            if answer.cancelled() and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

        answer.add_done_callback(end)

    loop.call_soon_threadsafe(begin)
    return answer
