"""AWS Signature Version 4 in the `Authorization` header, for one request whose body is in memory.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

Not supported, on purpose: signatures in the query, chunk by chunk or over an unsigned body, SigV4a.
"""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ALGORITHM = "AWS4-HMAC-SHA256"

# What `quote` leaves as it is, in a path.
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.~/%-"

# What a proxy or a tracer may change on the way would break the signature: botocore's list.
_UNSIGNED = frozenset(
    {
        "baggage",
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-amzn-trace-id",
    }
)
_OURS = frozenset({"authorization", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"})


class Credentials(NamedTuple):
    """The keys of somebody at AWS; only the access key, which is a name, is ever shown."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(access_key={self.access_key!r}, ...)"


def sign(
    method: str,
    url: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    *,
    credentials: Credentials,
    service: str,
    region: str,
    now: float,
) -> list[tuple[str, str]]:
    """Return the headers to send besides `headers`, so that AWS knows who asks and for what.

    Path, query and `Host` (or the URL's host and port) must go over the wire as they are here. For
    S3 the path must be percent-encoded as AWS does it: all but letters, digits and `-._~/`.
    """
    host, path, query = _split(url)
    body_hash = _body_hash(body)
    content = body_hash if service == "s3" else None
    added, form = _prepared(host, tuple(headers), int(now), content, credentials, service, region)
    authorization = form.authorize(method, path, query, body_hash)
    return [*added, ("Authorization", authorization)]


def authorize(
    method: str,
    path: str,
    query: str,
    signed: Mapping[str, str],  # names in lower case, values `trimmed`
    body_hash: str,
    *,
    credentials: Credentials,
    service: str,
    region: str,
    timestamp: str,
) -> str:
    """Return the value of `Authorization` for a request that has all its headers."""
    form = _form(signed, timestamp, credentials, service, region)
    return form.authorize(method, path, query, body_hash)


class _Form(NamedTuple):
    """What is the same in the signatures of all requests with the same headers."""

    service: str
    headers: str  # between the query and the body's hash
    to_sign: str  # before the hash of the request
    authorization: str  # before the signature
    mac: Callable[[bytes], bytes]

    def authorize(self, method: str, path: str, query: str, body_hash: str) -> str:
        """Return the value of `Authorization`."""
        if self.service != "s3":
            path = _canonical_path(path)
        request = f"{method}\n{path}\n{_canonical_query(query)}\n{self.headers}{body_hash}"
        to_sign = f"{self.to_sign}{hashlib.sha256(request.encode()).hexdigest()}"
        return f"{self.authorization}{self.mac(to_sign.encode()).hex()}"


# The same for all requests of a second to one host, as far as their headers are the same.
@lru_cache(maxsize=64)
def _prepared(
    host: str,
    headers: tuple[tuple[str, str], ...],
    now: int,
    body_hash: str | None,  # if it is a header, too
    credentials: Credentials,
    service: str,
    region: str,
) -> tuple[list[tuple[str, str]], _Form]:
    """Return the headers to send besides `Authorization`, and what makes that one."""
    timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    added = _added(timestamp, credentials.token, body_hash)
    signed = {"host": host, **_given(headers)}
    for name, value in added:
        signed[name.lower()] = value.strip()
    return added, _form(signed, timestamp, credentials, service, region)


def _form(
    signed: Mapping[str, str], timestamp: str, credentials: Credentials, service: str, region: str
) -> _Form:
    names = sorted(signed)
    lines = "".join([f"{name}:{signed[name]}\n" for name in names])
    shown = ";".join(names)
    scope = f"{timestamp[:8]}/{region}/{service}/aws4_request"
    return _Form(
        service,
        f"{lines}\n{shown}\n",
        f"{_ALGORITHM}\n{timestamp}\n{scope}\n",
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={shown}, Signature=",
        _keyed_mac(credentials.secret_key, scope),
    )


def _split(url: str) -> tuple[str, str, str]:
    """Return host with port, path and query, each as it goes over the wire."""
    scheme, separator, rest = url.partition("://")
    if not (scheme and separator):
        raise ValueError("the URL to sign has no scheme: it has to begin with https:// or http://")
    rest, _, query = rest.partition("?")
    host, _, path = rest.partition("/")
    return host, f"/{path}", query


def _body_hash(body: bytes) -> str:
    """Return the SHA-256 of a body; of the same object as last time, it is known."""
    global _last_body
    last, body_hash = _last_body
    if body is not last:
        body_hash = hashlib.sha256(body).hexdigest()
        if type(body) is bytes and len(body) <= _SHARED_BODY:  # a bytearray may change
            _last_body = body, body_hash
    return body_hash


# What goes to a group is one object in many requests; no API Gateway takes a larger one, and an
# object of S3 need not be kept. A pair, so that no thread sees half of it.
_SHARED_BODY = 128 * 1024
_last_body = (b"", hashlib.sha256(b"").hexdigest())


def _canonical_path(path: str) -> str:
    """Encode what is on the wire once more, escapes included, as every service but S3 does."""
    if "//" in path or "/." in path:
        path = _without_dots(path)
    # What these paths have in them goes first: mostly nothing is left for `quote`, which is slow.
    path = path.replace("%", "%25").replace("@", "%40").replace("=", "%3D")
    return quote(path, safe="/%") if path.encode().translate(None, _PLAIN) else path


def _without_dots(path: str) -> str:
    """Take out `.`, `..` and empty segments, since AWS does so before it checks the signature."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    end = "/" if kept and path.endswith("/") else ""
    return f"/{'/'.join(kept)}{end}"


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = []
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        pairs.append((_canonical_part(name), _canonical_part(value)))
    return "&".join([f"{name}={value}" for name, value in sorted(pairs)])


def _canonical_part(text: str) -> str:
    """Decode and encode, since one text has many encodings, and AWS signs just one of them."""
    return quote(unquote_to_bytes(text), safe="")


def _added(timestamp: str, token: str | None, body_hash: str | None) -> list[tuple[str, str]]:
    added = [("X-Amz-Date", timestamp)]
    if token:
        added.append(("X-Amz-Security-Token", token))
    if body_hash:
        added.append(("X-Amz-Content-SHA256", body_hash))
    return added


def _given(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return those of the headers that are signed, as they are signed."""
    signed: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        if name in _OURS:
            raise ValueError(f"the header {name} is made by the signer and cannot be given")
        if name not in _UNSIGNED:
            value = trimmed(value)
            signed[name] = f"{signed[name]},{value}" if name in signed else value
    return signed


def trimmed(value: str) -> str:
    """Return the value of a header as it is signed."""
    return " ".join(value.split())


# A key is good for a day, a region and a service, so a process uses very few of them.
@lru_cache(maxsize=32)
def _keyed_mac(secret_key: str, scope: str) -> Callable[[bytes], bytes]:
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = _mac(key)(part.encode())
    return _mac(key)


def _mac(key: bytes) -> Callable[[bytes], bytes]:
    """Return what makes HMAC-SHA256 with a key, which it has taken in already (RFC 2104)."""
    # `hmac` takes the key in each time, or copies a context of OpenSSL: either takes much longer.
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in block]))
    outer = hashlib.sha256(bytes([byte ^ 0x5C for byte in block]))

    def mac(text: bytes) -> bytes:
        of_text, of_both = inner.copy(), outer.copy()
        of_text.update(text)
        of_both.update(of_text.digest())
        return of_both.digest()

    return mac
