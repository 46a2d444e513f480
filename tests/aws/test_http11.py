"""What one connection makes of the bytes that come back."""

from __future__ import annotations

import pytest

from longwire_aws import http11
from longwire_aws.http import HTTPClient, Response, TransportError
from tests.aws.raw_server import OK, Peer, answering, raw_server

pytestmark = pytest.mark.anyio

GOOD = {
    "by length": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:1\r\n\r\nhello",
        Response(200, {"content-length": "5", "x-a": "1"}, b"hello"),
    ),
    "without a reason": (
        b"HTTP/1.1 204\r\n\r\n",
        Response(204, {}, b""),
    ),
    "repeated headers": (
        b"HTTP/1.1 304 Not Modified\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n",
        Response(304, {"set-cookie": "a, b"}, b""),
    ),
    "until the end": (
        b"HTTP/1.1 410 Gone\r\nX-A: 1\r\n\r\nbye",
        Response(410, {"x-a": "1"}, b"bye"),
    ),
    "after interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        Response(200, {"content-length": "2"}, b"ok"),
    ),
    "chunked, with extensions and trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'3;x="y"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n',
        Response(200, {"transfer-encoding": "chunked"}, b"abc0123456789"),
    ),
    "HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Response(200, {"content-length": "2"}, b"ok"),
    ),
}

HEAD = b"HTTP/1.1 200 OK\r\n"

BAD = {
    "nothing": (b"", "the server closed the connection before an answer"),
    "half a head": (HEAD, "the server closed the connection in mid-answer"),
    "half a body": (
        HEAD + b"Content-Length: 9\r\n\r\nhalf",
        "the server closed the connection in mid-answer",
    ),
    "half a chunk": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        "the server closed the connection in mid-answer",
    ),
    "another protocol": (b"SSH-2.0-x\r\n\r\n", "the answer is not HTTP/1.1"),
    "HTTP/2": (b"HTTP/2 200\r\n\r\n", "the answer is not HTTP/1.1"),
    "a status that is none": (b"HTTP/1.1 099 No\r\n\r\n", "the answer is not HTTP/1.1"),
    "a switch of protocols": (
        b"HTTP/1.1 101 Switching\r\n\r\n",
        "the server switched protocols unasked",
    ),
    "a header without a colon": (
        HEAD + b"secret\r\n\r\n",
        "the answer has a header line that is not one",
    ),
    "a folded header": (
        HEAD + b"A: b\r\n secret\r\n\r\n",
        "the answer has a header line that is not one",
    ),
    "an odd length": (
        HEAD + b"Content-Length: 5, 6\r\n\r\n",
        "the answer's Content-Length is not a number",
    ),
    "a length without an end": (
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        "the answer's Content-Length is not a number",
    ),
    "an odd coding": (
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        "the answer has a transfer coding other than chunked",
    ),
    "a chunk without a size": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
        "the answer has a chunk without a size",
    ),
    "a chunk over its size": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabcd",
        "the answer has a chunk that is longer than its size",
    ),
    "a chunk line without an end": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 5000,
        "the answer has a line of more than 4096 bytes",
    ),
    "too many headers": (
        HEAD + b"A: " + b"b" * http11.MAX_HEAD + b"\r\n\r\n",
        "the answer has headers of more than 65536 bytes",
    ),
    "a body over the limit, by length": (
        HEAD + b"Content-Length: 99999999999\r\n\r\n",
        "the answer has a body of more than 16777216 bytes",
    ),
    "a body over the limit, in chunks": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n1000000\r\n",
        "the answer has a body of more than 16777216 bytes",
    ),
    "a body over the limit, until the end": (
        HEAD + b"\r\n" + b"x" * (http11.MAX_BODY + 1),
        "the answer has a body of more than 16777216 bytes",
    ),
}


@pytest.mark.parametrize(("data", "expected"), GOOD.values(), ids=GOOD)
async def test_a_good_answer_is_read_whole(data: bytes, expected: Response) -> None:
    """Each way to end a body gives the same kind of response."""
    async with raw_server(answering(data)) as server:
        assert await HTTPClient().request("GET", server.url, timeout=5) == expected


@pytest.mark.parametrize("data", [case[0] for case in GOOD.values()], ids=GOOD)
async def test_an_answer_may_come_one_byte_at_a_time(data: bytes) -> None:
    """Where the network cuts the answer makes no difference."""

    async def drip(peer: Peer) -> None:
        await peer.request()
        for at in range(len(data)):
            await peer.reply(data[at : at + 1])

    async with raw_server(answering(data), drip) as server:
        whole = await HTTPClient().request("GET", server.url, timeout=5)
        assert await HTTPClient().request("GET", server.url, timeout=5) == whole


@pytest.mark.parametrize(("data", "text"), BAD.values(), ids=BAD)
async def test_a_bad_answer_is_an_error_that_names_the_server(data: bytes, text: str) -> None:
    """The text says where and what, and nothing of what came; the request counts as sent."""
    async with raw_server(answering(data)) as server:
        with pytest.raises(TransportError) as caught:
            await HTTPClient().request("POST", server.url, timeout=5)
    assert str(caught.value) == f"{server.url.removeprefix('http://')}: {text}"
    assert caught.value.sent


async def test_an_answer_to_head_has_no_body() -> None:
    """The length of a HEAD answer is that of a body that does not come."""
    async with raw_server(answering(HEAD + b"Content-Length: 9\r\n\r\n")) as server:
        response = await HTTPClient().request("HEAD", server.url, timeout=5)
    assert response == Response(200, {"content-length": "9"}, b"")


@pytest.mark.parametrize(
    ("data", "connections"),
    [
        (OK, 1),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 2),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n", 2),
        (OK + b"stray", 2),
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 2),
    ],
)
async def test_a_connection_is_kept_only_when_its_answer_ended_cleanly(
    data: bytes, connections: int
) -> None:
    """A close, an old protocol, stray bytes or two lengths make it unfit for the next request."""

    async def first(peer: Peer) -> None:
        await peer.request()
        await peer.reply(data)
        await (peer.gone() if connections == 2 else serve_one_more(peer))

    async def serve_one_more(peer: Peer) -> None:
        await peer.request()
        await peer.reply(data)

    async with raw_server(first, serve_one_more) as server:
        client = HTTPClient()
        for _ in range(2):
            assert (await client.request("GET", server.url, timeout=5)).status == 200
        assert server.connected == connections
        await client.close()
