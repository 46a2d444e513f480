"""The Redis store keeps the contract, and what is its own: arguments, keys, loops, processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import socket
import ssl
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from longwire_backends.base import Backend, BackendError, ConfigurationError
from longwire_backends.redis.backend import RedisBackend
from longwire_backends.redis.pool import POOL_SIZE
from tests.backends.contract import BackendContract, Clock, OpenBackend, listed, members
from tests.backends.processes import ProcessContract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.servers.redis import RedisServer, StartRedis

FAR = 1 << 40
TLS_FILES = Path(__file__).parents[1] / "aws" / "tls"

MALFORMED = (
    "uri: expected redis://user:password@host:port/database or rediss://..., with special"
    " characters of user and password percent-encoded"
)


class TestRedisBackend(BackendContract):
    """Its storage is what has a prefix of its own."""

    sweeps = False
    tested_limit = 1000

    @pytest.fixture
    def open_backend(self, redis_server: RedisServer, prefix: str) -> OpenBackend:
        """Open the same keys each time."""
        return lambda clock: RedisBackend(
            host="127.0.0.1", port=redis_server.port, key_prefix=prefix, clock=clock
        )


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses."""
    return f"{uuid.uuid4()}:"


@pytest.fixture
def connect(redis_server: RedisServer, prefix: str) -> Callable[..., RedisBackend]:
    """Open backends on the shared server."""
    return lambda **options: RedisBackend(
        host="127.0.0.1", port=redis_server.port, **{"key_prefix": prefix, "timeout": 30, **options}
    )


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "redis",
        "localhost:6379",
        "http://:hunter2@localhost",
        "unix:///tmp/hunter2.sock",
        "redis://",
        "redis:///0",
        "redis://:hunter2@",
        "redis://:hunter2@localhost:port",
        "redis://:hunter2@localhost:0",
        "redis://:hunter2@localhost:70000",
        "redis://:hun/ter2@localhost",
        "redis://:hun#ter2@localhost",
        "redis://:hunter2@localhost/zero",
        "redis://:hunter2@localhost/0/1",
        "redis://:hunter2@localhost/-1",
        "redis://:hunter2@localhost?db=x",
        "redis://:hunter2@[::1",
    ],
)
def test_a_malformed_uri_is_refused(uri: str) -> None:
    """The text tells the form, and shows nothing of what was given."""
    with pytest.raises(ConfigurationError) as raised:
        RedisBackend(uri=uri)
    assert str(raised.value) == MALFORMED
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "uri, host: give one of them, and not both"),
        ({"uri": "redis://a", "host": "a"}, "uri, host: give one of them, and not both"),
        (
            {"uri": "redis://a", "password": "hunter2", "port": 6380, "db": 1},
            "uri: has everything in it, so do not give port, password, db",
        ),
        ({"uri": "redis://a", "ssl": True}, "uri: has everything in it, so do not give ssl"),
        (
            {"uri": "redis://a?client_name=hunter2"},
            "uri: expected no options but db and those of ssl_...",
        ),
        (
            {"uri": "redis://a?db=1&ssl_ca_certs=/no/hunter2"},
            "uri: options of ssl_... need rediss://",
        ),
        (
            {"uri": "rediss://a?ssl_cert_reqs=hunter2"},
            "uri: TLS cannot use one of ssl_cert_reqs",
        ),
        (
            {"uri": "rediss://a?ssl_hunter=2"},
            "uri: ssl_hunter is none of ssl_cert_reqs, ssl_check_hostname, ssl_ca_certs,"
            " ssl_ca_path, ssl_ca_data, ssl_certfile, ssl_keyfile, ssl_password, ssl_ciphers,"
            " ssl_min_version",
        ),
        (
            {"uri": "rediss://a?ssl_ca_certs=/no/hunter2"},
            "uri: TLS cannot use one of ssl_ca_certs",
        ),
        ({"host": "a", "timeout": 0}, "timeout: expected seconds above 0, got 0"),
    ],
)
def test_a_wrong_argument_is_refused(options: dict[str, Any], text: str) -> None:
    """The constructor names what is wrong, and shows no secret."""
    with pytest.raises(ConfigurationError) as raised:
        RedisBackend(**options)
    assert str(raised.value) == text


