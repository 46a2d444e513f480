"""What every store must do when several processes use it. A store's test module subclasses it.

class TestProcesses(ProcessContract):
    @pytest.fixture
    def source(self) -> str:
        return "from my_store import MyBackend; backend = MyBackend(...)"
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any, ClassVar

import pytest

from longwire_backends.base import Backend, Record
from tests.backends.contract import members
from tests.complaints import complaints

FAR = 1 << 40

PREAMBLE = """
import asyncio, os, sys
FAR = 1 << 40

def wait():
    print("ready", flush=True)
    sys.stdin.readline()

"""

WRITER = """
async def main(me):
    for n in range(20):
        await backend.put(f"{me}-{n}", "v", FAR)
        await backend.group_add("g", f"{me}-{n}", FAR)
        if n % 5 == 0:
            await backend.close()

wait()
asyncio.run(main(sys.argv[1]))
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

wait()
asyncio.run(main())
"""

TAKER = """
async def main():
    taken = await asyncio.gather(*(backend.take("a") for _ in range(10)))
    print([record.value for record in taken if record])

wait()
asyncio.run(main())
"""

APPENDER = """
async def append(writer):
    position = 0
    for n in range(5):
        while True:
            position += len(await backend.journal("a", after=position))
            if await backend.append("a", position + 1, f"{writer} {n}", FAR):
                break

async def main(me):
    await asyncio.gather(append(f"{me} 1"), append(f"{me} 2"))

wait()
asyncio.run(main(sys.argv[1]))
"""

# The child uses the store while its parent has it open, and again when the parent has closed it.
FORK = """
to_child, to_parent = os.pipe(), os.pipe()
with asyncio.Runner() as runner:
    runner.run(backend.put("before", "v", FAR))
    child = os.fork()
    if child == 0:
        asyncio.run(backend.put("child 1", "v", FAR))
        os.write(to_parent[1], b"x")
        os.read(to_child[0], 1)
        asyncio.run(backend.put("child 2", "v", FAR))
        os._exit(0)
    os.close(to_parent[1])
    os.read(to_parent[0], 1)
    runner.run(backend.put("parent", "v", FAR))
    runner.run(backend.close())
    os.write(to_child[1], b"x")
    status = os.waitpid(child, 0)[1]
sys.exit(status)
"""

ENDINGS = {
    "without closing": "asyncio.run(backend.put('a', 'v', FAR))",
    "after several loops": "for _ in range(3): asyncio.run(backend.put('a', 'v', FAR))",
    "in mid-operation": """
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
    "with the backend gone": "asyncio.run(backend.put('a', 'v', FAR)); del backend",
}


class ProcessContract:
    """Subclass it, and override the fixture `source`."""

    # False where the driver warns of connections whose event loop is gone.
    silent: ClassVar[bool] = True

    @pytest.fixture
    def source(self) -> str:
        """Python code that makes `backend`, on this test's storage, which is empty at first."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self, source: str) -> Backend:
        """This process's own instance."""
        names: dict[str, Any] = {}
        exec(source, names)
        backend = names["backend"]
        assert isinstance(backend, Backend)
        return backend

    def test_processes_lose_nothing_that_they_write(self, source: str, backend: Backend) -> None:
        """Three begin together on empty storage, and a fourth finds all that they wrote."""
        run_together([start(source, WRITER, str(me)) for me in range(3)])
        expected = sorted(f"{me}-{n}" for me in range(3) for n in range(20))

        async def scenario() -> None:
            assert sorted(await members(backend, "g")) == expected
            for connection_id in expected:
                assert await backend.get(connection_id)
            await backend.close()

        asyncio.run(scenario())

    def test_processes_lose_no_update(self, source: str, backend: Backend) -> None:
        """Two that read, change and retry leave all their changes."""
        run(backend, backend.put("counter", "0", FAR))
        run_together([start(source, INCREMENTER) for _ in range(2)])
        record = run(backend, backend.get("counter"))
        assert record is not None
        assert record.value == "40"

    def test_of_takers_in_two_processes_one_wins(self, source: str, backend: Backend) -> None:
        """Ten in each of them try, and nobody else gets the record."""
        run(backend, backend.put("a", "v", FAR))
        processes = [start(source, TAKER) for _ in range(2)]
        release(processes)
        outcomes = sorted(finish(process) for process in processes)
        assert outcomes == [(0, "['v']\n", ""), (0, "[]\n", "")]
        assert run(backend, backend.get("a")) is None

    def test_two_processes_lose_no_entry(self, source: str, backend: Backend) -> None:
        """Each of four writers finds all of its own in the journal, in its order."""
        if not backend.keeps_journal():
            pytest.skip("this store keeps no journals")
        run_together([start(source, APPENDER, name) for name in ("p", "q")])
        entries = run(backend, backend.journal("a"))
        writers = [f"{name} {n}" for name in ("p", "q") for n in (1, 2)]
        assert sorted(entries) == [f"{writer} {n}" for writer in writers for n in range(5)]
        for writer in writers:
            own = [entry for entry in entries if entry.startswith(writer)]
            assert own == [f"{writer} {n}" for n in range(5)]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
    def test_a_fork_shares_the_store(self, source: str, backend: Backend) -> None:
        """Parent and child go on, and neither loses what the other has written."""
        # From Python 3.12 on a fork warns of any thread, also of one that is just ending.
        flags = (*self._flags, "-W", "ignore::DeprecationWarning")
        assert finish(start(source, FORK, flags=flags)) == (0, "", "")
        for connection_id in ("before", "child 1", "parent", "child 2"):
            assert run(backend, backend.get(connection_id))

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_process_ends_by_itself(self, source: str, ending: str) -> None:
        """A script that closes nothing ends at once, without a word."""
        assert finish(start(source, ENDINGS[ending], flags=self._flags)) == (0, "", "")

    def test_one_instance_on_several_event_loops(self, backend: Backend) -> None:
        """One after the other, closed in between."""
        version = run(backend, backend.put("a", "v", FAR))
        assert run(backend, backend.get("a")) == Record("v", version, FAR)
        assert run(backend, backend.take("a")) == Record("v", version, FAR)

    @property
    def _flags(self) -> tuple[str, ...]:
        return ("-X", "dev", "-W", "error") if self.silent else ()


def run(backend: Backend, operation: Any) -> Any:
    """Await one operation on an event loop of its own, and close the backend on it."""

    async def use() -> Any:
        try:
            return await operation
        finally:
            await backend.close()

    return asyncio.run(use())


def start(
    source: str, script: str, *arguments: str, flags: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """Start Python on a script that has a `backend`."""
    return subprocess.Popen(
        [sys.executable, *flags, "-c", f"{PREAMBLE}{source}\n{script}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a process; return its status, output and complaints."""
    output, errors = process.communicate(timeout=50)
    return process.returncode, output, complaints(errors)


def release(processes: list[subprocess.Popen[str]]) -> None:
    """Let processes begin at the same time, once each of them is ready."""
    for process in processes:
        assert read_line(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def run_together(processes: list[subprocess.Popen[str]]) -> None:
    """Let processes begin at the same time and end without errors."""
    release(processes)
    assert [finish(process) for process in processes] == [(0, "", "")] * len(processes)


def read_line(process: subprocess.Popen[str]) -> str:
    """Read one line of a process's output."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
