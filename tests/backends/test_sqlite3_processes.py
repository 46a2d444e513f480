"""The SQLite store among processes: sharing a file, being killed, coming to an end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from longwire_backends.sqlite3.backend import SQLite3Backend
from tests.backends.processes import ENDINGS, ProcessContract, finish, read_line, start

if TYPE_CHECKING:
    from pathlib import Path

FAR = 1 << 40

ENDLESS_WRITER = """
async def main():
    n = 0
    while True:
        await backend.put(str(n), "v" * 5000, FAR)
        print(n, flush=True)
        n += 1

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is, or will be."""
    return tmp_path / "store.db"


def _source(path: Path) -> str:
    return (
        "from longwire_backends.sqlite3.backend import SQLite3Backend\n"
        f"backend = SQLite3Backend({str(path)!r})"
    )


class TestProcesses(ProcessContract):
    """The file is not there until one of them makes it."""

    @pytest.fixture
    def source(self, path: Path) -> str:
        return _source(path)


def test_a_killed_process_leaves_a_usable_file(path: Path) -> None:
    """What a killed process had finished writing is there, and others can write."""
    process = start(_source(path), ENDLESS_WRITER)
    finished = [read_line(process) for _ in range(100)]
    process.kill()
    output, _ = process.communicate(timeout=50)
    finished += output.split("\n")[:-1]

    async def scenario(backend: SQLite3Backend) -> None:
        for connection_id in finished:
            assert await backend.get(connection_id)
        await backend.put("new", "v", FAR)
        await backend.close()

    assert len(finished) >= 100
    asyncio.run(scenario(SQLite3Backend(path)))


def test_the_last_process_leaves_one_file(path: Path) -> None:
    """Coming to an end closes the database: nothing stays in a write-ahead log."""
    assert finish(start(_source(path), ENDINGS["without closing"])) == (0, "", "")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
