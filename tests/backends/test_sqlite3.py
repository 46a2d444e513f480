"""The SQLite store keeps the contract, and what is its own: arguments, files, loops, threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from longwire_backends.base import BackendError, ConfigurationError, Record
from longwire_backends.sqlite3 import file as sqlite3_file
from longwire_backends.sqlite3.backend import SQLite3Backend, _check_sqlite
from tests.backends.contract import BackendContract, OpenBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

FAR = 1 << 40
SET = "UPDATE connection SET value = ?"


class TestSQLite3Backend(BackendContract):
    """Its storage is a file."""

    @pytest.fixture
    def open_backend(self, tmp_path: Path) -> OpenBackend:
        """Open the same file each time."""
        return lambda clock: SQLite3Backend(tmp_path / "store.db", clock=clock)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """All statements but the first are in threads."""
    monkeypatch.setattr(sqlite3_file, "_SLOW", -1.0)
    monkeypatch.setattr(sqlite3_file, "_SLOW_TIMES", 1e9)


@pytest.mark.usefixtures("slow_disk")
class TestOnASlowDisk(TestSQLite3Backend):
    """The contract holds there, too."""


@pytest.mark.parametrize(
    "table_name", ["select", "group", "order", "_", "t1", "Table_2", "x" * 200, "connection_group"]
)
def test_any_identifier_is_a_table(tmp_path: Path, table_name: str) -> None:
    """Reserved words and long names work, because names are quoted."""
    backend = SQLite3Backend(tmp_path / "store.db", table_name=table_name)
    assert asyncio.run(put_get_close(backend)) == "v"


@pytest.mark.parametrize(
    "table_name",
    ["", "1a", "a b", "a-b", "a.b", 'a"b', "a'b", "a;--", "a\n", "é"],
)
def test_what_is_no_identifier_is_refused(tmp_path: Path, table_name: str) -> None:
    """The constructor names the key and repeats the value."""
    with pytest.raises(ConfigurationError) as raised:
        SQLite3Backend(tmp_path / "store.db", table_name=table_name)
    assert str(raised.value) == (
        "table_name: expected letters, digits and underscores, not a digit first,"
        f" got {table_name!r}"
    )


@pytest.mark.parametrize("table_name", ["sqlite_a", "SQLite_a"])
def test_a_name_that_sqlite_reserves_is_refused(tmp_path: Path, table_name: str) -> None:
    """The constructor says why."""
    with pytest.raises(ConfigurationError) as raised:
        SQLite3Backend(tmp_path / "store.db", table_name=table_name)
    assert str(raised.value) == (
        f"table_name: SQLite keeps names with sqlite_ in front to itself, got {table_name!r}"
    )


def test_two_tables_of_one_file_share_nothing(tmp_path: Path) -> None:
    """Each table name is a store of its own."""
    first = SQLite3Backend(tmp_path / "store.db", table_name="first")
    second = SQLite3Backend(tmp_path / "store.db", table_name="second")
    assert asyncio.run(put_get_close(first)) == "v"
    assert asyncio.run(get_close(second)) is None


@pytest.mark.parametrize("file_path", ["", ":memory:"])
def test_a_path_without_a_file_is_refused(file_path: str) -> None:
    """SQLite's private databases would lose every record between two processes."""
    with pytest.raises(ConfigurationError) as raised:
        SQLite3Backend(file_path)
    assert str(raised.value) == (
        f"file_path: expected the path of a file, got {file_path!r};"
        ' the backend "memory" is the one that keeps no file'
    )


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The constructor names the folder."""
    with pytest.raises(ConfigurationError) as raised:
        SQLite3Backend(tmp_path / "missing" / "store.db")
    assert str(raised.value) == f"file_path: the folder {tmp_path / 'missing'} does not exist"


def test_an_old_sqlite_is_refused() -> None:
    """RETURNING came with SQLite 3.35."""
    _check_sqlite((3, 35, 0))
    with pytest.raises(ConfigurationError) as raised:
        _check_sqlite((3, 7, 17))
    assert str(raised.value) == "sqlite3: needs SQLite 3.35 or newer, this Python has 3.7.17"


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later change of folder does not lead to another file."""
    monkeypatch.chdir(tmp_path)
    backend = SQLite3Backend("store.db")
    monkeypatch.chdir("/")
    assert asyncio.run(put_get_close(backend)) == "v"
    assert (tmp_path / "store.db").exists()


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    """Somebody else's file is named and left alone."""
    path = tmp_path / "store.db"
    path.write_text("These are notes about a database, and not a database. " * 20)
    with pytest.raises(BackendError) as raised:
        asyncio.run(put_get_close(SQLite3Backend(path)))
    assert str(raised.value) == f"sqlite3: open failed: file is not a database: {path}"
    assert isinstance(raised.value.__cause__, sqlite3.DatabaseError)
    assert path.read_text().startswith("These are notes")


