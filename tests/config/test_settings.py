"""Settings: every mistake has a text that says what to do, and what is right comes out whole."""

from __future__ import annotations

import subprocess
import sys
import traceback
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from longwire import Longwire
from longwire.config.schema import OWN, STORES
from longwire.config.settings import Settings, load, make_backend
from longwire.exceptions import ConfigurationError
from longwire_backends.memory import MemoryBackend
from longwire_backends.sqlite3.backend import SQLite3Backend

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = {"backend": "memory", "params": {}}
SETTINGS = (
    "'backend', 'params', 'api_gateway_endpoint_url', 'api_gateway_region_name', 'path', "
    "'path_query', 'ttl', 'allowed_origins', 'client_ip_header', 'trusted_proxies', "
    "'exclude_headers', 'exclude_query', 'binary', 'linger', 'slow_client', 'replay', "
    "'replay_limit', 'state', 'state_limit' or 'fanout'"
)


def params(backend: str, **given: Any) -> dict[str, Any]:
    return {"backend": backend, "params": given}


BAD: list[tuple[Any, str]] = [
    ("sqlite3", "ws_config must be a dict, not a value of type str"),
    (
        {},
        "ws_config['backend'] is missing; "
        "use 'memory', 'sqlite3', 'redis', 'postgresql', 'dynamodb' or 's3'",
    ),
    (
        {"backend": None},
        "ws_config['backend'] must be the name of a backend, or a Backend, not None",
    ),
    (
        {"backend": MemoryBackend},
        "ws_config['backend'] must be the name of a backend, or a Backend, "
        "not a value of type ABCMeta",
    ),
    (
        {"backend": "redsi", "params": {}},
        "ws_config['backend'] is 'redsi', which is unknown; did you mean 'redis'?",
    ),
    (
        {"backend": "oracle", "params": {}},
        "ws_config['backend'] is 'oracle', which is unknown; "
        "use 'memory', 'sqlite3', 'redis', 'postgresql', 'dynamodb' or 's3'",
    ),
    (
        {"backend": "sqlite3", "parmas": {}},
        "ws_config['parmas'] is not a setting; did you mean 'params'?",
    ),
    ({"backend": "memory", 7: 8}, f"ws_config[7] is not a setting; use {SETTINGS}"),
    ({"backend": "sqlite3"}, "ws_config['params'] for sqlite3 needs 'file_path'"),
    (
        {"backend": "sqlite3", "params": "x"},
        "ws_config['params'] must be a dict, not a value of type str",
    ),
    (
        {"backend": "sqlite3", "file_path": "x"},
        "ws_config['file_path'] is a parameter of sqlite3: it belongs in ws_config['params']",
    ),
    (
        {"backend": MemoryBackend(), "params": {"a": 1}},
        "ws_config['params'] must be empty when 'backend' is an object",
    ),
    # Ours.
    (MEMORY | {"path": "ws"}, "ws_config['path'] must be a string that begins with '/', not 'ws'"),
    (
        MEMORY | {"path": None},
        "ws_config['path'] must be a string that begins with '/', not None",
    ),
    (
        MEMORY | {"path_query": ""},
        "ws_config['path_query'] must be a non-empty string, or None, not ''",
    ),
    (MEMORY | {"ttl": 0}, "ws_config['ttl'] must be a whole number of at least 1, not 0"),
    (
        MEMORY | {"ttl": True},
        "ws_config['ttl'] must be a whole number of at least 1, not a value of type bool",
    ),
    (
        MEMORY | {"ttl": 1.5},
        "ws_config['ttl'] must be a whole number of at least 1, not a value of type float",
    ),
    (MEMORY | {"state": 1}, "ws_config['state'] must be True or False, not a value of type int"),
    (
        MEMORY | {"state_limit": 0},
        "ws_config['state_limit'] must be a whole number of bytes from 1 to 262144, not 0",
    ),
    (
        MEMORY | {"state_limit": 262145},
        "ws_config['state_limit'] must be a whole number of bytes from 1 to 262144, not 262145",
    ),
    (
        MEMORY | {"state_limit": True},
        "ws_config['state_limit'] must be a whole number of bytes from 1 to 262144, "
        "not a value of type bool",
    ),
    (MEMORY | {"linger": -1}, "ws_config['linger'] must be a number of at least 0, not -1"),
    (
        MEMORY | {"linger": float("inf")},
        "ws_config['linger'] must be a number of at least 0, not inf",
    ),
    (
        MEMORY | {"linger": "2"},
        "ws_config['linger'] must be a number of at least 0, not a value of type str",
    ),
    (
        MEMORY | {"allowed_origins": "https://a.example"},
        "ws_config['allowed_origins'] must be a list of origins such as "
        "['https://app.example.com'], or None, not a value of type str",
    ),
    (
        MEMORY | {"allowed_origins": ["https://a.example/"]},
        "ws_config['allowed_origins'] must be a list of origins such as "
        "['https://app.example.com'], or None",
    ),
    *[
        (
            MEMORY | {"client_ip_header": name, "trusted_proxies": ["10.0.0.0/8"]},
            "ws_config['client_ip_header'] must be the name of a header that holds addresses, "
            f"such as 'x-forwarded-for', or None, not {name!r}",
        )
        for name in ("", "X Forwarded For", "Forwarded", "x-é")
    ],
    *[
        (
            MEMORY | {"client_ip_header": "x-real-ip", "trusted_proxies": [network]},
            "ws_config['trusted_proxies'] must be a list of networks such as ['10.0.0.0/8']",
        )
        for network in ("", "*", "10.0.0.1/8", "10.0.0.0/33", "proxy.example.com", 10)
    ],
    (
        MEMORY | {"client_ip_header": "x-real-ip", "trusted_proxies": "10.0.0.0/8"},
        "ws_config['trusted_proxies'] must be a list of networks such as ['10.0.0.0/8'], "
        "not a value of type str",
    ),
    *[
        (
            MEMORY | alone,
            "client_ip_header and trusted_proxies need each other: the header that names the "
            "client, and the networks of the proxies that write it, since anybody else can write "
            "whatever they like",
        )
        for alone in (
            {"client_ip_header": "cloudfront-viewer-address"},
            {"client_ip_header": "x-forwarded-for", "trusted_proxies": []},
            {"trusted_proxies": ["10.0.0.0/8"]},
        )
    ],
    (
        MEMORY | {"exclude_query": "token"},
        "ws_config['exclude_query'] must be a list of query parameters such as ['token'], "
        "not a value of type str",
    ),
    (
        MEMORY | {"exclude_headers": [b"cookie"]},
        "ws_config['exclude_headers'] must be a list of header names such as ['authorization']",
    ),
    (
        MEMORY | {"binary": "hex"},
        "ws_config['binary'] must be 'text' or 'base64', not 'hex'",
    ),
    (
        MEMORY | {"api_gateway_endpoint_url": "a.example/prod"},
        "ws_config['api_gateway_endpoint_url'] must be an http:// or https:// URL with a host, "
        "or None",
    ),
    (
        MEMORY | {"api_gateway_region_name": "EU (Ireland)"},
        "ws_config['api_gateway_region_name'] must be an AWS region such as 'eu-west-1', or None, "
        "not 'EU (Ireland)'",
    ),
    # The stores'.
    (
        params("memory", size=1),
        "ws_config['params']['size'] is not a parameter of memory; there are none",
    ),
    (
        params("sqlite3", file_pth="x"),
        "ws_config['params']['file_pth'] is not a parameter of sqlite3; did you mean 'file_path'?",
    ),
    (
        params("sqlite3", file_path=""),
        "ws_config['params']['file_path'] must be the path of a file, not ''",
    ),
    (params("sqlite3", file_path=None), "ws_config['params'] for sqlite3 needs 'file_path'"),
    (
        params("sqlite3", file_path="x", table_name=None),
        "ws_config['params']['table_name'] must be a non-empty string, not None",
    ),
    (params("redis"), "ws_config['params'] for redis needs 'uri', or 'host'"),
    (
        params("redis", host="h", port="6379"),
        "ws_config['params']['port'] must be a port from 1 to 65535, not a value of type str",
    ),
    (
        params("redis", host="h", port=70000),
        "ws_config['params']['port'] must be a port from 1 to 65535, not 70000",
    ),
    (
        params("redis", host="h", db=-1),
        "ws_config['params']['db'] must be a whole number of at least 0, not -1",
    ),
    (
        params("redis", host="h", ssl="yes"),
        "ws_config['params']['ssl'] must be True or False, not a value of type str",
    ),
    (
        params("redis", host="h", password=12345),
        "ws_config['params']['password'] must be a string, not a value of type int",
    ),
    (
        params("postgresql"),
        "ws_config['params'] for postgresql needs 'uri', "
        "or 'database', 'user', 'password' and 'host'",
    ),
    (
        params("postgresql", host="h", user="u"),
        "ws_config['params'] for postgresql needs 'uri', "
        "or 'database', 'user', 'password' and 'host'; missing: 'database' and 'password'",
    ),
    (
        params("postgresql", host="h", uri="postgresql://u:secret@h/d"),
        "ws_config['params'] for postgresql needs either 'uri', "
        "or 'database', 'user', 'password' and 'host', not both",
    ),
    (params("dynamodb"), "ws_config['params'] for dynamodb needs 'table_name'"),
    (
        params("dynamodb", table_name="t", endpoint_url="localhost:8000"),
        "ws_config['params']['endpoint_url'] must be an http:// or https:// URL with a host",
    ),
    (params("s3", region_name="eu-west-1"), "ws_config['params'] for s3 needs 'bucket'"),
]


