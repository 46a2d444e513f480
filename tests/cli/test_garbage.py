"""How often the garbage collector looks while `longwire dev` serves."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from longwire.cli.garbage import COLLECTED_AT, collect_rarely

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.parametrize(("limit", "expected"), [(700, COLLECTED_AT), (50_000, 50_000), (0, 0)])
def test_an_app_that_has_its_own_limit_keeps_it(limit: int, expected: int) -> None:
    """Also one that has turned the collector off."""
    gc.set_threshold(limit)
    collect_rarely()
    assert gc.get_threshold()[0] == expected
