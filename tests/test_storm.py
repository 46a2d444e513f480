"""Storms: hundreds of clients of `longwire dev` that join, crash, leave and come back at once.

Everything is real: the process, its sockets, the store. What must happen exactly once is in the log
of `storm_app.py` and in the frames that each client keeps; both are compared whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from websockets.asyncio.client import connect

from longwire import Connections, SlowClientError
from longwire.deadlines import PATIENCE
from longwire_backends import Page
from longwire_backends.redis.backend import RedisBackend
from longwire_backends.sqlite3.backend import SQLite3Backend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence

    from websockets.asyncio.client import ClientConnection

    from longwire.fanout.result import SendResult
    from longwire_backends import Backend
    from tests.servers.redis import RedisServer, StartRedis

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

ROOT = Path(__file__).parents[1]
GROUP = "storm"
TIME_LIMIT = 50.0  # seconds; only keeps a failure from hanging
SIZE = int(os.environ.get("LONGWIRE_TEST_STORM", "200"))
READY = re.compile(r"longwire dev: ready on ws://127\.0\.0\.1:(\d+) ")
# What it says when it is stopped while there are clients.
STOPPING = re.compile(r"longwire dev: stopping: \d+ connected, ")
# What it says of an event that ended well, for example
# 13:45:46  MESSAGE     QWErT_fA  $default     200  3.1 ms  1 post
GOOD_LINE = re.compile(r"[\d:]{8}  (?:CONNECT|MESSAGE|DISCONNECT) +\S+  \$\w+ +200  ")


# Clients


class Client(asyncio.Protocol):
    """A WebSocket client of a tenth of a library's weight, so that a thousand fit in a test.

    Attributes:
        frames: the messages that it got, in their order.
        arrived: when the last of them came, in the time of the event loop.
        open: done when the handshake has been answered with 101.
        gone: done when the socket is no more.
        crash_at: once it has got that many messages, its wave breaks off; 0 for never.
        wave: who breaks off together, most of them before that message has reached them.
    """

    def __init__(self, name: str, crowd: Crowd) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.frames: list[str] = []
        self.arrived = 0.0
        self.open: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.crash_at = 0
        self.wave: Sequence[Client] = ()
        self._crowd = crowd
        self._buffer = b""
        self._leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(
            f"GET /local?name={self.name}&member= HTTP/1.1\r\nHost: localhost\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.open.done():
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._buffer = rest
            self.open.set_result(None)
        while not self._transport.is_closing() and (frame := self._next_frame()) is not None:
            self._take(*frame)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set_result(None)
        if not self.open.done():
            self.open.set_exception(ConnectionResetError("no answer to the handshake"))

    async def until_told(self, text: str) -> None:
        """Wait until this is the last message that has come."""
        while self.frames[-1:] != [text]:
            await asyncio.sleep(0.01)

    def stop_reading(self) -> None:
        """Stay, and read nothing more."""
        self._transport.pause_reading()

    def crash(self) -> None:
        """Break off without a close frame."""
        self._transport.abort()

    def leave(self) -> None:
        """Send the closing handshake's frame: code 1000, the mask all zeros."""
        self._leaving = True
        self._transport.write(b"\x88\x82\0\0\0\0\x03\xe8")

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Cut one whole frame off the buffer; those of a server are not masked."""
        data, begin = self._buffer, 2
        if len(data) < begin:
            return None
        if (size := data[1]) == 126:
            size, begin = int.from_bytes(data[2:4], "big"), 4
        assert size < 126 or begin == 4, "no message of these tests is that long"
        if len(data) < begin + size:
            return None
        self._buffer = data[begin + size :]
        return data[0], data[begin : begin + size]

    def _take(self, first_byte: int, payload: bytes) -> None:
        if first_byte == 0x88:
            if not self._leaving:
                self.leave()
            return
        assert first_byte == 0x81, "only whole text messages are sent here"
        self.frames.append(payload.decode())
        self.arrived = asyncio.get_running_loop().time()
        if not self.crash_at:
            self._crowd.count()
        elif len(self.frames) == self.crash_at:
            for client in self.wave:
                client.crash()


class Crowd:
    """All clients of one gateway."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._frames = 0
        self._awaited = 0
        self._enough = asyncio.Event()

    async def join(self, names: Iterable[str]) -> list[Client]:
        """Connect one client for each name, all at once."""
        return list(await asyncio.gather(*(self._connect(name) for name in names)))

    async def join_in_vain(self, names: Iterable[str]) -> None:
        """Connect likewise; all break off as soon as the first has the answer."""
        clients = await asyncio.gather(*(self._begin(name) for name in names))
        await asyncio.wait([one.open for one in clients], return_when=asyncio.FIRST_COMPLETED)
        for client in clients:
            client.crash()
        await asyncio.gather(*(one.gone for one in clients))
        await asyncio.gather(*(one.open for one in clients), return_exceptions=True)

    async def got(self, more: int) -> None:
        """Wait for so many frames since the last call, to all who do not crash."""
        self._awaited += more
        self._enough.clear()
        if self._frames < self._awaited:
            await self._enough.wait()

    def count(self) -> None:
        """Note that a frame has come."""
        self._frames += 1
        if self._frames >= self._awaited:
            self._enough.set()

    async def _connect(self, name: str) -> Client:
        client = await self._begin(name)
        await client.open
        return client

    async def _begin(self, name: str) -> Client:
        client = Client(name, self)
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        # So that little is on its way to a client that does not read.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        await loop.sock_connect(sock, ("127.0.0.1", self._port))
        await loop.create_connection(lambda: client, sock=sock)
        return client


