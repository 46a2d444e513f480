"""Fixtures for the tests of the local gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from longwire.local.server.server import LocalGateway
from tests.local.fakes import RecordingFunction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def function() -> RecordingFunction:
    return RecordingFunction()


@pytest.fixture
async def gateway(function: RecordingFunction) -> AsyncIterator[LocalGateway]:
    async with LocalGateway(function) as gateway:
        yield gateway
