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
import os
import time
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from longwire_backends.base import (
    Backend,
    BackendError,
    ConfigurationError,
    Page,
    Record,
    new_version,
)
from longwire_backends.redis import errors, scripts
from longwire_backends.redis.pool import LostError, Pool
from longwire_backends.redis.server import Server, check_alone, check_host, from_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from longwire_backends.redis.resp import Word

# Seconds since 1970 that Redis can still count in milliseconds, and that a score keeps exactly.
_LAST_SECOND = 1 << 43


class RedisBackend(Backend):
    """Keeps records, memberships and journals in one database of a Redis server.

    Connects at first use, and whenever a connection was lost. A lost connection is an error only
    to `take`, `update` and `append`, which may or may not have been done; the others are repeated
    once.

    Args:
        uri: redis:// or rediss:// (TLS), with user, password, host, port and database in it, and
            `ssl_` options as its query; instead of all the arguments up to `ssl`.
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
            check_alone(port=port != 6379, username=username, password=password, db=db, ssl=ssl)
            self._server = from_uri(uri)
        else:
            check_host(host or "")
            self._server = Server(host or "", port, username, password, db, ssl)
        self._timeout = timeout
        self._prefix = key_prefix
        self._answered = False
        # A connection belongs to the loop that opened it, and to no other process.
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}
        self._process = os.getpid()
        weakref.finalize(self, _close_pools, self._pools)

    async def create(self) -> tuple[str, ...]:
        await self._execute("create", "PING")
        return (f"{self._server} answers; there is nothing to create",)

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
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
        key = self._key("record", connection_id)
        return self._alive("get", key, await self._execute("get", "GET", key))

    async def take(self, connection_id: str) -> Record | None:
        keys = self._record_keys(connection_id)
        content = await self._execute(
            "take", "EVALSHA", scripts.TAKE, *keys, connection_id, repeat=False
        )
        return self._alive("take", str(keys[1]), content)

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
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
        key = self._index_keys()[0]
        texts = self._texts("connections", key, ids if last is None else [*ids, last])
        return Page(texts, None) if last is None else Page(texts[:-1], texts[-1])

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
        key = self._key("group", group)
        rows = await self._execute(
            "group_members",
            "ZRANGEBYLEX",
            key,
            "-" if after is None else f"({after}",
            "+",
            "LIMIT",
            0,
            limit + 1,
        )
        names = self._texts("group_members", key, rows[:limit])
        if not names:
            return Page((), None)
        expiries = await self._execute(
            "group_members", "ZMSCORE", self._key("group-expiry", group), *names
        )
        now = self._clock()
        members = tuple(
            name
            for name, expiry in zip(names, expiries, strict=True)
            if expiry is not None and float(expiry) > now
        )
        return Page(members, names[-1] if len(rows) > limit else None)

    async def groups(self, connection_id: str) -> tuple[str, ...]:
        key = self._key("groups", connection_id)
        alive = f"({self._clock()!r}"
        rows = await self._execute("groups", "ZRANGEBYSCORE", key, alive, "+inf")
        return tuple(sorted(self._texts("groups", key, rows)))

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
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
                raise self._not_ours("journal", key)
            if int(expires_at) > now:
                yield position, self._text("journal", key, value)

    async def drop_journal(self, connection_id: str) -> None:
        await self._execute("drop_journal", "DEL", self._key("journal", connection_id))

    async def sweep(self) -> int:
        return 0

    async def close(self) -> None:
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            pool.close()

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

    def _alive(self, operation: str, key: str, content: bytes | None) -> Record | None:
        if content is None:
            return None
        line, line_feed, value = self._text(operation, key, content).partition("\n")
        version, _, expires_at = line.partition(" ")
        if not (line_feed and len(version) == 16 and expires_at.isdecimal()):
            raise self._not_ours(operation, key)
        record = Record(value, version, int(expires_at))
        return record if record.expires_at > self._clock() else None

    def _text(self, operation: str, key: str, value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise self._not_ours(operation, key) from error

    def _texts(self, operation: str, key: str, rows: list[bytes]) -> tuple[str, ...]:
        return tuple(self._text(operation, key, row) for row in rows)

    def _not_ours(self, operation: str, key: str) -> BackendError:
        return BackendError(self.name, operation, f"{key!r} is {errors.NOT_OURS}")

    async def _execute(self, operation: str, *command: Word, repeat: bool = True) -> Any:
        pool = self._pool()
        try:
            answer = await pool.ask(command, repeat=repeat, timeout=self._timeout)
        # ValueError: text that is not valid Unicode.
        except (*errors.OF_SERVER, ValueError) as error:
            if errors.has_moved(error):
                pool.forget()
            cause = errors.without(self._server.password, error)
            detail = self._explain(cause)
            if not repeat and errors.is_unsure(error):
                detail += "; it may have been done nevertheless"
            raise BackendError(self.name, operation, detail) from cause
        self._answered = True
        return answer

    def _pool(self) -> Pool:
        if self._process != os.getpid():  # forked: the parent goes on using its connections
            _close_pools(self._pools)
            self._process = os.getpid()
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            for ended in [each for each in tuple(self._pools) if each.is_closed()]:
                self._pools.pop(ended).close()
            pool = self._pools[loop] = Pool(self._server)
        return pool

    def _explain(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return (
                f"no answer from {self._server} within {self._timeout:.3g} s: the server is"
                " overloaded or stopped, or a security group drops what is sent to it"
            )
        if isinstance(error, ValueError):
            return str(error)
        detail = errors.explain(error, str(self._server), self._prefix)
        if isinstance(error, LostError) and not self._server.tls and not self._answered:
            detail += "; if the server expects TLS, give ssl=True or a rediss:// uri"
        return detail


def _close_pools(pools: dict[asyncio.AbstractEventLoop, Pool]) -> None:
    while pools:
        pools.popitem()[1].close()


def _content(version: str, expires_at: int, value: str) -> str:
    return f"{version} {max(expires_at, 0)}\n{value}"


def _second(expires_at: int) -> int:
    """Return an expiry that Redis accepts; it refuses what is not after 1970, and overflows."""
    return min(max(expires_at, 1), _LAST_SECOND)
