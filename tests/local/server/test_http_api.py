"""The HTTP API on a port: what clients send and get, with real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from longwire.local import http11
from longwire.local.rules.errors import ThrottledError
from longwire.local.rules.http_events import BODY_LIMIT
from longwire.local.rules.settings import GatewaySettings
from longwire.local.server.server import LocalGateway
from tests.local.fakes import Event, handshake, raw_connection, read_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from longwire.local.invoking import HandledEvent

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1\r\nHost: localhost\r\n"


class EchoFunction:
    """Answers with what it was asked."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.answers: dict[str, Any] = {}
        self.raises: dict[str, Exception] = {}
        self.held: dict[str, asyncio.Event] = {}

    async def __call__(self, event: Event, context: Any) -> object:
        self.events.append(event)
        if "http" not in event["requestContext"]:
            return {"statusCode": 200}
        path = event["rawPath"]
        if path in self.held:
            await self.held[path].wait()
        if path in self.raises:
            raise self.raises[path]
        if path in self.answers:
            return self.answers[path]
        body = event.get("body", "")
        if event["isBase64Encoded"]:
            body = base64.b64decode(body).decode()
        return {"method": event["requestContext"]["http"]["method"], "path": path, "body": body}


class Served:
    """A gateway that serves HTTP, and what it has told of each request."""

    def __init__(self, gateway: LocalGateway, function: EchoFunction, told: list[Any]) -> None:
        self.gateway = gateway
        self.function = function
        self.told: list[HandledEvent] = told
        assert gateway.http_url is not None
        self.url = gateway.http_url

    async def ask(self, data: bytes, answers: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
        """Send bytes on a connection of its own, and return that many answers."""
        async with raw_connection(self.url) as (reader, writer):
            writer.write(data)
            return [await read_response(reader) for _ in range(answers)]


@pytest.fixture(params=["a port of its own", "one port"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    function, told, one_port = EchoFunction(), list[Any](), request.param == "one port"
    settings = GatewaySettings(http_timeout=0.5)
    gateway = LocalGateway(function, settings, observer=told.append, one_port=one_port)
    async with gateway:
        if not one_port:
            await gateway.listen_for_http(0)
        yield Served(gateway, function, told)


async def test_a_request_is_an_event_and_its_answer_a_response(served: Served) -> None:
    """With an id and a date, as AWS has them."""
    ((status, headers, body),) = await served.ask(
        b"POST /a%20b?x=1 " + HEAD + b"Content-Length: 3\r\n\r\nabc"
    )
    assert (status, json.loads(body)) == (200, {"method": "POST", "path": "/a b", "body": "abc"})
    (event,) = served.function.events
    assert headers["apigw-requestid"] == event["requestContext"]["requestId"].lower()
    assert headers["content-type"] == "application/json"
    assert headers["date"].endswith(" gmt")
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert event["headers"]["x-forwarded-port"] == served.url.rpartition(":")[2]
    (told,) = served.told
    assert (told.event, told.status, told.verdict) == (event, 200, None)


async def test_a_chunked_body_arrives_whole(served: Served) -> None:
    """The event has its length, and nothing of how it was sent."""
    ((_, _, body),) = await served.ask(
        b"POST / " + HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    assert json.loads(body)["body"] == "abcde"
    headers = served.function.events[0]["headers"]
    assert headers["content-length"] == "5"
    assert "transfer-encoding" not in headers


async def test_a_client_that_asks_first_is_told_to_go_on(served: Served) -> None:
    """curl does so with what is long."""
    async with raw_connection(served.url) as (reader, writer):
        writer.write(b"POST / " + HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        status, _, body = await read_response(reader)
    assert (status, json.loads(body)["body"]) == (200, "hi")


async def test_a_client_that_asks_first_need_not_send_too_much(served: Served) -> None:
    """It is told at once, and then nobody waits for it."""
    async with raw_connection(served.url) as (reader, writer):
        length = str(BODY_LIMIT + 1).encode()
        writer.write(
            b"POST / " + HEAD + b"Expect: 100-continue\r\nContent-Length: " + length + b"\r\n\r\n"
        )
        assert (await read_response(reader))[0] == 413
        assert await reader.read() == b""


async def test_head_has_no_body(served: Served) -> None:
    """But its length, and the next answer follows at once."""
    served.function.answers["/"] = {"statusCode": 200, "body": "four"}
    async with raw_connection(served.url) as (reader, writer):
        writer.write(b"HEAD / " + HEAD + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"content-length: 4\r\n" in head
        writer.write(b"GET / " + HEAD + b"\r\n")
        assert (await read_response(reader))[2] == b"four"


async def test_cookies_are_headers_of_their_own(served: Served) -> None:
    """None of them is joined with another."""
    served.function.answers["/"] = {"statusCode": 204, "cookies": ["a=1", "b=2; Path=/"]}
    async with raw_connection(served.url) as (reader, writer):
        writer.write(b"GET / " + HEAD + b"\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    cookies = [line for line in head.splitlines() if line.startswith("set-cookie")]
    assert cookies == ["set-cookie: a=1", "set-cookie: b=2; Path=/"]
    assert "content-length" not in head


async def test_requests_that_are_sent_at_once_are_answered_in_order(served: Served) -> None:
    """One connection, one after the other."""
    requests = b"".join(b"GET /%d " % number + HEAD + b"\r\n" for number in range(20))
    answers = await served.ask(requests, 20)
    assert [json.loads(body)["path"] for _, _, body in answers] == [f"/{n}" for n in range(20)]


async def test_fifty_clients_at_once(served: Served) -> None:
    """Nobody waits for a slow one."""
    served.function.held["/slow"] = asyncio.Event()
    slow = asyncio.create_task(served.ask(b"GET /slow " + HEAD + b"\r\n"))
    asked = (served.ask(b"GET /%d " % number + HEAD + b"\r\n") for number in range(50))
    answers = await asyncio.gather(*asked)
    paths = [json.loads(body)["path"] for ((_, _, body),) in answers]
    assert paths == [f"/{number}" for number in range(50)]
    served.function.held["/slow"].set()
    assert (await slow)[0][0] == 200


@pytest.mark.parametrize(
    "last", [b"HTTP/1.0\r\nHost: localhost\r\n", HEAD + b"Connection: close\r\n"]
)
async def test_a_long_answer_arrives_whole_before_the_connection_ends(
    served: Served, last: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly its client reads; what ends the connection comes after it."""
    monkeypatch.setattr(http11, "CLOSE_TIMEOUT", 0.2)
    served.function.answers["/"] = {"statusCode": 200, "body": "x" * 6_000_000}
    async with raw_connection(served.url) as (reader, writer):
        writer.write(b"GET / " + last + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 6000000\r\n" in head
        await asyncio.sleep(0.6)  # more than the connection would have after a short one
        assert len(await reader.read()) == 6_000_000


async def test_who_does_not_read_is_asked_for_nothing_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next request waits until it has read, and then the connection ends."""
    monkeypatch.setattr(http11, "READ_TIMEOUT", 0.3)
    served.function.answers["/"] = {"statusCode": 200, "body": "x" * 6_000_000}
    async with raw_connection(served.url) as (reader, writer):
        writer.write((b"GET / " + HEAD + b"\r\n") * 10)
        while len(served.told) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.6)  # more than it has
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(60_000_000)
    assert len(served.told) == 2


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / " + HEAD + b"X: \x01\r\n\r\n", 400),
        (b"GET / " + HEAD + b"X: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / " + HEAD + b"X: " + b"a" * 11_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 11_000 + b" " + HEAD + b"\r\n", 414),
        (b"POST / " + HEAD + b"Content-Length: x\r\n\r\n", 400),
        (b"POST / " + HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"CONNECT localhost:80 " + HEAD + b"\r\n", 400),
    ],
)
async def test_rubbish_is_refused(served: Served, data: bytes, status: int) -> None:
    """The function hears nothing of it, and the next client is served."""
    assert (await served.ask(data))[0][0] == status
    assert served.function.events == []
    assert (await served.ask(b"GET / " + HEAD + b"\r\n"))[0][0] == 200


async def test_too_much_is_413(served: Served) -> None:
    """At API Gateway, and at Lambda, which takes less."""
    for length in (BODY_LIMIT + 1, 5_000_000):
        posted = b"POST / " + HEAD + b"Content-Length: %d\r\n\r\n" % length + bytes(length)
        ((status, _, body),) = await served.ask(posted)
        assert (status, body) == (413, b'{"message":"Request Entity Too Large"}')
    assert served.function.events == []
    assert [(told.status, told.outcome) for told in served.told] == [(413, None)] * 2


async def test_what_the_function_does_wrong_is_as_aws_shows_it(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """A raise, what an API does not take, no answer in time, and no process for it."""
    served.function.raises = {"/raises": KeyError("secret"), "/busy": ThrottledError("busy")}
    served.function.answers["/malformed"] = {"statusCode": "no"}
    served.function.answers["/header"] = {"statusCode": 200, "headers": {"a": "b\r\nc: d"}}
    served.function.held["/slow"] = asyncio.Event()
    errors = {}
    for path in ("/raises", "/malformed", "/header", "/slow", "/busy"):
        ((status, headers, body),) = await served.ask(b"GET %s " % path.encode() + HEAD + b"\r\n")
        assert headers["content-type"] == "application/json"
        errors[path] = (status, json.loads(body))
    served.function.held["/slow"].set()
    internal = (500, {"message": "Internal Server Error"})
    unavailable = (503, {"message": "Service Unavailable"})
    assert errors == {
        "/raises": internal,
        "/malformed": internal,
        "/header": internal,
        "/slow": unavailable,
        "/busy": unavailable,
    }
    assert "the function raised" in caplog.text


async def test_a_client_that_leaves_harms_nobody(served: Served) -> None:
    """The function goes on, and its answer is nobody's."""
    served.function.held["/slow"] = asyncio.Event()
    async with raw_connection(served.url) as (_, writer):
        writer.write(b"GET /slow " + HEAD + b"\r\n")
        while not served.function.events:
            await asyncio.sleep(0.01)
    served.function.held["/slow"].set()
    assert (await served.ask(b"GET / " + HEAD + b"\r\n"))[0][0] == 200


async def test_a_client_may_end_its_side_after_a_request(served: Served) -> None:
    """As netcat does."""
    async with raw_connection(served.url) as (reader, writer):
        writer.write(b"GET / " + HEAD + b"\r\n")
        writer.write_eof()
        assert (await read_response(reader))[0] == 200


async def test_a_name_that_is_not_ours_is_refused(served: Served) -> None:
    """A page may have had it lead here."""
    asked = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    assert (await served.ask(asked))[0][0] == 403
    assert served.function.events == []


async def test_pages_of_other_origins_may_ask(served: Served) -> None:
    """As on AWS; what they get to see, the app says."""
    asked = (
        b"GET / " + HEAD + b"Origin: http://localhost:5173\r\nSec-Fetch-Site: cross-site\r\n\r\n"
    )
    assert (await served.ask(asked))[0][0] == 200


async def test_where_nothing_answers_nothing_is_found() -> None:
    """As where an API has no route."""
    async with LocalGateway(EchoFunction(), answers_http=lambda: False) as gateway:
        await gateway.listen_for_http(0)
        served = Served(gateway, EchoFunction(), [])
        ((status, _, body),) = await served.ask(b"GET / " + HEAD + b"\r\n")
    assert (status, body) == (404, b'{"message":"Not Found"}')


async def test_what_is_broken_is_said(served: Served) -> None:
    """Until a change of a file mends it."""
    served.gateway.unavailable = "main.py:3: SyntaxError"
    ((status, _, body),) = await served.ask(b"GET / " + HEAD + b"\r\n")
    assert (status, json.loads(body)) == (503, {"message": "main.py:3: SyntaxError"})


async def test_a_request_is_answered_before_the_gateway_ends() -> None:
    """And whoever only keeps a connection is not waited for."""
    function = EchoFunction()
    function.held["/slow"] = asyncio.Event()
    async with LocalGateway(function) as gateway:
        await gateway.listen_for_http(0)
        assert gateway.http_url is not None
        async with raw_connection(gateway.http_url) as (idle, _):
            async with raw_connection(gateway.http_url) as (reader, writer):
                writer.write(b"GET /slow " + HEAD + b"\r\n")
                while not function.events:
                    await asyncio.sleep(0.01)
                ending = asyncio.create_task(gateway.__aexit__(None, None, None))
                await asyncio.sleep(0)
                function.held["/slow"].set()
                assert (await read_response(reader))[0] == 200
                await ending
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await idle.readexactly(1)


async def test_one_port_tells_the_two_apart_by_upgrade() -> None:
    """And the management API by its path."""
    function = EchoFunction()
    async with LocalGateway(function, one_port=True) as gateway:
        assert gateway.http_url == gateway.url.replace("ws", "http", 1)
        async with raw_connection(gateway.url) as (reader, writer):
            writer.write(handshake())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            name = function.events[0]["requestContext"]["connectionId"]
            served = Served(gateway, function, [])
            path = f"/local/@connections/{name}".encode()
            posted = b"POST " + path + b" " + HEAD + b"Content-Length: 2\r\n\r\nhi"
            assert (await served.ask(posted))[0][0] == 200
            assert await reader.readexactly(4) == b"\x81\x02hi"
            # No page gets at it, though it may be one of this very port.
            ((status, _, _),) = await served.ask(
                posted.replace(b"\r\n\r\n", b"\r\nSec-Fetch-Site: same-origin\r\n\r\n")
            )
            assert status == 403
        assert (await served.ask(b"GET /local " + HEAD + b"\r\n"))[0][0] == 200
    assert [event["rawPath"] for event in function.events if "rawPath" in event] == ["/local"]


async def test_each_port_says_where_the_other_is(caplog: pytest.LogCaptureFixture) -> None:
    """Everybody takes the wrong one once."""
    function = EchoFunction()
    async with LocalGateway(function) as gateway:
        await gateway.listen_for_http(0)
        served = Served(gateway, function, [])
        upgrade = handshake().replace(b"GET / ", b"GET /rooms/blue ")
        await served.ask(upgrade)
        assert f"they are at {gateway.url}/?path=/rooms/blue" in caplog.text
        async with raw_connection(gateway.url) as (reader, writer):
            writer.write(b"GET /items " + HEAD + b"\r\n")
            assert (await read_response(reader))[0] == 403
        assert f"HTTP is at {gateway.http_url}/items" in caplog.text
