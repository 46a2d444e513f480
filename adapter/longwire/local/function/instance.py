"""One process of the function under Lambda's own runtime: an "execution environment"."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.local.function.inline import (
    FUNCTION_ARN,
    FUNCTION_NAME,
    MEMORY_SIZE,
    do_nothing,
    environment,
)
from longwire.local.function.output import OUTPUT, OutputPipe
from longwire.local.function.runtime_api import Failure, RuntimeAPI, Work
from longwire.local.function.runtime_server import RuntimeServer
from longwire.local.rules.errors import (
    FunctionExitError,
    FunctionRaisedError,
    FunctionTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from longwire.types import LambdaEvent

logger: logging.Logger = logging.getLogger("longwire.local")

# Seconds that the import of the function may take, as on Lambda.
INIT_LIMIT = 10.0
# Seconds from SIGTERM to SIGKILL, as Lambda gives them to a process with an extension.
SHUTDOWN_LIMIT = 0.5

ENTRY = "longwire.cli.entry.handler"
# The variable with the descriptor of a pipe that the gateway has the other end of.
LIFELINE = "LONGWIRE_DEV_LIFELINE"


class InitError(FunctionRaisedError):
    """The function's process did not come to wait for its first event."""


class Report(NamedTuple):
    """What Lambda's REPORT line says of an invocation."""

    request_id: str
    # Milliseconds, of the function and its extensions.
    duration: float
    # Milliseconds that the process took to start, in its first invocation.
    init: float | None
    # Megabytes that the process had at most; None where the system does not tell.
    memory: int | None
    memory_size: str = MEMORY_SIZE


