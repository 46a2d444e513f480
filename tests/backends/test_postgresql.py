"""The PostgreSQL store keeps the contract, and what is its own: arguments, tables, loops, forks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import random
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg2
import pytest

from longwire_backends.base import BackendError, ConfigurationError, Page
from longwire_backends.postgresql import connection as postgresql_connection
from longwire_backends.postgresql import driver
from longwire_backends.postgresql.backend import PostgreSQLBackend
from tests.backends.contract import BackendContract, OpenBackend, members
from tests.backends.processes import ProcessContract, finish, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.postgresql import PostgreSQLServer, Proxy

pytestmark = pytest.mark.usefixtures("postgresql_driver")

FAR = 1 << 40
_names = itertools.count()

# The parent's connection must survive both the child's use of its own and the child's end.
FORK = """
asyncio.run(backend.put("before", "v", FAR))
child = os.fork()
if child == 0:
    asyncio.run(backend.put("child", "v", FAR))
    asyncio.run(backend.close())
    sys.exit(0)
status = os.waitpid(child, 0)[1]
asyncio.run(backend.put("parent", "v", FAR))
asyncio.run(backend.close())
sys.exit(status)
"""


@pytest.fixture
def parameters(postgresql_server: PostgreSQLServer) -> dict[str, Any]:
    """What leads to tables that no other test uses, and that are not there yet."""
    return postgresql_server.parameters(table_name=f"store_{next(_names)}")


@pytest.fixture
def backend(parameters: dict[str, Any]) -> Iterator[PostgreSQLBackend]:
    """A store without tables."""
    backend = PostgreSQLBackend(**parameters)
    yield backend
    asyncio.run(backend.close())


class TestPostgreSQLBackend(BackendContract):
    """Its storage is three tables."""

    tested_limit: ClassVar[int | None] = 1000

    @pytest.fixture
    def open_backend(self, parameters: dict[str, Any]) -> OpenBackend:
        """Open the same tables each time."""
        return lambda clock: PostgreSQLBackend(**parameters, clock=clock)


@pytest.mark.parametrize(
    "table_name", ["select", "group", "_", "t1", "Table_2", "x" * 46, "connection_group"]
)
def test_any_identifier_is_a_table(
    parameters: dict[str, Any], postgresql_server: PostgreSQLServer, table_name: str
) -> None:
    """Reserved words and long names work, because names are quoted."""
    for suffix in ("", "_group", "_journal"):
        postgresql_server.execute(f'DROP TABLE IF EXISTS "{table_name}{suffix}"')
    backend = PostgreSQLBackend(**parameters | {"table_name": table_name})
    assert asyncio.run(backend.create()) == (
        f"created table {table_name}",
        f"created table {table_name}_group",
        f"created table {table_name}_journal",
    )
    assert asyncio.run(put_take_close(backend)) == "v"


@pytest.mark.parametrize(
    "table_name",
    ["", "1a", "a b", "a-b", "a.b", 'a"b', "a'b", "a;--", "a\n", "a%s", "{0}", "é", "x" * 47],
)
def test_what_is_no_identifier_is_refused(table_name: str) -> None:
    """The constructor names the key and repeats the value; nothing reaches a server."""
    with pytest.raises(ConfigurationError) as raised:
        PostgreSQLBackend(uri="postgresql://host/db", table_name=table_name)
    assert str(raised.value) == (
        "table_name: expected at most 46 letters, digits and underscores, not a digit first,"
        f" got {table_name!r}"
    )


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "secret",
        "postgresql+psycopg2://user:secret@host/db",
        "mysql://user:secret@host/db",
        "postgresql://user:secret@host/db?secret=1",
        "postgresql://user:%zzsecret@host/db",
        "postgresql://user:sec%00ret@host/db",
        "postgresql://user:secret@host:port/db",
        "postgresql://user:secret@host:123456/db",
        # Passwords with special characters that are not escaped.
        "postgresql://user:p@secret@host/db",
        "postgresql://user:pa/secret@host/db",
        "postgresql://user:12/secret@host/db",
        "postgresql://user:p@s:secret@host/db",
        "host=localhost password='secret",
    ],
)
def test_a_malformed_uri_is_refused(uri: str) -> None:
    """The constructor shows an example, and nothing of the URI."""
    with pytest.raises(ConfigurationError) as raised:
        PostgreSQLBackend(uri=uri)
    assert str(raised.value) == (
        "uri: expected for example postgresql://user:password@host:5432/database,"
        " with special characters percent-encoded"
    )
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize("missing", ["database", "user", "password", "host"])
def test_a_missing_part_is_refused(missing: str) -> None:
    """Without a URI its parts are needed."""
    parts = dict.fromkeys(("database", "user", "password", "host"), "x")
    del parts[missing]
    with pytest.raises(ConfigurationError) as raised:
        PostgreSQLBackend(**parts)  # type: ignore[arg-type]
    assert str(raised.value) == "expected uri, or database, user, password and host"


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "1.5", ""])
def test_a_wrong_connect_timeout_is_refused(seconds: str) -> None:
    """libpq would wait for ever, or complain at the first event."""
    with pytest.raises(ConfigurationError) as raised:
        PostgreSQLBackend(uri=f"postgresql://host/db?connect_timeout={seconds}")
    assert str(raised.value) == (
        f"connect_timeout: expected whole seconds from 1 on, got {seconds!r}"
    )


def test_a_uri_keeps_its_own_options(postgresql_server: PostgreSQLServer) -> None:
    """What is ours is only a default; the encoding alone is not for choice."""
    backend = PostgreSQLBackend(
        uri=f"{postgresql_server.uri()}?application_name=mine&connect_timeout=9&client_encoding=latin1",
        table_name="with_uri",
    )

    async def scenario() -> None:
        await backend.put("\N{SLICE OF PIZZA}", "v", FAR)
        names = postgresql_server.execute("SELECT application_name FROM pg_stat_activity")
        assert ("mine",) in names
        await backend.close()

    asyncio.run(scenario())


def test_two_tables_share_nothing(parameters: dict[str, Any]) -> None:
    """Each table name is a store of its own."""
    first = PostgreSQLBackend(**parameters | {"table_name": "first"})
    second = PostgreSQLBackend(**parameters | {"table_name": "second"})

    async def scenario() -> None:
        await first.put("a", "v", FAR)
        assert await second.get("a") is None
        await asyncio.gather(first.close(), second.close())

    asyncio.run(scenario())


def test_create_tells_what_it_did(backend: PostgreSQLBackend, parameters: dict[str, Any]) -> None:
    """The second time all tables are there."""
    table = parameters["table_name"]
    assert asyncio.run(backend.create()) == (
        f"created table {table}",
        f"created table {table}_group",
        f"created table {table}_journal",
    )
    assert asyncio.run(backend.create()) == (
        f"table {table} is there already",
        f"table {table}_group is there already",
        f"table {table}_journal is there already",
    )


def test_a_dropped_table_is_made_again(
    backend: PostgreSQLBackend, parameters: dict[str, Any], postgresql_server: PostgreSQLServer
) -> None:
    """Whichever is missing, and whatever finds it so."""
    table = parameters["table_name"]

    async def scenario() -> None:
        version = await backend.put("a", "v", FAR)
        postgresql_server.execute(f'DROP TABLE "{table}"')
        assert await backend.update("a", "v", FAR, version) is None
        postgresql_server.execute(f'DROP TABLE "{table}_group"')
        await backend.group_add("g", "a", FAR)
        postgresql_server.execute(f'DROP TABLE "{table}", "{table}_group"')
        assert await backend.sweep() == 0
        assert (await backend.create())[0] == f"table {table} is there already"
        postgresql_server.execute(f'DROP TABLE "{table}_journal"')
        assert await backend.append("a", 1, "v", FAR)
        assert await backend.journal("a") == ("v",)

    asyncio.run(scenario())


def test_a_database_of_an_earlier_version(
    backend: PostgreSQLBackend, parameters: dict[str, Any], postgresql_server: PostgreSQLServer
) -> None:
    """It has no journals; only an append makes a place for them, or `longwire init`."""
    table = parameters["table_name"]

    async def scenario() -> None:
        version = await backend.put("a", "v", FAR)
        await backend.put("dead", "v", 1)
        await backend.group_add("g", "a", FAR)
        postgresql_server.execute(f'DROP TABLE "{table}_journal"')
        assert await backend.update("a", "w", FAR, version)
        assert await backend.groups("a") == ("g",)
        assert await backend.sweep() == 1
        assert await backend.journal("a") == ()
        await backend.drop_journal("a")
        assert await backend.take("a")
        assert postgresql_server.execute(f"SELECT to_regclass('{table}_journal')") == [(None,)]
        assert await backend.append("a", 1, "v", FAR)
        assert await backend.append("a", 2, "w", FAR)
        assert await backend.journal("a") == ("v", "w")
        postgresql_server.execute(f'DROP TABLE "{table}_journal"')
        assert await backend.create() == (
            f"table {table} is there already",
            f"table {table}_group is there already",
            f"created table {table}_journal",
        )

    asyncio.run(scenario())


@pytest.mark.parametrize("suffix", ["", "_group"])
def test_a_table_of_somebody_else_is_reported(
    backend: PostgreSQLBackend,
    parameters: dict[str, Any],
    postgresql_server: PostgreSQLServer,
    suffix: str,
) -> None:
    """Mangum's table, for one, has the same name by default and other columns."""
    table = parameters["table_name"]
    postgresql_server.execute(f'CREATE TABLE "{table}{suffix}" (id text, initial_scope text)')

    async def scenario() -> None:
        for operation, doing in (
            ("put", backend.put("a", "v", FAR)),
            ("get", backend.get("a")),
            ("take", backend.take("a")),
            ("update", backend.update("a", "v", FAR, "x")),
            ("group_add", backend.group_add("g", "a", FAR)),
            ("group_discard", backend.group_discard("g", "a")),
            ("group_members", backend.group_members("g")),
            ("groups", backend.groups("a")),
            ("connections", backend.connections()),
            ("group_discard_all", backend.group_discard_all("a")),
            ("sweep", backend.sweep()),
            ("create", backend.create()),
        ):
            with pytest.raises(BackendError) as raised:
                await doing
            assert str(raised.value) == (
                f"postgresql: {operation} failed: the table {table}, {table}_group or"
                f" {table}_journal is not one of Longwire's, give another table_name"
            )

    asyncio.run(scenario())
    assert postgresql_server.execute(f'SELECT * FROM "{table}{suffix}"') == []


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_cannot_be_kept_is_reported(backend: PostgreSQLBackend, text: str) -> None:
    """The error says why, and the connection goes on."""

    async def scenario() -> None:
        with pytest.raises(BackendError, match=r"NUL|surrogates not allowed"):
            await backend.put(text, "v", FAR)
        with pytest.raises(BackendError, match=r"NUL|surrogates not allowed"):
            await backend.group_add("g", text, FAR)
        assert await backend.get("a") is None

    asyncio.run(scenario())


