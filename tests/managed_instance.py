"""An execution environment of Lambda Managed Instances: its Runtime API gives out several events.

The function runs under AWS's own runtime, which has a process for each, or under one that calls
the handler in several threads of one process (`THREADS`), as a function may bring along.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

THREADS = """
import http.client, json, logging, os, sys, threading, time
logging.basicConfig(level="WARNING")
from function import handler

class Context:
    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.until = int(headers["Lambda-Runtime-Deadline-Ms"])
    def get_remaining_time_in_millis(self):
        return max(0, self.until - int(time.time() * 1000))

def serve():
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    def ask(method, path, body=None):
        connection.request(method, "/2018-06-01/runtime/invocation/" + path, body)
        response = connection.getresponse()
        return response.headers, response.read()
    while True:
        headers, event = ask("GET", "next")
        context = Context(headers)
        try:
            how, answer = "response", handler(json.loads(event), context)
        except Exception as error:
            how, answer = "error", {
                "errorType": type(error).__name__, "errorMessage": str(error)
            }
        ask("POST", context.aws_request_id + "/" + how, json.dumps(answer))

for _ in range(int(os.environ["AWS_LAMBDA_MAX_CONCURRENCY"])):
    threading.Thread(target=serve, daemon=True).start()
threading.Event().wait()
"""


class Answer(NamedTuple):
    """What came of an invocation: `error` is None, or its type and its text."""

    request_id: str
    response: Any
    error: str | None


class ManagedInstance:
    """One environment, whose events are invoked at once."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._events: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[Answer]] = {}
        self._count = 0
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def log(self) -> str:
        """What its processes have written."""
        return self._log.read_text()

    async def start(self, folder: Path, environ: dict[str, str], *arguments: str) -> None:
        """Start Python, in the folder, with these arguments."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        paths = [str(folder), *sys.path]
        with self._log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(path for path in paths if path),
                    "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}",
                    **environ,
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    async def invoke(self, event: dict[str, Any], timeout: float = 20.0) -> Answer:
        """Return what came of an event; others may be going on."""
        self._count += 1
        request_id = f"request-{self._count}"
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {request_id}\r\n"
            f"Lambda-Runtime-Deadline-Ms: {int((time.time() + timeout) * 1000)}\r\n"
        )
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[request_id] = answer
        self._events.put_nowait((head, json.dumps(event).encode()))
        return await answer

    async def end(self) -> int:
        """Send SIGTERM; return the status that the process ends with."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 30)

    async def stop(self) -> None:
        """End what is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)content-length: *(\d+)", request)
                body = await reader.readexactly(int(length[1])) if length else b""
                head, answer = await self._answer(request.split(" ")[1], body)
                writer.write(f"{head}Content-Length: {len(answer)}\r\n\r\n".encode() + answer)
                await writer.drain()
        writer.close()

    async def _answer(self, path: str, body: bytes) -> tuple[str, bytes]:
        if path.endswith("/next"):
            return await self._events.get()
        *_, request_id, how = path.split("/")
        said = json.loads(body)
        error = f"{said['errorType']}: {said['errorMessage']}" if how == "error" else None
        response = None if error else said
        self._answers.pop(request_id).set_result(Answer(request_id, response, error))
        return "HTTP/1.1 202 Accepted\r\n", b"{}"


@asynccontextmanager
async def managed_instance(
    folder: Path, source: str, environ: dict[str, str], *, at_once: int, in_threads: bool = True
) -> AsyncIterator[ManagedInstance]:
    """Run a module whose `handler` is the function."""
    (folder / "function.py").write_text(source)
    instance = ManagedInstance(folder / "log.txt")
    environ = {"AWS_LAMBDA_MAX_CONCURRENCY": str(at_once), **environ}
    arguments = ["-c", THREADS] if in_threads else ["-m", "awslambdaric", "function.handler"]
    await instance.start(folder, environ, *arguments)
    try:
        yield instance
    finally:
        await instance.stop()