@pytest.mark.parametrize(("ws_config", "text"), BAD)
def test_a_mistake_in_ws_config_has_its_text(ws_config: Any, text: str) -> None:
    """The key, what was expected, and the nearest valid name; never a secret."""
    with pytest.raises(ConfigurationError) as caught:
        load(ws_config, None)
    assert str(caught.value) == text


def test_ws_config_and_dsn_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(MEMORY, "memory://")
    text = "ws_config and dsn say the same thing: give one of them, not both"
    assert str(caught.value) == text


def test_the_defaults_are_the_documented_ones() -> None:
    """What is not given has a value."""
    assert load(MEMORY, None) == Settings(
        backend="memory",
        params={},
        endpoint_url=None,
        region_name=None,
        path="/",
        path_query="path",
        ttl=7800,
        allowed_origins=None,
        client_ip_header=None,
        trusted_proxies=frozenset(),
        exclude_headers=frozenset(),
        exclude_query=frozenset(),
        binary="text",
        linger=2.0,
        slow_client=2.0,
        state=True,
        state_limit=32768,
    )


def test_every_setting_can_be_given() -> None:
    """Header names are lower-cased, those of parameters are not; lists become sets."""
    given = {
        "backend": "memory",
        "api_gateway_endpoint_url": "https://ws.example.com/chat",
        "api_gateway_region_name": "eu-west-1",
        "path": "/ws",
        "path_query": None,
        "ttl": 60,
        "allowed_origins": ("https://app.example.com:8443", "null"),
        "client_ip_header": "X-Forwarded-For",
        "trusted_proxies": ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"],
        "exclude_headers": ["Authorization", "cookie"],
        "exclude_query": ["Token", "key"],
        "binary": "base64",
        "linger": 0,
        "slow_client": 0.5,
        "state": False,
        "state_limit": 1000,
    }
    assert load(given, None) == Settings(
        backend="memory",
        params={},
        endpoint_url="https://ws.example.com/chat",
        region_name="eu-west-1",
        path="/ws",
        path_query=None,
        ttl=60,
        allowed_origins=frozenset({"https://app.example.com:8443", "null"}),
        client_ip_header="x-forwarded-for",
        trusted_proxies=frozenset(map(ip_network, ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1/32"])),
        exclude_headers=frozenset({"authorization", "cookie"}),
        exclude_query=frozenset({"Token", "key"}),
        binary="base64",
        linger=0.0,
        slow_client=0.5,
        state=False,
        state_limit=1000,
    )


@pytest.mark.parametrize(
    ("ws_config", "expected"),
    [
        (
            params("sqlite3", file_path=Path("/tmp/a")),
            {"file_path": "/tmp/a", "table_name": "connection"},
        ),
        (
            params("redis", host="h"),
            {
                "uri": None,
                "host": "h",
                "port": 6379,
                "username": None,
                "password": None,
                "db": 0,
                "ssl": False,
                "key_prefix": "longwire:",
            },
        ),
        (
            params("postgresql", database="d", user="u", password="", host="h", uri=None),
            {
                "uri": None,
                "database": "d",
                "user": "u",
                "password": "",
                "host": "h",
                "port": 5432,
                "connect_timeout": 5,
                "table_name": "connection",
            },
        ),
        (
            params("dynamodb", table_name="t", region_name="eu-west-1"),
            {"table_name": "t", "region_name": "eu-west-1", "endpoint_url": None},
        ),
        (
            params("s3", bucket="b"),
            {"bucket": "b", "region_name": None, "endpoint_url": None, "prefix": ""},
        ),
    ],
)
def test_params_are_complete_with_defaults(
    ws_config: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Each documented parameter is there, None where an optional one was not given."""
    assert load(ws_config, None).params == expected


def test_settings_cannot_change_and_do_not_show_secrets() -> None:
    """Neither the caller's dict nor a log line gets at them."""
    given = params("redis", host="h", password="secret")
    settings = load(given, None)
    given["params"]["host"] = "other"
    assert settings.params["host"] == "h"
    assert "secret" not in repr(settings)
    with pytest.raises(TypeError):
        settings.params["host"] = "other"  # type: ignore[index]  # that it fails is the point


def test_the_backend_is_made_from_its_name(tmp_path: Path) -> None:
    """Each name leads to one class."""
    file = tmp_path / "ws.sqlite3"
    assert isinstance(make_backend(load(MEMORY, None)), MemoryBackend)
    made = make_backend(load(params("sqlite3", file_path=file, table_name="ws"), None))
    assert isinstance(made, SQLite3Backend)


def test_a_backend_object_is_used_as_it_is() -> None:
    """Third-party stores come this way."""
    backend = MemoryBackend()
    assert make_backend(load({"backend": backend}, None)) is backend


@pytest.mark.parametrize(
    ("ws_config", "name"),
    [
        (params("redis", host="h"), "RedisBackend"),
        (params("postgresql", uri="postgresql://h/d"), "PostgreSQLBackend"),
        (params("dynamodb", table_name="ttt", region_name="eu-west-1"), "DynamoDBBackend"),
        (params("s3", bucket="bbb", region_name="eu-west-1"), "S3Backend"),
    ],
)
def test_a_store_with_a_server_is_made_without_it(ws_config: dict[str, Any], name: str) -> None:
    """Every parameter that is documented is one of the class; nothing is opened yet."""
    made = make_backend(load(ws_config, None))
    assert (type(made).__name__, made.name) == (name, ws_config["backend"])


@pytest.mark.parametrize(
    "ws_config", [params("dynamodb", table_name="ttt"), params("s3", bucket="bbb")]
)
def test_a_region_that_nobody_tells_is_an_error(
    ws_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the constructor, not of the first event."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError) as caught:
        make_backend(load(ws_config, None))
    assert str(caught.value) == (
        f"{ws_config['backend']}: the region is unknown: set region_name in its parameters, or the "
        "environment variable AWS_REGION"
    )


NO_DRIVER = """
import sys
*drivers, dsn = sys.argv[1:]
sys.modules.update(dict.fromkeys(drivers))
from longwire.config.settings import load, make_backend
try:
    make_backend(load(None, dsn))
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("backend", "driver", "dsn"),
    [
        ("postgresql", "psycopg2 or psycopg", "postgresql://h/d"),
    ],
)
def test_a_missing_driver_prints_the_pip_line(backend: str, driver: str, dsn: str) -> None:
    """An interpreter that cannot import the driver says how to install it."""
    command = [sys.executable, "-c", NO_DRIVER, *driver.split(" or "), dsn]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    text = f"the backend '{backend}' needs {driver}: pip install 'longwire[{backend}]'\n"
    assert done.stdout == text


BROKEN_DRIVER = """
import sys
sys.modules["longwire_backends.postgresql.errors"] = None
from longwire.config.settings import load, make_backend
make_backend(load(None, "postgresql://h/d"))
"""


def test_another_missing_module_is_not_blamed_on_the_driver() -> None:
    """A broken installation keeps its own traceback."""
    command = [sys.executable, "-c", BROKEN_DRIVER]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert "ModuleNotFoundError" in done.stderr
    assert "ConfigurationError" not in done.stderr


SECRET = "s3cr3t"
DSNS = (f"redis://:{SECRET}@h:6379/0", f"postgresql://u:{SECRET}@h/d", f"u:{SECRET}@h")


def _misplaced(dsn: str) -> Iterator[dict[str, Any]]:
    """Put a DSN into every place where something else belongs."""
    yield {"app": dsn, "ws_config": MEMORY}
    yield {"ws_config": dsn}
    for name in ("lifespan", "metrics", "tracing", "fanout"):
        yield {"ws_config": MEMORY, name: dsn}
    for name in ("queue_url", "threshold", "region_name", dsn):
        queue = "https://sqs.eu-west-1.amazonaws.com/1/q"
        yield {"ws_config": MEMORY, "fanout": {"queue_url": queue, name: dsn}}
    for key in OWN:
        yield {"ws_config": {**MEMORY, key.name: dsn}}
        yield {"ws_config": {**MEMORY, key.name: [dsn]}}
        yield {"ws_config": {**MEMORY, key.name: {dsn: dsn}}}
    yield {"ws_config": {**MEMORY, dsn: 1}}
    for backend, store in STORES.items():
        given = {"file_path": "f", "host": "h", "database": "d", "user": "u", "password": "p"}
        needed = given | {"table_name": "table", "bucket": "bucket"}
        good = {key.name: needed[key.name] for key in store.keys if key.name in needed}
        for name in (*(key.name for key in store.keys), dsn):
            yield {"ws_config": {"backend": backend, "params": good | {name: dsn}}}
            yield {"ws_config": {"backend": backend, "params": {name: dsn}}}
            yield {"ws_config": {"backend": backend, "params": good, name: dsn}}
    for scheme in ("memory://", "sqlite:///f", "redis://h", "dynamodb://t", "s3://bucket"):
        yield {"dsn": f"{scheme}?{dsn}"}
        for name in ("path", "ttl", "port", "region", "backend", dsn):
            yield {"dsn": f"{scheme}?{name}={dsn}"}
    yield {"dsn": f"redsi{dsn}"}
    yield {"dsn": f"{dsn}://h"}
    yield {"dsn": f"redis://:x?{SECRET}@h"}
    yield {"dsn": f"redis://:x?{SECRET}=y@h"}
    yield {"dsn": f"redis://:x/{SECRET}@h"}
    yield {"dsn": f"redis://:x#{SECRET}@h"}


@pytest.mark.parametrize("dsn", DSNS)
def test_no_error_shows_the_password_of_a_dsn_in_the_wrong_place(dsn: str) -> None:
    """Neither its text nor what it is chained to."""

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    told = [text for text in (_refusal(app, each) for each in _misplaced(dsn)) if text]
    assert len(told) > 100
    assert [text for text in told if SECRET in text] == []


def _refusal(app: Any, arguments: dict[str, Any]) -> str:
    """Return all that the error of a constructor shows; "" when it takes this."""
    try:
        Longwire(**({"app": app} | arguments))
    except ConfigurationError as error:
        return "".join(traceback.format_exception(error, limit=0))
    return ""
