"""Two gateways do not share one store."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from longwire.cli.options import CannotServeError
from longwire.cli.sole import sole_user
from tests.local.running import Dev

if TYPE_CHECKING:
    from pathlib import Path


def test_the_second_one_in_a_folder_says_what_to_do(directory: Path) -> None:
    """And the first one goes on; a store of its own is all that the second one needs."""
    with Dev(directory, "cli_app:app") as first:
        first.ready()
        with Dev(directory, "cli_app:app") as second:
            _, said = second.process.communicate(timeout=30)
        assert second.process.returncode == 1
        assert said == (
            "longwire: another longwire dev keeps its connections in .longwire.sqlite3: give this "
            "one its own, as with --file other.sqlite3\n"
        )
        with Dev(directory, "cli_app:app", "--file", "other.sqlite3") as second:
            second.ready()
        assert first.process.poll() is None


def test_one_that_was_killed_holds_nothing(directory: Path) -> None:
    with Dev(directory, "cli_app:app") as first:
        first.ready()
        first.process.kill()
        first.process.wait()
        with Dev(directory, "cli_app:app") as second:
            second.ready()
            assert second.stop(signal.SIGTERM)[0] == 0


def test_a_store_is_held_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is a file, and can be."""
    monkeypatch.setattr("longwire.cli.sole.PATIENCE", 0.0)
    file = str(tmp_path / "store.sqlite3")
    for _ in range(2):
        with sole_user(file), pytest.raises(CannotServeError, match="another longwire dev"):
            with sole_user(file):
                raise AssertionError("two have it")
    for nowhere in (None, str(tmp_path / "nowhere" / "store.sqlite3")):
        with sole_user(nowhere), sole_user(nowhere):
            pass
