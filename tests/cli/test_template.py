"""`longwire template`: what it finds out about a target, what it writes, what it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import longwire
from longwire.cli import main as cli
from longwire.deploy.plan import STORES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHAT = """
from fastapi import FastAPI, WebSocket
app = FastAPI()
@app.websocket("/rooms/{room}")
async def talk(socket: WebSocket, room: str) -> None: ...
@app.websocket("/chat")
async def chat(socket: WebSocket) -> None: ...
"""
WITH_HTTP = (
    CHAT
    + """
@app.get("/hello")
async def hello() -> str: return "hello"
"""
)
PLAIN = """
from longwire import Longwire
async def app(scope, receive, send): ...
"""
HANDLER = PLAIN + "handler = Longwire(app)\n"
AUTH = "def authorize(event, context): ...\nasync def later(event, context): ...\n"
LONGWIRE = f"longwire=={longwire.__version__}"


class Folder:
    """A folder with an app, and what the command makes of it."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return the exit code, and what was printed."""
        code = cli.main(["template", *arguments])
        return code, *self._capsys.readouterr()

    def printed(self, *arguments: str) -> str:
        code, output, errors = self.run(*arguments)
        assert (code, errors) == (0, "")
        return output

    def refused(self, *arguments: str) -> str:
        before = self.there
        code, output, errors = self.run(*arguments)
        assert (code, output) == (2, "")
        assert self.there == before
        assert errors.startswith("longwire: ")
        assert errors.count("\n") == 1
        return errors.removeprefix("longwire: ").rstrip("\n")

    @property
    def there(self) -> dict[str, str]:
        return {
            path.relative_to(self.path).as_posix(): path.read_text()
            for path in self.path.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Folder]:
    """Modules are forgotten after the test."""
    (tmp_path / "my-chat").mkdir()
    monkeypatch.chdir(tmp_path / "my-chat")
    path, modules = list(sys.path), set(sys.modules)
    yield Folder(tmp_path / "my-chat", capsys)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) is None or name.split(".")[0] in (
            *("main", "app", "auth", "chat", "shop", "lambda_function"),
        ):
            del sys.modules[name]


def function(template: str) -> dict[str, str]:
    """Return what a SAM template says in one line each."""
    return dict(re.findall(r"^ +([A-Z_a-z]+): (?:!Sub )?([^#\n]+?)(?: #.*)?$", template, re.M))


# What is found out


def test_an_app_gets_a_handler_that_lambda_can_call(folder: Folder) -> None:
    """All files are beside it, and what they say is so."""
    folder.write(main=CHAT)
    code, output, errors = folder.run("sam", "--into", ".")
    assert (code, errors) == (0, "")
    assert output == "wrote template.yaml\nwrote requirements.txt\nwrote lambda_function.py\n"
    files = folder.there
    assert function(files["template.yaml"])["Handler"] == "lambda_function.handler"
    assert function(files["template.yaml"])["CodeUri"] == '"."'
    assert files["requirements.txt"].startswith(f"{LONGWIRE}\nfastapi==")
    script = "import lambda_function as f; print(f.app is f.handler.app, f.handler.settings.ttl)"
    environ = {**os.environ, "LONGWIRE_DSN": "memory://?ttl=77"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environ, check=True
    )
    assert done.stdout == "True 77\n"


def test_a_printed_template_says_what_is_not_there_yet(folder: Folder) -> None:
    folder.write(main=CHAT)
    code, output, errors = folder.run("sam")
    assert code == 0
    assert output.startswith("AWSTemplateFormatVersion")
    assert "--into DIR writes lambda_function.py, with the lines from longwire import" in errors
    assert folder.run("sam", "--into", ".")[0] == 0
    assert folder.printed("sam") == output


@pytest.mark.parametrize(
    ("module", "target", "handler"),
    [
        ("main", None, "main.handler"),
        ("main", "main", "main.handler"),
        ("main", "main.py", "main.handler"),
        ("main", "main.py:handler", "main.handler"),
        ("shop__chat", "shop.chat:handler", "shop.chat.handler"),
    ],
)
def test_a_handler_is_called_itself(
    folder: Folder, module: str, target: str | None, handler: str
) -> None:
    folder.write(**{module: HANDLER})
    template = folder.printed("sam", *([target] if target else []))
    assert function(template)["Handler"] == handler
    assert folder.run("sam", *([target] if target else []), "--into", ".")[0] == 0
    assert folder.there["requirements.txt"] == f"{LONGWIRE}\n"
    assert "lambda_function.py" not in folder.there


