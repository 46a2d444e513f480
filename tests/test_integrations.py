"""The page about frameworks and libraries: each row has a test, and its code runs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger
from channels.layers import ChannelLayerManager
from django.test import override_settings

from longwire import Longwire
from longwire.channels import ChannelLayer
from longwire.testing import Gateway
from tests import channel_layers  # noqa: F401  # sets Django up
from tests.documents import FILES, PAGES, ROOT
from tests.parity.conversations import MODULES
from tests.parity.frameworks import plain

if TYPE_CHECKING:
    from pathlib import Path

    from longwire import WSConfig

pytestmark = pytest.mark.anyio
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGES["docs/integrations.md"].splitlines()
    if line.startswith("|") and "---" not in line and not line.endswith("| tests |")
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_row_names_tests_that_are_there(row: list[str]) -> None:
    tests = re.findall(r"`(tests/[\w/.]+\.py)`", row[-1])
    assert len(row) == 4
    assert tests
    assert all((ROOT / one).exists() for one in tests)


def test_each_framework_whose_conversations_are_played_has_a_row() -> None:
    """And no other says that they are."""
    named = re.findall(r"frameworks/(\w+)\.py", PAGES["docs/integrations.md"])
    assert sorted(named) == sorted(MODULES)


def test_the_setting_of_channels_makes_the_layer() -> None:
    names: dict[str, Any] = {}
    exec(FILES["layers.py"], names)
    with override_settings(CHANNEL_LAYERS=names["CHANNEL_LAYERS"]):
        assert type(ChannelLayerManager()["default"]) is ChannelLayer


async def test_the_rooms_of_socketio_are_rooms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chatty.py").write_text(FILES["chatty.py"], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import chatty  # type: ignore[import-not-found]

    handshake = {"path": "/socket.io/", "EIO": "4", "transport": "websocket"}
    config: WSConfig = {"backend": "memory", "params": {}, "replay": True}
    async with (
        Gateway(chatty.app, config) as gateway,
        gateway.connect(query=handshake) as ann,
        gateway.connect(query=handshake) as bob,
    ):
        for one in (ann, bob):
            assert (await one.receive(20)).startswith("0{")
            await one.send("40")
            assert (await one.receive(20)).startswith("40{")
            await one.send('421["join","blue"]')
            assert await one.receive(20) == '431["joined"]'
        await ann.send('42["say",{"room":"blue","text":"hi"}]')
        for one in (ann, bob):
            assert await one.receive(20) == '42["said", "hi"]'


async def test_the_logger_of_powertools_says_which_event_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = Logger(service="chat")
    app = plain.app

    async def logged(scope: Any, receive: Any, send: Any) -> None:
        logger.info("at work")
        await app(scope, receive, send)

    handler = Longwire(logged, ws_config={"backend": "memory", "params": {}})
    around = logger.inject_lambda_context(
        handler, correlation_id_path="requestContext.connectionId"
    )
    async with Gateway(around) as gateway, gateway.connect("/echo") as ws:
        await ws.send("hi")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ids = {line["correlation_id"] for line in lines if line["message"] == "at work"}
    assert len(ids) == 1
    assert {line["service"] for line in lines} == {"chat"}