class Instance:
    """A process that handles one event at a time."""

    def __init__(
        self,
        environ: dict[str, str],  # besides what Lambda itself sets
        app_dir: Path,
        *,
        secret: str,  # that the process needs for its Runtime API; "" asks for none
        timeout: float,  # seconds for one event, of the function and its extensions
        freeze: bool,  # stop the process between its events
        on_report: Callable[[Report], object],  # after each invocation
        on_said: Callable[[dict[str, Any]], object] = do_nothing,  # what the process says of itself
        # What it writes to its output, with the id of the request in the event before.
        on_output: Callable[[str, str], object] | None = None,
    ) -> None:
        self.retired = False  # it gets no further events
        self._environ = environ
        self._app_dir = app_dir
        self._timeout = timeout
        self._freeze = freeze
        self._on_report = on_report
        self._api = RuntimeAPI(lambda: str(uuid.uuid4()), on_said)
        self._server = RuntimeServer(self._api, secret)
        self._exit: asyncio.Task[int] | None = None
        # The process has one end, and so sees when the gateway, which has the other, is gone.
        self._lifeline, self._lifeline_end = os.pipe()
        self._output = None if on_output is None else OutputPipe(on_output)
        self._init: float | None = None
        self.events: int = 0  # that it has had
        self._settling: asyncio.Task[Any] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Start the process, and wait until it waits for an event; else raise `InitError`."""
        try:
            await self._start()
        except BaseException:
            await self.kill()
            raise

    async def _start(self) -> None:
        began = time.monotonic()
        await self._server.start()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # on Lambda nothing is imported from the current folder, unless it is the app's
            "-m",
            "awslambdaric",
            ENTRY,
            env={
                **environment(),
                **_lambda_environ(self._app_dir, self._server.address),
                **self._environ,
                LIFELINE: str(self._lifeline),
                **({} if self._output is None else {OUTPUT: str(self._output.end)}),
            },
            pass_fds=[self._lifeline, *([] if self._output is None else [self._output.end])],
            stdin=asyncio.subprocess.DEVNULL,
            # Not in the terminal's foreground group: Ctrl-C is for the gateway alone. When the
            # gateway dies, the system ends a stopped process of such a group; one that runs sees
            # the end of its lifeline.
            process_group=0,
        )
        self._close_lifeline()
        if self._output is not None:
            await self._output.open()
        self._exit = asyncio.create_task(self._process.wait())
        # What it has started is of no use without it.
        self._exit.add_done_callback(lambda _: self._kill_group())
        await self._until_ready(self._exit)
        # With SnapStart: its snapshot is taken, and it is restored from that at once.
        if self._api.restore():
            await self._until_ready(self._exit)
        self._init = (time.monotonic() - began) * 1000
        self._pause()

    async def _until_ready(self, exit: asyncio.Task[int]) -> None:
        idle = asyncio.create_task(self._api.is_idle.wait())
        await asyncio.wait({idle, exit}, timeout=INIT_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        if not idle.done():
            idle.cancel()
            raise InitError(*self._init_failure(exit))

    def _init_failure(self, exit: asyncio.Task[int]) -> Failure:
        if self._api.failed is not None:
            return self._api.failed
        if exit.done():
            return Failure("Runtime.ExitError", f"it ended with {_status(exit.result())}")
        return Failure("Runtime.InitTimeout", f"it was not ready within {INIT_LIMIT:g} s")

    @property
    def has_started(self) -> bool:
        """Whether there is a process, or was one."""
        return self._exit is not None

    @property
    def pid(self) -> int:
        """The number of its process, once it has started."""
        return self._process.pid

    @property
    def is_cold(self) -> bool:
        """Whether it has started for the event that it has, or will have."""
        return self._init is not None

    @property
    def is_busy(self) -> bool:
        """Whether it has an event, or goes on behind its answer."""
        return not self._api.is_idle.is_set()

    @property
    def is_alive(self) -> bool:
        """Whether there is a process; the system knows of its end before the event loop does."""
        return self._exit is not None and not (self._exit.done() or _has_ended(self._process.pid))

    async def invoke(
        self, event: LambdaEvent, waits_for_client: Callable[[], object], over: Callable[[], object]
    ) -> object:
        """Return what the function returns, or raise a `FunctionError`.

        `over` is called when the process can have another event, or has ended.
        """
        loop = asyncio.get_running_loop()
        request_id = str(uuid.uuid4())
        work = Work(
            request_id,
            json.dumps(event).encode(),
            int((time.time() + self._timeout) * 1000),
            FUNCTION_ARN,
            _trace_id(event),
            waits_for_client,
            loop.create_future(),
        )
        began = time.monotonic()
        self.events += 1
        self._resume()
        self._api.begin(work)
        self._settling = settling = asyncio.create_task(self._settle(work, began, over))
        answered: asyncio.Future[bytes | Failure] = work.answered
        either: set[asyncio.Future[Any]] = {answered, settling}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            raise settling.result() or FunctionExitError("the function gave no answer")
        match answered.result():
            case Failure(kind, message):
                raise FunctionRaisedError(kind, message)
            case bytes(payload):
                with contextlib.suppress(ValueError):
                    return json.loads(payload)
                return payload  # what API Gateway calls malformed

    async def _settle(
        self, work: Work, began: float, over: Callable[[], object]
    ) -> FunctionTimeoutError | FunctionExitError | None:
        """Wait until the function and its extensions are done; say what went wrong."""
        assert self._exit is not None
        idle = asyncio.create_task(self._api.is_idle.wait())
        left = self._timeout - (time.monotonic() - began)
        await asyncio.wait({idle, self._exit}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        problem: FunctionTimeoutError | FunctionExitError | None = None
        if self._exit.done():
            because = f"{kind}: " if (kind := self._api.extension_error) else ""
            status = _status(self._exit.result())
            problem = FunctionExitError(f"{because}the function's process ended with {status}")
        elif not self._api.is_idle.is_set():
            problem = FunctionTimeoutError(f"Task timed out after {self._timeout:.2f} seconds")
        init, self._init = self._init, None
        took = (time.monotonic() - began) * 1000
        try:
            self._on_report(Report(work.request_id, took, init, _peak_memory(self._process.pid)))
        finally:
            if problem is None:
                self._pause()
            else:
                if work.answered.done():  # else the gateway says so
                    level = logging.INFO if self._stopping else logging.ERROR
                    logger.log(level, "%s %s", work.request_id, problem)
                self._api.abandon()
                await self._terminate()
                await self.kill()
            over()
        return problem

    async def kill(self) -> None:
        """End the process at once, and what it has started, though it has ended itself."""
        if self._exit is not None:
            if not self._exit.done():
                self._kill_group()
            await self._exit
        if self._output is not None:
            await self._output.close()
        self._close_lifeline()
        if self._lifeline_end >= 0:
            os.close(self._lifeline_end)
            self._lifeline_end = -1
        await self._server.stop()

    def _kill_group(self) -> None:
        _signal_group(self._process.pid, "SIGKILL")

    def _close_lifeline(self) -> None:
        """Leave the process as the only one that has its end."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    async def settle(self) -> None:
        """Give the process a moment to finish what it is doing."""
        if self._settling is not None:
            await asyncio.wait({self._settling}, timeout=SHUTDOWN_LIMIT)

    async def stop(self) -> None:
        """End the process as Lambda does, once it has had a moment to finish what it does."""
        await self.settle()
        self._stopping = True  # it has had its time: that it ends now is no fault
        await self._terminate()
        await self.kill()
        if self._settling is not None:
            await asyncio.wait({self._settling})

    async def _terminate(self) -> None:
        """Let a process with an extension run its shutdown, as Lambda does before it is killed."""
        if self._exit is not None and self._api.has_extensions and self.is_alive:
            self.signal("SIGTERM")
            self._resume()
            await asyncio.wait({self._exit}, timeout=SHUTDOWN_LIMIT)

    def _pause(self) -> None:
        if self._freeze:
            self.signal("SIGSTOP")

    def _resume(self) -> None:
        if self._freeze:
            self.signal("SIGCONT")

    def crash(self) -> None:
        """Let the process die as of a fault of its own, at any point of its work."""
        self.signal("SIGKILL")

    def signal(self, name: str) -> None:
        """Send a signal to the process and what it has started, if it lives."""
        if self.is_alive:
            _signal_group(self._process.pid, name)


