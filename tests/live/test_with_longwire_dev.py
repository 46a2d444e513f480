"""The real clients and the apps that are deployed, under `longwire dev`, which does as assumed."""

from __future__ import annotations

import asyncio
import os
import re
import time
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.live import conversations
from tests.live.clients import open_client
from tests.live.measures import bursts, frames, posting
from tests.live.world import World
from tests.local.running import Dev
from tests.parity.conversations import CONVERSATIONS
from tests.parity.hosts import LongwireDev

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.live.clients import RealClient
    from tests.live.world import Place, Way

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(200)]
pytest.importorskip("boto3")  # the probe's
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-secret"}


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Run the probe as its own handler; yield where clients and posts go."""
    folder = tmp_path_factory.mktemp("dev")
    environ = {**KEYS, "AWS_DEFAULT_REGION": "us-east-1"}
    options = ["tests.live.app.probe:handler", "--app-dir", os.getcwd(), "--unordered"]
    store = {"LONGWIRE_DSN": f"sqlite:///{folder / 'store.sqlite3'}"}
    with Dev(folder, *options, **environ, **store) as running:
        found = running.ready()
        yield found[1], found[3]


@pytest.fixture
def world(dev: tuple[str, str]) -> World:
    """The local gateway, as far as the measurements ask it."""
    url, management = dev

    @asynccontextmanager
    async def connect(place: Place, path: str, way: Way) -> AsyncIterator[RealClient]:
        async with open_client(url, path, way) as client:
            yield client

    def post(connection_id: str, body: bytes) -> int:
        target = f"{management}/@connections/{connection_id.replace('=', '%3D')}"
        try:
            request = urllib.request.Request(target, body, method="POST")
            with urllib.request.urlopen(request) as response:
                status: int = response.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return status

    async def manage(method: str, connection_id: str, body: bytes) -> int:
        return await asyncio.to_thread(post, connection_id, body)

    async def unused(*arguments: Any) -> Any:
        raise NotImplementedError

    return World(connect, manage, unused, unused, unused, time.time, asyncio.sleep)


async def test_odd_frames_and_posts(world: World) -> None:
    findings = await frames.measure(world)
    assert [finding.verdict for finding in findings] == ["as assumed"] * 9 + ["not measured"]


async def test_a_burst(world: World) -> None:
    """A handler that is a function of its own is called for one event at a time here."""
    finding = bursts.judge_burst(12, await bursts.burst(world, "main", 12, 0.1))
    # Which of those that wait comes next, nobody promises: the gateway runs --unordered.
    order = "(in order|in another order)"
    assert re.fullmatch(f"12 of 12 answered, {order}, up to 1 at a time", finding.seen)
    assert finding.verdict == "otherwise"


@pytest.mark.parametrize("way", ["near", "far", "slow"])
async def test_a_post_to_a_new_connection(
    world: World, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over the lines that are far or slow."""
    monkeypatch.setattr(posting, "TIMES", {way: 1})
    (finding,) = await posting.measure(world)
    # How long it took is this machine's business.
    (delay,) = finding.numbers["seconds"]
    assert delay > 0


async def test_conversations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Played under uvicorn, and at the URL of an API."""
    names = ["echo", "large", "greet", "refuse", "nowhere", "close_asked", "feed"]
    some = {f"plain: {name}": CONVERSATIONS[f"plain: {name}"] for name in names}
    monkeypatch.setattr(conversations, "CONVERSATIONS", some)
    wanted = await conversations.expected(["plain"], tmp_path)
    environ = {"PARITY_FRAMEWORKS": "plain", "PARITY_HEARD": str(tmp_path / "heard")}
    with LongwireDev(tmp_path, conversations.TARGET, "--unordered", **environ) as there:
        url = there.address("")("", ()).partition("/?")[0]
        heard = await conversations.played(url, ["plain"])
    (finding,) = conversations.judge(["plain"], wanted, heard)
    assert (finding.verdict, finding.seen) == ("as assumed", "7 of 7 are")
