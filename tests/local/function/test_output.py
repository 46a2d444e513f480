"""What the function writes is heard, and goes where it always went."""

from __future__ import annotations

import io
import os
import sys

import pytest

from longwire.local.function.output import (
    PIECE,
    HeardStream,
    OutputPipe,
    PipedOutput,
    hear,
)

pytestmark = pytest.mark.anyio


def test_a_stream_is_heard() -> None:
    heard: list[str] = []
    inner = io.StringIO()
    stream = HeardStream(inner, heard.append)
    print("a", "b", file=stream)
    stream.writelines(["c\n", "d\n"])
    assert inner.getvalue() == "a b\nc\nd\n"
    assert "".join(heard) == "a b\nc\nd\n"
    assert stream.isatty() is False
    with pytest.raises(TypeError):
        stream.write(b"")  # type: ignore[arg-type]
    assert "".join(heard) == "a b\nc\nd\n"


def test_all_that_is_printed_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    hear(heard.append)
    sys.stdout.write("one")
    sys.stderr.write("two")
    assert (out.getvalue(), err.getvalue(), heard) == ("one", "two", ["one", "two"])


@pytest.mark.parametrize("text", ["a", "é☃𝄞" * 1000, "\x00\x1b\n" * 500, "\ud800", ""])
async def test_it_comes_through_the_pipe_with_its_request(text: str) -> None:
    """In pieces, each of which a pipe takes whole."""
    heard: list[tuple[str, str]] = []
    pipe = OutputPipe(lambda request_id, piece: heard.append((request_id, piece)))
    end = os.dup(pipe.end)
    output = PipedOutput(end)
    output.request_id = "r"
    await pipe.open()
    output.tell(text)
    os.close(end)
    await pipe.close()
    assert "".join(piece for _, piece in heard) == text.replace("\ud800", "?")
    assert all(request_id == "r" and len(piece) <= PIECE for request_id, piece in heard)


async def test_rubbish_and_nobody_who_hears_harm_nothing() -> None:
    heard: list[tuple[str, str]] = []
    pipe = OutputPipe(lambda request_id, piece: heard.append((request_id, piece)))
    end = os.dup(pipe.end)
    await pipe.open()
    os.write(end, b'rubbish\n["a"]\n3\n["r","x"]\n')
    output = PipedOutput(end)
    await pipe.close()
    output.tell("y")
    os.close(end)
    assert heard == [("r", "x")]
    never = OutputPipe(lambda request_id, piece: None)
    await never.close()
