"""`TestClient(fresh=True)`: each event in a process that has just imported the app."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from longwire.exceptions import ConfigurationError
from longwire.testing import TestClient
from longwire.testing.pipe import AppRaisedError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)  # each event imports Longwire, on whatever machine

APP = """
import os
from longwire import Connections, Longwire

connections = Connections()
count = 0
users = {}

class AppError(Exception):
    pass

async def app(scope, receive, send):
    global count
    assert scope["type"] == "websocket"
    await receive()
    print("not a message of ours")
    await send({"type": "websocket.accept"})
    await connections.group_add("all", scope["extensions"]["longwire"]["connection_id"])
    users["ann"] = scope
    await send({"type": "websocket.send", "text": f"hello {os.environ.get('GREETED')}"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message["text"]
        if text == "boom":
            raise ValueError("boom")
        if text == "own":
            raise AppError("its own")
        if text == "exit":
            os._exit(3)
        count += 1
        scope["state"]["count"] = scope["state"].get("count", 0) + 1
        await send({"type": "websocket.send", "text": f"{count} {scope['state']['count']}"})
        await connections.group_send("all", "all")

def http(event, context):
    return {"statusCode": 200, "body": event["rawPath"]}

handler = Longwire(app, dsn="dynamodb://nowhere?region=eu-west-1", http=http)
def make():
    return app
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fresh_app.py").write_text(textwrap.dedent(APP), encoding="utf-8")
    return tmp_path


def _talk(client: TestClient, text: str) -> None:
    with client.websocket_connect("/") as ws:
        ws.receive_text()
        ws.send_text(text)
        ws.receive_text()


def test_what_a_module_remembers_is_lost_and_what_is_stored_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a variable of the environment is that of the moment."""
    monkeypatch.setenv("GREETED", "ann")
    with TestClient("fresh_app:app", fresh=True, app_dir=folder) as client:
        assert client.app == "fresh_app:app"
        with client.websocket_connect("/") as ws:
            assert ws.receive_text() == "hello ann"
            for number in (1, 2):
                ws.send_text("x")
                assert (ws.receive_text(), ws.receive_text()) == (f"1 {number}", "all")
        monkeypatch.setenv("GREETED", "bob")
        with client.websocket_connect("/") as ws:
            assert ws.receive_text() == "hello bob"
    assert "fresh_app" not in __import__("sys").modules


def test_a_handler_has_a_store_that_its_processes_share(folder: Path) -> None:
    with TestClient("fresh_app:handler", fresh=True, app_dir=folder) as client:
        with client.websocket_connect("/") as ws:
            ws.receive_text()
            ws.send_text("x")
            assert (ws.receive_text(), ws.receive_text()) == ("1 1", "all")
        assert client.get("/path").text == "/path"


def test_what_it_raises_there_is_raised_here(folder: Path) -> None:
    """With its traceback; a class that only the app has is stood for."""
    with TestClient("fresh_app:make", fresh=True, factory=True, app_dir=folder) as client:
        for text, expected in (("boom", ValueError), ("own", AppRaisedError)):
            with pytest.raises(expected) as caught:
                _talk(client, text)
            assert "fresh_app.py" in caught.value.__notes__[0]
        assert str(caught.value) == "AppError: its own"


def test_a_process_that_ends_is_an_error_of_the_function(folder: Path) -> None:
    with TestClient(
        "fresh_app:app", fresh=True, app_dir=folder, raise_server_exceptions=False
    ) as client:
        with client.websocket_connect("/") as ws:
            ws.receive_text()
            ws.send_text("exit")
            assert ws.receive_json()["message"] == "Internal server error"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("fresh_app:ap", "did you mean 'app'"),
        ("not_there:app", "there is no module 'not_there'"),
        ("broken:app", r"importing 'broken' failed at .*broken.py:1: KeyError"),
    ],
)
def test_an_app_that_cannot_be_imported_is_one_line(folder: Path, target: str, text: str) -> None:
    (folder / "broken.py").write_text("{}['x']", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=text):
        with TestClient(target, fresh=True, app_dir=folder):
            pytest.fail("it started")


def test_with_replay_a_process_is_told_what_there_was(folder: Path) -> None:
    code = """
        async def app(scope, receive, send):
            assert scope["type"] == "websocket"
            await receive()
            await send({"type": "websocket.accept"})
            said = []
            while (message := await receive())["type"] == "websocket.receive":
                said.append(message["text"])
                await send({"type": "websocket.send", "text": ",".join(said)})
        """
    (folder / "local.py").write_text(textwrap.dedent(code), encoding="utf-8")
    config = {"backend": "memory", "replay": True}
    with TestClient("local:app", fresh=True, app_dir=folder, ws_config=config) as client:
        with client.websocket_connect("/") as ws:
            for text in ("a", "b"):
                ws.send_text(text)
            assert [ws.receive_text(), ws.receive_text()] == ["a", "a,b"]


def test_options_reach_the_process(folder: Path) -> None:
    config: dict[str, Any] = {"path": "/x", "state": False}
    with TestClient("fresh_app:app", fresh=True, app_dir=folder, ws_config=config) as client:
        with client.websocket_connect("/") as ws:
            assert ws.receive_text() == "hello None"
