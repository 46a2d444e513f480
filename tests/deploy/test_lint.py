"""What the linters and the tools themselves say of the templates; and what CDK packs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from longwire.deploy import cdk, sam
from tests.deploy import plans
from tests.deploy.stacks import synthesized, transformed
from tests.deploy.tools import run, tool

if TYPE_CHECKING:
    from pathlib import Path

# Tools of others, which take their time to start.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
FEW = plans.few()


def test_sam_templates_are_clean(tmp_path: Path) -> None:
    """As they are, and as CloudFormation gets them."""
    texts = {name: sam.render(plan)["template.yaml"] for name, plan in FEW.items()}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    for name, stack in transformed(texts, tmp_path).items():
        (tmp_path / f"{name}.json").write_text(json.dumps(stack.template), encoding="utf-8")
    (tmp_path / "templates.json").unlink()
    assert run([tool("cfn-lint"), "*.yaml", "*.json"], tmp_path) == ""


def test_sam_takes_them(tmp_path: Path) -> None:
    for name in ("dynamodb", "s3-all", "redis-all"):
        text = sam.render(FEW[name])["template.yaml"]
        (tmp_path / "template.yaml").write_text(text, encoding="utf-8")
        assert "is a valid SAM Template" in run([tool("sam"), "validate", "--lint"], tmp_path)


def test_cdk_stacks_are_clean(tmp_path: Path) -> None:
    names = ("dynamodb-all", "s3-all", "redis-all", "postgresql", "named-bucket")
    texts = {name: cdk.render(FEW[name])["longwire_construct.py"] for name in names}
    synthesized(texts, tmp_path)
    # CDK says what depends on what even where a reference does so already.
    command = [tool("cfn-lint"), "--ignore-checks", "W3005", "--", "cdk.out/*.template.json"]
    assert run(command, tmp_path) == ""


def test_cdk_packs_the_code_and_what_it_requires(tmp_path: Path) -> None:
    """And nothing of the folder that is for this machine alone."""
    name = "parcel-1-py3-none-any.whl"
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / name, "w") as wheel:
        wheel.writestr("parcel.py", "")
        wheel.writestr(
            "parcel-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: parcel\nVersion: 1\n"
        )
        wheel.writestr("parcel-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("parcel-1.dist-info/RECORD", "")
    app = tmp_path / "app"
    left_out = (".venv/lib/x.py", "pkg/__pycache__/inner.pyc", ".env", "tests/test_x.py", "my.key")
    for file in ("main.py", "pkg/inner.py", *left_out):
        (app / file).parent.mkdir(parents=True, exist_ok=True)
        (app / file).write_text("")
    (app / "requirements.txt").write_text("parcel==1\n")
    (app / "infra").mkdir()
    for file, text in cdk.render(plans.BASE._replace(code="..")).items():
        (app / "infra" / file).write_text(text, encoding="utf-8")
    assert json.loads((app / "infra" / "cdk.json").read_text()) == {"app": "python3 cdk_app.py"}
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"), "CDK_OUTDIR": "cdk.out"}
    packed = []
    for _ in range(2):
        run([tool("python"), "cdk_app.py"], app / "infra", pip)
        (asset,) = (path for path in (app / "infra" / "cdk.out").glob("asset.*") if path.is_dir())
        packed.append(asset.name)
        there = {str(path.relative_to(asset)) for path in asset.rglob("*") if path.is_file()}
        assert {"main.py", "pkg/inner.py", "parcel.py"} <= there
        assert not there & {*left_out, "requirements.txt", "infra/cdk.json"}
        assert not [one for one in there if "cdk.out" in one]
    assert packed[0] == packed[1]  # so that a stack that has not changed is not deployed again


def test_what_cdk_runs_is_clean_python(tmp_path: Path) -> None:
    """Also where there is no CDK to run it: no name is missing, none is unused."""
    pytest.importorskip("ruff")
    for name, plan in FEW.items():
        for file, text in cdk.render(plan).items():
            if file.endswith(".py"):
                (tmp_path / name).mkdir(exist_ok=True)
                (tmp_path / name / file).write_text(text, encoding="utf-8")
    for command in (["check", "--select", "E,F,I,W"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "100", "."]
        done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