def test_a_table_of_somebody_else_is_reported(tmp_path: Path) -> None:
    """Mangum's table, for one, has the same name by default and other columns."""
    path = tmp_path / "store.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE connection (id TEXT PRIMARY KEY, initial_scope TEXT)")
    with pytest.raises(BackendError) as raised:
        asyncio.run(put_get_close(SQLite3Backend(path)))
    assert str(raised.value) == (
        "sqlite3: open failed: the table connection is not one of Longwire's,"
        f" give another table_name: {path}"
    )


def test_a_file_of_an_earlier_version(tmp_path: Path) -> None:
    """It has no journals; what it has is kept."""
    path = tmp_path / "store.db"
    asyncio.run(put_get_close(SQLite3Backend(path)))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE connection_journal")
    backend = SQLite3Backend(path)

    async def scenario() -> None:
        before = await backend.connections()
        assert before.members
        assert await backend.sweep() == 0
        assert await backend.append("a", 1, "v", FAR)
        assert await backend.journal("a") == ("v",)
        assert await backend.connections() == before
        await backend.close()

    asyncio.run(scenario())


def test_a_folder_that_cannot_be_written_is_reported() -> None:
    """The file that cannot be made is named; once it can be, the same object works."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        backend = SQLite3Backend(path)
        os.chmod(folder, 0o555)
        with unprivileged(), pytest.raises(BackendError) as raised:
            asyncio.run(put_get_close(backend))
        os.chmod(folder, 0o700)
        assert asyncio.run(put_get_close(backend)) == "v"
    assert str(raised.value) == f"sqlite3: open failed: unable to open database file: {path}"
    assert (raised.value.backend, raised.value.operation) == ("sqlite3", "open")


def test_a_file_that_cannot_be_written_is_reported() -> None:
    """A file that came with a read-only bundle is no store."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE other (a)")
        os.chmod(path, 0o444)
        os.chmod(folder, 0o555)
        with unprivileged(), pytest.raises(BackendError) as raised:
            asyncio.run(put_get_close(SQLite3Backend(path)))
        os.chmod(folder, 0o700)
    detail = "attempt to write a readonly database"
    assert str(raised.value) == f"sqlite3: open failed: {detail}: {path}"


def test_a_failure_while_in_use_names_the_operation(tmp_path: Path) -> None:
    """The driver's error is the cause, not what is raised."""

    async def scenario(backend: SQLite3Backend) -> None:
        await backend.put("a", "v", FAR)
        with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
            connection.execute("DROP TABLE connection")
        with pytest.raises(BackendError) as raised:
            await backend.get("a")
        await backend.close()
        assert raised.value.operation == "get"
        assert isinstance(raised.value.__cause__, sqlite3.OperationalError)

    asyncio.run(scenario(SQLite3Backend(tmp_path / "store.db")))


def test_text_that_is_not_unicode_is_reported(tmp_path: Path) -> None:
    """A lone surrogate cannot be stored."""
    with pytest.raises(BackendError, match=r"sqlite3: put failed: .*surrogates not allowed"):
        asyncio.run(put_get_close(SQLite3Backend(tmp_path / "store.db"), "\ud800"))