@pytest.mark.anyio
async def test_a_uri_says_everything(start_redis: StartRedis) -> None:
    """User, password with odd characters, and database are taken from it, each decoded once."""
    server = start_redis("--user", "me", "on", ">p%40/:", "~*", "+@all", "--user", "default", "off")
    options: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "username": "me",
        "password": "p%40/:",
        "db": 3,
    }
    for uri in ("/3", "?db=3"):
        from_uri = RedisBackend(uri=f"redis://me:p%2540%2F%3A@127.0.0.1:{server.port}{uri}")
        from_options = RedisBackend(**options)
        other_database = RedisBackend(**{**options, "db": 2})
        await from_uri.put("a", "v", FAR)
        assert await other_database.get("a") is None
        assert await from_options.take("a") is not None
        for backend in (from_uri, from_options, other_database):
            await backend.close()


def test_no_variable_shows_the_password() -> None:
    """As tools show them that report errors."""
    backend = RedisBackend(uri="rediss://me:hunter2@localhost/1")
    assert "hunter2" not in repr(vars(backend))
    assert "localhost:6379" in repr(vars(backend))


@pytest.mark.anyio
async def test_a_database_that_does_not_exist_is_reported(redis_server: RedisServer) -> None:
    """Redis has sixteen, unless it is told otherwise."""
    backend = RedisBackend(host="127.0.0.1", port=redis_server.port, db=99)
    with pytest.raises(BackendError) as raised:
        await backend.get("a")
    assert str(raised.value) == (
        f"redis: get failed: 127.0.0.1:{redis_server.port} answers: DB index is out of range"
    )
    await backend.close()


@pytest.mark.anyio
async def test_two_prefixes_share_nothing(connect: Callable[..., RedisBackend]) -> None:
    """Each prefix is a store of its own."""
    first, second = connect(), connect(key_prefix=f"{uuid.uuid4()}:")
    await first.put("a", "v", FAR)
    await first.group_add("g", "a", FAR)
    assert await second.get("a") is None
    assert await members(second, "g") == []
    assert await listed(second) == []
    await first.close()
    await second.close()


@pytest.mark.anyio
@pytest.mark.parametrize("content", [b"", b"v", b"0123456789abcdef x\nv", b"\xff"])
async def test_what_is_not_ours_is_reported(
    connect: Callable[..., RedisBackend], redis_server: RedisServer, prefix: str, content: bytes
) -> None:
    """A key of somebody else's is named, and an update leaves it alone."""
    backend = connect()
    redis_server.command(b"SET", f"{prefix}record:a".encode(), content)
    with pytest.raises(BackendError) as raised:
        await backend.get("a")
    assert str(raised.value) == (
        f"redis: get failed: '{prefix}record:a' is not one of Longwire's, give another key_prefix"
    )
    assert await backend.update("a", "v", FAR, "") is None
    await backend.put("a", "v", FAR)
    assert await backend.get("a") is not None
    await backend.close()


@pytest.mark.anyio
async def test_a_key_of_another_type_is_reported(
    connect: Callable[..., RedisBackend], redis_server: RedisServer, prefix: str
) -> None:
    """Also where a script finds it."""
    backend = connect()
    redis_server.command(b"SADD", f"{prefix}record:a".encode(), b"x")
    redis_server.command(b"SADD", f"{prefix}group:g".encode(), b"x")
    redis_server.command(b"SADD", f"{prefix}connections".encode(), b"x")
    redis_server.command(b"SADD", f"{prefix}journal:a".encode(), b"x")
    for operation, doing in {
        "get": backend.get("a"),
        "take": backend.take("a"),
        "update": backend.update("a", "v", FAR, "x"),
        "put": backend.put("b", "v", FAR),
        "connections": backend.connections(),
        "append": backend.append("a", 1, "v", FAR),
        "journal": backend.journal("a"),
        "group_add": backend.group_add("g", "a", FAR),
        "group_members": backend.group_members("g"),
    }.items():
        with pytest.raises(BackendError) as raised:
            await doing
        assert str(raised.value) == (
            f"redis: {operation} failed: a key under {prefix} is not one of Longwire's, give"
            " another key_prefix"
        )
    await backend.close()


