"""The PostgreSQL store when the server is wrong, slow, gone, or of another opinion.

Each failure is one line that says what to do, and the next operation works once the cause is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from longwire_backends.base import BackendError
from longwire_backends.postgresql import connection as postgresql_connection
from longwire_backends.postgresql.backend import PostgreSQLBackend

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from tests.servers.postgresql import PostgreSQLServer, Proxy

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("postgresql_driver")]

FAR = 1 << 40
_names = itertools.count()


@pytest.fixture
def parameters(postgresql_server: PostgreSQLServer) -> dict[str, Any]:
    """What leads to tables that no other test uses, and that are not there yet."""
    return postgresql_server.parameters(table_name=f"broken_{next(_names)}")


@pytest.fixture
def backend(parameters: dict[str, Any]) -> Iterator[PostgreSQLBackend]:
    """A store without tables."""
    backend = PostgreSQLBackend(**parameters)
    yield backend
    asyncio.run(backend.close())


@pytest.fixture
def behind(parameters: dict[str, Any], postgresql_proxy: Proxy) -> Iterator[PostgreSQLBackend]:
    """A store behind the proxy, with tables."""
    backend = PostgreSQLBackend(**parameters | {"port": postgresql_proxy.port})
    asyncio.run(backend.create())
    yield backend
    asyncio.run(backend.close())


@pytest.fixture
def hasty(
    behind: PostgreSQLBackend, parameters: dict[str, Any], postgresql_proxy: Proxy
) -> Iterator[PostgreSQLBackend]:
    """The same store with a time limit that a test can wait for."""
    backend = PostgreSQLBackend(**parameters | {"port": postgresql_proxy.port}, timeout=0.5)
    yield backend
    asyncio.run(backend.close())


@pytest.fixture
def role(postgresql_server: PostgreSQLServer) -> Iterator[str]:
    """A role that may do nothing but log in, with the password "x"."""
    name = f"role_{next(_names)}"
    postgresql_server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    yield name
    postgresql_server.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_server_that_does_not_run(
    breakable_postgresql: PostgreSQLServer, backend: PostgreSQLBackend
) -> None:
    """The address is named; nothing else is wrong with the object."""
    breakable_postgresql.stop()
    text = (
        "get failed: Connection refused; nothing listens at"
        f" 127.0.0.1:{breakable_postgresql.port}: check host and port, start the server"
    )
    assert is_a(failure(backend.get("a"), text), "OperationalError")
    assert is_a(failure(backend.get("a"), text), "OperationalError")
    breakable_postgresql.start()
    assert works(backend)


def test_a_host_without_an_address(parameters: dict[str, Any]) -> None:
    """The name is repeated."""
    backend = PostgreSQLBackend(**parameters | {"host": "nowhere.invalid"})
    with pytest.raises(BackendError) as raised:
        asyncio.run(backend.get("a"))
    assert "nowhere.invalid" in str(raised.value)
    assert str(raised.value).endswith("; check host, and that names can be looked up from here")
    asyncio.run(backend.close())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"password": "secret"},
            'password authentication failed for user "owner"; check user and password',
        ),
        ({"password": ""}, "fe_sendauth: no password supplied; check user and password"),
        (
            {"user": "stranger", "password": "secret"},
            'password authentication failed for user "stranger"; check user and password',
        ),
        (
            {"database": "missing"},
            'database "missing" does not exist; create it, or give another database',
        ),
    ],
)
def test_a_door_that_stays_closed(
    parameters: dict[str, Any], changes: dict[str, Any], text: str
) -> None:
    """Wrong credentials and names are told apart; no password shows."""
    backend = PostgreSQLBackend(**parameters | changes)
    cause = failure(backend.get("a"), f"get failed: {text}")
    assert is_a(cause, "OperationalError")
    assert "secret" not in str(cause)
    asyncio.run(backend.close())


def test_a_server_that_is_full(
    postgresql_server: PostgreSQLServer,
    backend: PostgreSQLBackend,
    parameters: dict[str, Any],
    role: str,
) -> None:
    """Many functions at a time need a pooler."""
    asyncio.run(backend.create())
    table = parameters["table_name"]
    postgresql_server.execute(
        f'ALTER ROLE {role} CONNECTION LIMIT 0; GRANT SELECT ON "{table}" TO {role}'
    )
    poor = PostgreSQLBackend(**parameters | {"user": role, "password": "x"})
    failure(
        poor.get("a"),
        f'get failed: too many connections for role "{role}"; raise max_connections,'
        " or put a pooler such as PgBouncer or RDS Proxy in front",
    )
    postgresql_server.execute(f"ALTER ROLE {role} CONNECTION LIMIT 5")
    assert asyncio.run(poor.get("a")) is None
    asyncio.run(poor.close())


def test_a_server_that_does_not_let_in(
    behind: PostgreSQLBackend, postgresql_proxy: Proxy, parameters: dict[str, Any]
) -> None:
    """Whoever waits for a connection hears of the limit together, after one limit."""
    postgresql_proxy.silent = True
    backend = PostgreSQLBackend(**parameters | {"port": postgresql_proxy.port}, connect_timeout=1)
    before = postgresql_proxy.connections
    text = (
        f"get failed: 127.0.0.1:{postgresql_proxy.port} does not answer: no connection within"
        " 1 seconds (connect_timeout); check host and port, and that the function's network"
        " leads there"
    )

    async def scenario() -> None:
        getting = (backend.get("a") for _ in range(10))
        for error in await asyncio.gather(*getting, return_exceptions=True):
            assert str(error) == f"postgresql: {text}"

    asyncio.run(scenario())
    assert postgresql_proxy.connections == before + 1
    postgresql_proxy.silent = False
    assert works(backend)
    asyncio.run(backend.close())


def test_a_server_that_falls_silent(hasty: PostgreSQLBackend, postgresql_proxy: Proxy) -> None:
    """A statement ends at its limit, also one that could be repeated; so does who waits hasty."""
    text = (
        "no answer within 0.5 seconds;"
        f" 127.0.0.1:{postgresql_proxy.port} is too busy or out of reach,"
        " or another client holds a lock"
    )

    async def scenario() -> None:
        postgresql_proxy.silent = True
        doing = asyncio.gather(hasty.get("a"), hasty.take("a"), return_exceptions=True)
        first, second = await doing
        assert str(first) == f"postgresql: get failed: {text}"
        assert isinstance(second, BackendError)

    assert works(hasty)
    asyncio.run(scenario())
    postgresql_proxy.silent = False
    assert works(hasty)


def test_a_statement_that_waits_for_a_lock(
    parameters: dict[str, Any],
    postgresql_server: PostgreSQLServer,
    postgresql_proxy: Proxy,
    hasty: PostgreSQLBackend,
) -> None:
    """It ends at its limit; the next one is on a connection of its own."""
    text = (
        f"get failed: no answer within 0.5 seconds; 127.0.0.1:{postgresql_proxy.port} is too busy"
        " or out of reach, or another client holds a lock"
    )
    with locked(postgresql_server, parameters):
        cause = failure(hasty.get("a"), text)
        assert isinstance(cause, TimeoutError)
        assert asyncio.run(hasty.groups("a")) == ()
    assert works(hasty)


def test_an_answer_that_breaks_off(behind: PostgreSQLBackend, postgresql_proxy: Proxy) -> None:
    """What may be repeated is; the rest is an error, since it may have been done already."""
    lost = (
        "server closed the connection unexpectedly;"
        f" the connection to 127.0.0.1:{postgresql_proxy.port} broke before an answer came"
    )

    async def scenario() -> None:
        version = await behind.put("a", "v", FAR)
        for repeating in (
            behind.get("a"),
            behind.put("b", "v", FAR),
            behind.group_add("g", "a", FAR),
            behind.group_members("g"),
            behind.groups("a"),
            behind.group_discard("g", "a"),
            behind.sweep(),
            behind.journal("a"),
            behind.drop_journal("a"),
        ):
            postgresql_proxy.cut = 3
            await repeating
        for operation, once in (
            ("update", behind.update("a", "w", FAR, version)),
            ("append", behind.append("a", 1, "x", FAR)),
            ("take", behind.take("a")),
        ):
            postgresql_proxy.cut = 3
            with pytest.raises(BackendError) as raised:
                await once
            unsure = "; it may have been done nevertheless"
            assert str(raised.value) == f"postgresql: {operation} failed: {lost}{unsure}"
            assert is_a(raised.value.__cause__, "OperationalError")
            # The server did it, once.
            record = await behind.get("a")
            assert record is None if operation == "take" else record and record.value == "w"
        assert await behind.journal("a") == ("x",)

    asyncio.run(scenario())
    assert works(behind)


def _let_in_and_end(
    listener: socket.socket, is_begun: threading.Event, is_heard: threading.Event
) -> None:
    """Be a server that lets one client in, reads no statement, and ends the connection."""
    client, _ = listener.accept()
    with client:
        client.recv(65536)
        client.sendall(_message(b"R", bytes(4)) + _message(b"Z", b"I"))
        is_begun.wait(30)
        said = b"SFATAL\0C57P01\0Mterminating connection\0\0"
        client.sendall(_message(b"E", said))
        client.shutdown(socket.SHUT_WR)
        is_heard.wait(30)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def test_a_server_that_ends_before_it_has_read_all(postgresql_driver: str) -> None:
    """What it says is heard at once, although the statement does not go out."""
    if postgresql_driver == "psycopg2":
        pytest.skip("psycopg2 itself waits for the socket to take more, until the limit")
    is_begun, is_heard = threading.Event(), threading.Event()

    async def scenario(backend: PostgreSQLBackend) -> str:
        putting = asyncio.ensure_future(backend.put("a", "v" * 30_000_000, FAR))
        while (link := backend._connection._link) is None or link.is_usable():
            await asyncio.sleep(0)
        is_begun.set()
        with pytest.raises(BackendError) as raised:
            await putting
        is_heard.set()
        await backend.close()
        return str(raised.value)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        arguments = (listener, is_begun, is_heard)
        server = threading.Thread(target=_let_in_and_end, args=arguments, daemon=True)
        server.start()
        uri = f"postgresql://a@127.0.0.1:{port}/a?sslmode=disable&gssencmode=disable"
        assert asyncio.run(scenario(PostgreSQLBackend(uri=uri))) == (
            "postgresql: put failed: terminating connection;"
            f" the connection to 127.0.0.1:{port} broke before an answer came"
        )
        server.join()


@pytest.mark.parametrize("operation", ["get", "take"])
def test_a_connection_that_ended_meanwhile(
    behind: PostgreSQLBackend, postgresql_proxy: Proxy, operation: str
) -> None:
    """As after a freeze: it is replaced before anything is sent, so nobody hears of it."""
    asyncio.run(behind.put("a", "v", FAR))
    for n in range(3):
        before = postgresql_proxy.connections
        postgresql_proxy.hang_up()
        record = asyncio.run(getattr(behind, operation)("a"))
        assert (record is not None) == (operation == "get" or n == 0)
        asyncio.run(behind.get("a"))  # the new one is kept
        assert postgresql_proxy.connections == before + 1


def test_a_connection_that_a_network_has_forgotten(
    behind: PostgreSQLBackend, postgresql_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a long pause a connection is tried first, and replaced when nothing comes back."""
    monkeypatch.setattr(postgresql_connection, "_IDLE", -1.0)
    monkeypatch.setattr(postgresql_connection, "_PROBE_TIMEOUT", 0.05)
    asyncio.run(behind.put("a", "v", FAR))
    del postgresql_proxy.queries[:]
    assert asyncio.run(behind.get("a"))
    assert [query.split()[:2] for query in postgresql_proxy.queries] == [
        ["SELECT", "1"],
        ["SELECT", "value,"],
    ]
    before = postgresql_proxy.connections
    postgresql_proxy.forget()
    assert asyncio.run(behind.take("a"))
    assert postgresql_proxy.connections == before + 1


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_a_server_that_was_restarted(
    breakable_postgresql: PostgreSQLServer, backend: PostgreSQLBackend, end: str
) -> None:
    """Between two operations nobody notices, whether it was told to end or not."""
    asyncio.run(backend.put("a", "v", FAR))
    if end == "kill":
        breakable_postgresql.kill()
        breakable_postgresql.start()
    else:
        breakable_postgresql.restart()
    assert asyncio.run(backend.take("a"))
    assert works(backend)


