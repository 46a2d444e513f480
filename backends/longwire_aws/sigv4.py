"""AWS Signature Version 4 in the `Authorization` header, for one request whose body is in memory.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

Not supported, on purpose: signatures in the query, chunk by chunk or over an unsigned body, SigV4a.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ALGORITHM = "AWS4-HMAC-SHA256"

# What `quote` leaves as it is, in a path; compiled (and kept) by `re` at first use.
_PLAIN = r"[A-Za-z0-9_.~/%-]*"

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
    timestamp = _timestamp(int(now))
    body_hash = _body_hash(body)
    added = _added(timestamp, credentials.token, body_hash if service == "s3" else None)
    signed = {"host": host}
    if headers:
        signed |= _given(headers)
    for name, value in added:
        signed[name.lower()] = value.strip()
    authorization = authorize(
        method,
        path,
        query,
        signed,
        body_hash,
        credentials=credentials,
        service=service,
        region=region,
        timestamp=timestamp,
    )
    added.append(("Authorization", authorization))
    return added


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
    names = sorted(signed)
    lines = "".join([f"{name}:{signed[name]}\n" for name in names])
    if service != "s3":
        path = _canonical_path(path)
    shown = ";".join(names)
    request = f"{method}\n{path}\n{_canonical_query(query)}\n{lines}\n{shown}\n{body_hash}"
    scope = f"{timestamp[:8]}/{region}/{service}/aws4_request"
    signature = _signature(credentials.secret_key, timestamp, scope, request)
    return (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={shown}, Signature={signature}"
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


@lru_cache(maxsize=4)
def _timestamp(now: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def _canonical_path(path: str) -> str:
    """Encode what is on the wire once more, escapes included, as every service but S3 does."""
    if "//" in path or "/." in path:
        path = _without_dots(path)
    # What these paths have in them goes first: mostly nothing is left for `quote`, which is slow.
    path = path.replace("%", "%25").replace("@", "%40").replace("=", "%3D")
    return path if re.fullmatch(_PLAIN, path) else quote(path, safe="/%")


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


def _signature(secret_key: str, timestamp: str, scope: str, request: str) -> str:
    request_hash = hashlib.sha256(request.encode()).hexdigest()
    mac = _keyed_mac(secret_key, scope).copy()
    mac.update(f"{_ALGORITHM}\n{timestamp}\n{scope}\n{request_hash}".encode())
    return mac.hexdigest()


# A key is good for a day, a region and a service, so a process uses very few of them. What is kept
# has taken in the key already; a copy of it is cheaper than to begin with the key.
@lru_cache(maxsize=32)
def _keyed_mac(secret_key: str, scope: str) -> hmac.HMAC:
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, digestmod="sha256")