# Who sends, and what there is to see


class Result(NamedTuple):
    """A `SendResult` as the app told it."""

    delivered: list[str]
    gone: list[str]
    failed: dict[str, str]
    incomplete: str | None


class Control:
    """A client that is no member, and has the app send for it."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client

    async def send(self, how: str, data: str, *, failed: Collection[str] = ()) -> Result:
        """Let the app `group_send` or `broadcast`, which fails for these; return the result."""
        await self._client.send(json.dumps({"do": how, "data": data}))
        while (text := str(await self._client.recv()))[0] != "{":
            pass  # a broadcast, which reaches this client too
        result = Result(**json.loads(text))
        assert (sorted(result.failed), result.incomplete) == (sorted(failed), None)
        return result


class Log:
    """What the app has noted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def noted(self, kind: str) -> list[tuple[str, str]]:
        """Return the connection id and what follows of each line of this kind."""
        lines = (line.split() for line in self._path.read_text().splitlines())
        return [(connection_id, word) for first, connection_id, word in lines if first == kind]

    def alive(self) -> set[str]:
        """Return the ids of those whose end the app has not been told of."""
        joined, ended = (dict(self.noted(kind)) for kind in ("join", "end"))
        return joined.keys() - ended.keys()

    async def until_alive(self, count: int) -> None:
        """Wait until that many are left."""
        while len(self.alive()) != count:
            await asyncio.sleep(0.02)

    def check_ends(self) -> None:
        """Everybody's end was told, once; and no later send posted again to who was gone."""
        joined, ended = ([one for one, _ in self.noted(kind)] for kind in ("join", "end"))
        assert sorted(ended) == sorted(joined)
        new, late = self.noted("gone"), self.noted("late")
        assert twice(one for one, _ in late) == []
        # The same send may: it cannot know whether a new client is gone or not known yet.
        assert twice(one for one, _ in {*new, *late}) == []


class Gateway(NamedTuple):
    """A running `longwire dev`.

    Attributes:
        log: of its app.
        backend: its store, opened by this process.
    """

    port: int
    crowd: Crowd
    log: Log
    backend: Backend

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[Control]:
        """Connect somebody who is no member; in the end the app has been told of the end."""
        url = f"ws://127.0.0.1:{self.port}/local?name=control"
        async with connect(url, compression=None, ping_interval=None) as client:
            yield Control(client)


