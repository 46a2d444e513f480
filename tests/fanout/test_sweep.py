"""Sweeps: who has gone without a word is found, and the app is told, once."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from longwire import Connections, Longwire
from longwire.cli import main as cli
from longwire.exceptions import BackendError, ConfigurationError
from longwire.fanout import sweep as sweeping
from longwire.fanout.sweep import SweepResult
from longwire.registry import names
from longwire_backends.memory import MemoryBackend
from longwire_backends.sqlite3.backend import SQLite3Backend
from tests.connections_server import Answer, ConnectionsServer, Reply
from tests.lambda_events import LambdaContext, connect_event
from tests.talk import grow_old

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from longwire.fanout.result import SendResult
    from longwire_backends import Backend, Page, Record

pytestmark = pytest.mark.anyio

FAR = 1 << 40
QUICK = 10_000.0  # requests per second
SOON = 5.0  # seconds


class App:
    """Adds whoever connects to a group, and notes whose end it is told.

    Attributes:
        told: (connection id, close code, the groups in which it was).
        breaks: whether it raises when it is told.
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, int, tuple[str, ...]]] = []
        self.breaks = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        connections = Connections()
        await receive()
        await send({"type": "websocket.accept"})
        await connections.group_add("blue", scope)
        message = await receive()
        connection_id = scope["extensions"]["longwire"]["connection_id"]
        self.told.append((connection_id, message["code"], await connections.groups(scope)))
        if self.breaks:
            raise RuntimeError("broken app")


@dataclass
class World:
    """A handler with its store, and an API Gateway that knows only some of the connections."""

    server: ConnectionsServer
    backend: Backend
    handler: Longwire
    app: App

    async def connect(self, *names: str, age: float = 3600.0) -> None:
        """Let clients connect, so many seconds ago."""
        for name in names:
            event = connect_event(name)
            event["requestContext"]["connectedAt"] = int((time.time() - age) * 1000)
            assert await self.handler.handle(event, LambdaContext()) == {"statusCode": 200}
            self.server.known.add(name)
        if age:
            await grow_old(self.handler, *names)
        self.server.requests.clear()

    def vanish(self, *names: str) -> None:
        """Let API Gateway know them no longer, and tell nobody."""
        self.server.known -= set(names)

    async def sweep(self, **options: Any) -> SweepResult:
        return await self.handler.sweep(**{"rate": QUICK, **options})

    async def send_from_outside(self) -> SendResult:
        """Send to the group as a script does, which has no app to tell."""
        url = self.server.url
        async with Connections(
            ws_config={"backend": self.backend}, api_gateway_endpoint_url=url
        ) as script:
            result = await script.group_send("blue", "hello")
        self.server.requests.clear()
        return result

    async def members(self) -> list[str]:
        """Return who is in the group."""
        return sorted((await self.backend.group_members("blue")).members)

    async def stored(self) -> list[str]:
        """Return what has a record."""
        return sorted((await self.backend.connections()).members)

    @property
    def asked(self) -> list[str]:
        """Who was asked about; there was no other request."""
        assert {method for method, _, _ in self.server.requests} <= {"GET"}
        return sorted(to for _, to, _ in self.server.requests)


@asynccontextmanager
async def world(backend: Backend | None = None, **ws_config: Any) -> AsyncIterator[World]:
    """Set everything up."""
    backend = backend or MemoryBackend()
    async with ConnectionsServer(unknown_is_gone=True) as server:
        app = App()
        settings: Any = {
            "backend": backend,
            "api_gateway_endpoint_url": server.url,
            **ws_config,
        }
        handler = Longwire(app, ws_config=settings, lifespan="off")
        try:
            yield World(server, backend, handler, app)
        finally:
            await handler.aclose()
            await backend.close()


def end(name: str) -> tuple[str, int, tuple[str, ...]]:
    """Return what the app is told of a ghost."""
    return name, 1006, ("blue",)


