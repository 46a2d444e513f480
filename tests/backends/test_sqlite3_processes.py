"""The SQLite store among processes: sharing a file, being killed, coming to an end."""

from __future__ import annotations

import asyncio
import sys
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


FORKING = """
import threading

async def write(store, me):
    for n in range(200):
        await store.group_add(me, f"c{n}", FAR)

def work(store, me):
    asyncio.run(write(store, me))

async def count():
    for n in range(4):
        assert len((await backend.group_members(f"thread-{n}")).members) == 200
    await backend.close()

threads = [threading.Thread(target=work, args=(backend, f"thread-{n}")) for n in range(4)]
for thread in threads:
    thread.start()
children = []
while any(thread.is_alive() for thread in threads) and len(children) < 50:
    children.append(os.fork())
    if not children[-1]:
        if len(children) % 5 == 1:
            work(SQLite3Backend(backend._path), f"child-{len(children)}")
        os._exit(0)
for thread in threads:
    thread.join()
for child in children:
    assert os.waitpid(child, 0)[1] == 0
asyncio.run(count())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_process_forks_while_its_threads_write(path: Path) -> None:
    """No statement fails of it, and no child takes the locks of its parent for its own."""
    # Newer Pythons warn of a fork beside threads.
    process = start(_source(path), FORKING, flags=("-W", "ignore"))
    assert finish(process) == (0, "", "")
