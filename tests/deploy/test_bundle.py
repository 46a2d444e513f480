"""`longwire bundle`: a zip that runs alone, with nothing in it that no function needs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from longwire.cli import packages
from longwire.cli.main import main
from longwire.deploy import bundle
from longwire.deploy.plan import PYTHONS, Plan
from longwire.local.function.inline import ThreadFunction
from longwire.local.server.server import LocalGateway
from tests.asgi.test_http import HTTP_EVENT
from tests.deploy.wheels import invented, of_fastapi

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

APP = """
from pathlib import Path

from fastapi import FastAPI, WebSocket

from longwire import Connections, Longwire

app = FastAPI()
connections = Connections()


@app.get("/")
async def page() -> str:
    return Path(__file__).with_name("page.txt").read_text()


@app.websocket("/ws")
async def ws(ws: WebSocket) -> None:
    await connections.group_add("all", ws)  # so that nobody is answered who is not in it
    await ws.accept()
    async for text in ws.iter_text():
        await connections.group_send("all", text.upper())


handler = Longwire(app)
"""
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip takes everything from; the folder of the app is the current one."""
    folder, app = tmp_path / "wheels", tmp_path / "app"
    folder.mkdir()
    app.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.chdir(app)
    return folder


@pytest.fixture
def app(wheels: Path, tmp_path: Path) -> Path:
    """An app without a framework, and what is beside it."""
    folder = tmp_path / "app"
    (folder / "main.py").write_text(
        "from longwire import Longwire\n"
        "async def app(scope, receive, send): ...\n"
        "handler = Longwire(app)\n"
    )
    return folder


