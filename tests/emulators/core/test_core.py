"""One script of events, run on AWS's own Lambda core and on that of `longwire dev`.

The first is built with Go, and some steps wait for a function's time to be up, so this runs only if
asked to: `make emulators`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.emulators.core.dev import dev
from tests.emulators.core.facts import FACTS
from tests.emulators.core.rie import rie
from tests.emulators.core.script import observe

if TYPE_CHECKING:
    from pathlib import Path

    from tests.emulators.core.core import RunCore

if os.environ.get("LONGWIRE_TEST_EMULATORS") != "1":
    pytest.skip("make emulators runs these", allow_module_level=True)

# The first run builds the emulator.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]


async def test_the_core_of_aws(tmp_path: Path) -> None:
    """Lambda's own core and runtime, with everything that Longwire relies on."""
    await _check("aws-lambda-rie", rie, tmp_path)


async def test_the_core_of_longwire_dev(tmp_path: Path) -> None:
    """It does the same, but for what is listed with a reason."""
    await _check("longwire dev", dev, tmp_path)


async def _check(name: str, run: RunCore, folder: Path) -> None:
    observed = await observe(run, folder)
    assert observed == FACTS[name]
