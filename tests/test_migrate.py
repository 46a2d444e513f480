"""The page on coming from elsewhere: what stands under *after* runs, as a client sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from longwire.local.function.inline import ThreadFunction
from longwire.local.rules.settings import GatewaySettings
from longwire.local.server.server import LocalGateway
from longwire.testing import Gateway
from tests.documents import FILES, PAGES, blocks

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

SHOWN = {code.split()[1]: code for code in blocks("python", "docs/migrate.md")}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a block makes, with the store of a laptop."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGWIRE_DSN", "sqlite:///ws.sqlite3")

    def run(name: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(SHOWN[name], names)
        return names

    return run


@pytest.mark.parametrize("name", ["chat_after.py", "functions_after.py", "events_after.py"])
async def test_the_chat_is_a_chat(made: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over real sockets: both hear what one says; who has left is written to no more."""
    events = name == "events_after.py"
    said = json.dumps({"type": "say", "text": "hi"}) if events else "hi"
    heard = json.dumps({"type": "said", "text": "hi"}, separators=(",", ":")) if events else "hi"
    async with (
        ThreadFunction(made(name)["handler"]).running() as function,
        LocalGateway(function, GatewaySettings()) as gateway,
    ):
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", gateway.management_url)
        async with connect(gateway.url) as ann:
            async with connect(gateway.url) as bob:
                await ann.send(said)
                assert [await ann.recv(), await bob.recv()] == [heard, heard]
            await ann.send(said)
            assert await ann.recv() == heard


async def test_an_app_of_mangum_needs_another_handler_only(
    made: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The app is that of *before*, as it is."""
    app = (
        SHOWN["mangum_before.py"].split("handler = ")[0].replace("from mangum import Mangum\n", "")
    )
    names: dict[str, Any] = {}
    exec(app, names)
    async with Gateway(names["app"]) as gateway, gateway.connect() as ws:
        for text in ("one", "two"):
            await ws.send(text)
            assert await ws.receive() == text
    (tmp_path / "main.py").write_text(FILES["main.py"], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert made("mangum_after.py")["handler"].settings.backend == "dynamodb"


@pytest.mark.parametrize("name", sorted(name for name in SHOWN if name.endswith("_before.py")))
def test_what_is_left_behind_is_python(name: str) -> None:
    """The page says that it is only parsed; each has a section that says what comes after."""
    compile(SHOWN[name], name, "exec")
    section = PAGES["docs/migrate.md"].partition(f"# {name}")[2].partition("\n## ")[0]
    assert "\nAfter" in section


def test_nothing_is_left_out() -> None:
    """A block is a *before* or an *after*."""
    assert all(name.endswith(("_before.py", "_after.py")) for name in SHOWN)
