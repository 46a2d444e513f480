"""Where a Redis server is, and who asks it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from longwire_aws.tuples import NamedTuple
from longwire_backends.base import ConfigurationError, shown

if TYPE_CHECKING:
    import ssl

_MALFORMED = (
    "uri: expected redis://user:password@host:port/database or rediss://..., with special"
    " characters of user and password percent-encoded"
)
_TLS_OPTIONS = (
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_ca_data",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_ciphers",
    "ssl_min_version",
)
_NO = ("0", "f", "false", "n", "no")


class Server(NamedTuple):
    """A server.

    Attributes:
        tls: the context of a URI with options for it, or whether to use the default one.
    """

    host: str
    port: int = 6379
    username: str | None = None
    password: str | None = None
    db: int = 0
    tls: bool | ssl.SSLContext = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Server({self})"  # tools that report errors show variables, and no password

    def login(self) -> list[tuple[str, ...]]:
        """Return the commands that a new connection begins with."""
        commands: list[tuple[str, ...]] = []
        if self.username:
            commands.append(("AUTH", self.username, self.password or ""))
        elif self.password:
            commands.append(("AUTH", self.password))
        if self.db:
            commands.append(("SELECT", str(self.db)))
        return commands


def check_host(host: str) -> None:
    # An address of IPv6 has several colons.
    if not re.fullmatch(r"[^\s/@]+", host) or host.count(":") == 1:
        raise ConfigurationError(
            f"host: expected a name or an address, and the port in port, got {shown(host)}"
        )


def check_alone(**others: object) -> None:
    given = [key for key, is_given in others.items() if is_given]
    if given:
        raise ConfigurationError(f"uri: has everything in it, so do not give {', '.join(given)}")


def from_uri(uri: str) -> Server:
    """Read a URI; no error repeats a part of it that could be the password."""
    try:
        parts = urlsplit(uri)
        host, port = unquote(parts.hostname or ""), parts.port
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        known = parts.scheme in ("redis", "rediss") and not parts.fragment and host
        if not known or port == 0 or not re.fullmatch(r"(/[0-9]*)?", parts.path):
            raise ValueError
        db = int(query.pop("db", parts.path[1:] or "0"))
    except ValueError:
        raise ConfigurationError(_MALFORMED) from None
    # Those without a value count.
    for key in parse_qs(parts.query, keep_blank_values=True):
        if key != "db" and not key.startswith("ssl_"):
            raise ConfigurationError("uri: expected no options but db and those of ssl_...")
    if query and parts.scheme == "redis":
        raise ConfigurationError("uri: options of ssl_... need rediss://")
    return Server(
        host,
        port or 6379,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        db,
        _tls(query) if parts.scheme == "rediss" else False,
    )


def _tls(options: dict[str, str]) -> bool | ssl.SSLContext:
    """Return a context with these options, if there are any."""
    if not options:
        return True
    unknown = [key for key in options if key not in _TLS_OPTIONS]
    if unknown:
        raise ConfigurationError(f"uri: {', '.join(unknown)} is none of {', '.join(_TLS_OPTIONS)}")
    try:
        return _context(options)
    except (OSError, ValueError, KeyError):
        raise ConfigurationError(f"uri: TLS cannot use one of {', '.join(options)}") from None


def _context(options: dict[str, str]) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    required = options.get("ssl_cert_reqs", "required")
    checks = required != "none" and options.get("ssl_check_hostname", "").lower() not in _NO
    # Names are checked of certificates alone that are checked themselves.
    context.check_hostname = checks
    context.verify_mode = ssl.VerifyMode[f"CERT_{required.upper()}"]
    authorities = [options.get(f"ssl_ca_{name}") for name in ("certs", "path", "data")]
    if any(authorities):
        context.load_verify_locations(*authorities)
    certificate, key = options.get("ssl_certfile"), options.get("ssl_keyfile")
    if certificate or key:
        context.load_cert_chain(certificate or "", key, options.get("ssl_password"))
    if "ssl_ciphers" in options:
        context.set_ciphers(options["ssl_ciphers"])
    if "ssl_min_version" in options:
        context.minimum_version = ssl.TLSVersion(int(options["ssl_min_version"]))
    return context
