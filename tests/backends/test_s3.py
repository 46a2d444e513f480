"""The S3 store keeps the contract, and what is its own."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest

from longwire_backends.s3 import S3Backend
from tests.backends.contract import BackendContract, OpenBackend

if TYPE_CHECKING:
    from tests.servers.process import ServerProcess

FAR = 1 << 40


def new_bucket(server: ServerProcess) -> str:
    """Create an empty bucket and return its name."""
    name = f"b-{uuid.uuid4().hex}"
    asyncio.run(S3Backend(name, endpoint_url=server.url).create())
    return name


class _Contract(BackendContract):
    tested_limit = 1000

    @pytest.fixture
    def server(self) -> ServerProcess:
        """The server that has the bucket."""
        raise NotImplementedError

    @pytest.fixture
    def open_backend(self, server: ServerProcess, aws_keys: None) -> OpenBackend:
        """Open the same bucket each time."""
        bucket = new_bucket(server)
        return lambda clock: S3Backend(
            bucket, prefix="pre/fix", endpoint_url=server.url, clock=clock
        )


class TestWithMoto(_Contract):
    """As moto understands S3."""

    crowd = 200  # moto takes 3 ms for each request

    @pytest.fixture
    def server(self, moto: ServerProcess) -> ServerProcess:
        return moto


class TestWithMinistack(_Contract):
    """As ministack understands S3."""

    @pytest.fixture
    def server(self, ministack: ServerProcess) -> ServerProcess:
        return ministack
