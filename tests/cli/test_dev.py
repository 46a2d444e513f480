"""`longwire dev` as a process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from longwire.cli import main as cli
from longwire.config.sources import LOCAL_FILE
from tests.cli.apps import CLI_APP
from tests.local.fakes import frame, handshake, manage
from tests.local.running import Dev
from tests.local.signers import KEYS, TEMPORARY, use

if TYPE_CHECKING:
    from pathlib import Path


HANGING = """
import asyncio


async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    print("hangs", flush=True)
    await asyncio.sleep(60)
"""


# Windows has no SIGHUP.
_STOPS = [getattr(signal, one) for one in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, one)]


@pytest.mark.parametrize("number", _STOPS)
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
    assert (directory / LOCAL_FILE).exists()


def test_who_has_left_is_not_waited_for(directory: Path) -> None:
    """Its last event is over; that its socket is still there for a moment is no news."""
    with Dev(directory, "cli_app:app") as dev:
        port = int(dev.ready()[1].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(handshake())
            assert "CONNECT" in dev.line()
            client.sendall(frame((1000).to_bytes(2), opcode=8))
            assert [dev.line().split()[1] for _ in range(2)] == ["1000", "DISCONNECT"]
            assert dev.stop(signal.SIGINT) == (0, "", "")


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


def test_a_handler_that_posts_elsewhere_is_warned_about(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its messages would go to AWS and not to the client."""
    (directory / "cli_app.py").write_text(
        CLI_APP + "from longwire.handler import Longwire\n"
        "elsewhere = Longwire(app, ws_config={'backend': 'memory', 'params': {},"
        " 'api_gateway_endpoint_url': 'https://example.com/prod'})\n"
    )
    with Dev(directory, "cli_app:elsewhere") as dev:
        url = dev.ready()[3]
        assert dev.stop(signal.SIGTERM)[2] == (
            "longwire dev: warning: the handler posts to https://example.com/prod, not to this "
            f"gateway ({url}): leave out api_gateway_endpoint_url here\n"
        )


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (["--host", "localhost"], ""),
        (
            ["--host", "0.0.0.0"],
            "longwire dev: warning: --host 0.0.0.0: whoever reaches this machine can open "
            "connections, and post to all connections and close them (not so with "
            "--verify-signatures)\n",
        ),
        (
            ["--host", "0.0.0.0", "--verify-signatures"],
            "longwire dev: warning: --host 0.0.0.0: whoever reaches this machine can open "
            "connections\n",
        ),
    ],
)
def test_what_is_open_to_other_machines_is_said(
    directory: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], warning: str
) -> None:
    use(monkeypatch, TEMPORARY)
    with Dev(directory, "cli_app:app", *arguments) as dev:
        assert "ready on ws://" in dev.line()
        assert dev.stop(signal.SIGTERM)[2] == warning


def test_a_name_of_this_machine_is_allowed_by_an_option(directory: Path) -> None:
    """Both may be; what is refused is said on the console, as it cannot act there."""
    with Dev(directory, "cli_app:app", "--allow-host", "box", "--allow-host", "::2") as dev:
        port = int(dev.ready()[1].rpartition(":")[2])
        statuses = []
        for host in ("box", "[::2]:80", "evil.example"):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(handshake().replace(b"Host: 127.0.0.1", f"Host: {host}".encode()))
                statuses.append(client.recv(1024).split()[1])
        _, _, err = dev.stop(signal.SIGTERM)
    assert statuses == [b"101", b"101", b"403"]
    assert "refused a request to evil.example/: " in err
    assert err.count("refused") == 1


CLOSING = """
import sys

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    await receive()
    await send({"type": "websocket.accept"})
    text = (await receive()).get("text")
    sys.stdout.close()
    sys.stderr.close()
    await send({"type": "websocket.send", "text": text})
"""


def test_an_app_that_closes_the_output_does_not_end_the_gateway(tmp_path: Path) -> None:
    """Nothing is shown any more; clients see no difference."""
    (tmp_path / "closing.py").write_text(CLOSING)
    with Dev(tmp_path, "closing:app") as dev:
        url = dev.ready()[1]
        for text in ("one", "two", "three"):
            with connect(url) as client:
                client.send(text)
                assert client.recv(10) == text
            with pytest.raises(InvalidStatus) as refused:
                connect(f"{url}/nowhere")
            assert refused.value.response.status_code == 403
        assert dev.stop(signal.SIGTERM)[0] == 0


