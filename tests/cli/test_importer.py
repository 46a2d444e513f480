"""Each mistake in MODULE:ATTRIBUTE has its own exact text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from longwire.cli.importer import ImportTargetError, import_target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = """
import json

class Holder:
    async def app(scope, receive, send): pass

async def app(scope, receive, send): pass
def handler(event, context): pass
def create_app(): return app
def with_settings(settings, *, more=1): return app
async def make_async(): return app
config = {}
"""


@pytest.fixture
def app_dir(tmp_path: Path) -> Iterator[Path]:
    """A folder of modules; what was imported from it is forgotten after the test."""
    sources = {
        "importer_good.py": MODULE,
        "importer_package/__init__.py": "",
        "importer_package/web.py": MODULE,
        "importer_lacks.py": "import json\nimport missing_dependency\n",
        "importer_lacks_inside.py": "import importer_package.missing\n",
        "importer_raises.py": "def connect():\n    raise RuntimeError('no database')\nconnect()\n",
        "importer_raises_deep.py": "import json\n\njson.loads('{')\n",
        "importer_exits.py": "import sys\nsys.exit(3)\n",
        "importer_syntax.py": "x = 1\ndef broken(:\n",
    }
    for name, source in sources.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    for name in [name for name in sys.modules if name.startswith("importer_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "target",
    [
        "importer_good:app",
        "importer_good:handler",
        "importer_good:Holder.app",
        "importer_package.web:app",
    ],
)
def test_a_target_is_imported(app_dir: Path, target: str) -> None:
    """From a module or a package; the attribute may have dots."""
    assert callable(import_target(target, app_dir))


def test_a_folder_that_is_not_there_is_an_error(app_dir: Path) -> None:
    """Also where the module would be found elsewhere."""
    sys.path.insert(0, str(app_dir))
    with pytest.raises(ImportTargetError) as caught:
        import_target("importer_good:app", app_dir / "src")
    assert str(caught.value) == f"--app-dir: there is no folder {app_dir / 'src'}"


def test_a_factory_must_not_be_async(app_dir: Path) -> None:
    with pytest.raises(ImportTargetError, match="importer_good:make_async is async, and nothing"):
        import_target("importer_good:make_async", app_dir, factory=True)


def test_app_dir_comes_first(app_dir: Path) -> None:
    """Before anything that is installed, and once only."""
    import_target("importer_good:app", app_dir)
    import_target("importer_good:handler", app_dir)
    assert sys.path[0] == str(app_dir)
    assert sys.path.count(str(app_dir)) == 1


FORM = "is not of the form MODULE:ATTRIBUTE, for example main:app"
NAME = "is not a module name: write it with dots and without .py, for example"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("importer_good:", f"'importer_good:' {FORM}"),
        (":app", f"':app' {FORM}"),
        ("importer_good.py:app", f"'importer_good.py' {NAME} importer_good:app"),
        (
            "./importer_package/web.py:app",
            f"'./importer_package/web.py' {NAME} importer_package.web:app",
        ),
        ("../..:app", f"'../..' {NAME} main:app"),
        ("importer_none:app", "there is no module 'importer_none' in {dir} or on the import path"),
        (
            "importer_package.none:app",
            "there is no module 'importer_package.none' in {dir} or on the import path",
        ),
        (
            "importer_good.app",
            "there is no module 'importer_good.app' in {dir} or on the import path; did you mean "
            "importer_good:app?",
        ),
        (
            "importer_lacks:app",
            "importing 'importer_lacks' failed at {dir}/importer_lacks.py:2: "
            "No module named 'missing_dependency'",
        ),
        (
            "importer_lacks_inside:app",
            "importing 'importer_lacks_inside' failed at {dir}/importer_lacks_inside.py:1: "
            "No module named 'importer_package.missing'",
        ),
        (
            "importer_raises:app",
            "importing 'importer_raises' failed at {dir}/importer_raises.py:2: "
            "RuntimeError: no database",
        ),
        (
            "importer_raises_deep:app",
            "importing 'importer_raises_deep' failed at {dir}/importer_raises_deep.py:3: "
            "JSONDecodeError: Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)",
        ),
        (
            "importer_exits:app",
            "importing 'importer_exits' failed at {dir}/importer_exits.py:2: SystemExit: 3",
        ),
        (
            "importer_syntax:app",
            "importing 'importer_syntax' failed at {dir}/importer_syntax.py:2: "
            "SyntaxError: invalid syntax",
        ),
        (
            "importer_good:ap",
            "module 'importer_good' has no attribute 'ap'; did you mean 'app'?",
        ),
        (
            "importer_good:server",
            "module 'importer_good' has no attribute 'server'; did you mean 'app' or 'handler'?",
        ),
        (
            "importer_good:Holder.zzz",
            "module 'importer_good' has no attribute 'Holder.zzz'; did you mean 'app'?",
        ),
        (
            "importer_good:config",
            "importer_good:config is of type dict; expected an ASGI app, a Longwire handler or "
            "a Lambda function",
        ),
        (
            "importer_good:create_app",
            "importer_good:create_app needs no arguments, so it looks like a factory: add "
            "--factory",
        ),
        (
            "importer_good:with_settings",
            "importer_good:with_settings cannot be called with 2 or 3 arguments; an ASGI app takes "
            "scope, receive and send, a Lambda function takes event and context",
        ),
    ],
)  # fmt: skip
def test_each_mistake_has_its_own_text(app_dir: Path, target: str, text: str) -> None:
    """Which names the place and, where there is one, what was probably meant."""
    with pytest.raises(ImportTargetError) as caught:
        import_target(target, app_dir)
    assert str(caught.value) == text.replace("{dir}", str(app_dir))
