"""Each example that replay is for does the same on a server, in one process and in several."""

from __future__ import annotations

import importlib.util
import itertools
import json
from typing import TYPE_CHECKING, NamedTuple

import pytest
from websockets.asyncio.client import connect

from tests.examples.serving import GATEWAY, UVICORN, served

if TYPE_CHECKING:
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection
    from websockets.typing import Subprotocol

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(120)]


class Way(NamedTuple):
    """A way to run an example."""

    command: str
    options: tuple[str, ...] = ()


WAYS = {
    "uvicorn": Way(UVICORN),
    "replay": Way(GATEWAY),
    "processes": Way(GATEWAY, ("--instances", "4", "--unordered")),
}
everywhere = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


async def play(client: ClientConnection, script: list[str]) -> list[str]:
    """Say the lines that begin with `>`, and return them with what comes for each other line."""
    noted = []
    for line in script:
        if line.startswith("> "):
            await client.send(line[2:])
            noted.append(line)
        else:
            noted.append(f"< {await client.recv()!s}")
    return noted


@everywhere
async def test_guess_finds_the_number(way: Way, tmp_path: Path) -> None:
    """In two games, of which the second begins with three answers at once."""
    script = [
        *("< think of a number from 1 to 100", "< is it 50?"),
        *("> higher", "< is it 75?"),
        *("> perhaps", "< higher, lower or yes", "< is it 75?"),
        *("> lower", "< is it 62?", "> yes", "< got it in 4", "< is it 50?"),
        *("> lower", "> lower", "> lower", "< is it 25?", "< is it 12?", "< is it 6?"),
        *("> yes", "< got it in 4", "< is it 50?"),
    ]
    async with served(way.command, "guess", tmp_path, options=way.options) as guess:
        async with connect(guess.ws_url("/guess", "")) as client:
            assert await play(client, script) == script


def _call(number: int, method: str, **params: str) -> str:
    return "> " + _json({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def _result(number: int, result: object) -> str:
    return "< " + _json({"jsonrpc": "2.0", "id": number, "result": result})


def _error(number: int | None, code: int, message: str) -> str:
    error = {"code": code, "message": message}
    return "< " + _json({"jsonrpc": "2.0", "id": number, "error": error})


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


@everywhere
async def test_notebook_knows_who_has_initialized(way: Way, tmp_path: Path) -> None:
    """And what was noted, each client's own."""
    script = [
        *(_call(1, "list"), _error(1, -32002, "initialize first")),
        *(_call(2, "initialize"), _error(2, -32002, "initialize first")),
        *(_call(3, "initialize", name="ann"), _result(3, {"server": "notebook", "hello": "ann"})),
        *(_call(4, "add", note="milk"), _result(4, 1)),
        *("> {", _error(None, -32700, "parse error")),
        *("> {}", _error(None, -32600, "invalid request")),
        *(_call(5, "sing"), _error(5, -32601, "method not found")),
        *[_call(6, "add", note="tea")] * 3,  # at once
        *(_result(6, number) for number in (2, 3, 4)),
        *(_call(7, "list"), _result(7, {"ann": ["milk", "tea", "tea", "tea"]})),
    ]
    other = [
        *(_call(1, "initialize", name="bob"), _result(1, {"server": "notebook", "hello": "bob"})),
        *(_call(2, "list"), _result(2, {"bob": []})),
    ]
    async with served(way.command, "notebook", tmp_path, options=way.options) as notebook:
        url = notebook.ws_url("/rpc", "")
        async with connect(url) as ann, connect(url) as bob:
            for client, said in ((ann, script[:6]), (bob, other), (ann, script[6:])):
                assert await play(client, said) == said


@everywhere
@pytest.mark.skipif(
    importlib.util.find_spec("strawberry") is None,
    reason="strawberry-graphql is not installed: an emulator of AWS wants another graphql-core",
)
async def test_countdown_serves_subscriptions(way: Way, tmp_path: Path) -> None:
    """One after the other over one connection, which has said `connection_init` once."""

    def subscribe(number: str, start: int) -> list[str]:
        query = {"query": f"subscription {{ countdown(start: {start}) }}"}
        subscribed = {"type": "subscribe", "id": number, "payload": query}
        counted = [
            {"id": number, "type": "next", "payload": {"data": {"countdown": left}}}
            for left in range(start, -1, -1)
        ]
        ended = {"id": number, "type": "complete"}
        return [f"> {_json(subscribed)}", *(f"< {_json(line)}" for line in (*counted, ended))]

    script = ['> {"type":"connection_init"}', '< {"type":"connection_ack"}']
    script += [*subscribe("1", 3), '> {"type":"ping"}', '< {"type":"pong"}', *subscribe("2", 1)]
    protocols: list[Subprotocol] = ["graphql-transport-ws"]  # type: ignore[list-item]
    async with served(way.command, "countdown", tmp_path, options=way.options) as countdown:
        async with connect(countdown.ws_url("/", ""), subprotocols=protocols) as client:
            noted = [
                f"{line[:2]}{_json(json.loads(line[2:]))}" for line in await play(client, script)
            ]
    assert noted == script


@everywhere
async def test_advisor_asks_the_model_once_for_each_answer(way: Way, tmp_path: Path) -> None:
    """Though the history is a list, and each message may meet a process that knows none of it."""
    script, before = [], "to begin with"
    for question in ("one", "two", "three"):
        script += [f"> {question}", f"< {before} you ask {question!r}"]
        before = f"after {question!r}"
    async with served(way.command, "advisor", tmp_path, options=way.options) as advisor:
        async with connect(advisor.ws_url("/advice", "")) as client:
            assert await play(client, script) == script
    asked = [line for line in advisor.console if "the model is asked" in line]
    assert [line.split()[-1] for line in asked] == ["one", "two", "three"]


ON = ["on", "through", "the", "wood"]


@everywhere
async def test_stories_stop(way: Way, tmp_path: Path) -> None:
    """What stops them is another event; how many words are told until then, nobody knows."""
    async with served(way.command, "stories", tmp_path, options=way.options) as stories:
        async with connect(stories.ws_url("/stories", "")) as client:
            for number in (1, 2):
                await client.send("tell")
                words = [str(await client.recv()) for _ in range(4)]
                await client.send("stop")
                while (word := str(await client.recv())) != f"[end of story {number}]":
                    words.append(word)
                told = itertools.cycle(
                    ["and", "then", "they", "walked", "on", "through", "the", "wood"]
                )
                assert words == [f"[story {number}]", *itertools.islice(told, len(words) - 1)]
                await client.send("stop")
                assert await client.recv() == "[tell or stop]"
