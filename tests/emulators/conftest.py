"""The emulators that the tests of this folder run in, and what the run says about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.emulators.differs import AWS, DIFFERS
from tests.emulators.emulator import OBSERVED
from tests.emulators.ministack import ministack
from tests.emulators.offline import offline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.emulators.emulator import Emulator

EMULATORS = {"ministack": ministack, "serverless-offline": offline}


@pytest.fixture(scope="session", params=EMULATORS)
def emulator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Emulator]:
    """Each emulator in turn, one for all the conversations."""
    with EMULATORS[request.param](tmp_path_factory.mktemp("emulator")) as running:
        yield running


@pytest.fixture(params=EMULATORS)
def own_emulator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Emulator]:
    """Each emulator in turn, one for a test that may break it."""
    with EMULATORS[request.param](tmp_path) as running:
        yield running


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """List where the emulators that were observed differ from AWS."""
    for emulator in config.stash.get(OBSERVED, []):
        terminalreporter.section(f"{emulator.name} {emulator.version} differs from AWS", sep="-")
        for about, instead in DIFFERS[emulator.name].items():
            terminalreporter.write_line(f"{about}: {instead!r} (AWS: {AWS[about]!r})")