def test_a_read_that_is_terminated(
    postgresql_server: PostgreSQLServer, backend: PostgreSQLBackend, parameters: dict[str, Any]
) -> None:
    """It is repeated on a new connection."""

    async def scenario() -> None:
        await backend.put("a", "v", FAR)
        with locked(postgresql_server, parameters):
            getting = asyncio.ensure_future(backend.get("a"))
            process = await blocked_process(postgresql_server)
            postgresql_server.execute("SELECT pg_terminate_backend(%s)", process)
            assert await blocked_process(postgresql_server, but=process) != process
        assert await getting

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (
            "pg_terminate_backend",
            "terminating connection due to administrator command;"
            " the connection to 127.0.0.1:{port} broke before an answer came;"
            " it may have been done nevertheless",
        ),
        (
            "pg_cancel_backend",
            "canceling statement due to user request;"
            " the server has a limit or somebody who cancels: see statement_timeout",
        ),
    ],
)
def test_a_take_that_is_ended(
    postgresql_server: PostgreSQLServer,
    backend: PostgreSQLBackend,
    parameters: dict[str, Any],
    function: str,
    text: str,
) -> None:
    """It is an error, and not repeated."""

    async def scenario() -> None:
        await backend.put("a", "v", FAR)
        with locked(postgresql_server, parameters):
            taking = asyncio.ensure_future(backend.take("a"))
            process = await blocked_process(postgresql_server)
            postgresql_server.execute(f"SELECT {function}(%s)", process)
            with pytest.raises(BackendError) as raised:
                await taking
        assert str(raised.value) == "postgresql: take failed: " + text.format(
            port=postgresql_server.port
        )
        assert is_a(raised.value.__cause__, "OperationalError")
        assert await backend.take("a")

    asyncio.run(scenario())
    assert works(backend)


