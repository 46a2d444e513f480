"""Places that serve an ASGI app: uvicorn, the local gateway with a handler behind it, and that
gateway with the handler in frozen processes under Lambda's own runtime.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import uvicorn

from longwire import Longwire
from longwire.local.function.inline import ThreadFunction, environment
from longwire.local.rules.settings import GatewaySettings
from longwire.local.server.server import LocalGateway
from tests.local.running import Dev

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from typing import Self

    from longwire import WSConfig

    Query = Sequence[tuple[str, str]]
    Address = Callable[[str, Query], str]


ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def on_uvicorn(app: Any, folder: Path) -> AsyncIterator[Address]:
    """Serve the app with uvicorn; yield what makes the URL of a path and query."""
    config = uvicorn.Config(
        app, port=0, ws="websockets-sansio", log_config=None, ws_per_message_deflate=False
    )
    server = uvicorn.Server(config)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]

    def address(path: str, query: Query) -> str:
        return f"ws://127.0.0.1:{port}{quote(path)}?{urlencode(query)}"

    try:
        yield address
    finally:
        server.should_exit = True
        await serving
        for number, handler in handlers.items():
            signal.signal(number, handler)


@asynccontextmanager
async def on_gateway(app: Any, folder: Path) -> AsyncIterator[Address]:
    """Serve the app with API Gateway's rules and a sqlite3 store, as `longwire dev` does."""
    settings: WSConfig = {"backend": "sqlite3", "params": {"file_path": folder / "parity.sqlite3"}}
    function = ThreadFunction(Longwire(app, ws_config=settings))
    async with function.running(), LocalGateway(function, GatewaySettings()) as gateway:
        os.environ["WS_MANAGEMENT_ENDPOINT"] = gateway.management_url
        try:
            # API Gateway has no path below the stage: the handler reads it from the query.
            yield lambda path, query: f"{gateway.url}/?{urlencode([('path', path), *query])}"
        finally:
            del os.environ["WS_MANAGEMENT_ENDPOINT"]


class LongwireDev:
    """`longwire dev`, with a store in the folder if the options name no other."""

    def __init__(self, folder: Path, target: str, *options: str, **environ: str) -> None:
        in_folder = ["--file", str(folder / "store.sqlite3")]
        store = [] if "--backend" in options else in_folder
        self._dev = Dev(folder, target, "--app-dir", str(ROOT), *store, *options, **environ)
        self._url = ""

    def __enter__(self) -> Self:
        self._dev.__enter__()
        self._url = self._dev.ready()[1]
        for output in (self._dev.process.stdout, self._dev.process.stderr):
            _drain(output)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._dev.__exit__(*exc_info)

    def address(self, app: str) -> Address:
        """Return what makes the URL of a path and query; `app` is the first part of the path."""
        return lambda path, query: f"{self._url}/?{urlencode([('path', f'{app}{path}'), *query])}"


class Uvicorn:
    """uvicorn in a process of its own."""

    def __init__(self, folder: Path, target: str, **environ: str) -> None:
        options = ["--app-dir", str(ROOT), "--port", "0", "--ws", "websockets-sansio"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", target, *options, "--ws-per-message-deflate", "no"],
            cwd=folder,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**environment(), "PYTHONUNBUFFERED": "1", **environ},
        )
        self._port = 0

    def __enter__(self) -> Self:
        assert self._process.stderr is not None
        said = ""
        for line in self._process.stderr:
            said += line
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                self._port = int(found[1])
                break
        assert self._port, said
        _drain(self._process.stderr)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()  # a script that has failed may have left an endpoint that never ends
        with self._process:
            pass

    def address(self, app: str) -> Address:
        """As `LongwireDev.address`."""
        base = f"ws://127.0.0.1:{self._port}"
        return lambda path, query: f"{base}{quote(f'{app}{path}')}?{urlencode(query)}"


def _drain(output: IO[str] | None) -> None:
    """Read what a process says: a full pipe would stop it."""
    assert output is not None
    threading.Thread(target=output.read, daemon=True).start()


class Processes(LongwireDev):
    """`longwire dev --instances 4 --freeze`, by default with all apps of `every.py`.

    Attributes:
        heard: the file to which these apps write what they are told.
    """

    def __init__(self, folder: Path, target: str = "tests.parity.every:app") -> None:
        self.heard = folder / "heard.jsonl"
        options = ["--instances", "4", "--freeze"]
        super().__init__(folder, target, *options, PARITY_HEARD=str(self.heard))


HOSTS = {"uvicorn": on_uvicorn, "gateway": on_gateway}
