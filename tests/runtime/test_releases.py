"""What is read of `awslambdaric` (`runtime/waiting.py`), under each of its releases that counts.

They have to be installed, so this runs only if asked to: `make runtimes`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if os.environ.get("LONGWIRE_TEST_RUNTIMES") != "1":
    pytest.skip("make runtimes runs these", allow_module_level=True)

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
# The first and the last of each line that Lambda's Python 3.11 to 3.14 have come with.
RELEASES = ["==3.0.0", "==3.1.1", "==4.0.0", "==4.0.4", ""]
TESTS = ["waiting", "passed_events", "held_back", "after_response", "extension_api"]


def _python(*arguments: str, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release[2:] or "newest")
def test_a_release_of_the_runtime(release: str) -> None:
    """It goes ahead of the one that is installed."""
    folder = str(ROOT / ".runtimes" / (release[2:] or "newest"))
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    _python(*pip, "--target", folder, f"awslambdaric{release}")
    environ = {"PYTHONPATH": folder, "LONGWIRE_TEST_RUNTIMES": ""}
    assert folder in _python("-c", "import awslambdaric as it; print(it.__file__)", environ=environ)
    files = [f"tests/runtime/test_{name}.py" for name in TESTS]
    _python("-m", "pytest", "-q", "-p", "no:cacheprovider", *files, environ=environ)
