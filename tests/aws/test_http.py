"""The client and its pool, against servers that break, and against servers of other people."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import socket
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from longwire_aws.http import HTTPClient, TransportError, TransportTimeoutError
from tests.aws.other_servers import asgi_server, standard_library_server
from tests.aws.raw_server import OK, Peer, answering, raw_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

pytestmark = pytest.mark.anyio


async def hold(peer: Peer) -> None:
    """Read whatever comes and never answer."""
    await peer.gone()


async def test_the_target_goes_out_exactly_as_given() -> None:
    """Escapes, odd characters and the query are not normalised; uvicorn sees them as they were."""
    target = "/prod/@connections/a%3D%2fb=/../x;y?q=%20+&r"
    async with asgi_server() as url:
        response = await HTTPClient().request("GET", url + target, timeout=5)
    assert response.headers["x-target"] == target


async def test_a_body_and_headers_arrive_as_given() -> None:
    """The server gets the bytes, their length, the host and the caller's headers."""
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.reply()

    async with raw_server(script) as server:
        headers = [("X-A", "1"), ("X-A", "2")]
        await HTTPClient().request("POST", server.url + "?a", headers, b"\0\xff", timeout=5)
    host = server.url.removeprefix("http://")
    assert requests == [
        f"POST /?a HTTP/1.1\r\nHost: {host}\r\nX-A: 1\r\nX-A: 2\r\n".encode()
        + b"Content-Length: 2\r\n\r\n\0\xff"
    ]


async def test_percent_signs_arrive_as_given() -> None:
    """They are characters of methods, names and values as others are."""
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.reply()

    async with raw_server(script) as server:
        await HTTPClient().request("%s", f"{server.url}/%25s", [("%d", "%s")], timeout=5)
    host = server.url.removeprefix("http://")
    assert requests == [f"%s /%25s HTTP/1.1\r\nHost: {host}\r\n%d: %s\r\n\r\n".encode()]


async def test_the_caller_may_name_host_and_length() -> None:
    """Headers that are given are not added again."""
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.reply()

    async with raw_server(script) as server:
        headers = [("host", "a.example"), ("Content-Length", "1")]
        await HTTPClient().request("POST", server.url, headers, b"x", timeout=5)
    assert requests == [b"POST / HTTP/1.1\r\nhost: a.example\r\nContent-Length: 1\r\n\r\nx"]


async def test_uvicorn_streams_in_chunks() -> None:
    """A body without a length arrives whole, and the connection is used again."""
    async with asgi_server() as url:
        client = HTTPClient()
        responses = [
            await client.request("POST", f"{url}/chunked", (), b"x" * 200_000, timeout=5)
            for _ in range(2)
        ]
        await client.close()
    assert {response.headers["transfer-encoding"] for response in responses} == {"chunked"}
    assert [response.body for response in responses] == [b"x" * 200_000] * 2
    assert len({response.headers["x-client-port"] for response in responses}) == 1


async def test_the_standard_librarys_server_is_spoken_to_over_one_connection() -> None:
    """Three requests, one client port; HEAD and 204 have no body."""
    with standard_library_server() as url:
        client = HTTPClient()
        responses = [
            await client.request(method, url, timeout=5) for method in ("POST", "HEAD", "DELETE")
        ]
        await client.close()
    assert [response.status for response in responses] == [200, 200, 204]
    assert len({response.headers["x-client-port"] for response in responses}) == 1


async def test_an_ipv6_literal_is_an_address() -> None:
    """The brackets belong to the URL and to the Host header only."""
    try:
        async with asgi_server("::1") as url:
            response = await HTTPClient().request("GET", f"{url}/x", timeout=5)
    except OSError as error:
        if isinstance(error, TransportError):
            raise
        pytest.skip(f"no IPv6 here: {error}")
    assert response.headers["x-host"] == url.removeprefix("http://")


