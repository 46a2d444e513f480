"""Each test begins as a process that has been told nothing."""

from __future__ import annotations

import pytest

from longwire.asgi.hints.hints import decided


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    decided.clear()
