"""`longwire dev` as a process, and its one-line errors."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from longwire import __version__
from longwire.local.cli import main as cli
from longwire.local.cli import options
from longwire.local.rules.settings import GatewaySettings
from tests.local.running import Dev

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """
import os

async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            print("told", message["code"], flush=True)
            return
        await send({"type": "websocket.send", "text": scope["path"] + " " + message["text"]})

def handler(event, context):
    print("endpoint", os.environ["WS_MANAGEMENT_ENDPOINT"], flush=True)
    return {"statusCode": 200}
"""

HANGING = """
import asyncio


async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    print("hangs", flush=True)
    await asyncio.sleep(60)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "cli_app.py").write_text(APP)
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    sys.modules.pop("cli_app", None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_app_is_served_until_a_signal_comes(directory: Path, number: signal.Signals) -> None:
    """Clients then get 1001, the app its disconnect, and the exit code is 0."""
    with Dev(directory, "cli_app:app", "--path", "/ws") as dev:
        with connect(f"{dev.ready()[1]}/local?token=secret") as client:
            client.send("hello")
            assert client.recv() == "/ws hello"
            code, out, err = dev.stop(number)
            with pytest.raises(ConnectionClosed):
                client.recv()
            assert client.protocol.close_code == 1001
    assert code == 0
    assert err.startswith("longwire dev: stopping: 1 connected, ")
    words = [line.split()[1:2] for line in out.splitlines()]
    assert words == [["CONNECT"], ["MESSAGE"], ["1001"], ["DISCONNECT"]]
    assert "secret" not in out
    assert "hello" not in out
    assert (directory / options.DEFAULT_FILE).exists()


def test_nohup_is_respected(directory: Path) -> None:
    """Who has had SIGHUP ignored does not want it to end this."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        dev = Dev(directory, "cli_app:app")
    finally:
        signal.signal(signal.SIGHUP, before)
    with dev, connect(dev.ready()[1]) as client:
        dev.process.send_signal(signal.SIGHUP)
        client.send("hello")
        assert client.recv(10) == "/ hello"
        assert dev.stop(signal.SIGINT)[0] == 0


def test_a_second_signal_does_not_wait_for_the_app(tmp_path: Path) -> None:
    """One that hangs has a few seconds after the first."""
    (tmp_path / "hanging.py").write_text(HANGING)
    with Dev(tmp_path, "hanging:app") as dev, connect(dev.ready()[1]) as client:
        client.send("hang")
        assert "CONNECT" in dev.line()
        assert dev.line() == "hangs\n"
        dev.process.send_signal(signal.SIGINT)
        with pytest.raises(ConnectionClosed):
            client.recv()
        code, _, err = dev.stop(signal.SIGINT)
    assert code == 128 + signal.SIGINT
    assert "Ctrl-C again to stop now" in err


def test_a_lambda_function_is_told_the_endpoint(directory: Path) -> None:
    """WS_MANAGEMENT_ENDPOINT is the management URL, with the stage that was asked for."""
    with Dev(directory, "cli_app:handler", "--stage", "prod") as dev:
        ready = dev.ready()
        assert ready[2] == "prod"
        with connect(f"{ready[1]}/prod"):
            assert dev.line() == f"endpoint {ready[3]}\n"
        assert dev.stop(signal.SIGTERM)[0] == 0


def test_a_port_in_use_is_one_clear_line(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["dev", "cli_app:handler", "--app-dir", str(directory), "--port", str(port)]
        assert cli.main(arguments) == 1
    assert capsys.readouterr().err == (
        f"longwire: port {port} of 127.0.0.1 is in use; choose another with --port, or 0 for any\n"
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["cli_none:app"], "there is no module 'cli_none' in {dir} or on the import path"),
        (
            ["cli_app:handler", "--path", "/ws"],
            "--path: cli_app:handler is a handler, and its own configuration decides; "
            "name an ASGI app or leave the option out",
        ),
        (["cli_app:app", "--params", "{}"], "--params: needs --backend"),
        (
            ["cli_app:app", "--backend", "memory", "--params", "{"],
            "--params: not JSON: Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)",
        ),
        (
            ["cli_app:app", "--backend", "memory", "--params", "[]"],
            '--params: expected a JSON object, for example {"host": "..."}',
        ),
        (
            ["cli_app:app", "--stage", "$default"],
            "stage: '$default' is not a stage name: use letters, digits, - and _",
        ),
    ],
)
def test_mistakes_are_one_line_each(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    """Exit code 2, on stderr, without a traceback."""
    assert cli.main(["dev", *arguments, "--app-dir", str(directory)]) == 2
    assert capsys.readouterr().err == f"longwire: {text.replace('{dir}', str(directory))}\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["dev"], "the following arguments are required: MODULE:ATTRIBUTE"),
        (["dev", "a:b", "--port", "x"], "argument --port: invalid port value: 'x'"),
        (["dev", "a:b", "--port", "65536"], "argument --port: expected 0 to 65535"),
        (
            ["dev", "a:b", "--file", "x", "--backend", "y"],
            "argument --backend: not allowed with argument --file",
        ),
    ],
)
def test_usage_errors_have_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    """As argparse says it."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: {text}\n")


def test_defaults_of_the_command_line_are_those_of_settings() -> None:
    """Nothing is said twice."""
    assert options.settings_from(cli.make_parser().parse_args(["dev", "a:b"])) == GatewaySettings()


def test_every_option_of_the_gateway_reaches_its_settings() -> None:
    """Routes are added to the three that have a $."""
    parsed = cli.make_parser().parse_args(
        [
            "dev",
            "a:b",
            "--stage",
            "prod",
            "--route",
            "chat",
            "--route",
            "join",
            "--unordered",
            "--lifetime",
            "3",
            "--idle-timeout",
            "2",
            "--integration-timeout",
            "1",
            "--route-selection-expression",
            "$request.body.kind",
        ]
    )
    assert options.settings_from(parsed) == GatewaySettings(
        stage="prod",
        routes=frozenset({"$connect", "$disconnect", "$default", "chat", "join"}),
        route_selection_expression="$request.body.kind",
        unordered=True,
        lifetime=3,
        idle_timeout=2,
        integration_timeout=1,
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version of the package."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"longwire {__version__}\n"


def test_a_missing_extra_is_one_clear_line(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the pip line that mends it."""
    monkeypatch.setitem(sys.modules, "h11", None)
    for name in ("longwire.local.server.server", "longwire.local.server.http"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert cli.main(["dev", "cli_app:app", "--app-dir", str(directory)]) == 1
    assert capsys.readouterr().err == (
        "longwire: the local gateway needs h11: pip install 'longwire[dev]'\n"
    )


def test_a_handler_that_posts_elsewhere_is_warned_about(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its messages would go to AWS and not to the client."""
    (directory / "cli_app.py").write_text(
        APP + "from longwire.handler import Longwire\n"
        "elsewhere = Longwire(app, ws_config={'backend': 'memory', 'params': {},"
        " 'api_gateway_endpoint_url': 'https://example.com/prod'})\n"
    )
    with Dev(directory, "cli_app:elsewhere") as dev:
        url = dev.ready()[3]
        assert dev.stop(signal.SIGTERM)[2] == (
            "longwire dev: warning: the handler posts to https://example.com/prod, not to this "
            f"gateway ({url}): leave out api_gateway_endpoint_url here\n"
        )