def test_a_server_process_that_is_killed(
    breakable_postgresql: PostgreSQLServer, backend: PostgreSQLBackend, parameters: dict[str, Any]
) -> None:
    """The server then ends everybody's connections and recovers."""

    async def scenario() -> None:
        await backend.put("a", "v", FAR)
        with locked(breakable_postgresql, parameters):
            taking = asyncio.ensure_future(backend.take("a"))
            os.kill(await blocked_process(breakable_postgresql), signal.SIGKILL)
            with pytest.raises(BackendError) as raised:
                await taking
        assert str(raised.value) == (
            "postgresql: take failed: server closed the connection unexpectedly; the connection to"
            f" 127.0.0.1:{breakable_postgresql.port} broke before an answer came; it may have been"
            " done nevertheless"
        )
        assert is_a(raised.value.__cause__, "OperationalError")

    asyncio.run(scenario())
    breakable_postgresql.restart()
    assert asyncio.run(backend.take("a"))
    assert works(backend)


def test_a_server_that_may_only_be_read(
    postgresql_server: PostgreSQLServer,
    backend: PostgreSQLBackend,
    parameters: dict[str, Any],
    role: str,
) -> None:
    """A replica answers reads; writing, and creating tables, tell where to go."""
    asyncio.run(backend.put("a", "v", FAR))
    table = parameters["table_name"]
    postgresql_server.execute(
        f'GRANT ALL ON "{table}", "{table}_group" TO {role};'
        f"ALTER ROLE {role} SET default_transaction_read_only = on"
    )
    reader = PostgreSQLBackend(**parameters | {"user": role, "password": "x"})
    assert asyncio.run(reader.get("a"))
    for operation, verb, doing in (
        ("put", "INSERT", reader.put("a", "v", FAR)),
        ("take", "DELETE", reader.take("a")),
    ):
        cause = failure(
            doing,
            f"{operation} failed: cannot execute {verb} in a read-only transaction;"
            " this server is read-only: give the address of the primary",
        )
        assert is_a(cause, "ReadOnlySqlTransaction")
    postgresql_server.execute(f'DROP TABLE "{table}"')
    failure(
        reader.get("a"),
        "get failed: cannot execute CREATE TABLE in a read-only transaction;"
        " this server is read-only: give the address of the primary",
    )
    asyncio.run(backend.create())
    postgresql_server.execute(
        f'GRANT ALL ON "{table}" TO {role};ALTER ROLE {role} RESET default_transaction_read_only'
    )
    asyncio.run(reader.close())
    assert works(reader)
    asyncio.run(reader.close())


