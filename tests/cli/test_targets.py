"""What a user may type for an app: a file, a module, nothing at all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from longwire.cli.importer import import_target
from longwire.cli.targets import locate
from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Modules are forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("one", "main", "pack")):
            del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, source in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)


@pytest.mark.parametrize(
    ("target", "module", "where"),
    [
        ("main.py", "main", "."),
        ("./main.py", "main", "."),
        ("main.py:app", "main:app", "."),
        ("main.py:make.app", "main:make.app", "."),
        ("src/chat.py", "chat", "src"),
        ("pack/web.py:app", "pack.web:app", "."),
        ("pack/__init__.py", "pack", "."),
    ],
)
def test_a_file_is_the_module_that_it_is(
    folder: Path, target: str, module: str, where: str
) -> None:
    """In the folder that its packages are in."""
    write(folder, main="", src__chat="", pack__web="")
    (folder / "pack" / "__init__.py").write_text("")
    assert locate(target, folder) == (module, folder / where)
    assert locate(str(folder / target), folder / "src") == (module, folder / where)


def test_a_module_stays_what_it_is(folder: Path) -> None:
    for target in ("main", "main:app", "pack.web:app"):
        assert locate(target, folder) == (target, folder)


def test_without_a_target_it_is_looked_for(folder: Path) -> None:
    """main.py comes first."""
    write(folder, app__main="")
    assert locate(None, folder) == ("main", folder / "app")
    write(folder, api="")
    assert locate(None, folder) == ("api", folder)
    write(folder, main="")
    assert locate(None, folder) == ("main", folder)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (
            None,
            "there is no main.py or app.py in {dir}: name the app, as MODULE:ATTRIBUTE or FILE.py",
        ),
        ("nope.py", "there is no file nope.py in {dir}"),
    ],
)
def test_what_is_not_there_is_said(folder: Path, target: str | None, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        locate(target, folder)
    assert str(caught.value) == text.replace("{dir}", str(folder))


BOTH = "async def app(scope, receive, send): pass\ndef handler(event, context): pass\n"
APP = "async def application(scope, receive, send): pass\nhandler = object()\n"
MANGUM = """
class Mangum:
    def __call__(self, event, context): pass
async def app(scope, receive, send): pass
handler = Mangum()
"""
FACTORY = """
def create_app():
    async def made(scope, receive, send): pass
    return made
def broken(): raise RuntimeError("no database")
def asks(name): pass
"""


@pytest.mark.parametrize(
    ("source", "name"), [(BOTH, "handler"), (APP, "application"), (MANGUM, "app")]
)
def test_of_a_module_alone_the_usual_name_is_taken(folder: Path, source: str, name: str) -> None:
    """The handler first, as it has settings; never what cannot be called, or answers HTTP only."""
    write(folder, one=source)
    assert import_target("one", folder).__class__.__name__ == "function"
    assert import_target("one", folder) is getattr(sys.modules["one"], name)


@pytest.mark.parametrize("target", ["one", "one:create_app"])
def test_a_factory_is_called(folder: Path, target: str) -> None:
    write(folder, one=FACTORY)
    assert import_target(target, folder, factory=True).__name__ == "made"


@pytest.mark.parametrize(
    ("source", "target", "factory", "text"),
    [
        (
            "x = 1",
            "one",
            False,
            "module 'one' has no handler or app: name what to run, for example one:NAME",
        ),
        (
            "from starlette.applications import Starlette\nweb = Starlette()",
            "one",
            False,
            "module 'one' has no handler or app: name what to run, for example one:web",
        ),
        (
            "class Site:\n    def __call__(self, environ, start_response): pass\napp = Site()",
            "one",
            False,
            "one:app is a WSGI app, which has no WebSockets; expected an ASGI app, as Django "
            "makes one with get_asgi_application()",
        ),
        (
            FACTORY,
            "one",
            False,
            "module 'one' has no handler or app: it has a factory, so add --factory",
        ),
        (
            FACTORY,
            "one:create_app",
            False,
            "one:create_app needs no arguments, so it looks like a factory: add --factory",
        ),
        (
            FACTORY,
            "one:broken",
            True,
            "calling one:broken failed at {dir}/one.py:5: RuntimeError: no database",
        ),
        (FACTORY, "one:asks", True, "--factory: one:asks cannot be called without arguments"),
    ],
)
def test_each_mistake_has_its_text(
    folder: Path, source: str, target: str, text: str, *, factory: bool
) -> None:
    write(folder, one=source)
    with pytest.raises(ConfigurationError) as caught:
        import_target(target, folder, factory=factory)
    assert str(caught.value) == text.replace("{dir}", str(folder))
