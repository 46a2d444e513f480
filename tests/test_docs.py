"""The documents say what is so: code runs, commands and links exist, tables are the code's."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import itertools
import json
import re
import shlex
import sqlite3
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

import longwire
from longwire import Longwire
from longwire.cli.main import COMMANDS as OF_LONGWIRE
from longwire.cli.main import make_parser
from longwire.config.schema import OWN, STORES
from longwire.config.settings import Settings
from longwire.deploy import cdk, sam
from longwire.deploy.plan import Plan
from longwire.testing import Gateway
from tests.documents import BLOCKS, FILES, PAGES, PROSE, ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from longwire import WSConfig
    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONFIGURATION = PAGES["docs/configuration.md"]
AUTHORIZERS = PAGES["docs/authorizers.md"]
# The pages about the code itself.
OF_THE_CODE = ("docs/how-it-works.md", "CONTRIBUTING.md")


def test_every_block_has_a_language_that_is_checked() -> None:
    """A new language needs a check here; `text` is for output and pictures."""
    assert {block.language for block in BLOCKS} <= {"python", "sh", "json", "text"}


# Python


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write all that the documents show into files, as a reader would."""
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
    """A new block needs a test here, and a name that no other block has."""
    assert sorted(code.split()[1] for code in blocks("python")) == [
        "auth.py",
        "board.py",
        "by_hand_before.py",
        "chalice_before.py",
        "chat_after.py",  # tests/test_migrate.py, as are all of these two kinds
        "chatty.py",  # tests/test_integrations.py, as is layers.py
        "client.py",
        "counter.py",
        "events_after.py",
        "forms.py",
        "function.py",
        "functions_after.py",
        "guarded.py",
        "history.py",
        "large.py",
        "layers.py",
        "login.py",
        "lonely.py",  # and together.py: tests/local/function/test_instances.py
        "main.py",
        "mangum_after.py",
        "mangum_before.py",
        "mangum_ws_before.py",
        "measure.py",
        "orders.py",
        "outside.py",
        "presence.py",
        "prices.py",  # tests/test_dumps.py
        "quiz.py",
        "relay.py",  # tests/test_production.py
        "rooms.py",
        "secret.py",
        "socketio_before.py",
        "test_board.py",
        "test_coroutines.py",
        "test_fixtures.py",
        "test_history.py",
        "test_main.py",
        "together.py",
        "typed.py",
        "viewer.py",
        "who.py",
        "zappa_before.py",
    ]


@pytest.mark.slow
def test_the_app_passes_its_own_test(folder: Path) -> None:
    """The documents' tests run against the README's app, and against their own."""
    plugin = ("-p", "no:longwire", "-p", "longwire_pytest")  # wherever it is installed
    output = _run(folder, "-m", "pytest", "-q", "-W", "error", *plugin, "--rootdir", str(folder))
    assert "8 passed" in output


def test_an_app_is_measured(folder: Path) -> None:
    """Without a network; what it says is a figure, whatever it is."""
    assert re.fullmatch(r"\d+\.\d\d ms of CPU for a message\n", _run(folder, "measure.py"))


def test_the_client_talks_to_longwire_dev(folder: Path) -> None:
    """The commands and the client, with a free port instead of the usual one."""
    with _dev(folder, "main:app", "--log-level", "info") as (url, gateway):
        client = FILES["client.py"].replace("ws://127.0.0.1:3001", url)
        assert _run(folder, "-c", client) == "hello ann\nann: HI\n"
        ready, shown = blocks("text", "README.md")
        assert f"  {url}/?path=/shout\n" in ready.replace("ws://127.0.0.1:3001", url)
        assert _alike(_lines(gateway, 3)) == _alike(shown)
    (logged,) = (text for text in blocks("text", "docs/observability.md") if "INFO" in text)
    assert _alike(logged) in _alike((folder / "stderr").read_text())


def test_longwire_dev_names_the_path_of_a_refused_handshake(folder: Path) -> None:
    """As its page shows."""
    shown = [text for text in blocks("text", "docs/local.md") if "CONNECT" in text]
    assert shown[0] == blocks("text", "README.md")[1]
    with _dev(folder, "main:app") as (url, gateway):
        _run(folder, "-c", STATUS_OF, f"{url}?path=/shuot&name=ann")
        assert _alike(_lines(gateway, 1)) == _alike(shown[1])


