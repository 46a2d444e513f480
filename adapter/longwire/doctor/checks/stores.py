"""The store: does the DSN name it, and is it as Longwire needs it?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from longwire.config.settings import load
from longwire.doctor.findings import Finding, found
from longwire.doctor.naming import split_arn
from longwire.doctor.ours import DSN
from longwire.doctor.values import (
    UNKNOWN,
    Ref,
    Unknown,
    Value,
    is_known,
    joined,
    parts_of,
    same,
    shown,
)
from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.doctor.model import LambdaFunction, S3Bucket, Table
    from longwire.doctor.stack import Stack

KEYS = [("pk", "HASH", "S"), ("sk", "RANGE", "S")]
TTL = "expires_at"
_SCHEMES = {"sqlite": "sqlite3", "postgres": "postgresql", "rediss": "redis"}


def backend_of(function: LambdaFunction) -> str | None:
    """Return the store that the DSN of a function names; None: nobody can tell."""
    first = next(iter(parts_of(function.variable(DSN) or UNKNOWN)), UNKNOWN)
    if not isinstance(first, str) or "://" not in first:
        return None
    scheme = first.partition("://")[0].lower()
    return _SCHEMES.get(scheme, scheme)


def place_of(function: LambdaFunction) -> Value:
    """Return the table or the bucket that a DSN names."""
    parts = list(parts_of(function.variable(DSN)))
    assert isinstance(parts[0], str)
    parts[0] = parts[0].partition("://")[2]
    place: list[Value] = []
    for part in parts:
        if isinstance(part, Unknown) and place:
            break  # what is behind the name
        if isinstance(part, str) and (cut := re.search(r"[/?]", part)):
            place.append(part[: cut.start()])
            break
        place.append(part)
    return joined(place)


def tables_of(stack: Stack, function: LambdaFunction) -> list[Table]:
    """Return the table that a function uses, if it is the stack's own."""
    if backend_of(function) != "dynamodb":
        return []
    return stack.tables_named(place_of(function))


def buckets_of(stack: Stack, function: LambdaFunction) -> list[S3Bucket]:
    """Return the bucket that a function uses, if it is the stack's own."""
    if backend_of(function) != "s3":
        return []
    return [one for one in stack.buckets if same(one.name, place_of(function))]


