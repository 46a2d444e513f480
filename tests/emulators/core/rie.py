"""AWS's own Lambda core, as it is in its open runtime interface emulator, which Go builds."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

from tests.emulators.core.core import TIMEOUT
from tests.emulators.emulator import cache
from tests.emulators.npm import program
from tests.servers import unavailable
from tests.servers.aws import KEYS
from tests.servers.process import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAME = "aws-lambda-rie"
MODULE = "github.com/aws/aws-lambda-runtime-interface-emulator"
# What `differs.py` says is said of this state.
VERSION = "v0.0.0-20261030222936-bef5c4ba774d"
BUILD_TIMEOUT = 300.0  # seconds
INVOKE = "/2015-03-31/functions/function/invocations"


def built() -> Path:
    """Return the emulator, built if it is not there yet."""
    folder = cache() / f"{NAME}-{VERSION}"
    if not (folder / NAME).exists():
        command = [program(NAME, "go"), "install", f"{MODULE}/cmd/{NAME}@{VERSION}"]
        made = subprocess.run(
            command,
            env={**os.environ, "GOBIN": str(folder)},
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT,
        )
        if made.returncode:
            unavailable(NAME, f"go cannot build it: {made.stderr.strip()[-300:]}")
    return folder / NAME


class Rie:
    """The emulator with the function, which it starts for its first event."""

    def __init__(self, http: httpx.AsyncClient, folder: Path) -> None:
        self._http = http
        self._folder = folder

    async def invoke(self, event: dict[str, Any]) -> list[Any]:
        """It hands the answer out when the function and its extensions are done."""
        response = await self._http.post(INVOKE, json=event)
        (self._folder / "answered").touch()
        if response.text.startswith("Task timed out"):
            return ["timeout", response.text]
        try:
            said = json.loads(response.text)
        except ValueError:
            return ["answer", response.text]
        if isinstance(said, dict) and "errorType" in said:
            return ["error", said["errorType"], said.get("errorMessage")]
        return ["answer", said]


@asynccontextmanager
async def rie(folder: Path, environ: dict[str, str]) -> AsyncIterator[Rie]:
    """Run the function of a folder under `awslambdaric` in the emulator."""
    command = [str(built()), "--runtime-interface-emulator-address", "127.0.0.1:{port}"]
    command += ["--runtime-api-address", f"127.0.0.1:{free_port()}", "--log-level", "error"]
    command += [sys.executable, "-m", "awslambdaric", "function.handler"]
    lambdas = {
        **KEYS,
        "AWS_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(TIMEOUT),
        "LAMBDA_TASK_ROOT": str(folder),
        "TZ": "UTC",
    }
    # Whose braces are what `ServerProcess` would replace.
    literal = {name: re.sub("([{}])", r"\1\1", value) for name, value in environ.items()}
    server = ServerProcess(command, lambdas | literal, folder=folder)
    await asyncio.to_thread(server.start)
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
            yield Rie(http, folder)
    finally:
        # The function's process ends when it finds that the Runtime API is gone.
        server.close()