@pytest.mark.anyio
async def test_a_member_of_somebody_else_is_reported(
    connect: Callable[..., RedisBackend], redis_server: RedisServer, prefix: str
) -> None:
    """One that is no text, as none of Longwire's is."""
    backend = connect()
    far = b"%d" % FAR
    for key, score in {
        "connections": b"0",
        "connections-expiry": far,
        "group:g": b"0",
        "group-expiry:g": far,
        "groups:a": far,
    }.items():
        redis_server.command(b"ZADD", (prefix + key).encode(), score, b"\xff")
    for key, doing in {
        "connections": backend.connections(),
        "group:g": backend.group_members("g"),
        "groups:a": backend.groups("a"),
    }.items():
        with pytest.raises(BackendError) as raised:
            await doing
        assert str(raised.value).endswith(
            f" failed: '{prefix}{key}' is not one of Longwire's, give another key_prefix"
        )
    await backend.close()


@pytest.mark.anyio
@pytest.mark.parametrize("entry", [b"", b"v", b"1", b"x\nv", b"\nv"])
async def test_an_entry_of_somebody_else_is_reported(
    connect: Callable[..., RedisBackend], redis_server: RedisServer, prefix: str, entry: bytes
) -> None:
    """It does not begin with its expiry."""
    backend = connect()
    redis_server.command(b"RPUSH", f"{prefix}journal:a".encode(), entry)
    with pytest.raises(BackendError) as raised:
        await backend.journal("a")
    assert str(raised.value) == (
        f"redis: journal failed: '{prefix}journal:a' is not one of Longwire's, give another"
        " key_prefix"
    )
    await backend.close()


@pytest.mark.anyio
async def test_a_journal_expires_in_redis(
    connect: Callable[..., RedisBackend], redis_server: RedisServer, prefix: str
) -> None:
    """By itself, as a whole, at the expiry that was given last."""
    backend = connect()
    key = f"{prefix}journal:a".encode()
    soon = int(time.time()) + 1000
    for position in (1, 2):
        assert await backend.append("a", position, "v", soon)
    assert redis_server.command(b"LRANGE", key, b"0", b"-1").count(b"%d\nv" % soon) == 2
    assert 900 < int(redis_server.command(b"TTL", key)[1:]) <= 1001
    await backend.drop_journal("a")
    assert redis_server.command(b"EXISTS", key).startswith(b":0")
    await backend.close()


@pytest.mark.anyio
async def test_text_that_is_not_unicode_is_reported(connect: Callable[..., RedisBackend]) -> None:
    """A lone surrogate can be neither stored nor looked for."""
    backend = connect()
    for operation, doing in {
        "put": backend.put("a", "\ud800", FAR),
        "get": backend.get("\ud800"),
        "update": backend.update("a", "\ud800", FAR, "x"),
        "group_add": backend.group_add("\ud800", "a", FAR),
        "group_members": backend.group_members("g", after="\ud800"),
        "connections": backend.connections(after="\ud800"),
    }.items():
        with pytest.raises(BackendError, match=rf"^redis: {operation} failed: .*surrogates"):
            await doing
    assert await backend.get("a") is None
    await backend.close()


@pytest.mark.anyio
@pytest.mark.parametrize("expires_at", [-1, 0, 1, 1_000_000_000])
async def test_a_record_that_has_expired_already_is_missing(
    connect: Callable[..., RedisBackend], expires_at: int
) -> None:
    """Redis refuses some of these expiries; to us they are all the same."""
    backend = connect()
    version = await backend.put("a", "v", FAR)
    assert await backend.update("a", "v", expires_at, version) is not None
    assert await backend.get("a") is None
    await backend.put("a", "v", expires_at)
    assert await backend.get("a") is None
    assert await listed(backend) == []
    assert await backend.take("a") is None
    await backend.group_add("g", "a", expires_at)
    assert await members(backend, "g") == []
    assert await backend.groups("a") == ()
    await backend.close()