def test_the_longest_ids_fit_an_index(backend: PostgreSQLBackend) -> None:
    """A group and a member of 1,024 bytes each, of the kind that does not compress."""
    letters = random.Random(1)
    group, member = (
        "".join(chr(letters.randrange(0x80, 0x800)) for _ in range(512)) for _ in range(2)
    )

    async def scenario() -> None:
        await backend.put(member, "v", FAR)
        await backend.group_add(group, member, FAR)
        assert await backend.group_members(group) == Page((member,), None)
        assert await backend.groups(member) == (group,)

    asyncio.run(scenario())


def test_sweep_deletes_in_batches(
    backend: PostgreSQLBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one statement deletes is counted and deleted all the same."""
    monkeypatch.setattr("longwire_backends.sql.SWEEP_BATCH", 2)

    async def scenario() -> None:
        for n in range(5):
            await backend.put(str(n), "v", 1)
            await backend.group_add("g", str(n), 1)
        assert await backend.sweep() == 10
        assert await backend.sweep() == 0

    asyncio.run(scenario())


def test_sweep_leaves_what_others_are_at(
    backend: PostgreSQLBackend, parameters: dict[str, Any], postgresql_server: PostgreSQLServer
) -> None:
    """A row that is locked does not hold the sweep up; the next sweep gets it."""
    asyncio.run(backend.put("busy", "v", 1))
    asyncio.run(backend.put("idle", "v", 1))
    with contextlib.closing(psycopg2.connect(**postgresql_server.parameters())) as connection:
        connection.cursor().execute(
            f'SELECT 1 FROM "{parameters["table_name"]}" WHERE connection_id = %s FOR UPDATE',
            ("busy",),
        )
        assert asyncio.run(backend.sweep()) == 1
        connection.rollback()
    assert asyncio.run(backend.sweep()) == 1


def test_a_strict_server_loses_no_update(
    postgresql_server: PostgreSQLServer, parameters: dict[str, Any], postgresql_driver: str
) -> None:
    """Where a role's transactions are serializable, those that the server undoes are repeated."""
    role = f"strict_{postgresql_driver}"
    postgresql_server.execute(
        f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'x'; "
        f"ALTER ROLE {role} SET default_transaction_isolation = 'serializable'"
    )
    strict = parameters | {"user": role, "password": "x"}

    async def scenario() -> None:
        backends = [PostgreSQLBackend(**strict) for _ in range(4)]
        await backends[0].put("a", "0", FAR)

        async def increment(backend: PostgreSQLBackend) -> None:
            version = None
            while version is None:
                record = await backend.get("a")
                assert record is not None
                version = await backend.update("a", str(int(record.value) + 1), FAR, record.version)

        await asyncio.gather(*map(increment, backends * 5))
        record = await backends[0].get("a")
        assert record is not None
        assert record.value == "20"
        await asyncio.gather(*(backend.close() for backend in backends))

    asyncio.run(scenario())


def test_each_operation_is_one_statement(
    postgresql_proxy: Proxy, parameters: dict[str, Any]
) -> None:
    """On one connection: nothing is looked at, set or created by the way."""
    backend = PostgreSQLBackend(**proxied(parameters, postgresql_proxy))

    async def scenario() -> None:
        version = await backend.put("a", "v", FAR)
        del postgresql_proxy.queries[:]
        await backend.put("a", "v", FAR)
        await backend.get("a")
        await backend.update("a", "v", FAR, version)
        await backend.connections()
        await backend.group_add("g", "a", FAR)
        await backend.group_discard_all("a")
        await backend.group_members("g")
        await backend.groups("a")
        await backend.group_discard("g", "a")
        await backend.take("a")
        for position in (1, 2):
            assert await backend.append("a", position, "v", FAR)
        assert await backend.append("a", 2, "w", FAR) is False
        await backend.journal("a")
        await backend.drop_journal("a")
        await backend.sweep()

    for _ in range(2):
        asyncio.run(scenario())
        verbs = [query.split()[0] for query in postgresql_proxy.queries]
        assert verbs == [
            "INSERT",
            "SELECT",
            "UPDATE",
            "SELECT",
            "INSERT",
            "DELETE",
            "SELECT",
            "SELECT",
            "DELETE",
            "DELETE",
            "INSERT",
            "INSERT",
            "INSERT",
            "SELECT",
            "DELETE",
            "DELETE",
            "DELETE",
            "DELETE",
        ]
        assert postgresql_proxy.connections == 1
    asyncio.run(backend.close())


def test_many_coroutines_open_one_connection(
    postgresql_proxy: Proxy, parameters: dict[str, Any]
) -> None:
    """The first use may be many at the same time; only to connect takes a thread."""
    backend = PostgreSQLBackend(**proxied(parameters, postgresql_proxy))

    async def scenario() -> None:
        await asyncio.gather(*(backend.put(str(n), "v", FAR) for n in range(20)))
        assert own_threads() == []
        await backend.close()

    asyncio.run(scenario())
    assert postgresql_proxy.connections == 1
    asyncio.run(scenario())
    assert postgresql_proxy.connections == 2


def test_loops_come_and_go(backend: PostgreSQLBackend) -> None:
    """A backend that was opened on one loop works on the next, without being closed."""
    for _ in range(5):
        asyncio.run(backend.put("a", "v", FAR))
    assert asyncio.run(backend.get("a"))


def test_several_loops_at_once(backend: PostgreSQLBackend) -> None:
    """Threads with a loop each may share a backend, from its first use on."""
    run_in_threads([partial(asyncio.run, backend.put(str(n), "v", FAR)) for n in range(8)])
    for n in range(8):
        assert asyncio.run(backend.get(str(n)))


def test_a_system_without_poll(backend: PostgreSQLBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has only `select`."""
    monkeypatch.setattr(postgresql_connection, "_watched", postgresql_connection._by_select)
    assert asyncio.run(put_take_close(backend)) == "v"


def test_a_loop_that_knows_no_foreign_sockets(backend: PostgreSQLBackend) -> None:
    """That of Windows waits in a thread."""

    class Loop(asyncio.SelectorEventLoop):
        def add_reader(self, *_: object) -> None:
            raise NotImplementedError

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(put_take_close(backend)) == "v"


def test_who_asks_for_ever_leaves_the_loop_its_turn(backend: PostgreSQLBackend) -> None:
    """Answers that come at once are waited for on the spot, but not all of them."""

    async def ask() -> None:
        while True:
            await backend.get("a")

    async def scenario() -> None:
        await backend.put("a", "v", FAR)
        asking = asyncio.ensure_future(ask())
        for _ in range(100):
            await asyncio.sleep(0)
        asking.cancel()

    asyncio.run(scenario())


def test_after_an_answer_that_took_longer_the_loop_does_not_stand_still(
    backend: PostgreSQLBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it would have stood still that long."""
    connection, waits = backend._connection, []

    def has_input(seconds: float) -> bool:
        waits.append(seconds)
        return waiting(seconds)

    async def ask() -> None:
        for _ in range(16):
            await backend.get("a")

    asyncio.run(ask())
    waiting = connection._has_input
    monkeypatch.setattr(connection, "_has_input", has_input)
    monkeypatch.setattr(postgresql_connection, "_AT_ONCE", 0.0)
    asyncio.run(ask())
    # Each is a look for what has come unasked, but for the one that took longer.
    assert len([seconds for seconds in waits if seconds]) <= 1
    assert len(waits) >= 16


def test_a_slow_answer_leaves_the_loop_to_others(
    backend: PostgreSQLBackend, parameters: dict[str, Any], postgresql_server: PostgreSQLServer
) -> None:
    """Also after many that came at once."""

    async def scenario() -> None:
        for _ in range(20):
            await backend.put("a", "v", FAR)
        with contextlib.closing(psycopg2.connect(**postgresql_server.parameters())) as connection:
            connection.cursor().execute(f'LOCK TABLE "{parameters["table_name"]}"')
            getting = asyncio.ensure_future(backend.get("a"))
            # Which takes turns of this loop.
            await until_blocked(postgresql_server)
            connection.rollback()
        assert await getting

    asyncio.run(scenario())


def test_a_loop_that_stops_in_mid_statement_is_not_waited_for(
    backend: PostgreSQLBackend, parameters: dict[str, Any], postgresql_server: PostgreSQLServer
) -> None:
    """Another loop goes on without it, on a connection of its own; the first may go on, too."""
    with asyncio.Runner() as stopped:

        async def begin() -> asyncio.Task[Any]:
            getting = asyncio.ensure_future(backend.get("a"))
            await until_blocked(postgresql_server)
            return getting

        asyncio.run(backend.put("a", "v", FAR))
        with contextlib.closing(psycopg2.connect(**postgresql_server.parameters())) as connection:
            connection.cursor().execute(f'LOCK TABLE "{parameters["table_name"]}"')
            getting = stopped.run(begin())
            asyncio.run(backend.group_add("g", "a", FAR))
            connection.rollback()
        assert asyncio.run(backend.groups("a")) == ("g",)
        assert stopped.run(backend.get("a"))
        assert stopped.get_loop().run_until_complete(getting)
        assert stopped.run(backend.get("a"))


def test_which_driver_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """psycopg2 where both are there, as it costs a cold start less."""
    monkeypatch.undo()
    assert driver.installed().error is psycopg2.Error
    module = "longwire_backends.postgresql.with_psycopg2"
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.delattr("longwire_backends.postgresql.with_psycopg2")
    assert driver.installed().error.__module__ == "psycopg"


def test_a_backend_that_is_forgotten_lets_go(
    parameters: dict[str, Any], postgresql_server: PostgreSQLServer
) -> None:
    """Without a `close`, its connection ends once nobody has it any more."""
    uri = f"{postgresql_server.uri()}?application_name={parameters['table_name']}"
    backend = PostgreSQLBackend(uri=uri, table_name=parameters["table_name"])
    asyncio.run(backend.put("a", "v", FAR))
    connected = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s"
    assert postgresql_server.execute(connected, parameters["table_name"])
    del backend
    gc.collect()
    while postgresql_server.execute(connected, parameters["table_name"]):
        pass


def test_a_cancelled_statement_takes_no_answer_of_another(
    backend: PostgreSQLBackend, parameters: dict[str, Any], postgresql_server: PostgreSQLServer
) -> None:
    """What is cancelled while it runs ends unheard, what had not begun never does."""

    async def scenario() -> None:
        await backend.put("a", "of a", FAR)
        await backend.put("b", "of b", FAR)
        with contextlib.closing(psycopg2.connect(**postgresql_server.parameters())) as connection:
            connection.cursor().execute(f'LOCK TABLE "{parameters["table_name"]}"')
            running = asyncio.ensure_future(backend.get("a"))
            await until_blocked(postgresql_server)
            waiting = asyncio.ensure_future(backend.put("c", "v", FAR))
            await asyncio.sleep(0)
            running.cancel()
            waiting.cancel()
            answers = await asyncio.gather(running, waiting, return_exceptions=True)
            assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)
        record = await backend.get("b")
        assert record is not None
        assert record.value == "of b"
        assert await backend.get("c") is None

    asyncio.run(scenario())


def test_a_loop_that_ends_in_mid_statement_breaks_nothing(
    backend: PostgreSQLBackend, parameters: dict[str, Any], postgresql_server: PostgreSQLServer
) -> None:
    """An answer that comes when its loop is closed is dropped."""

    async def scenario() -> None:
        asyncio.ensure_future(backend.get("a"))  # noqa: RUF006
        await until_blocked(postgresql_server)

    asyncio.run(backend.put("a", "v", FAR))
    with contextlib.closing(psycopg2.connect(**postgresql_server.parameters())) as connection:
        connection.cursor().execute(f'LOCK TABLE "{parameters["table_name"]}"')
        asyncio.run(scenario())
    assert asyncio.run(backend.get("a"))


def test_twenty_meet_a_missing_table(
    parameters: dict[str, Any], postgresql_server: PostgreSQLServer
) -> None:
    """Each on its own connection and about to create the tables: all of them succeed."""
    backends = [PostgreSQLBackend(**parameters) for _ in range(20)]

    async def scenario() -> None:
        with contextlib.closing(psycopg2.connect(**postgresql_server.parameters())) as connection:
            connection.cursor().execute(
                "SELECT pg_advisory_lock(%s)", (int.from_bytes(b"longwire"),)
            )
            adding = asyncio.gather(
                *(backend.group_add("g", str(n), FAR) for n, backend in enumerate(backends))
            )
            await until_blocked(postgresql_server, 20)
        await adding
        assert len(await members(backends[0], "g")) == 20
        await asyncio.gather(*(backend.close() for backend in backends))

    asyncio.run(scenario())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_has_its_own_connection(
    backend: PostgreSQLBackend,
    parameters: dict[str, Any],
    postgresql_proxy: Proxy,
    postgresql_driver: str,
) -> None:
    """Parent and child go on; the parent stays on the connection that it had."""
    # From Python 3.12 on a fork warns of any thread.
    flags = ("-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning")
    source = _source(postgresql_driver, proxied(parameters, postgresql_proxy))
    forking = start(source, FORK, flags=flags)
    assert finish(forking) == (0, "", "")
    assert postgresql_proxy.connections == 2
    for connection_id in ("before", "child", "parent"):
        assert asyncio.run(backend.get(connection_id))


class TestProcesses(ProcessContract):
    """The tables are not there until one of them makes them."""

    @pytest.fixture
    def source(self, parameters: dict[str, Any], postgresql_driver: str) -> str:
        return _source(postgresql_driver, parameters)


def _source(driver: str, parameters: dict[str, Any]) -> str:
    return (
        f"from longwire_backends.postgresql import driver, with_{driver} as taken\n"
        "driver.installed = lambda: taken.DRIVER\n"
        "from longwire_backends.postgresql.backend import PostgreSQLBackend\n"
        f"backend = PostgreSQLBackend(**{parameters!r})"
    )


async def put_take_close(backend: PostgreSQLBackend) -> str | None:
    """Use a backend once."""
    await backend.put("a", "v", FAR)
    record = await backend.take("a")
    await backend.close()
    return record.value if record else None


async def until_blocked(server: PostgreSQLServer, count: int = 1) -> None:
    """Let the loop turn until so many statements wait for a lock."""
    blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while len(server.execute(blocked)) < count:
        await asyncio.sleep(0.01)


def own_threads() -> list[threading.Thread]:
    """Return the threads of open backends."""
    return [thread for thread in threading.enumerate() if thread.name == "longwire-postgresql"]


def run_in_threads(functions: list[Callable[[], object]]) -> None:
    """Run functions at the same time."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def proxied(parameters: dict[str, Any], proxy: Proxy) -> dict[str, Any]:
    """Lead through a proxy instead."""
    return parameters | {"port": proxy.port}


@pytest.mark.parametrize(
    ("others", "named"),
    [({"port": 6000}, "port"), ({"user": "u", "password": "hush"}, "user, password")],
)
def test_a_uri_stands_alone(others: dict[str, Any], named: str) -> None:
    """Nothing beside it is silently ignored."""
    with pytest.raises(ConfigurationError) as raised:
        PostgreSQLBackend(uri="postgresql://a:b@h/d", **others)
    assert str(raised.value) == f"uri: has everything in it, so do not give {named}"
