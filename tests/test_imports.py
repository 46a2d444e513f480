"""What a cold start loads: only what its configuration needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.lambda_events import connect_event, disconnect_event, message_event

OTHERS = {
    "boto3",
    "botocore",
    "fastapi",
    "h11",
    "httpx",
    "mangum",
    "psycopg",
    "psycopg2",
    "redis",
    "sqlite3",
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
        ("sqlite:////tmp/never-made.sqlite3", {"sqlite3"}),
        ("redis://localhost", {"redis"}),
        ("postgresql://localhost/d", {"psycopg2"}),
        ("dynamodb://ttt", set()),
        ("s3://bbb", set()),
    ],
)
def test_a_handler_loads_only_the_driver_of_its_store(dsn: str, drivers: set[str]) -> None:
    """Neither an SDK nor a framework, nor another store's driver."""
    assert OTHERS.intersection(_run(CONSTRUCT, dsn).split()) == drivers


EVENTS = """
import json, sys
from longwire import Longwire

async def app(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    await receive()

handler = Longwire(app, dsn="memory://")
for event in json.loads(sys.argv[1]):
    assert handler(event) == {"statusCode": 200}
print(*sys.modules)
"""


def test_an_event_loads_only_the_rooms_that_it_passes() -> None:
    """Nobody pays for groups, queues, metrics, signed requests or the local gateway unasked."""
    events = [connect_event(), message_event("hi"), disconnect_event()]
    loaded = {name for name in _run(EVENTS, json.dumps(events)).split() if "longwire" in name}
    folders = {"invocation", "asgi", "registry", "runtime", "observability", "config", "apigateway"}
    tops = {"deadlines", "exceptions", "handler", "types"}
    rooms = {name.split(".")[1] for name in loaded if name.startswith("longwire.")}
    assert rooms <= folders | tops
    assert loaded.isdisjoint(
        {
            "longwire.apigateway.management",
            "longwire.apigateway.responses",
            "longwire.apigateway.signing",
            "longwire.asgi.hints",
            "longwire.observability.metrics",
            "longwire.observability.tracing",
            "longwire.registry.in_process",
            "longwire.registry.standalone",
            "longwire.runtime.extension",
            "longwire.runtime.lambda_loop",
            "longwire.runtime.threads",
            "longwire_aws.http",
            "longwire_backends.sql",
        }
    )


# Prints the bytes of compiled code of all modules that are loaded.
SIZE = """
import marshal
loaded = [(name, getattr(module, "__spec__", None)) for name, module in sys.modules.items()]
codes = [spec.loader.get_code(spec.name) for _, spec in loaded if hasattr(spec, "loader")
         and hasattr(spec.loader, "get_code") and spec.name in sys.modules]
print(sum(len(marshal.dumps(code)) for code in codes if code is not None))
"""


def test_a_handler_costs_less_than_asyncio_and_ssl() -> None:
    """Importing and constructing it loads less code, with those two, than they do twice.

    How much is loaded is the same each time, and most of what an import costs hangs on it.
    """
    base = int(_run("import asyncio, ssl, sys" + SIZE))
    ours = int(_run(CONSTRUCT + SIZE, "dynamodb://ttt").splitlines()[-1])
    assert base < ours < 1.6 * base
