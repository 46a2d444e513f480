"""A store in Redis 6.2 or newer, which expires by itself what nobody needs any more.

Where things are, each name behind `key_prefix`:

    record:{id}           string: "version expires_at", a line feed, the value
    connections           sorted set of the ids of all records, all with score 0
    connections-expiry    sorted set of the same ids by expiry
    group:{name}          sorted set of ids, all with score 0, so that it is in the order of its
                          members and can be read in pages
    group-expiry:{name}   sorted set of the same ids by expiry
    groups:{id}           sorted set of group names by expiry
    journal:{id}          list of entries: expiry, a line feed, the value

A record and its id in `connections` are written in one step. They part only where Redis evicts keys
for want of memory: a record without its id is not listed until it is written again, and an id
without its record is listed until it expires.

Redis Cluster mode is not supported: one write changes the keys of a group and of a connection,
which a cluster keeps on different nodes. Primary and replicas without cluster mode are fine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from longwire_aws.tuples import NamedTuple
from longwire_backends.base import (
    Backend,
    BackendError,
    ConfigurationError,
    Page,
    Record,
    new_version,
    shown,
)
from longwire_backends.redis import errors, scripts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

# Connections of one event loop; further operations wait for their turn.
_POOL_SIZE = 20

# Seconds since 1970 that Redis can still count in milliseconds, and that a score keeps exactly.
_LAST_SECOND = 1 << 43


class _Client(NamedTuple):
    """A client for one event loop, and who may use one of its connections."""

    redis: Redis
    turns: asyncio.Semaphore


class RedisBackend(Backend):
    """Keeps records, memberships and journals in one database of a Redis server.

    Connects at first use, and whenever a connection was lost. A lost connection is an error only
    to `take`, `update` and `append`, which may or may not have been done; the others are repeated
    once.

    Args:
        uri: redis:// or rediss:// (TLS), with user, password, host, port and database in it, and
            redis-py's ssl_... options as its query; instead of all the arguments up to `ssl`.
        host: of the server, or of the primary where there are replicas.
        ssl: speak TLS; the server's certificate and name are checked.
        key_prefix: what all keys begin with; stores with different prefixes share nothing.
        timeout: seconds for each operation, connecting included; not its turn, when many wait.
        clock: epoch seconds; tests hand in their own.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    name = "redis"
    # A string of Redis: https://redis.io/docs/latest/develop/data-types/strings/
    record_limit: ClassVar[int | None] = 512 * 1024 * 1024

    def __init__(
        self,
        *,
        uri: str | None = None,
        host: str | None = None,
        port: int = 6379,
        username: str | None = None,
        password: str | None = None,
        db: int = 0,
        ssl: bool = False,
        key_prefix: str = "longwire:",
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock=clock)
        if not timeout > 0:
            raise ConfigurationError(f"timeout: expected seconds above 0, got {timeout!r}")
        if (uri is None) == (host is None):
            raise ConfigurationError("uri, host: give one of them, and not both")
        if uri is not None:
            _check_alone(port=port != 6379, username=username, password=password, db=db, ssl=ssl)
            options = _from_uri(uri)
        else:
            _check_host(host or "")
            options = {"host": host, "port": port, "username": username, "password": password}
            options |= {"db": db, "ssl": ssl}
        self._timeout = timeout
        self._prefix = key_prefix
        self._password = options.get("password") or ""
        self._where = _where(options["host"], options["port"])
        self._plain = not options.pop("ssl")
        self._options = options if self._plain else _with_tls(options)
        self._answered = False
        # A connection belongs to the loop that opened it, and to no other process.
        self._clients: dict[asyncio.AbstractEventLoop, _Client] = {}
        self._pid = os.getpid()

    async def create(self) -> tuple[str, ...]:
        await self._execute("create", "PING")
        return (f"{self._where} answers; there is nothing to create",)

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        with self._errors("put"):
            self._check_size("put", value)
        version = new_version()
        await self._execute(
            "put",
            "EVALSHA",
            scripts.PUT,
            *self._record_keys(connection_id),
            connection_id,
            _second(expires_at),
            repr(self._clock()),
            _content(version, expires_at, value),
        )
        return version

    async def get(self, connection_id: str) -> Record | None:
        content = await self._execute("get", "GET", self._key("record", connection_id))
        return self._alive("get", connection_id, content)

    async def take(self, connection_id: str) -> Record | None:
        content = await self._execute(
            "take",
            "EVALSHA",
            scripts.TAKE,
            *self._record_keys(connection_id),
            connection_id,
            repeat=False,
        )
        return self._alive("take", connection_id, content)

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        with self._errors("update"):
            self._check_size("update", value)
        written_version = new_version()
        done = await self._execute(
            "update",
            "EVALSHA",
            scripts.UPDATE,
            *self._record_keys(connection_id),
            connection_id,
            _second(expires_at),
            repr(self._clock()),
            _content(written_version, expires_at, value),
            version,
            repeat=False,
        )
        return written_version if done else None

    async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
        ids, last = await self._execute(
            "connections",
            "EVALSHA",
            scripts.CONNECTIONS,
            2,
            *self._index_keys(),
            "-" if after is None else f"({after}",
            limit,
            repr(self._clock()),
        )
        return Page(_texts(ids), None if last is None else last.decode())

    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        await self._execute(
            "group_add",
            "EVALSHA",
            scripts.GROUP_ADD,
            *self._membership_keys(group, connection_id),
            connection_id,
            group,
            _second(expires_at),
            repr(self._clock()),
        )

    async def group_discard(self, group: str, connection_id: str) -> None:
        await self._execute(
            "group_discard",
            "EVALSHA",
            scripts.GROUP_DISCARD,
            *self._membership_keys(group, connection_id),
            connection_id,
            group,
        )

    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        # One more than asked for tells whether there is a next page.
        rows = await self._execute(
            "group_members",
            "ZRANGEBYLEX",
            self._key("group", group),
            "-" if after is None else f"({after}",
            "+",
            "LIMIT",
            0,
            limit + 1,
        )
        page = rows[:limit]
        if not page:
            return Page((), None)
        expiries = await self._execute(
            "group_members", "ZMSCORE", self._key("group-expiry", group), *page
        )
        now = self._clock()
        members = [
            member
            for member, expiry in zip(page, expiries, strict=True)
            if expiry is not None and float(expiry) > now
        ]
        return Page(_texts(members), page[-1].decode() if len(rows) > limit else None)

    async def groups(self, connection_id: str) -> tuple[str, ...]:
        key = self._key("groups", connection_id)
        alive = f"({self._clock()!r}"
        return tuple(
            sorted(_texts(await self._execute("groups", "ZRANGEBYSCORE", key, alive, "+inf")))
        )

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        with self._errors("append"):
            self._check_size("append", value)
        done = await self._execute(
            "append",
            "EVALSHA",
            scripts.APPEND,
            1,
            self._key("journal", connection_id),
            position,
            f"{max(expires_at, 0)}\n{value}",
            _second(expires_at),
            repr(self._clock()),
            repeat=False,
        )
        return bool(done)

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        key = self._key("journal", connection_id)
        lengths, joined = await self._execute("journal", "EVALSHA", scripts.JOURNAL, 1, key, after)
        with self._errors("journal"):
            return self._contiguous(after, self._alive_entries(key, after, lengths, joined))

    def _alive_entries(
        self, key: str, after: int, lengths: bytes, joined: bytes
    ) -> Iterator[tuple[int, str]]:
        now = self._clock()
        end = 0
        for position, length in enumerate(map(int, lengths.split()), after + 1):
            start, end = end, end + length
            expires_at, line_feed, value = joined[start:end].partition(b"\n")
            if not line_feed or not expires_at.isdigit():
                raise BackendError(self.name, "journal", f"{key!r} is {errors.NOT_OURS}")
            if int(expires_at) > now:
                yield position, value.decode()

    async def drop_journal(self, connection_id: str) -> None:
        await self._execute("drop_journal", "DEL", self._key("journal", connection_id))

    async def sweep(self) -> int:
        return 0

    async def close(self) -> None:
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            with self._errors("close"):
                await client.redis.aclose(close_connection_pool=True)

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}{kind}:{name}"

    def _index_keys(self) -> tuple[str, str]:
        return f"{self._prefix}connections", f"{self._prefix}connections-expiry"

    def _record_keys(self, connection_id: str) -> tuple[str | int, ...]:
        """Return the number of keys, and the keys, as the scripts take them."""
        return (3, self._key("record", connection_id), *self._index_keys())

    def _membership_keys(self, group: str, connection_id: str) -> tuple[str | int, ...]:
        """Return the number of keys, and the keys, as the scripts take them."""
        return (
            3,
            self._key("group", group),
            self._key("group-expiry", group),
            self._key("groups", connection_id),
        )

    def _alive(self, operation: str, connection_id: str, content: bytes | None) -> Record | None:
        if content is None:
            return None
        match = re.match(rb"([0-9a-f]{16}) ([0-9]+)\n", content)
        if match is None:
            key = self._key("record", connection_id)
            raise BackendError(self.name, operation, f"{key!r} is {errors.NOT_OURS}")
        with self._errors(operation):
            value = content[match.end() :].decode()
        record = Record(value, match[1].decode(), int(match[2]))
        return record if record.expires_at > self._clock() else None

    async def _execute(
        self, operation: str, *command: str | int | bytes, repeat: bool = True
    ) -> Any:
        with self._errors(operation, repeat=repeat):
            client, turns = self._client()
            # Two turns of the loop, and it has seen which connections the server closed while the
            # process was frozen; the pool then replaces them.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            try:
                # The server is not slow where this process has too much to ask at once.
                async with turns, asyncio.timeout(self._timeout):
                    answer = await self._attempts(client, command, repeat=repeat)
            except (exceptions.RedisError, TimeoutError) as error:
                if errors.has_moved(error):
                    # The next operation connects, and so resolves the name, anew.
                    await client.connection_pool.disconnect(inuse_connections=False)
                raise
            self._answered = True
            return answer

    async def _attempts(
        self, client: Redis, command: tuple[str | int | bytes, ...], *, repeat: bool
    ) -> Any:
        try:
            return await self._attempt(client, command)
        except exceptions.ConnectionError as error:
            if not repeat or not errors.is_lost(error):
                raise
        return await self._attempt(client, command)

    async def _attempt(self, client: Redis, command: tuple[str | int | bytes, ...]) -> Any:
        execute: Callable[..., Awaitable[Any]] = client.execute_command
        try:
            return await execute(*command)
        except exceptions.NoScriptError:
            return await execute("EVAL", scripts.SOURCES[str(command[1])], *command[2:])

    def _client(self) -> _Client:
        if self._pid != os.getpid():
            # The parent goes on using these connections: they must not even be closed here, since
            # parent and child share the set of sockets that their loops look at.
            self._inherited = dict(self._clients)
            self._clients.clear()
            self._pid = os.getpid()
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            # What was not closed on a loop that is, goes with it.
            for ended in [each for each in tuple(self._clients) if each.is_closed()]:
                self._clients.pop(ended, None)
            pool = BlockingConnectionPool(
                max_connections=_POOL_SIZE,
                timeout=None,
                protocol=2,
                # `_execute` has the time limit, and repeats what may be done twice.
                socket_timeout=None,
                socket_connect_timeout=None,
                retry=Retry(NoBackoff(), 0),
                **self._options,
            )
            turns = asyncio.Semaphore(_POOL_SIZE)
            self._clients[loop] = _Client(Redis(connection_pool=pool), turns)
        return self._clients[loop]

    @contextlib.contextmanager
    def _errors(self, operation: str, *, repeat: bool = True) -> Iterator[None]:
        try:
            yield
        # ValueError: text that is not valid Unicode.
        except (exceptions.RedisError, OSError, ValueError) as error:
            detail = self._explain(error)
            if not repeat and errors.is_unsure(error):
                detail += "; it may have been done nevertheless"
            cause = errors.without(self._password, error)
            raise BackendError(self.name, operation, detail) from cause

    def _explain(self, error: Exception) -> str:
        if isinstance(error, (TimeoutError, exceptions.TimeoutError)):
            return (
                f"no answer from {self._where} within {self._timeout:.3g} s: the server is"
                " overloaded or stopped, or a security group drops what is sent to it"
            )
        if not isinstance(error, exceptions.RedisError):
            return str(error)
        detail = errors.explain(error, self._where, self._prefix)
        if errors.is_lost(error) and self._plain and not self._answered:
            detail += "; if the server expects TLS, give ssl=True or a rediss:// uri"
        return detail


