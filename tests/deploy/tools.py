"""The tools of others that these tests run, and the environment that they run in.

A tool that this machine has not got skips the tests that need it, with the reason; with
LONGWIRE_TEST_DEPLOY=all in the environment (as in CI) it fails them.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.emulators.npm import installed
from tests.servers.aws import KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-deploy"
REGION = "us-east-1"
CDK = {"aws-cdk": "2.1148.1"}
# All that a tool of AWS's may do is against the emulator, and it tells nobody.
QUIET = {
    **KEYS,
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "SAM_CLI_TELEMETRY": "0",
    "CDK_DISABLE_CLI_TELEMETRY": "true",
    "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
PYTHON_OF_FUNCTIONS = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCHITECTURE = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"


def lacking(tool: str, reason: str) -> NoReturn:
    """Skip or fail the tests of a tool that cannot be had."""
    text = f"no {tool}: {reason}"
    if os.environ.get("LONGWIRE_TEST_DEPLOY") == "all":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def tool(name: str) -> str:
    """Return the path of a program of .venv-deploy."""
    path = VENV / "bin" / name
    return str(path) if path.exists() else lacking(name, "`make deploy-test` installs it")


def cdk() -> list[str]:
    """Return the command of CDK, which comes from npm."""
    if (node := shutil.which("node")) is None or shutil.which("npm") is None:
        lacking("cdk", "node and npm are not on the PATH")
    try:
        modules = installed("aws-cdk", CDK)
    except (subprocess.SubprocessError, OSError) as error:
        lacking("cdk", f"npm cannot install it: {error}")
    return [node, str(modules / "aws-cdk" / "bin" / "cdk")]


def run(command: list[str], folder: Path, environ: Mapping[str, str] | None = None) -> str:
    """Run a tool in a folder; return what it says."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**_environ(folder), **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}"
    return done.stdout


def _environ(folder: Path) -> dict[str, str]:
    """Return this one without anybody's account, and with the programs of .venv-deploy first."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    path = os.pathsep.join([str(VENV / "bin"), os.environ["PATH"]])
    return {**ours, **QUIET, "PATH": path, "HOME": str(folder)}


def asked_for() -> None:
    """Skip a module unless `make deploy-test` runs it."""
    if not os.environ.get("LONGWIRE_TEST_DEPLOY"):
        pytest.skip("make deploy-test runs these", allow_module_level=True)