# Prints the status of a refused handshake.
STATUS_OF = """
import sys
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
try: connect(sys.argv[1])
except InvalidStatus as error: print(error.response.status_code)
"""


@contextlib.contextmanager
def _dev(folder: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-u", "-m", "longwire", "dev", *arguments, "--port", "0"]
    with (
        (folder / "stderr").open("w") as stderr,
        subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as gateway,
    ):
        try:
            assert gateway.stdout is not None
            ready = re.search(r"ws://127.0.0.1:\d+", gateway.stdout.readline())
            assert ready is not None
            yield ready[0], gateway
        finally:
            gateway.terminate()


def _lines(gateway: subprocess.Popen[str], number: int) -> str:
    assert gateway.stdout is not None
    lines = (line for line in gateway.stdout if not line.startswith("  "))  # of the routes
    return "".join(itertools.islice(lines, number))


def _alike(output: str) -> str:
    """Return what two runs print alike: no times, no ids, and nothing else that time decides."""
    output = re.sub(r"store requests: \d", "store requests: 1", output)
    output = re.sub(r"\d+\.\d+ ms", "0.0 ms", output)
    output = re.sub(r"(?m)^\d\d:\d\d:\d\d  ([A-Z]+ +)[\w=-]{8} ", r"00:00:00  \1QWErT_fA ", output)
    return re.sub(r"(\$\w+) \S+= ", r"\1 QWErT_fALIAMCug= ", output)


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_python_block_has_a_test(name: str) -> None:
    """By its name, or as a module of another block or of a command."""
    stem = re.escape(name.removesuffix(".py"))
    files = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "test_docs.py"]
    here = (ROOT / "tests/test_docs.py").read_text(encoding="utf-8")
    here = here.partition('blocks("python")) == [')[0] + here.partition("    ]\n\n\n")[2]
    others = [path.read_text(encoding="utf-8") for path in files]
    shown = [block.code for block in BLOCKS if f"# {name}" not in block.code]
    # Pytest collects the first, tests/test_migrate.py the second.
    assert (
        name.startswith("test_")
        or name.endswith("_before.py")
        or any(re.search(rf"\b{stem}\b(\.py|:|\b)", text) for text in (here, *others, *shown))
    )


async def test_the_counter_begins_anew_with_each_message() -> None:
    """The warning is true."""
    names: dict[str, Any] = {}
    exec(FILES["counter.py"], names)
    async with Gateway(names["app"]) as gateway, gateway.connect() as ws:
        for _ in range(2):
            await ws.send("")
            assert await ws.receive() == "message 1"


async def test_a_leaving_hook_asks_which_end_it_is() -> None:
    """Who has said something is still online; who has left is not."""
    names: dict[str, Any] = {}
    exec(FILES["presence.py"], names)
    async with Gateway(names["app"]) as gateway, gateway.connect(query={"name": "ann"}) as ann:
        async with gateway.connect(query={"name": "bob"}) as bob:
            for _ in range(2):
                await bob.send("")
                assert await bob.receive() == "2 online"
        await ann.send("")
        assert await ann.receive() == "1 online"


async def test_each_message_commits_what_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its dependency ends with its event."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(FILES["orders.py"], names)
    async with Gateway(names["app"]) as gateway, gateway.connect() as ws:
        for what in ("tea", "milk"):
            await ws.send(what)
            assert await ws.receive() == "saved"
    with contextlib.closing(sqlite3.connect("orders.sqlite3")) as database:
        assert database.execute("SELECT what FROM orders").fetchall() == [("tea",), ("milk",)]


