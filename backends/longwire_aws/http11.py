"""HTTP/1.1 as one connection sees it: a request out, an answer in, and is it fit for the next?

RFC 9112: https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from string import ascii_letters, digits
from typing import TYPE_CHECKING

from longwire_aws.endpoints import is_number
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from longwire_aws.streams import Stream

# Bytes: of a status line with its headers, of an answer's body, of a chunk's size or a trailer.
MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024
_MAX_LINE = 4 * 1024

# Every cold start asks for these two, and `re` takes longer to compile them than a request takes.
_OF_TOKENS = frozenset(ascii_letters + digits + "!#$%&'*+.^_`|~-")
_STAYS_OPEN = {"HTTP/1.0": False, "HTTP/1.1": True}
_CHUNK_LINE = rb"(?s)([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?"


class Response(NamedTuple):
    """A complete answer; interim ones (1xx) are skipped."""

    status: int
    headers: dict[str, str]  # names in lower case; repeats joined by ", "
    body: bytes


class MalformedError(Exception):
    """An answer is not HTTP/1.x, or is over a limit."""


class ClosedError(ConnectionError):
    """The other side ended the connection where more had to come."""


class StaleError(Exception):
    """An idle connection had been closed before the first byte of an answer."""


class HTTPConnection:
    """One exchange after another over one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._answered = False
        self.reusable: bool = False

    def looks_alive(self) -> bool:
        """Tell whether an idle connection is still open, as far as this side can know."""
        # Whatever there is to read, an end, a reset or stray bytes, makes it useless.
        return not self._stream.has_input()

    def close(self) -> None:
        self._stream.socket.close()

    async def exchange(self, method: str, data: bytes, *, idle: bool) -> Response:
        """Send a complete request and read its answer; one that was `idle` may have been closed."""
        self.reusable = self._answered = False
        try:
            await self._stream.send(data)
            received = await self._stream.receive()
            if received and (response := self._in_one_piece(method, received)) is not None:
                return response
            self._note(received)
            return await self._read_response(method)
        except ConnectionError as error:
            if idle and not self._answered:
                raise StaleError from error
            raise

    def _in_one_piece(self, method: str, received: bytes) -> Response | None:
        """Take an answer that is all there, as most are; None for any other."""
        head, end, body = received.partition(b"\r\n\r\n")
        if not end or len(head) > MAX_HEAD:
            return None
        status, keep_alive, headers = _parse_head(head)
        if method == "HEAD" or status < 200 or status in (204, 304):
            return None
        if headers.get("content-length") != str(len(body)) or "transfer-encoding" in headers:
            return None
        self.reusable = keep_alive
        return Response(status, headers, body)

    async def _read_response(self, method: str) -> Response:
        while True:
            head = await self._read_until(b"\r\n\r\n", MAX_HEAD, "headers")
            status, keep_alive, headers = _parse_head(head)
            if status >= 200:
                break
            if status == 101:
                raise MalformedError("the server switched protocols unasked")
        body, ends_itself = await self._read_body(method, status, headers)
        self.reusable = keep_alive and ends_itself and not self._buffer
        return Response(status, headers, body)

    async def _read_body(
        self, method: str, status: int, headers: dict[str, str]
    ) -> tuple[bytes, bool]:
        """Return the body, and whether the connection can be used after it."""
        if method == "HEAD" or status in (204, 304):
            return b"", True
        if (coding := headers.get("transfer-encoding")) is not None:
            if coding.lower() != "chunked":
                raise MalformedError("the answer has a transfer coding other than chunked")
            # With a length as well, the two sides may disagree on where the body ends.
            return await self._read_chunks(), "content-length" not in headers
        if (length := headers.get("content-length")) is not None:
            if not is_number(length, 12):
                raise MalformedError("the answer's Content-Length is not a number")
            return await self._read_exactly(_within_limit(int(length))), True
        return await self._read_to_end(), False

    async def _read_chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = re.fullmatch(_CHUNK_LINE, await self._read_until(b"\r\n", _MAX_LINE, "a line"))
            if line is None:
                raise MalformedError("the answer has a chunk without a size")
            size = int(line[1], 16)
            if size == 0:
                break
            _within_limit(len(body) + size)
            body += await self._read_exactly(size)
            if await self._read_exactly(2) != b"\r\n":
                raise MalformedError("the answer has a chunk that is longer than its size")
        while await self._read_until(b"\r\n", _MAX_LINE, "a line"):
            pass  # trailers
        return bytes(body)

    async def _read_to_end(self) -> bytes:
        with contextlib.suppress(ClosedError):
            while True:
                _within_limit(len(self._buffer))
                await self._fill()
        return self._take(len(self._buffer))

    async def _read_until(self, end: bytes, limit: int, what: str) -> bytes:
        searched = 0
        while (at := self._buffer.find(end, searched)) < 0 and len(self._buffer) <= limit:
            searched = max(0, len(self._buffer) - len(end) + 1)
            await self._fill()
        if not 0 <= at <= limit:
            raise MalformedError(f"the answer has {what} of more than {limit} bytes")
        return self._take(at + len(end))[:at]

    async def _read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._fill()
        return self._take(size)

    async def _fill(self) -> None:
        self._note(await self._stream.receive())

    def _note(self, received: bytes) -> None:
        if not received:
            where = "in mid-answer" if self._answered else "before an answer"
            raise ClosedError(f"the server closed the connection {where}")
        self._answered = True
        self._buffer += received

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


