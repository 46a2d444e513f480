"""What the Redis store says when its server is broken, and that it goes on when it no longer is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from longwire_backends.base import Backend, BackendError
from longwire_backends.redis.backend import RedisBackend
from longwire_backends.redis.resp import ProtocolError, ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.servers.redis import RedisServer, StartRedis

pytestmark = pytest.mark.anyio

FAR = 1 << 40
RECORD = b"0123456789abcdef 1099511627776\nv"
REPLY = b"$%d\r\n%s\r\n" % (len(RECORD), RECORD)
NULL = b"$-1\r\n"
NOBODY = b"*0\r\n"
NO_PAGE = b"*2\r\n" + NOBODY + NULL
NO_JOURNAL = b"*2\r\n$0\r\n\r\n$0\r\n\r\n"
RESET = b"<reset>"
SILENCE = b"<silence>"

OPERATIONS: dict[str, Callable[[Backend], Awaitable[object]]] = {
    "put": lambda backend: backend.put("a", "v", FAR),
    "get": lambda backend: backend.get("a"),
    "take": lambda backend: backend.take("a"),
    "update": lambda backend: backend.update("a", "v", FAR, "0123456789abcdef"),
    "connections": lambda backend: backend.connections(),
    "group_add": lambda backend: backend.group_add("g", "a", FAR),
    "group_discard": lambda backend: backend.group_discard("g", "a"),
    "group_members": lambda backend: backend.group_members("g"),
    "groups": lambda backend: backend.groups("a"),
    "append": lambda backend: backend.append("a", 1, "v", FAR),
    "journal": lambda backend: backend.journal("a"),
    "drop_journal": lambda backend: backend.drop_journal("a"),
}
ONCE = ("take", "update", "append")


class Script:
    """A server that gives the answers it was told to, one for each command it receives.

    An answer may end in RESET or SILENCE, which is what comes instead of the rest of it.
    """

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.received: list[bytes] = []
        self.connections = 0
        self.said = asyncio.Event()
        self.port = 0
        self._over = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Script]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._over.set()
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while command := await reader.read(1 << 16):
                self.received.append(command)
                answer = self.answers.pop(0)
                writer.write(answer.removesuffix(RESET).removesuffix(SILENCE))
                await writer.drain()
                self.said.set()
                if answer.endswith(SILENCE):
                    await self._over.wait()
                    return
                if answer.endswith(RESET):
                    linger = struct.pack("ii", 1, 0)
                    sock: socket.socket = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return


@contextlib.asynccontextmanager
async def scripted(
    *answers: bytes, timeout: float = 30, password: str | None = None, db: int = 0
) -> AsyncIterator[tuple[RedisBackend, Script]]:
    """A backend, and a server that answers as it is told."""
    async with Script(*answers).running() as script:
        backend = RedisBackend(
            host="127.0.0.1", port=script.port, timeout=timeout, password=password, db=db
        )
        yield backend, script
        await backend.close()


async def failure(doing: Awaitable[object]) -> BackendError:
    """Await what is to fail, and return its error."""
    with pytest.raises(BackendError) as raised:
        await doing
    assert isinstance(raised.value.__cause__, (ProtocolError, OSError, ServerError, ValueError))
    return raised.value


def connected(server: RedisServer, timeout: float = 30, password: str | None = None) -> Backend:
    """Open a backend on a real server."""
    return RedisBackend(host="127.0.0.1", port=server.port, timeout=timeout, password=password)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_refused_connection_names_the_server(
    start_redis: StartRedis, operation: str
) -> None:
    """Nothing listens there: host, port, and what to check; and it works once something does."""
    server = start_redis()
    server.kill()
    backend = connected(server)
    error = await failure(OPERATIONS[operation](backend))
    assert str(error) == (
        f"redis: {operation} failed: cannot connect to 127.0.0.1:{server.port}: Connection"
        " refused; check host, port and ssl, and that the function's VPC and security groups let"
        " it through"
    )
    assert isinstance(error.__cause__, ConnectionError)
    server.start()
    await OPERATIONS[operation](backend)
    await backend.close()


async def test_a_name_that_does_not_exist_is_reported() -> None:
    """The name is in the text."""
    error = await failure(RedisBackend(host="redis.invalid", password="hunter2").get("a"))
    assert str(error).startswith(
        "redis: get failed: cannot connect to redis.invalid:6379: the name cannot be resolved: "
    )
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name not in ONCE])
@pytest.mark.parametrize("broken", [RESET, b"$10\r\nabc" + RESET], ids=["before", "amid"])
async def test_a_lost_answer_is_asked_for_again(operation: str, broken: bytes) -> None:
    """What can be done twice is done twice, on a new connection."""
    lists = {"group_members": NOBODY, "groups": NOBODY, "journal": NO_JOURNAL}
    last = {**lists, "connections": NO_PAGE}.get(operation, NULL)
    async with scripted(broken, last) as (backend, script):
        await OPERATIONS[operation](backend)
    assert script.received[0] == script.received[1]
    assert (len(script.received), script.connections) == (2, 2)


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name not in ONCE])
async def test_an_answer_that_is_lost_twice_is_an_error(operation: str) -> None:
    """There is no third time; the next operation starts anew."""
    async with scripted(REPLY, RESET, RESET, REPLY) as (backend, script):
        await backend.get("a")
        error = await failure(OPERATIONS[operation](backend))
        assert len(script.received) == 3
        assert await backend.get("a") is not None
    assert str(error) == (
        f"redis: {operation} failed: the connection to 127.0.0.1:{script.port} broke before the"
        " answer came"
    )
    assert isinstance(error.__cause__, ConnectionError)


async def test_a_server_that_has_never_answered_may_expect_tls() -> None:
    """Such a server closes what is not TLS without a word."""
    async with scripted(RESET, RESET, REPLY) as (backend, script):
        error = await failure(backend.get("a"))
        assert await backend.get("a") is not None
    assert str(error) == (
        f"redis: get failed: the connection to 127.0.0.1:{script.port} broke before the answer"
        " came; if the server expects TLS, give ssl=True or a rediss:// uri"
    )


@pytest.mark.parametrize("operation", ONCE)
@pytest.mark.parametrize("broken", [RESET, b"$10\r\nabc" + RESET], ids=["before", "amid"])
async def test_what_may_have_been_done_is_not_repeated(operation: str, broken: bytes) -> None:
    """A second GETDEL would find nothing, a second update another version, an append itself."""
    async with scripted(REPLY, broken, REPLY) as (backend, script):
        await backend.get("a")
        error = await failure(OPERATIONS[operation](backend))
        assert len(script.received) == 2
        assert await backend.get("a") is not None
    assert str(error) == (
        f"redis: {operation} failed: the connection to 127.0.0.1:{script.port} broke before the"
        " answer came; it may have been done nevertheless"
    )


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_silent_server_is_waited_for_until_the_limit(
    start_redis: StartRedis, operation: str
) -> None:
    """The limit is in the text; the answer that comes too late is nobody's."""
    server = start_redis()
    backend = connected(server, timeout=0.3)
    await backend.get("warm")
    server.freeze()
    error = await failure(OPERATIONS[operation](backend))
    unsure = "; it may have been done nevertheless" if operation in ONCE else ""
    assert str(error) == (
        f"redis: {operation} failed: no answer from 127.0.0.1:{server.port} within 0.3 s: the"
        " server is overloaded or stopped, or a security group drops what is sent to it" + unsure
    )
    assert isinstance(error.__cause__, TimeoutError)
    server.thaw()
    patient = connected(server)
    await patient.put("b", "v", FAR)
    await patient.close()
    backend._timeout = 30  # type: ignore[attr-defined]
    record = await backend.get("b")
    assert record is not None
    assert record.value == "v"
    await backend.close()


