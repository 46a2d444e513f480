"""The core of `longwire dev --instances 1`, which starts a process anew when it has ended."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from longwire.local.rules.errors import (
    FunctionExitError,
    FunctionRaisedError,
    FunctionTimeoutError,
)
from tests.emulators.core.core import TIMEOUT
from tests.lambda_process import LambdaProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Dev:
    """A process of the function, and the next one."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._process: LambdaProcess | None = None

    async def invoke(self, event: dict[str, Any]) -> list[Any]:
        """Note the answer when it comes, and wait for what goes on behind it."""
        try:
            process = await self._running()
            answer = await self._invoke(process, event)
        except FunctionRaisedError as error:  # of a process that has not started, too
            answer = ["error", error.type, error.message]
        (self._folder / "answered").touch()
        if self._process is not None:
            await self._process.until_idle()
        return answer

    async def _invoke(self, process: LambdaProcess, event: dict[str, Any]) -> list[Any]:
        try:
            return ["answer", await process.invoke(event)]
        except FunctionTimeoutError as error:
            return ["timeout", str(error)]
        except FunctionExitError as error:
            return ["error", "Runtime.ExitError", str(error)]

    async def _running(self) -> LambdaProcess:
        if self._process is None or not self._process.instance.is_alive:
            await self.stop()
            process = LambdaProcess(
                self._folder, timeout=TIMEOUT, freeze=False, environ=self._environ
            )
            await process.instance.start()
            self._process = process
        return self._process

    async def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            await process.instance.stop()


@asynccontextmanager
async def dev(folder: Path, environ: dict[str, str]) -> AsyncIterator[Dev]:
    """Run the function of a folder under `awslambdaric` with `longwire dev`'s Runtime API."""
    core = Dev(folder, environ)
    try:
        yield core
    finally:
        await core.stop()