@lru_cache(maxsize=256)
def is_token(text: str) -> bool:
    """Tell whether HTTP allows this as a method or as the name of a header."""
    return text != "" and _OF_TOKENS.issuperset(text)


def _parse_head(head: bytes) -> tuple[int, bool, dict[str, str]]:
    """Return the status, whether the connection stays open, and the headers."""
    first, *lines = head.decode("latin-1").split("\r\n")
    status, persistent = _parse_status(first)
    headers = dict(map(_parse_line, lines))
    if len(headers) < len(lines):
        headers = _joined(map(_parse_line, lines))
    if (connection := headers.get("connection")) is not None:
        persistent = _stays_open(connection, persistent)
    return status, persistent, headers


def _joined(lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers of which some are repeated."""
    headers: dict[str, str] = {}
    for name, value in lines:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


@lru_cache(maxsize=128)  # most lines of one server's answers are the same in the next
def _parse_line(line: str) -> tuple[str, str]:
    """Return the name of a header, in lower case, and its value."""
    name, colon, value = line.partition(":")
    known = _lowered(name) if colon else None
    if known is None:
        raise MalformedError("the answer has a header line that is not one")
    return known, value.strip(" \t")


@lru_cache(maxsize=128)  # the values of some are never the same, as the ids of requests
def _lowered(name: str) -> str | None:
    """Return the name of a header in lower case; None if it cannot be one."""
    return name.lower() if is_token(name) else None


@lru_cache(maxsize=8)
def _parse_status(line: str) -> tuple[int, bool]:
    """Return the status, and whether the connection stays open if no header says otherwise."""
    version, _, rest = line.partition(" ")
    status, _, _ = rest.partition(" ")
    if version not in _STAYS_OPEN or not is_number(status, 3) or int(status) < 100 or "\n" in line:
        raise MalformedError("the answer is not HTTP/1.1")
    return int(status), _STAYS_OPEN[version]


@lru_cache(maxsize=8)
def _stays_open(connection: str, persistent: bool) -> bool:
    options = {option.strip() for option in connection.lower().split(",")}
    return "close" not in options and (persistent or "keep-alive" in options)


def _within_limit(size: int) -> int:
    if size > MAX_BODY:
        raise MalformedError(f"the answer has a body of more than {MAX_BODY} bytes")
    return size
