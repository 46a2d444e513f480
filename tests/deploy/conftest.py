"""One emulator and one stack for each tool; they are deployed once for all the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.deploy import building
from tests.deploy.emulator import ministack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.deploy.emulator import Emulator, Stack

DEPLOY = {"sam": building.deploy_sam, "cdk": building.deploy_cdk}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Longwire from the working tree, for pip to find."""
    return building.wheel(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An AWS of its own."""
    with ministack(tmp_path_factory.mktemp("ministack")) as running:
        yield running


@pytest.fixture(scope="session", params=DEPLOY)
def deployed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    wheels: Path,
    emulator: Emulator,
) -> Stack:
    """A stack of each tool, as the tool has made it."""
    folder = tmp_path_factory.mktemp(request.param) / "app"
    stack = DEPLOY[request.param](folder, f"deploy-{request.param}", wheels, emulator)
    stack.complete()
    return stack


@pytest.fixture(scope="session")
def stack(deployed: Stack) -> Stack:
    """The same, with the function posting to the emulator."""
    deployed.turn_to_the_emulator()
    return deployed
