"""Fixtures that every test may use."""

import pytest

from tests.local.signers import NAMES

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