async def test_a_restart_between_two_operations_is_not_noticed(start_redis: StartRedis) -> None:
    """Dead connections are replaced before anything is sent, also for what is never repeated."""
    server = start_redis()
    backend = connected(server)
    version = await backend.put("a", "v", FAR)
    await backend.group_add("g", "a", FAR)
    server.command(b"SAVE")
    server.restart()
    version = await backend.update("a", "w", FAR, version) or ""
    assert version
    server.command(b"SAVE")
    server.restart()
    await backend.group_discard("g", "a")
    assert (await backend.group_members("g")).members == ()
    server.restart()
    record = await backend.take("a")
    assert record is not None
    assert (record.value, record.version) == ("w", version)
    await backend.close()


async def test_a_restart_without_data_leaves_nothing(start_redis: StartRedis) -> None:
    """A server that forgets is an empty store, and no error."""
    server = start_redis()
    backend = connected(server)
    await asyncio.gather(*(backend.put(str(n), "v", FAR) for n in range(10)))
    server.restart()
    assert await asyncio.gather(*(backend.take(str(n)) for n in range(10))) == [None] * 10
    await backend.close()


async def test_a_killed_server_is_an_error_until_it_is_back(start_redis: StartRedis) -> None:
    """Each operation tries again by itself."""
    server = start_redis()
    backend = connected(server)
    await backend.put("a", "v", FAR)
    server.kill()
    for _ in range(3):
        assert "Connection refused" in str(await failure(backend.get("a")))
    server.start()
    await backend.put("a", "v", FAR)
    await backend.close()


