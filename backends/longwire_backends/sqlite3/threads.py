"""Calls in threads that keep no interpreter from ending, and that no loop's end interrupts."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


def run_in_thread(call: Callable[[], _T]) -> Future[_T]:
    """Call at once."""
    return Worker().run(call)


class Worker:
    """Calls one after the other, in one thread, which is there as long as there are any."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._lock = Lock()
        self._works = False

    def run(self, call: Callable[[], _T]) -> Future[_T]:
        future: Future[_T] = Future()
        # From here on a waiter that is cancelled does not cancel it for the others.
        future.set_running_or_notify_cancel()
        with self._lock:
            if not self._works:
                Thread(target=self._work, daemon=True).start()  # or the call is not made, ever
                self._works = True
            self._calls.append((future, call))
        return future

    def is_idle(self) -> bool:
        return not self._calls

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._calls:
                    self._works = False
                    return
                future, call = self._calls[0]
            try:
                try:
                    result = call()
                finally:
                    self._calls.popleft()  # who waits for it finds nothing under way
                future.set_result(result)
                del result
            except Exception as error:
                future.set_exception(error)
            del future, call  # who made them may be gone before the next come
