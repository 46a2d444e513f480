"""Redis's protocol, version 2, without a socket: commands to bytes, and bytes to answers.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from typing import TypeAlias

Word: TypeAlias = str | int
Answer: TypeAlias = "bytes | int | ServerError | list[Answer] | None"

# What has no line's end in so many bytes is no answer, and must not be collected for ever.
_LONGEST_LINE = 64 * 1024
# Bytes of all answers to one command; a string of Redis has no more.
_LARGEST = 512 * 1024 * 1024 + _LONGEST_LINE
# Lists in lists; no command that is used here answers with more than one in another.
_DEEPEST = 8

_TEXT, _ERROR, _NUMBER, _BYTES, _LIST = b"+-:$*"


class ServerError(Exception):
    """The server refuses a command, with these words of its own."""


class ProtocolError(Exception):
    """What came is not what a Redis server answers."""


def pack(words: tuple[Word, ...]) -> bytes:
    """Return a command as it is sent."""
    parts = [f"*{len(words)}\r\n"]
    for word in words:
        text = str(word)
        size = len(text) if text.isascii() else len(text.encode())
        parts.append(f"${size}\r\n{text}\r\n")
    return "".join(parts).encode()


class Reader:
    """Puts answers together from what comes, in pieces of any size."""

    def __init__(self, count: int) -> None:
        self.answers: list[Answer] = []
        # The list that is being filled, and how many it lacks; and those around it.
        self._list, self._lacks = self.answers, count
        self._outer: list[tuple[list[Answer], int]] = []
        # What came amid a list in its stead: no list with a refusal in it is of any use.
        self._refusal: ServerError | None = None
        self._data = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> bool:
        """Take what came; tell whether all answers are whole."""
        self._data += data
        while self._lacks:
            if not self._take():
                if len(self._data) > _LARGEST:
                    raise ProtocolError
                return False
            while not self._lacks and self._outer:
                self._end()
        if self._at < len(self._data):
            raise ProtocolError
        return True

    def is_refused(self) -> bool:
        """Tell whether the last whole answer is an error."""
        return bool(self.answers) and isinstance(self.answers[-1], ServerError)

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
            if (size := _length(line)) is not None:
                start, after = after, after + size + 2
                if len(data) < after:
                    return False
                if data[after - 2 : after] != b"\r\n":
                    raise ProtocolError
                answer = bytes(data[start : start + size])
        elif kind != _LIST:
            answer = _simple(kind, line)
            if isinstance(answer, ServerError) and self._outer:
                self._refusal = answer
        elif (length := _length(line)) is not None:
            self._at = after
            self._begin(length)
            return True
        self._at = after
        self._list.append(answer)
        self._lacks -= 1
        return True

    def _begin(self, length: int) -> None:
        """Fill a list first, which is the next value of the one that was being filled."""
        if len(self._outer) == _DEEPEST:
            raise ProtocolError
        inner: list[Answer] = []
        self._list.append(inner)
        self._outer.append((self._list, self._lacks - 1))
        self._list, self._lacks = inner, length

    def _end(self) -> None:
        """Go on with the list around the one that is full."""
        self._list, self._lacks = self._outer.pop()
        if self._refusal is not None and not self._outer:
            self.answers[-1], self._refusal = self._refusal, None


def _number(line: bytearray) -> int:
    # Python's own idea of a number is wider, and its digits more than a number of Redis has.
    if len(line) > 20 or not line.removeprefix(b"-").isdigit():
        raise ProtocolError
    return int(line)


def _length(line: bytearray) -> int | None:
    """Return how much follows, unless it is said that there is no value."""
    if (length := _number(line)) == -1:
        return None
    if not 0 <= length <= _LARGEST:
        raise ProtocolError
    return length


def _simple(kind: int, line: bytearray) -> Answer:
    """Return what a line says that is all there is."""
    if kind == _NUMBER:
        return _number(line)
    if kind == _TEXT:
        return bytes(line)
    if kind == _ERROR:
        return ServerError(line.decode(errors="replace").removeprefix("ERR "))
    raise ProtocolError
