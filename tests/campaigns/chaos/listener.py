"""What is heard of a conversation beside its answers: Longwire's log, and the loop's errors."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from longwire_backends import BackendError
from tests.campaigns.chaos.apps import ALLOWED
from tests.campaigns.chaos.event import here
from tests.campaigns.chaos.process import Process

if TYPE_CHECKING:
    from tests.campaigns.chaos.clock import SimulatedLoop
    from tests.campaigns.chaos.faults import Faults
    from tests.campaigns.chaos.gateway import Gateway


OUT_OF_TIME = "no answer within the 0 s that were left"


class Listener(logging.Handler):
    """Judges each line of the log, and in the end what the loop was told."""

    def __init__(self, gateway: Gateway, faults: Faults, loop: SimulatedLoop) -> None:
        super().__init__(logging.INFO)
        self._gateway = gateway
        self._faults = faults
        self._loop = loop
        self._logger = logging.getLogger("longwire")

    def __enter__(self) -> None:
        self._before = self._logger.level, self._logger.propagate
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        self._logger.addHandler(self)

    def __exit__(self, *exc_info: object) -> None:
        self._logger.removeHandler(self)
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)
        self._look_at_errors()

    def emit(self, record: logging.LogRecord) -> None:
        """Judge a line: an error in it is the app's, or the store's."""
        process = here.get()
        if process is not None and process.dead:
            return
        self._gateway.log(f"log: {record.getMessage()}")
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not self._is_allowed(error):
            self._gateway.violated(f"logged with {error!r}: {record.getMessage()}")

    def _is_allowed(self, error: BaseException) -> bool:
        if isinstance(error, BaseExceptionGroup):
            return all(map(self._is_allowed, error.exceptions))
        if isinstance(error, BackendError):
            # One that an app is given when it asks for something after its time is nobody's fault.
            return self._faults.of_store or OUT_OF_TIME in str(error)
        return isinstance(error, ALLOWED)

    def _look_at_errors(self) -> None:
        for context in self._loop.errors:
            task = context.get("task") or context.get("future")
            process = self._loop.owners.get(task) if isinstance(task, asyncio.Task) else None
            if not (isinstance(process, Process) and process.dead):
                self._gateway.violated(f"the event loop was told: {context}")