# --- what it finds --------------------------------------------------------------------------------


async def test_ghosts_are_told_once_and_the_living_are_not_touched() -> None:
    """Each is asked about once; a ghost has no record and is in no group any more."""
    async with world() as w:
        await w.connect("a", "b", "c", "d")
        w.vanish("b", "d")
        assert await w.sweep() == SweepResult(checked=4, gone=2)
        assert w.asked == ["a", "b", "c", "d"]
        assert sorted(w.app.told) == [end("b"), end("d")]
        assert (await w.stored(), await w.members()) == (["a", "c"], ["a", "c"])
        assert await w.sweep() == SweepResult(checked=2)
        assert len(w.app.told) == 2


async def test_an_empty_store_is_swept_at_once() -> None:
    """Without a request."""
    async with world() as w:
        assert await w.sweep(rate=0.001) == SweepResult()
        assert w.asked == []


async def test_two_sweeps_at_the_same_time_tell_once(tmp_path: Path) -> None:
    """Two handlers on one file, as two processes have it; and many more than are told at once."""
    path = tmp_path / "ws.sqlite3"
    async with world(SQLite3Backend(path)) as one, world(SQLite3Backend(path)) as other:
        ghosts = [f"g{number:02}" for number in range(30)]
        await one.connect("a", "z", *ghosts)
        one.vanish(*ghosts)
        other.server.known |= {"a", "z"}
        results = await asyncio.gather(one.sweep(), other.sweep())
        assert all(result.ok for result in results)
        told = Counter(name for name, code, _ in one.app.told + other.app.told)
        assert told == Counter(ghosts)
        assert (await one.stored(), await one.members()) == (["a", "z"], ["a", "z"])


async def test_young_connections_are_left_in_peace() -> None:
    """For ten minutes; then a silent one has been ended by API Gateway."""
    async with world() as w:
        await w.connect("young", age=590)
        await w.connect("old", age=610)
        w.vanish("young", "old")
        assert await w.sweep() == SweepResult(checked=1, gone=1)
        assert w.asked == ["old"]
        assert w.app.told == [end("old")]


async def test_the_age_may_be_another() -> None:
    """Down to nothing."""
    async with world() as w:
        await w.connect("a", age=30)
        await w.connect("b", age=10)
        w.vanish("a", "b")
        assert await w.sweep(min_age=20) == SweepResult(checked=1, gone=1)
        assert await w.sweep(min_age=0) == SweepResult(checked=1, gone=1)
        assert w.app.told == [end("a"), end("b")]


async def test_a_handshake_that_is_not_over_is_no_ghost() -> None:
    """API Gateway does not know it yet; it is asked about again until it does."""
    async with world() as w:
        await w.connect("new", age=0)
        w.vanish("new")
        sweeping = asyncio.create_task(w.sweep(min_age=0))
        await w.server.until(lambda: len(w.server.requests) == 2)
        w.server.known.add("new")
        assert await sweeping == SweepResult(checked=1)
        assert w.app.told == []


async def test_whom_a_send_has_found_gone_the_sweep_tells() -> None:
    """A script that sends has no app to tell."""
    async with world() as w:
        await w.connect("a", "b")
        w.vanish("b")
        assert list((await w.send_from_outside()).gone) == ["b"]
        assert await w.sweep() == SweepResult(checked=1, gone=1)
        assert w.asked == ["a"]
        assert [told[:2] for told in w.app.told] == [("b", 1006)]
        assert await w.stored() == ["a"]


async def test_whom_a_send_has_found_gone_was_in_these_groups() -> None:
    """So that the app can say in each of them who has left."""
    async with world() as w:
        await w.connect("a", "b")
        w.vanish("b")
        await w.send_from_outside()
        await w.sweep()
        assert w.app.told == [end("b")]


