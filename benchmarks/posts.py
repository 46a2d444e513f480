"""A measured process that posts one frame to each of many connections, as fast as it can.

    python -m benchmarks.posts NAME CONNECTIONS_URL [FILE]

Orders come in as in `measured.py`: "POST 10000" posts to so many connections. NAME is longwire,
floor, boto3 (32 threads), or aiohttp or httpx (both signed by botocore). All but boto3 have 100
requests under way. Longwire sends to a group, over plain HTTP as the others, where it looks anew
for keys at each post (3 us); its group costs nothing to read, but that of "stored" is in a file.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from benchmarks.measured import SENT_WITH, time_orders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    Run = Callable[[int], Awaitable[None]]

AT_ONCE = 100
THREADS = 32
REGION = "eu-west-1"
FRAME = SENT_WITH["MESSAGE"]["body"].encode()


def longwire(url: str) -> Run:
    from longwire import Connections
    from longwire_backends.base import Page
    from longwire_backends.memory import MemoryBackend

    class Crowd(MemoryBackend):
        """A group of as many members as its name says, which takes no memory."""

        async def group_members(
            self, group: str, *, limit: int = 1000, after: str | None = None
        ) -> Page:
            begin, count = int(after or 0), int(group)
            end = min(begin + limit, count)
            members = tuple(map(connection_id, range(begin, end)))
            return Page(members, str(end) if end < count else None)

    connections = Connections(ws_config={"backend": Crowd()}, api_gateway_endpoint_url=url)

    async def run(count: int) -> None:
        result = await connections.group_send(str(count), FRAME)
        assert len(result.delivered) == count

    return run


def stored(url: str, file_path: str) -> Run:
    """A group of so many members in a file, who join at first."""
    from longwire import Connections
    from longwire_backends.sqlite3.backend import SQLite3Backend

    store = SQLite3Backend(file_path)
    connections = Connections(ws_config={"backend": store}, api_gateway_endpoint_url=url)
    joined = set()

    async def run(count: int) -> None:
        if count not in joined:
            joined.add(count)
            for member in connection_ids(count):
                await store.group_add(str(count), member, int(time.time()) + 7800)
        result = await connections.group_send(str(count), FRAME)
        assert len(result.delivered) == count

    return run


def boto3(url: str) -> Run:
    from concurrent.futures import ThreadPoolExecutor

    # Not import statements, since they come without types, here and below.
    config = import_module("botocore.config").Config(
        max_pool_connections=THREADS, retries={"total_max_attempts": 1}
    )
    session = import_module("boto3.session").Session(region_name=REGION)
    client = session.client("apigatewaymanagementapi", endpoint_url=url, config=config)
    executor = ThreadPoolExecutor(THREADS)

    def post(connection_id: str) -> None:
        client.post_to_connection(ConnectionId=connection_id, Data=FRAME)

    async def run(count: int) -> None:
        list(executor.map(post, connection_ids(count)))

    return run


def aiohttp(url: str) -> Run:
    library, yarl, sign = import_module("aiohttp"), import_module("yarl"), botocore_signer(url)
    session: Any = None

    async def post(connection_id: str) -> None:
        target, headers = sign(connection_id)
        address = yarl.URL(target, encoded=True)
        async with session.post(address, data=FRAME, headers=headers) as response:
            await response.read()
            assert response.status == 200

    async def run(count: int) -> None:
        nonlocal session
        if session is None:  # it can only be made in a loop
            session = library.ClientSession(connector=library.TCPConnector(limit=AT_ONCE))
        await for_each(connection_ids(count), post)

    return run


def httpx(url: str) -> Run:
    library, sign = import_module("httpx"), botocore_signer(url)
    limits = library.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    client = library.AsyncClient(limits=limits)

    async def post(connection_id: str) -> None:
        target, headers = sign(connection_id)
        response = await client.post(target, content=FRAME, headers=headers)
        assert response.status_code == 200

    return lambda count: for_each(connection_ids(count), post)


def floor(url: str) -> Run:
    from benchmarks.floor.handler import FloorPosts

    wires = [FloorPosts(url) for _ in range(AT_ONCE)]

    async def run(count: int) -> None:
        left = iter(connection_ids(count))

        async def work(posts: FloorPosts) -> None:
            for connection_id in left:
                await posts.post(connection_id, FRAME)

        await asyncio.gather(*map(work, wires))

    return run


def botocore_signer(url: str) -> Callable[[str], tuple[str, dict[str, str]]]:
    auth, awsrequest = import_module("botocore.auth"), import_module("botocore.awsrequest")
    keys = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    credentials = import_module("botocore.credentials").Credentials(*keys)
    signer = auth.SigV4Auth(credentials, "execute-api", REGION)

    def sign(connection_id: str) -> tuple[str, dict[str, str]]:
        target = f"{url}/@connections/{quote(connection_id, safe='')}"
        request = awsrequest.AWSRequest("POST", target, data=FRAME)
        signer.add_auth(request)
        return target, dict(request.headers)

    return sign


async def for_each(ids: Iterable[str], post: Callable[[str], Awaitable[None]]) -> None:
    """Post to each connection, with no task of its own."""
    left = iter(ids)

    async def work() -> None:
        for connection_id in left:
            await post(connection_id)

    await asyncio.gather(*[work() for _ in range(AT_ONCE)])


@functools.cache
def connection_ids(count: int) -> list[str]:
    return list(map(connection_id, range(count)))


def connection_id(number: int) -> str:
    return f"QWEaVd7I{number:07}="


def main(name: str, url: str, *file_path: str) -> None:
    makers: dict[str, Callable[..., Run]] = {
        "longwire": longwire,
        "stored": stored,
        "floor": floor,
        "boto3": boto3,
        "aiohttp": aiohttp,
        "httpx": httpx,
    }
    run = makers[name](url, *file_path)
    runner = asyncio.Runner()

    async def perform(times: int) -> None:
        await run(times)

    time_orders(lambda _, times: runner.run(perform(times)))
    # Not all of them like to be left with open connections; that they close is not measured.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