async def check_empty(gateway: Gateway) -> None:
    """The store holds nothing more of anybody."""
    assert (await gateway.backend.group_members(GROUP)) == Page((), None)
    assert (await gateway.backend.connections()) == Page((), None)
    for connection_id, _ in gateway.log.noted("join"):
        assert await gateway.backend.get(connection_id) is None
        assert await gateway.backend.groups(connection_id) == ()


def twice(items: Iterable[str]) -> list[str]:
    """Return what is there more than once."""
    return [item for item, count in Counter(items).items() if count > 1]


@contextlib.asynccontextmanager
async def gateway(backend: Backend, folder: Path, **params: Any) -> AsyncIterator[Gateway]:
    """Run `longwire dev` on a store; at the end it must have had nothing to complain of."""
    store = {"backend": backend.name, "params": params}
    log = folder / "storm.log"
    settings = {"STORM_STORE": json.dumps(store), "STORM_LOG": str(log)}
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "longwire",
            "dev",
            "tests.storm_app:handler",
            "--no-http",
            "--no-inspector",
            "--remote-store",
        ),
        *("--port", "0"),
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stdout is not None
    try:
        ready = READY.match((await process.stdout.readline()).decode())
        # Read all the time: a full pipe would stop the gateway.
        said = asyncio.ensure_future(process.communicate())
        assert ready, (await said)[1].decode()
        yield Gateway(int(ready[1]), Crowd(int(ready[1])), Log(log), backend)
        process.send_signal(signal.SIGINT)
        out, err = await said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await backend.close()
    complaints = [line for line in err.decode().splitlines() if not STOPPING.match(line)]
    assert (process.returncode, complaints) == (0, [])
    assert [line for line in out.decode().splitlines() if not GOOD_LINE.match(line)] == []


# The storms


async def check_everybody(gateway: Gateway, clients: list[Client], *words: str) -> None:
    """Two others send at the same time, to the group and to all: each client gets both once."""
    before = [len(client.frames) for client in clients]
    members = gateway.log.alive()
    async with gateway.control() as one, gateway.control() as other:
        results = await asyncio.gather(
            one.send("group_send", words[0]), other.send("broadcast", words[1])
        )
        await gateway.crowd.got(2 * len(clients))
    to_group, to_all = (sorted(result.delivered) for result in results)
    assert to_group == sorted(members)
    assert sorted(members & set(to_all)) == to_group
    assert twice(to_all) == []
    for client, count in zip(clients, before, strict=True):
        assert sorted(client.frames[count:]) == sorted(words)


async def check_crashes(gateway: Gateway, clients: list[Client]) -> list[Client]:
    """A third breaks off in waves, each in the middle of a send; return the others."""
    words = [f"crash-{number}" for number in range(6)]
    before = len(clients[0].frames)
    crashing, staying = clients[::3], [one for n, one in enumerate(clients) if n % 3]
    for wave in range(4):
        for client in crashing[wave::4]:
            client.crash_at, client.wave = before + 1 + wave, crashing[wave::4]
    results = []
    async with gateway.control() as one, gateway.control() as other:
        for number, word in enumerate(words):
            # They take turns, so that only the store tells one what the other has found.
            sender, how = (one, "broadcast") if number % 3 else (other, "group_send")
            results.append(await sender.send(how, word))
        await gateway.crowd.got(len(words) * len(staying))
    for client in staying:
        assert client.frames[before:] == words
    for client in crashing:
        got = client.frames[before:]
        assert got == words[: len(got)]
        assert len(got) <= client.crash_at - before
    check_the_gone(results)
    return staying


