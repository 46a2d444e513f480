"""A file or a folder -> the templates in it, as stacks."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.doctor import cloudformation, sam, terraform
from longwire.doctor.documents import MOST_BYTES, Document, UnreadableError, read_document
from longwire.doctor.modelling import stack_of
from longwire.doctor.packages import extensions_in, read_package

if TYPE_CHECKING:
    from pathlib import Path

    from longwire.doctor.model import LambdaFunction, Layer
    from longwire.doctor.resources import Source
    from longwire.doctor.stack import Stack

# Where tools write what they deploy, the newest step first.
_MADE = (
    "cloudformation-template-update-stack.json",
    ".serverless/cloudformation-template-update-stack.json",
    "build/template.yaml",
    ".aws-sam/build/template.yaml",
    "*.template.json",
    "assembly-*/*.template.json",
    "cdk.out/*.template.json",
    "cdk.out/assembly-*/*.template.json",
    "template.yaml",
    "template.yml",
    "template.json",
)
_PROGRAMS = {".py", ".ts", ".js", ".mjs"}


class Diagnosed(NamedTuple):
    """A template, and the stack that it makes."""

    name: str
    stack: Stack


def read(path: Path) -> list[Diagnosed]:
    """Read a template, or all templates of a folder.

    Raises:
        UnreadableError: there is none, or it cannot be read.
        ConfigurationError: SAM refuses it.
        ModuleNotFoundError: what reads it is not installed.
    """
    if path.is_dir():
        return [_read(one, str(one)) for one in _templates(path)]
    return [_read(path, str(path))]


def _templates(folder: Path) -> list[Path]:
    for pattern in _MADE:
        found = sorted(folder.glob(pattern))
        if found:
            return found if "*" in pattern else found[:1]
    raise UnreadableError(
        f"{folder} has no template: name one, or the folder that sam build, cdk synth or "
        "osls package has made (.aws-sam, cdk.out, .serverless)"
    )


def _read(path: Path, name: str) -> Diagnosed:
    if path.suffix in _PROGRAMS:
        raise UnreadableError(
            f"{name} is a program; if it is CDK's: run cdk synth, and name cdk.out"
        )
    document = read_document(_text(path, name), name)
    stack = stack_of(_source(document, path, name))
    functions = tuple(map(_with_package, stack.functions))
    layers = tuple(map(_with_extensions, stack.layers))
    return Diagnosed(name, replace(stack, functions=functions, layers=layers))


def _text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:  # what is no file, as a pipe, has no size
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UnreadableError(f"{name} is not there") from None
    except OSError as error:
        raise UnreadableError(f"{name} cannot be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise UnreadableError(f"{name} is larger than 64 MB: no template is")
    if data.startswith(b"PK"):
        raise UnreadableError(
            f"{name} is an archive; of a plan: terraform show -json {name} > plan.json"
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # as PowerShell writes what a command prints
        return data.decode("utf-16", "replace")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError(f"{name} is no text") from None
    if not text.strip():
        raise UnreadableError(f"{name} is empty")
    return text


def _source(document: Document, path: Path, name: str) -> Source:
    value, lines = document
    if isinstance(value, dict) and isinstance(value.get("Resources"), dict):
        if not sam.is_sam(value):
            return cloudformation.read(value, lines, path.parent)
        made = sam.transform(value, name)
        return cloudformation.read(made, lines, path.parent, sam.origins(made, value))
    if isinstance(value, dict) and terraform.is_shown(value):
        if value.get("errored") is True:
            raise UnreadableError(f"{name}: the plan has failed; mend what terraform plan says")
        return terraform.read(value, lines, path.parent)
    raise UnreadableError(
        f"{name} is no template of CloudFormation, nor what terraform show -json prints"
        + _hint(value, name)
    )


def _hint(value: Any, name: str) -> str:
    """Say what it is, where that can be seen."""
    if name.endswith((".tf", ".hcl")) or (
        isinstance(value, str) and re.search(r'(?m)^resource "', value)
    ):
        return (
            "; run terraform plan -out plan && terraform show -json plan > plan.json, "
            "and name plan.json"
        )
    if not isinstance(value, dict):
        return ""
    if value.get("version") == 4 and "terraform_version" in value:
        return "; it is a state file: run terraform show -json > state.json, and name state.json"
    if "service" in value and "provider" in value:
        return "; it is a serverless.yml: run osls package, and name .serverless"
    if "app" in value or "artifacts" in value:
        return "; it is CDK's: run cdk synth, and name cdk.out"
    if "Resources" in value:
        return "; its Resources are no mapping"
    return ""


def _with_package(function: LambdaFunction) -> LambdaFunction:
    if function.folder is None or function.image is True:
        return function
    return function._replace(package=read_package(function.folder, function.handler))


def _with_extensions(layer: Layer) -> Layer:
    return layer if layer.folder is None else layer._replace(extensions=extensions_in(layer.folder))
