"""`longwire.testing`: API Gateway in memory, for tests of one's own app."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from longwire.handler import Longwire
from longwire.testing import Closed, Gateway, Refused

pytestmark = pytest.mark.anyio

MEMORY: Any = {"backend": "memory", "params": {}}


class App:
    """Echoes; does what the text says; remembers how each connection ended."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.ended: list[tuple[int, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        self.scopes.append(scope)
        await receive()
        if b"refuse" in scope["query_string"]:
            await send({"type": "websocket.close"})
            return
        offered = scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": offered[-1] if offered else None})
        await send({"type": "websocket.send", "text": "welcome"})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.ended.append((message["code"], message["reason"]))
                return
            if message["text"] == "bye":
                await send({"type": "websocket.close", "code": 4000})
                return
            if message["text"] != "quiet":
                await send({"type": "websocket.send", "text": message["text"]})


async def test_an_app_is_talked_to() -> None:
    """A greeting, an answer, silence, and the end told once."""
    app = App()
    async with Gateway(app) as gateway:
        async with gateway.connect() as ws:
            assert await ws.receive() == "welcome"
            await ws.send("hello")
            assert await ws.receive() == "hello"
            await ws.send("quiet")
            await ws.nothing()
            await ws.close(4001, "done")
            assert app.ended == [(4001, "done")]
    assert app.ended == [(4001, "done")]


async def test_the_handshake_is_what_the_test_says() -> None:
    """Path, query, headers, subprotocols and address reach the app."""
    app = App()
    async with Gateway(app) as gateway:
        async with gateway.connect(
            "/rooms/é",
            query=[("a", "1"), ("a", "&")],
            headers={"X-User": "eve"},
            subprotocols=["v2", "v1"],
            source_ip="203.0.113.7",
        ) as ws:
            assert ws.subprotocol == "v1"
    scope = app.scopes[0]
    assert scope["path"] == "/rooms/é"
    assert scope["query_string"] == b"a=1&a=%26"
    assert (b"x-user", b"eve") in scope["headers"]
    assert scope["subprotocols"] == ["v2", "v1"]
    assert scope["client"][0] == "203.0.113.7"


@pytest.mark.parametrize("query", ["token=t", {"token": "t"}, [("token", "t")]])
async def test_a_query_is_text_a_mapping_or_pairs(query: Any) -> None:
    """Whatever is easiest to write."""
    app = App()
    async with Gateway(app) as gateway, gateway.connect(query=query):
        pass
    assert app.scopes[0]["query_string"] == b"token=t"


async def test_a_refused_handshake_raises() -> None:
    """With the status that a client would get."""
    async with Gateway(App()) as gateway:
        with pytest.raises(Refused, match="refused with status 403") as caught:
            async with gateway.connect(query="refuse"):
                pytest.fail("it was accepted")
    assert caught.value.status == 403
    assert [answer.result for answer in gateway.answers] == [{"statusCode": 403}]


async def test_receiving_after_the_end_raises() -> None:
    """What was sent before is received first; the code is API Gateway's, not the app's."""
    async with Gateway(App()) as gateway, gateway.connect() as ws:
        await ws.send("last")
        await ws.send("bye")
        assert [await ws.receive(), await ws.receive()] == ["welcome", "last"]
        for _ in range(2):
            with pytest.raises(Closed) as caught:
                await ws.receive()
        assert (caught.value.code, caught.value.reason) == (1000, "Connection Closed Normally")
        assert (ws.close_code, ws.close_reason) == (1000, "Connection Closed Normally")
        with pytest.raises(Closed):
            await ws.send("too late")


async def test_nothing_and_receive_say_what_they_saw() -> None:
    """A failed expectation shows the message, or the function's last answer."""
    async with Gateway(App()) as gateway, gateway.connect() as ws:
        await ws.send("surprise")
        assert await ws.receive() == "welcome"
        with pytest.raises(AssertionError, match="a message came: 'surprise'"):
            await ws.nothing()
        with pytest.raises(TimeoutError, match=r"^nothing came within 0\.01 s; the last answer"):
            await ws.receive(timeout=0.01)
        await gateway.expire(ws)
        with pytest.raises(AssertionError, match="the connection is closed: 1001 Going away"):
            await ws.nothing()


