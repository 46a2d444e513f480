"""What is deployed: the code, its templates, and `sam deploy`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import longwire
import longwire_aws
import longwire_backends
from longwire.deploy import sam
from longwire.deploy.plan import Plan, check
from tests.live import extras
from tests.live.account import TAG, CannotError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from longwire.deploy.plan import Architecture, Python
    from tests.live.account import Account

ROOT = Path(__file__).parents[2]
SAM = ROOT / ".venv-deploy" / "bin" / "sam"
APP = Path(__file__).parent / "app"
# The modules of tests/parity/frameworks, and what they need on Lambda.
FRAMEWORKS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "starlettes": ("starlette", "itsdangerous"),
    "fastapis": ("fastapi", "itsdangerous"),
    "litestars": ("litestar",),
    "quarts": ("quart",),
    "django_channels": ("django", "channels"),
}
# What the conversations need with any framework.
_ALWAYS = ("anyio",)
_PLATFORM = {"arm64": "manylinux2014_aarch64", "x86_64": "manylinux2014_x86_64"}
_MAIN = """\
import os

os.environ.setdefault("PARITY_FRAMEWORKS", "{frameworks}")
os.environ.setdefault("PARITY_HEARD", "/tmp/heard")

from probe import handler
"""


def write(folder: Path, name: str, frameworks: Sequence[str], wanted: extras.Extras) -> None:
    """Write the code with all that it needs, and the two templates, into a folder."""
    code = folder / "code"
    code.mkdir(parents=True)
    _install(code, frameworks, wanted)
    for package in (longwire, longwire_backends, longwire_aws):
        _copy_package(package, code)
    (code / "main.py").write_text(_MAIN.format(frameworks=",".join(frameworks)))
    for module in ("probe.py", "ending.py"):
        shutil.copy(APP / module, code)
    _copy_parity(code)
    python: Python = wanted.python  # type: ignore[assignment]  # `check` sees to it
    architecture: Architecture = wanted.architecture  # type: ignore[assignment]  # likewise
    plan = Plan(name, "main.handler", python=python, architecture=architecture, code="code")
    (folder / "template.yaml").write_text(sam.render(check(plan))["template.yaml"])
    (folder / "extras.json").write_text(json.dumps(extras.template(wanted), indent=2))


def _install(code: Path, frameworks: Sequence[str], wanted: extras.Extras) -> None:
    """Install what the frameworks need, in the versions that uvicorn serves here."""
    names = {package for framework in frameworks for package in FRAMEWORKS[framework]}
    packages = [f"{name}=={metadata.version(name)}" for name in sorted(names | {*_ALWAYS})]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--target", str(code), "--only-binary", ":all:", "--implementation", "cp"]
    command += ["--python-version", wanted.python, "--platform", _PLATFORM[wanted.architecture]]
    done = subprocess.run([*command, *packages], capture_output=True, text=True)
    if done.returncode:
        raise CannotError(f"pip cannot install {', '.join(packages)}: {_end(done.stderr)}")


def _copy_package(package: ModuleType, code: Path) -> None:
    assert package.__file__ is not None
    source = Path(package.__file__).parent
    shutil.copytree(source, code / source.name, ignore=shutil.ignore_patterns("__pycache__"))


def _copy_parity(code: Path) -> None:
    here, there = ROOT / "tests", code / "tests"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(here / "parity/frameworks", there / "parity/frameworks", ignore=ignore)
    for module in ("__init__.py", "parity/__init__.py"):
        shutil.copy(here / module, there / module)


def make_bucket(account: Account, name: str) -> None:
    """Make the bucket that the code goes through."""
    client = account.client("s3")
    where = {"CreateBucketConfiguration": {"LocationConstraint": account.region}}
    client.create_bucket(Bucket=name, **(where if account.region != "us-east-1" else {}))
    client.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": TAG, "Value": name}]})


def deploy(account: Account, name: str, template: Path, bucket: str) -> None:
    """Deploy a template with SAM, and wait until it is there."""
    if not SAM.exists():
        raise CannotError(f"SAM is not there: make {SAM.parents[1].name}/installed")
    command = [str(SAM), "deploy", "--template-file", template.name, "--stack-name", name]
    command += ["--s3-bucket", bucket, "--s3-prefix", name, "--region", account.region]
    command += ["--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    command += ["--no-confirm-changeset", "--no-progressbar", "--tags", f"{TAG}={name}"]
    done = subprocess.run(
        command,
        cwd=template.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise CannotError(f"sam deploy of {name} failed: {_end(done.stdout)}")


def _end(text: str) -> str:
    return " / ".join(line.strip() for line in text.strip().splitlines()[-6:])