def test_a_role_that_may_not_create(
    postgresql_server: PostgreSQLServer,
    backend: PostgreSQLBackend,
    parameters: dict[str, Any],
    role: str,
) -> None:
    """The command that another role may run is shown, without a secret; then rights are asked."""
    table = parameters["table_name"]
    postgresql_server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    poor = PostgreSQLBackend(**parameters | {"user": role, "password": "x"})
    text = (
        f"failed: the role may not create the tables {table}, {table}_group and {table}_journal;"
        " let a role that may run this once: longwire init --backend postgresql --params"
        f""" '{{"table_name": "{table}", "uri": "..."}}'"""
    )
    for operation, doing in (("get", poor.get("a")), ("create", poor.create())):
        cause = failure(doing, f"{operation} {text}")
        assert is_a(cause, "InsufficientPrivilege")
    asyncio.run(backend.create())
    failure(
        poor.get("a"),
        f"get failed: permission denied for table {table};"
        " grant the role what it needs on all three tables",
    )
    # The tables of an earlier version: all is well, until an entry is appended.
    postgresql_server.execute(f'DROP TABLE "{table}_journal"')
    postgresql_server.execute(f'GRANT ALL ON "{table}", "{table}_group" TO {role}')
    assert works(poor)
    assert asyncio.run(poor.sweep()) == 0
    assert asyncio.run(poor.journal("a")) == ()
    failure(poor.append("a", 1, "v", FAR), f"append {text}")
    asyncio.run(backend.create())
    postgresql_server.execute(f'GRANT ALL ON "{table}_journal" TO {role}')
    assert asyncio.run(poor.append("a", 1, "v", FAR))
    assert works(poor)
    asyncio.run(poor.close())


