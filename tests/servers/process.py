"""A server as a process of its own: started on a free port, stopped, killed, started again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

START_TIMEOUT = 60.0
# Below those that the system gives to who asks for any: such a port would be taken by another test
# before a server has started, or while it is down for a moment.
_PORTS = range(10_000, 32_000)
_choose = random.SystemRandom()  # in each process of the tests, whatever they seed


def free_port() -> int:
    """Return a port that nobody listens on, and that no one gets by chance."""
    while True:
        port = _choose.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class ServerProcess:
    """One server, which is ready when its port accepts connections.

    Args:
        command: with "{port}" where the port goes.
        environ: what is added to the environment, likewise.
        folder: the one that it works in, if not this one.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str] | None = None,
        *,
        folder: Path | None = None,
    ) -> None:
        self.port = free_port()
        self._command = [part.format(port=self.port) for part in command]
        added = {k: v.format(port=self.port) for k, v in (environ or {}).items()}
        self._environ = {**os.environ, **added}
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `stop`)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        until = time.monotonic() + START_TIMEOUT
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self._command[0]} did not start: {self._said()}")
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, with all the processes that it has started."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def freeze(self) -> None:
        """Let it answer nothing until `thaw`; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        self._log.close()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()[-500:].decode(errors="replace")
