"""A store in three tables of a PostgreSQL database."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any, ClassVar

from longwire_backends.base import BackendError, ConfigurationError
from longwire_backends.postgresql import driver
from longwire_backends.postgresql.connection import (
    ConnectTimeoutError,
    PostgreSQLConnection,
    Statement,
    StatementTimeoutError,
    is_loss,
)
from longwire_backends.postgresql.errors import (
    CHECK_NETWORK,
    MAY_NOT_CREATE,
    OTHER_TABLE,
    UNDEFINED_TABLE,
    UNDONE,
    explain,
)
from longwire_backends.postgresql.link import sqlstate
from longwire_backends.sql import SQLBackend, checked_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire_backends.postgresql.link import Row

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
CREATE TABLE IF NOT EXISTS "{{0}}_journal" (
    connection_id text COLLATE "C" NOT NULL,
    position integer NOT NULL,
    value text NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (connection_id, position)
);
CREATE INDEX IF NOT EXISTS "{{0}}_expiry" ON "{{0}}" (expires_at);
CREATE INDEX IF NOT EXISTS "{{0}}_group_expiry" ON "{{0}}_group" (expires_at);
CREATE INDEX IF NOT EXISTS "{{0}}_group_connection" ON "{{0}}_group" (connection_id, group_name);
CREATE INDEX IF NOT EXISTS "{{0}}_journal_expiry" ON "{{0}}_journal" (expires_at);
"""

# The user's own options win over these.
_DEFAULTS = {"fallback_application_name": "longwire", "keepalives_idle": 60}


