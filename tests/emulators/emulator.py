"""What the tests know of an emulator, and what both of them deploy."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

import longwire
import longwire_aws
import longwire_backends

if TYPE_CHECKING:
    from types import ModuleType

APPS = Path(__file__).with_name("apps.py")
HANDLER = "apps.handler"
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
TIMEOUT = 15  # seconds for one event
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Emulator:
    """A running emulator with the function deployed.

    Attributes:
        name: of its package, as in `DIFFERS`.
        version: of what is running.
        url: where clients connect.
        management_url: what `/@connections/...` is appended to.
    """

    name: str
    version: str
    url: str
    management_url: str

    def at(self, path: str, **query: str) -> str:
        """Return the URL at which a client reaches the app's path."""
        return f"{self.url}/?{urlencode({'path': path, **query})}"


# Those whose differences from AWS were found to be as listed.
OBSERVED = pytest.StashKey[list[Emulator]]()


def cache() -> Path:
    """Return the folder of what is fetched or built once."""
    return Path(os.environ.get("LONGWIRE_EMULATORS") or ROOT / ".emulators")


def bundle(folder: Path) -> Path:
    """Put the function into a folder as a Lambda bundle would have it; return that folder.

    Starlette is the interpreter's own, as if it came with a layer.
    """
    folder.mkdir()
    shutil.copy(APPS, folder)
    for package in (longwire, longwire_backends, longwire_aws):
        _copy(package, folder)
    return folder


def _copy(package: ModuleType, folder: Path) -> None:
    assert package.__file__ is not None
    source = Path(package.__file__).parent
    shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