def _check_host(host: str) -> None:
    # An address of IPv6 has several colons.
    if not re.fullmatch(r"[^\s/@]+", host) or host.count(":") == 1:
        raise ConfigurationError(
            f"host: expected a name or an address, and the port in port, got {shown(host)}"
        )


def _check_alone(**others: object) -> None:
    given = [key for key, is_given in others.items() if is_given]
    if given:
        raise ConfigurationError(f"uri: has everything in it, so do not give {', '.join(given)}")


def _from_uri(uri: str) -> dict[str, Any]:
    """Read a URI into options; no error repeats a part of it that could be the password."""
    expected = (
        "uri: expected redis://user:password@host:port/database or rediss://..., with special"
        " characters of user and password percent-encoded"
    )
    try:
        parts = urlsplit(uri)
        options: dict[str, Any] = {**parse_url(uri)}
        known = parts.scheme in ("redis", "rediss") and not parts.fragment and parts.hostname
        if not known or parts.port == 0 or not re.fullmatch(r"(/[0-9]*)?", parts.path):
            raise ValueError
        options["db"] = int(options.get("db") or 0)
    except (ValueError, TypeError):
        raise ConfigurationError(expected) from None
    for key in parse_qs(parts.query, keep_blank_values=True):
        if key != "db" and not key.startswith("ssl_"):
            raise ConfigurationError("uri: expected no options but db and those of ssl_...")
    options.pop("connection_class", None)
    return {"port": 6379, **options, "ssl": parts.scheme == "rediss"}


def _with_tls(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of connections with TLS, of which one is made to see that they fit."""
    given = {key: option for key, option in options.items() if key.startswith("ssl_")}
    # redis-py 5 does not check the name by itself.
    checked = {"ssl_check_hostname": given.get("ssl_cert_reqs") != "none", **options}
    try:
        SSLConnection(**checked).ssl_context.get()
    except (exceptions.RedisError, OSError, TypeError, ValueError):
        raise ConfigurationError(
            f"uri: redis-py cannot use one of {', '.join(given) or 'its TLS settings'}"
        ) from None
    return {"connection_class": SSLConnection, **checked}


def _where(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _content(version: str, expires_at: int, value: str) -> str:
    return f"{version} {max(expires_at, 0)}\n{value}"


def _second(expires_at: int) -> int:
    """Return an expiry that Redis accepts; it refuses what is not after 1970, and overflows."""
    return min(max(expires_at, 1), _LAST_SECOND)


def _texts(rows: list[bytes]) -> tuple[str, ...]:
    return tuple(row.decode() for row in rows)
