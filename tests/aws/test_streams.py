"""Sockets, plain and with TLS, against the standard library's server and one that misbehaves."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVarTuple

import pytest

from longwire_aws.http import HTTPClient, TransportError
from longwire_aws.streams import SocketStream, connect, default_tls_context
from tests.aws.other_servers import standard_library_server
from tests.aws.raw_server import OK, Peer, answering, raw_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.anyio

_Arguments = TypeVarTuple("_Arguments")

FILES = Path(__file__).with_name("tls")


@pytest.fixture
def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / "server.pem")
    return context


@pytest.fixture
def _trusted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the default context, which is made once, be made with the test authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(FILES / "authority.pem"))
    default_tls_context.cache_clear()
    yield
    default_tls_context.cache_clear()


@pytest.mark.usefixtures("_trusted")
async def test_https_is_spoken_over_one_connection(server_context: ssl.SSLContext) -> None:
    """Bodies larger than a TLS record and a socket's buffer come back whole, twice."""
    body = bytes(range(256)) * 4000
    with standard_library_server(server_context) as url:
        client = HTTPClient()
        responses = [await client.request("POST", url, (), body, timeout=10) for _ in range(2)]
        await client.close()
    assert [response.body for response in responses] == [body, body]
    assert len({response.headers["x-client-port"] for response in responses}) == 1


@pytest.mark.usefixtures("_trusted")
async def test_an_idle_tls_connection_that_was_closed_is_replaced(
    server_context: ssl.SSLContext,
) -> None:
    """TLS's goodbye is as good as an end."""
    ok = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    async with raw_server(ok, ok, tls=server_context) as server:
        client = HTTPClient(clock=itertools.count().__next__)  # a second at each look
        await client.request("POST", server.url, timeout=5)
        await server.ended[0].wait()
        assert (await client.request("POST", server.url, timeout=5)).status == 200
        assert server.connected == 2


@pytest.mark.usefixtures("_trusted")
async def test_bytes_behind_an_answer_over_tls_are_no_answer_to_the_next_request(
    server_context: ssl.SSLContext,
) -> None:
    """Though they came in one piece with it, and so are no longer in the socket."""

    async def answer_twice(peer: Peer) -> None:
        await peer.request()
        await peer.reply(OK)  # a record of its own
        await peer.reply(OK.replace(b"200", b"408"))
        await peer.gone()

    async with raw_server(answer_twice, answering(OK), tls=server_context) as server:
        client = HTTPClient()
        for _ in range(2):
            assert (await client.request("POST", server.url, timeout=5)).status == 200
        assert server.connected == 2
        await client.close()


@pytest.mark.usefixtures("_trusted")
async def test_a_body_may_end_with_the_goodbye_of_tls(server_context: ssl.SSLContext) -> None:
    """An answer until the end is complete when TLS says that it is the end."""
    script = answering(b"HTTP/1.1 200 OK\r\n\r\nbye")
    async with raw_server(script, tls=server_context) as server:
        assert (await HTTPClient().request("GET", server.url, timeout=5)).body == b"bye"


@pytest.mark.usefixtures("_trusted")
async def test_a_body_cut_without_a_goodbye_is_an_error(server_context: ssl.SSLContext) -> None:
    """A bare end of the TCP connection may be anybody's doing."""

    async def cut(peer: Peer) -> None:
        await peer.request()
        await peer.reply(b"HTTP/1.1 200 OK\r\n\r\nby")
        peer.writer.transport.abort()

    async with raw_server(cut, tls=server_context) as server:
        with pytest.raises(TransportError) as caught:
            await HTTPClient().request("GET", server.url, timeout=5)
    host = server.url.removeprefix("https://")
    assert str(caught.value) == f"{host}: the server cut the TLS connection"
    assert caught.value.sent


async def test_a_certificate_of_an_unknown_authority_is_refused(
    server_context: ssl.SSLContext,
) -> None:
    """Nothing is sent to a server that cannot prove who it is."""
    default_tls_context.cache_clear()
    async with raw_server(answering(b""), tls=server_context) as server:
        with pytest.raises(TransportError, match="certificate verify failed") as caught:
            await HTTPClient().request("GET", server.url, timeout=5)
    assert not caught.value.sent


@pytest.mark.usefixtures("_trusted")
async def test_a_certificate_for_another_name_is_refused(server_context: ssl.SSLContext) -> None:
    """The name of the URL is what counts: 127.0.0.1 is in the certificate, 127.0.0.2 is not."""
    async with raw_server(answering(b""), tls=server_context) as server:
        url = server.url.replace("127.0.0.1", "127.0.0.2")
        with pytest.raises(TransportError) as caught:
            await HTTPClient().request("GET", url, timeout=5)
    assert not caught.value.sent


