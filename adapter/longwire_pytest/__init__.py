"""The pytest plugin of Longwire: fixtures for tests of one's own app.

    [tool.pytest.ini_options]
    longwire_app = "main:app"

    def test_echo(longwire_client):
        with longwire_client.websocket_connect("/ws") as ws: ...

pytest loads this file in each of its runs where Longwire is installed, so it imports nothing of
Longwire until a fixture is used, and is no part of the package `longwire`, which would be imported
for it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.testing import Gateway, TestClient

HOW_TO_SAY = """\
{fixture} does not know which app it is for. Say it in one of these ways:

  [tool.pytest.ini_options]                 # pyproject.toml; or [pytest] in pytest.ini
  longwire_app = "main:app"                 # MODULE:ATTRIBUTE, an app or a Longwire handler

  @pytest.mark.longwire("main:app")         # one test, class or module; an app itself will do

  @pytest.fixture                           # in conftest.py
  def longwire_app():
      from main import app
      return app
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Tell the names of the settings."""
    parser.addini(
        "longwire_app", "the app of longwire_client and longwire_gateway: MODULE:ATTRIBUTE"
    )
    parser.addini(
        "longwire_fresh",
        "let each event of longwire_client meet a fresh import of the app",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell the name of the mark."""
    config.addinivalue_line(
        "markers",
        "longwire(app, **options): the app of longwire_client and longwire_gateway, and options of "
        "longwire.testing.TestClient or Gateway, such as fresh=True",
    )


def pytest_sessionfinish() -> None:
    """Run the shutdown of apps whose TestClient nobody has closed."""
    thread = sys.modules.get("longwire.testing.thread")
    if thread is not None:
        thread.stop_all()


@pytest.fixture
def longwire_app(request: pytest.FixtureRequest) -> Any:
    """The app under test, as `MODULE:ATTRIBUTE` or itself; a project may have a fixture instead."""
    for mark in request.node.iter_markers("longwire"):
        if mark.args:
            return mark.args[0]
        if "app" in mark.kwargs:
            return mark.kwargs["app"]
    return request.config.getini("longwire_app") or None


@pytest.fixture
def longwire_client(request: pytest.FixtureRequest, longwire_app: Any) -> Iterator[TestClient]:
    """A `longwire.testing.TestClient` of the app, started up."""
    from longwire.testing import TestClient

    options = _options(request, longwire_app, "longwire_client")
    options.setdefault("fresh", bool(request.config.getini("longwire_fresh")))
    with TestClient(longwire_app, **options) as client:
        yield client


@pytest.fixture
def longwire_gateway(request: pytest.FixtureRequest, longwire_app: Any) -> Iterator[Gateway]:
    """A `longwire.testing.Gateway` of the app; `async with` begins and ends it."""
    from longwire.testing import Gateway
    from longwire.testing.options import imported
    from longwire.testing.stores import in_memory

    options = _options(request, longwire_app, "longwire_gateway")
    if options.pop("fresh", False):
        pytest.fail("longwire_gateway: fresh=True is for longwire_client alone", pytrace=False)
    where = {name: options.pop(name) for name in ("app_dir", "factory") if name in options}
    keep_store = options.pop("keep_store", False)
    target = imported(longwire_app, **where)
    with in_memory(target, unless=keep_store):
        yield Gateway(target, **options)


def _options(request: pytest.FixtureRequest, app: Any, fixture: str) -> dict[str, Any]:
    """Return what the marks say besides the app, the nearest one first."""
    if app is None:
        pytest.fail(HOW_TO_SAY.format(fixture=fixture), pytrace=False)
    options: dict[str, Any] = {}
    for mark in request.node.iter_markers("longwire"):
        options = {name: value for name, value in mark.kwargs.items() if name != "app"} | options
    if isinstance(app, str):
        # Where the setting is, whatever the current folder.
        inipath = request.config.inipath
        options.setdefault("app_dir", inipath.parent if inipath else request.config.rootpath)
    return options
