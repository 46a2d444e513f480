"""All apps of `apps.py` and `shops.py` in one, for a host that runs a module in processes.

The first part of the path names the app; the rest is its path. What the apps are told of the ends
of connections goes to the file PARITY_HEARD.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from tests.parity import apps, shops

if TYPE_CHECKING:
    from tests.parity.apps import Receive, Scope, Send


class Heard:
    """Appends a line for each thing that is put into it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def put(self, what: Any) -> None:
        os.write(self._file, json.dumps(what).encode() + b"\n")


apps.heard = Heard(os.environ["PARITY_HEARD"])  # type: ignore[assignment]  # all that apps do is put


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise ValueError(f"no {scope['type']} here")
    _, name, path = scope["path"].split("/", 2)
    scope["path"], scope["raw_path"] = f"/{path}", f"/{path}".encode()
    await getattr(shops if name.startswith("shop_") else apps, name)(scope, receive, send)