async def test_connections_that_the_server_closed_are_replaced(start_redis: StartRedis) -> None:
    """As by Redis's own `timeout` while the process was frozen."""
    server = start_redis()
    backend = connected(server)
    await backend.put("a", "v", FAR)
    server.command(b"CLIENT", b"KILL", b"TYPE", b"normal")
    assert await backend.take("a") is not None
    await backend.close()


async def test_a_full_server_says_so(start_redis: StartRedis) -> None:
    """Writing fails, reading does not, and writing works once there is room."""
    server = start_redis("--maxmemory-policy", "noeviction")
    backend = connected(server)
    version = await backend.put("a", "v", FAR)
    server.command(b"CONFIG", b"SET", b"maxmemory", b"1")
    for operation in ("put", "group_add"):
        error = await failure(OPERATIONS[operation](backend))
        assert str(error) == (
            f"redis: {operation} failed: 127.0.0.1:{server.port} is out of memory: raise its"
            " maxmemory, or choose an eviction policy"
        )
        assert isinstance(error.__cause__, ServerError)
    error = await failure(backend.update("a", "w", FAR, version))
    assert str(error).endswith(
        "is out of memory: raise its maxmemory, or choose an eviction policy"
    )
    assert await backend.get("a") is not None
    server.command(b"CONFIG", b"SET", b"maxmemory", b"0")
    assert await backend.update("a", "w", FAR, version)
    await backend.close()


