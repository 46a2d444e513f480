"""A function with an internal extension and nothing else, which logs what time it has at its end.

It is deployed as `ending.handler`, and needs no package.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.request
from typing import Any

_EVERY = 0.01  # seconds


def handler(event: Any, context: Any) -> dict[str, int]:
    """Answer with the process, so that the caller knows that it is there."""
    return {"process": os.getpid()}


def _register(runtime: str) -> str:
    request = urllib.request.Request(
        f"http://{runtime}/2020-01-01/extension/register",
        json.dumps({"events": ["INVOKE"]}).encode(),
        {"Lambda-Extension-Name": "ending"},
    )
    with urllib.request.urlopen(request) as response:
        identifier: str = response.headers["Lambda-Extension-Identifier"]
        return identifier


def _serve(runtime: str, identifier: str) -> None:
    while True:
        request = urllib.request.Request(
            f"http://{runtime}/2020-01-01/extension/event/next",
            headers={"Lambda-Extension-Identifier": identifier},
        )
        with urllib.request.urlopen(request) as response:
            response.read()


def _tick(signals: socket.socket) -> None:
    """Wait for SIGTERM, and print how much later it is until there is no later."""
    signals.recv(1)
    began = time.monotonic()
    while True:
        print(f"LIVE-TICK {_NAME} {time.monotonic() - began:.3f}", flush=True)
        time.sleep(_EVERY)


# Processes of different environments have the same number.
_NAME = os.urandom(4).hex()

if _runtime := os.environ.get("AWS_LAMBDA_RUNTIME_API"):
    # The main thread waits in C for its next event, where no handler of Python's runs; the number
    # of the signal is written to a socket all the same.
    _signals, _wakeup = socket.socketpair()
    _wakeup.setblocking(False)
    signal.set_wakeup_fd(_wakeup.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=_tick, args=(_signals,), daemon=True).start()
    _own = _register(_runtime)
    threading.Thread(target=_serve, args=(_runtime, _own), daemon=True).start()
