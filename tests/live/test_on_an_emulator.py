"""`make live` as a whole, in ministack: for the parts that it has, and when something breaks.

It has no extensions, snapshots, instances or bills; `aws.py` lists what it lacks.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.deploy.emulator import ministack
from tests.deploy.tools import ARCHITECTURE, PYTHON_OF_FUNCTIONS, asked_for, run, tool
from tests.live import extras, stacks
from tests.live.account import CannotError
from tests.live.conftest import NUMBER, live
from tests.live.leftovers import find

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.account import Account

asked_for()
pytestmark = pytest.mark.timeout(400)
HERE = ["--python", PYTHON_OF_FUNCTIONS, "--arch", ARCHITECTURE, "--frameworks", ""]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The one of `make deploy-test`, which understands SAM."""
    tool("sam")
    with ministack(tmp_path_factory.mktemp("ministack")) as running:
        yield running.url


def test_all_is_measured_told_and_removed(
    environ: dict[str, str], account: Account, tmp_path: Path
) -> None:
    numbers, table = tmp_path / "live.json", tmp_path / "live.md"
    only = ["--only", "posting,ending,unseen,snapstart,frames,managed"]
    files = ["--json", str(numbers), "--markdown", str(table)]
    code, said = live(environ, *HERE, *only, *files, said=f"{NUMBER}\n")
    assert code == 0, said
    told = {one["about"]: one for one in json.loads(numbers.read_text())["findings"]}
    verdicts = {about: one["verdict"] for about, one in told.items()}
    for way in ("near", "far", "slow"):
        assert verdicts[f"a post after $connect, {way} client"] != "not measured", said
    assert verdicts["a post of 33,792 bytes"] == "as assumed"
    assert told["a frame of 40 KB of a client"]["verdict"] == "otherwise"  # as in differs.py
    assert told["from SIGTERM to SIGKILL"]["seen"].startswith("the emulator has no Extensions API")
    assert "a post of 33,792 bytes" in table.read_text()
    assert "none of it is AWS's" in table.read_text()
    assert find(account) == []


def test_all_is_removed_after_a_failure(
    environ: dict[str, str], account: Account, tmp_path: Path
) -> None:
    """The second stack cannot be made: CloudFormation knows no such thing."""
    name = "longwire-live-0e"
    stacks.make_bucket(account, f"{name}-code")
    broken = tmp_path / "extras.json"
    broken.write_text('{"Resources": {"Nothing": {"Type": "AWS::Nothing::AtAll"}}}')
    with pytest.raises(CannotError, match=f"sam deploy of {name} failed: "):
        stacks.deploy(account, name, broken, f"{name}-code")
    code, said = live(environ, "--clean", said=f"{NUMBER}\n")
    assert code == 0, said
    assert find(account) == []


def test_all_is_removed_after_ctrl_c(environ: dict[str, str], account: Account) -> None:
    """While the second stack is deployed."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.live", *HERE],
        cwd=stacks.ROOT,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{NUMBER}\n")
        process.stdin.close()
        for line in process.stdout:
            if line.startswith("deploying ") and line.endswith("-extras\n"):
                process.send_signal(signal.SIGINT)
                break
        said = process.stdout.read()
    assert process.returncode == 130, said
    assert said.endswith("interrupted; if anything is left: make live LIVE=yes CLEAN=1\n")
    assert find(account) == []


def test_the_linter_finds_nothing_in_the_extras(tmp_path: Path) -> None:
    managed = extras.Managed(("subnet-0123456789abcdef0",), ("sg-0123456789abcdef0",))
    wanted = extras.Extras("3.13", "arm64", managed=managed)
    (tmp_path / "extras.json").write_text(json.dumps(extras.template(wanted)))
    assert run([tool("cfn-lint"), "extras.json"], tmp_path) == ""