async def test_what_has_expired_is_deleted(tmp_path: Path) -> None:
    """Records and memberships; nobody is asked or told about them."""
    async with world(SQLite3Backend(tmp_path / "ws.sqlite3")) as w:
        await w.connect("a")
        past = int(time.time()) - 1
        await w.backend.put("old", "{}", past)
        await w.backend.group_add("blue", "old", past)
        await w.backend.group_add("red", "old", past)
        assert await w.sweep() == SweepResult(checked=1, deleted=3)
        assert await w.sweep() == SweepResult(checked=1)
        assert w.app.told == []


async def test_a_record_that_cannot_be_read_does_not_stop_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A connection with one is deleted, as its next message would; the log and the result say so.

    What a newer Longwire has written is not damaged, but nobody here can read it.
    """
    async with world() as w:
        await w.connect("a", "m", "n", "z")
        await w.backend.put("m", "{", FAR)
        await w.backend.put("n", '{"v":2}', FAR)
        w.vanish("z")
        swept = await w.sweep()
        assert (swept.checked, swept.gone, list(swept.failed)) == (3, 1, ["m"])
        assert w.app.told == [end("z")]
        assert await w.stored() == ["a", "n"]
        assert [to for method, to, _ in w.server.requests if method == "DELETE"] == ["m"]
        assert (await w.backend.group_members("blue")).members == ("a", "n")
    (error,) = errors(caplog)
    assert error.startswith("connection m: deleted: a stored record is not readable: ")
    assert error.endswith(swept.failed["m"])


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the texts of the errors that were logged."""
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


async def test_an_app_that_raises_does_not_stop_it(caplog: pytest.LogCaptureFixture) -> None:
    """Every ghost is told, and each error is logged."""
    async with world() as w:
        await w.connect("a", "b", "c")
        w.vanish("a", "b", "c")
        w.app.breaks = True
        assert await w.sweep() == SweepResult(checked=3, gone=3)
        assert sorted(w.app.told) == [end("a"), end("b"), end("c")]
        assert await w.stored() == []
    assert len(errors(caplog)) == 3


# --- at what rate, and how long -------------------------------------------------------------------


async def test_it_keeps_the_rate_and_the_deadline() -> None:
    """What there was no time for is in the result."""
    async with world() as w:
        names = [f"c{number:03}" for number in range(90)]
        await w.connect(*names)
        started = time.monotonic()
        result = await w.sweep(rate=20, timeout=1.0)
        assert time.monotonic() - started < 4  # not the 4.5 s that all of them would take
        assert 1 <= len(w.asked) <= 21
        assert result.checked == len(w.asked)
        left = {name: result.failed.get(name) for name in names if name not in w.asked}
        assert set(left.values()) == {"not asked: there was no time left"}
        assert (result.incomplete, result.ok) == ("there was no time left", False)


async def test_pages_for_which_there_is_no_time_are_not_asked_about() -> None:
    """They are not in the result one by one; who is known to be gone is told all the same."""
    async with world(Shaky()) as w:
        await w.connect("a", "b", "c", "d", "e", "f", "g", "h")
        w.vanish("h")
        await w.send_from_outside()
        result = await w.sweep(rate=5, timeout=0.3)
        assert (result.checked, result.gone) == (len(w.asked), 1)
        assert len(set(w.asked) | set(result.failed)) <= 4
        assert result.incomplete == "there was no time left"
        assert [told[:2] for told in w.app.told] == [("h", 1006)]


async def test_ghosts_found_in_time_are_told_though_the_time_is_up() -> None:
    """The next sweep finds the others."""
    async with world() as w:
        names = [f"c{number:03}" for number in range(30)]
        await w.connect(*names)
        w.vanish(*names)
        result = await w.sweep(rate=20, timeout=1.0)
        assert 1 <= result.gone <= 21
        assert len(w.app.told) == result.gone
        assert (await w.sweep()).gone == 30 - result.gone
        assert sorted(w.app.told) == [end(name) for name in names]


