"""A URL says the same as `ws_config`, and its mistakes are told without showing it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from longwire.config.settings import load
from longwire.exceptions import ConfigurationError

REDIS = {
    "uri": None,
    "host": "h",
    "port": 6379,
    "username": None,
    "password": None,
    "db": 0,
    "ssl": False,
    "key_prefix": "longwire:",
}
POSTGRESQL = {
    "uri": None,
    "database": None,
    "user": None,
    "password": None,
    "host": None,
    "port": 5432,
    "connect_timeout": 5,
    "table_name": "connection",
}
DYNAMODB = {"table_name": "Conn", "region_name": None, "endpoint_url": None}
S3 = {"bucket": "b", "region_name": None, "endpoint_url": None, "prefix": ""}
SQLITE3 = {"file_path": "ws.sqlite3", "table_name": "connection"}

GOOD: list[tuple[str, str, dict[str, Any]]] = [
    ("memory://", "memory", {}),
    ("sqlite:///ws.sqlite3", "sqlite3", SQLITE3),
    ("sqlite3:///ws.sqlite3", "sqlite3", SQLITE3),
    ("SQLite:///ws.sqlite3", "sqlite3", SQLITE3),
    ("sqlite:////tmp/a%20b", "sqlite3", SQLITE3 | {"file_path": "/tmp/a b"}),
    ("sqlite:///ws.sqlite3?table_name=t", "sqlite3", SQLITE3 | {"table_name": "t"}),
    ("redis://h", "redis", REDIS),
    ("redis://h?db=3", "redis", REDIS | {"db": 3}),
    (
        "redis://u:p%40%2F@h:6380/2?key_prefix=",
        "redis",
        REDIS | {"port": 6380, "username": "u", "password": "p@/", "db": 2, "key_prefix": ""},
    ),
    ("rediss://:p@h", "redis", REDIS | {"password": "p", "ssl": True}),
    ("redis://h?ssl=True", "redis", REDIS | {"ssl": True}),
    (
        "postgresql://u:p%40@h:1/d?sslmode=require&table_name=t&connect_timeout=9&x=%2F",
        "postgresql",
        POSTGRESQL
        | {
            "uri": "postgresql://u:p%40@h:1/d?sslmode=require&x=%2F",
            "table_name": "t",
            "connect_timeout": 9,
        },
    ),
    ("postgres://h/d", "postgresql", POSTGRESQL | {"uri": "postgresql://h/d"}),
    ("postgresql:///d", "postgresql", POSTGRESQL | {"uri": "postgresql:///d"}),
    ("dynamodb://Conn", "dynamodb", DYNAMODB),
    (
        "dynamodb://Conn?region=eu-west-1&endpoint_url=http://localhost:8000",
        "dynamodb",
        DYNAMODB | {"region_name": "eu-west-1", "endpoint_url": "http://localhost:8000"},
    ),
    ("s3://b", "s3", S3),
    (
        "s3://b/pre/fix?region_name=eu-west-1",
        "s3",
        S3 | {"prefix": "pre/fix", "region_name": "eu-west-1"},
    ),
]


@pytest.mark.parametrize(("dsn", "backend", "params"), GOOD)
def test_a_url_gives_backend_and_params(dsn: str, backend: str, params: dict[str, Any]) -> None:
    """The parameters are those that `ws_config` would have given."""
    settings = load(None, dsn)
    assert (settings.backend, settings.params) == (backend, params)


@pytest.mark.parametrize("scheme", ["memory://", "postgresql://h/d"])
def test_settings_of_our_own_may_be_in_the_query(scheme: str) -> None:
    """They are read by type: numbers, lists at commas, and an empty value for None."""
    settings = load(
        None,
        f"{scheme}?ttl=60&path=/ws&path_query=&linger=0.5&slow_client=1&binary=base64&state=0"
        "&state_limit=1000&client_ip_header=X-Forwarded-For&trusted_proxies=10.0.0.0/8, ::1"
        "&exclude_headers=Cookie, Authorization&exclude_query=Token, key&allowed_origins=https://a.example,null"
        "&api_gateway_region_name=eu-west-1&api_gateway_endpoint_url=https://b.example/c",
    )
    assert (settings.ttl, settings.path, settings.path_query) == (60, "/ws", None)
    assert (settings.linger, settings.slow_client, settings.binary) == (0.5, 1.0, "base64")
    assert (settings.state, settings.state_limit) == (False, 1000)
    assert settings.exclude_headers == frozenset({"cookie", "authorization"})
    assert settings.exclude_query == frozenset({"Token", "key"})
    assert settings.allowed_origins == frozenset({"https://a.example", "null"})
    assert settings.client_ip_header == "x-forwarded-for"
    assert settings.trusted_proxies == frozenset({ip_network("10.0.0.0/8"), ip_network("::1/128")})
    assert settings.region_name == "eu-west-1"
    assert settings.endpoint_url == "https://b.example/c"
    assert settings.params.get("uri") in (None, "postgresql://h/d")


SQLITE_EXAMPLE = "sqlite:///file.sqlite3 (relative) or sqlite:////tmp/file.sqlite3 (absolute)"
ENCODED = "special characters must be percent-encoded"
REDIS_ERROR = f"dsn is not as expected, for example redis://:password@host:6379/0; {ENCODED}"
POSTGRESQL_ERROR = (
    "dsn is not as expected, for example postgresql://user:password@host:5432/database; " + ENCODED
)

BAD: list[tuple[Any, str]] = [
    (b"memory://", "dsn must be a string, not a value of type bytes"),
    ("/tmp/file", f"dsn must be a URL, for example {SQLITE_EXAMPLE}"),
    ("redsi://h", "dsn has the unknown scheme 'redsi'; did you mean 'redis'?"),
    (
        "x://secret",
        "dsn has the unknown scheme 'x'; "
        "known are sqlite, memory, redis, rediss, postgresql, dynamodb, s3",
    ),
    ("sqlite://file", f"dsn is not as expected, for example {SQLITE_EXAMPLE}; {ENCODED}"),
    ("sqlite:///", "dsn for sqlite3 needs 'file_path'"),
    ("memory://x", f"dsn is not as expected, for example memory://; {ENCODED}"),
    ("redis://", "dsn for redis needs 'uri', or 'host'"),
    ("redis://:secret@h/x", REDIS_ERROR),
    ("redis://:sec/ret@h", REDIS_ERROR),
    ("redis://:sec#ret@h", REDIS_ERROR),
    ("redis://:secret@[h", REDIS_ERROR),
    ("redis://:secret@h:99999", REDIS_ERROR),
    ("redis://h:0", "dsn parameter 'port' must be a port from 1 to 65535, not 0"),
    ("postgresql://u:secret@h:x/d", POSTGRESQL_ERROR),
    (
        "dynamodb://t/x",
        f"dsn is not as expected, for example dynamodb://table?region=eu-west-1; {ENCODED}",
    ),
    ("dynamodb://?region=eu-west-1", "dsn for dynamodb needs 'table_name'"),
    ("s3:///prefix", "dsn for s3 needs 'bucket'"),
    (
        "s3://b?regionname=x",
        "dsn parameter 'regionname' is not a setting; did you mean 'region_name'?",
    ),
    ("memory://?tlt=5", "dsn parameter 'tlt' is not a setting; did you mean 'ttl'?"),
    ("memory://?ttl=5s", "dsn parameter 'ttl' must be a whole number of at least 1"),
    ("memory://?ttl=-5", "dsn parameter 'ttl' must be a whole number of at least 1, not -5"),
    ("memory://?state=maybe", "dsn parameter 'state' must be True or False"),
    (
        "memory://?state_limit=400000",
        "dsn parameter 'state_limit' must be a whole number of bytes from 1 to 262144, not 400000",
    ),
    ("memory://?ttl=5&ttl=6", "dsn parameter 'ttl' is given twice"),
    ("redis://h?ssl=maybe", "dsn parameter 'ssl' must be True or False"),
    ("rediss://h?ssl=0", "dsn parameter 'ssl' is given twice"),
    ("redis://h?uri=redis://secret", "dsn for redis needs either 'uri', or 'host', not both"),
    (
        "memory://?params=x",
        "dsn parameter 'params' is not a setting; use 'api_gateway_endpoint_url', "
        "'api_gateway_region_name', 'path', 'path_query', 'ttl', 'allowed_origins', "
        "'client_ip_header', 'trusted_proxies', 'exclude_headers', 'exclude_query', 'binary', "
        "'linger', 'slow_client', 'replay', 'replay_limit', 'state', 'state_limit' or "
        "'fanout'",
    ),
    ("postgresql://h/d?ttl=x", "dsn parameter 'ttl' must be a whole number of at least 1"),
]


@pytest.mark.parametrize(("dsn", "text"), BAD)
def test_a_mistake_in_a_url_has_its_text(dsn: Any, text: str) -> None:
    """Neither the text nor what it is chained to shows a password."""
    with pytest.raises(ConfigurationError) as caught:
        load(None, dsn)
    assert str(caught.value) == text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("dsn", ["s3://AKIA:s3cret@bucket", "dynamodb://AKIA:s3cret@table"])
def test_keys_in_front_of_a_name_are_not_shown(dsn: str) -> None:
    """They do not belong there, and an error about the name would repeat them."""
    with pytest.raises(ConfigurationError) as caught:
        load(None, f"{dsn}?region=eu-west-1")
    assert "dsn is not as expected" in str(caught.value)
    assert "AKIA" not in str(caught.value)


def test_a_region_under_both_of_its_names_is_given_twice() -> None:
    """None of them is silently dropped."""
    with pytest.raises(ConfigurationError) as caught:
        load(None, "dynamodb://ttt?region=eu-west-1&region_name=us-east-1")
    assert str(caught.value) == "dsn parameter 'region' is given twice, once as 'region_name'"
