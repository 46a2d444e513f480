"""The DynamoDB and the S3 store among processes, forks and event loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.backends.processes import ProcessContract
from tests.backends.test_dynamodb import new_table
from tests.backends.test_s3 import new_bucket

if TYPE_CHECKING:
    from tests.servers.process import ServerProcess


class TestDynamoDB(ProcessContract):
    """On a table of ministack."""

    @pytest.fixture
    def source(self, ministack: ServerProcess, aws_keys: None) -> str:
        return (
            "from longwire_backends.dynamodb import DynamoDBBackend\n"
            f"backend = DynamoDBBackend({new_table(ministack)!r}, endpoint_url={ministack.url!r})"
        )


class TestS3(ProcessContract):
    """On a bucket of ministack."""

    @pytest.fixture
    def source(self, ministack: ServerProcess, aws_keys: None) -> str:
        return (
            "from longwire_backends.s3.backend import S3Backend\n"
            f"backend = S3Backend({new_bucket(ministack)!r}, endpoint_url={ministack.url!r})"
        )
