"""What a Redis server complains of, and what to do about it."""

from __future__ import annotations

import re

from longwire_backends.redis.pool import (
    LostError,
    LostLoginError,
    UnreachableError,
    UnsentError,
)
from longwire_backends.redis.resp import ProtocolError, ServerError

OF_SERVER = (LostError, ProtocolError, ServerError, TimeoutError, UnreachableError)
NOT_OURS = "not one of Longwire's, give another key_prefix"

# By the server's words, which scripts wrap.
_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"\bNOPERM\b|no permissions|can't run this command|can't access at least one",
        "the user lacks permissions at {where}: it needs all commands of @read, @write,"
        " @scripting and @connection, and select, on the keys {prefix}*",
    ),
    (
        r"(?i)authentication required|invalid username-password|invalid password"
        r"|without any password configured|no password is set",
        "{where} does not accept the login: check username and password",
    ),
    (
        r"\bOOM\b|used memory > 'maxmemory'",
        "{where} is out of memory: raise its maxmemory, or choose an eviction policy",
    ),
    (r"\bLOADING\b", "{where} is still loading its data: try again shortly"),
    (
        r"\bREADONLY\b|read only replica",
        "{where} is a read-only replica: give the primary's endpoint",
    ),
    (
        r"\b(MOVED|ASK|CROSSSLOT|CLUSTERDOWN)\b|cluster mode",
        "{where} runs in Cluster mode, which is not supported: give a server without it",
    ),
    (
        r"(?i)unknown (redis )?command|syntax error",
        "{where} does not know a command: it needs Redis 6.2 or newer",
    ),
    (
        r"max number of clients",
        "{where} has too many clients: raise its maxclients, or limit the function's concurrency",
    ),
    (r"wrong kind of value", f"a key under {{prefix}} is {NOT_OURS}"),
)


def explain(error: Exception, where: str, prefix: str) -> str:
    """Say what happened and what to do about it."""
    match error:
        case UnreachableError():
            return (
                f"cannot connect to {where}: {error}; check host, port and ssl, and that the"
                " function's VPC and security groups let it through"
            )
        case LostError():
            why = str(error) and f": {error}"
            return f"the connection to {where} broke before the answer came{why}"
        case ProtocolError():
            return f"{where} does not speak Redis's protocol: check host, port and ssl"
    for words, advice in _ADVICE:
        if re.search(words, str(error)):
            return advice.format(where=where, prefix=prefix)
    return f"{where} answers: {error}"


def has_moved(error: Exception) -> bool:
    """Tell whether the server may be elsewhere by now: it is gone, silent, or only a replica."""
    if isinstance(error, ServerError):
        return re.search(r"\bREADONLY\b|read only", str(error)) is not None
    return isinstance(error, OF_SERVER)


def is_unsure(error: Exception) -> bool:
    """Tell whether the server may have done what it was asked."""
    if isinstance(error, (LostLoginError, UnsentError)):
        return False
    return isinstance(error, (TimeoutError, LostError))


def without(password: str | None, error: Exception) -> Exception:
    """Return the error, or one without the password that a server has repeated in its answer."""
    if not password or password not in str(error):
        return error
    return ServerError(str(error).replace(password, "***"))