@pytest.mark.anyio
async def test_an_expiry_beyond_redis_is_kept(connect: Callable[..., RedisBackend]) -> None:
    """More seconds than Redis can count are as good as for ever."""
    backend = connect()
    await backend.put("a", "v", 1 << 70)
    await backend.group_add("g", "a", 1 << 70)
    record = await backend.get("a")
    assert record is not None
    assert record.expires_at == 1 << 70
    assert await listed(backend) == ["a"]
    assert await members(backend, "g") == ["a"]
    await backend.close()


@pytest.mark.anyio
async def test_every_key_expires(
    connect: Callable[..., RedisBackend], redis_server: RedisServer, prefix: str
) -> None:
    """Each at the latest expiry of what is in it."""
    soon = int(time.time()) + 1000
    backend = connect()
    await backend.put("a", "v", soon)
    await backend.put("b", "v", soon + 70)
    version = await backend.put("c", "v", soon)
    assert await backend.update("c", "v", soon + 90, version)
    await backend.put("d", "v", soon)
    for member, expires_at in (("a", soon), ("b", soon + 50), ("c", soon + 20)):
        await backend.group_add("g", member, expires_at)
    await backend.group_add("h", "b", soon)
    for key, seconds in {
        "record:a": 1000,
        "connections": 1090,
        "connections-expiry": 1090,
        "group:g": 1050,
        "group-expiry:g": 1050,
        "group:h": 1000,
        "groups:a": 1000,
        "groups:b": 1050,
        "groups:c": 1020,
    }.items():
        left = int(redis_server.command(b"TTL", (prefix + key).encode())[1:])
        assert seconds - 100 < left <= seconds + 1
        assert abs(left + time.time() - (soon + seconds - 1000)) < 60
    await backend.close()


@pytest.mark.anyio
async def test_expired_members_leave_the_store_as_others_come(
    connect: Callable[..., RedisBackend], redis_server: RedisServer, prefix: str
) -> None:
    """At most a hundred at a time, so that nobody waits long; a thousand comers, and all left."""
    clock = Clock()
    backend = connect(clock=clock)
    for start in range(0, 250, 50):
        await asyncio.gather(
            *(backend.group_add("g", f"old-{start + n}", clock.now + 60) for n in range(50))
        )
    clock.now += 60
    sizes = []
    for n in range(4):
        await backend.group_add("g", f"new-{n}", clock.now + 600)
        sizes.append(redis_server.command(b"ZCARD", f"{prefix}group:g".encode()))
        assert redis_server.command(b"ZCARD", f"{prefix}group-expiry:g".encode()) == sizes[-1]
    assert sizes == [b":151\r\n", b":52\r\n", b":3\r\n", b":4\r\n"]
    assert len(await members(backend, "g")) == 4
    await backend.close()


@pytest.mark.anyio
async def test_expired_connections_leave_the_index_as_others_are_written(
    connect: Callable[..., RedisBackend], redis_server: RedisServer, prefix: str
) -> None:
    """At most a hundred at a time, with a put or an update; a take leaves nothing behind."""
    clock = Clock()
    backend = connect(clock=clock)
    for start in range(0, 250, 50):
        await asyncio.gather(
            *(backend.put(f"old-{start + n}", "v", clock.now + 60) for n in range(50))
        )
    clock.now += 60
    sizes = []

    def measure() -> None:
        sizes.append(redis_server.command(b"ZCARD", f"{prefix}connections".encode()))
        assert redis_server.command(b"ZCARD", f"{prefix}connections-expiry".encode()) == sizes[-1]

    version = await backend.put("a", "v", clock.now + 600)
    measure()
    assert await backend.update("a", "w", clock.now + 600, version)
    measure()
    await backend.put("b", "v", clock.now + 600)
    measure()
    assert await listed(backend) == ["a", "b"]
    for connection_id in "ab":
        assert await backend.take(connection_id)
        measure()
    assert sizes == [b":151\r\n", b":51\r\n", b":2\r\n", b":1\r\n", b":0\r\n"]
    await backend.close()


