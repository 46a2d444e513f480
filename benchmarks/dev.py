"""`longwire dev` as a server, and clients that talk to it as fast as they are answered.

Clients of the echo app send, wait for the echo and send again, each for itself. CPU is that of the
server's process, all threads; the clients are in this process.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.instructions import control, total

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 1.5  # of a round
COUNTED = 500  # messages, of which the instructions are counted

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
        """Return the seconds that it has taken by now, also in threads that are over; on Linux."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


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


def count_instructions(clients: int, source: str = "") -> float:
    """Return the instructions of one message."""
    with tempfile.TemporaryDirectory() as folder:
        callgrind = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no"]
        callgrind.append(f"--callgrind-out-file={folder}/%p")
        with serving("longwire", source, *callgrind) as server:
            asyncio.run(_talk_counted(server, clients))
            return total(next(Path(folder).glob("*.1"))) / COUNTED


async def _talk_counted(server: Server, clients: int) -> None:
    echoes, connected = await _connect(server, clients)
    for messages in (clients, COUNTED):  # the first ones import what they need
        if messages == COUNTED:
            control(server.pid, "--instr=on")
        echoes.begin(connected, messages)
        await echoes.over.wait()
    control(server.pid, "--dump")
    control(server.pid, "--instr=off")
    await _close(connected)
