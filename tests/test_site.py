"""The documents as a site: what is built of them, and what the build refuses."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import Browser
from tests.documents import PAGES, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

SITE = ROOT / ".venv-site/bin/python"
BACKGROUND, DARK = "getComputedStyle(document.body).backgroundColor", "rgb(11, 12, 15)"
# The first result of the search.
FOUND = """[...document.querySelectorAll("*")].find(node => node.shadowRoot)
    ?.shadowRoot.querySelector("[role=option][aria-selected=true]")"""
made = pytest.mark.skipif(not SITE.exists(), reason="no .venv-site: `make site` makes it")


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", ROOT / ".ci/site/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _listed(nav: object) -> Iterator[str]:
    match nav:
        case str():
            yield nav
        case list():
            for entry in nav:
                yield from _listed(entry)
        case dict():
            for entry in nav.values():
                yield from _listed(entry)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of all that the site is made of."""
    for name in ("docs", "examples", "adapter", "backends", ".ci"):
        ignored = shutil.ignore_patterns("__pycache__", "*.sqlite3*")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def _stage(checkout: Path) -> list[str]:
    """Write the pages; return the navigation."""
    script = "import runpy, sys; runpy.run_path(sys.argv[1])['stage']()"
    subprocess.run(
        [sys.executable, "-c", script, checkout / ".ci/site/build.py"],
        check=True,
    )
    settings = (checkout / ".site/zensical.toml").read_text(encoding="utf-8")
    return list(_listed(tomllib.loads(settings)["project"]["nav"]))


def test_the_navigation_has_each_page_once(checkout: Path) -> None:
    """Those of the repository, the examples and what users import."""
    listed = _stage(checkout)
    pages = checkout / ".site/pages"
    assert sorted(listed) == sorted(p.relative_to(pages).as_posix() for p in pages.rglob("*.md"))
    assert PAGES.keys() <= set(listed)
    assert {f"examples/{path.stem}.md" for path in (ROOT / "examples").glob("*.py")} <= set(listed)
    assert listed[0] == "README.md"


def test_the_reference_has_all_that_users_import() -> None:
    """Less the classes of Starlette, which `longwire.testing` only passes on."""
    build = _module()
    import longwire
    import longwire.testing

    assert build._exported(ROOT / build.MODULES["longwire"]) == longwire.__all__
    passed_on = {"WebSocketDenialResponse", "WebSocketDisconnect"}
    shown = build._exported(ROOT / build.MODULES["longwire.testing"])
    assert {*longwire.testing.__all__} - {*shown} == passed_on


def test_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    """A page, an anchor, a picture; not what is elsewhere."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b/index.html").write_text('<h2 id="there">')
    (tmp_path / "index.html").write_text(
        '<a href="b/">1</a><a href="b/#there">2</a><a href="https://a.example/x#y">3</a><i id="i">'
        '<a href="#i">4</a><a href="b/#gone">5</a><a href="c/">6</a><img src="p.png">'
        '<a href="#gone">7</a>'
    )
    assert sorted(line.partition(": ")[2] for line in _module().broken(tmp_path)) == [
        "#gone",
        "b/#gone",
        "c/",
        "p.png",
    ]


def _build(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SITE, checkout / ".ci/site/build.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@made
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            "docs/local.md",
            "\n## ",
            "\n[a](gone.md) [b](aws.md#gone) [c](../examples/gone.py)\n\n## ",
            ["page does not exist", "anchor does not exist", "3 issues"],
        ),
        ("docs/local.md", "\n## ", "\n![a](images/gone.png)\n\n## ", ["images/gone.png"]),
        ("adapter/longwire/connections.py", " timeout: ", " time_out: ", ["'time_out'"]),
    ],
)
def test_what_is_broken_fails_the_build(
    checkout: Path, file: str, old: str, new: str, said: list[str]
) -> None:
    """Links, and docstrings that are not of their function; a line says where."""
    page = checkout / file
    page.write_text(page.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    done = _build(checkout)
    assert done.returncode == 1
    for part in (*said, Path(file).stem):
        assert part in done.stdout


@pytest.fixture
def url(checkout: Path) -> Iterator[str]:
    """The site, served."""
    done = _build(checkout)
    assert done.returncode == 0, done.stdout

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(checkout / ".site/html"))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@made
@pytest.mark.timeout(180)
def test_a_reader_finds_what_they_look_for(url: str, tmp_path: Path) -> None:
    """In a browser, by search; in the dark, too; and nothing comes from elsewhere."""
    with Browser(tmp_path / "profile") as browser:
        page = browser.open(f"{url}/docs/local/", dark=True)
        assert "API Gateway on your machine" in page.text(".md-content")
        assert page.run(BACKGROUND) == DARK
        page.click(".md-search__button")
        page.type("trusted_proxies")
        page.wait_for(f"{FOUND}?.getAttribute('href').includes('WSConfig.trusted_proxies')")
        page.press("Enter")
        page.wait_for("location.pathname", "/reference/longwire/")
        page.see("h3", "trusted_proxies")
        page.click("[title=Light]")
        page.wait_for(f"{BACKGROUND} !== {DARK!r}")
        loaded = page.run("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert [name for name in loaded if not name.startswith(url)] == []
        assert page.complaints() == []
