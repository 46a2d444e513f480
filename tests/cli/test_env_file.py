"""`--env-file`: what other tools take, and nothing that shows a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from longwire.cli.env_file import load, parse
from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A = 1  ", {"A": "1"}),
        ("A=", {"A": ""}),
        ("A=''", {"A": ""}),
        ("A='x # y'", {"A": "x # y"}),
        ('A="x\\n\\"y\\" $HOME"', {"A": 'x\n"y" $HOME'}),
        ("A=x # why", {"A": "x"}),
        ("A=x#y", {"A": "x#y"}),
        ("A=redis://:p=w@h:1/0?a=b", {"A": "redis://:p=w@h:1/0?a=b"}),
        ("# A=1", {}),
        ("", {}),
        ("A=1\r\nB=2", {"A": "1", "B": "2"}),
    ],
)
def test_lines(line: str, expected: dict[str, str]) -> None:
    assert parse(line, "here") == expected


def test_what_is_set_already_wins(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xef\xbb\xbfA=file\nB=file\n")
    environ = {"A": "shell"}
    load(file, environ)
    assert environ == {"A": "shell", "B": "file"}


def test_mistakes_name_the_line_and_not_the_value(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    with pytest.raises(ConfigurationError) as caught:
        load(file, {})
    assert str(caught.value) == f"--env-file: {file}: No such file or directory"
    file.write_text("A=1\nsecret\n")
    with pytest.raises(ConfigurationError) as caught:
        load(file, {})
    assert str(caught.value) == f"--env-file: {file}:2: expected NAME=VALUE"
