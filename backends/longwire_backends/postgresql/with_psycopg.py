"""psycopg 3, of which only its thin layer over libpq is used.

A statement and its parameters go out together and unnamed: one answer for each, and no pooler in
between has to know of statements that were prepared on another connection.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import error_from_result

from longwire_backends.postgresql.link import DONE, READ, WRITE, Driver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg.pq.abc import PGresult

    from longwire_backends.postgresql.link import Row

# pg_type.oid of bigint and integer, the only types here that are no text. A parameter that is a
# text has no type (0), as one that is written into a statement.
_BIGINT, _INTEGERS = 20, (20, 23)
_WAITING = {pq.PollingStatus.READING: READ, pq.PollingStatus.WRITING: WRITE}


class PsycopgLink:
    """A connection of psycopg's libpq."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._connection = pq.PGconn.connect_start(make_conninfo("", **parameters).encode())
        self._opening = True
        self._results: list[PGresult] = []

    def fileno(self) -> int:
        return self._connection.socket

    def poll(self) -> int:
        if self._opening:
            return self._poll_opening()
        connection = self._connection
        try:
            is_sent = not connection.flush()
            connection.consume_input()
            if not is_sent:
                return READ | WRITE  # a server that ends the connection reads no more
        except psycopg.OperationalError:
            # What the server had said before is the better reason, and stands in a result.
            if connection.status == pq.ConnStatus.OK:
                raise
        while not connection.is_busy():
            result = connection.get_result()
            if result is None:
                return DONE
            self._results.append(result)
        return READ

    def _poll_opening(self) -> int:
        status = pq.PollingStatus(self._connection.connect_poll())
        if status == pq.PollingStatus.FAILED:
            raise psycopg.OperationalError(_text(self._connection.error_message))
        if status == pq.PollingStatus.OK:
            self._connection.nonblocking = 1
            self._opening = False
        return _WAITING.get(status, DONE)

    def begin(self, sql: str, parameters: tuple[object, ...]) -> None:
        self._results = []
        statement = sql.encode()
        if not parameters:  # there may be several in one
            self._connection.send_query(statement)
            return
        values = [str(parameter).encode() for parameter in parameters]
        if any(b"\0" in value for value in values):
            raise ValueError("a text with NUL cannot be kept")  # libpq would cut it off there
        types = [_BIGINT if isinstance(one, int) else 0 for one in parameters]
        self._connection.send_query_params(statement, values, types)

    def rows(self) -> list[Row]:
        results, self._results = self._results, []
        for result in results:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise _error(result)
        return _rows(results[-1]) if results else []

    def is_usable(self) -> bool:
        return self._connection.transaction_status == pq.TransactionStatus.IDLE

    def close(self) -> None:
        self._connection.finish()


def _rows(result: PGresult) -> list[Row]:
    value = result.get_value
    is_integer = [result.ftype(column) in _INTEGERS for column in range(result.nfields)]
    return [
        tuple(
            int(value(row, column) or b"") if integer else (value(row, column) or b"").decode()
            for column, integer in enumerate(is_integer)
        )
        for row in range(result.ntuples)
    ]


def _error(result: PGresult) -> psycopg.Error:
    if result.error_field(pq.DiagnosticField.SQLSTATE):
        return error_from_result(result)
    return psycopg.OperationalError(_text(result.error_message))


def _text(message: bytes) -> str:
    return message.decode(errors="replace")


@lru_cache
def _statement(sql: str) -> str:
    first, *rest = sql.split("?")
    return first + "".join(f"${n}{part}" for n, part in zip(count(1), rest))


DRIVER = Driver(
    psycopg.Error,
    (psycopg.OperationalError, psycopg.InterfaceError),
    PsycopgLink,
    conninfo_to_dict,
    _statement,
)
