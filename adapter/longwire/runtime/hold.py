"""One invocation of Lambda's that stays open: when its response has left, and when it is let go."""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from typing import TYPE_CHECKING, Any, Self

from longwire.runtime import waiting
from longwire_aws.timeouts import limits

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds that a response may take from the handler to Lambda where it is not seen to leave.
RESPONSE_LIMIT = 0.25
# Seconds between two looks at whether it has.
LOOK_EVERY = 0.01


class WatchedResponse(dict[str, Any]):
    """A response that can be seen to be let go, as Lambda's runtime does once it has left."""

    __slots__ = ("__weakref__",)


class Hold:
    """One invocation that stays open until its work is done; a context manager for its handler.

    `finish` does the rest in the extension's thread, in so many seconds, once the handler is done
    and what it has left behind `is_idle`; `wake` lets that thread see it.
    """

    def __init__(
        self,
        request_id: str,
        finish: Callable[[float], None],
        is_at_work_on: Callable[[str], bool] = waiting.is_at_work_on,
        wake: Callable[[], None] = lambda: None,
        is_idle: Callable[[], bool] = lambda: True,
    ) -> None:
        self.request_id = request_id
        self.finish = finish
        self._is_at_work_on = is_at_work_on
        self._wake = wake
        self._is_idle = is_idle
        self.is_released: bool = False
        self._left = False
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if error is not None:
            self._leave()
        self.is_released = True
        if self._is_idle():
            self._wake()  # otherwise who goes idle does

    @property
    def is_over(self) -> bool:
        """Whether the handler is done, and nothing that it has left behind is going on."""
        return self.is_released and self._is_idle()

    def watch(self, response: Any) -> Any:
        """Return the response, if it is a dict, in a form that shows when it has left."""
        if type(response) is not dict:
            return response
        watched = WatchedResponse(response)
        weakref.finalize(watched, self._leave).atexit = False
        return watched

    def sees(self) -> bool:
        """Tell whether a response that something around the handler holds back is seen to stay."""
        return self._is_at_work_on(self.request_id)

    async def response_left(self, seconds: float) -> bool:
        """Wait until the response has left; False if it surely has not after so many seconds."""
        until = time.monotonic() + seconds
        self._waiter = asyncio.get_running_loop().create_future()
        if not self._left:
            with (
                contextlib.suppress(TimeoutError),
                limits().within(min(seconds, RESPONSE_LIMIT)),
            ):
                await self._waiter
        # What surrounds the handler may keep the response, or answer with a copy of it, later.
        while self._is_at_work_on(self.request_id):
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(LOOK_EVERY)
        return True

    def _leave(self) -> None:
        self._left = True
        if (waiter := self._waiter) is not None:
            waiter.get_loop().call_soon_threadsafe(_settle, waiter)


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
