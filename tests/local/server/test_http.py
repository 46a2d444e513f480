"""Raw bytes on the gateway's port: the management API, and everything that is not a handshake."""

from __future__ import annotations

import json

import pytest

from longwire.local.server.server import LocalGateway
from tests.local.fakes import (
    OK,
    Event,
    RecordingFunction,
    connection_id,
    exchange,
    frame,
    handshake,
    manage,
    raw_client,
    raw_connection,
    read_frame,
)

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"rubbish\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 505),
        (b"GET / " + HEAD + b"X: \x00\r\n\r\n", 400),
        (b"GET / " + HEAD + b"X-A: \x1b[31m\r\n\r\n", 400),
        (handshake("/", "X-A: \x1b[31m"), 400),
        (handshake("/", "X-A: a\x7f"), 400),
        (handshake("/", "X-A: \x07", "X-B: b"), 400),
        (handshake("/local/@connections/x", "X-A: \x01"), 400),
        (b"GET / " + HEAD + b"Content-Length: x\r\n\r\n", 400),
        (b"GET / " + HEAD + b"X: " + b"x" * 200_000, 431),
        (b"GET /?" + b"x" * 5000 + b" " + HEAD + b"\r\n", 414),
        (b"GET / " + HEAD + b"\r\n", 426),
        (b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", 505),
        (b"POST / " + HEAD + b"Content-Length: 0\r\n\r\n", 403),
        (b"GET /favicon.ico " + HEAD + b"\r\n", 403),
        (handshake("/below/the/stage"), 403),
        (handshake("/local/hello"), 403),
        (handshake("/local/@connections/x"), 400),
        (handshake().replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
        (handshake().replace(b"==", b""), 400),
        (handshake().replace(b"Version: 13", b"Version: 8"), 400),
        (handshake().replace(b"Upgrade: websocket", b"Upgrade: h2c"), 426),
    ],
)
async def test_what_is_no_handshake_is_refused(
    gateway: LocalGateway, function: RecordingFunction, request_bytes: bytes, status: int
) -> None:
    """With a status, without asking the function; the gateway goes on."""
    assert (await exchange(gateway.url, request_bytes))[0] == status
    assert function.events == []
    assert (await exchange(gateway.url, handshake()))[0] == 101


@pytest.mark.parametrize("path", ["/", "/local", "/local/", "/local?a=b"])
async def test_sockets_are_opened_at_the_root_and_at_the_stage(
    gateway: LocalGateway, path: str
) -> None:
    """With and without a slash."""
    assert (await exchange(gateway.url, handshake(path)))[0] == 101


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:5173"])
async def test_any_origin_is_let_through(
    gateway: LocalGateway, function: RecordingFunction, origin: str
) -> None:
    """Whom to refuse is the function's to say."""
    assert (await exchange(gateway.url, handshake("/", f"Origin: {origin}")))[0] == 101
    assert (await function.wait_for("CONNECT"))["headers"]["Origin"] == origin


def _request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


PAGES = [
    ["Host: evil.example:3001"],
    ["Host: localhost.evil.example"],
    ["Host: localhost", "Origin: https://evil.example", "Content-Type: text/plain"],
    ["Host: localhost", "Origin: null"],
    ["Host: localhost", "Sec-Fetch-Site: cross-site"],
    ["Host: localhost", "Sec-Fetch-Site: same-site"],
]


@pytest.mark.parametrize("headers", PAGES)
async def test_no_web_page_gets_at_a_connection(
    gateway: LocalGateway, function: RecordingFunction, headers: list[str]
) -> None:
    """Whatever it knows of it: the client gets no frame, stays connected, and is not described."""
    async with raw_client(gateway.url) as (reader, _):
        name = connection_id(await function.wait_for("CONNECT"))
        for method in ("POST", "GET", "DELETE", "OPTIONS"):
            request = _request(method, f"/local/@connections/{name}", *headers, body=b"injected")
            status, _, body = await exchange(gateway.url, request)
            assert (status, json.loads(body)) == (403, {"message": "Forbidden"})
        assert (await manage(gateway.management_url, "POST", name, b"ours"))[0] == 200
        assert await read_frame(reader) == (1, True, b"ours")


async def test_a_handshake_for_another_host_is_refused(
    gateway: LocalGateway, function: RecordingFunction, caplog: pytest.LogCaptureFixture
) -> None:
    """The function does not hear of it; the console says what to do."""
    request = handshake("/local").replace(b"Host: 127.0.0.1", b"Host: Box:3001")
    assert (await exchange(gateway.url, request))[0] == 403
    assert function.events == []
    assert caplog.messages == [
        "refused a request to box/local: a web page may have had that name lead to this machine; "
        "if the name is yours, allow it with --allow-host box"
    ]


async def test_a_host_that_is_allowed_is_served(function: RecordingFunction) -> None:
    """For handshakes and posts; the others stay refused."""
    async with LocalGateway(function, allow_hosts=["Box"]) as gateway:
        for host, status, described in (("box:1", 101, 410), ("BOX", 101, 410), ("x", 403, 403)):
            opening = handshake().replace(b"Host: 127.0.0.1", b"Host: " + host.encode())
            assert (await exchange(gateway.url, opening))[0] == status
            asking = _request("GET", "/local/@connections/AAAAAAAAAAAAAAA=", f"Host: {host}")
            assert (await exchange(gateway.url, asking))[0] == described


async def test_management_errors_have_the_header_that_sdks_read(gateway: LocalGateway) -> None:
    """410 without a body, 400 with one."""
    status, headers, body = await manage(gateway.management_url, "POST", "L0SM9cOFvHcCIhw%3D")
    assert (status, body) == (410, b"")
    assert headers["x-amzn-errortype"] == "goneexception"
    assert headers["content-type"] == "application/json"
    status, _, body = await manage(gateway.management_url, "POST", "nonsense")
    assert status == 400
    assert json.loads(body) == {"message": "Invalid connectionId: nonsense"}


async def test_a_post_is_on_its_way_before_it_is_answered(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """A reply to a message comes before whatever the function does next."""

    async def post_then_fail(event: Event) -> object:
        if "body" in event:
            await manage(gateway.management_url, "POST", connection_id(event), b"reply")
            raise ValueError
        return OK

    function.answer = post_then_fail
    async with raw_connection(gateway.url) as (reader, writer):
        writer.write(handshake() + frame(b"x"))
        await reader.readuntil(b"\r\n\r\n")
        assert await read_frame(reader) == (1, True, b"reply")
        assert b"Internal server error" in (await read_frame(reader))[2]