async def test_the_pool_is_bounded() -> None:
    """Of five requests two are under way; the others wait, and use the same two connections."""
    release = asyncio.Event()
    both = asyncio.Semaphore(0)

    async def script(peer: Peer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await peer.request():
                both.release()
                await release.wait()
                await peer.reply()

    async with raw_server(script, script) as server:
        client = HTTPClient(pool_size=2)
        requests = [
            asyncio.create_task(client.request("GET", server.url, timeout=5)) for _ in range(5)
        ]
        await both.acquire()
        await both.acquire()
        release.set()
        assert [(await request).body for request in requests] == [b"ok"] * 5
        assert server.connected == 2
        await client.close()


@pytest.mark.parametrize("ending", [Peer.reset, lambda peer: None], ids=["reset", "end"])
async def test_an_idle_connection_that_was_closed_is_replaced(
    ending: Callable[[Peer], None],
) -> None:
    """The close is seen before anything is written, so that the server gets the request once."""

    async def closes(peer: Peer) -> None:
        await peer.request()
        await peer.reply()
        ending(peer)

    async with raw_server(closes, answering(OK)) as server:
        client = HTTPClient()
        await client.request("POST", server.url, timeout=5)
        await server.ended[0].wait()
        assert (await client.request("POST", server.url, timeout=5)).body == b"ok"
        assert server.connected == 2


@pytest.mark.parametrize("ending", [Peer.reset, lambda peer: None], ids=["reset", "end"])
@pytest.mark.parametrize("seconds", [1, 3600, -3600], ids=["idle", "frozen", "clock set back"])
async def test_an_idle_connection_found_closed_before_an_answer_is_replaced(
    ending: Callable[[Peer], None], seconds: int
) -> None:
    """The close that only shows after writing costs the caller nothing either."""
    async with raw_server(_dies_at_its_second_request(ending), answering(OK)) as server:
        client, clock = _client_with_a_clock()
        await client.request("POST", server.url, timeout=5)
        clock.now += seconds
        assert (await client.request("POST", server.url, timeout=5)).body == b"ok"
        assert server.connected == 2


@pytest.mark.parametrize("ending", [Peer.reset, lambda peer: None], ids=["reset", "end"])
async def test_a_busy_connection_that_closes_before_an_answer_is_an_error(
    ending: Callable[[Peer], None],
) -> None:
    """Nobody closes a connection just used: the server may have acted on the request."""
    async with raw_server(_dies_at_its_second_request(ending)) as server:
        client, clock = _client_with_a_clock()
        await client.request("POST", server.url, timeout=5)
        clock.now += 0.9
        with pytest.raises(TransportError) as caught:
            await client.request("POST", server.url, timeout=5)
        assert server.connected == 1
    assert caught.value.sent


class _Clock:
    """Seconds that pass when a test says so."""

    now = 1762868735.0

    def __call__(self) -> float:
        return self.now


def _client_with_a_clock() -> tuple[HTTPClient, _Clock]:
    clock = _Clock()
    return HTTPClient(clock=clock), clock


def _dies_at_its_second_request(
    ending: Callable[[Peer], None],
) -> Callable[[Peer], Awaitable[None]]:
    async def dies(peer: Peer) -> None:
        await peer.request()
        await peer.reply()
        await peer.reader.readexactly(1)
        ending(peer)

    return dies


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (Peer.reset, "Connection reset by peer"),
        (lambda peer: None, "the server closed the connection before an answer"),
    ],
    ids=["reset", "end"],
)
async def test_a_new_connection_closed_before_an_answer_is_an_error(
    ending: Callable[[Peer], None], text: str
) -> None:
    """The server may have acted on the request: it is not sent again."""

    async def dies(peer: Peer) -> None:
        await peer.request()
        ending(peer)

    async with raw_server(dies) as server:
        with pytest.raises(TransportError) as caught:
            await HTTPClient().request("POST", server.url, timeout=5)
        assert server.connected == 1
    assert str(caught.value) == f"{server.url.removeprefix('http://')}: {text}"
    assert caught.value.sent


