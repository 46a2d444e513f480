"""The DynamoDB and the S3 store among processes, forks and event loops."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import pytest

from longwire_backends.base import Record
from longwire_backends.dynamodb import DynamoDBBackend
from longwire_backends.s3 import S3Backend
from tests.backends.contract import members
from tests.backends.test_dynamodb import new_table
from tests.backends.test_s3 import new_bucket
from tests.backends.test_sqlite3_processes import finish, read_line, run_together
from tests.servers import unavailable

if TYPE_CHECKING:
    from longwire_backends.base import Backend
    from tests.servers.process import ServerProcess

FAR = 1 << 40

PREAMBLE = """
import asyncio, os, sys
from longwire_backends.dynamodb import DynamoDBBackend
from longwire_backends.s3 import S3Backend
FAR = 1 << 40
kind = {"dynamodb": DynamoDBBackend, "s3": S3Backend}[sys.argv[1]]
backend = kind(sys.argv[2], endpoint_url=sys.argv[3])

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
asyncio.run(main(sys.argv[4]))
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

# The child's first request comes while the parent has a connection that is kept alive.
FORK = """
async def both(me):
    await backend.put(me, me, FAR)
    return (await backend.get("before")).value

with asyncio.Runner() as runner:
    runner.run(backend.put("before", "v", FAR))
    child = os.fork()
    if child == 0:
        os._exit(0 if asyncio.run(both("child")) == "v" else 1)
    assert runner.run(both("parent")) == "v"
    assert os.waitpid(child, 0)[1] == 0
    assert runner.run(both("parent")) == "v"
    runner.run(backend.close())
"""

ENDINGS = {
    "without closing": "asyncio.run(backend.put('a', 'v', FAR))",
    "after several loops": "for _ in range(3): asyncio.run(backend.put('a', 'v', FAR))",
    "in mid-request": """
async def main():
    await backend.get("a")
    asyncio.ensure_future(backend.put("a", "v" * 100_000, FAR))
    await asyncio.sleep(0)
asyncio.run(main())
""",
}


class Store(NamedTuple):
    """An empty store: what a process has to know of it."""

    kind: str
    name: str
    url: str

    def open(self) -> Backend:
        kind = DynamoDBBackend if self.kind == "dynamodb" else S3Backend
        return kind(self.name, endpoint_url=self.url)

    def start(
        self, script: str, *arguments: str, flags: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        """Start Python on a script that has a `backend`."""
        return subprocess.Popen(
            [sys.executable, *flags, "-c", PREAMBLE + script, *self, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(params=["dynamodb", "s3"])
def store(request: pytest.FixtureRequest, ministack: ServerProcess, aws_keys: None) -> Store:
    """An empty table or bucket of ministack."""
    create = {"dynamodb": new_table, "s3": new_bucket}[request.param]
    return Store(request.param, create(ministack), ministack.url)


def test_processes_lose_nothing_that_they_write(store: Store) -> None:
    """What two processes write at the same time, a third finds."""
    run_together([store.start(WRITER, me) for me in ("a", "b")])
    expected = sorted(f"{me}-{n}" for me in ("a", "b") for n in range(20))

    async def scenario(backend: Backend) -> None:
        assert sorted(await members(backend, "g")) == expected
        for connection_id in expected:
            assert await backend.get(connection_id)
        await backend.close()

    asyncio.run(scenario(store.open()))


def test_processes_lose_no_update(store: Store) -> None:
    """Two processes that read, change and retry leave all their changes."""
    backend = store.open()
    asyncio.run(backend.put("counter", "0", FAR))
    run_together([store.start(INCREMENTER) for _ in range(2)])
    record = asyncio.run(backend.get("counter"))
    asyncio.run(backend.close())
    assert record is not None
    assert record.value == "40"


def test_of_takers_in_two_processes_one_wins(store: Store) -> None:
    """Ten in each of them try, and nobody else gets the record."""
    if store.kind == "s3" and version("ministack").startswith("1.4."):
        # It says of a conditional delete of what is gone that it has been done; S3 says 404.
        unavailable("S3", "pip install 'ministack>=1.5'")
    backend = store.open()
    asyncio.run(backend.put("a", "v", FAR))
    processes = [store.start(TAKER) for _ in range(2)]
    for process in processes:
        assert read_line(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outcomes = sorted(finish(process) for process in processes)
    assert outcomes == [(0, "['v']\n", ""), (0, "[]\n", "")]
    assert asyncio.run(backend.get("a")) is None
    asyncio.run(backend.close())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_shares_the_store(store: Store) -> None:
    """Parent and child go on, each on a connection of its own."""
    # From Python 3.12 on a fork warns of any thread, also of one that is just ending.
    flags = ("-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning")
    assert finish(store.start(FORK, flags=flags)) == (0, "", "")

    async def scenario(backend: Backend) -> None:
        for connection_id in ("before", "child", "parent"):
            assert await backend.get(connection_id)
        await backend.close()

    asyncio.run(scenario(store.open()))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_ends_by_itself(store: Store, ending: str) -> None:
    """A script that closes nothing ends at once, without a word."""
    process = store.start(ENDINGS[ending], flags=("-X", "dev", "-W", "error"))
    assert finish(process) == (0, "", "")


def test_one_backend_on_several_event_loops(store: Store) -> None:
    """One after the other, with and without closing in between."""
    backend = store.open()
    written = asyncio.run(backend.put("a", "v", FAR))
    for close in (False, True, False):
        assert asyncio.run(backend.get("a")) == Record("v", written, FAR)
        if close:
            asyncio.run(backend.close())
    assert asyncio.run(backend.take("a")) == Record("v", written, FAR)
    asyncio.run(backend.close())