def check_dsn(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The DSN is one, and of a store that all processes share."""
    for function in ours:
        dsn = function.variable(DSN)
        if dsn is None or isinstance(dsn, Unknown):
            continue
        if (wrong := _refusal(dsn)) is not None:
            yield found("dsn-invalid", function.at, f"{DSN}: {wrong}", "Environment")
        elif _is_no_url(stack, dsn):
            text = f"{DSN} is {shown(dsn)}, no URL"
            yield found("dsn-invalid", function.at, text, "Environment")
        elif (backend := backend_of(function)) in ("sqlite3", "memory"):
            text = f"{DSN} names the store {backend}"
            yield found("store-local", function.at, text, "Environment")


def _is_no_url(stack: Stack, dsn: Value) -> bool:
    """Tell whether it is the mere name or ARN of what the stack makes."""
    own = [one.name for one in stack.tables] + [one.name for one in stack.buckets]
    return split_arn(dsn) is not None or dsn in own


def _refusal(dsn: Value) -> str | None:
    """Return what Longwire itself says of a DSN; references are taken for names that are right."""
    parts = parts_of(dsn)
    if UNKNOWN in parts or not isinstance(parts[0], str) or "://" not in parts[0]:
        # The whole may be in a parameter; what is known has to be a URL.
        text = shown(dsn)
        return None if not is_known(dsn) else _refused(text)
    words: list[str] = []
    for part in parts:
        before = words[-1] if words else ""
        if isinstance(part, str):
            words.append(part)
        else:
            words.append(_stand_in(before))
    return _refused("".join(words))


def _stand_in(before: str) -> str:
    if re.search(r"region(_name)?=$", before):
        return "eu-west-1"
    if before.endswith("="):
        return "1"
    return "6379" if re.search(r"[^/:]:$", before) and "@" in before else "name"


def _refused(text: str) -> str | None:
    try:
        load(None, text)
    except ConfigurationError as error:
        text = str(error)
        return text if len(text) < 160 else text.partition("; use ")[0]
    except Exception:
        return None  # a stand-in may fit nowhere: nobody can tell
    return None


def check_secret(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """No password is in clear."""
    for function in ours:
        dsn = function.variable(DSN)
        first = next(iter(parts_of(dsn)), "") if dsn is not None else ""
        text = first if isinstance(first, str) else ""
        found_ = re.match(r"(?:rediss?|postgres(?:ql)?)://[^/@]*:([^/@]+)@", text)
        if found_ and not function.secret and backend_of(function) in ("redis", "postgresql"):
            yield found(
                "secret-in-clear", function.at, f"the password in {DSN} is in clear", "Environment"
            )


def check_place(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The DSN names what the stack makes, where it makes it."""
    for function in ours:
        if backend_of(function) != "dynamodb" or not isinstance(
            function.variable(DSN), str | tuple
        ):
            continue
        place = place_of(function)
        like_ours = [one for one in stack.tables if one.keys == KEYS]
        if like_ours and all(same(one.name, place) is False for one in stack.tables):
            text = f"{DSN} names the table {shown(place)}, the stack has {shown(like_ours[0].name)}"
            yield found("store-other", function.at, text, "Environment")
        yield from _check_region(stack, function)


def _check_region(stack: Stack, function: LambdaFunction) -> Iterator[Finding]:
    dsn = function.variable(DSN)
    if not isinstance(dsn, str) or stack.region is None or not tables_of(stack, function):
        return
    query: dict[str, Any] = parse_qs(urlsplit(dsn).query)
    region = (query.get("region") or query.get("region_name") or [stack.region])[0]
    if region != stack.region:
        text = f"{DSN} has the region {region}, the stack is in {stack.region}"
        yield found("store-region", function.at, text, "Environment")


def _used_tables(stack: Stack, ours: tuple[LambdaFunction, ...]) -> list[Table]:
    used = {table.at.name for function in ours for table in tables_of(stack, function)}
    return [one for one in stack.tables if one.at.name in used]


def check_table(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The table has the keys and the TTL of the store."""
    for table in _used_tables(stack, ours):
        if isinstance(table.keys, list) and is_known(table.keys) and table.keys != KEYS:
            has = ", ".join(f"{name} ({kind}, {type_})" for name, kind, type_ in table.keys)
            yield found("table-keys", table.at, f"the table's keys are {has}", "KeySchema")
        if table.ttl is None:
            yield found("table-ttl", table.at, "the table has no TTL", "TimeToLiveSpecification")
        elif isinstance(table.ttl, str) and table.ttl != TTL:
            text = f"the table's TTL is on {table.ttl}"
            yield found("table-ttl", table.at, text, "TimeToLiveSpecification")
        if table.mode == "PROVISIONED":
            yield found(
                "table-provisioned", table.at, "the table has provisioned capacity", "BillingMode"
            )


def check_bucket(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """What has expired leaves the bucket."""
    swept = bool(stack.schedules)
    for function in ours:
        for bucket in buckets_of(stack, function):
            if bucket.lifecycle is None:
                if bucket.versioned is True:
                    yield found(
                        "bucket-versioned",
                        bucket.at,
                        "the bucket keeps versions",
                        "VersioningConfiguration",
                    )
                elif not swept:
                    yield found("bucket-lifecycle", bucket.at, "the bucket has no lifecycle rule")


def check_private_store(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """A function reaches a store in a VPC from within it."""
    for function in ours:
        if function.in_vpc is not False or backend_of(function) not in ("redis", "postgresql"):
            continue
        dsn = function.variable(DSN)
        own = [
            one
            for one in stack.private_stores
            if any(
                isinstance(p, Ref) and isinstance(one.id, Ref) and p.name == one.id.name
                for p in parts_of(dsn)
            )
        ]
        host = re.search(
            r"@?([^/@:?]+)\.cache\.amazonaws\.com|//[^/]*?\b(10|192\.168)\.\d+\.", shown(dsn)
        )
        if own or host:
            text = f"{function.at.name} is not in a VPC, and its {backend_of(function)} is"
            yield found("store-outside", function.at, text, "VpcConfig", "Environment")
