"""Two processes that add to, discard from and send to one group at the same time lose nothing.

Each is a script with `Connections(...)` and no event, on a store that both share. The management
API is a recording server of this process, so what every member got is known to the letter.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from longwire_backends.dynamodb import DynamoDBBackend
from longwire_backends.postgresql.backend import PostgreSQLBackend
from longwire_backends.redis.backend import RedisBackend
from longwire_backends.s3.backend import S3Backend
from longwire_backends.sqlite3.backend import SQLite3Backend
from tests.backends.contract import members
from tests.backends.processes import run_together, start
from tests.backends.test_dynamodb import new_table
from tests.backends.test_s3 import new_bucket
from tests.connections_server import ConnectionsServer
from tests.talk import old_record

if TYPE_CHECKING:
    from pathlib import Path

    from longwire_backends import Backend
    from tests.servers.postgresql import PostgreSQLServer
    from tests.servers.process import ServerProcess
    from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

FAR = 1 << 40
PROCESSES = ("ann", "bob")
MESSAGES = 40
ROUNDS = 20
# Not "-X dev": asyncio would then report what a busy machine holds up.
FLAGS = ("-W", "error")
PERMANENT = [f"permanent-{number}" for number in range(10)]

# These are gone, and no $disconnect has told of it.
GONE = [f"gone-{number}" for number in range(5)]
# Of each process two coroutines send, so that each of the gone may be met by as many sends at once.
SPEAKERS = 2 * len(PROCESSES)

# Both have the shared ones join and leave at the same time, and both end with the same: so does
# the store, in whatever order it has seen them.
SHARED = {"shared-in": True, "shared-out": False}

SCRIPT = f"""
import json
from longwire import Connections

me, ws_config, endpoint = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
connections = Connections(ws_config=ws_config, api_gateway_endpoint_url=endpoint)

def speaker():
    gone = set()

    async def send(text):
        result = await connections.group_send("g", text)
        assert (result.failed, result.incomplete) == ({{}}, None), result
        delivered = list(result.delivered)
        assert len(set(delivered)) == len(delivered), delivered
        assert gone.isdisjoint([*delivered, *result.gone]), result
        gone.update(result.gone)
        return delivered

    return send

async def toggle(member, last):
    for _ in range({ROUNDS}):
        await connections.group_add("g", member)
        await connections.group_discard("g", member)
    if last:
        await connections.group_add("g", member)

async def speak():
    send = speaker()
    for n in range({MESSAGES}):
        await send(f"{{me}} {{n}}")

async def toggle_and_speak():
    send = speaker()
    own = me + "-spoken-to"
    for n in range({ROUNDS}):
        await connections.group_add("g", own)
        assert own in await send(f"{{me}} in {{n}}")
        await connections.group_discard("g", own)
        assert own not in await send(f"{{me}} out {{n}}")

async def main():
    async with connections:
        await asyncio.gather(
            speak(),
            toggle_and_speak(),
            *(toggle(member, last) for member, last in {SHARED}.items()),
            *(toggle(f"{{me}}-{{n}}", n % 2) for n in range(6)),
        )

wait()
asyncio.run(main())
"""


class Store(NamedTuple):
    """A store of the test's own.

    Attributes:
        ws_config: leads others to it.
        backend: leads this process to it.
    """

    ws_config: dict[str, Any]
    backend: Backend


@pytest.fixture
def redis(redis_server: RedisServer) -> Store:
    params = {
        "uri": f"redis://127.0.0.1:{redis_server.port}",
        "key_prefix": f"{uuid.uuid4().hex}:",
    }
    return _store(RedisBackend, params)


@pytest.fixture
def postgresql(postgresql_server: PostgreSQLServer) -> Store:
    table = f"t_{uuid.uuid4().hex}"
    return _store(PostgreSQLBackend, postgresql_server.parameters(table_name=table))


@pytest.fixture
def sqlite3(tmp_path: Path) -> Store:
    return _store(SQLite3Backend, {"file_path": str(tmp_path / "store.sqlite3")})


@pytest.fixture
def dynamodb(ministack: ServerProcess, aws_keys: None) -> Store:
    params = {"table_name": new_table(ministack), "endpoint_url": ministack.url}
    return _store(DynamoDBBackend, params)


@pytest.fixture
def s3(ministack: ServerProcess, aws_keys: None) -> Store:
    params = {"bucket": new_bucket(ministack), "endpoint_url": ministack.url}
    return _store(S3Backend, params)


def _store(kind: type[Backend], params: dict[str, Any]) -> Store:
    make: Any = kind
    return Store({"backend": kind.name, "params": params}, make(**params))


@pytest.fixture(params=["redis", "postgresql", "sqlite3", "dynamodb", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each store that processes can share."""
    store: Store = request.getfixturevalue(request.param)
    return store


async def test_nothing_is_lost(store: Store) -> None:
    """Members are those whose last change says so; who was one all along got each message once."""
    own = [f"{me}-{number}" for me in PROCESSES for number in range(6)]
    changing = [*own, *SHARED, *(f"{me}-spoken-to" for me in PROCESSES)]
    async with ConnectionsServer(unknown_is_gone=True) as server:
        server.known = {*PERMANENT, *changing}
        for connection_id in [*PERMANENT, *GONE, *changing]:
            await store.backend.put(connection_id, old_record(), FAR)
        for connection_id in PERMANENT + GONE:
            await store.backend.group_add("g", connection_id, FAR)
        await asyncio.to_thread(_run, store, server.url)
    # Who has an odd number ended with being added.
    expected = {*PERMANENT, "shared-in", *(one for one in own if int(one[-1]) % 2)}
    assert sorted(await members(store.backend, "g")) == sorted(expected)
    for connection_id in [*changing, *GONE]:
        groups = ("g",) if connection_id in expected else ()
        assert await store.backend.groups(connection_id) == groups
    await store.backend.close()
    _check_delivered(server)


def _run(store: Store, endpoint: str) -> None:
    arguments = (json.dumps(store.ws_config), endpoint)
    run_together([start("", SCRIPT, me, *arguments, flags=FLAGS) for me in PROCESSES])


def _check_delivered(server: ConnectionsServer) -> None:
    rounds = [f"{where} {number}" for where in ("in", "out") for number in range(ROUNDS)]
    said = [*map(str, range(MESSAGES)), *rounds]
    sent = sorted(f"{me} {text}" for me in PROCESSES for text in said)
    assert [item for item, count in Counter(server.delivered).items() if count > 1] == []
    for member in PERMANENT:
        assert sorted(body.decode() for to, body in server.delivered if to == member) == sent
    assert sorted({body.decode() for _, body in server.delivered}) == sent
    for connection_id in GONE:
        assert 1 <= len(server.frames(connection_id)) <= SPEAKERS
