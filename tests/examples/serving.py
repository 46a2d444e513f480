"""Runs an example by the command that its docstring names."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shlex
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

ROOT = Path(__file__).parents[2]
GATEWAY, UVICORN = "longwire dev", "uvicorn"
TIME_LIMIT = 100.0  # seconds; only keeps a failure from hanging


class Server(NamedTuple):
    """An example that is being served."""

    command: str
    netloc: str
    http_netloc: str
    console: list[str]  # what it has printed, once it has ended

    def ws_url(self, path: str, query: str) -> str:
        if self.command == GATEWAY:
            return f"ws://{self.netloc}/?path={path}&{query}"
        return f"ws://{self.netloc}{path}?{query}"

    def http_url(self, path: str) -> str:
        return f"http://{self.http_netloc}{path}"


@asynccontextmanager
async def served(
    command: str,
    example: str,
    folder: Path,
    environ: Mapping[str, str] = MappingProxyType({}),
    options: Iterable[str] = (),
) -> AsyncIterator[Server]:
    """Run an example's own command, on a free port and with its files in a folder."""
    arguments = [*documented(command, example), *options, "--port", "0"]
    if command == GATEWAY:
        arguments += ["--file", str(folder / "connections.sqlite3")]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-m", *arguments),
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=PIPE,
        stderr=STDOUT,
    )
    console: list[str] = []
    try:
        async with asyncio.timeout(TIME_LIMIT):
            netloc = await _netloc(process)
            # `longwire dev` has a line of its own for HTTP.
            http_netloc = await _netloc(process) if command == GATEWAY else netloc
            yield Server(command, netloc, http_netloc, console)
    finally:
        if process.returncode is None:
            process.terminate()
        said, _ = await process.communicate()
        console += said.decode().splitlines()


def documented(command: str, example: str) -> list[str]:
    """Return the command line that an example's docstring names."""
    code = (ROOT / "examples" / f"{example}.py").read_text(encoding="utf-8")
    lines = (ast.get_docstring(ast.parse(code)) or "").splitlines()
    (line,) = (line for line in lines if line.startswith(f"    {command} "))
    return shlex.split(line, comments=True)


async def _netloc(process: asyncio.subprocess.Process) -> str:
    said = ""
    while process.stdout is not None and (line := (await process.stdout.readline()).decode()):
        found = re.search(r"(?:ws|http)://([0-9.]+:[0-9]+)", line)
        if found and "inspector" not in line:
            return found[1]
        said += line
    raise AssertionError(f"it does not serve: {said}")
