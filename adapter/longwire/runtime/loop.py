"""The event loop of a handler that is called synchronously, as Lambda calls it.

On Lambda it is a thread of its own (`lambda_loop.py`), elsewhere that of whoever calls.
"""

from __future__ import annotations

import _thread
import asyncio
import atexit
import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from longwire.exceptions import EventLoopError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Protocol

    from longwire.observability.observer import Observer
    from longwire.runtime.after_response import Deferred, Handle
    from longwire.types import LambdaEvent

    Shutdown = Callable[..., Coroutine[Any, Any, None]]


if TYPE_CHECKING:

    class HandlerLoop(Protocol):
        """Runs the coroutines of one handler."""

        def handle(self, event: LambdaEvent, context: Any, handle: Handle) -> Any:
            """Handle one event: `handle` is given where its work goes on behind the response."""

        def close(self, aclose: Callable[[], Coroutine[Any, Any, None]]) -> None:
            """Do what `aclose` does while no event is handled; a later one begins anew."""


def handler_loop(
    deferred: Deferred,
    observer: Observer,
    close: Callable[[], None],
    shut_down: Callable[[float], Coroutine[Any, Any, None]],
    abandon: Shutdown,
) -> HandlerLoop:
    """Make the loop for where this process runs.

    On Lambda `close` is called before a snapshot, and `shut_down`, with the seconds it may take,
    before a process ends; elsewhere `abandon` for a handler that nobody has closed.
    """
    if is_on_lambda():
        from longwire.runtime.lambda_loop import LambdaLoop  # nobody else pays for it

        return LambdaLoop(deferred, observer, close, shut_down)
    return CallersLoop(observer, abandon)


def is_on_lambda() -> bool:
    """Tell whether this is a process of Lambda's, or of what stands in for it."""
    return "AWS_LAMBDA_RUNTIME_API" in os.environ  # where its runtime client gets the events


class CallersLoop:
    """A loop that runs in the thread of whoever calls, while an event is handled."""

    def __init__(self, observer: Observer, abandon: Shutdown) -> None:
        self._observer = observer
        self._abandon = abandon
        self._runner: asyncio.Runner | None = None
        self._one_event = threading.Lock()

    def handle(self, event: LambdaEvent, context: Any, handle: Handle) -> Any:
        with self._one_event:
            if self._runner is None:
                self._runner = self._begin()
            # Not `Runner.run`: its guard against Ctrl-C costs a fifth of an event.
            try:
                return _run(self._runner.get_loop(), handle(None, None))
            finally:
                self._observer.flush()

    def _begin(self) -> asyncio.Runner:
        runner = asyncio.Runner()
        self._abandoned = weakref.finalize(self, _close_abandoned, runner, self._abandon)
        self._abandoned.atexit = False
        _open.add(self)
        return runner

    def close(self, aclose: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with self._one_event:
            if self._runner is None:
                return
            with self._runner:
                self._runner.run(aclose())
            self._runner = None
            self._abandoned.detach()
            _open.discard(self)

    def close_abandoned(self) -> None:
        """Run the app's shutdown, as the process ends and nobody has closed the handler."""
        if self._runner is not None:
            self._abandoned.detach()
            with self._runner:
                self._runner.run(self._abandon())

    def leave_to_parent(self) -> None:
        """Let go of a loop without a change to what a forked child shares with its parent."""
        if self._runner is None:
            return
        self._abandoned.detach()
        _open.discard(self)
        loop, self._runner = self._runner.get_loop(), None
        # A loop that is garbage closes itself, and takes its wake-up socket out of the selector
        # that both processes have: the parent's loop would not wake up any more.
        with contextlib.suppress(AttributeError):  # uvloop's looks after itself
            loop.close = _leave_open  # type: ignore[method-assign]
        of_the_parent.append(loop)


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    """Run a loop until some work is done, and not a turn longer, as `run_until_complete` would."""
    is_awaited = True

    async def work_and_stop() -> Any:
        try:
            return await work
        finally:
            if is_awaited:
                loop.stop()

    # Not by the loop, whose factory looks to whose app a task belongs.
    task = asyncio.Task(work_and_stop(), loop=loop)
    try:
        while not task.done():  # an app may stop the loop, too
            loop.run_forever()
    except BaseException:
        is_awaited = False  # its end must not stop the loop for whoever runs it next
        if task.done() and not task.cancelled():
            task.exception()  # which is raised here already
        raise
    return task.result()


_open: weakref.WeakSet[CallersLoop] = weakref.WeakSet()

of_the_parent: list[object] = []
"""What a forked child must neither use nor end, nor collect as garbage."""


def _leave_open() -> None:
    """Stand in for the `close` of a loop that is the parent's."""


def loop_of_child(parents: HandlerLoop, observer: Observer, abandon: Shutdown) -> HandlerLoop:
    """Make the loop of a handler in a forked child, to which Lambda itself gives no events."""
    if isinstance(parents, CallersLoop):
        parents.leave_to_parent()
    of_the_parent.append(parents)
    return CallersLoop(observer, abandon)


@atexit.register
def _close_open() -> None:
    for loop in tuple(_open):
        loop.close_abandoned()


def refuse_running_loop() -> None:
    """Raise `EventLoopError` where an event loop is running already."""
    if asyncio._get_running_loop() is not None:
        raise EventLoopError(
            "an event loop is running here, and handler(event, context) needs one of its own: "
            "use await handler.handle(event, context), and await handler.aclose() at the end"
        )


def _close_abandoned(runner: asyncio.Runner, shutdown: Shutdown) -> None:
    """Run the app's shutdown for a handler that is garbage and that nobody has closed."""

    def close() -> None:
        with runner:
            runner.run(shutdown())

    # Garbage is collected anywhere, also while another loop runs in this thread, and where it holds
    # a lock that every thread needs to begin or to end: what the app's shutdown waits for must not
    # need this one.
    _thread.start_new_thread(close, ())