@pytest.mark.anyio
async def test_a_page_may_be_larger_than_what_lua_hands_over_at_once(
    connect: Callable[..., RedisBackend], redis_server: RedisServer, prefix: str
) -> None:
    """Twenty thousand on one page, of which some have expired, and on pages of odd sizes."""
    backend = connect()
    ids = [f"id-{n:05}" for n in range(20_000)]
    for start in range(0, len(ids), 1000):
        for key, scores in (("connections", (0, 0)), ("connections-expiry", (1, FAR))):
            words = [
                word
                for n, each in enumerate(ids[start : start + 1000])
                for word in (b"%d" % scores[n % 10 > 0], each.encode())
            ]
            redis_server.command(b"ZADD", (prefix + key).encode(), *words)
    alive = [each for n, each in enumerate(ids) if n % 10]
    for limit in (999, 1001, 19_999, 20_000, 50_000):
        assert await listed(backend, limit) == alive
    await backend.close()


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["connections", "connections-expiry"])
async def test_a_record_whose_id_was_lost_is_only_not_listed(
    connect: Callable[..., RedisBackend], redis_server: RedisServer, prefix: str, key: str
) -> None:
    """As after an eviction; it is read as ever, and listed from its next write on."""
    backend = connect()
    versions = {each: await backend.put(each, "v", FAR) for each in "abc"}
    redis_server.command(b"DEL", (prefix + key).encode())
    assert await listed(backend) == []
    await backend.put("a", "v", FAR)
    assert await backend.update("b", "v", FAR, versions["b"])
    assert await listed(backend) == ["a", "b"]
    assert await backend.take("c")
    assert await listed(backend) == ["a", "b"]
    await backend.close()


@pytest.mark.anyio
async def test_commands_are_counted(start_redis: StartRedis) -> None:
    """One command for each operation on a warm connection, and nothing besides but in scripts."""
    server = start_redis()
    backend = RedisBackend(host="127.0.0.1", port=server.port, timeout=30)
    inside_put = ("set", "zadd", "zadd", "zrangebyscore", "zrange", "expireat", "expireat")
    operations: dict[Callable[[Backend], Any], tuple[str, ...]] = {
        lambda backend: backend.put("a", "v", FAR): ("evalsha", *inside_put),
        lambda backend: backend.get("a"): ("get",),
        lambda backend: backend.connections(): ("evalsha", "zrangebylex", "zmscore"),
        lambda backend: backend.take("a"): ("evalsha", "getdel", "zrem", "zrem"),
        lambda backend: backend.update("a", "v", FAR, "x"): ("evalsha", "getrange"),
        lambda backend: backend.group_members("g"): ("zrangebylex",),
        lambda backend: backend.groups("a"): ("zrangebyscore",),
    }
    for operation in operations:
        await operation(backend)
    await backend.put("b", "v", FAR)
    for operation, commands in operations.items():
        server.forget_calls()
        for _ in range(10):
            await operation(backend)
        assert server.calls() == {each: 10 * commands.count(each) for each in commands}
        # Those of this test itself; the backend has opened none.
        assert b"total_connections_received:2\r\n" in server.command(b"INFO", b"stats")
    await backend.close()


@pytest.mark.anyio
async def test_scripts_that_the_server_forgot_are_sent_again(start_redis: StartRedis) -> None:
    """As after a restart or SCRIPT FLUSH."""
    server = start_redis()
    backend = RedisBackend(host="127.0.0.1", port=server.port)
    version: str | None = await backend.put("a", "v", FAR)
    for _ in range(3):
        version = await backend.update("a", "v", FAR, version or "")
        assert version
        server.command(b"SCRIPT", b"FLUSH")
        await backend.group_add("g", "a", FAR)
        server.command(b"SCRIPT", b"FLUSH")
        entries = await backend.journal("a")
        assert await backend.append("a", len(entries) + 1, "v", FAR)
    for _ in range(2):
        server.command(b"SCRIPT", b"FLUSH")
        assert await listed(backend) == ["a"]
        await backend.put("a", "v", FAR)
    server.command(b"SCRIPT", b"FLUSH")
    assert await backend.take("a")
    assert await backend.take("a") is None
    await backend.close()