def _bundle(*arguments: str) -> int:
    # `main` is another app in each test.
    sys.modules.pop("main", None)
    path = [*sys.path]
    try:
        return main(["bundle", *arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.path[:] = path
        sys.modules.pop("main", None)


def _content(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


# It runs alone

ALONE = """
import json, sys, time
sys.path[:0] = [sys.argv[1]]
import main

class Context:
    aws_request_id = "1"
    end = time.monotonic() + 30
    def get_remaining_time_in_millis(self):
        return int((self.end - time.monotonic()) * 1000)

for line in sys.stdin:
    print(json.dumps(main.handler(json.loads(line), Context())), flush=True)
print(json.dumps(sorted(str(getattr(one, "__file__", None)) for one in sys.modules.values())))
"""


class Alone:
    """A function in a process that has nothing but the bundle, and Python's own modules."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.command = [sys.executable, "-ISB", "-c", ALONE, str(folder)]
        self.environ = {"LONGWIRE_DSN": f"sqlite:///{scratch / 'store.sqlite3'}"}
        self._turn = threading.Lock()  # one event at a time, as on Lambda

    def start(self, endpoint: str) -> None:
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**self.environ, "WS_MANAGEMENT_ENDPOINT": endpoint},
        )

    def __call__(self, event: dict[str, Any], context: object) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self._turn:
            self.process.stdin.write(json.dumps(event) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())

    def modules(self) -> list[str]:
        """End it, and return the files of all modules that it has loaded."""
        with self._turn:
            said, _ = self.process.communicate()
        files: list[str] = json.loads(said)
        return [file for file in files if file not in ("None", "<frozen>")]


def _asking(path: str) -> dict[str, Any]:
    context = HTTP_EVENT["requestContext"]
    http = {**context["http"], "method": "GET", "path": path}
    return {**HTTP_EVENT, "rawPath": path, "requestContext": {**context, "http": http}}


@pytest.mark.anyio
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the wheels here are not Lambda's")
async def test_a_bundle_runs_with_nothing_beside_it(wheels: Path, tmp_path: Path) -> None:
    """FastAPI, sockets, groups, HTTP and a file of data, without what this machine has."""
    of_fastapi(wheels)
    (tmp_path / "app" / "main.py").write_text(APP)
    (tmp_path / "app" / "page.txt").write_text("a page")
    (tmp_path / "app" / "requirements.txt").write_text("longwire[http,dev]>=0.1\nfastapi\n")
    assert (
        await asyncio.to_thread(_bundle, "--into", "f.zip", "--arch", "x86_64", "--python", HERE)
        == 0
    )
    unzipped = tmp_path / "task"
    with zipfile.ZipFile("f.zip") as file:
        file.extractall(unzipped)
    alone = Alone(unzipped, tmp_path)
    async with ThreadFunction(alone).running() as function, LocalGateway(function) as gateway:
        alone.start(gateway.management_url)
        path = f"{gateway.url}/?path=/ws"
        async with connect(path) as ann, connect(path) as bob:
            await ann.send("hello")
            assert [await ann.recv(), await bob.recv()] == ["HELLO", "HELLO"]
        answer = await asyncio.to_thread(alone, _asking("/"), None)
    assert (answer["statusCode"], answer["body"]) == (200, '"a page"')
    files = await asyncio.to_thread(alone.modules)
    standard = json.__file__.rpartition("/json/")[0]
    assert [f for f in files if not f.startswith((str(unzipped), standard))] == []
    assert any(file.startswith(str(unzipped)) for file in files)


def test_no_source_is_compiled_at_a_cold_start(app: Path, tmp_path: Path) -> None:
    """What is in the zip is what Python takes, though the times of files are all the same."""
    assert _bundle("--into", "f.zip", "--python", HERE) == 0
    with zipfile.ZipFile("f.zip") as file:
        file.extractall(tmp_path / "task")
    script = f"import sys; sys.path.insert(0, {str(tmp_path / 'task')!r}); import main"
    done = subprocess.run(
        [sys.executable, "-ISBv", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"LONGWIRE_DSN": "memory://"},
    )
    sourced = [line for line in done.stderr.splitlines() if "code object from" in line]
    ours = [line for line in sourced if str(tmp_path) in line]
    assert len(ours) > 30
    assert [line for line in ours if ".pyc'" not in line] == []


# What is in it


def test_its_bytes_are_the_same_each_time(app: Path, tmp_path: Path) -> None:
    """Wherever it is made, whenever, and whatever the order of files in a folder is."""
    (app / "b.py").write_text("names = {'a', 'b', 'c'}\n")
    assert _bundle("--into", "one.zip", "--python", HERE) == 0
    first = (app / "one.zip").read_bytes()
    (app / "one.zip").unlink()
    (app / "b.py").rename(app / "c.py")
    (app / "c.py").rename(app / "b.py")
    assert _bundle("--into", str(tmp_path / "two.zip"), "--python", HERE) == 0
    assert (tmp_path / "two.zip").read_bytes() == first
    names = [*_content(tmp_path / "two.zip")]
    assert names == sorted(names)
    assert str(tmp_path).encode() not in b"".join(_content(tmp_path / "two.zip").values())


def test_what_is_about_the_app_is_left_out(app: Path) -> None:
    for path in (
        *(".env", ".git/config", "tests/test_main.py", "test_it.py", "conftest.py", "Makefile"),
        *("venv/pyvenv.cfg", "venv/lib/x.py", "old.zip", "a.sqlite3", "server.pem", "x.tfstate"),
        *("infra/main.tf", "serverless.yml", "template.yaml", "requirements-dev.txt"),
        *("package/__init__.py", "package/data.json", "package/deep/test_x.py", "templates/a.html"),
    ):
        (app / path).parent.mkdir(parents=True, exist_ok=True)
        (app / path).write_text("")
    assert _bundle("--into", "f.zip", "--no-bytecode") == 0
    of_app = {path for path in _content(app / "f.zip") if not path.startswith("longwire")}
    assert of_app == {
        "main.py",
        "package/__init__.py",
        "package/data.json",
        "templates/a.html",
    }


def test_what_is_left_out_of_the_app_is_told(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may be that the app needs it; what a page is made of, in `dist` or `build`, is packed."""
    for path in ("static/dist/a.js", "build/b.js", "certs/rds.pem", "tests/deep/x.py", ".env"):
        (app / path).parent.mkdir(parents=True, exist_ok=True)
        (app / path).write_text("")
    assert _bundle("--into", "f.zip", "--no-bytecode") == 0
    assert {"static/dist/a.js", "build/b.js"} <= _content(app / "f.zip").keys()
    assert "  left out of the app: certs/rds.pem, tests\n" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_a_pipe_is_not_waited_for(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(app / "control")
    assert _bundle("--into", "f.zip", "--no-bytecode") == 0
    assert "  left out of the app: control\n" in capsys.readouterr().out


def test_links_to_folders_are_followed_and_not_in_circles(app: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "names.py").write_text("")
    (shared / "back").symlink_to(app, target_is_directory=True)
    for name in ("one", "two"):
        (app / name).symlink_to(shared, target_is_directory=True)
    assert _bundle("--into", "f.zip", "--no-bytecode") == 0
    of_app = {path for path in _content(app / "f.zip") if not path.startswith("longwire")}
    assert of_app == {"main.py", "one/names.py", "two/names.py"}


def test_of_longwire_the_tools_are_left_out(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _bundle("--into", "f.zip", "--no-bytecode") == 0
    names = {path for path in _content(app / "f.zip") if path.startswith("longwire")}
    assert {"longwire/handler.py", "longwire_aws/http.py", "longwire/channels.py"} <= names
    assert {path.split("/")[1] for path in names}.isdisjoint(
        {"cli", "deploy", "doctor", "local", "testing", "__pycache__"}
    )
    assert not any(path.startswith("longwire_pytest") for path in names)
    assert "left out: Longwire's command line, local gateway and testing" in capsys.readouterr().out


def test_no_module_of_a_function_imports_a_tool() -> None:
    """So that they may be left out; types alone are another matter."""
    names = [path.removesuffix(".py").replace("/", ".") for path in packages.own()]
    assert len(names) > 150
    left_out = tuple(name.replace("/", ".") for name in bundle.TOOLS)
    code = "import sys\nfrom importlib import import_module\n"
    code += f"for name in {[name for name in names if name != 'longwire.__main__']}:\n"
    code += "    import_module(name.removesuffix('.__init__'))\n"
    code += f"print([name for name in sys.modules if name.startswith({left_out})])\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_an_app_without_a_handler_gets_one(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (app / "main.py").write_text("async def app(scope, receive, send): ...\n")
    assert _bundle("main:app", "--into", "f.zip", "--no-bytecode") == 0
    entry = _content(app / "f.zip")["lambda_function.py"].decode()
    assert "handler = Longwire(app)" in entry
    assert "handler lambda_function.handler" in capsys.readouterr().out
    assert not (app / "lambda_function.py").exists()


# Packages


@pytest.mark.parametrize(
    ("arch", "machine"), [("arm64", "aarch64"), ("x86_64", "x86_64")], ids=["arm64", "x86_64"]
)
def test_wheels_are_those_of_lambdas_machine(
    wheels: Path, app: Path, arch: str, machine: str
) -> None:
    """With what they need, and neither their tests nor what pip notes."""
    for other in ("aarch64", "x86_64"):
        for library in ("2014", "_2_28", "_2_39"):
            tag = f"cp313-cp313-manylinux{library}_{other}"
            invented(wheels, "driver", tag, {"__init__.py": tag.encode()}, needs="plain")
    plain = dict.fromkeys(("__init__.py", "tests/test_a.py", "tests/data.py"), b"")
    invented(wheels, "plain", files=plain)
    (app / "requirements.txt").write_text("# ours\nlongwire\ndriver \\\n  ==1.0  # fast\n")
    assert _bundle("--into", "f.zip", "--arch", arch, "--python", "3.13") == 0
    content = _content(app / "f.zip")
    # Lambda's library of C is 2.34.
    assert content["driver/__init__.py"] == f"cp313-cp313-manylinux_2_28_{machine}".encode()
    assert {path for path in content if path.startswith("plain")} >= {
        "plain/__init__.py",
        "plain/tests/data.py",
        "plain-1.0.dist-info/METADATA",
    }
    assert "plain/tests/test_a.py" not in content
    assert "plain-1.0.dist-info/RECORD" not in content


def test_an_older_python_has_an_older_library(wheels: Path, app: Path) -> None:
    """Amazon Linux 2 has 2.26."""
    for tag in ("manylinux2014_aarch64", "manylinux_2_28_aarch64"):
        invented(wheels, "driver", f"cp311-cp311-{tag}", {"__init__.py": tag.encode()})
    (app / "requirements.txt").write_text("longwire\ndriver\n")
    assert _bundle("--into", "f.zip", "--python", "3.11") == 0
    assert _content(app / "f.zip")["driver/__init__.py"] == b"manylinux2014_aarch64"


def test_a_layer_has_the_packages_and_the_function_the_app(wheels: Path, app: Path) -> None:
    invented(wheels, "plain")
    (app / "requirements.txt").write_text("longwire\nplain\n")
    assert _bundle("--into", "f.zip", "--layer", "l.zip", "--python", HERE) == 0
    layer, function = _content(app / "l.zip"), _content(app / "f.zip")
    assert {"python/plain/__init__.py", "python/longwire/handler.py"} <= set(layer)
    assert {path.partition("/")[0] for path in layer} == {"python"}
    assert {path.partition(".")[0] for path in function} == {"main", "__pycache__/main"}


@pytest.mark.parametrize("extra", ["dynamodb", "s3"])
def test_what_lambda_has_is_left_out(
    app: Path, capsys: pytest.CaptureFixture[str], extra: str
) -> None:
    (app / "requirements.txt").write_text(f"longwire[{extra}, dev]==0.1.0\n")
    assert _bundle("--into", "f.zip", "--no-bytecode") == 0
    said = capsys.readouterr().out
    assert "left out: botocore (Lambda's Python has it), longwire[dev], Longwire's command" in said


def test_requirements_include_others(wheels: Path, app: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        invented(wheels, name)
    (tmp_path / "base.txt").write_text("longwire\none\n")
    (tmp_path / "limits.txt").write_text("two==1.0\n")
    (app / "requirements.txt").write_text("-r ../base.txt\n-c ../limits.txt\ntwo\n")
    assert _bundle("--into", "f.zip", "--no-bytecode") == 0
    assert {"one/__init__.py", "two/__init__.py"} <= set(_content(app / "f.zip"))


@pytest.mark.parametrize("python", PYTHONS)
def test_the_extras_are_those_of_the_metadata(python: str) -> None:
    """As pip would read them."""
    extras = packages._extras()
    assert extras["http"] == ["mangum>=0.17"]
    assert [line.partition(";")[0] for line in extras["postgresql"]] == [
        "psycopg2-binary>=2.9.10",
        "psycopg2-binary>=2.9.11",
    ]
    assert extras["postgresql"][1].partition("; ")[2].strip("()") in (
        "python_version >= '3.14'",
        'python_version >= "3.14"',
    )
    assert all(line.startswith("psycopg[binary]>=3.2") for line in extras["psycopg"])
    required = bundle.own_requirements(["longwire[http]>=0.1", "x"], extras)
    assert required == (("mangum>=0.17", "x"), ())
    assert f"manylinux2014_{'aarch64'}" in bundle.platforms(python, "arm64")


@pytest.mark.parametrize(
    ("line", "is_ours"),
    [
        ("longwire", True),
        ("Longwire==0.1", True),
        ("longwire @ https://example.com/longwire.whl", True),
        ("longwire;python_version>'3'", True),
        ("longwire-extra", False),
        ("longwire_other==1", False),
        ("longwires", False),
    ],
)
def test_which_line_is_ours(line: str, is_ours: bool) -> None:
    assert bundle.own_requirements([line], {}).lines == (() if is_ours else (line,))


def test_a_file_with_hashes_names_all_that_is_installed() -> None:
    """As `uv export` and `pip-compile --generate-hashes` write it; pip says what is missing."""
    extras = {"redis": ["redis>=5"], "postgresql": ["psycopg2-binary>=2"]}
    lines = ["longwire[redis]==0.1.0 --hash=sha256:1", "Redis==6.1.0 --hash=sha256:2"]
    assert bundle.own_requirements(lines, extras).lines == (lines[1],)
    lines[0] = "longwire[redis,postgresql]==0.1.0 --hash=sha256:1"
    assert bundle.own_requirements(lines, extras).lines == ("psycopg2-binary>=2", lines[1])


def test_pip_names_what_is_wrong_below_its_error() -> None:
    said = "ERROR: These do not:\n    sniffio from a wheel\n"
    assert packages._why(said, Plan("a", "main.handler")) == (
        "pip: These do not: sniffio from a wheel"
    )


def test_what_is_installed_to_be_edited_is_packed_like_the_rest(app: Path) -> None:
    (app / "requirements.txt").write_text("-e ../library\n--editable=./other\n")
    assert packages.required(app / "requirements.txt", ()).lines == ("../library", "./other")


# What is wrong


def test_too_much_for_lambda(
    wheels: Path,
    app: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is written, and what is large has a name."""
    invented(wheels, "giant", files={"__init__.py": b"", "data.bin": bytes(3_000_000)})
    (app / "requirements.txt").write_text("longwire\ngiant\n")
    monkeypatch.setattr(bundle, "UNZIPPED_LIMIT", 2_500_000)
    for more in ((), ("--layer", "l.zip")):
        assert _bundle("--into", "f.zip", "--no-bytecode", *more) == 1
        error = capsys.readouterr().err
        assert "Lambda takes 2.4 MB, with all layers: the largest are giant 2.9 MB, long" in error
        assert not (app / "f.zip").exists()
        assert not (app / "l.zip").exists()


def test_the_limit_is_lambdas() -> None:
    bundle.check_size({"a": bytes(262_144_000)})
    with pytest.raises(bundle.TooLargeError, match=r"250\.0 MB unzipped"):
        bundle.check_size({"a": bytes(262_144_000)}, {"b": b"x"})


def test_a_large_zip_goes_by_s3(
    app: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "ZIPPED_LIMIT", 1000)
    assert _bundle("--into", "f.zip", "--no-bytecode") == 0
    assert "upload it by way of S3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--into", "f.tar"), 2, "f.tar: expected the name of a zip, such as function.zip"),
        (("--into", "no/f.zip"), 2, "there is no folder no"),
        (("--into", "f.zip", "--layer", "f.zip"), 2, "--layer: name another file than --into"),
        (("--into", "f.zip", "--requirements", "no.txt"), 2, "there is no file no.txt"),
        (("--into", "f.zip", "--arch", "arm"), 2, "choose from 'arm64', 'x86_64'"),
        (("--into", "f.zip", "--python", "2.7"), 2, "choose from"),
        ((), 2, "the following arguments are required: --into"),
        (("nothing:app", "--into", "f.zip"), 2, "there is no module 'nothing'"),
        (("main:nothing", "--into", "f.zip"), 2, "has no attribute 'nothing'"),
    ],
)
def test_a_mistake_is_one_line(
    app: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    text: str,
) -> None:
    before = sorted(app.rglob("*.zip"))
    assert _bundle(*arguments) == code
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert sorted(app.rglob("*.zip")) == before


def test_requirements_that_cannot_be(
    wheels: Path, app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    invented(wheels, "driver", "cp313-cp313-manylinux2014_x86_64")
    listed = app / "requirements.txt"
    for content, code, text in (
        (b"driver\n", 1, "No matching distribution found for driver: there may be no wheel for"),
        (b"driver ==\n", 1, "pip: Invalid requirement: 'driver =='"),
        (b"-r requirements.txt\n", 2, "requirements.txt includes itself"),
        (b"-r nothing.txt\n", 2, "cannot read nothing.txt: No such file or directory"),
        (b"\xff\xfe", 2, "cannot read requirements.txt: it is not UTF-8"),
    ):
        listed.write_bytes(content)
        assert _bundle("--into", "f.zip", "--arch", "arm64", "--python", "3.13") == code
        error = capsys.readouterr().err
        assert text in error
        assert error.count("\n") == 1
        assert not (app / "f.zip").exists()


def test_only_an_earlier_bundle_is_replaced(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _bundle("--into", "f.zip", "--no-bytecode") == 0
    (app / "more.py").write_text("")
    assert _bundle("--into", "f.zip", "--no-bytecode") == 0
    assert "more.py" in _content(app / "f.zip")
    with zipfile.ZipFile(app / "mine.zip", "w") as mine:
        mine.writestr("a", "b")
    (app / "text.zip").write_text("mine")
    (app / "folder.zip").mkdir()
    for name in ("mine.zip", "text.zip", "folder.zip"):
        assert _bundle("--into", name) == 2
        assert "is none of this command's: nothing is overwritten" in capsys.readouterr().err
    assert (app / "text.zip").read_text() == "mine"


def test_without_that_python_nothing_is_compiled(
    app: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor with something that only has its name."""
    scripts = app / "scripts"
    scripts.mkdir()
    (scripts / "python3.14").write_text("#!/bin/sh\nexit 127\n")
    (scripts / "python3.14").chmod(0o755)
    other = next(one for one in ("3.14", "3.13") if one != HERE)
    for path in (str(scripts), str(app)):
        monkeypatch.setenv("PATH", path)
        assert _bundle("--into", "f.zip", "--python", other) == 0
        assert f"since there is no python{other} here" in capsys.readouterr().out
        assert [path for path in _content(app / "f.zip") if path.endswith(".pyc")] == []