async def test_who_has_logged_in_stays_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And an HTTP route can ask for it, and rename."""
    monkeypatch.syspath_prepend(folder)
    names: dict[str, Any] = {}
    exec(FILES["who.py"], names)
    async with Gateway(names["app"]) as gateway, gateway.connect() as ws:
        for said, heard in (("ann", "hello ann"), ("hi", "ann: hi")):
            await ws.send(said)
            assert await ws.receive() == heard
        assert await names["who"](ws.connection_id) == {"user": "ann"}
        await names["rename"](ws.connection_id, "bob")
        await ws.send("hi")
        assert await ws.receive() == "bob: hi"
        with pytest.raises(names["HTTPException"]):
            await names["who"]("unknown")


async def test_the_quiz_counts_by_replay_alone() -> None:
    """Its score is a local variable; its own handler says the same of it as the test's."""
    names: dict[str, Any] = {}
    exec(FILES["quiz.py"], names)
    assert names["handler"].settings.replay
    for replay, last in ((True, "2 of 3"), (False, None)):
        config: WSConfig = {"backend": "memory", "replay": replay}
        async with Gateway(names["app"], config) as gateway, gateway.connect() as ws:
            for question, answer in (
                ("2 + 2", "4"),
                ("3 * 3", "6"),
                ("the capital of Peru", "lima"),
            ):
                if replay or answer == "4":
                    assert await ws.receive() == f"{question}?"
                    await ws.send(answer)
            assert await ws.receive() == (last or "3 * 3?")


async def test_the_secret_stays_the_same() -> None:
    """One number is right, and still is when all have been tried."""
    names: dict[str, Any] = {}
    exec(FILES["secret.py"], names)
    config: WSConfig = {"backend": "memory", "replay": True}
    async with Gateway(names["app"], config) as gateway, gateway.connect() as ws:
        said = []
        for number in (*range(1, 101), *range(1, 101)):
            await ws.send(str(number))
            said.append(await ws.receive())
    assert said[:100].count("yes") == 1
    assert said[100:] == said[:100]


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
        "with connect(sys.argv[1] + '?token=open-sesame') as ws:\n"
        "    ws.send('hi'); print(ws.recv())\n"
    )
    with _dev(folder, "function:handler") as (url, _):
        assert _run(folder, "-c", script, url) == '{"you said":"hi"}\n'
        assert _run(folder, "-c", STATUS_OF, url) == "401\n"


def test_the_authorizer_lets_in_who_has_the_token(folder: Path) -> None:
    """With the page's own command line."""
    command = re.search(r"^longwire dev (main:app --authorizer .*)$", AUTHORIZERS, re.MULTILINE)
    assert command is not None
    script = (
        "import sys; from websockets.sync.client import connect\n"
        "with connect(sys.argv[1]) as ws: print(ws.recv())\n"
    )
    with _dev(folder, *command[1].split()) as (url, gateway):
        url += "?path=/shout&name=ann"
        assert _run(folder, "-c", script, f"{url}&token=open-sesame") == "hello ann\n"
        assert _run(folder, "-c", STATUS_OF, url) == "401\n"
        assert _run(folder, "-c", STATUS_OF, f"{url}&token=x") == "401\n"
        (shown,) = blocks("text", "docs/authorizers.md")
        assert _alike(shown) in _alike(_lines(gateway, 4))


def test_the_token_is_never_in_the_store(folder: Path) -> None:
    """As the page on authorizers says; the rest of the query is there."""
    script = (
        "import asyncio; from longwire.testing import Gateway; from guarded import handler\n"
        "async def talk():\n"
        "    async with Gateway(handler) as gateway:\n"
        "        query = {'name': 'ann', 'token': 'open-sesame'}\n"
        "        async with gateway.connect('/shout', query=query) as ws:\n"
        "            await ws.send('hi'); print(await ws.receive(), await ws.receive())\n"
        "            for file in __import__('pathlib').Path().glob('ws.sqlite3*'):\n"
        "                stored = file.read_bytes()\n"
        "                assert b'open-sesame' not in stored\n"
        "                print(b'name=ann' in stored)\n"
        "asyncio.run(talk())\n"
    )
    said, *stored = _run(folder, "-c", script).splitlines()
    assert said == "hello ann ann: HI"
    assert "True" in stored


async def test_the_authorizer_says_what_its_page_shows() -> None:
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
    shown = re.search(r'\["authorizer"\]` is\n`(.*?)`', AUTHORIZERS)
    assert shown is not None
    websockets = [scope for scope in seen if scope["type"] == "websocket"]
    context = websockets[1]["aws.event"]["requestContext"]["authorizer"]
    assert context == ast.literal_eval(shown[1])


def test_handlers_and_connections_are_made_as_shown(folder: Path) -> None:
    """Both forms of a configuration say the same."""
    script = (
        "import forms, large, main, outside, viewer\n"
        "assert forms.by_config.settings == forms.by_url.settings\n"
        "print(large.handler.settings.fanout.threshold)\n"
        "print(viewer.handler.settings.client_ip_header)\n"
    )
    assert _run(folder, "-W", "error", "-c", script) == "1000\nx-forwarded-for\n"