@pytest.mark.anyio
async def test_many_operations_share_few_connections(start_redis: StartRedis) -> None:
    """A broadcast does not open a connection for each of its members."""
    server = start_redis()
    backend = RedisBackend(host="127.0.0.1", port=server.port, timeout=30)
    await asyncio.gather(*(backend.put(str(n), str(n), FAR) for n in range(500)))
    records = await asyncio.gather(*(backend.get(str(n)) for n in range(500)))
    assert [record and record.value for record in records] == [str(n) for n in range(500)]
    clients = server.command(b"CLIENT", b"LIST", b"TYPE", b"normal")
    # The one more is that of this test itself.
    assert clients.count(b" laddr=") <= POOL_SIZE + 1
    await backend.close()


def test_loops_come_and_go(connect: Callable[..., RedisBackend]) -> None:
    """A backend that was used on one loop works on the next."""
    backend = connect()
    for n in range(5):
        asyncio.run(backend.put(str(n), "v", FAR))
        assert asyncio.run(backend.get(str(n)))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(asyncio.wait_for(backend.get("0"), 30))
    loop.close()
    assert asyncio.run(backend.take("0"))
    asyncio.run(backend.close())


def test_the_connections_of_ended_loops_are_let_go(connect: Callable[..., RedisBackend]) -> None:
    """However many loops there were, those of the last one are all there is."""
    backend = connect()
    for _ in range(10):
        asyncio.run(backend.get("nobody"))
    assert len(backend._pools) == 1
    asyncio.run(backend.close())


@pytest.mark.parametrize("host", ["", "redis://h", "h:6380", "u@h", "a b"])
def test_a_host_with_more_in_it_is_refused(host: str) -> None:
    """The port and the rest have parameters of their own."""
    with pytest.raises(ConfigurationError) as raised:
        RedisBackend(host=host)
    got = "a text that is not shown" if "@" in host else repr(host)
    assert str(raised.value) == (
        f"host: expected a name or an address, and the port in port, got {got}"
    )


