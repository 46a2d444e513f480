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
    raised: Callable[[BaseException], None],  # called with what the app raises below Mangum
) -> Any:
    """Let a Lambda handler answer an event that is not a WebSocket event.

    Mangum calls the app on the running event loop with the given lifespan state; Mangum itself is
    synchronous, so it works in a thread meanwhile. Any other synchronous handler is called in a
    thread too, which goes on when the time is up; an asynchronous one is awaited.
    """
    answering: Any = handler or _mangum(app)
    runs = _Runs()
    if _is_mangum(answering):
        _check_known(answering, event, context)
        answering = copy.copy(answering)
        answering.app = _bridge(answering.app, state, runs)
        answering.lifespan = "off"  # it has been started already
    elif inspect.iscoroutinefunction(answering) or inspect.iscoroutinefunction(answering.__call__):
        return await within(seconds, WHAT, answering(event, context))
    try:
        return await within(seconds, WHAT, _in_thread(_call, answering, event, context))
    finally:
        for error in runs.end():
            raised(error)


def can_respond(handler: LambdaHandler | None) -> bool:
    """Tell whether there is anything that answers what is not a WebSocket event."""
    import importlib.util  # for who asks

    return handler is not None or importlib.util.find_spec("mangum") is not None


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
        _close(loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop that has stopped, and end what began on it in its last round."""
    left = set() if loop.is_closed() else asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=1))
    loop.close()


class _Runs:
    """The runs of the app for one event: an end of them lets the thread go that waits for them."""

    def __init__(self) -> None:
        self._runs: list[Future[None]] = []
        self._ended = False

    def add(self) -> Future[None]:
        """Return the answer of a new run, cancelled if the event is over."""
        run: Future[None] = Future()
        self._runs.append(run)
        if self._ended:  # looked at last, as the event may be given up just now
            run.cancel()
        return run

    def end(self) -> list[BaseException]:
        """End those that go on, and return what others have raised."""
        self._ended = True
        ended = [run for run in self._runs if not run.cancel()]
        return [error for run in ended if (error := run.exception()) is not None]


def _bridge(app: ASGIApp, state: dict[str, Any], runs: _Runs) -> Bridge:
    """Return an app for another thread's event loop: it runs `app` here, as one of `runs`."""
    home = asyncio.get_running_loop()

    async def bridged(scope: Scope, receive: Receive, send: Send) -> None:
        away = asyncio.get_running_loop()

        async def receive_at_home() -> Message:
            message: Message = await _on(away, Future(), receive)
            return message

        async def send_at_home(message: Message) -> None:
            await _on(away, Future(), send, message)

        scope["state"] = state.copy()
        await _on(home, runs.add(), app, scope, receive_at_home, send_at_home)

    return bridged


def _on(
    loop: asyncio.AbstractEventLoop, answer: Future[Any], call: Callable[..., Any], *arguments: Any
) -> asyncio.Future[Any]:
    """Call on the event loop of another thread; the answer is waited for on this one.

    Nothing is called, nor left unawaited, on a loop that has stopped meanwhile, nor for an answer
    that is cancelled. Who cancels the answer cancels the call.
    """

    async def relay() -> None:
        with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
            try:
                answer.set_result(await call(*arguments))
            except BaseException as error:
                answer.set_exception(error)

    def begin() -> None:
        if answer.cancelled():
            return
        task = loop.create_task(relay())

        def end(_: Future[Any]) -> None:  # which keeps the task: a loop itself does not
            if answer.cancelled() and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

        answer.add_done_callback(end)

    if not answer.cancelled():
        loop.call_soon_threadsafe(begin)
    return asyncio.wrap_future(answer)
