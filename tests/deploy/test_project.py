"""`longwire new`: what it makes works, in a shell, on sockets and in a browser."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

import longwire
from longwire.cli.main import main
from longwire.deploy import project
from longwire.deploy.plan import PYTHONS
from tests.browser import Browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

KINDS = [*project.KINDS]


def _new(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.chdir(folder)
    try:
        return main(["new", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def _make(folder: Path, *arguments: str) -> str:
    """Return the output of a make target, with this interpreter and what it has."""
    done = subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable, "PIP_NO_INDEX": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(("kind", "tests"), [("chat", 3), ("users", 3), ("routes", 4)])
@pytest.mark.skipif(sys.platform == "win32", reason="there is no make")
def test_a_new_project_passes_its_own_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, tests: int
) -> None:
    assert _new(tmp_path, monkeypatch, f"my-{kind}", "--template", kind) == 0
    assert f"{tests} passed" in _make(tmp_path / f"my-{kind}", "test")


@contextlib.contextmanager
def _dev(folder: Path) -> Iterator[list[str]]:
    """Run `make dev`; give the lines that it prints when it is ready."""
    command = ["make", "--no-print-directory", "dev", "OPTIONS=--port 0 --http-port 0"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if re.match(r"  http://127\.0\.0\.1:\d+/", line):
                    break
            yield lines
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no make")
def test_the_page_of_a_new_chat_works_in_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people in a room, one in another; markup stays text."""
    assert _new(tmp_path, monkeypatch, "my-chat") == 0
    with _dev(tmp_path / "my-chat") as lines, Browser(tmp_path / "profile") as browser:
        url = lines[-1].split()[0]
        pages = {}
        for name, room in (("ann", "lobby"), ("bob", "lobby"), ("cat", "attic")):
            page = pages[name] = browser.open(url)
            page.fill("[name=name]", name)
            page.fill("[name=room]", room)
            page.click("#enter button")
            page.see("#status", f"In {room} as {name}")
        pages["ann"].see("li", "bob joined")
        pages["ann"].fill("[name=text]", "hi <b>")
        pages["ann"].click("#say button")
        pages["bob"].see("li", "ann: hi <b>")
        pages["ann"].see("li", "ann: hi <b>")
        assert pages["cat"].run("document.querySelectorAll('li').length") == 1
        pages["bob"].close()
        pages["ann"].see("li", "bob left")
        assert pages["ann"].complaints() == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no make")
def test_a_post_reaches_a_user_of_a_new_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its README says."""
    from websockets.sync.client import connect

    assert _new(tmp_path, monkeypatch, "my-users", "--template", "users") == 0
    with _dev(tmp_path / "my-users") as lines:
        (sockets,) = re.findall(r"ready on (ws://127\.0\.0\.1:\d+)", "".join(lines))
        http = lines[-1].split()[0]
        with connect(f"{sockets}/?path=/ws&token=ann-token") as ann:
            url = f"{http}users/ann?token=bob-token"
            answer = httpx.post(url, json={"text": "dinner"}, timeout=30)
            assert answer.json() == {"delivered": 1}
            assert json.loads(ann.recv(timeout=30)) == {"from": "bob", "text": "dinner"}


@pytest.mark.parametrize("kind", KINDS)
def test_its_files_are_these_and_nothing_in_them_is_left_blank(kind: str) -> None:
    files = project.files("my-app", kind, (3, 12), "1.2.3")
    page = {"app/page.html"} if kind == "chat" else set()
    assert set(files) == page | {
        ".gitignore",
        "Makefile",
        "README.md",
        "app/main.py",
        "app/requirements.txt",
        "pytest.ini",
        "requirements-dev.txt",
        "template.yaml",
        "tests/test_main.py",
    }
    assert [path for path, text in files.items() if "{{" in text] == []
    assert files["README.md"].startswith("# my-app\n")
    assert len(files["README.md"].splitlines()) <= 12
    assert "python3.12" in files["template.yaml"]
    assert ">=1.2.3\n" in files["app/requirements.txt"]
    (options,) = re.findall(r"-m longwire (dev .+) \$\(OPTIONS\)", files["Makefile"])
    assert options.startswith("dev app/main.py")


@pytest.mark.parametrize(("here", "deployed"), [((3, 11), "3.11"), ((3, 99), "3.13")])
def test_it_is_deployed_on_the_python_that_made_it_if_lambda_has_that(
    here: tuple[int, int], deployed: str
) -> None:
    assert deployed in PYTHONS
    assert f"python{deployed}" in project.files("a", "chat", here, "1")["template.yaml"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a/b", "'a/b' is a path; give a name, and its folder is made in the one you are in"),
        ("..", "'..' is a path; give a name, and its folder is made in the one you are in"),
        ("my_chat", "a letter first, such as my-chat"),
        ("1", "cannot be the name of a stack: that has up to 40 letters, digits and '-', a letter"),
        ("x" * 41, "cannot be the name of a stack"),
        ("", "cannot be the name of a stack"),
        ("blå", "cannot be the name of a stack"),
    ],
)
def test_a_name_that_no_stack_can_have(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str,
) -> None:
    assert _new(tmp_path, monkeypatch, name) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty folder is taken; a full one, a file or a link that leads nowhere is not."""
    (tmp_path / "empty").mkdir()
    assert _new(tmp_path, monkeypatch, "empty") == 0
    assert "next: cd empty" in capsys.readouterr().out
    made = {path: path.stat() for path in tmp_path.rglob("*")}
    assert _new(tmp_path, monkeypatch, "empty") == 2
    assert capsys.readouterr().err == "longwire: the folder empty is not empty: name a new one\n"
    assert {path: path.stat() for path in tmp_path.rglob("*")} == made
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        assert _new(tmp_path, monkeypatch, name) == 2
        assert "is no folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_an_unknown_template_and_what_others_call_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _new(tmp_path, monkeypatch, "a", "--template", "foo") == 2
    assert "choose from 'chat', 'users', 'routes'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["create", "a"])
    assert "did you mean 'new'?" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also by root, who may write everywhere: a name in the way."""
    monkeypatch.setattr(project, "files", lambda *_: {"app": "", "app/main.py": ""})
    assert _new(tmp_path, monkeypatch, "a") == 1
    assert capsys.readouterr().err.startswith("longwire: cannot write ")


def test_the_version_is_that_of_this_package() -> None:
    assert (
        longwire.__version__
        in project.files("a", "chat", (3, 13), longwire.__version__)["app/requirements.txt"]
    )