def test_several_loops_at_once(connect: Callable[..., RedisBackend]) -> None:
    """Threads with a loop each may share a backend, and each reads its own records."""
    backend = connect()
    failed: list[object] = []

    async def use(me: int) -> None:
        for n in range(50):
            await backend.put(f"{me}", f"{me} {n}", FAR)
            record = await backend.get(f"{me}")
            if record is None or record.value != f"{me} {n}":
                failed.append(record)

    threads = [threading.Thread(target=lambda me=me: asyncio.run(use(me))) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    asyncio.run(backend.close())


def test_a_loop_that_dies_in_mid_operation_breaks_nothing(
    connect: Callable[..., RedisBackend],
) -> None:
    """What was under way on it is closed, with nothing said, and others work."""
    backend = connect()

    async def leave() -> None:
        writing = [asyncio.ensure_future(backend.put(n, "v" * 1_000_000, FAR)) for n in "abcde"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not any(task.done() for task in writing)

    asyncio.run(leave())
    gc.collect()
    assert asyncio.run(backend.get("nobody")) is None
    asyncio.run(backend.close())


class TestProcesses(ProcessContract):
    @pytest.fixture
    def source(self, redis_server: RedisServer, prefix: str) -> str:
        return (
            "from longwire_backends.redis.backend import RedisBackend\n"
            f'backend = RedisBackend(host="127.0.0.1", port={redis_server.port},'
            f" key_prefix={prefix!r}, timeout=30)"
        )


@pytest.mark.anyio
async def test_tls_checks_the_server(redis_server: RedisServer, prefix: str) -> None:
    """With its authority known it works, also for large records; else nothing is sent."""
    async with tls_proxy(redis_server) as port:
        known = f"ssl_ca_certs={TLS_FILES / 'authority.pem'}"
        uri = f"rediss://127.0.0.1:{port}"
        backend = RedisBackend(uri=f"{uri}?{known}", key_prefix=prefix)
        for value in ("v", "v" * 1_000_000):
            await backend.put("a", value, FAR)
            record = await backend.get("a")
            assert record is not None
            assert record.value == value
        await backend.close()
        unchecked = RedisBackend(uri=f"{uri}?ssl_cert_reqs=none", key_prefix=prefix)
        assert await unchecked.get("a") is not None
        await unchecked.close()
        for refused, reason in (
            (RedisBackend(host="127.0.0.1", port=port, ssl=True), "unable to get local issuer"),
            (RedisBackend(uri=f"rediss://127.0.0.2:{port}?{known}"), "IP address mismatch"),
        ):
            with pytest.raises(BackendError, match=reason) as raised:
                await refused.get("a")
            assert str(raised.value).startswith("redis: get failed: cannot connect to ")


@pytest.mark.anyio
async def test_a_server_may_ask_who_the_client_is(redis_server: RedisServer, prefix: str) -> None:
    """The certificate, and what else the URI says of TLS, are used for each connection."""
    files = f"ssl_ca_certs={TLS_FILES / 'authority.pem'}"
    own = f"ssl_certfile={TLS_FILES / 'client.pem'}&ssl_min_version={ssl.TLSVersion.TLSv1_2.value}"
    async with tls_proxy(redis_server, asks_who=True) as port:
        uri = f"rediss://127.0.0.1:{port}?{files}"
        known = RedisBackend(uri=f"{uri}&{own}", key_prefix=prefix)
        await known.put("a", "v", FAR)
        await known.close()
        unknown = RedisBackend(uri=uri, key_prefix=prefix)
        with pytest.raises(BackendError):
            await unknown.get("a")
        other_name = f"rediss://127.0.0.2:{port}?{files}&{own}"
        unchecked = RedisBackend(uri=f"{other_name}&ssl_check_hostname=no", key_prefix=prefix)
        assert await unchecked.get("a") is not None
        await unchecked.close()


@pytest.mark.anyio
async def test_a_server_that_refuses_the_certificate_later_is_heard() -> None:
    """As TLS 1.3 does: the handshake is over for the client, and then it learns why not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS_FILES / "server.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(TLS_FILES / "client.pem")
    kept: list[ssl.SSLSocket] = []

    def refuse() -> None:
        for _ in range(2):
            plain, _ = listening.accept()
            refused = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            with contextlib.suppress(ssl.SSLError):
                refused.do_handshake()
            kept.append(refused)  # open, as a reset might overtake the reason

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        refusing = threading.Thread(target=refuse)
        refusing.start()
        port = listening.getsockname()[1]
        uri = f"rediss://127.0.0.1:{port}?ssl_ca_certs={TLS_FILES / 'authority.pem'}"
        with pytest.raises(BackendError) as raised:
            await RedisBackend(uri=uri).get("a")
        refusing.join()
    for each in kept:
        each.close()
    assert re.search(
        rf"^redis: get failed: the connection to 127.0.0.1:{port} broke before the answer came:"
        r".* certificate required",
        str(raised.value),
    )


@pytest.mark.anyio
async def test_a_login_that_fails_leaves_no_connection(start_redis: StartRedis) -> None:
    """What follows must not be done in another database than was asked for."""
    server = start_redis("--databases", "2")
    backend = RedisBackend(host="127.0.0.1", port=server.port, db=2)
    for _ in range(2):
        with pytest.raises(BackendError, match="DB index is out of range"):
            await backend.put("a", "v", FAR)
    assert server.command(b"DBSIZE") == b":0\r\n"
    clients = server.command(b"CLIENT", b"LIST", b"TYPE", b"normal")
    assert clients.count(b" laddr=") == 1  # that of this test itself
    await backend.close()


@contextlib.asynccontextmanager
async def tls_proxy(server: RedisServer, *, asks_who: bool = False) -> AsyncIterator[int]:
    """Speak TLS in front of a server; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS_FILES / "server.pem")
    if asks_who:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(TLS_FILES / "client.pem")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            await writer.start_tls(context)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    # 127.0.0.2 is answered, too, which the certificate does not name.
    proxy = await asyncio.start_server(serve, "0.0.0.0", 0)
    try:
        yield proxy.sockets[0].getsockname()[1]
    finally:
        proxy.close()
        await proxy.wait_closed()