def check_the_gone(results: list[Result]) -> None:
    """Who has proved to be gone is never tried again by a later send."""
    gone: list[str] = []
    for result in results:
        assert set(gone).isdisjoint(result.delivered)
        gone += result.gone
    assert twice(gone) == []


async def reconnect(gateway: Gateway, clients: list[Client], names: list[str]) -> list[Client]:
    """All who are there leave, and everybody comes (back), at once."""
    for client in clients:
        client.leave()
    back = await gateway.crowd.join(names)
    await asyncio.gather(*(client.gone for client in clients))
    await gateway.log.until_alive(len(names))
    return back


async def storm(backend: Backend, folder: Path, size: int, **params: Any) -> None:
    """Join, broadcast, crash, leave, come back, broadcast, leave; then nothing is left."""
    names = [f"member-{number}" for number in range(size)]
    async with asyncio.timeout(TIME_LIMIT), gateway(backend, folder, **params) as storm:
        first = await storm.crowd.join(names)
        await check_everybody(storm, first, "one", "two")
        staying = await check_crashes(storm, first)
        await storm.log.until_alive(len(staying))
        await storm.crowd.join_in_vain(f"impatient-{number}" for number in range(size // 4))
        again = await reconnect(storm, staying, names)
        await check_everybody(storm, again, "three", "four")
        assert await reconnect(storm, again, []) == []
        for client in first + again:
            assert twice(client.frames) == []
        storm.log.check_ends()
        served = [name for _, name in storm.log.noted("join") if not name.startswith("impatient")]
        assert sorted(served) == sorted(names * 2 + ["control"] * 6)
        await check_empty(storm)


async def check_joiners(backend: Backend, folder: Path, joiners: int, **params: Any) -> None:
    """While two send by turns, inside and outside, others join: they miss nothing from then on."""
    ws_config: Any = {"backend": backend.name, "params": params}
    async with asyncio.timeout(TIME_LIMIT), gateway(backend, folder, **params) as storm:
        endpoint = f"http://127.0.0.1:{storm.port}/local"
        outside = Connections(ws_config=ws_config, api_gateway_endpoint_url=endpoint)
        async with storm.control() as inside, outside:
            speaker = Speaker(inside, outside)
            speaking = asyncio.ensure_future(speaker.speak())
            # Each is the next to come as soon as the one before it is a member.
            come = await asyncio.gather(*(join_in_turn(storm, speaker, joiners) for _ in range(5)))
            last = await speaker.stop(speaking)
        for client, due in itertools.chain(*come):
            await client.until_told(str(last))
            begin = int(client.frames[0])
            assert begin <= due
            assert client.frames == [str(number) for number in range(begin, last + 1)]
    # All were there when the gateway stopped, and it told the app of each.
    storm.log.check_ends()
    await check_empty(storm)
    await backend.close()


class Speaker:
    """Sends to the group all the time: 0, 1, 2, and so on.

    Attributes:
        begun: the last one that has been begun.
    """

    def __init__(self, inside: Control, outside: Connections) -> None:
        self.begun = -1
        self._inside = inside
        self._outside = outside
        self._stopping = False

    async def speak(self) -> None:
        """Send until `stop`, and then twice more."""
        more = 2
        while more:
            more -= self._stopping
            self.begun += 1
            if self.begun % 2:
                result: Result | SendResult = await self._inside.send("group_send", str(self.begun))
            else:
                result = await self._outside.group_send(GROUP, str(self.begun))
            assert (list(result.gone), result.failed, result.incomplete) == ([], {}, None)

    async def stop(self, speaking: asyncio.Future[None]) -> int:
        """Return the last one."""
        self._stopping = True
        await speaking
        return self.begun


async def join_in_turn(storm: Gateway, speaker: Speaker, count: int) -> list[tuple[Client, int]]:
    """Connect one after the other; return each with the first number that it must not miss."""
    come = []
    for number in range(count):
        (client,) = await storm.crowd.join([f"member-{number}"])
        come.append((client, speaker.begun + 1))
    return come


async def fill(outside: Connections, connection_id: str) -> None:
    """Send to a client that does not read, until nothing more is taken for it."""
    with contextlib.suppress(SlowClientError):
        while True:
            await outside.send(connection_id, "x" * 100_000)


async def send_rounds(
    storm: Gateway, control: Control, clients: list[Client], words: list[str], *slow: str
) -> float:
    """Send each word to the group; return the 95th percentile of the times until it was there."""
    seconds, clock = [], asyncio.get_running_loop().time
    for word in words:
        begun = clock()
        result = await control.send("group_send", word, failed=slow)
        # One client may take its patience, all of them together no more.
        assert clock() - begun < 2 * PATIENCE
        await storm.crowd.got(len(clients))
        assert len(result.delivered) == len(clients)
        seconds += [client.arrived - begun for client in clients]
    return sorted(seconds)[len(seconds) * 95 // 100]


async def slow_storm(backend: Backend, folder: Path, size: int, **params: Any) -> None:
    """A tenth of all stop reading: the others get everything once, and about as fast as before."""
    ws_config: Any = {"backend": backend.name, "params": params, "slow_client": 0.2}
    words = [[f"{when} {number}" for number in range(5)] for when in ("before", "first", "later")]
    async with asyncio.timeout(2 * TIME_LIMIT), gateway(backend, folder, **params) as storm:
        endpoint = f"http://127.0.0.1:{storm.port}/local"
        outside = Connections(ws_config=ws_config, api_gateway_endpoint_url=endpoint)
        clients = await storm.crowd.join(f"member-{number}" for number in range(size))
        deaf, good = clients[::10], [one for n, one in enumerate(clients) if n % 10]
        ids = {name: connection_id for connection_id, name in storm.log.noted("join")}
        slow = [ids[client.name] for client in deaf]
        async with storm.control() as control, outside:
            before = await send_rounds(storm, control, clients, words[0])
            for client in deaf:
                client.stop_reading()
            await asyncio.gather(*(fill(outside, connection_id) for connection_id in slow))
            for part in words[1:]:
                assert await send_rounds(storm, control, good, part, *slow) < max(2 * before, 0.5)
        for client in good:
            assert client.frames == list(itertools.chain(*words))
        for client in deaf:
            client.crash()
        assert await reconnect(storm, good, []) == []
        storm.log.check_ends()
        await check_empty(storm)


async def test_those_that_do_not_read_take_nothing_from_the_others(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    """Neither messages nor time."""
    uri = f"redis://127.0.0.1:{start_redis().port}"
    await slow_storm(RedisBackend(uri=uri), tmp_path, SIZE, uri=uri)


async def test_storms_on_redis(start_redis: StartRedis, tmp_path: Path) -> None:
    """In the store of its own no key is left, either."""
    server = start_redis()
    uri = f"redis://127.0.0.1:{server.port}"
    await storm(RedisBackend(uri=uri), tmp_path, SIZE, uri=uri)
    assert server.command(b"DBSIZE") == b":0\r\n"


async def test_storms_on_sqlite3(tmp_path: Path) -> None:
    """Fewer, as it does one thing at a time."""
    file = str(tmp_path / "storm.sqlite3")
    await storm(SQLite3Backend(file), tmp_path, 100, file_path=file)


async def test_who_has_joined_is_included_on_redis(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Two hundred join."""
    uri = f"redis://127.0.0.1:{redis_server.port}"
    backend = RedisBackend(uri=uri, key_prefix="joiners:")
    await check_joiners(backend, tmp_path, 40, uri=uri, key_prefix="joiners:")


async def test_who_has_joined_is_included_on_sqlite3(tmp_path: Path) -> None:
    """Two hundred join."""
    file = str(tmp_path / "storm.sqlite3")
    await check_joiners(SQLite3Backend(file), tmp_path, 40, file_path=file)
