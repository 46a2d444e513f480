"""What the function writes to its output, as `longwire dev` shows it beside each event.

The output itself goes where it always went: here it is only heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable

# The variable with the descriptor of the pipe that a process of the function tells it through.
OUTPUT = "LONGWIRE_DEV_OUTPUT"
# Characters of one piece of output that are told; a pipe takes so many bytes at once or none.
PIECE = 600
# Bytes that may come without an end of line: nothing that we have written.
_LONGEST = 64 * 1024
# Seconds that what a process has written last may take to arrive.
LAST_WORDS = 0.2


class HeardStream:
    """A stream that also tells what is written to it."""

    def __init__(self, stream: TextIO, tell: Callable[[str], object]) -> None:
        self._stream = stream
        self._tell = tell

    def write(self, text: str) -> int:
        if isinstance(text, str):  # a library may try what kind of stream it is
            self._tell(text)
        return self._stream.write(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)


def hear(tell: Callable[[str], object]) -> None:
    """Have all that is printed from now on in this process told, too."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:
            setattr(sys, name, cast("TextIO", HeardStream(stream, tell)))


class PipedOutput:
    """The end of the pipe in a process of the function."""

    def __init__(self, end: int) -> None:
        self.request_id = ""  # of the event that the process has, or had last
        self._end = end
        if sys.platform != "win32":  # where no process is run apart
            os.set_blocking(end, False)

    def tell(self, text: str) -> None:
        for start in range(0, len(text), PIECE):
            piece = [self.request_id, text[start : start + PIECE]]
            line = json.dumps(piece, ensure_ascii=False) + "\n"
            # Who hears may be gone, or too slow: the function does not wait for that.
            with contextlib.suppress(OSError):
                os.write(self._end, line.encode(errors="replace"))


class OutputPipe(asyncio.Protocol):
    """The end in the gateway."""

    def __init__(self, heard: Callable[[str, str], object]) -> None:
        self._heard = heard
        self.end: int
        self._own, self.end = os.pipe()
        self._transport: asyncio.BaseTransport | None = None
        self._over = asyncio.Event()
        self._rest = b""

    async def open(self) -> None:
        """Hear the process, which has its end by now."""
        os.close(self.end)
        self.end = -1
        reader = os.fdopen(self._own, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(lambda: self, reader)

    async def close(self) -> None:
        """Let go of it; what the process has written last is heard."""
        if self.end >= 0:
            os.close(self.end)
            os.close(self._own)
            self.end = -1
        elif self._transport is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), LAST_WORDS)
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LONGEST:]
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                request_id, text = json.loads(line)
                self._heard(str(request_id), str(text))

    def connection_lost(self, error: Exception | None) -> None:
        self._over.set()
