"""What a cold start loads: only what its configuration needs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

OTHERS = {
    "aiosqlite",
    "boto3",
    "botocore",
    "fastapi",
    "h11",
    "httpx",
    "mangum",
    "psycopg2",
    "redis",
    "starlette",
    "watchfiles",
    "websockets",
}

CONSTRUCT = """
import asyncio, ssl, sys
from longwire import Longwire

async def app(scope, receive, send):
    pass

Longwire(app, dsn=sys.argv[1])
print(*{name.partition(".")[0] for name in sys.modules})
"""


def _run(code: str, *arguments: str) -> str:
    # With its bytecode cached, as in a Lambda bundle; measuring coverage would load more.
    environ = {name: value for name, value in os.environ.items() if "COV" not in name}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    environ["AWS_REGION"] = "eu-west-1"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("dsn", "drivers"),
    [
        ("memory://", set()),
        ("sqlite:////tmp/never-made.sqlite3", {"aiosqlite"}),
        ("redis://localhost", {"redis"}),
        ("postgresql://localhost/d", {"psycopg2"}),
        ("dynamodb://ttt", set()),
        ("s3://bbb", set()),
    ],
)
def test_a_handler_loads_only_the_driver_of_its_store(dsn: str, drivers: set[str]) -> None:
    """Neither an SDK nor a framework, nor another store's driver."""
    assert OTHERS.intersection(_run(CONSTRUCT, dsn).split()) == drivers


def _cpu(code: str, *arguments: str) -> float:
    """Return the seconds of CPU that an interpreter takes for this."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(code, *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_handler_costs_less_than_asyncio_and_ssl() -> None:
    """Importing and constructing it, together with those two, takes less than twice their time."""
    pairs = [(_cpu("import asyncio, ssl"), _cpu(CONSTRUCT, "dynamodb://ttt")) for _ in range(6)]
    # The least is what the work takes; whatever is above it is the machine's.
    base, ours = (min(times) for times in zip(*pairs, strict=True))
    assert ours < 2 * base