async def test_repeats_keep_the_rate_too() -> None:
    """When API Gateway is too busy (429), it is not asked any faster."""
    async with world() as w:
        names = [f"c{number:02}" for number in range(20)]
        await w.connect(*names)
        for name in names:
            w.server.answers[name].extend([429] * 50)
        await w.sweep(rate=20, timeout=0.5)
        assert 1 <= len(w.asked) <= 11


async def test_an_answer_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not for all of the time, which may be an hour; nobody is taken for gone."""
    monkeypatch.setattr(sweeping, "ANSWER_TIME", 0.2)
    async with world() as w:
        await w.connect("a", "b")
        w.server.answers["a"].append("silence")
        result = await w.sweep()
        assert (result.checked, result.gone, list(result.failed)) == (2, 0, ["a"])
        assert "timed out" in result.failed["a"]
        assert await w.stored() == ["a", "b"]


async def test_one_that_is_refused_takes_no_more_than_its_patience() -> None:
    """It is in the result, and the others are looked at meanwhile."""
    async with world(slow_client=0.1) as w:
        await w.connect("a", "b", "c")
        w.vanish("c")
        w.server.full.add("b")
        result = await w.sweep()
        assert (result.checked, result.gone, list(result.failed)) == (3, 1, ["b"])
        assert "its client does not read" in result.failed["b"]
        w.server.requests.clear()
        await w.sweep()
        assert Counter(w.asked) == {"a": 1, "b": 1}


async def test_an_api_that_is_too_busy_for_once_is_asked_again() -> None:
    """Nothing is missing in the end."""
    async with world() as w:
        await w.connect("a", "b")
        w.vanish("b")
        for name in ("a", "b"):
            w.server.answers[name].extend([429, 429])
        assert await w.sweep() == SweepResult(checked=2, gone=1)
        assert w.app.told == [end("b")]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"rate": rate} for rate in (0, -1, float("nan"), "x")),
        {"min_age": -1},
        {"min_age": float("nan")},
        {"min_age": []},
    ],
)
async def test_numbers_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    """Before anybody is asked; as arguments, and in the event of a schedule."""
    async with world() as w:
        await w.connect("a")
        with pytest.raises(
            ConfigurationError, match="sweep: expected a rate above 0 and a min_age"
        ):
            await w.handler.sweep(**wrong)
        with pytest.raises(ConfigurationError, match="sweep: expected a rate above 0"):
            await w.handler.handle({"longwire": "sweep", **wrong}, LambdaContext())
        assert w.asked == []


# --- what fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (403, "GET answered 403"),
        (500, "GET answered 500"),
        (Reply(200, b"<html>"), "is something else at this endpoint?"),
        ("reset", "GET failed"),
    ],
)
async def test_only_410_means_gone(answer: Answer, said: str) -> None:
    """Whatever else API Gateway says is a failure of that one question."""
    async with world() as w:
        await w.connect("a", "b", "c")
        w.server.answers["b"].append(answer)
        w.vanish("c")
        result = await w.sweep()
        assert (result.checked, result.gone, result.ok) == (3, 1, False)
        assert list(result.failed) == ["b"]
        assert said in result.failed["b"]
        assert w.app.told == [end("c")]
        assert await w.members() == ["a", "b"]


class Shaky(MemoryBackend):
    """Lists two connections on a page, and breaks where a test says so.

    Attributes:
        breaks: at "connections" after two pages, at the "get" of a connection "b", or at "sweep".
    """

    def __init__(self) -> None:
        super().__init__()
        self.breaks = ""

    async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
        page = await super().connections(limit=2, after=after)
        if after is not None and page.next is None:
            self._break("connections")
        return page

    async def get(self, connection_id: str) -> Record | None:
        if connection_id == "b":
            self._break("get")
        return await super().get(connection_id)

    async def sweep(self) -> int:
        self._break("sweep")
        return await super().sweep()

    def _break(self, operation: str) -> None:
        if self.breaks == operation:
            raise BackendError(self.name, operation, "out of order")


async def test_a_store_that_fails_midway_leaves_it_incomplete() -> None:
    """The ghosts that were found before are told, and the result says why there may be more."""
    async with world(Shaky()) as w:
        assert isinstance(w.backend, Shaky)
        await w.connect("a", "b", "c", "d", "e")
        w.vanish("a", "c", "e")
        w.backend.breaks = "connections"
        result = await w.sweep()
        assert result == SweepResult(
            checked=4, gone=2, incomplete="memory: connections failed: out of order"
        )
        assert not result.ok
        assert w.app.told == [end("a"), end("c")]
        w.backend.breaks = ""
        assert await w.sweep() == SweepResult(checked=3, gone=1)


async def test_a_record_that_the_store_cannot_give_is_a_failure() -> None:
    """The others are looked at."""
    async with world(Shaky()) as w:
        assert isinstance(w.backend, Shaky)
        await w.connect("a", "b", "c")
        w.vanish("b", "c")
        w.backend.breaks = "get"
        result = await w.sweep()
        assert result == SweepResult(
            checked=2, gone=1, failed={"b": "memory: get failed: out of order"}
        )
        assert w.app.told == [end("c")]


async def test_a_store_that_cannot_delete_leaves_it_incomplete() -> None:
    """Everybody was looked at all the same."""
    async with world(Shaky()) as w:
        assert isinstance(w.backend, Shaky)
        await w.connect("a")
        w.vanish("a")
        w.backend.breaks = "sweep"
        result = await w.sweep()
        assert (result.gone, result.incomplete) == (1, "memory: sweep failed: out of order")


async def test_without_an_endpoint_it_says_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which may be an argument, or in the environment."""
    monkeypatch.delenv("WS_MANAGEMENT_ENDPOINT", raising=False)
    async with world(api_gateway_endpoint_url=None) as w:
        with pytest.raises(ConfigurationError, match="set the environment variable WS_MANAGEMENT"):
            await w.sweep()
        with pytest.raises(ConfigurationError, match="must be an http:// or https:// URL"):
            await w.sweep(endpoint_url="example")
        assert (await w.sweep(endpoint_url=w.server.url)).ok
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", w.server.url)
        assert (await w.sweep()).ok


