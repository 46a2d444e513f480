"""What a step of the script can look at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from tests.connections_server import ConnectionsServer
    from tests.emulators.core.core import Core

# Where the function says that the core has taken a response, among the connections.
RESPONDED = "responded"


class World(NamedTuple):
    """What is there for one step."""

    core: Core
    folder: Path
    server: ConnectionsServer

    def says(self) -> list[str]:
        """Return what the function and its runtime have said, without the traces."""
        # The runtime leaves a line open behind a trace.
        lines = re.split(r"[\r\n]+|(?=\[[A-Z]+\])", comparable(self._output()))
        return [line for line in lines if line and not re.match(r"[ \xa0]|Traceback", line)]

    def _output(self) -> str:
        return (self.folder / "output").read_bytes().decode()

    def ends_lines_with(self) -> str:
        """Return what is behind the first line of a trace."""
        found = re.search(r"Traceback.*?(\r?\n|\r)", self._output())
        assert found is not None
        return found[1]

    def extension(self) -> list[str]:
        """Return what the extension has asked, and the statuses of the answers."""
        return (self.folder / "extension").read_text().splitlines()

    def timeline(self, connection_id: str = "") -> str:
        """Return the frames of a connection, and where the core has taken a response."""
        return " ".join(
            RESPONDED if to == RESPONDED else f"{method} {body.decode()}"
            for method, to, body in self.server.requests
            if to in (RESPONDED, connection_id)
        )


# What differs from one run to the next, or is nobody's concern, and what stands for it.
SAME = {
    r"\t\S+Z\t[0-9a-f-]*\t": " ",  # the time of a line, and the id of its event
    r"RequestId: [0-9a-f-]{36}": "RequestId: ...",
    r"/\S*/function\.py:\d+": "function.py",
    r"(within|after) [0-9.]+ s([:;])": r"\1 ... s\2",
    r"(?s)(answered with \d+): \{.*?\}\s*": r"\1",
    r"(LAMBDA_WARNING: Unhandled exception\.).*": r"\1",
}


def comparable(value: Any) -> Any:
    """Return what was observed without what is different each time."""
    match value:
        case str():
            for pattern, instead in SAME.items():
                value = re.sub(pattern, instead, value)
            return value
        case list():
            return [comparable(part) for part in value]
        case dict():
            return {name: comparable(part) for name, part in value.items()}
    return value