def connections_to(server: RedisServer) -> int:
    """Return how many connections the server has had."""
    found = re.search(rb"total_connections_received:(\d+)", server.command(b"INFO", b"stats"))
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("operation", ["put", "update", "group_add", "group_discard", "take"])
async def test_a_replica_says_so(start_redis: StartRedis, operation: str) -> None:
    """Every write tells to give the primary; after a promotion the same object writes."""
    primary, replica = start_redis(), start_redis()
    seed = connected(replica)
    version = await seed.put("a", "v", FAR)
    await seed.group_add("g", "a", FAR)
    await seed.close()
    replica.command(b"REPLICAOF", b"127.0.0.1", b"%d" % primary.port)
    backend = connected(replica)
    if operation == "update":
        error = await failure(backend.update("a", "w", FAR, version))
    else:
        error = await failure(OPERATIONS[operation](backend))
    assert str(error) == (
        f"redis: {operation} failed: 127.0.0.1:{replica.port} is a read-only replica: give the"
        " primary's endpoint"
    )
    before = connections_to(replica)
    replica.command(b"REPLICAOF", b"NO", b"ONE")
    await OPERATIONS[operation](backend)
    # The command's, the backend's new one, and that of the count itself.
    assert connections_to(replica) == before + 3
    await backend.close()


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (
            b"-LOADING Redis is loading the dataset in memory\r\n",
            "{where} is still loading its data: try again shortly",
        ),
        (
            b"-ERR max number of clients reached\r\n",
            "{where} has too many clients: raise its maxclients, or limit the function's"
            " concurrency",
        ),
        (
            b"-READONLY You can't write against a read only replica.\r\n",
            "{where} is a read-only replica: give the primary's endpoint",
        ),
        (
            b"-ERR unknown command `GETDEL`, with args beginning with: `longwire:record:a`, \r\n",
            "{where} does not know a command: it needs Redis 6.2 or newer",
        ),
        (
            b"-NOAUTH Authentication required.\r\n",
            "{where} does not accept the login: check username and password",
        ),
        (
            b"-NOPERM this user has no permissions to run the 'getdel' command\r\n",
            "the user lacks permissions at {where}: it needs all commands of @read, @write,"
            " @scripting and @connection, and select, on the keys longwire:*",
        ),
        (
            b"-MOVED 866 127.0.0.1:7001\r\n",
            "{where} runs in Cluster mode, which is not supported: give a server without it",
        ),
        (
            b"-CLUSTERDOWN Hash slot not served\r\n",
            "{where} runs in Cluster mode, which is not supported: give a server without it",
        ),
        (
            b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
            "a key under longwire: is not one of Longwire's, give another key_prefix",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "{where} does not speak Redis's protocol: check host, port and ssl",
        ),
        (b"-MISCONF Errors writing to disk\r\n", "{where} answers: MISCONF Errors writing to disk"),
    ],
    ids=lambda text: text.split()[0].decode() if isinstance(text, bytes) else "",
)
@pytest.mark.parametrize("operation", ["get", "take"])
async def test_an_error_says_what_to_do(operation: str, answer: bytes, detail: str) -> None:
    """Whatever the server complains of is done once, and the next operation works."""
    async with scripted(answer, REPLY) as (backend, script):
        error = await failure(OPERATIONS[operation](backend))
        assert len(script.received) == 1
        assert await backend.get("a") is not None
    where = f"127.0.0.1:{script.port}"
    assert str(error) == f"redis: {operation} failed: {detail.format(where=where)}"


LOGIN = b"+OK\r\n+OK\r\n"


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"-WRONGPASS invalid username-password pair\r\n", "does not accept the login"),
        (b"-NOAUTH Authentication required.\r\n", "does not accept the login"),
        (b"-DENIED Redis is running in protected mode\r\n", "answers: DENIED Redis is running in"),
        (b"+OK\r\n-LOADING Redis is loading\r\n", "is still loading its data"),
    ],
)
async def test_a_login_may_be_refused_with_one_answer_and_a_close(
    answer: bytes, detail: str
) -> None:
    """Its words are told, though the second of two commands has no answer."""
    script = (answer + RESET, LOGIN, REPLY)
    async with scripted(*script, password="hunter2", db=1) as (backend, server):
        error = await failure(backend.take("a"))
        assert len(server.received) == 1
        assert await backend.get("a") is not None
    assert f"127.0.0.1:{server.port} {detail}" in str(error)
    assert "nevertheless" not in str(error)


