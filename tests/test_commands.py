"""Every command that a page shows runs here or where it says, or says that it needs an account."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.documents import BLOCKS, FILES, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

NEEDS_AN_ACCOUNT = "needs an AWS account"
LINES = sorted(
    {
        line
        for block in BLOCKS
        if block.language == "sh"
        for line in block.code.splitlines()
        if line.strip() and not line.startswith("#")
    }
)
WORDS = {line: tuple(shlex.split(line, comments=True)) for line in LINES}
INSTALLED = "tests/test_package.py::test_it_runs_in_an_empty_environment"
OF_A_PROJECT = "tests/deploy/test_project.py::test_a_new_project_passes_its_own_tests"
# What is not run below: a test that runs it, or what CI calls.
ELSEWHERE = {
    "make test": ".ci/run",
    "LONGWIRE_TEST_STORES=all make check": ".ci/run",
    "make site SERVE=1": "tests/test_site.py::test_a_reader_finds_what_they_look_for",
    ".venv/bin/python -m pytest tests/asgi/test_run.py": ".ci/run",
    ".venv/bin/python -m pytest tests/asgi/test_run.py -k accept": ".ci/run",
    "pip install 'longwire[dev]' fastapi": INSTALLED,
    "pip install 'longwire[dev,instances]'": INSTALLED,
    "pip install -r requirements-cdk.txt": "tests/deploy/test_lint.py::test_cdk_stacks_are_clean",
    "python -m websockets 'ws://127.0.0.1:3001/?path=/shout&name=ann'": (
        "tests/test_commands.py::test_the_client_of_a_terminal"
    ),
    "longwire new my-chat": "tests/test_commands.py::test_a_new_project_is_made",
    "cd my-chat": "tests/test_commands.py::test_a_new_project_is_made",
    "cd infra": "tests/test_commands.py::test_templates_are_written",
    "make install test dev": OF_A_PROJECT,
    "make install": OF_A_PROJECT,
    "longwire doctor template.yaml": (
        "tests/test_commands.py::test_the_doctor_finds_nothing_in_a_new_template"
    ),
    "pip install 'longwire[doctor]'": INSTALLED,
    "make dev": OF_A_PROJECT,
    "longwire bundle --into function.zip --arch arm64 --python 3.13": (
        "tests/deploy/test_bundle.py::test_a_bundle_runs_with_nothing_beside_it"
    ),
    "longwire bundle main:app --into function.zip": (
        "tests/deploy/test_bundle.py::test_a_bundle_runs_with_nothing_beside_it"
    ),
    "uvicorn examples.guess:app": "tests/test_commands.py::test_the_same_under_uvicorn",
}
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="--instances is for Linux")


def _of(command: str) -> list[str]:
    return [line for line, words in WORDS.items() if words[:2] == ("longwire", command)]


@pytest.mark.parametrize("line", LINES)
def test_every_command_runs_or_says_what_it_needs(line: str) -> None:
    """In a comment at its end; or a test is named that exists."""
    said = line.partition("#")[2]
    if NEEDS_AN_ACCOUNT in said:
        return
    if any(line in _of(command) for command in ("dev", "init", "sweep", "template")):
        return  # run below
    file, _, test = ELSEWHERE[line.partition("#")[0].strip()].partition("::")
    assert (ROOT / file).exists()
    if test:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert test in [node.name for node in tree.body if isinstance(node, functions)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the documents show, in files, and the examples."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    (tmp_path / "requirements.txt").write_text("fastapi\nlongwire\n", encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples", target_is_directory=True)
    return tmp_path


def _run(folder: Path, line: str, **environ: str) -> str:
    words = [sys.executable, "-m", *WORDS[line]]
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextlib.contextmanager
def _serving(folder: Path, *command: str, ready: str) -> Iterator[str]:
    """Start it, and end it; yield the line that says where it is."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            seen = []
            for line in process.stdout:
                seen.append(line)
                if ready in line:
                    break
            else:
                pytest.fail("".join(seen))
            yield line
        finally:
            process.terminate()
            process.stdout.read()


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, marks=[ON_LINUX] if "--instances" in line else []) for line in _of("dev")],
)
def test_longwire_dev_is_ready(line: str, folder: Path) -> None:
    """With free ports instead of the usual ones."""
    ports = ["--port", "0", "--http-port", "0"]
    with _serving(folder, *WORDS[line], *ports, ready="longwire dev: ready on ws://"):
        pass


@pytest.mark.parametrize("line", _of("template"))
def test_templates_are_written(line: str, folder: Path) -> None:
    """For the README's app, and nothing of its own is overwritten."""
    before = {path.name: path.read_bytes() for path in folder.glob("*.py")}
    assert ("wrote " if "--into" in line else "Resources:") in _run(folder, line)
    assert before.items() <= {path.name: path.read_bytes() for path in folder.glob("*.py")}.items()


def test_the_doctor_finds_nothing_in_a_new_template(folder: Path) -> None:
    """As somebody does who has both pages open."""
    pytest.importorskip("samtranslator")
    _run(folder, "longwire template sam main:app --into .")
    _run(folder, "longwire doctor template.yaml")


def test_a_new_project_is_made(tmp_path: Path) -> None:
    """The folder that the next command goes to."""
    _run(tmp_path, "longwire new my-chat")
    assert (tmp_path / "my-chat/Makefile").exists()


@pytest.mark.parametrize("line", _of("init"))
def test_what_a_store_needs_is_made(line: str, tmp_path: Path, emulator: str) -> None:
    """At an emulator, in the place of an account."""
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    assert "created " in _run(tmp_path, line, AWS_ENDPOINT_URL=emulator, **keys)


@pytest.fixture
def emulator() -> Iterator[str]:
    """An emulator of DynamoDB and S3."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # What other tests have made in this process is there, too.
    reset = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
    with urllib.request.urlopen(reset):
        pass
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.parametrize("line", _of("sweep"))
def test_a_sweep_looks_at_all(line: str, folder: Path) -> None:
    """Of a store without connections, so that nobody is asked about any."""
    nowhere = "http://127.0.0.1:9/local"
    environ = {"LONGWIRE_DSN": "sqlite:///ws.sqlite3", "WS_MANAGEMENT_ENDPOINT": nowhere}
    assert _run(folder, line, **environ)


def test_the_client_of_a_terminal(folder: Path) -> None:
    """It says hello to who connects, and passes on what is typed."""
    (line,) = (line for line in LINES if "python -m websockets 'ws:" in line)
    with _serving(folder, "longwire", "dev", "main:app", "--port", "0", ready="ready on") as ready:
        url = re.search(r"ws://[\d.:]+", ready)
        assert url is not None
        command = [word.replace("ws://127.0.0.1:3001", url[0]) for word in WORDS[line][1:]]
        with subprocess.Popen(
            [sys.executable, "-u", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write("hi\n")
            client.stdin.flush()
            said = ""
            while "ann: HI" not in said:
                said += (got := client.stdout.read(1))
                assert got, said
            client.stdin.close()
    assert "hello ann" in said


def test_the_same_under_uvicorn(folder: Path) -> None:
    """The page says that the example runs there, too."""
    (line,) = (line for line in LINES if line.startswith("uvicorn "))
    with _serving(folder, *WORDS[line], "--port", "0", ready="Uvicorn running on"):
        pass