def _lambda_environ(app_dir: Path, address: str) -> dict[str, str]:
    """Return what Lambda sets in the environment of a function."""
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python3.{sys.version_info.minor}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": MEMORY_SIZE,
        "AWS_LAMBDA_FUNCTION_NAME": FUNCTION_NAME,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{FUNCTION_NAME}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_LAMBDA_RUNTIME_API": address,
        "AWS_REGION": region,
        "LAMBDA_TASK_ROOT": str(app_dir.resolve()),
        "TZ": "UTC",
        "_HANDLER": ENTRY,
    }


def _trace_id(event: LambdaEvent) -> str:
    headers: Any = event.get("headers") or {}
    name = "X-Amzn-Trace-Id"
    root: str = (
        headers.get(name)
        or headers.get(name.lower())  # of an HTTP request
        or f"Root=1-{int(time.time()):08x}-{os.urandom(12).hex()}"
    )
    return f"{root};Parent={os.urandom(8).hex()};Sampled=0"


def _signal_group(pid: int, name: str) -> None:
    if sys.platform != "win32":  # which has none of this, nor processes of `longwire dev`
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.Signals[name])


def _has_ended(pid: int) -> bool:
    if sys.platform != "win32" and hasattr(os, "waitid"):  # macOS has it since Python 3.13
        try:
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # it has been waited for
            return True
    return False


def _status(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def _peak_memory(pid: int) -> int | None:
    """Return the megabytes that a process had in memory at most; only Linux tells."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) // 1024
    except OSError:
        return None
    return None
