"""Each example, run by the commands that its docstring names, with real clients."""

from __future__ import annotations

import asyncio
import os
import re
import runpy
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.examples.serving import GATEWAY, ROOT, UVICORN, Server, served

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

both = pytest.mark.parametrize("server", [GATEWAY, UVICORN])


async def transcript(server: Server, script: Iterable[tuple[str, str, int]]) -> list[str]:
    """Let clients say what the script says, and note it with that many answers to each.

    An answer too many shows as the first answer to what the same client says next.
    """
    noted = []
    async with AsyncExitStack() as stack:
        clients: dict[str, ClientConnection] = {}
        for url, text, answers in script:
            if url not in clients:
                path, _, query = url.partition("?")
                client = connect(server.ws_url(path, query))
                clients[url] = await stack.enter_async_context(client)
            noted.append(f"{url} {text}")
            await clients[url].send(text)
            noted += [f"{url} | {await clients[url].recv()!s}" for _ in range(answers)]
    return noted


@both
async def test_echo_returns_each_message_once(server: str, tmp_path: Path) -> None:
    """The transcript does not tell which server it was."""
    async with served(server, "echo", tmp_path) as echo:
        script = [("/", text, 1) for text in ("hello", "", "two\nlines", "😀")]
        noted = await transcript(echo, script)
    assert noted == [f"/ {sign}{text}" for _, text, _ in script for sign in ("", "| ")]


@both
async def test_a_consumer_of_channels_is_heard_in_its_room(server: str, tmp_path: Path) -> None:
    """By the channel layer, also by whom who has not said anything."""
    async with served(server, "channels_chat", tmp_path) as chat, AsyncExitStack() as stack:
        ann, bob, eve = [
            await stack.enter_async_context(connect(chat.ws_url(f"/ws/chat/{room}/", "")))
            for room in ("blue", "blue", "red")
        ]
        for client in (ann, eve, bob):
            await client.send('{"message": "hello"}')
        line = '{"message": "AnonymousUser: hello"}'
        await expect(line, ann, bob)
        await expect(line, ann, bob, eve)


@both
async def test_chat_lets_clients_talk_in_one_room_of_two(server: str, tmp_path: Path) -> None:
    """Each line reaches everybody in its room once, unasked; nobody can tell which server it is."""
    async with served(server, "chat", tmp_path) as chat, AsyncExitStack() as stack:

        async def enter(room: str, name: str) -> ClientConnection:
            url = chat.ws_url(f"/rooms/{room}", f"name={name}")
            client = await stack.enter_async_context(connect(url))
            await expect(f"{name} joined", client)
            return client

        ann = await enter("blue", "ann")
        bob = await enter("blue", "bob")
        await expect("bob joined", ann)
        eve = await enter("red", "eve")
        for client, text, line in ((ann, "hello", "ann: hello"), (bob, "hi", "bob: hi")):
            await client.send(text)
            await expect(line, ann, bob)
        await eve.send("anybody?")
        await expect("eve: anybody?", eve)
        await bob.close()
        await expect("bob left", ann)
        bob = await enter("blue", "bob")
        await expect("bob joined", ann)
        bob.transport.abort()
        await expect("bob left", ann)


async def expect(line: str, *clients: ClientConnection) -> None:
    """Wait for the next message of each of these clients, which has to be this one."""
    assert [await client.recv() for client in clients] == [line] * len(clients)


async def test_notify_reaches_a_room_from_an_http_route_and_from_a_script(tmp_path: Path) -> None:
    """Neither has an event; both need only the store and the endpoint."""
    connections = f"sqlite:///{tmp_path}/connections.sqlite3"
    async with served(GATEWAY, "chat", tmp_path) as chat:
        endpoint = f"http://{chat.netloc}/local"
        environ = {"WS_MANAGEMENT_ENDPOINT": endpoint, "LONGWIRE_DSN": connections}
        async with (
            connect(chat.ws_url("/rooms/blue", "name=ann")) as ann,
            served(UVICORN, "notify", tmp_path, environ) as notify,
            httpx.AsyncClient() as client,
        ):
            await expect("ann joined", ann)
            answer = await client.post(notify.http_url("/rooms/blue"), content="dinner")
            assert answer.json() == {"delivered": 1, "gone": 0, "failed": {}}
            await expect("dinner", ann)
            script = await asyncio.create_subprocess_exec(
                *(sys.executable, "-B", "-W", "error", "examples/notify.py", "blue", "is ready"),
                cwd=ROOT,
                env={**os.environ, **environ},
                stdout=PIPE,
                stderr=STDOUT,
            )
            said, _ = await script.communicate()
            assert (said.decode(), script.returncode) == ("delivered to 1, gone 0\n", 0)
            await expect("is ready", ann)


