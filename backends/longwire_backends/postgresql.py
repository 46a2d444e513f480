"""A store in two tables of a PostgreSQL database."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import parse_dsn

from longwire_backends.base import Backend, BackendError, ConfigurationError, Page, Record
from longwire_backends.postgresql_connection import (
    ConnectTimeoutError,
    PostgreSQLConnection,
    Statement,
)
from longwire_backends.postgresql_errors import (
    CHECK_NETWORK,
    MAY_NOT_CREATE,
    OTHER_TABLE,
    explain,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from longwire_backends.postgresql_connection import Row

# Rows that one statement of `sweep` deletes, to stay far below the time limit of a statement.
_SWEEP_BATCH = 1000

# Times that a statement is run when the server undoes it to let another one through.
_ATTEMPTS = 10

# PostgreSQL cuts longer names off, and "_group_connection" is the longest thing we append.
_LONGEST_TABLE = 63 - len("_group_connection")

# Made together in one transaction, which a query of several statements is by itself. Two that
# create one table at the same time would fail in spite of IF NOT EXISTS, hence the lock.
# The columns compare by bytes, as Python sorts, and not by the rules of a language.
_CREATE = f"""
SELECT pg_advisory_xact_lock({int.from_bytes(b"longwire")});
CREATE TABLE IF NOT EXISTS "{{0}}" (
    connection_id text COLLATE "C" NOT NULL PRIMARY KEY,
    value text NOT NULL,
    version text COLLATE "C" NOT NULL,
    expires_at bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS "{{0}}_group" (
    group_name text COLLATE "C" NOT NULL,
    connection_id text COLLATE "C" NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (group_name, connection_id)
);
CREATE INDEX IF NOT EXISTS "{{0}}_expiry" ON "{{0}}" (expires_at);
CREATE INDEX IF NOT EXISTS "{{0}}_group_expiry" ON "{{0}}_group" (expires_at);
CREATE INDEX IF NOT EXISTS "{{0}}_group_connection" ON "{{0}}_group" (connection_id, group_name);
"""

# The user's own options win over these.
_DEFAULTS = {"fallback_application_name": "longwire", "keepalives_idle": 60}


class PostgreSQLBackend(Backend):
    """Keeps records and memberships in two tables, over one connection per process.

    The tables are created when the first statement finds them missing, if the role may do that.

    Args:
        uri: where the database is, with any option of libpq; or else the next five.
            https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
        database: its name.
        user: the role.
        password: the role's.
        host: the server's name or address.
        port: the server's.
        connect_timeout: whole seconds until a connection must be open; an option of `uri` wins.
        table_name: the table of records; memberships go to `{table_name}_group`.
        timeout: seconds until a statement must be answered.
        clock: epoch seconds; tests hand in their own.

    Raises:
        ConfigurationError: an argument is wrong; the text never shows the URI or the password.
    """

    name = "postgresql"
    # PostgreSQL keeps up to 1 GB, but a text that has to be converted may take four times its size
    # on the way.
    record_limit = 255 * 1024 * 1024

    def __init__(
        self,
        *,
        uri: str | None = None,
        database: str | None = None,
        user: str | None = None,
        password: str | None = None,
        host: str | None = None,
        port: int = 5432,
        connect_timeout: int = 5,
        table_name: str = "connection",
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock=clock)
        self._table = _checked_table(table_name)
        self._members = f"{self._table}_group"
        given = {"host": host, "port": port, "user": user, "password": password}
        if uri is None:
            parameters = _checked_parts(given | {"dbname": database})
        else:
            parameters = _parsed_uri(uri)
        self._address = _address(parameters)
        limit = _whole_seconds(parameters.pop("connect_timeout", connect_timeout))
        self._connection = PostgreSQLConnection(
            _DEFAULTS | parameters | {"client_encoding": "UTF8"}, limit, timeout
        )

    async def create(self) -> tuple[str, ...]:
        there = {
            self._table: await self._exists(self._table, "connection_id, value, version"),
            self._members: await self._exists(self._members, "group_name, connection_id"),
        }
        if not all(there.values()):
            await self._create_tables("create")
        return tuple(
            f"table {table} is there already" if exists else f"created table {table}"
            for table, exists in there.items()
        )

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        self._check_size("put", value)
        version = _new_version()
        await self._execute(
            "put",
            f'INSERT INTO "{self._table}" (connection_id, value, version, expires_at)'
            " VALUES (%s, %s, %s, %s) ON CONFLICT (connection_id) DO UPDATE SET"
            " value = excluded.value, version = excluded.version, expires_at = excluded.expires_at",
            (connection_id, value, version, expires_at),
        )
        return version

    async def get(self, connection_id: str) -> Record | None:
        rows = await self._execute(
            "get",
            f'SELECT value, version, expires_at FROM "{self._table}"'
            " WHERE connection_id = %s AND expires_at > %s",
            (connection_id, self._now()),
        )
        return Record(*rows[0]) if rows else None

    async def take(self, connection_id: str) -> Record | None:
        rows = await self._execute(
            "take",
            f'DELETE FROM "{self._table}" WHERE connection_id = %s AND expires_at > %s'
            " RETURNING value, version, expires_at",
            (connection_id, self._now()),
            repeatable=False,
        )
        return Record(*rows[0]) if rows else None

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        self._check_size("update", value)
        new_version = _new_version()
        rows = await self._execute(
            "update",
            f'UPDATE "{self._table}" SET value = %s, version = %s, expires_at = %s'
            " WHERE connection_id = %s AND version = %s AND expires_at > %s RETURNING 1",
            (value, new_version, expires_at, connection_id, version, self._now()),
            repeatable=False,
        )
        return new_version if rows else None

    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        await self._execute(
            "group_add",
            f'INSERT INTO "{self._members}" (group_name, connection_id, expires_at)'
            " VALUES (%s, %s, %s) ON CONFLICT (group_name, connection_id) DO UPDATE SET"
            " expires_at = excluded.expires_at",
            (group, connection_id, expires_at),
        )

    async def group_discard(self, group: str, connection_id: str) -> None:
        await self._execute(
            "group_discard",
            f'DELETE FROM "{self._members}" WHERE group_name = %s AND connection_id = %s',
            (group, connection_id),
        )

    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        rows = await self._execute(
            "group_members",
            f'SELECT connection_id FROM "{self._members}"'
            " WHERE group_name = %s AND connection_id > %s AND expires_at > %s"
            " ORDER BY connection_id LIMIT %s",
            # One more than asked for tells whether there is a next page.
            (group, after or "", self._now(), limit + 1),
        )
        members = tuple(connection_id for (connection_id,) in rows[:limit])
        return Page(members, members[-1] if len(rows) > limit else None)

    async def groups(self, connection_id: str) -> tuple[str, ...]:
        rows = await self._execute(
            "groups",
            f'SELECT group_name FROM "{self._members}"'
            " WHERE connection_id = %s AND expires_at > %s ORDER BY group_name",
            (connection_id, self._now()),
        )
        return tuple(group for (group,) in rows)

    async def sweep(self) -> int:
        now = self._now()
        return await self._sweep_table(self._table, now) + await self._sweep_table(
            self._members, now
        )

    async def _sweep_table(self, table: str, now: int) -> int:
        deleted = 0
        while True:
            rows = await self._execute(
                "sweep",
                # A row that somebody else has locked is being renewed or deleted.
                f'DELETE FROM "{table}" WHERE expires_at <= %s AND ctid = ANY (ARRAY'
                f' (SELECT ctid FROM "{table}" WHERE expires_at <= %s LIMIT %s'
                " FOR UPDATE SKIP LOCKED)) RETURNING 1",
                (now, now, _SWEEP_BATCH),
            )
            deleted += len(rows)
            if len(rows) < _SWEEP_BATCH:
                return deleted

    async def close(self) -> None:
        with self._errors("close"):
            await self._connection.close()

    def _now(self) -> int:
        # As a fraction it would make the server compare numbers that no index helps with.
        return math.floor(self._clock())

    async def _exists(self, table: str, columns: str) -> bool:
        with self._errors("create"):
            try:
                await self._run(Statement(f'SELECT {columns}, expires_at FROM "{table}" LIMIT 0'))
            except errors.UndefinedTable:
                return False
        return True

    async def _create_tables(self, operation: str) -> None:
        try:
            with self._errors(operation):
                await self._run(Statement(_CREATE.format(self._table)))
        except BackendError as error:
            if not isinstance(error.__cause__, MAY_NOT_CREATE):
                raise
            raise BackendError(self.name, operation, self._init_text()) from error.__cause__

    async def _execute(
        self,
        operation: str,
        sql: str,
        parameters: tuple[object, ...],
        *,
        repeatable: bool = True,
    ) -> list[Row]:
        statement = Statement(sql, parameters, repeatable)
        with self._errors(operation):
            try:
                return await self._run(statement)
            except errors.UndefinedTable:
                await self._create_tables(operation)
            return await self._run(statement)

    async def _run(self, statement: Statement) -> list[Row]:
        for _ in range(_ATTEMPTS - 1):
            # What is undone for the sake of another one may be run again, whatever it is.
            with contextlib.suppress(errors.SerializationFailure, errors.DeadlockDetected):
                return await self._connection.execute(statement)
        return await self._connection.execute(statement)

    @contextlib.contextmanager
    def _errors(self, operation: str) -> Iterator[None]:
        try:
            yield
        # ValueError: text that PostgreSQL cannot keep. RuntimeError: no thread can be started.
        except (psycopg2.Error, TimeoutError, ValueError, RuntimeError) as error:
            raise BackendError(self.name, operation, self._detail(error)) from error

    def _detail(self, error: Exception) -> str:
        if isinstance(error, OTHER_TABLE):
            return (
                f"the table {self._table} or {self._members} is not one of Longwire's,"
                " give another table_name"
            )
        if isinstance(error, ConnectTimeoutError):
            return f"{self._address} does not answer: {error} (connect_timeout); {CHECK_NETWORK}"
        return explain(error, self._address)

    def _init_text(self) -> str:
        return (
            f"the role may not create the tables {self._table} and {self._members}; let a role that"
            " may run this once: longwire init --backend postgresql"
            f' --params \'{{"table_name": "{self._table}", "uri": "..."}}\''
        )


def _checked_table(table_name: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", table_name) and len(table_name) <= _LONGEST_TABLE:
        return table_name
    raise ConfigurationError(
        f"table_name: expected at most {_LONGEST_TABLE} letters, digits and underscores,"
        f" not a digit first, got {table_name!r}"
    )


def _checked_parts(parts: dict[str, Any]) -> dict[str, Any]:
    if None in parts.values():
        raise ConfigurationError("expected uri, or database, user, password and host")
    return parts


def _parsed_uri(uri: str) -> dict[str, Any]:
    try:
        parameters = parse_dsn(uri)
    except psycopg2.Error:
        parameters = {}
    ports = parameters.get("port", "").split(",")
    # An unescaped character can move the rest of a password into the host's or database's name.
    parts = uri.partition("?")[0].partition("://")[2]
    moved = parts.count("@") > 1 or "@" in parts.partition("/")[2]
    if not parameters or moved or not all(re.fullmatch("[0-9]{0,5}", port) for port in ports):
        # Not chained: the texts of libpq repeat parts of the URI, passwords among them.
        raise ConfigurationError(
            "uri: expected for example postgresql://user:password@host:5432/database,"
            " with special characters percent-encoded"
        )
    return parameters


def _whole_seconds(value: object) -> int:
    if re.fullmatch("[1-9][0-9]*", str(value)):
        return int(str(value))
    raise ConfigurationError(f"connect_timeout: expected whole seconds from 1 on, got {value!r}")


def _address(parameters: dict[str, Any]) -> str:
    """Tell where a server is said to be; there may be several, separated by commas."""
    hosts = parameters.get("host") or parameters.get("hostaddr") or os.environ.get("PGHOST")
    port = parameters.get("port") or os.environ.get("PGPORT") or 5432
    return f"{hosts or 'localhost'}:{port}"


def _new_version() -> str:
    return os.urandom(8).hex()