def test_a_deleted_file_is_made_again(tmp_path: Path) -> None:
    """Deleting the file empties the store; writes do not go to a file that nobody sees."""

    async def scenario(backend: SQLite3Backend) -> Record | None:
        await backend.put("old", "v", FAR)
        (tmp_path / "store.db").unlink()
        assert await backend.get("old") is None
        await backend.put("new", "v", FAR)
        await backend.close()
        return await get_close(SQLite3Backend(tmp_path / "store.db"), "new")

    assert asyncio.run(scenario(SQLite3Backend(tmp_path / "store.db")))


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_nobody_else_can_read_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, umask: int
) -> None:
    """From before SQLite opens it; nor those that SQLite puts beside it; also when made again."""
    before_opening = []
    connect = sqlite3.connect

    def look_first(path: str, **arguments: Any) -> sqlite3.Connection:
        before_opening.append(modes(tmp_path))
        connection: sqlite3.Connection = connect(path, **arguments)
        return connection

    monkeypatch.setattr(sqlite3, "connect", look_first)

    async def scenario(backend: SQLite3Backend) -> None:
        for _ in range(2):
            await backend.put("a", "cookies", FAR)
            assert modes(tmp_path) == dict.fromkeys(
                ("store.db", "store.db-wal", "store.db-shm"), 0o600
            )
            empty(tmp_path)
        await backend.close()

    mask = os.umask(umask)
    try:
        asyncio.run(scenario(SQLite3Backend(tmp_path / "store.db")))
    finally:
        os.umask(mask)
    assert before_opening == [{"store.db": 0o600}] * 2
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o644, True), (0o666, True), (0o660, False), (0o600, False)]
)
def test_a_file_that_is_there_keeps_its_mode(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    """One that every user can read is warned about; a group may be meant."""
    path = tmp_path / "store.db"
    path.touch()
    path.chmod(mode)
    assert asyncio.run(put_get_close(SQLite3Backend(path))) == "v"
    assert path.stat().st_mode & 0o777 == mode
    warning = (
        f"sqlite3: every user of this machine can get at {path} (mode {mode:o}), with the cookies "
        "and tokens of handshakes in it; chmod 600 keeps them out"
    )
    assert caplog.messages == [warning] * warned


def test_sweep_deletes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one statement deletes is counted and deleted all the same."""
    monkeypatch.setattr("longwire_backends.sql.SWEEP_BATCH", 2)
    backend = SQLite3Backend(tmp_path / "store.db")

    async def scenario() -> None:
        for n in range(5):
            await backend.put(str(n), "v", 1)
            await backend.group_add("g", str(n), 1)
        assert await backend.sweep() == 10
        assert await backend.sweep() == 0
        await backend.close()

    asyncio.run(scenario())


def test_opening_waits_for_the_write_of_another(tmp_path: Path) -> None:
    """A new file that somebody else is writing to is no error: WAL is switched on after that."""
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.execute("CREATE TABLE other (a)")
        connection.execute("BEGIN IMMEDIATE")

        async def scenario() -> None:
            asyncio.get_running_loop().call_later(0.05, connection.rollback)
            assert await put_get_close(SQLite3Backend(tmp_path / "store.db")) == "v"

        asyncio.run(scenario())
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_lock_that_stays_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting has an end, when opening as well as in use."""
    monkeypatch.setattr(sqlite3_file, "_BUSY_TIMEOUT", 0.02)
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.execute("CREATE TABLE other (a)")
        backend = SQLite3Backend(tmp_path / "store.db")
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackendError, match="sqlite3: open failed: database is locked"):
            asyncio.run(put_get_close(backend))
        connection.rollback()
        asyncio.run(backend.put("a", "v", FAR))
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackendError, match="sqlite3: put failed: database is locked"):
            asyncio.run(put_get_close(backend))


def test_many_coroutines_open_the_file_once(tmp_path: Path) -> None:
    """The first use may be many at the same time, on one loop after the other."""
    backend = SQLite3Backend(tmp_path / "store.db")

    async def scenario() -> None:
        before = threading.active_count()
        await asyncio.gather(*(backend.put(str(n), "v", FAR) for n in range(20)))
        # The one that opened it may be about to end, and one that ran statements.
        assert threading.active_count() <= before + 2
        await backend.close()

    asyncio.run(scenario())
    asyncio.run(scenario())


def test_loops_come_and_go(tmp_path: Path) -> None:
    """A backend that was opened on one loop works on the next, without being closed."""
    backend = SQLite3Backend(tmp_path / "store.db")
    for _ in range(5):
        asyncio.run(asyncio.wait_for(backend.put("a", "v", FAR), 30))
    assert asyncio.run(get_close(backend))


