"""What `longwire template` writes has no finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from longwire.deploy import sam
from longwire.doctor.diagnosis import diagnose
from longwire.doctor.files import read
from longwire.doctor.ours import ours_of
from tests.deploy.plans import few

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("samtranslator")

PLANS = few()


@pytest.mark.parametrize("name", PLANS)
def test_a_template_of_ours_has_no_finding(name: str, tmp_path: Path) -> None:
    plan = PLANS[name]
    code = {
        plan.handler: "from longwire import Longwire\nhandler = Longwire(None, dsn='x')\n",
        plan.authorizer or "auth.ask": "def authorize(event, context): ...\nask = authorize\n",
    }
    for handler, text in code.items():
        path = tmp_path / f"{handler.rpartition('.')[0].replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path_, text in sam.render(plan).items():
        (tmp_path / path_).write_text(text, encoding="utf-8")
    (one,) = read(tmp_path)
    assert len(ours_of(one.stack)) == 1
    assert diagnose(one.stack) == []
