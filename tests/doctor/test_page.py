"""The page has each rule, with what the command says."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import longwire.doctor
from longwire.doctor.findings import RULES
from longwire.doctor.looking import action_of
from tests.documents import PAGES, blocks

PAGE = PAGES["docs/doctor.md"]
SOURCES = Path(longwire.doctor.__file__).parent


def test_the_page_has_each_rule_in_its_order() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `") and line.count(" | ") == 2]
    wanted = [f"| `{code}` | {rule.severity} | {rule.why} |" for code, rule in RULES.items()]
    assert [row for row in rows if row.split("`")[1] in RULES] == wanted


def test_each_rule_can_be_found() -> None:
    """Its code is somewhere else than in its table."""
    texts = {
        node.value
        for path in SOURCES.rglob("*.py")
        if path.parent.name != "rules"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(RULES) <= texts


def test_the_policy_of_the_page_has_what_is_asked() -> None:
    """And no more."""
    asked = set()
    for name in ("deployed.py", "deployed_roles.py"):
        for node in ast.walk(ast.parse((SOURCES / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                words = [one.value for one in node.args[:2] if isinstance(one, ast.Constant)]
                if node.func.attr in ("ask", "pages") and words:
                    service = str(words[0])
                    asked.add(action_of(service, str(words[1]) if len(words) > 1 else "GetApi"))
    (policy,) = (json.loads(code) for code in blocks("json", "docs/doctor.md"))
    assert set(policy["Statement"][0]["Action"]) == asked
