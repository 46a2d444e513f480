"""Run by .venv-deploy: `synthesize.py NAME...` makes a stack of the construct in each folder."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import aws_cdk


def construct_in(folder: str) -> Any:
    """Import the construct of a folder; nothing is installed for it."""
    spec = importlib.util.spec_from_file_location(folder, f"{folder}/longwire_construct.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.package = _package
    return module.LongwireApp


def _package() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    Path(folder.name, "main.py").write_text("")
    return folder


app = aws_cdk.App(outdir="cdk.out")
for name in sys.argv[1:]:
    construct_in(name)(aws_cdk.Stack(app, name), "App")
app.synth()