async def test_a_server_with_too_many_clients_says_so(start_redis: StartRedis) -> None:
    """Redis closes at once, before it reads who comes."""
    server = start_redis("--requirepass", "hunter2", "--maxclients", "1")
    first, second = (
        RedisBackend(host="127.0.0.1", port=server.port, password="hunter2", db=1) for _ in range(2)
    )
    await until_it_answers(first)
    assert "has too many clients" in str(await failure(second.take("a")))
    await first.close()
    await until_it_answers(second)
    await second.close()


async def until_it_answers(backend: Backend) -> None:
    """Redis counts a client until it has seen that it is gone."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(BackendError):
                await backend.get("a")
                return


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("broken", [RESET, b"+OK\r\n" + RESET], ids=["before", "amid"])
async def test_a_lost_login_is_done_again(operation: str, broken: bytes) -> None:
    """Once, whatever follows: nothing of that was sent."""
    refusal = b"-BUSY\r\n"
    script = (broken, LOGIN, refusal, RESET)
    async with scripted(*script, password="hunter2", db=1) as (backend, server):
        error = await failure(OPERATIONS[operation](backend))
        assert (len(server.received), server.connections) == (3, 2)
    assert str(error).endswith(" answers: BUSY")


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_login_that_is_lost_twice_is_an_error(operation: str) -> None:
    """Nothing was done, and nothing says that it might."""
    async with scripted(RESET, RESET, LOGIN, REPLY, password="hunter2", db=1) as (backend, server):
        error = await failure(OPERATIONS[operation](backend))
        assert len(server.received) == 2
        assert await backend.get("a") is not None
    assert str(error) == (
        f"redis: {operation} failed: the connection to 127.0.0.1:{server.port} broke before the"
        " answer came; if the server expects TLS, give ssl=True or a rediss:// uri"
    )


@pytest.mark.parametrize("operation", ONCE)
async def test_what_is_lost_behind_a_lost_login_may_have_been_done(operation: str) -> None:
    """The login is repeated; what may have been done is not."""
    async with scripted(RESET, LOGIN, RESET, password="hunter2", db=1) as (backend, server):
        error = await failure(OPERATIONS[operation](backend))
        assert len(server.received) == 3
    assert str(error).endswith("; it may have been done nevertheless")


@pytest.mark.parametrize("operation", ONCE)
async def test_a_silent_login_has_done_nothing(operation: str) -> None:
    """Nor does a time limit that passes then leave any doubt."""
    script = Script(b"+OK\r\n" + SILENCE)
    async with script.running():
        backend = RedisBackend(
            host="127.0.0.1", port=script.port, timeout=0.3, password="hunter2", db=1
        )
        error = await failure(OPERATIONS[operation](backend))
        await backend.close()
    assert "no answer from" in str(error)
    assert "nevertheless" not in str(error)
    assert isinstance(error.__cause__, TimeoutError)


@pytest.mark.parametrize(
    "answer", [b"$1\r\nab\r\n", b"$-2\r\n", b"$99999999999\r\n", b"*1\r\n" * 20, b"%1\r\n"]
)
async def test_a_connection_with_nonsense_on_it_is_closed(answer: bytes) -> None:
    """At once, though the server would leave it open."""
    async with scripted(answer, REPLY) as (backend, script):
        error = await failure(backend.get("a"))
        assert await backend.get("a") is not None
        assert script.connections == 2
    assert str(error) == (
        f"redis: get failed: 127.0.0.1:{script.port} does not speak Redis's protocol: check host,"
        " port and ssl"
    )


async def test_an_error_amid_a_list_is_reported() -> None:
    """And the connection, which is in order, is kept."""
    async with scripted(b"*2\r\n-OOM no\r\n*0\r\n", REPLY) as (backend, script):
        error = await failure(backend.connections())
        assert await backend.get("a") is not None
        assert script.connections == 1
    assert "is out of memory" in str(error)


@pytest.mark.parametrize("given", [None, "wrong-hunter2"])
async def test_a_wrong_password_is_not_repeated_in_the_text(
    start_redis: StartRedis, given: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the right nor the wrong one is in an error, its causes, or the log."""
    caplog.set_level(logging.DEBUG)
    server = start_redis("--requirepass", "right-hunter2")
    backend = connected(server, password=given)
    error = await failure(backend.get("a"))
    assert str(error) == (
        f"redis: get failed: 127.0.0.1:{server.port} does not accept the login: check username"
        " and password"
    )
    assert "hunter2" not in caplog.text + everything(error)
    await backend.close()
    right = connected(server, password="right-hunter2")
    await right.put("a", "v", FAR)
    assert await right.get("a") is not None
    await right.close()


