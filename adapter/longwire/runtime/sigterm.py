"""SIGTERM: Lambda gives a process with an extension half a second before it kills it.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html#runtimes-extensions-api-shutdown-duration
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger: logging.Logger = logging.getLogger("longwire")

# Seconds in which everything has to be over, of the half second that Lambda gives.
LIMIT = 0.45
# Seconds in which all that matters has to be done or begun. Lambda promises the half second, but
# its core, as AWS has published it, gives the function's process 0.15 s of it.
SURE = 0.1

_closers: list[weakref.WeakMethod[Callable[[float], None]]] = []
_pipe: tuple[int, int] | None = None


def on_sigterm(close: Callable[[float], None]) -> None:
    """Call a method, with the seconds it may take, when the process is asked to end.

    A handler that somebody else has set for the signal stays, and decides when the process ends.
    """
    global _pipe
    _closers.append(weakref.WeakMethod(close))
    if _pipe is not None or threading.current_thread() is not threading.main_thread():
        return
    _pipe = os.pipe()
    if sys.platform != "win32":  # Lambda is Linux, but tests of it run elsewhere, too
        os.set_blocking(_pipe[1], False)
    if (earlier := signal.set_wakeup_fd(_pipe[1], warn_on_full_buffer=False)) != -1:
        signal.set_wakeup_fd(earlier)  # an event loop's, or somebody else's, who knows better
        return
    if signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.SIG_IGN, None):
        signal.signal(signal.SIGTERM, _ignore)
    # A thread: the main one may be in C code of Lambda's runtime, where no signal handler runs.
    threading.Thread(target=_watch, args=[_pipe[0]], name="longwire-sigterm", daemon=True).start()


def _leave_to_parent() -> None:
    """Undo it in a forked child: no thread of it waits for the signal, but its parent's would."""
    if _pipe is None:
        return
    if (there := signal.set_wakeup_fd(-1)) not in (_pipe[1], -1):
        signal.set_wakeup_fd(there)
    if signal.getsignal(signal.SIGTERM) is _ignore:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _ignore(number: int, frame: object) -> None:
    """Stand in for the handler that there has to be, or the signal would end the process."""


def _watch(readable: int) -> None:
    while signal.SIGTERM not in os.read(readable, 64):
        pass
    _close_all()
    if signal.getsignal(signal.SIGTERM) is _ignore:
        os._exit(0)


def end_process(status: int) -> None:
    """End it without having been asked to, as cleanly."""
    _close_all()
    os._exit(status)


def _close_all() -> None:
    """Close all handlers at the same time, as none may wait for another one's shutdown."""
    until = time.monotonic() + LIMIT
    closing = [
        threading.Thread(target=_close, args=[close, until], daemon=True)
        for reference in _closers
        if (close := reference()) is not None
    ]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join(max(0.0, until - time.monotonic()))


def _close(close: Callable[[float], None], until: float) -> None:
    try:
        close(until - time.monotonic())
    except Exception as error:
        logger.error("the app's shutdown was not over in time: %r", error)