async def test_a_reused_connection_that_breaks_in_mid_answer_is_an_error() -> None:
    """One byte of an answer proves that the server has the request."""

    async def dies(peer: Peer) -> None:
        await peer.request()
        await peer.reply()
        await peer.request()
        await peer.reply(b"H")

    async with raw_server(dies) as server:
        client = HTTPClient()
        await client.request("POST", server.url, timeout=5)
        with pytest.raises(TransportError, match="closed the connection in mid-answer") as caught:
            await client.request("POST", server.url, timeout=5)
        assert server.connected == 1
    assert caught.value.sent


async def test_a_silent_server_runs_into_the_time_limit() -> None:
    """The request was sent, and is not sent again; the connection is closed."""

    async def falls_silent(peer: Peer) -> None:
        await peer.request()
        await peer.reply()
        await peer.gone()

    async with raw_server(falls_silent) as server:
        client = HTTPClient()
        await client.request("POST", server.url, timeout=5)
        with pytest.raises(TransportTimeoutError) as caught:
            await client.request("POST", server.url, timeout=0.05)
        await server.ended[0].wait()
    host = server.url.removeprefix("http://")
    assert str(caught.value) == f"{host}: no answer within 0.05 s"
    assert caught.value.sent


async def test_waiting_for_the_pool_counts_towards_the_time_limit() -> None:
    """A request that never got a connection was not sent."""
    async with raw_server(hold) as server:
        client = HTTPClient(pool_size=1)
        first = asyncio.create_task(client.request("POST", server.url, timeout=5))
        await asyncio.sleep(0)
        with pytest.raises(TransportTimeoutError) as caught:
            await client.request("POST", server.url, timeout=0.02)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    host = server.url.removeprefix("http://")
    assert str(caught.value) == f"{host}: no connection within 0.02 s"
    assert not caught.value.sent


async def test_a_handshake_without_an_answer_runs_into_the_connect_limit() -> None:
    """A server that accepts and says nothing of TLS is as good as unreachable."""
    async with raw_server(hold) as server:
        client = HTTPClient(connect_timeout=0.02)
        with pytest.raises(TransportTimeoutError) as caught:
            await client.request("GET", server.url.replace("http", "https"), timeout=5)
    host = server.url.removeprefix("http://")
    assert str(caught.value) == f"{host}: no connection within 0.02 s"
    assert not caught.value.sent


async def test_a_refused_connection_was_not_sent() -> None:
    """The text names the port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(TransportError) as caught:
            await HTTPClient().request("GET", f"http://{host}/", timeout=5)
    assert str(caught.value) == f"{host}: Connection refused"
    assert not caught.value.sent


async def test_a_name_that_is_none_was_not_sent() -> None:
    """The resolver's refusal says which name it was."""
    with pytest.raises(TransportError) as caught:
        await HTTPClient().request("GET", "http://a..b/", timeout=5)
    assert str(caught.value) == "a..b:80: the name cannot be resolved: it is not a host name"
    assert not caught.value.sent


async def test_a_cancelled_request_closes_its_connection_and_frees_its_place() -> None:
    """The server sees the end, and a pool of one goes on."""
    began = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        began.set()
        await peer.gone()

    async with raw_server(script, answering(OK)) as server:
        client = HTTPClient(pool_size=1)
        request = asyncio.create_task(client.request("GET", server.url, timeout=5))
        await began.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await server.ended[0].wait()
        assert (await client.request("GET", server.url, timeout=5)).body == b"ok"


async def test_a_place_goes_past_whoever_gave_up_waiting_for_it() -> None:
    """Also if the place and the cancellation come at the same moment."""
    began = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        began.set()
        await peer.gone()

    async with raw_server(script, answering(OK)) as server:
        client = HTTPClient(pool_size=1)
        under_way, early, late, last = (
            asyncio.create_task(client.request("GET", server.url, timeout=5)) for _ in range(4)
        )
        await began.wait()
        early.cancel()
        await asyncio.wait([early])
        under_way.cancel()
        asyncio.get_running_loop().call_soon(late.cancel)
        assert (await last).body == b"ok"
        assert [task.cancelled() for task in (under_way, early, late)] == [True] * 3


