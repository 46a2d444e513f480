"""What the author of an app of each framework is told, and that it is nothing where all is well."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from longwire.asgi.hints.hints import decided
from longwire.testing import Gateway
from tests.parity import apps, keeping, rooms
from tests.parity.hosts import on_gateway
from tests.parity.test_groups import TALK, _play
from tests.parity.test_parity import OTHERS, STARLETTE, _converse

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

CONVERSATIONS = {
    **{f"Starlette, {name}": ("starlette", script) for name, script in STARLETTE.items()},
    **OTHERS,
}


@pytest.fixture(autouse=True)
def _nothing_told() -> None:
    decided.clear()


def _hints(caplog: pytest.LogCaptureFixture) -> list[str]:
    texts = [record.getMessage() for record in caplog.records if record.name == "longwire"]
    return [text for text in texts if "(docs/" in text]


@pytest.mark.parametrize(("app", "script"), CONVERSATIONS.values(), ids=CONVERSATIONS)
async def test_a_conversation_without_state_says_nothing(
    app: str, script: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However it ends."""
    async with on_gateway(getattr(apps, app), tmp_path) as address:
        await _converse(address, **script)
    assert _hints(caplog) == []


@pytest.mark.parametrize("room", rooms.ROOMS)
async def test_a_room_says_only_what_it_does_in_vain(
    room: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that tells the others in a `finally`, which runs at the end of each event."""
    async with on_gateway(rooms.app, tmp_path) as address:
        await _play(address, f"/{room.__name__}", TALK)
    found = _hints(caplog)
    if room is rooms.in_finally:
        assert len(found) == 1
        assert ": sent while only the event ends; " in found.pop()
    assert found == []


def _line(marker: str) -> str:
    path = keeping.__file__
    with open(path) as source:
        lines = [number for number, text in enumerate(source, 1) if f"# {marker}\n" in text]
    return f"{os.path.relpath(path)}:{lines[0]}"


def _changed(app: str, name: str) -> str:
    return (
        f"{_line(f'HERE {app}')}: {name!r} changed while a message was handled and will be "
        "forgotten: keep it in ws.state (docs/state.md)"
    )


def _elsewhere(app: str) -> str:
    again = _line(f"FIRST {app}").rpartition(":")[2]
    return (
        f"{_line(f'HERE {app}')}: the app waits for the client in another line than after "
        f"connect: the next message will be given to line {again} again (docs/state.md)"
    )


def _in_vain(app: str) -> str:
    return (
        f"{_line(f'HERE {app}')}: sent while only the event ends; that has no effect: the "
        "connection goes on (docs/state.md)"
    )


def _unheard(consumer: str) -> str:
    return (
        f"consumer {consumer} waits for a channel layer that is not Longwire's, but nobody runs it "
        'for that between events: set "BACKEND": "longwire.channels.ChannelLayer" in '
        "CHANNEL_LAYERS (docs/channels.md)"
    )


TOLD = {
    "plain": _changed("plain", "count"),
    "plain_login": _elsewhere("plain_login"),
    "plain_farewell": _in_vain("plain_farewell"),
    "starlette": _changed("starlette", "count"),
    "starlette_endpoint": _changed("starlette_endpoint", "self.count"),
    "fastapi": _changed("fastapi", "texts"),
    "fastapi_farewell": _in_vain("fastapi_farewell"),
    "litestar": _changed("litestar", "count"),
    "litestar_login": _elsewhere("litestar_login"),
    "quart": _changed("quart", "count"),
    "quart_farewell": _in_vain("quart_farewell"),
    "channels_async": _changed("channels_async", "self.count"),
    "channels_sync": _changed("channels_sync", "self.count"),
    "channels_room": _unheard("Room"),
    "channels_room_by_name": _unheard("RoomByName"),
}


@pytest.mark.parametrize(("app", "text"), TOLD.items(), ids=TOLD)
async def test_an_app_of_each_framework_is_told(
    app: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each place."""
    async with Gateway(getattr(keeping, app)) as gateway:
        for _ in range(2):
            async with gateway.connect() as ws:
                for message in ("a", "b", "c"):
                    await ws.send(message)
                    with contextlib.suppress(AssertionError):  # an answer came, which is as well
                        await ws.nothing(0)
    assert _hints(caplog) == [text]
