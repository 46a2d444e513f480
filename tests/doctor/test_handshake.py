"""One conversation with real servers: longwire dev, uvicorn, and some that are rude."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from longwire.cli.main import main
from longwire.doctor.handshake import Asked, Seen, examine, shown_url
from longwire.exceptions import ConfigurationError
from tests.servers.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

APP = """
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

async def ws(websocket):
    if websocket.query_params.get("token") == "wrong":
        await websocket.close()
        return
    chat = "chat" if "chat" in websocket.scope["subprotocols"] else None
    await websocket.accept(subprotocol=chat)
    await websocket.send_text("hello")
    async for text in websocket.iter_text():
        if text == "bye":
            await websocket.close(4001, "bye")
            return
        if text != "quiet":
            await websocket.send_text(f"echo {text}")

app = Starlette(routes=[WebSocketRoute("/ws", ws)])
"""


@pytest.fixture(scope="module", params=["dev", "uvicorn"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("app")
    (folder / "main.py").write_text(APP, encoding="utf-8")
    commands = {
        "dev": ["longwire", "dev", "main:app", "--port", "{port}", "--no-http"],
        "uvicorn": ["uvicorn", "main:app", "--port", "{port}", "--log-level", "error"],
    }
    server = ServerProcess([sys.executable, "-m", *commands[request.param]], folder=folder)
    server.start()
    path = "/?path=/ws&token=sesame" if request.param == "dev" else "/ws?token=sesame"
    yield f"ws://127.0.0.1:{server.port}{path}"
    server.close()


def codes(seen: Seen) -> list[str]:
    return [one.code for one in seen.findings]


def test_a_conversation_is_told(url: str) -> None:
    seen = examine(Asked(url, subprotocols=["chat"]))
    assert codes(seen) == []
    connected, greeting, reply, closed = seen.lines
    assert connected.startswith("connected in ")
    assert connected.endswith(", subprotocol chat")
    assert greeting == "greeting: text of 5 bytes"
    assert reply.endswith(": text of 9 bytes")
    assert closed.endswith(": 1000")
    assert "sesame" not in str(seen)


def test_no_reply_is_a_note(url: str) -> None:
    seen = examine(Asked(url, message="quiet", timeout=1))
    assert codes(seen) == ["message-no-reply"]
    assert {one.severity for one in seen.findings} == {"note"}


def test_an_end_of_the_apps_own_is_told(url: str) -> None:
    seen = examine(Asked(url, message="bye"))
    # At API Gateway an app's own code becomes 1000.
    assert codes(seen) in (["close-early"], ["close-code"])


def test_a_refusal_is_explained(url: str) -> None:
    seen = examine(Asked(url.replace("sesame", "wrong")))
    assert codes(seen) == ["connect-403"]
    assert seen.lines[0].startswith("refused with 403")
    assert "wrong" not in str(seen.url)


# Servers that are none


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server of one connection after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client, contextlib.suppress(OSError):
                        answer(client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def saying(text: bytes) -> Callable[[socket.socket], None]:
    def answer(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(text)

    return answer


def status(number: int, body: str = "", kind: str = "") -> bytes:
    header = f"x-amzn-ErrorType: {kind}\r\n" if kind else ""
    length = f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    return f"HTTP/1.1 {number} No\r\n{header}{length}\r\n{body}".encode()


STATUSES = [
    (400, "", "", "connect-400"),
    (401, '{"message": "Unauthorized"}', "UnauthorizedException", "connect-401"),
    (403, '{"message": "Forbidden"}', "ForbiddenException", "connect-403"),
    (
        403,
        '{"message":"Missing Authentication Token"}',
        "MissingAuthenticationTokenException",
        "connect-token",
    ),
    (404, "", "", "connect-404"),
    (429, '{"message": "Too Many Requests"}', "LimitExceededException", "connect-429"),
    (500, '{"message": "Internal server error"}', "InternalServerErrorException", "connect-500"),
    (502, "Bad gateway", "", "connect-502"),
    (503, "", "", "connect-503"),
    (504, "", "", "connect-503"),
    (200, "<html>", "", "connect-status"),
    (418, "", "", "connect-status"),
]


def test_no_redirect_is_followed() -> None:
    """Whoever is there would be given the headers and the token."""
    heard: list[bytes] = []

    def hear(client: socket.socket) -> None:
        heard.append(client.recv(4096))

    with serving(hear) as other:
        answer = f"HTTP/1.1 302 Found\r\nLocation: {other}\r\nContent-Length: 0\r\n\r\n"
        with serving(saying(answer.encode())) as url:
            seen = examine(Asked(url, headers=[("Authorization", "sesame")], timeout=5))
    assert codes(seen) == ["connect-status"]
    assert heard == []


@pytest.mark.parametrize(("number", "body", "kind", "code"), STATUSES)
def test_each_status_is_explained(number: int, body: str, kind: str, code: str) -> None:
    with serving(saying(status(number, body, kind))) as url:
        seen = examine(Asked(url, timeout=5))
    assert codes(seen) == [code]
    assert kind in seen.findings[0].message


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 " + b"9" * 100_000,
    ],
)
def test_what_speaks_something_else_is_explained(answer: bytes) -> None:
    with serving(saying(answer)) as url:
        seen = examine(Asked(url, timeout=5))
    assert codes(seen) == ["connect-no-http"]


def test_one_that_never_answers_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen = examine(Asked(f"ws://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.5))
    assert codes(seen) == ["connect-no-answer"]


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert codes(examine(Asked(f"ws://127.0.0.1:{port}/", timeout=5))) == ["connect-refused"]


def test_a_name_that_is_not_known() -> None:
    seen = examine(Asked("wss://api.example.invalid/prod", timeout=10))
    assert codes(seen) in (["connect-dns"], ["connect-no-answer"])


def test_tls_where_there_is_none() -> None:
    with serving(saying(status(400))) as url:
        seen = examine(Asked(url.replace("ws:", "wss:"), timeout=5))
    assert codes(seen) == ["connect-tls"]


# Servers of WebSockets that are rude


async def _against(behave: Callable[..., object], asked: dict[str, object]) -> Seen:
    from websockets.asyncio.server import serve

    async with serve(behave, "127.0.0.1", 0) as server:  # type: ignore[arg-type]
        port = next(iter(server.sockets)).getsockname()[1]
        values = {"url": f"ws://127.0.0.1:{port}/", "timeout": 1.0, **asked}
        return await asyncio.to_thread(examine, Asked(**values))  # type: ignore[arg-type]


async def flood(connection) -> None:  # type: ignore[no-untyped-def]
    while True:
        await connection.send("x" * 1000)


async def slam(connection) -> None:  # type: ignore[no-untyped-def]
    connection.transport.abort()


async def going(connection) -> None:  # type: ignore[no-untyped-def]
    await connection.recv()
    await connection.close(1001, "Going away")


async def failing(connection) -> None:  # type: ignore[no-untyped-def]
    await connection.recv()
    said = {"message": "Internal server error", "connectionId": "a=", "requestId": "b="}
    await connection.send(json.dumps(said))
    await connection.wait_closed()


async def forbidding(connection) -> None:  # type: ignore[no-untyped-def]
    await connection.recv()
    said = {"message": "Forbidden", "connectionId": "a=", "requestId": "b="}
    await connection.send(json.dumps(said))
    await connection.wait_closed()


async def huge(connection) -> None:  # type: ignore[no-untyped-def]
    await connection.send("x" * 5_000_000)
    await connection.wait_closed()


RUDE = [
    (flood, []),
    (slam, ["close-code"]),
    (going, ["close-code"]),
    (failing, ["message-failed"]),
    (forbidding, ["message-forbidden"]),
    (huge, ["close-code"]),
]


@pytest.mark.parametrize(("behave", "expected"), RUDE)
def test_a_rude_server_is_explained(behave: Callable[..., object], expected: list[str]) -> None:
    found = codes(asyncio.run(_against(behave, {})))
    # Who floods may read the close late.
    assert found == expected or (behave is flood and found == ["close-unanswered"])


# The URL


def test_a_url_is_shown_without_secrets() -> None:
    url = "wss://user:pass@a.example.com:8443/prod?path=/ws&token=abc&x="
    assert shown_url(url) == "wss://a.example.com:8443/prod?path=/ws&token=...&x=..."
    assert shown_url("wss://a/prod?path=/ws?token=abc") == "wss://a/prod?path=/ws"


@pytest.mark.parametrize(
    "url",
    [
        "https://a.execute-api.eu-west-1.amazonaws.com/prod?token=sesame",
        "a.execute-api.eu-west-1.amazonaws.com/prod",
        "wss://",
        "wss://a:b:c/?token=sesame",
        "wss://[::1/?token=sesame",
        "wss://a/#token=sesame",
        "wss://a.execute-api.eu-west-1.amazonaws.com/prod/@connections?token=sesame",
    ],
)
def test_a_wrong_url_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        examine(Asked(url))
    assert "sesame" not in str(raised.value)
    assert main(["doctor", "--connect", url]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_command_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(saying(status(401, '{"message":"Unauthorized"}'))) as url:
        assert main(["doctor", "--connect", f"{url}?token=sesame", "--timeout", "5"]) == 1
        said = capsys.readouterr().out
        assert main(["doctor", "--connect", url, "--json", "--timeout", "5"]) == 1
    assert "sesame" not in said
    assert said.splitlines()[0].endswith("/?token=...: refused with 401: Unauthorized")
    assert said.splitlines()[-1] == "1 error"
    assert json.loads(capsys.readouterr().out)["seen"] == ["refused with 401: Unauthorized"]


@pytest.mark.parametrize("header", ["Authorization", ": x", "A: b\r\nC: d"])
def test_a_wrong_header_is_one_line(header: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--connect", "ws://127.0.0.1:1/", "--header", header]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
