"""Answers of a Redis server are read as they come: whole, in pieces, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from longwire_backends.redis.resp import ProtocolError, Reader, ServerError, pack

ANSWERS: list[tuple[bytes, list[Any]]] = [
    (b"+OK\r\n", [b"OK"]),
    (b":-12\r\n", [-12]),
    (b"$3\r\na\r\n\r\n", [b"a\r\n"]),
    (b"$0\r\n\r\n", [b""]),
    (b"$-1\r\n", [None]),
    (b"*0\r\n", [[]]),
    (b"*-1\r\n", [None]),
    (b"*2\r\n$1\r\na\r\n$-1\r\n", [[b"a", None]]),
    (b"*3\r\n*2\r\n:1\r\n*0\r\n*1\r\n+a\r\n$1\r\nb\r\n", [[[1, []], [b"a"], b"b"]]),
    (b"+OK\r\n*1\r\n:1\r\n", [b"OK", [1]]),
    (b"$%d\r\n%b\r\n" % (200_000, b"v" * 200_000), [b"v" * 200_000]),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 16, 1 << 20])
@pytest.mark.parametrize(("sent", "answers"), ANSWERS, ids=[str(sent[:9]) for sent, _ in ANSWERS])
def test_an_answer_may_come_in_pieces(sent: bytes, answers: list[Any], size: int) -> None:
    """Of any size; it is whole with its last byte, and not before."""
    if len(sent) > 1000 and size < 1000:
        pytest.skip("would take long, and says nothing more")
    reader = Reader(len(answers))
    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert [reader.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert reader.answers == answers


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$x\r\n",
        b"*x\r\n",
        b":\r\n",
        b"\r\n",
        b"+OK\r\n+OK\r\n",
        b"$1\r\na\r\n:1\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"+" + b"x" * 70_000,
    ],
)
def test_what_is_no_answer_is_refused(sent: bytes) -> None:
    """Also more than was asked for: it would be taken for the answer to what comes next."""
    with pytest.raises(ProtocolError):
        Reader(1).feed(sent)


def test_a_refusal_has_the_words_of_the_server() -> None:
    """Without the code that says nothing."""
    reader = Reader(2)
    assert reader.feed(b"-ERR no \xff\r\n*1\r\n-LOADING soon\r\n")
    first, rest = reader.answers
    assert isinstance(first, ServerError)
    assert str(first) == "no \ufffd"
    assert isinstance(rest, list)
    assert [str(each) for each in rest] == ["LOADING soon"]


def test_a_command_is_sent_by_the_lengths_of_its_bytes() -> None:
    assert pack(("GET", "ä\r\n", 12, b"\xff")) == (
        b"*4\r\n$3\r\nGET\r\n$4\r\n\xc3\xa4\r\n\r\n$2\r\n12\r\n$1\r\n\xff\r\n"
    )
    with pytest.raises(UnicodeEncodeError):
        pack(("GET", "\ud800"))
