"""Fixtures that every test may use."""

import sys
import traceback

import pytest

from tests.local.signers import NAMES

if sys.version_info < (3, 12):
    # Python 3.11 parses a line to print it in a traceback. Whoever parses a file meanwhile, as
    # pytest does, gets a SystemError: it is enough that the collector finds a task whose error
    # nobody asked for.
    vars(traceback)["_extract_caret_anchors_from_line_segment"] = lambda _: None

# Elsewhere than in test modules, assertions say what was wrong only if asked to.
pytest.register_assert_rewrite("tests.backends.processes", "tests.backends.contract")

pytest_plugins = ["tests.servers.redis", "tests.servers.postgresql", "tests.servers.aws"]


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio: Longwire is built on it."""
    return "asyncio"


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without keys, whatever this machine has."""
    for name in (*NAMES, "AWS_PROFILE", "WS_MANAGEMENT_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
