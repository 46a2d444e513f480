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
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts += (f"${len(data)}\r\n".encode(), data, b"\r\n")
    return b"".join(parts)


class Reader:
    """Puts answers together from what comes, in pieces of any size."""

    def __init__(self, count: int) -> None:
        self.answers: list[Answer] = []
        # The list that is being filled, and how many it lacks; and those around it.
        self._list, self._lacks = self.answers, count
        self._outer: list[tuple[list[Answer], int]] = []
        self._data = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> bool:
        """Take what came; tell whether all answers are whole."""
        self._data += data
        try:
            while self._lacks:
                if not self._take():
                    return False
                while not self._lacks and self._outer:
                    self._list, self._lacks = self._outer.pop()
        except ValueError as error:
            raise ProtocolError from error
        if self._at < len(self._data):
            raise ProtocolError
        return True

    def _take(self) -> bool:
        """Take one value, or the beginning of a list, unless it is not all there."""
        data = self._data
        end = data.find(b"\r\n", self._at)
        if end < 0:
            if len(data) - self._at > _LONGEST_LINE:
                raise ProtocolError
            return False
        kind, line = data[self._at], data[self._at + 1 : end]
        answer: Answer = None
        after = end + 2
        if kind == _BYTES:
            if (size := int(line)) >= 0:
                start, after = after, after + size + 2
                if len(data) < after:
                    return False
                answer = bytes(data[start : start + size])
        elif kind != _LIST:
            answer = _simple(kind, line)
        elif (length := int(line)) >= 0:
            self._at = after
            self._begin(length)
            return True
        self._at = after
        self._list.append(answer)
        self._lacks -= 1
        return True

    def _begin(self, length: int) -> None:
        """Fill a list first, which is the next value of the one that was being filled."""
        inner: list[Answer] = []
        self._list.append(inner)
        self._outer.append((self._list, self._lacks - 1))
        self._list, self._lacks = inner, length


def _simple(kind: int, line: bytearray) -> Answer:
    """Return what a line says that is all there is."""
    if kind == _NUMBER:
        return int(line)
    if kind == _TEXT:
        return bytes(line)
    if kind == _ERROR:
        return ServerError(line.decode(errors="replace").removeprefix("ERR "))
    raise ProtocolError
