"""The app's startup and shutdown, once for each event loop.

ASGI: https://asgi.readthedocs.io/en/latest/specs/lifespan.html
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import weakref
from typing import TYPE_CHECKING, Any, Literal

from longwire.asgi import frames, tasks
from longwire.exceptions import ASGIMessageError, LifespanError

if TYPE_CHECKING:
    from longwire.types import ASGIApp, Message

logger: logging.Logger = logging.getLogger("longwire")

LifespanMode = Literal["auto", "on", "off"]

# Seconds that the app's shutdown may take.
SHUTDOWN_LIMIT = 10.0


class Lifespans:
    """The lifespans of an app, one for each event loop that runs it.

    What a startup made belongs to its loop. A startup that has failed is tried again.
    """

    def __init__(self, app: ASGIApp, mode: LifespanMode) -> None:
        self._app = app
        self._mode = mode
        self._of: dict[asyncio.AbstractEventLoop, Lifespan] = {}
        weakref.finalize(self, _end_abandoned, self._of).atexit = False

    def current(self) -> Lifespan:
        """Return the lifespan of the running loop."""
        loop = asyncio.get_running_loop()
        lifespan = self._of.get(loop)
        if lifespan is None or lifespan.failed:
            if lifespan is not None:
                lifespan.abandon()
            _strand_closed(self._of)
            lifespan = self._of[loop] = Lifespan(self._app, self._mode)
        return lifespan

    async def shutdown(self, timeout: float = math.inf) -> None:
        """Run the app's shutdown, if it has been started on the running loop.

        It may take `timeout` seconds, but no more than `SHUTDOWN_LIMIT`.
        """
        lifespan = self._of.pop(asyncio.get_running_loop(), None)
        if lifespan is not None:
            await lifespan.shutdown(min(timeout, SHUTDOWN_LIMIT))

    def leave_to_parent(self) -> object:
        """Begin anew in a forked child, and return what has to be kept for its parent."""
        parents = self._of.copy()
        self._of.clear()
        return parents


# Whose loop was closed before their shutdown could run. They are kept, as a task that is garbage
# while it waits says so then and there, in whatever code is running.
_stranded: list[Lifespan] = []


def _strand_closed(of: dict[asyncio.AbstractEventLoop, Lifespan]) -> None:
    for loop in [loop for loop in of if loop.is_closed()]:
        lifespan = of.pop(loop)
        if lifespan.is_running:
            _stranded.append(lifespan)


def _end_abandoned(of: dict[asyncio.AbstractEventLoop, Lifespan]) -> None:
    """Have shutdowns run whose handler is garbage; here nothing may be logged, or wait."""
    _strand_closed(of)
    for loop, lifespan in of.items():
        loop.call_soon_threadsafe(lifespan.end)


@atexit.register
def _tell_stranded() -> None:
    if _stranded:
        logger.warning(
            "the app's shutdown did not run on %d event loops, which were closed before it: "
            "await handler.aclose() first",
            len(_stranded),
        )


class Lifespan:
    """The lifespan of an app on the running event loop."""

    def __init__(self, app: ASGIApp, mode: LifespanMode) -> None:
        self.state: dict[str, Any] = {}  # what the startup left; scopes get shallow copies
        self._app = app
        self._mode = mode
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def is_up(self) -> bool:
        """Whether nobody has to wait for its startup, as for nearly every event."""
        return self._mode == "off" or self._started.done()

    async def startup(self, timeout: float) -> None:
        """Run the app's startup; whoever calls while it runs waits for the same one.

        It goes on after the timeout (in seconds), for the next call. Raises `LifespanError`.
        """
        if self._mode == "off":
            return
        if self._started.done():
            return self._started.result()
        if self._task is None:
            self._inbox.put_nowait({"type": "lifespan.startup"})
            self._task = tasks.spawn_lifespan(self._run())
        limit = None if timeout == math.inf else timeout
        done, _ = await asyncio.wait({self._started}, timeout=limit)
        if not done:
            where = frames.describe({self._task})
            detail = f"the app's startup takes longer than {timeout:.3g} s; it waits in {where}"
            raise LifespanError(detail) from TimeoutError()
        self._started.result()

    @property
    def failed(self) -> bool:
        """Whether the startup is over and was in vain."""
        return self._started.done() and self._started.exception() is not None

    async def shutdown(self, timeout: float) -> None:
        """Run the app's shutdown for so many seconds; what goes wrong there is logged."""
        if self._task is None or self._task.done():
            return
        if not self.failed:
            self._stopping = True
            self._inbox.put_nowait({"type": "lifespan.shutdown"})
            both = {self._task, self._stopped}
            done, _ = await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
            logger.error(
                "the app's shutdown takes longer than %.3g s and is given up; it waits in %s",
                timeout,
                frames.describe({self._task}),
            )
        self.abandon()
        await asyncio.sleep(0)

    @property
    def is_running(self) -> bool:
        """Whether the app is still in it."""
        return self._task is not None and not self._task.done()

    def end(self) -> None:
        """Begin with the shutdown; nobody waits for it."""
        self._ending = asyncio.get_running_loop().create_task(self.shutdown(SHUTDOWN_LIMIT))

    def abandon(self) -> None:
        """Cancel an app that waits though its startup has failed or its shutdown takes too long."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._inbox.get, self._send)
        except Exception as error:
            self._raised(error)
        finally:
            # An app that returns early has no lifespan to wait for.
            _settle(self._started)
            _settle(self._stopped)

    def _raised(self, error: Exception) -> None:
        if self._started.get_loop().is_closed():
            return  # the process ends, and it was stranded
        if self._started.done():
            # Whoever waits for the startup may know it already, as from Starlette.
            failure = self._started.exception()
            known = failure is not None and str(error) in str(failure)
            if failure is not None and known:
                failure.__cause__ = error
            level = logging.DEBUG if known else logging.ERROR
            logger.log(level, "the app's lifespan raised", exc_info=error)
        elif self._mode == "on":
            raised = LifespanError(f"the app's lifespan raised {error!r} at startup")
            raised.__cause__ = error
            self._started.set_exception(raised)
        else:
            logger.debug("the app has no lifespan: it raised %r", error)

    async def _send(self, message: Message) -> None:
        match message.get("type"):
            case "lifespan.startup.complete":
                _settle(self._started)
            case "lifespan.startup.failed":
                failure = LifespanError(f"the app's startup failed: {message.get('message', '')}")
                if not self._started.done():
                    self._started.set_exception(failure)
            case "lifespan.shutdown.complete":
                _settle(self._stopped)
            case "lifespan.shutdown.failed":
                if self._stopping:  # else its loop was closed before anybody asked it to stop
                    logger.error("the app's shutdown failed: %s", message.get("message", ""))
                _settle(self._stopped)
            case kind:
                # An app that takes every scope for a connection learns here that this is none.
                raise ASGIMessageError(f"the app sent {kind!r}, but this is the lifespan scope")


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