# --- as a Lambda event ----------------------------------------------------------------------------


@pytest.mark.parametrize("synchronous", [False, True], ids=["handle", "call"])
async def test_a_schedule_asks_for_it(synchronous: bool) -> None:
    """The answer is JSON, as Lambda wants it."""
    async with world() as w:
        await w.connect("a", "b")
        w.vanish("b")
        event = {"longwire": "sweep"}
        if synchronous:
            answer = await asyncio.to_thread(w.handler, event, LambdaContext())
        else:
            answer = await w.handler.handle(event, LambdaContext())
        assert json.loads(json.dumps(answer)) == {
            "checked": 2,
            "gone": 1,
            "failed": {},
            "deleted": 0,
            "incomplete": None,
        }
        assert w.app.told == [end("b")]
        if synchronous:
            await asyncio.to_thread(w.handler.close)


async def test_the_event_may_have_options() -> None:
    """A rate and an age."""
    async with world() as w:
        await w.connect("a", "b", age=30)
        event = {"longwire": "sweep", "rate": 1.0, "min_age": 20}
        answer = await w.handler.handle(event, LambdaContext(0.5))
        assert (answer["checked"], len(answer["failed"])) == (1, 1)
        assert len(w.asked) == 1


async def test_it_is_done_before_lambda_ends_it() -> None:
    """Within the time that the context leaves."""
    async with world() as w:
        await w.connect(*(f"c{number}" for number in range(20)))
        context = LambdaContext(0.5)
        answer = await w.handler.handle({"longwire": "sweep", "rate": 10}, context)
        assert context.get_remaining_time_in_millis() > 0
        assert len(answer["failed"]) >= 10