# Commands


def _words(pattern: str, text: str) -> set[str]:
    return set(re.findall(pattern, text))


# What `longwire template` writes.
PLAN = Plan("chat", "lambda_function.handler", ("lambda_function.py", ""))
WRITTEN = sam.render(PLAN) | cdk.render(PLAN) | PLAN.files()
# What `longwire new` makes.
OF_A_PROJECT = ("app/main.py",)
# Of this repository, and of what `longwire new` makes.
MAKEFILES = [ROOT / "Makefile", *ROOT.glob("adapter/longwire/deploy/projects/all/Makefile.txt")]
TARGETS = set().union(
    *(_words(r"(?m)^([a-z-]+):", path.read_text(encoding="utf-8")) for path in MAKEFILES)
)
COMMANDS = [line for code in blocks("sh") for line in code.splitlines()]


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_every_command_can_be_given(line: str) -> None:
    """The parser takes it, or what it names is there."""
    words = [word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", word)]
    match words:
        case ["longwire", *arguments]:
            make_parser().parse_args(arguments)
        case ["make", *targets]:
            assert {name for name in targets if "=" not in name} <= TARGETS
        case ["pip", "install", *packages]:
            extras = {extra for one in packages for extra in re.findall(r"\w+(?=[],].*)", one)}
            assert {*extras} <= PROJECT["optional-dependencies"].keys()
        case ["python" | ".venv/bin/python", "-m", "pytest", *arguments]:
            paths = [word.partition("::")[0] for word in arguments if word.startswith("tests/")]
            assert paths
            assert all((ROOT / path).exists() for path in paths)
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module)
        case ["cd", folder]:
            assert any(
                command.endswith((f"new {folder}", f"--into {folder}")) for command in COMMANDS
            )
        case ["sam" | "npx" | "terraform", *_]:  # or as tests/deploy does it
            of_templates = WRITTEN["template.yaml"] + WRITTEN["cdk_app.py"]
            assert "needs an AWS account" in line or " ".join(words) in of_templates
        case ["uvicorn", target]:
            assert importlib.util.find_spec(target.partition(":")[0])
        case _:
            pytest.fail(f"nothing checks this command: {line}")


def test_every_command_in_the_text_can_be_given() -> None:
    """Those that name what they serve, and those of a store."""
    shown = r"`longwire ((?:dev|sweep)\s\w+:\w+[^`]*|init\s[^`]+)`"
    found = [line for text in PROSE.values() for line in re.findall(shown, text)]
    assert found
    for line in found:
        make_parser().parse_args(shlex.split(line))


def test_every_make_target_exists() -> None:
    """Those in the text."""
    shown = set().union(*(_words(r"`make ([a-z]+)", text) for text in PROSE.values()))
    assert shown
    assert shown <= TARGETS