def test_the_default_context_is_made_once() -> None:
    """It costs tens of milliseconds, so that all clients share it."""
    assert default_tls_context() is default_tls_context()


class _Recording(asyncio.SelectorEventLoop):
    """Notes which sockets it is asked to watch."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.watched: set[Any] = set()

    def add_reader(
        self, fd: Any, callback: Callable[[*_Arguments], Any], *args: *_Arguments
    ) -> None:
        self.asked += 1
        self.watched.add(fd)
        super().add_reader(fd, callback, *args)

    def remove_reader(self, fd: Any) -> bool:
        self.watched.discard(fd)
        return super().remove_reader(fd)


def _recording(runner: asyncio.Runner) -> _Recording:
    loop = runner.get_loop()
    assert isinstance(loop, _Recording)
    return loop


class _NotWatching(asyncio.SelectorEventLoop):
    """Watches no sockets, as the usual loop of Windows."""

    def add_reader(
        self, fd: Any, callback: Callable[[*_Arguments], Any], *args: *_Arguments
    ) -> None:
        raise NotImplementedError


async def _three_requests(url: str, body: bytes) -> list[bytes]:
    client = HTTPClient()
    answers = [(await client.request("POST", url, (), body, timeout=5)).body for _ in range(3)]
    await client.close()
    return answers


async def _requests(client: HTTPClient, url: str) -> None:
    for _ in range(3):
        await client.request("POST", url, timeout=5)


def test_a_socket_is_watched_from_its_first_use_until_it_is_closed() -> None:
    """The loop is told once for all requests, whichever run of it they are in."""
    with standard_library_server() as url, asyncio.Runner(loop_factory=_Recording) as runner:
        client, loop = HTTPClient(), _recording(runner)
        for _ in range(2):
            runner.run(_requests(client, url))
        assert (loop.asked, len(loop.watched)) == (1, 1)
        runner.run(client.close())
        assert loop.watched == set()


def test_a_socket_that_ends_while_nobody_waits_is_not_watched_any_more() -> None:
    """The loop would call for ever; the next request finds that it has ended."""

    async def end(client: HTTPClient, loop: _Recording) -> None:
        async with raw_server(answering(OK), answering(OK)) as server:
            await client.request("POST", server.url, timeout=5)
            (ours,) = loop.watched
            await server.ended[0].wait()
            while ours in loop.watched:
                await asyncio.sleep(0)
            await client.request("POST", server.url, timeout=5)
            assert server.connected == 2

    with asyncio.Runner(loop_factory=_Recording) as runner:
        client = HTTPClient()
        runner.run(end(client, _recording(runner)))
        runner.run(client.close())


def test_a_socket_that_another_thread_closes_leaves_nothing_behind_in_the_loop() -> None:
    """As garbage is collected anywhere; the next socket has the same number."""

    async def drop(url: str, loop: _Recording) -> None:
        for _ in range(2):
            clients = [HTTPClient()]
            await _requests(clients[0], url)
            thread = threading.Thread(target=clients.clear)
            thread.start()
            thread.join()
            assert loop.watched == set()
        assert loop.asked == 2

    with standard_library_server() as url, asyncio.Runner(loop_factory=_Recording) as runner:
        runner.run(drop(url, _recording(runner)))


@pytest.mark.parametrize("loop", [_Recording, _NotWatching])
def test_bodies_larger_than_the_buffers_of_a_socket_come_back_whole(
    loop: type[asyncio.SelectorEventLoop],
) -> None:
    """What the socket does not take at once goes out later."""
    body = bytes(range(256)) * 20_000
    with standard_library_server() as url, asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(_three_requests(url, body)) == [body] * 3


async def test_a_socket_is_not_watched_in_the_context_of_who_waits_for_it() -> None:
    """A run of an app, which contexts tell apart, would seem to move with each answer to others."""
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []

    class Noting(SocketStream):
        def _read(self) -> None:
            seen.append(who.get())
            super()._read()

    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = Noting(ours)
    try:
        who.set("a run")
        receiving = stream.receive()
        theirs.send(b"x")
        assert await receiving == b"x"
    finally:
        stream.close()
        theirs.close()
    assert set(seen) == {"nobody"}


@pytest.mark.parametrize("host", ["b\u00fccher.invalid", "\ud800.invalid", "a" * 70 + "\u00fc"])
async def test_a_name_beyond_ascii_is_looked_up_or_refused(host: str) -> None:
    """By what IDNA makes of it, if anything; never by an error of Python's codecs."""
    with pytest.raises(OSError, match="the name cannot be resolved"):
        await connect(host, 1, tls=False)