async def test_json_is_sent_and_received() -> None:
    """As text, for apps that speak it."""
    async with Gateway(App()) as gateway, gateway.connect() as ws:
        await ws.receive()
        await ws.send_json({"a": [1, None]})
        assert await ws.receive_json() == {"a": [1, None]}


async def test_time_passes_on_demand() -> None:
    """The idle timeout and the lifetime end a connection alike, without waiting for them."""
    app = App()
    async with Gateway(app) as gateway, gateway.connect() as ws:
        await gateway.expire(ws)
        assert ws.close_code == 1001
    assert app.ended == [(1001, "Going away")]


async def test_a_client_may_vanish() -> None:
    """The app sees 1006."""
    app = App()
    async with Gateway(app) as gateway, gateway.connect() as ws:
        await ws.vanish()
        await ws.vanish()
    assert app.ended == [(1006, "")]


async def test_a_close_without_code_is_1005() -> None:
    """With the reason that API Gateway writes."""
    app = App()
    async with Gateway(app) as gateway, gateway.connect() as ws:
        await ws.close(None)
    assert app.ended == [(1005, "Client-side close frame status not set")]


async def test_frames_have_the_limits_of_api_gateway() -> None:
    """A message in one frame over 32 KB is 1009, in several frames it is not; binary is 1003."""
    async with Gateway(App()) as gateway:
        async with gateway.connect() as ws:
            await ws.send("x" * 32768, "y" * 32768)
            assert await ws.receive() == "welcome"
            assert await ws.receive() == "x" * 32768 + "y" * 32768
            await ws.send("x" * 32769)
            assert ws.close_code == 1009
        async with gateway.connect() as ws:
            await ws.send_bytes(b"x")
            assert ws.close_code == 1003


async def test_open_connections_end_with_the_gateway() -> None:
    """With 1001, and the app is told."""
    app = App()
    gateway = Gateway(app)
    async with gateway:
        opening = gateway.connect()
        ws = await opening.__aenter__()
    assert ws.close_code == 1001
    assert app.ended == [(1001, "Going away")]
    await opening.__aexit__(None, None, None)


async def test_a_handler_is_used_as_it_is() -> None:
    """Its own configuration decides; where it posts to does not matter."""
    app = App()
    config: Any = MEMORY | {
        "path": "/ws",
        "api_gateway_endpoint_url": "https://ws.example.com/mapping",
    }
    handler = Longwire(app, ws_config=config)
    async with Gateway(handler, stage="prod") as gateway, gateway.connect() as ws:
        assert await ws.receive() == "welcome"
    assert app.scopes[0]["path"] == "/ws"


def test_a_handler_takes_no_second_configuration() -> None:
    """It would be ignored."""
    with pytest.raises(ValueError, match="ws_config is for an ASGI app; a handler has its own"):
        Gateway(Longwire(App(), ws_config=MEMORY), ws_config=MEMORY)


async def test_a_lambda_function_is_called_with_every_event() -> None:
    """And its answers, errors and timeouts are kept with the events."""
    forever = asyncio.Event()

    async def function(event: Any, context: Any) -> object:
        match event.get("body"):
            case "fail":
                raise ValueError("mine")
            case "hang":
                await forever.wait()
        return {"statusCode": 200}

    async with Gateway(function, integration_timeout=0.01) as gateway:
        async with gateway.connect() as ws, gateway.connect() as other:
            await ws.send("fail")
            assert (await ws.receive_json())["message"] == "Internal server error"
            await ws.send("hang")
            assert (await ws.receive_json())["message"] == "Endpoint request timed out"
            assert len(other.answers) == 1
        forever.set()
    results = [answer.result for answer in ws.answers]
    assert results[0] == {"statusCode": 200}
    assert isinstance(results[1], ValueError)
    assert isinstance(results[2], TimeoutError)
    assert [answer.event["requestContext"]["eventType"] for answer in ws.answers] == [
        "CONNECT",
        "MESSAGE",
        "MESSAGE",
        "DISCONNECT",
    ]