@pytest.mark.parametrize(
    ("source", "arguments", "lines"),
    [
        (
            "from longwire import Longwire\n" + CHAT + "def create_app(): return app\n",
            ["main:create_app", "--factory"],
            ["from longwire import Longwire", "from main import create_app"],
        ),
        (
            HANDLER + "def make(): return handler\n",
            ["main:make", "--factory"],
            ["from main import make", "handler = make()"],
        ),
        (
            HANDLER + "class box:\n    inner = handler\n",
            ["main:box.inner"],
            ["from main import box", "handler = box.inner"],
        ),
        (
            PLAIN + "class box:\n    inner = staticmethod(app)\n",
            ["main:box.inner"],
            ["from main import box", "handler = Longwire(box.inner)"],
        ),
    ],
)
def test_what_lambda_cannot_name_gets_a_name(
    folder: Folder, source: str, arguments: list[str], lines: list[str]
) -> None:
    folder.write(main=source)
    assert folder.run("sam", *arguments, "--into", ".")[0] == 0
    entry = folder.there["lambda_function.py"]
    assert set(lines) <= set(entry.splitlines())
    script = "import lambda_function as f; print(type(f.handler).__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "Longwire\n", done.stderr


def test_an_app_in_a_file_that_is_called_as_the_entry_is(folder: Folder) -> None:
    folder.write(lambda_function=CHAT)
    assert folder.run("sam", "lambda_function:app", "--into", ".")[0] == 0
    assert "from lambda_function import app" in folder.there["lambda_entry.py"]


def test_a_folder_of_its_own_knows_where_the_code_is(folder: Folder) -> None:
    """What belongs to the app is beside the app all the same."""
    folder.write(src__main=CHAT)
    code, output, _ = folder.run("sam", "src/main.py", "--into", "infra/aws")
    assert code == 0
    assert function(folder.there["infra/aws/template.yaml"])["CodeUri"] == '"../../src"'
    assert {"src/lambda_function.py", "src/requirements.txt"} <= folder.there.keys()
    assert f"wrote {os.path.join('infra', 'aws', 'template.yaml')}" in output


def test_what_is_printed_knows_where_the_code_is_from_here(folder: Folder) -> None:
    """As in `longwire template sam src/main.py > template.yaml`."""
    folder.write(src__main=CHAT)
    code, output, _ = folder.run("sam", "src/main.py")
    assert code == 0
    assert function(output)["CodeUri"] == '"src"'


def test_the_cdk_files_fit_together(folder: Folder) -> None:
    folder.write(app=HANDLER)
    assert folder.run("cdk", "--into", ".", "--name", "shop")[0] == 0
    files = folder.there
    assert files.keys() == {
        *("app.py", "longwire_construct.py", "cdk_app.py", "cdk.json", "requirements-cdk.txt"),
        "requirements.txt",
    }
    assert json.loads(files["cdk.json"])["app"].endswith(" cdk_app.py")
    for name in ("longwire_construct.py", "cdk_app.py"):
        compile(files[name], name, "exec")
    assert 'cdk.Stack(app, "shop")' in files["cdk_app.py"]


@pytest.mark.parametrize(
    ("source", "arguments", "answers"),
    [
        (CHAT, (), False),
        (WITH_HTTP, (), True),
        (WITH_HTTP, ("--no-http",), False),
        (CHAT, ("--http",), True),
        (PLAIN + "handler = Longwire(app, http=lambda event, context: None)\n", (), True),
        (HANDLER, (), False),
        (WITH_HTTP + "from longwire import Longwire\nhandler = Longwire(app)\n", (), True),
        ("def handler(event, context): ...\n", (), False),
        ("def handler(event, context): ...\n", ("--http",), True),
    ],
)
def test_http_is_there_if_the_app_answers_it(
    folder: Folder, source: str, arguments: tuple[str, ...], answers: bool
) -> None:
    folder.write(main=source)
    assert folder.run("sam", *arguments, "--into", ".")[0] == 0
    assert ("AWS::Serverless::HttpApi" in folder.there["template.yaml"]) is answers
    first = folder.there["requirements.txt"].splitlines()[0]
    assert first == (LONGWIRE.replace("==", "[http]==") if answers else LONGWIRE)


