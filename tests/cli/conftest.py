"""A directory with the modules that `longwire dev` is given."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.apps import AUTHORIZER_APP, CLI_APP, SIGNING_APP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    modules = {"cli_app": CLI_APP, "authorizer_app": AUTHORIZER_APP, "signing_app": SIGNING_APP}
    for name, source in modules.items():
        (tmp_path / f"{name}.py").write_text(source)
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    for name in modules:
        sys.modules.pop(name, None)
