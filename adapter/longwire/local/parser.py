"""HTTP/1.1 requests as they arrive, piece by piece: RFC 9112, strictly where it lets one choose."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

# Bytes of a head, of the headers behind a body, or of a line between chunks.
HEAD_LIMIT = 16 * 1024

_TOKEN = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
_NAME = re.compile(_TOKEN)
_LENGTH = re.compile(r"[0-9]{1,20}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;[\t\x20-\x7e\x80-\xff]*)?[ \t]*")
_END_OF_HEAD = re.compile(rb"\n\r?\n")
# A value that goes on in the next line, as it could in old times.
_FOLD = re.compile(r"\n[ \t]+")
# Nobody takes these in a head, but for the tab.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class BadRequestError(Exception):
    """What has arrived is no request, or none that can be read; `status` says so to its client."""

    def __init__(self, what: str, status: int = 400) -> None:
        super().__init__(what)
        self.status = status


class Request(NamedTuple):
    """The head of a request."""

    method: str
    target: str
    version: str  # "1.1"
    headers: list[tuple[str, str]]  # with names in lower case
    raw_headers: list[tuple[str, str]]  # with names as they were sent


class Mark(enum.Enum):
    """What has been seen instead of a part of a request."""

    COMPLETE = enum.auto()  # its end
    CLOSED = enum.auto()  # the end of the connection, where no request was under way


class _At(enum.Enum):
    """What comes next."""

    HEAD = enum.auto()
    BODY = enum.auto()
    CHUNK_LINE = enum.auto()
    CHUNK = enum.auto()
    CHUNK_END = enum.auto()
    TRAILER = enum.auto()
    NOTHING = enum.auto()  # the request is complete, and has to be answered first


class RequestParser:
    """The requests of one connection, of which each has to be answered before the next.

    Attributes:
        keeps_alive: whether the client of the latest request waits for more than its answer.
        expects_continue: whether it waits for a 100 before it sends the body.
        length: bytes of the body, as far as the head says; 0 if it comes in chunks.
    """

    def __init__(self) -> None:
        self.keeps_alive = True
        self.expects_continue = False
        self.length = 0
        self._at = _At.HEAD
        self._left = 0  # bytes of the body, or of a chunk
        self._buffer = bytearray()
        self._is_over = False

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._buffer += data

    def end(self) -> None:
        """Note that nothing more will arrive."""
        self._is_over = True

    @property
    def has_begun(self) -> bool:
        """Whether a part of a request is there, and not all of it."""
        return self._at is not _At.HEAD or bool(self._buffer)

    @property
    def rest(self) -> bytes:
        """What has come behind a request."""
        return bytes(self._buffer)

    def go_on(self) -> None:
        """Begin with the next request: the latest one is answered."""
        self._at = _At.HEAD

    def next(self) -> Request | bytes | Mark | None:
        """Return a head, a part of a body or a mark; None until more has arrived.

        Raises:
            BadRequestError: nothing more can be read from this connection.
        """
        match self._at:
            case _At.HEAD:
                part: Request | bytes | Mark | None = self._head()
            case _At.BODY:
                part = self._take() if self._left else self._complete()
            case _At.NOTHING:
                return None
            case _:
                part = self._chunked()
        if part is None and self._is_over:
            if self.has_begun:
                raise BadRequestError("the connection was closed in the middle of a request")
            return Mark.CLOSED
        return part

    def _complete(self) -> Mark:
        self._at = _At.NOTHING
        return Mark.COMPLETE

    def _take(self) -> bytes | None:
        """Return what has come of a body or of a chunk, and is not longer than it."""
        if not self._buffer:
            return None
        data = bytes(self._buffer[: self._left])
        del self._buffer[: len(data)]
        self._left -= len(data)
        return data

    # The head

    def _head(self) -> Request | None:
        if self._buffer and self._buffer[0] <= 0x20:
            raise BadRequestError("no request line")
        lines = self._lines()
        if lines is None:
            return None
        first = _REQUEST_LINE.fullmatch(lines[0])
        if first is None:
            raise BadRequestError("no request line")
        raw_headers = _headers(lines[1:])
        headers = [(name.lower(), value) for name, value in raw_headers]
        request = Request(first[1], first[2], first[3], headers, raw_headers)
        self._frame(request)
        return request

    def _lines(self) -> list[str] | None:
        """Return the lines before the next empty one, without it."""
        end = _END_OF_HEAD.search(self._buffer)
        # However it is cut into pieces, and whatever comes behind it.
        self._check_length(None if end is None else end.start())
        if end is None:
            return None
        text = self._buffer[: end.start()].decode("latin-1").removesuffix("\r")
        del self._buffer[: end.end()]
        first, newline, others = text.replace("\r\n", "\n").partition("\n")
        if "\n " in others or "\n\t" in others:
            others = _FOLD.sub(" ", others)
        text = first + newline + others
        if _CONTROL.search(text):
            raise BadRequestError("a control character")
        return text.split("\n")

    def _check_length(self, end: int | None) -> None:
        if (len(self._buffer) if end is None else end) > HEAD_LIMIT:
            raise BadRequestError("too long", 431)

    def _frame(self, request: Request) -> None:
        """Tell from the head how the body comes, and what follows."""
        found = _Framing()
        for name, value in request.headers:
            if (note := _NOTES.get(name)) is not None:
                note(found, value)
        if found.is_chunked and found.length is not None:
            raise BadRequestError("two lengths")  # of which others may take the other one
        if found.hosts > 1 or (found.hosts == 0 and request.version == "1.1"):
            raise BadRequestError("not one Host")
        is_new = request.version >= "1.1"
        self.keeps_alive = is_new and "close" not in found.connection
        self.expects_continue = is_new and "100-continue" in found.expect
        self.length = self._left = 0 if found.is_chunked else int(found.length or 0)
        self._at = _At.CHUNK_LINE if found.is_chunked else _At.BODY

    # A body in chunks

    def _chunked(self) -> bytes | Mark | None:
        while True:
            if self._at is _At.CHUNK:
                if self._left:
                    return self._take()
                self._at = _At.CHUNK_END
            if self._at is _At.TRAILER:
                return self._trailer()
            # Not a line feed alone, as in a head: others may see other chunks then.
            end = self._buffer.find(b"\r\n")
            self._check_length(end if end >= 0 else None)
            if end < 0:
                return None
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            self._begin_chunk(line)

    def _begin_chunk(self, line: bytes) -> None:
        if self._at is _At.CHUNK_END:
            if line:
                raise BadRequestError("a chunk is longer than it says")
            self._at = _At.CHUNK_LINE
            return
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise BadRequestError("no chunk")
        self._left = int(found[1], 16)
        self._at = _At.CHUNK if self._left else _At.TRAILER

    def _trailer(self) -> Mark | None:
        """Read over what may follow the last chunk."""
        for nothing in (b"\r\n", b"\n"):
            if self._buffer.startswith(nothing):
                del self._buffer[: len(nothing)]
                return self._complete()
        lines = self._lines()
        if lines is None:
            return None
        _headers(lines)
        return self._complete()


class _Framing:
    """What the headers say of the request itself."""

    def __init__(self) -> None:
        self.hosts = 0
        self.length: str | None = None
        self.is_chunked = False
        self.connection: list[str] = []
        self.expect: list[str] = []

    def note_host(self, value: str) -> None:
        self.hosts += 1

    def note_length(self, value: str) -> None:
        if self.length is not None or not _LENGTH.fullmatch(value):
            raise BadRequestError("no length, or several")
        self.length = value

    def note_encoding(self, value: str) -> None:
        if self.is_chunked or value.lower() != "chunked":
            raise BadRequestError("only chunks are known", 501)
        self.is_chunked = True

    def note_connection(self, value: str) -> None:
        self.connection += _listed(value)

    def note_expect(self, value: str) -> None:
        self.expect += _listed(value)


_NOTES = {
    "host": _Framing.note_host,
    "content-length": _Framing.note_length,
    "transfer-encoding": _Framing.note_encoding,
    "connection": _Framing.note_connection,
    "expect": _Framing.note_expect,
}


def _listed(value: str) -> list[str]:
    return [one.strip(" \t") for one in value.lower().split(",")]


def _headers(lines: list[str]) -> list[tuple[str, str]]:
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise BadRequestError("no header")
        headers.append((name, value.strip(" \t")))
    return headers
