"""The chat of Channels' tutorial, unchanged: under uvicorn and under `longwire dev`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from tests.parity.hosts import LongwireDev, Uvicorn

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(200)]
PROJECT = Path(__file__).parent / "channels_project"
TARGET = "mysite.asgi:application"
# Prints the cookie of somebody who has logged in.
LOG_IN = """
import django; django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
ann = get_user_model().objects.create_user("ann")
client = Client(); client.force_login(ann)
print(client.cookies["sessionid"].value)
"""


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make the database of the project, in which one user has logged in."""
    return {
        "PROJECT_DATABASE": str(tmp_path_factory.mktemp("project") / "db.sqlite3"),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *filter(None, sys.path)]),
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
    }


@pytest.fixture(scope="module")
def session(environ: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOG_IN],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


async def _heard(client: ClientConnection, number: int) -> list[str]:
    async with asyncio.timeout(60):
        return [json.loads(await client.recv())["message"] for _ in range(number)]


@pytest.mark.parametrize("path", ["/ws/chat/lobby/", "/ws/sync/lobby/"])
@pytest.mark.parametrize(
    "options",
    [None, [], ["--instances", "3"], ["--replay"], ["--replay", "--instances", "3", "--freeze"]],
    ids=["uvicorn", "dev", "instances", "replay", "replay and instances"],
)
async def test_a_room_hears_everybody_once(
    options: list[str] | None, path: str, tmp_path: Path, environ: dict[str, str], session: str
) -> None:
    """In order, too, but where turns go from process to process.

    Who is logged in is known by the cookie, in each event anew.
    """
    in_order = sorted if options and len(options) > 2 and "--replay" in options else list
    server = (
        Uvicorn(tmp_path, TARGET, **environ)
        if options is None
        else LongwireDev(tmp_path, TARGET, *options, **environ)
    )
    with server:
        async with AsyncExitStack() as stack:
            address = server.address("")

            async def enter(room: str, *cookies: str) -> ClientConnection:
                headers = [("Cookie", f"sessionid={one}") for one in cookies]
                url = address(path.replace("lobby", room), ())
                origin = Origin("http://localhost")
                client = connect(url, origin=origin, additional_headers=headers)
                return await stack.enter_async_context(client)

            ann, bob = await enter("lobby", session), await enter("lobby")
            eve = await enter("elsewhere")
            said = [f"ann: {number}" for number in range(5)]
            for number in range(5):
                await ann.send(json.dumps({"message": str(number)}))
            for one in (ann, bob):
                assert in_order(await _heard(one, 5)) == said
            await bob.send(json.dumps({"message": "hi"}))
            for one in (ann, bob):
                assert await _heard(one, 1) == ["AnonymousUser: hi"]
            await ann.close()
            await bob.send(json.dumps({"message": "still here"}))
            assert await _heard(bob, 1) == ["AnonymousUser: still here"]
            await eve.send(json.dumps({"message": "alone"}))
            assert await _heard(eve, 1) == ["AnonymousUser: alone"]


# Sends to a room, as a management command does.
COMMAND = """
import django; django.setup()
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
for number in range(3):
    event = {"type": "chat.message", "message": f"by a command {number}"}
    async_to_sync(get_channel_layer().group_send)("chat_lobby", event)
"""


@pytest.mark.parametrize(
    ("options", "query"), [([], ""), (["--replay"], "?replay=true")], ids=["plain", "replay"]
)
async def test_a_command_outside_reaches_the_room(
    options: list[str], query: str, tmp_path: Path, environ: dict[str, str], session: str
) -> None:
    """It runs the project's app with the same store, and waits for it."""
    with LongwireDev(tmp_path, TARGET, *options, **environ) as server:
        url = server.address("")("/ws/chat/lobby/", ())
        async with connect(url, origin=Origin("http://localhost")) as ann:
            gateway = url.replace("ws://", "http://").partition("/?")[0]
            told = {
                "WS_MANAGEMENT_ENDPOINT": f"{gateway}/local",
                "LONGWIRE_DSN": f"sqlite:///{tmp_path / 'store.sqlite3'}{query}",
            }
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", COMMAND],
                env={**os.environ, **environ, **told},
                check=True,
                timeout=60,
            )
            assert done.returncode == 0
            assert await _heard(ann, 3) == [f"by a command {number}" for number in range(3)]
