"""The command line itself: usage, version, and what is not installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from longwire import __version__
from longwire.local.cli import main as cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["dev"], "the following arguments are required: MODULE:ATTRIBUTE"),
        (["dev", "a:b", "--port", "x"], "argument --port: invalid port value: 'x'"),
        (["dev", "a:b", "--port", "65536"], "argument --port: expected 0 to 65535"),
        *(
            (["dev", "a:b", "--allow-host", host], "argument --allow-host: expected a name without")
            for host in ("", "http://box", "box:3001")
        ),
        *(
            (
                ["dev", "a:b", "--message-rate", n],
                "argument --message-rate: expected a number above",
            )
            for n in ("0", "-1", "nan", "inf")
        ),
        (
            ["dev", "a:b", "--file", "x", "--backend", "y"],
            "argument --backend: not allowed with argument --file",
        ),
    ],
)
def test_usage_errors_have_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    """As argparse says it."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert f"error: {text}" in capsys.readouterr().err.splitlines()[-1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version of the package."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"longwire {__version__}\n"


def test_a_missing_extra_is_one_clear_line(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the pip line that mends it."""
    monkeypatch.setitem(sys.modules, "h11", None)
    for name in ("longwire.local.server.server", "longwire.local.server.http"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert cli.main(["dev", "cli_app:app", "--app-dir", str(directory)]) == 1
    assert capsys.readouterr().err == (
        "longwire: the local gateway needs h11: pip install 'longwire[dev]'\n"
    )
