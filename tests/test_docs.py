"""The README says what is so: its code runs, its commands exist, its tables are the code's."""

from __future__ import annotations

import ast
import contextlib
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import longwire
from longwire import Longwire
from longwire.config.schema import OWN, STORES
from longwire.config.settings import Settings
from longwire.testing import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
# Each python block begins with the name of its file.
FILES = {code.split()[1]: code for language, code in FENCES if language == "python"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write all that the README shows into files, as a reader would."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    return tmp_path


def _run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_every_python_block_is_run() -> None:
    """A new block needs a test here."""
    assert sorted(FILES) == [
        "auth.py",
        "client.py",
        "counter.py",
        "function.py",
        "lonely.py",  # and together.py: tests/local/test_instances.py
        "main.py",
        "rooms.py",
        "test_main.py",
        "together.py",
    ]


def test_the_app_passes_its_own_test(folder: Path) -> None:
    """The README's test runs against the README's app."""
    output = _run(folder, "-m", "pytest", "-q", "-W", "error", "--rootdir", str(folder))
    assert "1 passed" in output


def test_the_client_talks_to_longwire_dev(folder: Path) -> None:
    """The commands and the client, with a free port instead of the usual one."""
    with _dev(folder, "main:app") as url:
        client = FILES["client.py"].replace("ws://127.0.0.1:3001", url)
        assert _run(folder, "-c", client) == "hello ann\nann: HI\n"


@contextlib.contextmanager
def _dev(folder: Path, *arguments: str) -> Iterator[str]:
    command = [sys.executable, "-m", "longwire", "dev", *arguments, "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as gateway:
        try:
            assert gateway.stdout is not None
            ready = re.search(r"ws://127.0.0.1:\d+", gateway.stdout.readline())
            assert ready is not None
            yield ready[0]
        finally:
            gateway.terminate()


async def test_the_counter_begins_anew_with_each_message() -> None:
    """The README's warning is true."""
    names: dict[str, Any] = {}
    exec(FILES["counter.py"], names)
    async with Gateway(names["app"]) as gateway, gateway.connect() as ws:
        for _ in range(2):
            await ws.send("")
            assert await ws.receive() == "message 1"


async def test_the_rooms_are_rooms() -> None:
    """Who sends gets nothing back, and all hear of who comes and goes."""
    names: dict[str, Any] = {}
    exec(FILES["rooms.py"], names)
    async with Gateway(names["app"]) as gateway:
        async with gateway.connect("/rooms/blue", query={"name": "ann"}) as ann:
            assert await ann.receive() == "ann joined"
            async with gateway.connect("/rooms/blue", query={"name": "bob"}) as bob:
                assert (await ann.receive(), await bob.receive()) == ("bob joined",) * 2
                await bob.send("hi")
                assert await ann.receive() == "bob: hi"
                await bob.nothing()
            assert await ann.receive() == "bob left"


def test_the_function_answers_and_refuses(folder: Path) -> None:
    """Served by longwire dev, as any other Lambda function."""
    script = (
        "import sys; from websockets.sync.client import connect\n"
        "from websockets.exceptions import InvalidStatus\n"
        "with connect(sys.argv[1] + '?token=open-sesame') as ws:\n"
        "    ws.send('hi'); print(ws.recv())\n"
        "try: connect(sys.argv[1])\n"
        "except InvalidStatus as error: print(error.response.status_code)\n"
    )
    with _dev(folder, "function:handler") as url:
        assert _run(folder, "-c", script, url) == '{"you said":"hi"}\n401\n'


def test_the_authorizer_lets_in_who_has_the_token(folder: Path) -> None:
    """With the README's own command line."""
    command = re.search(r"^longwire dev (main:app --authorizer .*)$", README, re.MULTILINE)
    assert command is not None
    script = (
        "import sys; from websockets.sync.client import connect\n"
        "from websockets.exceptions import InvalidStatus\n"
        "url = sys.argv[1] + '?path=/shout&name=ann'\n"
        "with connect(url + '&token=open-sesame') as ws: print(ws.recv())\n"
        "for end in ('', '&token=x'):\n"
        "    try: connect(url + end)\n"
        "    except InvalidStatus as error: print(error.response.status_code)\n"
    )
    with _dev(folder, *command[1].split()) as url:
        assert _run(folder, "-c", script, url) == "hello ann\n401\n401\n"


async def test_the_authorizer_says_what_the_readme_shows() -> None:
    """Its context, as the app sees it with a message."""
    names: dict[str, Any] = {}
    exec(FILES["auth.py"], names)
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async with Gateway(app, authorizer=names["authorize"]) as gateway:
        async with gateway.connect(query={"token": "open-sesame"}) as ws:
            await ws.send("")
    shown = re.search(r'\["authorizer"\]` is\n`(.*?)`', README)
    assert shown is not None
    websockets = [scope for scope in seen if scope["type"] == "websocket"]
    context = websockets[1]["aws.event"]["requestContext"]["authorizer"]
    assert context == ast.literal_eval(shown[1])


# Commands


def _words(pattern: str, text: str) -> set[str]:
    return set(re.findall(pattern, text))


def test_every_make_target_exists() -> None:
    """Those in the text and those in shell blocks."""
    targets = _words(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"))
    shown = _words(r"(?m)(?:^|`)make ([a-z]+)", README)
    assert shown
    assert shown <= targets


def test_every_option_exists() -> None:
    """They are options of the commands of `longwire`; no other program's are shown."""
    options = r"--[a-z][a-z-]*"
    existing = set.union(
        *(
            _words(options, _run(ROOT, "-m", "longwire", name, "--help"))
            for name in ("dev", "init", "sweep")
        )
    )
    shown = _words(options, README)
    assert shown
    assert shown <= existing


def test_every_example_exists() -> None:
    """Files that the README names are there."""
    assert all((ROOT / name).exists() for name in _words(r"`([\w/]+(?:\.py|\.md|/))`", README))


# Tables


def _rows(head: str) -> Iterator[list[str]]:
    table = README.split(f"\n{head}", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    for row in table:
        yield [cell.strip() for cell in row[1:-1].split("|")]


def _code(cell: str) -> str:
    return cell.strip("`")


def test_settings_are_all_there_with_their_defaults() -> None:
    """In the order and with the defaults of the code."""
    shown = {_code(name): default for name, _, default, _ in _rows("| `ws_config` key |")}
    assert list(shown) == [key.name for key in OWN]
    defaults = Settings(backend="memory", params={})
    for name in shown.keys() - {"backend", "params"}:
        default = getattr(defaults, name.removeprefix("api_gateway_"))
        value = ast.literal_eval(_code(shown[name]))
        assert value == (list(default) if isinstance(default, frozenset) else default)


def test_stores_are_all_there_with_their_parameters() -> None:
    """Names, defaults and what each store needs."""
    rows = {_code(name): rest for name, *rest in _rows("| `backend` | needs |")}
    assert rows.keys() == STORES.keys()
    for name, (needs, params, *_) in rows.items():
        shown = re.findall(r"`(\w+)(?:=([^`]*))?`", params)
        expected = [(key.name, key.default) for key in STORES[name].keys]
        assert [(key, ast.literal_eval(text or "None")) for key, text in shown] == expected
        alternatives = [", ".join(f"`{key}`" for key in keys) for keys in STORES[name].needs]
        assert needs == ", or ".join(alternatives)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("backend", "dsn"),
    [
        (_code(row[0]), dsn)
        for row in _rows("| `backend` | needs |")
        for dsn in re.findall(r"`([^`]+)`", row[3])
    ],
)
def test_dsn_forms_are_taken(backend: str, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each makes a handler with that store."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert Longwire(_app, dsn=dsn).settings.backend == backend


def test_changelog_has_the_version() -> None:
    """A release has a heading of its own."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{longwire.__version__}]" in changes
