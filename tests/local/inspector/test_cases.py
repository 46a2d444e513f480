"""What the page copies runs, and is the conversation that was."""

from __future__ import annotations

import asyncio
import importlib
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from longwire import Longwire
from longwire.local.inspector import transport
from longwire.local.inspector.cases import HIDDEN, curl_http
from tests.local.fakes import exchange
from tests.local.inspector.conftest import Look, looking

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.fakes import RecordingFunction

pytestmark = pytest.mark.anyio

ECHO = """
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    who = scope["query_string"].decode() + " " + scope["path"]
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": f"hello {who}"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"'{event['text']}'"})
"""
HEADERS = [["Cookie", "secret=1"], ["Origin", "http://localhost:5173"]]


async def case(look: Look, number: int, form: str, more: str = "") -> str:
    status, told = await look.get(f"/_longwire/case?n={number}&as={form}{more}")
    assert status == 200
    text = told["text"]
    assert isinstance(text, str)
    return text


@pytest.mark.slow
async def test_a_conversation_as_a_test_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And fails where the app has changed."""
    (tmp_path / "echoing.py").write_text(ECHO)
    monkeypatch.syspath_prepend(tmp_path)
    app = importlib.import_module("echoing").app
    handler = Longwire(app, ws_config={"backend": "memory"})
    async with looking(handler, target="echoing:app") as look:
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", look.gateway.management_url)
        handler.transport = transport.NamedTransport(handler.transport, transport.current.get)
        one = await look.connect(path="/a b", query="x=1&y=é%20".replace("é", "%C3%A9"))
        for text in ("hi", 'it\'s "it"\n\\', "☃"):
            await look.do(do="send", connection=one, text=text)
        number = 0
        while len((await look.event(4)).get("posts", ())) < 1:
            number += 1
            assert number < 500
        text = await case(look, 4, "pytest")
        await handler.aclose()
    (tmp_path / "test_it.py").write_text(text)
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    passed = await asyncio.to_thread(
        subprocess.run, run, cwd=tmp_path, capture_output=True, text=True
    )
    assert passed.returncode == 0, (text, passed.stdout)
    (tmp_path / "echoing.py").write_text(ECHO.replace("hello", "goodbye"))
    failed = await asyncio.to_thread(subprocess.run, run, cwd=tmp_path, capture_output=True)
    assert failed.returncode == 1
    sys.modules.pop("echoing", None)


async def test_commands_for_a_shell(look: Look, function: RecordingFunction) -> None:
    one = await look.connect(path="/ws", query="a=b", headers=HEADERS)
    await look.do(do="send", connection=one, text="it's")
    await function.wait_for("MESSAGE")
    words = shlex.split(await case(look, 2, "wscat"))
    assert words[:3] == ["wscat", "-c", f"{look.url}/?path=/ws&a=b"]
    assert words[-4:] == ["-x", "it's", "-w", "2"]
    assert f"Cookie: {HIDDEN}" in words
    words = shlex.split(await case(look, 2, "curl"))
    assert words[0] == "curl"
    body = words[words.index("-d") + 1]
    assert (await look.post(body))[0] == 200
    assert (await function.wait_for("MESSAGE", 2))["body"] == "it's"


async def test_secrets_are_copied_when_they_are_shown(look: Look) -> None:
    await look.connect(query="name=ann&access%5Ftoken=sesame", headers=HEADERS)
    for form in ("wscat", "pytest"):
        hidden = await case(look, 1, form)
        assert "name=ann" in hidden
        shown = await case(look, 1, form, "&secrets=1")
        for secret in ("secret=1", "sesame"):
            assert secret not in hidden
            assert secret in shown


async def test_what_cannot_be_copied(look: Look) -> None:
    await look.connect()
    for target in ("n=1&as=perl", "n=9&as=curl", "as=curl"):
        assert (await look.get(f"/_longwire/case?{target}"))[0] == 404


def test_an_http_request_as_a_command() -> None:
    event = {
        "rawPath": "/rooms",
        "rawQueryString": "a=b&api_key=sesame&code=",
        "headers": {"authorization": "Bearer x", "content-type": "text/plain", "host": "h"},
        "body": "hi",
        "requestContext": {"http": {"method": "POST"}},
    }
    words = shlex.split(curl_http(event, "http://h:1", secrets=False))
    assert words[:5] == ["curl", "-i", "-X", "POST", f"http://h:1/rooms?a=b&api_key={HIDDEN}&code="]
    assert f"authorization: {HIDDEN}" in words
    assert words[-2:] == ["--data-raw", "hi"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_that_command_makes_the_same_request(function: RecordingFunction) -> None:
    """On the port of HTTP, with the client's own cookies and headers."""
    request = (
        "POST /a%20b%25?q=1 HTTP/1.1\r\nHost: localhost\r\nX-CSRFToken: t\r\nCookie: a=1\r\n"
        "Accept: text/html\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
    )
    async with looking(function) as look:
        await look.gateway.listen_for_http(0)
        await exchange(str(look.gateway.http_url), request.encode())
        assert "a=1" not in await case(look, 1, "curl")
        words = shlex.split(await case(look, 1, "curl", "&secrets=1"))
        await asyncio.to_thread(subprocess.run, words, capture_output=True, check=True)
    first, again = function.events
    for key in ("rawPath", "rawQueryString", "cookies", "body"):
        assert first[key] == again[key]
    for name in ("accept", "content-type", "x-csrftoken"):
        assert first["headers"][name] == again["headers"][name]
    assert "-I" in shlex.split(curl_http({"httpMethod": "HEAD"}, "http://h:1", secrets=False))
