"""The DynamoDB store keeps the contract on a third server that others wrote: npm's dynalite."""

from __future__ import annotations

import asyncio
import os
import uuid
from typing import TYPE_CHECKING

import pytest

from longwire_backends.dynamodb import DynamoDBBackend
from tests.backends.contract import BackendContract, OpenBackend
from tests.emulators.npm import installed, program
from tests.servers.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

if os.environ.get("LONGWIRE_TEST_EMULATORS") != "1":
    pytest.skip("make emulators runs these", allow_module_level=True)

# The first run installs it.
pytestmark = pytest.mark.timeout(400)

NAME = "dynalite"
PACKAGES = {NAME: "4.0.0"}


@pytest.fixture(scope="module")
def dynalite() -> Iterator[ServerProcess]:
    """One server for all tests; each uses a table of its own."""
    command = [program(NAME, "node"), str(installed(NAME, PACKAGES) / NAME / "cli.js")]
    command += ["--host", "127.0.0.1", "--port", "{port}", "--createTableMs", "0"]
    server = ServerProcess(command)
    try:
        server.start()
        yield server
    finally:
        server.close()


class TestDynamoDBBackend(BackendContract):
    """As a server understands DynamoDB that is not made of Python."""

    sweeps = False
    checks_gaps = False

    @pytest.fixture
    def open_backend(self, dynalite: ServerProcess, aws_keys: None) -> OpenBackend:
        """Open the same table each time."""
        table = f"t-{uuid.uuid4().hex}"
        asyncio.run(DynamoDBBackend(table, endpoint_url=dynalite.url).create())
        return lambda clock: DynamoDBBackend(table, endpoint_url=dynalite.url, clock=clock)
