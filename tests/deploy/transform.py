"""Run by .venv-deploy: `transform.py FILE` translates the SAM templates in a JSON object."""

# ruff: noqa: T201
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse


def translated(text: str) -> dict[str, Any]:
    """Return what CloudFormation would make of it."""
    template = yaml_parse(text)
    for resource in template["Resources"].values():
        if "CodeUri" in resource.get("Properties", {}):  # as `sam package` does
            resource["Properties"]["CodeUri"] = "s3://bucket/code.zip"
    result: dict[str, Any] = Translator({}, Parser()).translate(template, {})
    return result


templates = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
print(json.dumps({name: translated(text) for name, text in templates.items()}))