class PostgreSQLBackend(SQLBackend):
    """Keeps records, memberships and journals in three tables, over one connection per process.

    The tables are created when the first statement finds one missing, if the role may do that. A
    role that may not does without the last one until the first entry is appended.

    Args:
        uri: where the database is, with any option of libpq; or else the next five.
            https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
        database: its name.
        user: the role.
        password: the role's.
        host: the server's name or address.
        port: the server's.
        connect_timeout: whole seconds until a connection must be open; an option of `uri` wins.
        table_name: the table of records; memberships go to `{table_name}_group`, and journals to
            `{table_name}_journal`.
        timeout: seconds until a statement must be answered.
        clock: epoch seconds; tests hand in their own.

    Raises:
        ConfigurationError: an argument is wrong; the text never shows the URI or the password.
    """

    name = "postgresql"
    # PostgreSQL keeps up to 1 GB, but a text that has to be converted may take four times its size
    # on the way.
    record_limit: ClassVar[int | None] = 255 * 1024 * 1024

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
        super().__init__(checked_table(table_name, _LONGEST_TABLE), clock=clock)
        self._driver = driver.installed()
        given = {"host": host, "port": port, "user": user, "password": password}
        if uri is None:
            parameters = _checked_parts(given | {"dbname": database})
        else:
            given["port"] = None if port == 5432 else port
            _check_alone(given | {"database": database})
            parameters = self._parsed(uri)
        self._address = _address(parameters)
        limit = _whole_seconds(parameters.pop("connect_timeout", connect_timeout))
        options = _DEFAULTS | parameters | {"client_encoding": "UTF8"}
        self._connection = PostgreSQLConnection(self._driver, options, limit, timeout)

    async def create(self) -> tuple[str, ...]:
        there = {
            self._table: await self._exists(self._table, "connection_id, value, version"),
            self._members: await self._exists(self._members, "group_name, connection_id"),
            self._entries: await self._exists(self._entries, "connection_id, position, value"),
        }
        if not all(there.values()):
            await self._create_tables("create")
        return tuple(
            f"table {table} is there already" if exists else f"created table {table}"
            for table, exists in there.items()
        )

    def _parsed(self, uri: str) -> dict[str, Any]:
        try:
            parameters = self._driver.parse(uri)
        except self._driver.error:
            parameters = {}
        _check_uri(uri, parameters)
        return parameters

    def _sweeping(self, table: str) -> str:
        # A row that somebody else has locked is being renewed or deleted.
        return (
            f'DELETE FROM "{table}" WHERE ctid = ANY (ARRAY (SELECT ctid FROM "{table}"'
            " WHERE expires_at <= ? LIMIT ? FOR UPDATE SKIP LOCKED)) RETURNING 1"
        )

    async def close(self) -> None:
        await self._connection.close()

    async def _exists(self, table: str, columns: str) -> bool:
        sql = f'SELECT count(*) FROM (SELECT {columns}, expires_at FROM "{table}" LIMIT 0) AS "all"'
        return bool(await self._execute("create", sql, (), creates=False))

    async def _create_tables(self, operation: str) -> None:
        try:
            await self._execute(operation, _CREATE.format(self._table), ())
        except BackendError as error:
            if sqlstate(error.__cause__) not in MAY_NOT_CREATE:
                raise
            raise BackendError(self.name, operation, self._init_text()) from error.__cause__

    async def _execute(
        self,
        operation: str,
        sql: str,
        parameters: tuple[object, ...],
        *,
        repeatable: bool = True,
        creates: bool = True,
    ) -> list[Row]:
        statement = Statement(self._driver.statement(sql), parameters, repeatable)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._connection.execute(statement)
            # ValueError: text that PostgreSQL cannot keep. RuntimeError: no thread can be started.
            except (self._driver.error, TimeoutError, ValueError, RuntimeError) as error:
                code = sqlstate(error)
                if code == UNDEFINED_TABLE and not creates:
                    return []
                # What is undone for the sake of another one may be run again, whatever it is.
                if code not in (UNDEFINED_TABLE, *UNDONE) or attempt == _ATTEMPTS:
                    raise self._error(operation, error, repeatable) from error
            if code == UNDEFINED_TABLE:
                await self._create_tables(operation)

    def _error(self, operation: str, error: Exception, repeatable: bool) -> BackendError:
        detail = self._detail(error)
        unsure = isinstance(error, StatementTimeoutError) or is_loss(self._driver, error)
        if unsure and not repeatable:
            detail += "; it may have been done nevertheless"
        return BackendError(self.name, operation, detail)

    def _detail(self, error: Exception) -> str:
        if sqlstate(error) in OTHER_TABLE:
            return (
                f"the table {self._table}, {self._members} or {self._entries} is not one of"
                " Longwire's, give another table_name"
            )
        if isinstance(error, ConnectTimeoutError):
            return f"{self._address} does not answer: {error} (connect_timeout); {CHECK_NETWORK}"
        return explain(error, self._address)

    def _init_text(self) -> str:
        return (
            f"the role may not create the tables {self._table}, {self._members} and"
            f" {self._entries}; let a role that may run this once:"
            " longwire init --backend postgresql"
            f' --params \'{{"table_name": "{self._table}", "uri": "..."}}\''
        )


def _check_alone(others: dict[str, Any]) -> None:
    given = ", ".join(key for key, value in others.items() if value is not None)
    if given:
        raise ConfigurationError(f"uri: has everything in it, so do not give {given}")


def _checked_parts(parts: dict[str, Any]) -> dict[str, Any]:
    if None in parts.values():
        raise ConfigurationError("expected uri, or database, user, password and host")
    return parts


def _check_uri(uri: str, parameters: dict[str, Any]) -> None:
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


def _whole_seconds(value: object) -> int:
    if re.fullmatch("[1-9][0-9]*", str(value)):
        return int(str(value))
    raise ConfigurationError(f"connect_timeout: expected whole seconds from 1 on, got {value!r}")


def _address(parameters: dict[str, Any]) -> str:
    """Tell where a server is said to be; there may be several, separated by commas."""
    hosts = parameters.get("host") or parameters.get("hostaddr") or os.environ.get("PGHOST")
    port = parameters.get("port") or os.environ.get("PGPORT") or 5432
    return f"{hosts or 'localhost'}:{port}"
