"""From threads to event loops: where synchronous code waits for what is asynchronous."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from longwire.exceptions import DeadlineError, EventLoopError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

logger: logging.Logger = logging.getLogger("longwire")

T = TypeVar("T")

# Seconds after which work that keeps its own deadline is surely not being done.
GRACE = 5.0

_NOT_THE_APP = ("asyncio", "longwire", "selectors", "threading")

_loops: dict[tuple[int, str], asyncio.AbstractEventLoop] = {}
_starting = threading.Lock()


class Turnstile:
    """Lets in any number at a time, or one alone, which those who come later wait for.

    It is the context manager of the many.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_shut = False

    def __enter__(self) -> None:
        with self._changed:
            self._until_open()
            self._inside += 1

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        with self._changed:
            self._inside -= 1
            if self._is_shut:
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until all are out, and keep others out."""
        with self._changed:
            self._until_open()
            self._is_shut = True
        try:
            with self._changed:
                while self._inside:
                    self._changed.wait()
            yield
        finally:
            with self._changed:
                self._is_shut = False
                self._changed.notify_all()

    def _until_open(self) -> None:
        while self._is_shut:
            self._changed.wait()


class LoopThread:
    """An event loop that runs in a thread of this name for as long as the process lives."""

    def __init__(self, name: str) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        # What is being done, and who waits for it; for the thread of the loop alone.
        self._waiting: dict[asyncio.Task[None], Future[Any]] = {}
        running = threading.Event()
        self.loop.call_soon(running.set)
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        thread.start()
        running.wait()
        self._ident = thread.ident or 0

    def result(
        self,
        work: Coroutine[Any, Any, T],
        seconds: float,
        on_blocked: Callable[[DeadlineError], object] = lambda _: None,
    ) -> T:
        """Wait for work that is done on the loop, beside that of other threads.

        It keeps its own deadline: if it is not done in so many seconds, something blocks the loop,
        and `DeadlineError` is raised. `sys.exit` on the loop raises `SystemExit` here.
        """
        waiting: Future[T] = Future()
        task: asyncio.Task[None]

        async def settle() -> None:
            try:
                value = await work
            except BaseException as error:
                if not waiting.done():
                    waiting.set_exception(error)
            else:
                if not waiting.done():
                    waiting.set_result(value)

        def begin() -> None:
            nonlocal task
            task = self.loop.create_task(settle())
            self._waiting[task] = waiting
            task.add_done_callback(over)

        def over(task: asyncio.Task[None]) -> None:
            del self._waiting[task]
            work.close()  # if it never came to its turn

        self.loop.call_soon_threadsafe(begin)
        try:
            return waiting.result(seconds)
        except TimeoutError:
            if waiting.done():  # just now, or with this very error
                return waiting.result()
            self.loop.call_soon_threadsafe(lambda: task.cancel())
            reason = self._reason() if seconds else "no time was left for it"
            blocked = DeadlineError(f"no end within {seconds:.3g} s: {reason}")
            on_blocked(blocked)
            raise blocked from None

    def is_stuck(self, seconds: float) -> bool:
        """Tell whether the loop does nothing for so long."""
        answered = threading.Event()
        self.loop.call_soon_threadsafe(answered.set)
        return not answered.wait(seconds)

    def _reason(self) -> str:
        """Tell what the loop's thread is in: the line its author can change."""
        frame = sys._current_frames().get(self._ident)
        while frame is not None:
            if not str(frame.f_globals.get("__name__")).startswith(_NOT_THE_APP):
                where = f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
                return f"the app blocks its event loop, in {where}"
            frame = frame.f_back
        return "something does not end though it is cancelled"

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # asyncio lets these two end its loop; they are for who waits in other threads.
                waiting = [one for one in self._waiting.values() if not one.done()]
                if not waiting:
                    logger.error("the app tried to end the process: %r; it goes on", error)
                for one in waiting:
                    one.set_exception(error)


def run(
    work: Callable[[], Coroutine[Any, Any, T]],
    loop: asyncio.AbstractEventLoop | None,
    seconds: float | None = None,
    *,
    late: str | None = None,
) -> T:
    """Wait for work on an event loop that runs in another thread; None: on one of our own.

    If its loop runs, it is done in so many seconds; if it is not, there is an `EventLoopError` some
    time later, or right then a `DeadlineError` with the text `late`.
    """
    home = loop if loop is not None and loop.is_running() else own_loop()
    if running_loop() is home:
        raise EventLoopError(
            "this event loop would have to do the work and cannot wait for itself: leave `.sync` "
            "out and use await, or call from a thread (await asyncio.to_thread(...))"
        )
    future = asyncio.run_coroutine_threadsafe(work(), home)
    try:
        return future.result(None if seconds is None else seconds + (0.0 if late else GRACE))
    except TimeoutError:
        if future.done():
            raise
        future.cancel()
        if late is not None:
            raise DeadlineError(late) from None
        raise EventLoopError(
            "the event loop that would have to do the work has stopped: its Lambda event is over, "
            "as it may be for a thread that no task waits for"
        ) from None


def own_loop(name: str = "longwire-sync") -> asyncio.AbstractEventLoop:
    """Return an event loop that runs in a thread of this name, for as long as the process lives."""
    key = os.getpid(), name  # a fork has no such thread any more
    with _starting:
        if key not in _loops:
            _loops[key] = LoopThread(name).loop
        return _loops[key]


def is_own_loop(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether `own_loop` has made it."""
    return loop in tuple(_loops.values())


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread; None when there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
