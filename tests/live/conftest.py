"""An emulator of AWS for the tests of what finds, asks and removes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.tools import QUIET, ROOT
from tests.live.account import Account, find_account
from tests.servers import unavailable
from tests.servers.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What ministack calls its only account.
NUMBER = "000000000000"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run all of ministack; the one that other tests share has three services."""
    if importlib.util.find_spec("ministack") is None:
        unavailable("AWS", "pip install ministack")
    folder = tmp_path_factory.mktemp("ministack")
    environ = {"GATEWAY_PORT": "{port}", "LOG_LEVEL": "ERROR", "TMPDIR": str(folder)}
    server = ServerProcess([sys.executable, "-m", "ministack"], environ)
    server.start()
    yield server.url
    server.close()


@pytest.fixture
def environ(emulator: str) -> dict[str, str]:
    """An environment with the emulator as somebody's account, and the word that is needed."""
    return {**without_aws(), **QUIET, "AWS_ENDPOINT_URL": emulator, "LIVE": "yes"}


@pytest.fixture
def account(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Account:
    """The emulator's account."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return find_account()


def without_aws() -> dict[str, str]:
    """Return this environment without anybody's account."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    ours.pop("LIVE", None)
    return {**ours, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def live(environ: dict[str, str], *options: str, said: str = "", **more: Any) -> tuple[int, str]:
    """Run `python -m tests.live`; return its exit code and all that it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.live", *options],
        cwd=ROOT,
        env={**environ, "AWS_EC2_METADATA_DISABLED": "true"},
        input=said,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,
    )
    return done.returncode, done.stdout


def make_leftovers(account: Account, name: str, folder: Path) -> None:
    """Make what a run that was killed has left: a stack, and what a stack may leave behind."""
    stacks = account.client("cloudformation")
    body = '{"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}'
    tags = [{"Key": "longwire-live", "Value": name}]
    stacks.create_stack(StackName=name, TemplateBody=body, Tags=tags)
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    buckets = account.client("s3")
    buckets.create_bucket(Bucket=f"{name}-code")
    enabled = {"Status": "Enabled"}
    buckets.put_bucket_versioning(Bucket=f"{name}-code", VersioningConfiguration=enabled)
    for body in ("one", "two"):
        buckets.put_object(Bucket=f"{name}-code", Key="code.zip", Body=body.encode())
    account.client("dynamodb").create_table(
        TableName=f"{name}-Connections-1",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    for group in (f"/aws/lambda/{name}-Function-1", f"{name}-Logs-1"):
        account.client("logs").create_log_group(logGroupName=group)
