"""A gateway on an event loop and a thread of its own, for callers that are synchronous."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import weakref
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, TypeVar

from longwire.local import loops

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from longwire.testing.gateway import Gateway

T = TypeVar("T")

# Seconds that the loop may be late with the end of what has a time limit of its own.
LATE = 5.0
# Seconds in which the app's shutdown and everything else have to be over.
STOP_TIMEOUT = 20.0

CLOSED = "the TestClient of this connection is closed"
OWN_LOOP = (
    "the TestClient was called on the event loop of the app under test, which would wait for it"
)


class GatewayThread:
    """Runs a gateway from now on until `stop`."""

    def __init__(self, gateway: Gateway, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.gateway: Gateway = gateway
        self._loop = new_loop()
        self._stopping = False
        self._is_blocked = False
        # A daemon: nothing can stop an app that blocks for ever.
        self._thread = threading.Thread(target=self._run, name="longwire-testclient", daemon=True)
        self._thread.start()
        _running.add(self)
        self.call(gateway.__aenter__(), LATE)

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float) -> T:
        """Return what a coroutine returns on the loop; `timeout` is what it itself sees to.

        Raises:
            TimeoutError: it does not end, as the app blocks the loop, or takes too long to start.
        """
        if threading.current_thread() is self._thread or self.is_stopped:
            coroutine.close()
            raise RuntimeError(CLOSED if self.is_stopped else OWN_LOOP)
        if self._is_blocked and not self._responds():
            coroutine.close()
            raise TimeoutError(f"the app still blocks its event loop, at {self._place()}")
        work = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return work.result(timeout + LATE)
        except FutureTimeoutError:
            if work.done():
                raise
        finally:
            work.cancel()  # also when Ctrl-C ends the wait
        if self._responds():
            raise TimeoutError(
                f"the app was not done after {timeout + LATE:g} s, though its event loop is free"
            )
        raise TimeoutError(f"the app blocks its event loop, at {self._place()}")

    def _responds(self) -> bool:
        """Tell whether the loop turns, and note it."""
        turned = threading.Event()
        self._loop.call_soon_threadsafe(turned.set)
        self._is_blocked = not turned.wait(0.1)
        return not self._is_blocked

    @property
    def is_stopped(self) -> bool:
        """Whether it has been stopped."""
        return self._stopping or self._loop.is_closed()

    def _place(self) -> str:
        frame = sys._current_frames().get(self._thread.ident or 0)
        return (
            "an unknown line" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
        )

    def stop(self, *, wait: bool = True) -> None:
        """Close all connections, run the app's shutdown, end the loop and its thread.

        Raises what goes wrong there, if it waits for that.
        """
        if self.is_stopped:
            return
        _running.discard(self)
        try:
            if wait:
                self.call(self._stop(), STOP_TIMEOUT)
            else:
                asyncio.run_coroutine_threadsafe(self._stop(), self._loop)
        finally:
            if wait:
                self._thread.join(LATE)

    async def _stop(self) -> None:
        try:
            await self.gateway.__aexit__()
            if hasattr(self.gateway._function, "aclose"):
                await self.gateway._function.aclose()
        finally:
            remaining = asyncio.all_tasks() - {asyncio.current_task()}
            for task in remaining:
                task.cancel()
            await asyncio.gather(*remaining, return_exceptions=True)
            await self._loop.shutdown_asyncgens()
            await self._loop.shutdown_default_executor()
            self._stopping = True
            self._loop.call_soon(self._loop.stop)

    def _run(self) -> None:
        loops.run(self._loop, lambda: self._stopping)


# Of clients that nobody has closed.
_running: weakref.WeakSet[GatewayThread] = weakref.WeakSet()


def stop_all() -> None:
    """Stop what still runs, as a test run is over."""
    for running in list(_running):
        with contextlib.suppress(Exception):
            running.stop()
