"""The event loop of a thread that an app runs in."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger: logging.Logger = logging.getLogger("longwire.local")


def run(loop: asyncio.AbstractEventLoop, is_over: Callable[[], bool]) -> None:
    """Run it in this thread until somebody stops it and it is over, and close it."""
    asyncio.set_event_loop(loop)
    while not is_over():
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio lets these two end its loop. Lambda would start a new process.
            logger.error("the app tried to end the process: %r; it goes on here", error)
    asyncio.set_event_loop(None)
    loop.close()
