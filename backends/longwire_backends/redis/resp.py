"""Redis's protocol, version 2, without a socket: commands to bytes, and bytes to answers.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from typing import TypeAlias

Word: TypeAlias = str | int | bytes
Answer: TypeAlias = "bytes | int | ServerError | list[Answer] | None"

# What has no line's end in so many bytes is no answer, and must not be collected for ever.
_LONGEST_LINE = 64 * 1024

_TEXT, _ERROR, _NUMBER, _BYTES, _LIST = b"+-:$*"


class ServerError(Exception):
    """The server refuses a command, with these words of its own."""


class ProtocolError(Exception):
    """What came is not what a Redis server answers."""


def pack(words: tuple[Word, ...]) -> bytes:
    """Return a command as it is sent."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    lines = [b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]
    return b"*%d\r\n%b" % (len(parts), b"".join(lines))


class Reader:
    """Puts answers together from what comes, in pieces of any size."""

    def __init__(self, count: int) -> None:
        self.answers: list[Answer] = []
        # Lists that are not full yet, each in the one before it, and how long they will be.
        self._open: list[tuple[list[Answer], int]] = [(self.answers, count)]
        self._data = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> bool:
        """Take what came; tell whether all answers are whole."""
        self._data += data
        while self._open:
            if (end := self._data.find(b"\r\n", self._at)) < 0:
                if len(self._data) - self._at > _LONGEST_LINE:
                    raise ProtocolError("a line has no end")
                return False
            try:
                is_whole = self._take(self._data[self._at], self._data[self._at + 1 : end], end + 2)
            except ValueError as error:
                raise ProtocolError("a number is none") from error
            if not is_whole:
                return False
            while self._open and len(self._open[-1][0]) == self._open[-1][1]:
                self._open.pop()
        if self._at < len(self._data):
            raise ProtocolError("there is more than was asked for")
        return True

    def _take(self, kind: int, line: bytearray, after: int) -> bool:
        """Take what begins with a line, unless it is not all there."""
        answer: Answer = None
        opened: tuple[list[Answer], int] | None = None
        if kind == _BYTES:
            if (size := int(line)) >= 0:  # else there is nothing
                start, after = after, after + size + 2
                if len(self._data) < after:
                    return False
                answer = bytes(self._data[start : start + size])
        elif kind == _LIST:
            if (length := int(line)) >= 0:
                answer = []
                opened = answer, length
        elif kind == _NUMBER:
            answer = int(line)
        elif kind == _TEXT:
            answer = bytes(line)
        elif kind == _ERROR:
            answer = ServerError(line.decode(errors="replace").removeprefix("ERR "))
        else:
            raise ProtocolError("an answer is of no known kind")
        self._at = after
        self._open[-1][0].append(answer)
        if opened is not None:
            self._open.append(opened)
        return True
