"""DynamoDB, S3 and SQS over HTTP, by two implementations: moto's server and ministack."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers import unavailable
from tests.servers.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-secret"}

_COMMANDS = {
    "moto": [sys.executable, "-P", str(Path(__file__).with_name("moto_server.py")), "{port}"],
    "ministack": [sys.executable, "-m", "ministack"],
}


def aws_server(kind: str) -> ServerProcess:
    """Make a server, yet to be started, of either kind."""
    if importlib.util.find_spec(kind) is None:
        unavailable("AWS", f"pip install {kind}")
    environ = {"GATEWAY_PORT": "{port}", "LOG_LEVEL": "ERROR", "SERVICES": "dynamodb,s3,sqs"}
    return ServerProcess(_COMMANDS[kind], environ)


def _running(kind: str) -> Iterator[ServerProcess]:
    server = aws_server(kind)
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def moto() -> Iterator[ServerProcess]:
    """One moto server for all tests; each uses names of its own."""
    yield from _running("moto")


@pytest.fixture(scope="session")
def ministack() -> Iterator[ServerProcess]:
    """One ministack for all tests; each uses names of its own."""
    yield from _running("ministack")


@pytest.fixture
def aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have keys in the environment, and no other setting of AWS's."""
    for name in ("SESSION_TOKEN", "PROFILE", "REGION", "DEFAULT_REGION", "ENDPOINT_URL"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