async def test_a_server_that_repeats_the_password_is_censored() -> None:
    """A server without AUTH quotes its arguments."""
    quoting = b"-ERR unknown command `AUTH`, with args beginning with: `hunter2`, \r\n"
    async with scripted(quoting, password="hunter2") as (backend, script):
        error = await failure(backend.get("a"))
    assert str(error) == (
        f"redis: get failed: 127.0.0.1:{script.port} does not know a command: it needs Redis 6.2"
        " or newer"
    )
    assert "hunter2" not in everything(error)


async def test_a_password_that_is_quoted_anywhere_is_censored() -> None:
    """Also in words that mean nothing to us, and so are repeated."""
    quoting = b"-ERR strange: hunter2\r\n"
    async with scripted(quoting, password="hunter2") as (backend, script):
        error = await failure(backend.get("a"))
    assert str(error) == f"redis: get failed: 127.0.0.1:{script.port} answers: strange: ***"
    assert "hunter2" not in everything(error)


async def test_a_user_with_few_permissions_is_told_those_it_needs(start_redis: StartRedis) -> None:
    """And with them all it does."""
    needed = "+@read +@write +@scripting +@connection +select"
    few = ("on", ">hunter2", "~longwire:*", "+@read", "+@connection", "-select")
    server = start_redis("--user", "me", *few)
    backend = RedisBackend(
        host="127.0.0.1", port=server.port, username="me", password="hunter2", db=1
    )
    for operation in ("put", "get", "take"):
        error = await failure(OPERATIONS[operation](backend))
        assert str(error) == (
            f"redis: {operation} failed: the user lacks permissions at 127.0.0.1:{server.port}: it"
            " needs all commands of @read, @write, @scripting and @connection, and select, on the"
            " keys longwire:*"
        )
    server.command(b"ACL", b"SETUSER", b"me", *needed.encode().split())
    for do in OPERATIONS.values():
        await do(backend)
    await backend.close()


async def test_a_cancelled_operation_leaves_no_half_answer() -> None:
    """The answer of one command is never taken for that of the next."""
    async with scripted(NULL, b"$10\r\nabc" + SILENCE, REPLY) as (backend, script):
        await backend.get("warm")
        script.said.clear()
        reading = asyncio.ensure_future(backend.get("b"))
        await script.said.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        record = await backend.get("a")
    assert record is not None
    assert record.value == "v"
    assert script.connections == 2


async def test_cancelled_operations_mix_up_nothing(redis_server: RedisServer) -> None:
    """Whenever an operation is cancelled, the others get their own answers."""
    backend = connected(redis_server)
    for n in range(20):
        await backend.put(str(n), str(n), FAR)
    for turns in range(30):
        reading = [asyncio.ensure_future(backend.get(str(n))) for n in range(20)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in reading[::2]:
            task.cancel()
        for n, record in enumerate(await asyncio.gather(*reading, return_exceptions=True)):
            assert isinstance(record, asyncio.CancelledError) or record[0] == str(n)  # type: ignore[index]
    await backend.close()


def everything(error: BaseException) -> str:
    """Return all texts that a traceback of the error would show."""
    texts = []
    shown: BaseException | None = error
    while shown is not None:
        texts.append(repr(shown))
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
    return "\n".join(texts)
