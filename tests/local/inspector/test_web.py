"""Raw bytes at the page's addresses: who gets what, and what the stream tells."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from longwire.local.inspector import stream as streams
from longwire.local.inspector.web import MOST_VIEWERS
from longwire.local.server.http import ClientHTTPConnection
from tests.local.fakes import (
    OK,
    Event,
    RecordingFunction,
    exchange,
    frame,
    handshake,
    manage,
    raw_connection,
    read_frame,
)
from tests.local.inspector.conftest import Look, looking, streaming

if TYPE_CHECKING:
    from longwire.local.server.server import LocalGateway

pytestmark = pytest.mark.anyio

BROWSER = b"Host: 127.0.0.1\r\nAccept: text/html\r\n"


async def test_a_browser_gets_the_page_and_nobody_else(look: Look) -> None:
    """All others get what API Gateway says."""
    status, headers, body = await exchange(look.url, b"GET / HTTP/1.1\r\n" + BROWSER + b"\r\n")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<title>Longwire inspector</title>" in body
    for request in (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\r\n",
        b"GET /local HTTP/1.1\r\n" + BROWSER + b"\r\n",
    ):
        assert (await exchange(look.url, request))[0] == 426
    assert (await exchange(look.url, handshake("/", "Accept: text/html")))[0] == 101


async def test_the_page_runs_its_own_script_only(look: Look) -> None:
    """No text of a client can become a part of it, and no other page can show it in a frame."""
    _, headers, body = await exchange(look.url, b"GET / HTTP/1.1\r\n" + BROWSER + b"\r\n")
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    for rule in (
        "default-src 'none'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ):
        assert rule in policy
    assert headers["x-frame-options"] == "deny"
    assert headers["cache-control"] == "no-store"
    text = body.decode()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http:"):
        assert text.replace("http://www.w3.org/2000/svg", "").count(way) <= (way == "http:"), way
    assert " style=" not in text


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/_longwire/stream", ["Sec-Fetch-Site: cross-site"]),
        ("/_longwire/event?n=1", ["Origin: https://evil.example"]),
        ("/_longwire/connection?id=x", ["X-Forwarded-For: 8.8.8.8"]),
        ("/_longwire/case?n=1", ["Sec-Fetch-Site: same-site"]),
    ],
)
async def test_other_pages_get_nothing(look: Look, target: str, headers: list[str]) -> None:
    assert (await look.get(target, *headers))[0] == 403


async def test_another_name_for_this_machine_gets_nothing() -> None:
    """DNS rebinding; and a name that is allowed for clients is none for the page."""
    async with looking(RecordingFunction(), allow_hosts=["gateway"]) as look:
        for host, expected in (("evil.example", 403), ("gateway", 403), ("localhost", 200)):
            request = f"GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n"
            assert (await exchange(look.url, request.encode()))[0] == expected


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Type: text/plain"],
        ["Content-Type: application/x-www-form-urlencoded"],
        ["Content-Type: application/json", "Origin: https://evil.example"],
        ["Content-Type: application/json", "Sec-Fetch-Site: cross-site"],
        [],
    ],
)
async def test_another_page_cannot_act(
    look: Look, function: RecordingFunction, headers: list[str]
) -> None:
    body = b'{"do":"connect"}'
    lines = ["POST /_longwire/do HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    request = "\r\n".join([*lines, *headers, "", ""]).encode() + body
    assert (await exchange(look.url, request))[0] == 403
    assert function.events == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "do: expected a text"),
        ('{"do":"__init__"}', "there is no action '__init__'"),
        ('{"do":"send","connection":"x","text":"a"}', "connection x is not open"),
        ('{"do":"replay","event":1e999}', "event: expected a number"),
        ('{"do":"replay","event":7}', "event 7 is not kept any more"),
        ('{"do":"kill","pid":1}', "there is no process 1 of the function"),
        ('{"do":"connect","headers":[["a b","c"]]}', "'a b' with its value is no header"),
        ('{"do":"connect","headers":[["a","b\\r\\nc: d"]]}', "is no header"),
        ('{"do":"connect","headers":{"a":"b"}}', "headers: expected a list of pairs"),
        ('{"do":"connect","query":"a b"}', "query: as in a URL"),
    ],
)
async def test_what_cannot_be_done_is_said(look: Look, body: str, error: str) -> None:
    status, told = await look.post(body)
    assert status == 400
    assert error in told["error"]


async def test_the_stream_tells_what_happens(look: Look, function: RecordingFunction) -> None:
    """What was before, then what comes, of real clients."""
    async with raw_connection(look.url) as (reader, writer), streaming(look.url) as told:
        writer.write(handshake("/?path=/ws"))
        await reader.readuntil(b"\r\n\r\n")
        await told.until(lambda: 1 in told.events)
        assert told.hello["target"] == "main:app"
        assert told.events[1]["kind"] == "CONNECT"
        writer.write(frame(b"hello"))
        await told.until(lambda: told.events.get(2, {}).get("status") == "200")
        (connection,) = told.connections.values()
        assert (connection["path"], connection["state"], connection["messages"]) == (
            "/ws",
            "open",
            1,
        )
        await manage(look.gateway.management_url, "POST", connection["id"], b"from outside")
        await read_frame(reader)
        await told.until(lambda: 3 in told.events)
        assert (told.events[3]["kind"], told.events[3]["text"]) == ("POST", "from outside")
        writer.close()
        await told.until(lambda: 4 in told.events and connection["id"] in told.connections)
        await told.until(lambda: told.connections[connection["id"]]["state"] == "closed")
        assert told.connections[connection["id"]]["code"] == 1006


async def test_details_have_the_raw_event_and_the_answer(
    look: Look, function: RecordingFunction
) -> None:
    async def answer(event: Event) -> object:
        if "body" in event:
            raise ValueError("no good")
        return {"statusCode": 200}

    function.answer = answer
    connection_id = await look.connect(path="/ws", query="a=b", headers=[["Cookie", "c=d"]])
    await look.do(do="send", connection=connection_id, text="x")
    await function.wait_for("MESSAGE")
    first, second = await look.event(1), await look.event(2)
    assert first["event"] == function.events[0]
    assert first["event"]["headers"]["Cookie"] == "c=d"
    assert first["event"]["queryStringParameters"] == {"path": "/ws", "a": "b"}
    assert (first["answer"], first["cold"]) == (OK, True)
    assert second["status"] == "raised ValueError"
    assert second["traceback"].endswith("ValueError: no good\n")
    assert [post["status"] for post in second["posts"]] == [None]  # the gateway's error frame
    assert "Internal server error" in second["posts"][0]["data"]


async def test_a_page_that_does_not_read_costs_no_memory(
    look: Look, function: RecordingFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is not told is not kept for it, and the others are served."""
    monkeypatch.setattr(streams, "PACE", 0.001)
    parts = urlsplit(look.url)
    with socket.socket() as slow:
        # The system would keep some megabytes for it.
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((parts.hostname, parts.port))
        slow.sendall(b"GET /_longwire/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await asyncio.to_thread(slow.recv, 1)
        (connection,) = look.gateway._http_connections
        assert isinstance(connection, ClientHTTPConnection)
        here = connection._transport.get_extra_info("socket")
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection_id = await look.connect()
        most = 0
        async with streaming(look.url) as told:
            for number in range(1, 21):
                await look.do(do="send", connection=connection_id, text="x" * 300, times=100)
                await function.wait_for("MESSAGE", 100 * number)
                await told.until(lambda number=number: max(told.events, default=0) > 100 * number)
                most = max(most, connection.unread)
    assert streams.UNREAD_LIMIT / 4 < most < 2 * streams.UNREAD_LIMIT
    assert len(look.inspector.ring) <= 1000


async def test_connections_that_come_and_go_are_not_kept_for_it(look: Look) -> None:
    viewer = streams.Viewer(look.inspector)
    one = await look.connect()
    for number in range(3 * streams.MOST_PEERS):
        viewer.peer_changed(f"gone{number}")
    viewer.peer_changed(one)
    told = viewer.take(
        lambda connection_id: {"id": connection_id} if connection_id == one else None
    )
    assert told["known"] == [one]
    assert {"id": one} in told["connections"]
    assert len(told["forgotten"]) <= streams.MOST_PEERS + 1
    assert "known" not in viewer.take(lambda connection_id: None)


async def test_who_goes_is_noticed(look: Look) -> None:
    async with streaming(look.url) as told:
        await told.until(lambda: told.messages)
        assert len(look.inspector.lookers) == 1
    async with asyncio.timeout(10):
        while look.inspector.lookers:
            await asyncio.sleep(0.01)


async def test_pages_are_counted(look: Look) -> None:
    open_ = [streaming(look.url) for _ in range(MOST_VIEWERS)]
    for one in open_:
        await one.__aenter__()
    try:
        status, _ = await look.get("/_longwire/stream")
        assert status == 503
    finally:
        for one in open_:
            await one.__aexit__(None, None, None)


async def test_an_open_page_does_not_hold_the_end_up(function: RecordingFunction) -> None:
    async with asyncio.timeout(4):
        async with looking(function) as look:
            opened = streaming(look.url)
            told = await opened.__aenter__()
            await told.until(lambda: told.messages)
        await opened.__aexit__(None, None, None)


async def test_without_a_page_all_is_as_it_was(gateway: LocalGateway) -> None:
    for path, expected in (("/", 426), ("/_longwire/stream", 403), ("/_longwire/", 403)):
        request = f"GET {path} HTTP/1.1\r\n".encode() + BROWSER + b"\r\n"
        assert (await exchange(gateway.url, request))[0] == expected


async def test_unknown_addresses(look: Look) -> None:
    for target in ("/_longwire/nothing", "/_longwire/event?n=x", "/_longwire/connection?id=x"):
        assert (await look.get(target))[0] == 404
    assert json.dumps(await look.get("/_longwire/event")) == '[404, {"message": "Not Found"}]'


async def test_of_an_http_request_it_says_what_its_client_got(function: RecordingFunction) -> None:
    """Also where that is not what the function said, or it was not asked."""
    answers = iter([{"statusCode": 201}, {"statusCode": 200, "body": {}}, "text"])

    async def answer(event: object) -> object:
        return next(answers)

    function.answer = answer
    async with looking(function) as look:
        await look.gateway.listen_for_http(0)
        for target, status in (("/", 201), ("/", 500), ("/", 200), ("*", 400)):
            request = f"OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            assert (await exchange(str(look.gateway.http_url), request.encode()))[0] == status
        told = [await look.event(number) for number in range(1, 5)]
    assert [(one["status"], one["tone"]) for one in told] == [
        ("201", "ok"),
        ("500, malformed answer", "bad"),
        ("200", "ok"),
        ("400 refused", "warn"),
    ]
