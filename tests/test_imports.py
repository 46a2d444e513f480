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
        ("redis://localhost", set()),
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


# All that a process loads for the three events of a connection whose app says nothing. A new one is
# a decision: each takes about 0.2 ms of a cold start, and what is in it.
LOADED = """
apigateway apigateway.endpoint apigateway.events apigateway.frames
asgi asgi.due asgi.frames asgi.handshake asgi.inbox asgi.lifespan asgi.messages asgi.noise
asgi.quiescence asgi.run asgi.scope asgi.stage asgi.state asgi.tasks asgi.turns
asgi.values config config.backends config.dsn config.schema config.settings deadlines exceptions
handler invocation invocation.connect invocation.connection invocation.cut_off invocation.disconnect
invocation.ending invocation.find invocation.greeting invocation.invocation invocation.leaving
invocation.message invocation.outcome invocation.replies invocation.state invocation.tell
observability observability.event observability.logs observability.observer registry
registry.api_gateway registry.base registry.caller registry.departures registry.record
registry.store runtime runtime.after_response runtime.loop runtime.sigterm
"""
OF_STORES = {
    "longwire_aws",
    "longwire_aws.endpoints",
    "longwire_aws.timeouts",
    "longwire_aws.tuples",
    "longwire_backends",
    "longwire_backends.base",
    "longwire_backends.memory",
}


def _loads_in_events(of_python: str = "") -> set[str]:
    events = json.dumps([connect_event(), message_event("hi"), disconnect_event()])
    return set(_run(of_python + EVENTS, events).split())


def test_an_event_loads_only_what_it_passes() -> None:
    """Nobody pays for groups, queues, metrics, signed requests or the local gateway unasked."""
    loaded = {name for name in _loads_in_events() if "longwire" in name}
    known = {f"longwire.{name}" for name in LOADED.split()} | {"longwire"}
    assert loaded - OF_STORES <= known


HEAVY = {
    "dataclasses",
    "email",
    "encodings.idna",
    "http",
    "inspect",
    "logging.config",
    "pathlib",
    "pprint",
    "random",
    "tempfile",
    "unittest",
    "uuid",
    "zoneinfo",
}


def test_an_event_loads_nothing_heavy_of_python() -> None:
    """Beyond what asyncio loads, and what each app that speaks TLS does."""
    base = set(_run("import asyncio, ssl, sys\nprint(*sys.modules)").split())
    assert (_loads_in_events("import asyncio, ssl\n") - base) & HEAVY == set()


ON_LAMBDA = """
import os, sys
from longwire import Longwire
from longwire_aws.streams import default_tls_context

async def app(scope, receive, send):
    pass

endpoint, of_environment = sys.argv[1:]
os.environ.update(AWS_LAMBDA_RUNTIME_API="127.0.0.1:1", WS_MANAGEMENT_ENDPOINT=of_environment)
Longwire(app, ws_config={"backend": "memory", "api_gateway_endpoint_url": endpoint or None})
print(default_tls_context.cache_info().currsize)
"""


@pytest.mark.parametrize(
    ("endpoint", "of_environment", "read"),
    [
        ("", "", True),
        ("https://a.example/prod", "", True),
        ("http://127.0.0.1:1", "", False),
        ("", "http://127.0.0.1:1", False),
        ("", "no URL", False),
    ],
)
def test_on_lambda_certificates_are_read_before_the_first_event(
    endpoint: str, of_environment: str, read: bool
) -> None:
    """They take longer than the rest of it, but not where it speaks to an emulator."""
    assert int(_run(ON_LAMBDA, endpoint, of_environment)) == read


CONNECT = """
import asyncio, sys
from longwire_aws.streams import connect

for host in ("127.0.0.1", "localhost"):
    try:
        asyncio.run(connect(host, 1, tls=False))
    except OSError:
        pass
print(*sys.modules)
"""


def test_a_connection_does_not_load_what_names_beyond_ascii_take() -> None:
    assert {"encodings.idna", "stringprep"}.isdisjoint(_run(CONNECT).split())


# Prints the classes of ours that take longest to make.
SLOW = """
import dataclasses, enum, typing
slow = []
for name, module in [*sys.modules.items()]:
    for one in [*vars(module).values()] if name.startswith("longwire") else ():
        if isinstance(one, type) and one.__module__ == name:
            annotations = one.__dict__.get("__annotations__", {}).values()
            if (dataclasses.is_dataclass(one) or typing.ForwardRef in map(type, annotations)
                or vars(one).get("_is_protocol") or issubclass(one, enum.Enum)):
                slow.append(one)
print(slow)
"""


def test_what_each_event_loads_has_no_class_that_takes_long_to_make() -> None:
    """A dataclass takes 0.5 ms or more, a tuple of `typing` five times what one of ours takes.

    An enumeration takes 0.1 ms, and each look at a member five times that at a string. A protocol,
    of which only mypy knows what it is for, is one for `if TYPE_CHECKING`.
    """
    events = json.dumps([connect_event(), message_event("hi"), disconnect_event()])
    assert _run(EVENTS + SLOW, events).splitlines()[-1] == "[]"


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
    assert base < ours < 1.5 * base
