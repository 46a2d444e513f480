"""What is released: the same bytes each time, with what an index shows, and it runs elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import longwire
from tests.documents import PAGES, ROOT

if TYPE_CHECKING:
    from email.message import Message
    from types import ModuleType

pytestmark = pytest.mark.slow

REPOSITORY = "https://code.example/team/longwire"
# A folder that pip and the tests make has no place in a package.
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".site", "__pycache__", ".*_cache", ".coverage*", "*.sqlite3*"
)
APP = """
async def app(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"].upper()})
"""
CLIENT = """
import sys
from websockets.sync.client import connect
with connect(sys.argv[1]) as ws:
    ws.send("hello")
    print(ws.recv())
"""


def _build(folder: Path, source: Path = ROOT, **environ: str) -> dict[str, bytes]:
    """Build an sdist and a wheel; return what is in the files, by name."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    plain = {name: value for name, value in os.environ.items() if name != "LONGWIRE_REPOSITORY"}
    subprocess.run(command, cwd=source, check=True, capture_output=True, env={**plain, **environ})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release: both packages, as the workflow builds them."""
    folder = tmp_path_factory.mktemp("release")
    _build(folder, LONGWIRE_REPOSITORY=REPOSITORY)
    return folder


def _only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.mark.timeout(180)
def test_two_builds_are_equal_byte_for_byte(built: Path, tmp_path: Path) -> None:
    """From another folder, with other times and rights, in another order of hashes."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    for path in copy.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
        if path.is_file():
            path.chmod(path.stat().st_mode & 0o700)
    again = _build(tmp_path / "built", copy, LONGWIRE_REPOSITORY=REPOSITORY, PYTHONHASHSEED="7")
    assert again == {path.name: path.read_bytes() for path in built.iterdir()}


@pytest.mark.timeout(180)
def test_the_time_of_a_build_can_be_told(tmp_path: Path) -> None:
    """By SOURCE_DATE_EPOCH, and twice the same."""
    first = _build(tmp_path / "1", SOURCE_DATE_EPOCH="1800000000")
    assert first == _build(tmp_path / "2", SOURCE_DATE_EPOCH="1800000000")
    with zipfile.ZipFile(_only(tmp_path / "1", "*.whl")) as archive:
        assert {info.date_time[0] for info in archive.infolist()} == {2027}


def test_the_wheel_of_the_sdist_is_the_wheel(built: Path, tmp_path: Path) -> None:
    """Who builds from source has the same URLs, and needs no variable for it."""
    with tarfile.open(_only(built, "*.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    again = _build(tmp_path / "built", _only(tmp_path, "longwire-*"))
    wheel = _only(built, "*.whl")
    assert again[wheel.name] == wheel.read_bytes()


def test_a_package_says_where_the_project_is(built: Path, tmp_path: Path) -> None:
    """All of it from the one variable that the workflow sets; nothing is made up without."""
    metadata = _metadata(_only(built, "*.whl"))
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL", []))
    assert urls["Source"] == REPOSITORY
    assert sorted(urls) == ["Changelog", "Documentation", "Issues", "Source"]
    assert all(url.startswith(REPOSITORY) for url in urls.values())
    assert metadata["Author"] in (ROOT / "LICENSE").read_text(encoding="utf-8")
    _build(tmp_path)
    plain = _metadata(_only(tmp_path, "*.whl"))
    assert plain.get_all("Project-URL") is None
    assert plain.get_payload() == PAGES["README.md"]


def test_all_links_of_the_package_page_are_absolute(built: Path) -> None:
    """They lead to the files of the release's tag, and to its own headings."""
    page = _metadata(_only(built, "*.whl")).get_payload()
    assert isinstance(page, str)
    links = re.findall(r"\]\(([^)\s]+)\)", page)
    base = f"{REPOSITORY}/blob/v{longwire.__version__}/"
    assert len([link for link in links if link.startswith(base)]) > 10
    for link in links:
        assert re.match(r"https://|#", link), link
        path = link.removeprefix(base).partition("#")[0]
        assert not link.startswith(base) or (ROOT / path).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts of an environment lie elsewhere")
@pytest.mark.timeout(300)
def test_it_runs_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    """`pip install 'longwire[dev]'`, then `longwire dev`, and a client talks to it."""
    wheel, python = _only(built, "*.whl"), tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", python.parents[1]], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-index", wheel], check=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    alone = "import longwire; from longwire import Connections; print(longwire.__version__)"
    assert _said(tmp_path, environ, python, "-c", alone) == f"{longwire.__version__}\n"
    program = python.with_name("longwire")
    (tmp_path / "main.py").write_text(APP, encoding="utf-8")
    assert _said(tmp_path, environ, program, "template", "sam").startswith("AWSTemplate")
    alone_dev = subprocess.run(
        [program, "dev"], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert "needs websockets: pip install 'longwire[dev]'" in alone_dev.stderr
    assert len(alone_dev.stderr.splitlines()) == 1
    done = subprocess.run([*pip, f"{wheel}[dev]"], capture_output=True, text=True)
    if done.returncode and "CI" not in os.environ:
        pytest.skip(f"pip cannot install the extra `dev` here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    command = [str(program), "dev", "main.py", "--port", "0"]
    environ["PYTHONUNBUFFERED"] = "1"
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    ) as dev:
        try:
            assert dev.stdout is not None
            ready = re.search(r"ws://127.0.0.1:\d+", dev.stdout.readline())
            assert ready is not None
            assert _said(tmp_path, environ, python, "-c", CLIENT, ready[0]) == "HELLO\n"
        finally:
            dev.terminate()


def _said(folder: Path, environ: dict[str, str], *command: str | Path) -> str:
    run = subprocess.run(
        command, cwd=folder, env=environ, check=True, stdout=subprocess.PIPE, text=True
    )
    return run.stdout


# The release workflow


def _module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GOOD = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2027-01-31\n\n### Added\n\n- A door.\n"


@pytest.mark.parametrize(
    ("tag", "changelog", "said"),
    [
        ("v1.2.0", GOOD, []),
        ("v1.2.0", GOOD.replace("## [Unreleased]\n\n", ""), []),
        ("1.2.0", GOOD, ["the tag is 1.2.0"]),
        ("v1.2.1", GOOD, ["the tag is v1.2.1"]),
        ("v1.2.0", GOOD.replace("2027-01-31", "not released yet"), ["no heading"]),
        ("v1.2.0", GOOD.replace("[1.2.0]", "[1.2.00]"), ["no heading"]),
        ("v1.2.0", GOOD.replace("[Unreleased]\n", "[Unreleased]\n\n- A bell.\n"), ["Unreleased"]),
    ],
)
def test_a_tag_becomes_a_release_only_with_its_changelog(
    tag: str, changelog: str, said: list[str]
) -> None:
    """Code, tag and changelog say the same version; nothing is left over."""
    found = _module(".ci/release.py").problems(tag, "1.2.0", changelog)
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


def test_this_version_waits_for_its_date_at_most() -> None:
    """The version of the code is the changelog's newest, and its own tag is right."""
    versions = re.findall(r"(?m)^## \[(\d.*?)\]", PAGES["CHANGELOG.md"])
    assert versions[0] == longwire.__version__
    assert len(set(versions)) == len(versions)
    problems = _module(".ci/release.py").problems(
        f"v{longwire.__version__}", longwire.__version__, PAGES["CHANGELOG.md"]
    )
    assert not [line for line in problems if "tag is" in line]


def test_the_release_workflow_has_no_secret_and_few_rights() -> None:
    """Its one foreign action is a commit, and only the job that publishes has a token."""
    yaml = pytest.importorskip("yaml")
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    workflow: dict[str, Any] = yaml.safe_load(text)
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in build
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["needs"] == "build"
    assert "secrets" not in text
    used = [step["uses"] for job in (build, publish) for step in job["steps"] if "uses" in step]
    foreign = [action for action in used if not re.fullmatch(r"actions/[\w-]+@v\d+", action)]
    assert [re.sub(r"@[0-9a-f]{40}$", "", action) for action in foreign] == [
        "pypa/gh-action-pypi-publish"
    ]
    told = [step.get("env", {}) for step in build["steps"]]
    assert {"LONGWIRE_REPOSITORY": "${{ github.server_url }}/${{ github.repository }}"} in told