async def test_connections_do_not_mix() -> None:
    """Each client gets its own answers."""

    async def talk(gateway: Gateway, number: int) -> list[str]:
        async with gateway.connect() as ws:
            assert await ws.receive() == "welcome"
            for turn in range(3):
                await ws.send(f"{number}.{turn}")
            return [await ws.receive() for _ in range(3)]

    async with Gateway(App()) as gateway:
        conversations = await asyncio.gather(*(talk(gateway, number) for number in range(20)))
    assert conversations == [[f"{n}.{turn}" for turn in range(3)] for n in range(20)]


def _authorize(event: Any, context: Any) -> object:
    """A Lambda authorizer; a synchronous one must not hold up the test's loop either."""
    effect = "Allow" if event["queryStringParameters"]["token"] == "open-sesame" else "Deny"
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": event["methodArn"]}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return {"principalId": "ann", "policyDocument": policy, "context": {"level": 3}}


async def test_an_authorizer_is_asked() -> None:
    """What it says of the client is in all its events."""
    app = App()
    async with Gateway(app, authorizer=_authorize) as gateway:
        async with gateway.connect(query="token=open-sesame") as ws:
            await ws.send("hi")
            assert [await ws.receive(), await ws.receive()] == ["welcome", "hi"]
    contexts = [answer.event["requestContext"]["authorizer"] for answer in ws.answers]
    assert contexts[0].pop("integrationLatency") >= 0
    assert contexts == [{"principalId": "ann", "level": "3"}] * 3
    assert app.scopes[1]["aws.event"]["requestContext"]["authorizer"] == contexts[1]


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("token=wrong", 403, "authorizer: Deny"),
        ("", 401, "authorizer: not asked without route.request.querystring.token"),
    ],
)
async def test_a_refusal_by_the_authorizer_says_why(query: str, status: int, reason: str) -> None:
    """The app is not asked."""
    app = App()
    async with Gateway(
        app, authorizer=_authorize, identity_sources=["route.request.querystring.token"]
    ) as gateway:
        with pytest.raises(Refused) as caught:
            async with gateway.connect(query=query):
                pytest.fail("it was accepted")
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert str(caught.value) == f"the handshake was refused with status {status} ({reason})"
    assert app.scopes == []
    assert gateway.answers == []


def test_it_works_with_asyncio_run() -> None:
    """Any event loop of asyncio will do."""

    async def main() -> str:
        async with Gateway(App()) as gateway, gateway.connect() as ws:
            return await ws.receive()

    assert asyncio.run(main()) == "welcome"


def test_it_needs_no_third_party_package() -> None:
    """In a process that has the standard library and Longwire only."""
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import longwire.testing\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(tops - sys.stdlib_module_names))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "['longwire', 'longwire_aws', 'longwire_backends']\n"


async def test_an_app_that_stays_busy_fails_the_test_that_leaves_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half a minute of silence would tell nobody anything."""
    monkeypatch.setattr("longwire.testing.gateway.ANSWER_TIMEOUT", 0.05)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match=r"the app was still busy with an event after 0\.05 s"):
        async with Gateway(app, timeout=0.5) as gateway, gateway.connect() as ws:
            await ws.send("loop")


async def test_bytes_are_no_text() -> None:
    """The error names the method that takes them."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    data: Any = b"x"
    async with Gateway(app) as gateway, gateway.connect() as ws:
        with pytest.raises(TypeError, match="send_bytes"):
            await ws.send(data)


async def test_a_client_that_floods_is_closed_with_1008() -> None:
    """If a rate is set; what it may send is answered before."""
    app = App()
    async with Gateway(app, message_rate=1e-6) as gateway, gateway.connect() as ws:
        assert await ws.receive() == "welcome"
        await ws.send("one")
        assert await ws.receive() == "one"
        await ws.send("two")
        with pytest.raises(Closed) as closed:
            await ws.receive()
        assert (closed.value.code, closed.value.reason) == (1008, "Too many messages")
        await ws.close()
    assert app.ended == [(1008, "Too many messages")]