# --- on the command line --------------------------------------------------------------------------

MODULE = """
import os
from longwire import Connections, Longwire

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    message = await receive()
    print("told", scope["extensions"]["longwire"]["connection_id"], message["code"], flush=True)

async def broken(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})

def function(event, context):
    return {"statusCode": 200}

store = {"backend": "sqlite3", "params": {"file_path": os.environ["SWEEP_FILE"]}}
handler = Longwire(app, ws_config=store, lifespan="off")
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module to name, and the path of its store in the environment."""
    (tmp_path / "sweep_app.py").write_text(MODULE)
    monkeypatch.setenv("SWEEP_FILE", str(tmp_path / "ws.sqlite3"))
    monkeypatch.delenv("WS_MANAGEMENT_ENDPOINT", raising=False)
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    sys.modules.pop("sweep_app", None)


def command(directory: Path, target: str, *arguments: str) -> int:
    """Run `longwire sweep` here."""
    return cli.main(["sweep", f"sweep_app:{target}", "--app-dir", str(directory), *arguments])


@asynccontextmanager
async def filled(directory: Path) -> AsyncIterator[World]:
    """Have a living connection and a ghost in the module's store."""
    async with world(SQLite3Backend(directory / "ws.sqlite3")) as w:
        await w.connect("alive", "ghost")
        w.vanish("ghost")
        yield w