async def test_a_connection_in_use_while_the_client_closes_is_not_kept() -> None:
    """The request under way ends well, and its connection with it."""
    began, go_on = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        began.set()
        await go_on.wait()
        await peer.reply()
        await peer.gone()

    async with raw_server(script) as server:
        client = HTTPClient()
        request = asyncio.create_task(client.request("GET", server.url, timeout=5))
        await began.wait()
        await client.close()
        go_on.set()
        assert (await request).body == b"ok"
        await server.ended[0].wait()


async def test_a_dropped_client_closes_its_idle_connections() -> None:
    """Nothing is left open, and nobody is warned."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.reply()
        await peer.gone()

    async with raw_server(script) as server:
        client = HTTPClient()
        await client.request("GET", server.url, timeout=5)
        del client
        gc.collect()
        await server.ended[0].wait()


def test_another_event_loop_gets_connections_of_its_own() -> None:
    """One client serves one loop after the other; nothing of a closed loop is touched."""
    with standard_library_server() as url:
        client = HTTPClient()
        ports = [asyncio.run(ports_of(client, url)) for _ in range(2)]
        asyncio.run(client.close())
    assert [len(set(pair)) for pair in ports] == [1, 1]
    assert ports[0] != ports[1]


async def ports_of(client: HTTPClient, url: str) -> list[str]:
    responses = [await client.request("GET", url, timeout=5) for _ in range(2)]
    return [response.headers["x-client-port"] for response in responses]


FORK = """
    import asyncio, os, sys
    from longwire_aws.http import HTTPClient

    client = HTTPClient()

    async def port():
        response = await client.request("GET", sys.argv[1], timeout=5)
        return response.headers["x-client-port"]

    with asyncio.Runner() as runner:
        before = runner.run(port())
        if (child := os.fork()) == 0:
            os._exit(0 if asyncio.run(port()) != before else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        after = runner.run(port())
        runner.run(client.close())
    sys.exit(0 if (status, after) == (0, before) else 1)
"""


def test_a_forked_child_does_not_speak_on_its_parents_connections() -> None:
    """The child connects anew, and the parent's connection lives on."""
    with standard_library_server() as url:
        command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORK), url]
        assert subprocess.run(command, check=False, timeout=30).returncode == 0


NO_URL = "the URL is not an absolute http:// or https:// URL in plain ASCII"
NO_VALUE = "the value of a header has a line break or a NUL in it"
NO_TOKEN = "the method or the name of a header has characters that HTTP forbids"


@pytest.mark.parametrize(
    ("method", "url", "headers", "text"),
    [
        ("GET", "ftp://a/", (), NO_URL),
        ("GET", "http:///a", (), NO_URL),
        ("GET", "http://u:p@a/", (), NO_URL),
        ("GET", "http://a:65536/", (), NO_URL),
        ("GET", "http://a/ b", (), NO_URL),
        ("GET", "http://a/\r\nX: y", (), NO_URL),
        ("GET", "http://a/é", (), NO_URL),
        ("GET", "http://a/#b", (), NO_URL),
        ("GE T", "http://a/", (), NO_TOKEN),
        ("GET", "http://a/", [("X Y", "z")], NO_TOKEN),
        (
            "GET",
            "http://a/",
            [("X", "y\r\nZ: z")],
            "the value of a header has a line break or a NUL in it",
        ),
    ],
)
async def test_what_http_cannot_carry_is_refused(
    method: str, url: str, headers: Sequence[tuple[str, str]], text: str
) -> None:
    """Nothing is sent, and the text repeats no value."""
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        await HTTPClient().request(method, url, headers, timeout=5)