def works(backend: PostgreSQLBackend) -> bool:
    """Tell whether a store can write, read and delete."""

    async def scenario() -> bool:
        await backend.put("works", "v", FAR)
        await backend.group_add("works", "works", FAR)
        return await backend.take("works") is not None and await backend.groups("works") != ()

    return asyncio.run(scenario())


def failure(doing: Coroutine[object, object, object], text: str) -> BaseException | None:
    """Await an error of just this text; return its cause."""
    with pytest.raises(BackendError) as raised:
        asyncio.run(doing)
    assert str(raised.value) == f"postgresql: {text}"
    return raised.value.__cause__


def is_a(error: BaseException | None, name: str) -> bool:
    """Tell whether an error is of a kind that both drivers have."""
    return name in [kind.__name__ for kind in type(error).__mro__]


@contextlib.contextmanager
def locked(server: PostgreSQLServer, parameters: dict[str, Any]) -> Iterator[None]:
    """Let every statement on the table of records wait."""
    with contextlib.closing(psycopg2.connect(**server.parameters())) as connection:
        connection.cursor().execute(f'LOCK TABLE "{parameters["table_name"]}"')
        yield
        # Closing alone would release it a little later. The server may have ended all, too.
        with contextlib.suppress(psycopg2.OperationalError):
            connection.rollback()


async def blocked_process(server: PostgreSQLServer, but: int = 0) -> int:
    """Let the loop turn until a statement waits for a lock; return its server process."""
    blocked = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> %s"
    while not (rows := server.execute(blocked, but)):
        await asyncio.sleep(0.01)
    process: int = rows[0][0]
    return process
