"""Requests of HTTP/1.1 as they arrive: what is read of them, however they are cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwire.local.parser import HEAD_LIMIT, BadRequestError, Mark, Request, RequestParser

HEAD = b"POST /a?b=c HTTP/1.1\r\nHost: here\r\n"

Read = tuple[Request, bytes]


def read(parser: RequestParser, *pieces: bytes) -> list[Read]:
    """Feed what has arrived, and return the requests that are complete."""
    found = []
    request, body = None, b""
    for piece in pieces:
        parser.feed(piece)
        while (part := parser.next()) not in (None, Mark.CLOSED):
            if isinstance(part, Request):
                request, body = part, b""
            elif isinstance(part, bytes):
                body += part
            else:
                assert request is not None
                found.append((request, body))
                parser.go_on()
    return found


@pytest.mark.parametrize(
    ("data", "headers", "body"),
    [
        (HEAD + b"\r\n", [], b""),
        (HEAD + b"Content-Length: 3\r\n\r\nabc", [("content-length", "3")], b"abc"),
        (
            HEAD + b"Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            [("transfer-encoding", "Chunked")],
            b"abcde",
        ),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nAfter: all\r\n\r\n",
            [("transfer-encoding", "chunked")],
            b"",
        ),
        (HEAD + b"X:  \t y z\t \r\n\r\n", [("x", "y z")], b""),
        (HEAD + b"X: y\r\n  z\r\n\r\n", [("x", "y z")], b""),
        (HEAD + b"X: \xe9\r\n\r\n", [("x", "\xe9")], b""),
        (HEAD.replace(b"\r\n", b"\n") + b"X:y\n\n", [("x", "y")], b""),
    ],
)
def test_a_request_is_read_with_its_body(
    data: bytes, headers: list[tuple[str, str]], body: bytes
) -> None:
    """Also one behind another, and byte by byte."""
    for pieces in ([data], [data * 3], [bytes([one]) for one in data]):
        parser = RequestParser()
        found = read(parser, *pieces)
        assert len(found) == (3 if pieces == [data * 3] else 1)
        for request, came in found:
            assert request[:3] == ("POST", "/a?b=c", "1.1")
            assert request.headers == [("host", "here"), *headers]
            assert came == body
        assert not parser.has_begun


def test_names_of_headers_are_kept_as_they_were_sent() -> None:
    """A CONNECT event has them so."""
    parser = RequestParser()
    parser.feed(b"GET / HTTP/1.1\r\nHOST: here\r\nX-y: 1\r\n\r\n")
    request = parser.next()
    assert isinstance(request, Request)
    assert request.raw_headers == [("HOST", "here"), ("X-y", "1")]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n" + HEAD + b"\r\n", 400),
        (b"\x16\x03\x01", 400),  # TLS
        (b"rubbish\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/11\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # without a Host
        (HEAD + b"Host: there\r\n\r\n", 400),
        (HEAD + b"no colon\r\n\r\n", 400),
        (HEAD + b"X : y\r\n\r\n", 400),
        (HEAD + b": y\r\n\r\n", 400),
        (HEAD + b"X: a\x00b\r\n\r\n", 400),
        (HEAD + b"X: a\rb\r\n\r\n", 400),
        (HEAD + b"X: a\x7f\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1, 1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Content-Length: +1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\xa0\r\n\r\n", 400),
        (HEAD + b"Content-Length: " + b"1" * 21 + b"\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x\ny\r\na\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x\ry\r\na\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n", 400),
        (HEAD + b"X: " + b"x" * HEAD_LIMIT, 431),
        (HEAD + b"X: " + b"x" * HEAD_LIMIT + b"\r\n\r\n", 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * HEAD_LIMIT, 431),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, status: int) -> None:
    """With the status that says so."""
    with pytest.raises(BadRequestError) as caught:
        read(RequestParser(), data)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("version", "headers", "keeps_alive", "expects"),
    [
        (b"1.1", b"", True, False),
        (b"1.1", b"Connection: Upgrade, Close\r\n", False, False),
        (b"1.0", b"", False, False),
        (b"1.0", b"Connection: keep-alive\r\nExpect: 100-continue\r\n", False, False),
        (b"1.1", b"Expect: 100-Continue\r\n", True, True),
    ],
)
def test_what_a_client_waits_for(
    version: bytes, headers: bytes, keeps_alive: bool, expects: bool
) -> None:
    """Another answer on the same connection, or to be told to go on."""
    parser = RequestParser()
    parser.feed(b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + headers + b"\r\n")
    assert isinstance(parser.next(), Request)
    assert (parser.keeps_alive, parser.expects_continue) == (keeps_alive, expects)


def test_the_end_of_a_connection_is_told_apart() -> None:
    """Between two requests, and in a head or a body, of which the rest is then missing."""
    for begun in (b"", HEAD + b"\r\n"):
        parser = RequestParser()
        read(parser, begun)
        parser.end()
        assert parser.next() is Mark.CLOSED
    for begun in (b"GET / HT", HEAD + b"Content-Length: 2\r\n\r\na"):
        parser = RequestParser()
        assert read(parser, begun) == []
        parser.end()
        with pytest.raises(BadRequestError):
            parser.next()


def test_what_follows_a_request_waits_for_its_answer() -> None:
    """As the first frames of a client do that does not wait for its 101."""
    parser = RequestParser()
    parser.feed(HEAD + b"\r\nframes")
    assert isinstance(parser.next(), Request)
    assert parser.next() is Mark.COMPLETE
    assert parser.next() is None
    parser.feed(b" and more")
    assert parser.next() is None
    assert parser.rest == b"frames and more"


@given(st.lists(st.binary(max_size=30), max_size=10), st.lists(st.integers(1, 40)))
def test_pieces_change_nothing(chunks: list[bytes], cuts: list[int]) -> None:
    """However a body in chunks is cut, it is the same."""
    sent = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks if one)
    data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + sent + b"0\r\n\r\n"
    pieces = []
    for cut in cuts:
        pieces += [data[:cut]] if data else []
        data = data[cut:]
    ((_, body),) = read(RequestParser(), *pieces, *([data] if data else []))
    assert body == b"".join(chunks)
