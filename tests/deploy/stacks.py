"""A template as CloudFormation gets it, and what its parts say, whichever tool made it."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.deploy.tools import QUIET, tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HERE = __file__.rpartition("/")[0]


class Stack(NamedTuple):
    """A template without macros."""

    template: dict[str, Any]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of all resources of a kind, as AWS::Lambda::Function, by id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.template["Resources"].items()
            if resource["Type"] == f"AWS::{kind}"
        }

    def one(self, kind: str, **properties: Any) -> tuple[str, dict[str, Any]]:
        """Return the id and properties of the only one that has these."""
        (found,) = (
            (name, there)
            for name, there in self.of(kind).items()
            if all(there.get(key) == value for key, value in properties.items())
        )
        return found

    @property
    def function(self) -> tuple[str, dict[str, Any]]:
        """Return the app's: not an authorizer, which has no environment."""
        (found,) = (
            (name, there)
            for name, there in self.of("Lambda::Function").items()
            if "Environment" in there
        )
        return found

    def allowed(self, function: Mapping[str, Any]) -> set[tuple[str, str]]:
        """Return each action that a function's role may do, with its resource."""
        role = referred(function["Role"])
        there = self.of("IAM::Role")[role]
        assert "ManagedPolicyArns" not in there
        documents = [policy["PolicyDocument"] for policy in there.get("Policies", ())]
        for policy in self.of("IAM::Policy").values():
            if role in [referred(one) for one in policy["Roles"]]:
                documents.append(policy["PolicyDocument"])
        return {pair for document in documents for pair in _pairs(document)}

    @property
    def outputs(self) -> dict[str, str]:
        """Return them as texts."""
        return {name: text(one["Value"]) for name, one in self.template["Outputs"].items()}


def _pairs(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        assert set(statement) <= {"Effect", "Action", "Resource"}
        for action in _list(statement["Action"]):
            for resource in _list(statement["Resource"]):
                if resource != {"Ref": "AWS::NoValue"}:
                    yield action, text(resource)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def text(value: Any) -> str:
    """Write what CloudFormation fills in as Fn::Sub does."""
    match value:
        case {"Ref": name}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"${{{name}.{attribute}}}"
        case {"Fn::Sub": [str(given), dict(names)]}:
            for name, one in names.items():
                given = given.replace(f"${{{name}}}", text(one))
            return given
        case {"Fn::Sub": str(given)}:
            return given
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(text(part) for part in parts)
        case str() | int():
            return str(value)
    raise TypeError(value)


def referred(value: Any) -> str:
    """Return the id of the resource that a value refers to."""
    found = re.fullmatch(r"\$\{(\w+)(\.\w+)?\}", text(value))
    assert found is not None, value
    return found[1]


def transformed(templates: Mapping[str, str], folder: Path) -> dict[str, Stack]:
    """Return what SAM's own translator makes of templates."""
    (folder / "templates.json").write_text(json.dumps(templates), encoding="utf-8")
    said = _python(f"{HERE}/transform.py", folder, "templates.json")
    return {name: Stack(template) for name, template in json.loads(said).items()}


def synthesized(constructs: Mapping[str, str], folder: Path) -> dict[str, Stack]:
    """Return what CDK makes of constructs."""
    for name, construct in constructs.items():
        (folder / name).mkdir()
        (folder / name / "longwire_construct.py").write_text(construct, encoding="utf-8")
    _python(f"{HERE}/synthesize.py", folder, *constructs)
    return {
        name: Stack(json.loads((folder / "cdk.out" / f"{name}.template.json").read_text()))
        for name in constructs
    }


def _python(script: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [tool("python"), script, *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(folder), **QUIET},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