def test_make_uses_no_variable_that_is_neither_set_nor_explained() -> None:
    """One that is not set is empty: a recipe would do something else, or nothing."""
    if sys.platform == "win32":
        pytest.skip("there is no make")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = _words(r"(?m)^([a-z-]+):", makefile)
    command = ["make", "--dry-run", "--warn-undefined-variables", *sorted(targets)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    unset = set(re.findall(r"undefined variable '(\w+)'", done.stderr))
    assert "SERVE" in unset
    comments = "\n".join(_words(r"(?m)^#.*", makefile))
    explained = set().union(
        *(_words(r"\b([A-Z_]+)(?:=|`)", text) for text in (comments, *PROSE.values()))
    )
    assert unset <= explained


def test_every_option_exists() -> None:
    """They are options of the commands of `longwire`, if no other program stands before them."""
    options = r"--[a-z][a-z-]*"
    existing = set.union(
        *(
            _words(options, _run(ROOT, "-m", "longwire", name, "--help"))
            for name in (one.__name__.rpartition(".")[2] for one in OF_LONGWIRE)
        )
    )
    of_others = re.compile(r"`(?:sam|npx|terraform|pip) [^`]*`")
    shown = set().union(*(_words(options, of_others.sub("", text)) for text in PROSE.values()))
    assert shown
    assert shown <= existing


def test_json_is_json() -> None:
    """As it stands, placeholders included."""
    assert all(isinstance(json.loads(code), dict) for code in blocks("json"))


# Tables


def _rows(head: str) -> Iterator[list[str]]:
    table = CONFIGURATION.split(f"\n{head}", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
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


def test_extras_are_all_there() -> None:
    """And no others."""
    shown = [name for row in _rows("| extra |") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(shown) == sorted(PROJECT["optional-dependencies"])


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


# Pages, links and paths


def test_the_readme_is_short() -> None:
    """All else is in `docs/`."""
    assert len(PAGES["README.md"].splitlines()) <= 150


def test_the_index_has_each_page_once() -> None:
    """In a line of its own."""
    listed = re.findall(r"(?m)^\| \[.*?\]\((.*?)\)", PAGES["docs/README.md"])
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert sorted(listed) == sorted(pages - {"README.md"})


def _links() -> list[tuple[str, str]]:
    return [
        (page, target)
        for page, text in PROSE.items()
        for target in re.findall(r"\[[^]]*\]\(([^)\s]+)\)", text)
        if "://" not in target
    ]


@pytest.mark.parametrize(("page", "target"), sorted(set(_links())))
def test_every_link_leads_somewhere(page: str, target: str) -> None:
    """To a file, and to a heading in it."""
    path, _, anchor = target.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    assert file.exists()
    if anchor:
        assert anchor in _anchors(PROSE[file.resolve().relative_to(ROOT).as_posix()])


def _anchors(text: str) -> set[str]:
    """Return what GitHub makes of the headings of a page."""
    headings = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


# What a path in a page about the code may be relative to.
ROOMS = (ROOT, ROOT / "adapter/longwire", ROOT / "backends")


def _named_paths() -> Iterator[tuple[str, str]]:
    for page, text in PROSE.items():
        for path in re.findall(r"`([\w./-]+(?:\.py|\.md|/))`", text):
            yield page, path
    for code in blocks("text", *OF_THE_CODE):
        paths = _drawn(code) if _is_tree(code) else re.findall(r"[\w/]+\.py\b", code)
        for path in paths:
            yield "pictures", path


def _is_tree(picture: str) -> bool:
    return picture.partition("\n")[0].rstrip().endswith("/")


def _drawn(tree: str) -> Iterator[str]:
    """Read a picture in which all that is in a folder is indented below it."""
    above: dict[int, str] = {}
    for line in filter(None, tree.splitlines()):
        names = re.match(r" *(?:[\w/]+(?:/|\.py)(?: +|$))*", line)
        assert names is not None
        indent = len(line) - len(line.lstrip())
        above = {level: path for level, path in above.items() if level < indent}
        folder = "".join(list(above.values())[-1:])
        for name in names[0].split():
            yield folder + name
            if name.endswith("/"):
                above[indent] = folder + name


@pytest.mark.parametrize(("page", "path"), sorted(set(_named_paths())))
def test_every_path_exists(page: str, path: str) -> None:
    """A file of the repository, or one that a page tells to write, or a command."""
    assert path in {*FILES, *WRITTEN, *OF_A_PROJECT} or any(
        (room / path).exists() for room in ROOMS
    )


def test_the_tree_has_every_folder() -> None:
    """Whatever else it leaves out."""
    drawn = {path.rstrip("/") for code in blocks("text", *OF_THE_CODE) for path in _drawn(code)}
    folders = {
        file.parent.relative_to(ROOT).as_posix()
        for room in ("adapter", "backends")
        for file in (ROOT / room).rglob("*.py")
    }
    assert folders <= drawn


def test_changelog_has_the_version() -> None:
    """A release has a heading of its own."""
    assert f"## [{longwire.__version__}]" in PAGES["CHANGELOG.md"]


def test_ci_runs_all_versions_with_few_permissions() -> None:
    """The workflow is YAML, and says what it must."""
    yaml = pytest.importorskip("yaml")
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    supported = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert workflow["jobs"]["linux"]["strategy"]["matrix"]["python"] == supported
    actions = [
        step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step
    ]
    assert actions
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in actions)
    paths = _words(r"(?:tests|\.ci)/[\w/.]+", text)
    assert ".ci/run" in paths
    assert all((ROOT / path).exists() for path in paths)
