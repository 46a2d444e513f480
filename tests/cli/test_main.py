"""The command line itself: usage, version, and what is not installed."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from longwire import __version__
from longwire.cli import main as cli

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["sweep"], "the following arguments are required: MODULE:ATTRIBUTE"),
        (
            ["dev", "a:b", "--prot", "4000"],
            "there is no option --prot; did you mean --port? (longwire dev --help)",
        ),
        (["dev", "--relod"], "there is no option --relod; did you mean --reload?"),
        (["dev", "a:b", "-p", "4000"], "there is no option -p; did you mean --port?"),
        (["dev", "--workers=4"], "there is no option --workers; did you mean --instances?"),
        (["dev", "--debug"], "there is no option --debug; did you mean --log-level debug?"),
        (["dev", "--xyzzy"], "there is no option --xyzzy (longwire dev --help)"),
        (["dev", "a:b", "c:d"], "one argument too many: c:d (longwire dev --help)"),
        (["init", "--dns", "memory://"], "one of the arguments --backend --dsn is required"),
        (["run", "a:b"], "'run' is no command; did you mean 'dev'? (longwire --help)"),
        (["swep", "a:b"], "'swep' is no command; did you mean 'sweep'?"),
        (["xyzzy"], "'xyzzy' is no command; there are dev, new, template, bundle"),
        (["main:app"], "'main:app' is no command; did you mean 'longwire dev main:app'?"),
        (["main.py"], "'main.py' is no command; did you mean 'longwire dev main.py'?"),
        (
            ["deploy"],
            "longwire does not deploy: your own tool does, with the files that 'longwire template'",
        ),
        (
            ["dev", "a:b", "--dsn", "memory://", "--remote-store"],
            "argument --remote-store: not allowed with argument --dsn",
        ),
        (["dev", "a:b", "--port", "x"], "argument --port: invalid port value: 'x'"),
        (["dev", "a:b", "--port", "65536"], "argument --port: expected 0 to 65535"),
        (["dev", "a:b", "--path", "ws"], "argument --path: expected /ws: a path begins with '/'"),
        (["--versoin"], "there is no option --versoin; did you mean --version?"),
        (["--port", "4000", "a:b"], "there is no option --port"),
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
    """One line, which says what was probably meant."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: {text}" in line


def test_longwire_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 0
    assert "run API Gateway and a function" in capsys.readouterr().out


@pytest.mark.parametrize("command", [one.__name__.rpartition(".")[2] for one in cli.COMMANDS])
def test_help_ends_with_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Which can be given as it stands."""
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    examples = capsys.readouterr().out.partition("\nexample")[2].splitlines()[1:]
    lines = [line for line in examples if line.startswith("  longwire")]
    assert lines
    for line in lines:
        said = shlex.split(line.strip().partition("   ")[0])
        assert cli.make_parser().parse_args(said[1:]).command == command


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
    for name in list(sys.modules):
        if name.startswith(("websockets.", "longwire.local.server.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "websockets", None)
    assert cli.main(["dev", "cli_app:app", "--app-dir", str(directory)]) == 1
    assert capsys.readouterr().err == (
        "longwire: the local gateway needs websockets: pip install 'longwire[dev]'\n"
    )
