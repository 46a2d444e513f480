"""What PostgreSQL and its drivers say when something is wrong, and what to do about it."""

from __future__ import annotations

import re

from longwire_backends.postgresql.link import sqlstate

# SQLSTATE codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
UNDEFINED_TABLE = "42P01"
# A statement that the server gave up for another one: serialization_failure, deadlock_detected.
UNDONE = ("40001", "40P01")
# What a statement meets in a table that has other columns, or that is none.
OTHER_TABLE = (
    "42703",  # undefined_column
    "42P10",  # invalid_column_reference
    "42804",  # datatype_mismatch
    "42883",  # undefined_function
    "23502",  # not_null_violation
    "42809",  # wrong_object_type
)
MAY_NOT_CREATE = ("42501", "3F000")  # insufficient_privilege, invalid_schema_name

_PREAMBLE = r"^(connection to server .*? failed: )?((FATAL|ERROR|PANIC): +)?"
CHECK_NETWORK = "check host and port, and that the function's network leads there"
_POOL = "raise max_connections, or put a pooler such as PgBouncer or RDS Proxy in front"
_LOST = "the connection to {address} broke before an answer came"
# By SQLSTATE and text, as "57P01 terminating ..."; while a connection is opened there is no code.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_ADVICE = (
    ("no answer within", "{address} is too busy or out of reach, or another client holds a lock"),
    ("Connection refused", "nothing listens at {address}: check host and port, start the server"),
    (
        "(translate|resolve) host name|Name or service",
        "check host, and that names can be looked up from here",
    ),
    ("timed out|unreachable|No route", f"{{address}} cannot be reached: {CHECK_NETWORK}"),
    ("(password|SCRAM) authentication|no password|^28", "check user and password"),
    ("^(None|3D000) database .* does not exist", "create it, or give another database"),
    ("^53300|too many (clients|connections)|connection slots", _POOL),
    ("(starting up|shutting down|recovery mode)", "try again when it is up"),
    ("no pg_hba.conf entry", "allow this client there, or add sslmode=require to uri"),
    ("^25006", "this server is read-only: give the address of the primary"),
    ("^42501", "grant the role what it needs on all three tables"),
    ("^53100", "the server's disk is full: make room"),
    ("^57014", "the server has a limit or somebody who cancels: see statement_timeout"),
    ("^57P0[125]|^08|closed the connection|terminating|reset by peer|SSL connection", _LOST),
)


def explain(error: Exception, address: str) -> str:
    """Make one line of an error: what was said, and what to do."""
    said = _condensed(error)
    for pattern, advice in _ADVICE:
        if re.search(pattern, f"{sqlstate(error)} {said}"):
            return f"{said}; {advice.format(address=address)}"
    return said


def _condensed(error: Exception) -> str:
    """Return an error's text as one line, without what every one of them begins with."""
    told: str | None = getattr(getattr(error, "diag", None), "message_primary", None)
    if told:
        return told
    # The lines below it are hints, for which we have our own, or parts of the statement.
    line = str(error).strip().partition("\n")[0]
    return re.sub(_PREAMBLE, "", line) or type(error).__name__
