"""The claim: the client sees the same conversation as under uvicorn."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.parity import apps, shops
from tests.parity.hosts import HOSTS, Processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.parity.hosts import Address

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

Transcript = list[Any]
CLOSED = "closed"


async def _converse(
    address: Address,
    path: str,
    messages: Sequence[tuple[str | list[str], int]],
    *,
    query: Sequence[tuple[str, str]] = (),
    greeting: int = 0,
    code: int | None = None,
    until_closed: bool = False,
    **handshake: Any,
) -> Transcript:
    """Connect, say each message and read its number of replies, leave; return what came."""
    seen: Transcript = []
    try:
        client = await connect(address(path, query), compression=None, **handshake)
    except InvalidStatus as refused:
        return [refused.response.status_code]
    async with client:
        seen.append(("subprotocol", client.subprotocol))
        await _read(client, greeting, seen)
        for message, replies in messages:
            await client.send(message)
            await _read(client, replies, seen)
        if until_closed:
            await _read(client, 1, seen)
        await client.close(code or 1000, "bye")
    return seen


async def _read(client: ClientConnection, frames: int, seen: Transcript) -> None:
    for _ in range(frames):
        try:
            async with asyncio.timeout(10):
                seen.append(await client.recv())
        except ConnectionClosed:
            seen.append(CLOSED)
            return


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with Processes(tmp_path_factory.mktemp("processes")) as running:
        yield running


async def _transcripts(
    app: str, folder: Path, processes: Processes, **script: Any
) -> dict[str, Transcript]:
    told: dict[str, Transcript] = {}
    for name, host in HOSTS.items():
        module = shops if app.startswith("shop_") else apps
        async with host(getattr(module, app), folder) as address:
            told[name] = await _converse(address, **script)
            if script.get("code"):
                told[name].append(await asyncio.to_thread(_heard, script["code"]))
    told["processes"] = await _converse(processes.address(f"/{app}"), **script)
    if script.get("code"):
        heard = await asyncio.to_thread(_read_heard, processes.heard, script["code"])
        told["processes"].append(heard)
    return told


def _read_heard(path: Path, code: int) -> tuple[int, str]:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        for line in path.read_text().splitlines():
            if (told := json.loads(line))[0] == code:
                return told[0], told[1]
        time.sleep(0.01)
    raise TimeoutError(f"no app was told of {code}")


def _heard(code: int) -> tuple[int, str]:
    """Return what the app was told of the client that left with this code, which no other has."""
    while True:
        told: tuple[int, str] = apps.heard.get(timeout=10)
        if told[0] == code:
            return told


def _talk(path: str, *messages: tuple[str | list[str], int], **more: Any) -> dict[str, Any]:
    return {"path": path, "messages": messages, **more}


HUNDRED_KB = ["x" * 30_000, "y" * 30_000, "z" * 30_000, "w" * 10_000]  # frames of under 32 KB
ODD_QUERY = [("tag", "b"), ("tag", "a"), ("odd", "a b&c=d+e/%41é😀"), ("empty", "")]
ODD_HEADERS = [("X-One", "1"), ("X-One", "2"), ("X-Odd", "caf\xe9 ;,="), ("Cookie", "a=b; c=d")]

STARLETTE = {
    "loop": _talk("/loop", ("a", 1), ("b", 1)),
    "close code": _talk("/loop", ("a", 1), code=4001),
    "greeting": _talk("/greet", ("hello", 1), ("a", 1), greeting=2),
    "json": _talk("/iterate_json", ('{"a":[1]}', 1), ('"b"', 1)),
    "no, one and ten replies": _talk("/count", ("0", 0), ("1", 1), ("0", 0), ("10", 10)),
    "reader and writer": _talk("/queue", ("a", 1), ("b", 1), greeting=1),
    "refused": _talk("/refuse"),
    "unauthorized": _talk("/unauthorized"),
    "denied": _talk("/deny"),
    "crash before accept": _talk("/crash_first"),
    "crash after accept": _talk("/crash_accepted", until_closed=True),
    "crash in the third message": _talk("/crash_third", ("1", 1), ("2", 1), ("third", 1)),
    "return without accept": _talk("/returns"),
    "close with a code later": _talk("/close_later", ("a", 2), until_closed=True),
    "unknown path": _talk("/nowhere"),
    "subprotocol": _talk(
        "/subprotocol", greeting=1, subprotocols=["chat.v1", "chat.v2", "chat.v3"]
    ),
    "no common subprotocol": _talk("/subprotocol", greeting=1, subprotocols=["other"]),
    "endpoint class": _talk("/endpoint", ("1", 1), ('{"b":2}', 1), greeting=1, code=4002),
    "session": _talk("/session", ("a", 1), ("b", 1)),
    "auth in middleware": _talk(
        "/auth/user", ("a", 1), additional_headers=[("Authorization", "Bearer good")]
    ),
    "auth in middleware fails": _talk("/auth/user"),
    "mounted": _talk("/sub/app/blue", ("a", 1), greeting=1),
    "odd query and headers": _talk(
        "/describe/a b", ("a", 1), greeting=1, query=ODD_QUERY, additional_headers=ODD_HEADERS
    ),
    "100 KB in fragments": _talk("/loop", (HUNDRED_KB, 1)),
    "empty and emoji": _talk("/loop", ("", 1), ("😀 e\u0301 \u0000", 1)),
    "burst of fifty": _talk("/loop", *((str(n), 0) for n in range(49)), ("49", 50)),
}


@pytest.mark.parametrize("script", STARLETTE.values(), ids=STARLETTE)
async def test_starlette_gives_one_transcript(
    script: dict[str, Any], tmp_path: Path, processes: Processes
) -> None:
    """Frames, their order, statuses, subprotocols, and the close code that the app is told."""
    told = await _transcripts("starlette", tmp_path, processes, **script)
    assert told["gateway"] == told["uvicorn"]
    assert told["processes"] == told["uvicorn"]
    assert told["uvicorn"]


OTHERS = {
    "plain ASGI": ("plain", _talk("/", ("a", 1), ("b", 1), code=4003)),
    "FastAPI": (
        "fastapi",
        _talk("/rooms/7", ("a", 1), ("b", 1), query=[("token", "good")], code=4004),
    ),
    "FastAPI dependency refuses": ("fastapi", _talk("/rooms/7", query=[("token", "bad")])),
    "FastAPI validation": ("fastapi", _talk("/rooms/x", query=[("token", "good")])),
    "Litestar": ("litestar", _talk("/loop", ("a", 1), ("b", 1))),
    "Litestar listener": ("litestar", _talk("/listener", ("a", 1), ("b", 1))),
    "Quart": ("quart", _talk("/loop", ("a", 1), ("b", 1), greeting=1)),
    "Quart refuses": ("quart", _talk("/refuse")),
    "Quart closes": ("quart", _talk("/close", until_closed=True)),
    "Channels": ("channels_async", _talk("/", ("a", 1), ("b", 1), greeting=1, code=4005)),
    "Channels, synchronous": (
        "channels_sync",
        _talk("/", ("a", 1), ("b", 1), greeting=1, code=4006),
    ),
    "Channels refuses": ("channels_refuse", _talk("/")),
}


@pytest.mark.parametrize(("app", "script"), OTHERS.values(), ids=OTHERS)
async def test_other_frameworks_give_one_transcript(
    app: str, script: dict[str, Any], tmp_path: Path, processes: Processes
) -> None:
    """As for Starlette."""
    told = await _transcripts(app, tmp_path, processes, **script)
    assert told["gateway"] == told["uvicorn"]
    assert told["processes"] == told["uvicorn"]
    assert told["uvicorn"]


VISIT = ("hello", "login ann", "add tea", "add milk", "leave", "login bob", "logout", "hello")
SHOPS = {
    "plain ASGI": ("shop_plain", {"path": "/", "code": 4010}),
    "Starlette": ("shop_starlette", {"path": "/", "code": 4011}),
    "Starlette, mounted": ("shop_starlette", {"path": "/sub/shop", "code": 4012}),
    "FastAPI": ("shop_fastapi", {"path": "/", "code": 4013}),
    "Litestar": ("shop_litestar", {"path": "/", "code": 4014}),
    "Quart": ("shop_quart", {"path": "/"}),
    "Channels": ("shop_channels", {"path": "/", "code": 4015}),
    "Channels, synchronous": ("shop_channels_sync", {"path": "/", "code": 4016}),
    "session": ("shop_session", {"path": "/"}),
}


@pytest.mark.parametrize(("app", "script"), SHOPS.values(), ids=SHOPS)
async def test_what_an_app_keeps_in_its_state_stays(
    app: str, script: dict[str, Any], tmp_path: Path, processes: Processes
) -> None:
    """Who has logged in, a counter, a cart: in one process or in four, and at the end."""
    messages = [(text, 1) for text in VISIT]
    told = await _transcripts(app, tmp_path, processes, messages=messages, **script)
    assert told["gateway"] == told["uvicorn"]
    assert told["processes"] == told["uvicorn"]
    assert told["uvicorn"][1:9] == [
        "1: who are you?",
        "2: {'name': 'ann'} []",
        "3: {'name': 'ann'} [{'item': 'tea'}]",
        "4: {'name': 'ann'} [{'item': 'tea'}, {'item': 'milk'}]",
        "5: {'name': 'ann'} no cart",
        "6: {'name': 'bob'} no cart",
        "7: bye",
        "8: who are you?",
    ]
    if "code" in script:
        assert told["uvicorn"][9] == (script["code"], "8 nobody")
