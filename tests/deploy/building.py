"""From an app to a stack in the emulator, in the steps that a user takes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.deploy.emulator import Stack
from tests.deploy.tools import ARCHITECTURE, PYTHON_OF_FUNCTIONS, ROOT, cdk, run, tool
from tests.deploy.wheels import of_fastapi

if TYPE_CHECKING:
    from tests.deploy.emulator import Emulator

APP = Path(__file__).with_name("app") / "main.py"
# All that a template may have and the emulator runs; the domain is linted only.
OPTIONS = ["--sweep", "--fanout", "--logs", "--alarms"]
WITH_DOMAIN = [*OPTIONS, "--domain", "ws.example.com"]


def wheel(folder: Path) -> Path:
    """Build Longwire from the working tree; return the folder in which pip finds all there is."""
    of_fastapi(folder)
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], ROOT)
    return folder


def rendered(tool_name: str, folder: Path, name: str, *options: str) -> Path:
    """Write the app and the files of a template into a folder; return it."""
    folder.mkdir(parents=True)
    shutil.copy(APP, folder)
    command = [sys.executable, "-m", "longwire", "template", tool_name, "main:app"]
    into = "infra" if tool_name == "cdk" else "."
    command += ["--into", into, "--name", name, "--arch", ARCHITECTURE]
    run([*command, "--python", PYTHON_OF_FUNCTIONS, *options], folder)
    return folder


def deploy_sam(folder: Path, name: str, wheels: Path, emulator: Emulator) -> Stack:
    """Pack with `sam build`, deploy with `sam deploy`, as the template's own comment says."""
    rendered("sam", folder, name, *OPTIONS)
    run([tool("sam"), "build"], folder, _offline(wheels))
    command = [tool("sam"), "deploy", "--stack-name", name, "--resolve-s3"]
    command += ["--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"]
    run(command, folder, emulator.environ)
    return Stack(emulator, name)


def deploy_cdk(folder: Path, name: str, wheels: Path, emulator: Emulator) -> Stack:
    """Bootstrap and deploy with `cdk`, as the app's own comment says."""
    infra = rendered("cdk", folder, name, *OPTIONS) / "infra"
    environ = {**emulator.environ, **_offline(wheels)}
    run([*cdk(), "bootstrap"], infra, environ)
    run([*cdk(), "deploy", "--require-approval", "never"], infra, environ)
    return Stack(emulator, name)


def _offline(wheels: Path) -> dict[str, str]:
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