RAISING = """
import json

async def app(scope, receive, send):
    await receive()
    if scope["path"] != "/":
        return await send({"type": "websocket.close"})
    await send({"type": "websocket.accept"})
    text = (await receive()).get("text")
    if text is not None:
        raise ValueError(json.loads(text))
"""


@pytest.mark.parametrize("arguments", [[], ["--instances", "1"]])
def test_nothing_that_a_client_says_acts_on_the_terminal(
    tmp_path: Path, arguments: list[str]
) -> None:
    """Its path, the reason of its close, its Host, and what the app raises of its message."""
    (tmp_path / "raising.py").write_text(RAISING)
    evil = "\x1b]0;title\x07\x9b2J\u202e\n00:00:00  forged"
    unseen = "\u202e\u2066\u2028forged"  # a path with control characters is refused
    with Dev(tmp_path, "raising:app", *arguments) as dev:
        url = dev.ready()[1]
        with pytest.raises(InvalidStatus):
            connect(f"{url}/?path=/{quote(unseen)}")
        with connect(url) as client:
            client.close(4000, evil)
        with connect(url) as client:
            client.send(json.dumps(evil + "\ud800"))
            with pytest.raises(ConnectionClosed):
                client.recv(20)
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as raw:
            raw.sendall(handshake().replace(b"Host: 127.0.0.1", b"Host: evil\x9b2J"))
            assert raw.recv(1024).split()[1] == b"403"
        _, out, err = dev.stop(signal.SIGTERM)
    shown = out + err
    assert [one for one in shown if not (one.isprintable() or one in "\n\t")] == []
    escaped = r"\x1b]0;title\x07\x9b2J\u202e\n00:00:00  forged"
    assert r"(path /\u202e\u2066\u2028forged)" in out
    assert f"4000 {escaped}\n" in out
    assert r"\ud800" in shown
    assert r"refused a request to evil\x9b2j" in err


def test_longwire_dev_asks_the_authorizer(directory: Path) -> None:
    """Who is let in, who is not and why, and no secret in any line."""
    source = "route.request.querystring.token"
    arguments = ["--authorizer", "authorizer_app:authorize", "--identity-source", source]
    with Dev(directory, "authorizer_app:app", *arguments, "--stage", "prod") as dev:
        url = dev.ready()[1]
        with connect(f"{url}/prod?token=good-secret") as client:
            client.send("who am I?")
            assert json.loads(client.recv()) == {"principalId": "ann", "level": "3"}
        lines = [dev.line() for _ in range(3)]
        statuses = []
        for query in ("", "?token=wrong-secret", "?token=bad-secret", "?token=crash-secret"):
            with pytest.raises(InvalidStatus) as caught:
                connect(f"{url}/prod{query}")
            statuses.append(caught.value.response.status_code)
            lines.append(dev.line())
        code, out, err = dev.stop(signal.SIGTERM)
    assert code == 0
    assert statuses == [401, 401, 403, 500]
    assert [line.partition("authorizer: ")[2].rpartition("  ")[0] for line in lines[3:]] == [
        f"not asked without {source}, client gets 401",
        "Unauthorized, client gets 401",
        "Deny, client gets 403",
        "raised ValueError, client gets 500",
    ]
    assert "secret" not in "".join(lines) + out
    assert "ERROR longwire.local: the authorizer raised\nTraceback" in err
    assert err.endswith("ValueError: broken\n")


@pytest.mark.usefixtures("no_keys")
def test_function_and_gateway_share_the_keys(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Function and gateway share the keys; whoever has none gets 403."""
    use(monkeypatch, TEMPORARY)
    with Dev(directory, "signing_app:app", "--verify-signatures") as dev:
        ready = dev.ready()
        with connect(ready[1]) as client:
            client.send("hi")
            assert client.recv() == "echo hi"
        status, _, _ = asyncio.run(manage(ready[3], "POST", "AAAAAAAAAAAAAAA=", b"x"))
        assert status == 403
        code, out, err = dev.stop(signal.SIGTERM)
    assert code == 0
    for secret in (KEYS.secret_key, str(KEYS.token), KEYS.access_key):
        assert secret not in out + err
