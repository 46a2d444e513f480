"""The event loop of a handler on Lambda: on a thread of its own, so that it outlives a response.

All of the app runs on that thread, whatever becomes of the event that it is for. The runtime's main
thread only waits for it, and never for longer than the event has time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from longwire.deadlines import Deadlines, left, log_leaving
from longwire.exceptions import DeadlineError
from longwire.runtime import sigterm, snapstart
from longwire.runtime.after_response import AfterResponse, Deferred
from longwire.runtime.extension import never_freezes, of_this_process
from longwire.runtime.hold import Hold
from longwire.runtime.threads import LoopThread, Turnstile

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractContextManager

    from longwire.observability.event import Observed
    from longwire.observability.observer import Observer
    from longwire.runtime.after_response import Handle
    from longwire.types import LambdaEvent

logger: logging.Logger = logging.getLogger("longwire")

# Seconds for a loop that was blocked to show that it goes on.
STUCK_LIMIT = 0.5
# Seconds beyond an event's time in which Lambda has surely ended a process.
GRACE = 5.0
# Seconds that closing may take before a snapshot is taken.
CLOSE_LIMIT = 5.0


class LambdaLoop:
    """Runs the coroutines of one handler; for the arguments see `loop.handler_loop`."""

    def __init__(
        self,
        deferred: Deferred,
        observer: Observer,
        close: Callable[[], None],
        shut_down: Callable[[float], Coroutine[Any, Any, None]],
    ) -> None:
        self._deferred = deferred
        self._observer = observer
        self._shut_down = shut_down
        self._extension = of_this_process()
        if self._extension is not None:
            deferred.went_idle = self._extension.wake
        self._never_freezes = never_freezes()
        self._thread = LoopThread("longwire-app")
        # An app has blocked the loop, which has not gone on since.
        self._is_blocked = False
        self._released_at = 0.0  # by the last event that was held; in `time.monotonic()`
        self._noting = threading.Lock()
        if self._never_freezes:
            turnstile = Turnstile()
            self._handling: AbstractContextManager[object] = turnstile
            self._closing: Callable[[], AbstractContextManager[object]] = turnstile.alone
        else:
            self._handling = one_event = threading.Lock()
            self._closing = lambda: one_event
        sigterm.on_sigterm(self._terminate)
        snapstart.before(close)

    def handle(self, event: LambdaEvent, context: Any, handle: Handle) -> Any:
        """Handle one event; raises `DeadlineError` when the app blocks its event loop."""
        with self._handling:
            return self._handle(event, context, handle)

    def _handle(self, event: LambdaEvent, context: Any, handle: Handle) -> Any:
        until = Deadlines.of(context).end
        observed = self._observer.begin(event, context)
        hold = self._hold(context)
        try:
            self._refuse_if_stuck(observed)
            if hold is None:
                return self._result(event, handle(None, observed), until, observed)
            with hold:
                after = AfterResponse(self._deferred, hold.response_left, sees=hold.sees)
                return hold.watch(self._result(event, handle(after, observed), until, observed))
        finally:
            self._released_at = time.monotonic()
            if self._extension is None or hold is None:  # else it is done behind the response
                self._observer.flush(until - time.monotonic())

    def _hold(self, context: Any) -> Hold | None:
        """Let something run after the response; None where the process is frozen then."""
        if self._never_freezes:
            return Hold(getattr(context, "aws_request_id", ""), lambda seconds: None)
        if self._extension is None:
            return None
        return self._extension.hold(context, self._finish, lambda: self._deferred.is_idle)

    def close(self, aclose: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for `aclose`; raises `DeadlineError` when it takes too long."""
        with self._closing():
            self._thread.result(aclose(), CLOSE_LIMIT)

    def _result(
        self,
        event: LambdaEvent,
        work: Coroutine[Any, Any, Any],
        until: float,
        observed: Observed,
    ) -> Any:
        """Wait for the thread, but not for an app that blocks it until Lambda ends the process."""
        seconds = left(until)

        def on_blocked(error: DeadlineError) -> None:
            if self._note_blocked():  # said once, whoever else is waiting for the loop
                log_leaving(event, seconds, error)
            observed.give_up(error)

        return self._thread.result(work, seconds, on_blocked)

    def _note_blocked(self) -> bool:
        """Note that the loop is blocked, until it goes on; tell whether that is new."""
        with self._noting:
            if self._is_blocked:
                return False
            self._is_blocked = True
        self._thread.loop.call_soon_threadsafe(self._note_turn)
        return True

    def _note_turn(self) -> None:
        self._is_blocked = False

    def _refuse_if_stuck(self, observed: Observed) -> None:
        """End a process whose loop is still blocked: Lambda starts another one.

        Not where it would not, on Managed Instances; raises `DeadlineError` there.
        """
        if not (self._is_blocked and self._thread.is_stuck(STUCK_LIMIT)):
            return
        if self._never_freezes:
            error = DeadlineError("the app still blocks its event loop")
            observed.give_up(error)
            raise error
        logger.critical("the app still blocks its event loop: this process ends itself")
        os._exit(1)

    # In the extension's thread

    def _finish(self, seconds: float) -> None:
        """Do the last of an event: nothing goes on behind its response, or its time is up."""
        until = time.monotonic() + seconds
        # Until Lambda ends the process with its event's time, so that no later event finds it so.
        if self._is_blocked:
            self._thread.is_stuck(seconds + GRACE)
        if not self._deferred.is_idle:
            logger.error(
                "what goes on behind a response did not end within %.3g s; it is frozen: %s",
                time.monotonic() - self._released_at,
                self._deferred.describe(),
            )
        self._observer.flush(until - time.monotonic())

    # In the thread of a signal

    def _terminate(self, seconds: float) -> None:
        work = self._shut_down(seconds)
        asyncio.run_coroutine_threadsafe(work, self._thread.loop).result(seconds)
