"""psycopg2, in its own asynchronous mode."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2.extensions import parse_dsn

from longwire_backends.postgresql.link import Driver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg2.extensions import cursor as Cursor

    from longwire_backends.postgresql.link import Row


class Psycopg2Link:
    """A connection of psycopg2."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._connection = psycopg2.connect(**parameters, async_=True)
        self._cursor: Cursor | None = None
        self.fileno = self._connection.fileno
        self.poll = self._connection.poll

    def begin(self, sql: str, parameters: tuple[object, ...]) -> None:
        if self._cursor is None:
            self._cursor = self._connection.cursor()
        self._cursor.execute(sql, parameters or None)

    def rows(self) -> list[Row]:
        cursor = self._cursor
        return cursor.fetchall() if cursor is not None and cursor.description else []

    def is_usable(self) -> bool:
        return not self._connection.closed and not self._connection.isexecuting()

    def close(self) -> None:
        self._connection.close()


@lru_cache
def _statement(sql: str) -> str:
    return sql.replace("?", "%s")


DRIVER = Driver(
    psycopg2.Error,
    (psycopg2.OperationalError, psycopg2.InterfaceError),
    Psycopg2Link,
    parse_dsn,
    _statement,
)