@both
async def test_presence_knows_who_is_online(server: str, tmp_path: Path) -> None:
    """A user is offline when the last of several connections is closed."""
    async with served(server, "presence", tmp_path) as presence, AsyncExitStack() as stack:

        async def enter(user: str) -> ClientConnection:
            url = presence.ws_url(f"/users/{user}", "")
            return await stack.enter_async_context(connect(url))

        ann = await enter("ann")
        await ann.send('{"to": "ann", "text": "ready"}')
        await expect('{"from":"ann","text":"ready"}', ann)
        bob = await enter("bob")
        await expect('{"online":"bob"}', ann)
        await ann.send('{"to": "bob", "text": "hi"}')
        await expect('{"from":"ann","text":"hi"}', bob)
        await bob.send('{"to": "eve"}')
        await expect('{"error":"eve is offline"}', bob)
        tab = await enter("bob")
        await tab.send('{"text": "all"}')
        await expect('{"from":"bob","text":"all"}', ann, bob, tab)
        await bob.close()
        await tab.send('{"text": "still here"}')
        await expect('{"from":"bob","text":"still here"}', ann, tab)
        await tab.close()
        await expect('{"offline":"bob"}', ann)


@both
async def test_shop_knows_its_customers(server: str, tmp_path: Path) -> None:
    """Who has logged in and what is in the cart, each customer's own, in any process."""
    async with served(server, "shop", tmp_path) as shop, AsyncExitStack() as stack:

        async def enter() -> ClientConnection:
            return await stack.enter_async_context(connect(shop.ws_url("/shop", "")))

        ann, bob = await enter(), await enter()
        await ann.send('{"do": "add", "item": "tea"}')
        await expect('{"error":"log in first"}', ann)
        for name, customer in (("ann", ann), ("bob", bob)):
            await customer.send(f'{{"do": "login", "name": "{name}"}}')
            await expect(f'{{"hello":"{name}"}}', customer)
        for number, item in enumerate(("tea", "milk"), 1):
            await ann.send(f'{{"do": "add", "item": "{item}"}}')
            await expect(f'{{"items":{number}}}', ann)
        for customer, shown in (
            (ann, '{"user":"ann","cart":["tea","milk"]}'),
            (bob, '{"user":"bob","cart":[]}'),
        ):
            await customer.send('{"do": "show"}')
            await expect(shown, customer)
        await ann.send('{"do": "sing"}')
        await expect('{"error":"what?"}', ann)


@both
async def test_assistant_knows_what_was_said_before(server: str, tmp_path: Path) -> None:
    """Its last frame is sent when the history is stored: the next message may follow at once."""
    async with served(server, "assistant", tmp_path) as assistant:
        async with connect(assistant.ws_url("/chat", "")) as client:
            before = "To begin with"
            for text in ("one", "two", "three"):
                await client.send(text)
                words = []
                while (word := str(await client.recv())) != "[end]":
                    words.append(word)
                assert " ".join(words) == f"{before} you say {text!r}."
                before = f"After {text!r}"


@both
@pytest.mark.parametrize("url", ["/rooms/blue?name=", "/rooms?name=ann"])
async def test_chat_refuses_who_has_no_name_or_no_room(
    server: str, url: str, tmp_path: Path
) -> None:
    """A close before accept is a 403."""
    async with served(server, "chat", tmp_path) as chat:
        with pytest.raises(InvalidStatus) as refused:
            await connect(chat.ws_url(*url.split("?")))
    assert refused.value.response.status_code == 403


