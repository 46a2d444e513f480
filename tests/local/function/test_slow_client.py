"""One client that talks and does not read, under `longwire dev --instances 3`: others are served.

It is what an anonymous client once did with four bytes twenty times a second: each of its events
held a process until its deadline, so that all other handshakes were answered with 500.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.local.fakes import frame, handshake
from tests.local.running import Dev

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

APP = """
from longwire import Connections, Longwire

connections = Connections()

async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/room":
        await connections.group_add("room", scope)
    while (message := await receive())["type"] == "websocket.receive":
        if scope["path"] == "/room":
            await connections.group_send("room", message["text"] * 25_000)
        else:
            await send({"type": "websocket.send", "text": message["text"]})

handler = Longwire(app, dsn="sqlite:///slow.sqlite3?slow_client=0.3", lifespan="off")
"""
TIMEOUT = 20.0  # seconds; of the function
EVENTS = 120  # of the attacker, of which some forty fill its buffer
LINE = re.compile(r"[\d:]{8}  MESSAGE .* (\d+\.\d) ms(  1 post)?\n")


class Attacker:
    """Sends 20 messages of four bytes a second, and never reads."""

    def __init__(self, url: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((urlsplit(url).hostname, urlsplit(url).port))
        self._socket.sendall(handshake("/?path=/room"))
        assert self._socket.recv(12) == b"HTTP/1.1 101"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._talk)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _talk(self) -> None:
        while not self._over.wait(0.05):
            self._socket.sendall(frame(b"spam"))


def test_others_are_served_while_one_does_not_read(tmp_path: Path) -> None:
    """Each of its events is over soon, and leaves its process to others."""
    (tmp_path / "attacked.py").write_text(APP)
    options = ("--instances", "3", "--unordered", "--timeout", f"{TIMEOUT:.0f}")
    seconds: list[float] = []
    posts: list[bool] = []
    enough = threading.Event()

    def read() -> None:
        while line := dev.line():
            if found := LINE.fullmatch(line):
                seconds.append(float(found[1]) / 1000)
                posts.append(bool(found[2]))
                if len(seconds) == EVENTS:
                    enough.set()

    with Dev(tmp_path, "attacked:handler", *options) as dev:
        url = dev.ready()[1]
        reading = threading.Thread(target=read)
        reading.start()
        attacker = Attacker(url)
        try:
            assert enough.wait(60)
            assert posts[0]
            assert not any(posts[-20:])  # nothing more is taken for it
            for number in range(10):
                assert is_served(url, f"{number}")
        finally:
            attacker.stop()
            dev.process.terminate()
            reading.join()
    assert max(seconds) < TIMEOUT / 2


def is_served(url: str, text: str) -> bool:
    """Tell whether a client gets its echo; a busy machine may once keep all processes busy."""
    for _ in range(5):
        try:
            with connect(f"{url}/?path=/echo") as client:
                client.send(text)
                if client.recv(TIMEOUT) == text:
                    return True
        except (InvalidStatus, ConnectionClosed):
            pass
        time.sleep(0.1)
    return False
