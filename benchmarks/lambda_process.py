"""A function's process under AWS's own `awslambdaric`, and the Runtime API that it asks.

This is not the Runtime API of `longwire dev --instances`: that one checks requests and answers
from asyncio's tasks, which takes as long as what is measured here, and the more so the more a
process asks, as one with an extension does. On Lambda it is a compiled program. This one cuts
requests with `partition` and answers within the call that has read them.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Seconds in which something has to come.
PATIENCE = 20.0
# Seconds that an invocation may take.
TIMEOUT = 10.0

_ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
_REGISTERED = (
    b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: 5b6a7c8d\r\nContent-Length: 2\r\n\r\n{}"
)
_REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"


class Times(NamedTuple):
    """Seconds since the process got an event.

    Attributes:
        answered: until its response had come: what the client waits for.
        idle: until the runtime and the extension had asked for the next event.
    """

    answered: float
    idle: float


class LambdaProcess:
    """One process; a context manager. Nothing happens between the calls of its methods.

    Args:
        handler: the function, "package.module.name".
        takes_extension: whether an extension may be registered.

    Attributes:
        began: when it was started, in the seconds of `time.perf_counter`.
    """

    def __init__(
        self, handler: str, environ: Mapping[str, str], *, takes_extension: bool = True
    ) -> None:
        self._takes_extension = takes_extension
        self._has_extension = False
        self._runtime: socket.socket | None = None
        self._extension: socket.socket | None = None
        self._answered = 0.0
        self._invocations = 0
        self._received: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector.register(self._listener, selectors.EVENT_READ)
        port = self._listener.getsockname()[1]
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", handler],
            env=os.environ | environ | {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}"},
            stdout=subprocess.DEVNULL,  # where Lambda's runtime logs
        )
        # See clock_getcpuclockid(3): that of all its threads, in nanoseconds where /proc has ticks.
        self._cpu_clock = ~self._process.pid << 3 | 2

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._process:
            self._process.kill()
        self._selector.close()
        for each in (self._listener, *self._received):
            each.close()

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used by now."""
        return time.clock_gettime(self._cpu_clock)

    def until_ready(self) -> float:
        """Wait until it can have its first event; return the seconds since it was started."""
        self._serve_until(self._is_idle)
        return time.perf_counter() - self.began

    def invoke(self, event: bytes) -> Times:
        """Hand over an event in JSON, and wait until it can have another."""
        assert self._runtime is not None
        self._invocations += 1
        request_id = f"8476a536-e9f4-11e8-9739-{self._invocations:012}"
        deadline = int((time.time() + TIMEOUT) * 1000)
        told = f'{{"eventType":"INVOKE","requestId":"{request_id}","deadlineMs":{deadline}}}'
        for_extension = f"HTTP/1.1 200 OK\r\nContent-Length: {len(told)}\r\n\r\n{told}".encode()
        head = (
            f"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {request_id}\r\n"
            f"Lambda-Runtime-Deadline-Ms: {deadline}\r\n"
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-west-1:0:function:bench\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(event)}\r\n\r\n"
        )
        for_runtime = head.encode() + event
        runtime, extension = self._runtime, self._extension
        self._runtime = self._extension = None
        began = time.perf_counter()
        # Lambda tells the extensions before the runtime.
        if extension is not None:
            extension.sendall(for_extension)
        runtime.sendall(for_runtime)
        self._serve_until(self._is_idle)
        return Times(self._answered - began, time.perf_counter() - began)

    def _is_idle(self) -> bool:
        has_extension = self._extension is not None or not self._has_extension
        return self._runtime is not None and has_extension

    def _serve_until(self, over: Callable[[], bool]) -> None:
        while not over():
            if not (ready := self._selector.select(PATIENCE)):
                raise RuntimeError(f"nothing came from the process, {self._process.poll()}")
            for key, _ in ready:
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    self._received[connection] = b""
                    self._selector.register(connection, selectors.EVENT_READ)
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._read(key.fileobj)

    def _read(self, connection: socket.socket) -> None:
        if not (data := connection.recv(65536)):
            self._selector.unregister(connection)
            del self._received[connection]
            connection.close()
            return
        self._received[connection] += data
        head, separator, body = self._received[connection].partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"\r\ncontent-length:")
        if separator and len(body) == int(length.partition(b"\r\n")[0] or 0):
            self._received[connection] = b""
            method, target, _ = head.split(b" ", 2)
            self._answer(connection, f"{method.decode()} {target.decode()}", body)

    def _answer(self, connection: socket.socket, request: str, body: bytes) -> None:
        match request.split("/", 2)[2]:
            case "runtime/invocation/next":
                self._runtime = connection
            case "extension/event/next":
                self._extension = connection
            case "extension/register":
                self._has_extension = self._takes_extension
                connection.sendall(_REGISTERED if self._takes_extension else _REFUSED)
            case path if path.endswith("/response") and body == b'{"statusCode": 200}':
                self._answered = time.perf_counter()
                connection.sendall(_ACCEPTED)
            case _:
                raise RuntimeError(f"{request} came with {body.decode(errors='replace')}")
