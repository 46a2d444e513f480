"""The stores to measure with, their servers in processes of their own; those are the tests'."""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from benchmarks.servers import quick_dynamodb, running
from longwire_backends.dynamodb import DynamoDBBackend
from longwire_backends.s3.backend import S3Backend
from tests.servers.aws import aws_server
from tests.servers.postgresql import PASSWORD, PostgreSQLServer
from tests.servers.redis import RedisServer, find_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

AWS_URL = "http://127.0.0.1:PORT"


class Store(NamedTuple):
    """A store, ready for use. "PORT" stands for the port to speak to.

    Attributes:
        params: what Longwire gets.
        dsn: what Mangum gets.
        port: where the server is; 0 where there is none.
        config: what else Longwire's `ws_config` has.
    """

    name: str
    params: dict[str, Any]
    dsn: str
    port: int = 0
    config: Mapping[str, Any] = {}

    def arguments(self, adapter: str, url: str, port: int) -> str:
        """Return what an adapter is made with, in JSON; `url` is that of the management API."""
        arguments: dict[str, Any] = {
            "dsn": self.dsn,
            "api_gateway_endpoint_url": f"{url}/@connections",
            "api_gateway_region_name": "eu-west-1",
        }
        if adapter == "longwire":
            store = {"backend": self.name, "params": self.params, **self.config}
            arguments = {"ws_config": {**store, "api_gateway_endpoint_url": url}}
        return json.dumps(arguments).replace("PORT", str(port))


@contextmanager
def memory_store() -> Iterator[Store]:
    yield Store("memory", {}, "")


@contextmanager
def sqlite3_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        yield Store("sqlite3", {"file_path": f"{folder}/longwire"}, f"sqlite://{folder}/mangum")


@contextmanager
def redis_store() -> Iterator[Store]:
    with closing(RedisServer(find_program() or "redis-server")) as redis:
        url = "redis://127.0.0.1:PORT"
        yield Store("redis", {"uri": url}, url, redis.port)


@contextmanager
def postgresql_store() -> Iterator[Store]:
    with closing(PostgreSQLServer()) as postgresql:
        database = f"postgresql://owner:{quote(PASSWORD, safe='')}@127.0.0.1:PORT/postgres"
        yield Store("postgresql", {"uri": database}, database, postgresql.port)


@contextmanager
def dynamodb_store() -> Iterator[Store]:
    """With Longwire's table; Mangum makes its own."""
    with closing(aws_server("moto")) as aws:
        aws.start()
        asyncio.run(DynamoDBBackend("longwire", endpoint_url=aws.url).create())
        table = {"table_name": "longwire", "endpoint_url": AWS_URL}
        yield Store("dynamodb", table, f"dynamodb://mangum?endpoint_url={AWS_URL}", aws.port)


@contextmanager
def quick_dynamodb_store() -> Iterator[Store]:
    """What Mangum, which asks about its table at each event, cannot use."""
    with running(quick_dynamodb) as server:
        table = {"table_name": "longwire", "endpoint_url": AWS_URL}
        yield Store("dynamodb", table, "", int(server.address.rpartition(":")[2]))


@contextmanager
def s3_store() -> Iterator[Store]:
    with closing(aws_server("moto")) as aws:
        aws.start()
        asyncio.run(S3Backend("bench", endpoint_url=aws.url).create())
        bucket = {"bucket": "bench", "endpoint_url": AWS_URL}
        yield Store("s3", bucket, f"s3://bench?endpoint_url={AWS_URL}", aws.port)


STORES: dict[str, Callable[[], AbstractContextManager[Store]]] = {
    "memory": memory_store,
    "sqlite3": sqlite3_store,
    "redis": redis_store,
    "postgresql": postgresql_store,
    "dynamodb": dynamodb_store,
    "s3": s3_store,
}
QUICK_STORES = {**STORES, "dynamodb": quick_dynamodb_store}


@contextmanager
def open_stores(names: Iterable[str], *, quick: bool = False) -> Iterator[list[Store]]:
    """Start their servers, or what is quicker; say which of them cannot be had."""
    makers = QUICK_STORES if quick else STORES
    with ExitStack() as stack:
        found = []
        for name in names:
            try:
                found.append(stack.enter_context(makers[name]()))
            except OSError as error:
                print(f"\nno {name}: {error}")
        yield found
