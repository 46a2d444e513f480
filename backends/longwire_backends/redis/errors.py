"""What went wrong between redis-py and a Redis server, and what to do about it."""

from __future__ import annotations

import os
import re
import socket

from redis import exceptions

NOT_OURS = "not one of Longwire's, give another key_prefix"

# What to do about an error, by its class or else by the server's words, which scripts wrap.
_ADVICE: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (exceptions.NoPermissionError,),
        r"no permissions|can't run this command|can't access at least one",
        "the user lacks permissions at {where}: it needs all commands of @read, @write,"
        " @scripting and @connection on the keys {prefix}*",
    ),
    (
        (exceptions.AuthenticationError,),
        r"Authentication required|invalid username-password",
        "{where} does not accept the login: check username and password",
    ),
    (
        (exceptions.OutOfMemoryError,),
        r"\bOOM\b|used memory > 'maxmemory'",
        "{where} is out of memory: raise its maxmemory, or choose an eviction policy",
    ),
    (
        (exceptions.BusyLoadingError,),
        r"\bLOADING\b",
        "{where} is still loading its data: try again shortly",
    ),
    (
        (exceptions.ReadOnlyError,),
        r"\bREADONLY\b|read only replica",
        "{where} is a read-only replica: give the primary's endpoint",
    ),
    (
        (
            exceptions.AskError,
            exceptions.ClusterDownError,
            exceptions.ClusterCrossSlotError,
        ),
        r"\b(MOVED|CROSSSLOT|CLUSTERDOWN)\b|cluster mode",
        "{where} runs in Cluster mode, which is not supported: give a server without it",
    ),
    (
        (),
        r"(?i)unknown (redis )?command|syntax error",
        "{where} does not know a command: it needs Redis 6.2 or newer",
    ),
    (
        (),
        r"max number of clients",
        "{where} has too many clients: raise its maxclients, or limit the function's concurrency",
    ),
    (
        (),
        r"wrong kind of value",
        f"a key under {{prefix}} is {NOT_OURS}",
    ),
    (
        (exceptions.InvalidResponse,),
        r"^Protocol Error",
        "{where} does not speak Redis's protocol: check host, port and ssl",
    ),
)


def explain(error: exceptions.RedisError, where: str, prefix: str) -> str:
    """Say what happened and what to do about it."""
    if _is_unreachable(error):
        return (
            f"cannot connect to {where}: {_reason(error)}; check host, port and ssl, and that the"
            " function's VPC and security groups let it through"
        )
    for classes, words, advice in _ADVICE:
        if isinstance(error, classes) or re.search(words, str(error)):
            return advice.format(where=where, prefix=prefix)
    if isinstance(error, exceptions.ConnectionError):
        return f"the connection to {where} broke before the answer came"
    return f"{where} answers: {error}"


def _reason(error: BaseException) -> str:
    """Return what the system said, which redis-py has somewhere behind its own error."""
    reason: BaseException | None = error
    while reason is not None and not isinstance(reason, OSError):
        reason = reason.__cause__ or reason.__context__
    if isinstance(reason, socket.gaierror):
        return f"the name cannot be resolved: {reason.strerror}"
    if isinstance(reason, ConnectionError) and reason.errno:
        # asyncio's own text names the address, not what was wrong with it.
        return os.strerror(reason.errno)
    if reason is None and (said := re.match(r"Error ([0-9]+) connecting to", str(error))):
        return os.strerror(int(said[1]))  # behind the replacement of a dead connection it is lost
    return str(reason or error)


def has_moved(error: Exception) -> bool:
    """Tell whether the server may be elsewhere by now: it is gone, silent, or only a replica."""
    read_only = isinstance(error, exceptions.ReadOnlyError) or "read only" in str(error)
    return read_only or not isinstance(error, exceptions.ResponseError)


def is_unsure(error: Exception) -> bool:
    """Tell whether the server may have done what it was asked."""
    return isinstance(error, TimeoutError) or is_lost(error)


def is_lost(error: Exception) -> bool:
    """Tell whether a connection broke that had been made."""
    known = (exceptions.AuthenticationError, exceptions.BusyLoadingError)
    return (
        isinstance(error, exceptions.ConnectionError)
        and not isinstance(error, known)
        and not _is_unreachable(error)
        and "max number of clients" not in str(error)
    )


def _is_unreachable(error: Exception) -> bool:
    # redis-py has no class for it, only its text.
    return isinstance(error, exceptions.ConnectionError) and "connecting to" in str(error)


def without(password: str, error: Exception) -> Exception:
    """Return the error, or one without the password that a server has repeated in its answer."""
    if not password or password not in str(error):
        return error
    return exceptions.RedisError(str(error).replace(password, "***"))