def test_the_url_has_a_path_of_the_app(folder: Folder) -> None:
    folder.write(main=CHAT)
    assert "/live?path=/chat\n" in folder.run("sam")[1]


@pytest.mark.parametrize("store", STORES)
def test_each_store_brings_its_driver(folder: Folder, store: str) -> None:
    folder.write(main=HANDLER)
    assert folder.run("sam", "--store", store, "--into", ".", "--replay")[0] == 0
    extra = f"[{store}]" if store in ("redis", "postgresql") else ""
    assert folder.there["requirements.txt"] == LONGWIRE.replace("==", f"{extra}==") + "\n"
    dsn = function(folder.there["template.yaml"])["LONGWIRE_DSN"]
    assert dsn in (f"{store}://${{Connections}}?replay=true", "!Ref StoreDsn")


@pytest.mark.parametrize(
    ("dsn", "line"),
    [
        ("dynamodb://orders", "      TableName: orders"),
        ("dynamodb://orders?region=eu-west-1&replay=true", "      TableName: orders"),
        ("s3://orders/prefix", "      BucketName: orders"),
    ],
)
def test_the_code_may_name_the_table_or_bucket(folder: Folder, dsn: str, line: str) -> None:
    """No driver, no region and no account is needed for it."""
    folder.write(main=PLAIN + f"handler = Longwire(app, dsn={dsn!r})\n")
    assert line in folder.printed("sam")