@both
async def test_fastapi_counts_words_until_bye(server: str, tmp_path: Path) -> None:
    """A greeting, a dependency in the replies, and an end that the app decides."""
    async with served(server, "fastapi_app", tmp_path) as words:
        async with connect(words.ws_url("/words", "token=swordfish")) as client:
            greeting = await client.recv()
            await client.send("a day at the races")
            reply = await client.recv()
            await client.send("bye")
            with pytest.raises(ConnectionClosed):
                await client.recv()
    assert (greeting, reply) == ('{"hello":"groucho"}', '{"user":"groucho","words":5}')
    assert client.close_code == 1000


@both
@pytest.mark.parametrize("query", ["", "token=wrong"])
async def test_fastapi_refuses_a_wrong_token(server: str, query: str, tmp_path: Path) -> None:
    """The status that the dependency raises is the status of the handshake."""
    async with served(server, "fastapi_app", tmp_path) as words:
        with pytest.raises(InvalidStatus) as refused:
            await connect(words.ws_url("/words", query))
    assert refused.value.response.status_code == 401


@both
async def test_fastapi_serves_http_too(server: str, tmp_path: Path) -> None:
    """The routes beside the sockets, under either."""
    async with served(server, "fastapi_app", tmp_path) as web, httpx.AsyncClient() as client:
        paths = ["/me?token=swordfish", "/me", "/"]
        answers = [await client.get(web.http_url(path)) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 401, 404]
    assert answers[0].json() == {"user": "groucho"}


@both
async def test_webchat_posts_to_its_room(server: str, tmp_path: Path) -> None:
    """Who is in the room gets what the API was given; its page is in tests/local, in a browser."""
    async with served(server, "webchat", tmp_path) as web, httpx.AsyncClient() as client:
        assert "<title>Chat</title>" in (await client.get(web.http_url("/"))).text
        async with connect(web.ws_url("/rooms/blue", "name=ann")) as ann:
            assert await ann.recv() == "ann joined"
            answer = await client.post(web.http_url("/rooms/blue"), json={"text": "dinner"})
            assert answer.json() == {"delivered": 1}
            assert await ann.recv() == "dinner"


async def test_fastapi_handler_answers_http_events() -> None:
    """On Lambda the same handler has the events of an HTTP API, through Mangum."""
    event = {
        "version": "2.0",
        "rawPath": "/me",
        "rawQueryString": "token=swordfish",
        "headers": {},
        "requestContext": {"http": {"method": "GET", "path": "/me", "sourceIp": "192.0.2.1"}},
    }
    example = runpy.run_path(str(ROOT / "examples" / "fastapi_app.py"))
    answer = await example["handler"].handle(event)
    assert (answer["statusCode"], answer["body"]) == (200, '{"user":"groucho"}')


def _demo(script: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", str(script)]
    return subprocess.run(
        command, env={**os.environ, "TMPDIR": str(folder)}, capture_output=True, text=True
    )


def test_demo_shows_a_conversation_beside_its_events(tmp_path: Path) -> None:
    """Every event of both connections, every line that was seen, and no file left behind."""
    demo = _demo(ROOT / "examples" / "demo.py", tmp_path)
    assert (demo.returncode, demo.stderr) == (0, "")
    events = re.findall(r"(CONNECT|MESSAGE|DISCONNECT) +(\S+)", demo.stdout)
    ann, bob = (connection for _, connection in events[:2])
    names = {ann: "ann", bob: "bob"}
    assert [f"{kind} {names[connection]}" for kind, connection in events] == [
        *["CONNECT ann", "CONNECT bob", "MESSAGE ann", "MESSAGE bob", "MESSAGE ann"],
        *["DISCONNECT ann", "DISCONNECT bob"],
    ]
    assert re.findall(r"\w+ gets \| .*", demo.stdout)[-1] == "bob gets | ann left"
    assert list(tmp_path.iterdir()) == []


def test_demo_fails_with_a_reason(tmp_path: Path) -> None:
    """Whoever runs it sees what was wrong, and so does make."""
    shutil.copy(ROOT / "examples" / "demo.py", tmp_path)
    (tmp_path / "chat.py").write_text("import no_such_module\n")
    demo = _demo(tmp_path / "demo.py", tmp_path)
    assert (demo.returncode, demo.stdout) == (1, "")
    assert "No module named 'no_such_module'" in demo.stderr
    assert demo.stderr.splitlines()[-1] == "demo: failed: longwire dev ended with code 2"
    assert {path.name for path in tmp_path.iterdir()} == {"demo.py", "chat.py"}