def test_several_loops_at_once(tmp_path: Path) -> None:
    """Threads with a loop each may share a backend, from its first use on."""
    backend = SQLite3Backend(tmp_path / "store.db")
    threads = [
        threading.Thread(target=lambda n=n: asyncio.run(backend.put(n, "v", FAR)))
        for n in map(str, range(8))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(8):
        assert asyncio.run(backend.get(str(n)))
    asyncio.run(backend.close())


@pytest.mark.usefixtures("slow_disk")
def test_a_loop_that_ends_in_mid_statement_breaks_nothing(tmp_path: Path) -> None:
    """A statement that is cancelled has ended before its loop can close."""
    backend = SQLite3Backend(tmp_path / "store.db")
    asyncio.run(backend.put("a", "v", FAR))

    async def scenario() -> None:
        writing = asyncio.ensure_future(backend.put("b", "v", FAR))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
            assert connection.execute(
                "SELECT 1 FROM connection WHERE connection_id = 'b'"
            ).fetchone()

    asyncio.run(scenario())
    assert asyncio.run(get_close(backend))


def test_no_statement_goes_past_a_cancelled_one_that_waits(tmp_path: Path) -> None:
    """The worker may be between two: the later write of a record is the one that stays."""
    backend = SQLite3Backend(tmp_path / "store.db")

    async def scenario() -> None:
        await backend.put("a", "first", FAR)
        assert backend._file is not None
        goes_on = threading.Event()
        held = backend._file._worker.run(goes_on.wait)
        writing = asyncio.ensure_future(backend._file.execute(SET, ("cancelled",), is_long=True))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        following = asyncio.ensure_future(backend.put("a", "following", FAR))
        await asyncio.sleep(0)
        goes_on.set()
        await asyncio.wrap_future(held)
        await following
        await asyncio.wrap_future(backend._file._worker.run(int))  # behind all the others
        record = await backend.get("a")
        assert record is not None
        assert record.value == "following"
        await backend.close()

    asyncio.run(scenario())


def test_a_statement_for_which_no_thread_starts_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails, and does not run after all with the next one, when its caller has gone on."""
    backend = SQLite3Backend(tmp_path / "store.db")

    async def scenario() -> None:
        await backend.put("a", "first", FAR)
        assert backend._file is not None
        monkeypatch.setattr(backend._file, "_slow_until", 1e18)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail_to_start)
            with pytest.raises(BackendError, match="put failed: can't start new thread"):
                await backend.put("a", "failed", FAR)
        await backend.put("b", "v", FAR)
        record = await backend.get("a")
        assert record is not None
        assert record.value == "first"
        await backend.close()

    asyncio.run(scenario())


def fail_to_start(thread: threading.Thread) -> None:
    """Do as Python where the system allows no more threads."""
    raise RuntimeError("can't start new thread")


def test_a_slow_statement_holds_up_the_event_loop_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next ones are in threads, where each waits for its turn."""
    backend = SQLite3Backend(tmp_path / "store.db")
    threads: set[threading.Thread] = set()

    def clock() -> float:
        threads.add(threading.current_thread())
        return 1.0

    async def scenario() -> None:
        await backend.put("a", "v", FAR)
        assert backend._file is not None
        connection = backend._file._connection
        assert connection is not None
        connection.create_function("now", 0, clock)
        execute = backend._file.execute
        await execute("SELECT now()", ())
        assert threads == {threading.current_thread()}
        monkeypatch.setattr(sqlite3_file, "_SLOW", -1.0)
        monkeypatch.setattr(sqlite3_file, "_SLOW_TIMES", 1e9)
        await execute("SELECT now()", ())
        threads.clear()
        await asyncio.gather(*(execute("SELECT now()", ()) for _ in range(10)))
        assert threading.current_thread() not in threads
        monkeypatch.setattr(sqlite3_file, "_SLOW", 100.0)
        monkeypatch.setattr(backend._file, "_slow_until", 0.0)  # some seconds later
        threads.clear()
        await execute("SELECT now()", ())
        assert threads == {threading.current_thread()}
        await backend.close()

    asyncio.run(scenario())


@pytest.mark.usefixtures("slow_disk")
def test_however_many_statements_wait_for_the_disk_one_thread_runs_them(tmp_path: Path) -> None:
    """Each with one of its own would be thousands."""
    backend = SQLite3Backend(tmp_path / "store.db")
    threads: set[threading.Thread] = set()

    def note() -> None:
        threads.add(threading.current_thread())
        assert threading.active_count() <= before + 1

    async def scenario() -> None:
        await backend.put("a", "v", FAR)
        assert backend._file is not None
        connection = backend._file._connection
        assert connection is not None
        connection.create_function("note", 0, note)
        execute = backend._file.execute
        await asyncio.gather(*(execute("SELECT note()", ()) for _ in range(100)))
        await backend.close()

    before = threading.active_count() + 1  # the one that opens it may be about to end
    asyncio.run(scenario())
    assert threading.current_thread() not in threads


def test_the_slower_a_statement_the_longer_are_the_next_in_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the event loop is held up for a small part of the time, whatever the disk does."""
    backend = SQLite3Backend(tmp_path / "store.db")
    monotonic = 1000.0
    took = 0.0
    threads: list[threading.Thread] = []

    def pass_time() -> None:
        nonlocal monotonic
        monotonic += took
        threads.append(threading.current_thread())

    async def scenario() -> None:
        nonlocal monotonic, took
        await backend.put("a", "v", FAR)
        assert backend._file is not None
        connection = backend._file._connection
        assert connection is not None
        connection.create_function("pass_time", 0, pass_time)
        clock = SimpleNamespace(monotonic=lambda: monotonic)
        monkeypatch.setattr(sqlite3_file, "time", clock)
        for takes, after, is_here in (
            (0.004, 0.0, True),
            (0.1, 0.0, True),  # 4 ms are what any statement may take
            (0.0, 0.0, False),
            (0.0, 4.9, False),
            (2.0, 0.2, True),  # 5 s after the one that took 100 ms
            (0.0, 99.0, False),
            (0.0, 2.0, True),
        ):
            monotonic, took = monotonic + after, takes
            await backend._file.execute("SELECT pass_time()", ())
            assert (threads.pop() is threading.current_thread()) == is_here
        await backend.close()

    asyncio.run(scenario())


def test_what_is_written_goes_into_the_database_while_it_is_in_use(tmp_path: Path) -> None:
    """The file beside it, which each read looks through, does not grow without end."""
    backend = SQLite3Backend(tmp_path / "store.db")

    async def scenario() -> None:
        for number in range(3000):
            await backend.put(str(number % 10), "v" * 3000, FAR)
        assert (tmp_path / "store.db-wal").stat().st_size < 8_000_000
        await backend.close()

    asyncio.run(scenario())


@contextlib.contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """Be on a disk that is full, as far as files of that size are concerned."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_has_room_for_what_is_written_over(tmp_path: Path) -> None:
    """A journal that cannot grow goes into the database, and begins anew."""
    backend = SQLite3Backend(tmp_path / "store.db")

    async def scenario() -> None:
        for _ in range(100):
            await backend.put("a", "v" * 3000, FAR)
        with no_file_grows_beyond((tmp_path / "store.db-wal").stat().st_size):
            with pytest.raises(BackendError, match="put failed: disk I/O error"):
                await backend.put("a", "w" * 3000, FAR)
            await backend.put("a", "x" * 3000, FAR)
        record = await backend.get("a")
        assert record is not None
        assert record.value == "x" * 3000
        await backend.close()

    asyncio.run(scenario())


def test_a_checkpoint_that_fails_leaves_statements_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be no room for it, and yet all there is can be read."""
    backend = SQLite3Backend(tmp_path / "store.db")

    async def scenario() -> None:
        for n in range(100):
            await backend.put(str(n), "v" * 3000, FAR)
        monkeypatch.setattr(sqlite3_file, "_CHECKPOINT_EVERY", 1)
        with no_file_grows_beyond(8192):
            assert await backend.get("99")
        await backend.close()

    asyncio.run(scenario())


async def put_get_close(backend: SQLite3Backend, connection_id: str = "a") -> str | None:
    """Use a backend once."""
    try:
        await backend.put(connection_id, "v", FAR)
        record = await backend.get(connection_id)
        return record.value if record else None
    finally:
        await backend.close()


async def get_close(backend: SQLite3Backend, connection_id: str = "a") -> Record | None:
    """Read one record."""
    try:
        return await backend.get(connection_id)
    finally:
        await backend.close()


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Be a user whom file permissions stop; root is not."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
