"""The DynamoDB store keeps the contract, and what is its own."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest

from longwire_backends.dynamodb import DynamoDBBackend
from tests.backends.contract import BackendContract, OpenBackend

if TYPE_CHECKING:
    from tests.servers.process import ServerProcess

FAR = 1 << 40


def new_table(server: ServerProcess) -> str:
    """Create an empty table and return its name."""
    name = f"t-{uuid.uuid4().hex}"
    asyncio.run(DynamoDBBackend(name, endpoint_url=server.url).create())
    return name


class _Contract(BackendContract):
    sweeps = False

    @pytest.fixture
    def server(self) -> ServerProcess:
        """The server that has the table."""
        raise NotImplementedError

    @pytest.fixture
    def open_backend(self, server: ServerProcess, aws_keys: None) -> OpenBackend:
        """Open the same table each time."""
        table = new_table(server)
        return lambda clock: DynamoDBBackend(table, endpoint_url=server.url, clock=clock)


class TestWithMoto(_Contract):
    """As moto understands DynamoDB."""

    crowd = 500  # moto takes 2 ms for each request

    @pytest.fixture
    def server(self, moto: ServerProcess) -> ServerProcess:
        return moto


class TestWithMinistack(_Contract):
    """As ministack understands DynamoDB."""

    @pytest.fixture
    def server(self, ministack: ServerProcess) -> ServerProcess:
        return ministack
