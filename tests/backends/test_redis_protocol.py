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
        b"$1\r\nab\r",
        b"$1\r\na\n\r",
        b"*1\r\n$0\r\n:1\r\n",
        b"$-2\r\n",
        b"*-2\r\n",
        b"$99999999999\r\n",
        b"*99999999999\r\n",
        b"$1_0\r\n",
        b"$ 1\r\na\r\n",
        b":" + b"9" * 5000 + b"\r\n",
        b"*1\r\n" * 20,
        *(b"%c1\r\n" % kind for kind in b"_#,(!=~>|"),
    ],
    ids=lambda sent: str(sent[:12]),
)
def test_what_is_no_answer_is_refused(sent: bytes) -> None:
    """Also more than was asked for: it would be taken for the answer to what comes next."""
    with pytest.raises(ProtocolError):
        Reader(1).feed(sent)


def test_a_refusal_has_the_words_of_the_server() -> None:
    """Without the code that says nothing."""
    reader = Reader(2)
    assert reader.feed(b"-ERR no \xff\r\n-LOADING soon\r\n")
    assert all(isinstance(answer, ServerError) for answer in reader.answers)
    assert [str(answer) for answer in reader.answers] == ["no \ufffd", "LOADING soon"]


@pytest.mark.parametrize("size", [1, 100])
def test_a_refusal_amid_a_list_is_the_answer(size: int) -> None:
    """When the list is whole, and not before: what is left of it is no answer to what follows."""
    sent = b"*3\r\n:1\r\n*2\r\n-ERR no\r\n:2\r\n+OK\r\n"
    reader = Reader(2)
    for start in range(0, len(sent), size):
        assert not reader.is_refused()
        assert not reader.feed(sent[start : start + size])
    assert reader.is_refused()
    assert reader.feed(b":3\r\n")
    refusal, number = reader.answers
    assert (str(refusal), number) == ("no", 3)


def test_an_answer_that_does_not_end_is_refused() -> None:
    """A list of small things, say, that goes on and on, is not collected for ever."""
    reader = Reader(1)
    assert not reader.feed(b"*500000000\r\n$400000000\r\n")
    first, last = bytes(400_000_000 - 2), bytes(1 << 28)
    assert not reader.feed(first)
    assert not reader.feed(b"\0\0\r\n$400000000\r\n")
    with pytest.raises(ProtocolError):
        reader.feed(last)


def test_a_command_is_sent_by_the_lengths_of_its_bytes() -> None:
    assert pack(("GET", "ä\r\n", 12)) == (b"*3\r\n$3\r\nGET\r\n$4\r\n\xc3\xa4\r\n\r\n$2\r\n12\r\n")
    with pytest.raises(UnicodeEncodeError):
        pack(("GET", "\ud800"))
