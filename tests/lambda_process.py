"""A Lambda function in a process of its own, under AWS's own runtime."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from longwire.cli import entry
from longwire.local.function.inline import do_nothing
from longwire.local.function.instance import Instance, Report
from tests.local.running import need_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class LambdaProcess:
    """One process, whose events are invoked one after the other.

    Attributes:
        reports: of the invocations that are over.
    """

    def __init__(
        self, folder: Path, *, timeout: float, freeze: bool, environ: dict[str, str]
    ) -> None:
        need_runtime()
        self.reports: list[Report] = []
        options = {"target": "function:handler", "app_dir": str(folder)}
        rest = dict.fromkeys(set(entry.NAMES) - set(options))
        self.instance = Instance(
            {entry.OPTIONS: json.dumps(rest | options), **environ},
            folder,
            # Lambda's runtime asks for the end of a snapshot in a way that takes no path with it.
            secret="" if "AWS_LAMBDA_INITIALIZATION_TYPE" in environ else "secret",
            timeout=timeout,
            freeze=freeze,
            on_report=self.reports.append,
        )
        self._over = asyncio.Event()
        self._over.set()

    async def invoke(self, event: dict[str, Any]) -> Any:
        """Return what the function returns, once it is done with its previous event."""
        await self.until_idle()
        self._over.clear()
        return await self.instance.invoke(event, do_nothing, self._over.set)

    async def until_idle(self) -> None:
        """Wait until the process waits for its next event, or has ended."""
        async with asyncio.timeout(30):
            await self._over.wait()

    async def end(self) -> None:
        """Send SIGTERM, as Lambda does to a process that it has no use for; wait for the end."""
        self.instance.signal("SIGTERM")
        async with asyncio.timeout(30):
            while self.instance.is_alive:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def lambda_process(
    folder: Path,
    source: str,
    environ: dict[str, str],
    *,
    timeout: float = 10.0,
    freeze: bool = False,
) -> AsyncIterator[LambdaProcess]:
    """Run a module whose `handler` is the function; `environ` is added to its environment."""
    (folder / "function.py").write_text(source)
    process = LambdaProcess(folder, timeout=timeout, freeze=freeze, environ=environ)
    await process.instance.start()
    try:
        yield process
    finally:
        await process.instance.stop()
