"""Fixtures that every test may use."""

import pytest

pytest_plugins = ["tests.servers.redis", "tests.servers.postgresql", "tests.servers.aws"]


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio: Longwire is built on it."""
    return "asyncio"