def test_an_environment_of_this_machine_means_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is as it was, afterwards; --env-file is for what the code reads when it is imported."""
    before = {"LONGWIRE_DSN": "redis://nowhere", "LONGWIRE_FANOUT_QUEUE_URL": "https://q"}
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("UNTOLD", "x")
    monkeypatch.delenv("UNTOLD")
    folder.write(main="import os\nos.environ['UNTOLD']\n" + HANDLER)
    (folder.path / ".env").write_text("UNTOLD=1\n")
    assert "main.py:2: KeyError: 'UNTOLD'" in folder.refused("sam")
    assert "dynamodb://${Connections}" in folder.printed("sam", "--env-file", ".env")
    assert {name: os.environ.get(name) for name in (*before, "AWS_REGION")} == {
        **before,
        "AWS_REGION": None,
    }


@pytest.mark.parametrize(
    ("name", "stack"),
    [
        ("My chat_2", "My-chat-2"),
        ("2024-shop", "shop"),
        ("---", "longwire-app"),
        ("ö", "longwire-app"),
    ],
)
def test_a_stack_is_called_as_its_folder(
    folder: Folder, name: str, stack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.path / name).mkdir()
    monkeypatch.chdir(folder.path / name)
    (folder.path / name / "main.py").write_text(HANDLER)
    assert f"sam deploy --stack-name {stack} " in folder.printed("sam")


def test_each_option_adds_what_it_says(folder: Folder) -> None:
    folder.write(main=HANDLER, auth=AUTH)
    plain = folder.printed("sam")
    other = "3.13" if sys.version_info[:2] == (3, 12) else "3.12"  # than the one that runs here
    for option, kind in (
        ("--authorizer=auth:authorize", "AuthType: CUSTOM"),
        ("--fanout", "AWS::SQS::Queue"),
        ("--sweep", "Type: Schedule"),
        ("--domain=WS.example.com", "DomainName: ws.example.com"),
        ("--logs", "LogFormat: JSON"),
        ("--alarms", "AWS::CloudWatch::Alarm"),
        ("--http", "AWS::Serverless::HttpApi"),
        ("--arch=x86_64", "Architectures: [x86_64]"),
        (f"--python={other}", f"Runtime: python{other}"),
        ("--memory=1769", "MemorySize: 1769"),
        ("--timeout=12", "Timeout: 12"),
        ("--name=shop", "--stack-name shop"),
    ):
        assert kind not in plain
        assert kind in folder.printed("sam", option)
    source = "route.request.header.Authorization"
    template = folder.printed("sam", "--authorizer", "auth:authorize", "--identity-source", source)
    assert f"          - {source}\n" in template
    assert function(template)["Handler"] == "auth.authorize"


# What is refused


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--name", "1st"], "--name: expected 1 to 40 letters, digits and '-', a letter first"),
        (["--name", "a" * 41], "--name: expected"),
        (["--name", "a b"], "--name: expected"),
        (["--memory", "64"], "--memory: expected 128 to 10240 MB"),
        (["--timeout", "901"], "--timeout: expected 3 to 900 seconds"),
        (["--timeout", "0"], "--timeout: expected"),
        (["--domain", "https://ws.example.com"], "--domain: expected ws.example.com, say"),
        (["--domain", "example"], "--domain: expected"),
        (["--domain", "a..b"], "--domain: expected"),
        (["--identity-source", "x"], "--identity-source: needs --authorizer"),
        (["--authorizer", "auth"], "--authorizer: 'auth' is not of the form MODULE:ATTRIBUTE"),
        (["--authorizer", "auth:nope"], "--authorizer: module 'auth' has no"),
        (["--authorizer", "nope:nope"], "--authorizer: there is no module 'nope'"),
        (["--authorizer", "auth:later"], "--authorizer: auth:later is async"),
        (["--authorizer", "main:handler"], "--authorizer: main:handler is not a Lambda function"),
        (
            ["--authorizer", "auth:authorize", "--identity-source", "token"],
            "--identity-source: 'token' is not of the form route.request.header.NAME",
        ),
        (["nope"], "there is no module 'nope'"),
        (["nope.py"], "there is no file nope.py"),
        (["main:nope"], "module 'main' has no attribute 'nope'"),
        (["main:text"], "main:text is of type str"),
        (["--env-file", "nope"], "--env-file: nope: No such file or directory"),
    ],
)
def test_what_cannot_be_is_one_line(folder: Folder, arguments: list[str], text: str) -> None:
    folder.write(main=HANDLER + "text = ''\n", auth=AUTH)
    assert text in folder.refused("sam", *arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the following arguments are required: sam|cdk|terraform|serverless"),
        (["sma"], "invalid choice: 'sma' (choose from "),
        (["sam", "--stack-name", "x"], "there is no option --stack-name; did you mean --name?"),
        (["sam", "-o", "x"], "there is no option -o; did you mean --into?"),
        (["sam", "--store", "mysql"], "argument --store: invalid choice: 'mysql'"),
        (["sam", "--store", "sqlite3"], "argument --store: invalid choice: 'sqlite3'"),
        (["sam", "--http", "--no-http"], "argument --no-http: not allowed with argument --http"),
        (["sam", "--arch", "arm"], "argument --arch: invalid choice: 'arm'"),
        (["sam", "--python", "3.9"], "argument --python: invalid choice: '3.9'"),
        (["sam", "--memory", "big"], "argument --memory: invalid int value: 'big'"),
        (["sam", "--alarm"], "there is no option --alarm; did you mean --alarms?"),
    ],
)
def test_what_is_no_command_line(
    folder: Folder, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write(main=HANDLER)
    with pytest.raises(SystemExit) as ended:
        folder.run(*arguments)
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


def test_what_code_prints_is_not_in_the_template(folder: Folder) -> None:
    folder.write(main="print('starting')\n" + HANDLER)
    code, output, errors = folder.run("sam")
    assert (code, output.partition("\n")[0]) == (0, 'AWSTemplateFormatVersion: "2010-09-09"')
    assert errors == "starting\n"


def test_without_an_app_nothing_is_made(folder: Folder) -> None:
    assert "there is no main.py or app.py in" in folder.refused("sam")
    folder.write(main="import nothing_like_it\n")
    assert "main.py:1: No module named 'nothing_like_it'" in folder.refused("sam")


@pytest.mark.parametrize(
    ("arguments", "handler", "text"),
    [
        ([], "dsn='redis://host'", "names a store in its code that no template can make (redis)"),
        ([], "dsn='sqlite:////tmp/x'", "that no template can make (sqlite3)"),
        ([], "dsn='memory://'", "that no template can make (memory)"),
        ([], "ws_config={'backend': MemoryBackend()}", "that no template can make (memory)"),
        ([], f"dsn='dynamodb://{'arn:aws:dynamodb:eu-west-1:1:table%2Ft'}'", "(dynamodb)"),
        (["--store", "s3"], "dsn='dynamodb://table'", "--store: main:handler names its store in"),
        (["--replay"], "dsn='dynamodb://table'", "--replay: main:handler names its store in"),
        (["--fanout"], "dsn='dynamodb://table'", "--fanout: main:handler names its store in"),
        ([], "fanout={'queue_url': 'https://sqs.eu-west-1.amazonaws.com/1/q'}", "names a queue"),
    ],
)
def test_code_that_reads_nothing_of_the_stack_is_no_surprise(
    folder: Folder, arguments: list[str], handler: str, text: str
) -> None:
    source = PLAIN + "from longwire_backends.memory import MemoryBackend\n"
    folder.write(main=f"{source}handler = Longwire(app, {handler})\n")
    assert text in folder.refused("sam", *arguments)


@pytest.mark.anyio
async def test_mangum_is_not_for_websockets(folder: Folder) -> None:
    """Where a loop runs: elsewhere Mangum makes one that nobody closes."""
    folder.write(main=CHAT + "from mangum import Mangum\nhandler = Mangum(app)\n")
    assert "main:handler is a handler of HTTP events alone" in folder.refused("sam", "main:handler")
    assert "lambda_function.handler" in folder.run("sam")[1]


def test_an_app_elsewhere_needs_its_folder(folder: Folder) -> None:
    """Its code would not be on Lambda."""
    folder.write(src__chat=HANDLER)
    sys.path.append(str(folder.path / "src"))
    text = folder.refused("sam", "chat:handler")
    assert text.startswith("chat is not in the folder whose code is uploaded")
    assert text.endswith("add --app-dir src")
    assert folder.run("sam", "chat:handler", "--app-dir", "src")[0] == 0


@pytest.mark.parametrize("name", ["template.yaml", "lambda_function.py"])
def test_nothing_is_overwritten(folder: Folder, name: str) -> None:
    """And then nothing at all is written."""
    folder.write(main=CHAT)
    (folder.path / name).write_text("mine")
    text = folder.refused("sam", "--into", ".")
    assert text.startswith(f"--into: {name} is there already, and nothing is overwritten: ")


def test_what_is_there_as_it_would_be_written_is_no_obstacle(folder: Folder) -> None:
    """So that a second tool can be tried."""
    folder.write(main=CHAT)
    assert folder.run("sam", "--into", ".")[0] == 0
    before = folder.there
    code, output, _ = folder.run("cdk", "--into", "infra")
    assert code == 0
    assert "lambda_function" not in output
    assert folder.there == {**folder.there, **before}


@pytest.mark.parametrize(
    ("there", "text"),
    [
        (
            "fastapi\n",
            "--into: requirements.txt is there already, and lacks longwire: add the line",
        ),
        ("# longwire\nlongwire-other\n", "and lacks longwire"),
        ("longwire>=0.1\n", "and lacks the extra http of longwire: add the line longwire[http]=="),
        ("longwire[dev]\n", "and lacks the extra http"),
        ("longwire[dev, HTTP] >= 0.1 # x\n", None),
        ("-r other.txt\nLongwire[http]@ file:///wheel\n", None),
    ],
)
def test_requirements_of_ones_own_stay_as_they_are(
    folder: Folder, there: str, text: str | None
) -> None:
    folder.write(main=WITH_HTTP)
    (folder.path / "requirements.txt").write_text(there)
    if text is not None:
        assert text in folder.refused("sam", "--into", ".")
        return
    assert folder.run("sam", "--into", ".")[0] == 0
    assert folder.there["requirements.txt"] == there


def test_a_folder_that_cannot_be_is_one_line(folder: Folder) -> None:
    folder.write(main=HANDLER)
    (folder.path / "file").write_text("")
    code, _, errors = folder.run("sam", "--into", "file/infra")
    assert (code, errors.count("\n")) == (1, 1)
    assert "cannot write" in errors


def test_nothing_of_aws_is_imported_and_nobody_is_asked(folder: Folder) -> None:
    folder.write(main=WITH_HTTP, auth=AUTH)
    script = """
import socket, sys
def refuse(*given): raise AssertionError(given)
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from longwire.cli.main import main
for tool in ("sam", "cdk"):
    for store in ("dynamodb", "s3", "redis", "postgresql"):
        options = "--authorizer auth:authorize --fanout --sweep --domain a.example --logs --alarms"
        assert main(["template", tool, "--store", store, *options.split()]) == 0
tops = {name.partition(".")[0] for name in sys.modules}
taken = tops & {"boto3", "botocore", "yaml", "samtranslator", "aws_cdk", "redis", "psycopg2"}
print(taken, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "set()"
