"""How many messages a second `longwire dev` passes on, and what one of them costs.

    python -m benchmarks.dev [COMMIT]

Clients of the echo app send, wait for the echo and send again, each for itself. Beside it is the
same app under uvicorn, and with a commit its `longwire dev`. Rounds run in turn; shown are medians.
CPU is that of the server's process, all threads; the clients are in this process. Where there is
valgrind, one message is counted in instructions, too.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.race import set_environment
from benchmarks.replay import at_commit
from benchmarks.table import LABEL, Aim

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = (50, 500)
ROUNDS = 5
SECONDS = 3.0  # of a round
COUNTED = 500  # messages, of which the instructions are counted
RATE, GROWTH = Aim(3000), Aim(0.9)

APP = "benchmarks.app:app"
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_TEXT = b'{"action":"chat","text":"hi"}'
# Masked with zeros, which change nothing.
_MESSAGE = bytes([0x81, 0x80 | len(_TEXT), 0, 0, 0, 0]) + _TEXT
_ECHO = bytes([0x81, len(_TEXT)]) + _TEXT


class Echoes:
    """How many messages may still be sent, and how many came back."""

    def __init__(self) -> None:
        self.left = 0.0
        self.count = 0
        self.over = asyncio.Event()
        self._talking = 0  # clients that wait for an echo

    def came(self, transport: asyncio.Transport) -> None:
        self.count += 1
        self.left -= 1
        if self.left > 0:
            transport.write(_MESSAGE)
            return
        self._talking -= 1
        if self._talking == 0:
            self.over.set()

    def begin(self, clients: list[Client], messages: float) -> None:
        """Let each client send; so many messages in all."""
        self._talking = len(clients)
        self.left = messages - len(clients) + 1
        self.over.clear()
        for client in clients:
            client.transport.write(_MESSAGE)


class Client(asyncio.Protocol):
    """A client that speaks just enough for an echo."""

    transport: asyncio.Transport

    def __init__(self, echoes: Echoes) -> None:
        self.opened = asyncio.get_running_loop().create_future()
        self._echoes = echoes
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(_HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self.opened.done():
            if self._received.endswith(b"\r\n\r\n"):
                if not self._received.startswith(b"HTTP/1.1 101"):
                    raise RuntimeError(f"refused: {self._received!r}")
                self._received = b""
                self.opened.set_result(None)
        elif self._received == _ECHO:
            self._received = b""
            self._echoes.came(self.transport)
        elif not _ECHO.startswith(self._received):
            raise RuntimeError(f"no echo: {self._received!r}")


class Server(NamedTuple):
    """A program that serves the app, on the port of `url`."""

    pid: int
    port: int

    def cpu(self) -> float:
        """Return the seconds that it has taken by now, threads included; on Linux."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def serving(name: str, source: str = "", *before: str) -> Iterator[Server]:
    """Run `longwire`, also from other folders, or `uvicorn`; `before` begins its command."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if name == "uvicorn":
            command = ["uvicorn", APP, "--port=0", "--ws=websockets-sansio"]
        else:
            command = ["longwire", "dev", APP, "--port=0", f"--file={folder}/store", "--no-http"]
        output = Path(folder, "output")
        process = stack.enter_context(
            subprocess.Popen(
                [*before, sys.executable, "-m", *command],
                env=os.environ | ({"PYTHONPATH": source} if source else {}),
                stdout=stack.enter_context(output.open("wb")),
                stderr=subprocess.STDOUT,
            )
        )
        stack.callback(process.terminate)
        yield Server(process.pid, _port(process, output))


def _port(process: subprocess.Popen[bytes], output: Path) -> int:
    while process.poll() is None:
        found = re.search(r"(?:ready|running) on \w+://127\.0\.0\.1:(\d+)", output.read_text())
        if found:
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(output.read_text())


class Figures(NamedTuple):
    rate: float  # messages a second
    cpu: float  # seconds for one


async def measure(server: Server, clients: int) -> Figures:
    """Connect so many clients, let them talk, and close them."""
    echoes, connected = await _connect(server, clients)
    try:
        echoes.begin(connected, float("inf"))
        await asyncio.sleep(SECONDS / 3)
        count, cpu, began = echoes.count, server.cpu(), time.perf_counter()
        await asyncio.sleep(SECONDS)
        count, cpu = echoes.count - count, server.cpu() - cpu
        seconds = time.perf_counter() - began
        echoes.left = 0
        await echoes.over.wait()
    finally:
        await _close(connected)
    return Figures(count / seconds, cpu / count)


async def _connect(server: Server, clients: int) -> tuple[Echoes, list[Client]]:
    echoes, connected = Echoes(), []
    for _ in range(clients):
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: Client(echoes), "127.0.0.1", server.port
        )
        await client.opened
        connected.append(client)
    return echoes, connected


async def _close(connected: list[Client]) -> None:
    for client in connected:
        client.transport.write(bytes([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]))
        client.transport.close()
    await asyncio.sleep(0.5)


# Instructions

# Valgrind is some fifty times slower: threads are to change places as often as without it.
_SLOWLY = (
    "import runpy, sys; sys.setswitchinterval(0.25); sys.argv[0] = 'longwire'; "
    "runpy.run_module('longwire', run_name='__main__')"
)


def count_instructions(clients: int, source: str = "") -> float:
    """Return the instructions of one message."""
    with tempfile.TemporaryDirectory() as folder:
        callgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
        callgrind.append(f"--callgrind-out-file={folder}/%p")
        with serving("longwire", source, *callgrind) as server:
            asyncio.run(_talk_counted(server, clients))
            found = next(Path(folder).glob("*.1")).read_text()
    totals = re.search(r"^totals: (\d+)", found, re.MULTILINE)
    assert totals is not None
    return int(totals[1]) / COUNTED


async def _talk_counted(server: Server, clients: int) -> None:
    echoes, connected = await _connect(server, clients)
    for messages in (clients, COUNTED):  # the first ones import what they need
        if messages == COUNTED:
            _control(server, "--instr=on")
        echoes.begin(connected, messages)
        await echoes.over.wait()
    _control(server, "--dump")
    _control(server, "--instr=off")
    await _close(connected)


def _control(server: Server, order: str) -> None:
    subprocess.run(["callgrind_control", order, str(server.pid)], check=True, capture_output=True)


def compare_dev(commit: str = "") -> None:
    """Show both numbers of clients for this `longwire dev`, that of a commit, and uvicorn."""
    with ExitStack() as stack:
        sources = {"longwire dev": ""}
        if commit:
            folder = stack.enter_context(at_commit(commit))
            sources["before"] = f"{folder}/adapter:{folder}/backends"
        found = _race(sources)
        print(f"\n{'echoes':{LABEL}}{'clients':>10}{'a second':>10}{'CPU, us':>10}")
        for (name, clients), figures in found.items():
            cpu = figures.cpu * 1e6
            print(f"{name:{LABEL}}{clients:>10}{figures.rate:>10,.0f}{cpu:>10,.0f}", flush=True)
        few, many = (found["longwire dev", clients].rate for clients in CLIENTS)
        label = f"longwire dev, {CLIENTS[0]} clients, a second"
        print(f"{label:{LABEL}}{few:>20,.0f}{'':10}   {RATE.judge(few)}")
        label = f"  {CLIENTS[1]} over {CLIENTS[0]}"
        print(f"{label:{LABEL}}{many / few:>19.2f}x{'':10}   {GROWTH.judge(many / few)}")
        if shutil.which("valgrind"):
            for name, source in sources.items():
                counted = count_instructions(CLIENTS[0], source) / 1e3
                label = f"{name}, instructions, thousands"
                print(f"{label:{LABEL}}{CLIENTS[0]:>10}{counted:>10,.0f}", flush=True)


def _race(sources: dict[str, str]) -> dict[tuple[str, int], Figures]:
    found: dict[tuple[str, int], list[Figures]] = {}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(serving("longwire", source))
            for name, source in sources.items()
        }
        servers["uvicorn"] = stack.enter_context(serving("uvicorn"))
        for clients in CLIENTS * ROUNDS:
            for name, server in servers.items():
                figures = asyncio.run(measure(server, clients))
                found.setdefault((name, clients), []).append(figures)
    return {
        key: Figures(median(one.rate for one in each), median(one.cpu for one in each))
        for key, each in sorted(found.items())
    }


if __name__ == "__main__":
    set_environment()
    compare_dev(*sys.argv[1:])
