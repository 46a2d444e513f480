"""Emulators that come from npm."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.emulators.emulator import cache
from tests.servers import unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INSTALL_TIMEOUT = 300.0  # seconds


def installed(emulator: str, packages: Mapping[str, str]) -> Path:
    """Return the folder of an emulator's packages, installed if they are not there yet."""
    folder = cache() / emulator
    modules = folder / "node_modules"
    if {name: _version(modules / name) for name in packages} != packages:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        # A plugin's peer may be another framework, which would be installed as well.
        command = [program(emulator, "npm"), "install", "--legacy-peer-deps", "--no-package-lock"]
        command += ["--no-audit", "--no-fund", "--ignore-scripts"]
        command += [f"{name}@{version}" for name, version in packages.items()]
        subprocess.run(command, cwd=folder, check=True, timeout=INSTALL_TIMEOUT)
    return modules


def program(emulator: str, name: str) -> str:
    """Return the path of a program that an emulator needs."""
    return shutil.which(name) or unavailable(emulator, f"{name} is not on the PATH")


def _version(package: Path) -> str | None:
    try:
        version: str = json.loads((package / "package.json").read_text())["version"]
    except FileNotFoundError:
        return None
    return version