async def test_the_command_prints_nothing_that_a_terminal_obeys(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id is whatever lies in the store; here it would clear the screen and ring."""
    async with filled(directory) as w:
        await w.backend.put("x\x1b[2J\x07", "no record", FAR)
        await asyncio.to_thread(command, directory, "handler", "--endpoint", w.server.url)
    output = capsys.readouterr()
    assert r"x\x1b[2J\x07" in output.out + output.err
    assert not {"\x1b", "\x07"} & set(output.out + output.err)


@pytest.mark.parametrize("target", ["handler", "app"])
async def test_the_command_tells_the_app(
    directory: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A handler says where its store is; for an ASGI app the options do."""
    store = ["--file", str(directory / "ws.sqlite3")] if target == "app" else []
    async with filled(directory) as w:
        code = await asyncio.to_thread(
            command, directory, target, "--endpoint", w.server.url, *store
        )
        assert await w.stored() == ["alive"]
    assert code == 0
    assert capsys.readouterr() == (
        "told ghost 1006\n"
        "checked 2 connections: 1 were gone\n"
        "deleted 0 records and memberships that had expired\n",
        "",
    )


async def test_the_command_works_as_a_process(directory: Path) -> None:
    """As a cron job runs it, with the endpoint in its environment."""
    async with filled(directory) as w:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "longwire", "sweep", "sweep_app:handler"),
            cwd=directory,
            env={**os.environ, "WS_MANAGEMENT_ENDPOINT": w.server.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(b"told ghost 1006\nchecked 2 connections: 1 were gone\n")


async def test_the_command_says_what_could_not_be_checked(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1; nobody is told."""
    async with filled(directory) as w:
        for name in ("alive", "ghost"):
            w.server.answers[name].append(403)
        code = await asyncio.to_thread(command, directory, "handler", "--endpoint", w.server.url)
        assert await w.stored() == ["alive", "ghost"]
    assert code == 1
    *_, failed = capsys.readouterr().out.splitlines()
    assert failed.startswith("2 could not be checked, for example ")
    assert "execute-api:ManageConnections" in failed


@pytest.mark.parametrize(
    ("target", "arguments", "said"),
    [
        ("handler", [], "where the management API is cannot be known outside a WebSocket event"),
        ("handler", ["--endpoint", "example"], "sweep: the endpoint must be an http://"),
        ("handler", ["--endpoint", "{url}", "--rate", "0"], "sweep: expected a rate above 0"),
        ("handler", ["--endpoint", "{url}", "--min-age", "-1"], "sweep: expected a rate above 0"),
        ("function", [], "sweep_app:function is a Lambda function; expected an ASGI app or a L"),
        ("nothing", [], "module 'sweep_app' has no attribute 'nothing'"),
        ("app", ["--params", "{{}}"], "--params: needs --backend"),
    ],
)
def test_mistakes_in_the_command_line(
    directory: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    arguments: list[str],
    said: str,
) -> None:
    """Exit code 2, and one line that says what to do."""
    given = [one.format(url="http://127.0.0.1:1/x") for one in arguments]
    assert command(directory, target, *given) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"longwire: {said}")
    assert (err.count("\n"), out) == (1, "")


def test_a_number_has_to_be_one(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As argparse says it."""
    with pytest.raises(SystemExit) as exited:
        command(directory, "handler", "--rate", "fast")
    assert exited.value.code == 2
    assert "argument --rate: invalid float value: 'fast'" in capsys.readouterr().err


def test_a_store_that_cannot_be_opened_is_one_line(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1: nothing could be looked at."""
    (directory / "ws.sqlite3").mkdir()
    assert command(directory, "handler", "--endpoint", "http://127.0.0.1:1/x") == 1
    assert "not all were looked at: sqlite3: " in capsys.readouterr().out


async def test_one_that_had_no_time_for_all_is_gone_on_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the next one, which then begins at the beginning; nobody is left out for ever."""
    monkeypatch.setattr(sweeping, "PIECE", 1)
    async with world() as w:
        await w.connect("a", "b", "c", "d")
        w.vanish("d")
        first = await w.sweep(rate=0.001, timeout=SOON)
        assert (w.asked, first.incomplete, w.app.told) == (["a"], sweeping.CUT_OFF, [])
        for count, name in ((1, "b"), (2, "c")):
            w.server.requests.clear()
            again = await w.sweep(rate=0.001, timeout=SOON)
            assert (w.asked, again.ok) == ([name], False), count
        w.server.requests.clear()
        last = await w.sweep()
        assert [to for _, to, _ in w.server.requests] == ["d", "a", "b", "c"]
        assert (last.checked, last.gone, last.ok) == (4, 1, True)
        assert w.app.told == [end("d")]
        assert await w.stored() == ["a", "b", "c"]  # and nothing is noted any more


async def test_a_note_that_the_store_cannot_read_is_forgotten() -> None:
    """As one of another kind of store; the sweep after it looks at all."""

    class Choosy(MemoryBackend):
        async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
            if after == "what?":
                raise BackendError(self.name, "connections", "no page begins there")
            return await super().connections(limit=limit, after=after)

    async with world(Choosy()) as w:
        await w.connect("a")
        await w.backend.put(names.of_sweep(), "what?", FAR)
        assert (await w.sweep()).incomplete is not None
        assert (await w.sweep()).ok
        assert w.asked == ["a"]


async def test_a_store_that_cannot_note_it_ends_no_sweep(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and the next one begins at the beginning."""

    class Forgetful(MemoryBackend):
        async def get(self, connection_id: str) -> Record | None:
            if names.is_internal(connection_id):
                raise BackendError(self.name, "get", "away")
            return await super().get(connection_id)

        async def put(self, connection_id: str, value: str, expires_at: int) -> str:
            if names.is_internal(connection_id):
                raise BackendError(self.name, "put", "away")
            return await super().put(connection_id, value, expires_at)

    monkeypatch.setattr(sweeping, "PIECE", 1)
    async with world(Forgetful()) as w:
        await w.connect("a", "b", "c")
        for _ in range(2):
            w.server.requests.clear()
            result = await w.sweep(rate=0.001, timeout=SOON)
            assert w.asked[0] == "a"
            assert result.incomplete == sweeping.CUT_OFF
        assert "where it has stopped" in caplog.text
