"""What all rows get: whom to compare, and how thoroughly."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.race import Contender
from benchmarks.table import BEFORE, CONTROL, OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from benchmarks.stores import Store

# What a quick look takes of the usual rounds, and how few they can be.
QUICK, FEWEST = 1 / 3, 3


class Setup(NamedTuple):
    """What the command line says.

    Attributes:
        before: a folder with the packages of an earlier Longwire; or empty.
        mangum: an interpreter that has Mangum and other clients; or empty.
        stores: the names of those that were asked for; none stands for the usual ones.
    """

    before: str = ""
    mangum: str = ""
    stores: Sequence[str] = ()
    quick: bool = False

    def rounds(self, usual: int) -> int:
        return max(FEWEST, int(usual * QUICK)) if self.quick else usual

    def chosen(self, known: Iterable[str], usual: Sequence[str] = ()) -> list[str]:
        """Return which stores to measure of those that a row knows."""
        asked = self.stores or usual
        return [name for name in known if not asked or name in asked]

    def versions(self) -> dict[str, Mapping[str, str]]:
        """Return the environment of each Longwire: this one, the same once more, an earlier one."""
        found: dict[str, Mapping[str, str]] = {OURS: {}, CONTROL: {}}
        if self.before:
            found[BEFORE] = {"PYTHONPATH": paths(self.before)}
        return found

    def adapter(
        self,
        name: str,
        store: Store,
        url: str,
        *,
        mode: str = "warm",
        times: int = 1,
        port: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Contender:
        """Make a process that handles events; `url` is that of the management API.

        Args:
            name: longwire, or what else `measured.py` knows.
            port: replaces that of the store.
        """
        settings = "mangum" if name == "mangum" else "longwire"
        arguments = store.arguments(settings, url, store.port if port is None else port)
        python = self.mangum if name == "mangum" else sys.executable
        command = ["-m", "benchmarks.measured", mode, name, arguments]
        return Contender(command, times, python, environ or {})

    def longwires(
        self,
        store: Store,
        url: str,
        *,
        mode: str = "warm",
        times: int = 1,
        environ: Mapping[str, str] | None = None,
    ) -> dict[str, Contender]:
        """Make such a process of each version."""
        return {
            version: self.adapter(
                "longwire", store, url, mode=mode, times=times, environ={**own, **(environ or {})}
            )
            for version, own in self.versions().items()
        }


def paths(folder: str) -> str:
    """Return where Python finds the packages of a checkout."""
    return os.pathsep.join(f"{folder}/{name}" for name in ("adapter", "backends"))


@contextmanager
def at_commit(commit: str) -> Iterator[str]:
    """Make a folder with the packages as they were; none, if there is no commit."""
    if not commit:
        yield ""
        return
    archive = subprocess.check_output(["git", "archive", commit, "adapter", "backends"])
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(folder, filter="data")
        yield folder


def last_release() -> str:
    """Return the tag of the last release; empty if there is none."""
    command = ["git", "describe", "--tags", "--abbrev=0"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()
