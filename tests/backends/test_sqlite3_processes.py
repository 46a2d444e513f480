"""The SQLite store among processes: sharing a file, being killed, forking, coming to an end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from longwire_backends.sqlite3 import SQLite3Backend
from tests.backends.contract import members

if TYPE_CHECKING:
    from pathlib import Path

FAR = 1 << 40

PREAMBLE = """
import asyncio, os, sys
from longwire_backends.sqlite3 import SQLite3Backend
FAR = 1 << 40
backend = SQLite3Backend(sys.argv[1])
"""

WRITER = """
async def main(me):
    for n in range(50):
        await backend.put(f"{me}-{n}", "v", FAR)
        await backend.group_add("g", f"{me}-{n}", FAR)
        if n % 10 == 0:
            await backend.close()

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main(sys.argv[2]))
"""

INCREMENTER = """
async def increment():
    version = None
    while version is None:
        record = await backend.get("counter")
        version = await backend.update("counter", str(int(record.value) + 1), FAR, record.version)

async def main():
    for _ in range(10):
        await asyncio.gather(increment(), increment())

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main())
"""

ENDLESS_WRITER = """
async def main():
    n = 0
    while True:
        await backend.put(str(n), "v" * 5000, FAR)
        print(n, flush=True)
        n += 1

asyncio.run(main())
"""

# The child's second write comes after the parent, who opened the file first, has closed it.
FORK = """
asyncio.run(backend.put("before", "v", FAR))
to_child, to_parent = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    asyncio.run(backend.put("child 1", "v", FAR))
    os.write(to_parent[1], b"x")
    os.read(to_child[0], 1)
    asyncio.run(backend.put("child 2", "v", FAR))
    sys.exit(0)
os.close(to_parent[1])
os.read(to_parent[0], 1)
asyncio.run(backend.put("parent", "v", FAR))
asyncio.run(backend.close())
os.write(to_child[1], b"x")
sys.exit(os.waitpid(child, 0)[1])
"""

ENDINGS = {
    "without closing": "asyncio.run(backend.put('a', 'v', FAR))",
    "after several loops": "for _ in range(3): asyncio.run(backend.put('a', 'v', FAR))",
    "in mid-statement": """
async def main():
    await backend.get("a")
    asyncio.ensure_future(backend.put("a", "v" * 100_000, FAR))
    await asyncio.sleep(0)
asyncio.run(main())
""",
    "while opening": """
async def main():
    asyncio.ensure_future(backend.put("a", "v", FAR))
    await asyncio.sleep(0)
asyncio.run(main())
""",
    "with a loop that nobody closed": """
loop = asyncio.new_event_loop()
loop.run_until_complete(backend.put("a", "v", FAR))
loop.close()
""",
    "after a failure": "asyncio.run(backend.put('a', 'v', FAR)); sys.exit(0)",
    "with the backend gone": "asyncio.run(backend.put('a', 'v', FAR)); del backend",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is, or will be."""
    return tmp_path / "store.db"


def test_processes_share_a_file_from_its_first_moment(path: Path) -> None:
    """Six processes make the file together, open and close it, and lose nothing."""
    run_together([start(WRITER, path, me) for me in range(6)])
    expected = sorted(f"{me}-{n}" for me in range(6) for n in range(50))

    async def scenario(backend: SQLite3Backend) -> None:
        assert await members(backend, "g") == expected
        for connection_id in expected:
            assert await backend.get(connection_id)
        await backend.close()

    asyncio.run(scenario(SQLite3Backend(path)))


def test_processes_lose_no_update(path: Path) -> None:
    """Four processes that read, change and retry leave all their changes."""
    backend = SQLite3Backend(path)
    asyncio.run(backend.put("counter", "0", FAR))
    run_together([start(INCREMENTER, path) for _ in range(4)])
    record = asyncio.run(backend.get("counter"))
    asyncio.run(backend.close())
    assert record is not None
    assert record.value == "80"


def test_a_killed_process_leaves_a_usable_file(path: Path) -> None:
    """What a killed process had finished writing is there, and others can write."""
    process = start(ENDLESS_WRITER, path)
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_shares_the_file(path: Path) -> None:
    """Parent and child go on, and neither loses what the other has written."""
    # From Python 3.12 on a fork warns of any thread, also of one that is just ending.
    flags = ("-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning")
    assert finish(start(FORK, path, flags=flags)) == (0, "", "")

    async def scenario(backend: SQLite3Backend) -> None:
        for connection_id in ("before", "child 1", "parent", "child 2"):
            assert await backend.get(connection_id)
        await backend.close()

    asyncio.run(scenario(SQLite3Backend(path)))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_ends_by_itself(path: Path, ending: str) -> None:
    """A script that closes nothing ends at once, without a word."""
    process = start(ENDINGS[ending], path, flags=("-X", "dev", "-W", "error"))
    assert finish(process) == (0, "", "")


def test_the_last_process_leaves_one_file(path: Path) -> None:
    """Coming to an end closes the database: nothing stays in a write-ahead log."""
    assert finish(start(ENDINGS["without closing"], path)) == (0, "", "")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def start(script: str, *arguments: object, flags: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start Python on a script that has a `backend`."""
    return subprocess.Popen(
        [sys.executable, *flags, "-c", PREAMBLE + script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a process; return its status, output and errors."""
    output, errors = process.communicate(timeout=50)
    return process.returncode, output, errors


def run_together(processes: list[subprocess.Popen[str]]) -> None:
    """Let processes begin at the same time once each of them is ready, and end without errors."""
    for process in processes:
        assert read_line(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [finish(process) for process in processes] == [(0, "", "")] * len(processes)


def read_line(process: subprocess.Popen[str]) -> str:
    """Read one line of a process's output."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
