"""One log record for each event: what it says, when it comes, and what is never in it."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
from typing import TYPE_CHECKING, Any, get_args

import pytest
from awslambdaric.lambda_runtime_log_utils import _RESERVED_FIELDS, JsonFormatter
from starlette.exceptions import HTTPException

from longwire import (
    BackendError,
    Connections,
    Longwire,
    LongwireError,
    websocket_handler,
)
from longwire.exceptions import EventLoopError
from longwire.observability import event as observe
from longwire.observability.event import EventRecord, Observed, Word
from longwire_backends.memory import MemoryBackend
from tests.connections_server import ConnectionsServer, Reply
from tests.documents import PAGES
from tests.invocation.test_connect import OK, websocket
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event
from tests.talk import talk

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.websockets import WebSocket

    from longwire import WSConfig
    from longwire.types import Receive, Scope, Send
    from tests.talk import Talk

pytestmark = pytest.mark.anyio


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """What the log says of events, with the level at which it says so."""
    caplog.set_level(logging.INFO, "longwire")
    return Told(caplog)


class Told:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def logged(self) -> list[logging.LogRecord]:
        """The log records that are about an event."""
        return [one for one in self._caplog.records if hasattr(one, "outcome")]

    @property
    def records(self) -> list[EventRecord]:
        """The same, with nothing but what Longwire says."""
        fields = EventRecord._fields
        return [EventRecord(*(getattr(one, field) for field in fields)) for one in self.logged]

    @property
    def last(self) -> EventRecord:
        return self.records[-1]

    @property
    def endings(self) -> list[tuple[str, str]]:
        return [(one.phase, one.outcome) for one in self.records]

    @property
    def counts(self) -> list[tuple[int, int]]:
        """Of each event: requests to the store, posts."""
        return [(one.store_requests, one.posts) for one in self.records]


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def _until_over(client: Talk) -> None:
    """Wait for what goes on behind responses."""
    await client.handler._deferred.wait()


# What a record says


async def test_a_conversation_is_one_record_for_each_event(told: Told, tmp_path: Path) -> None:
    """With a real store and real posts, counted."""
    params = {"file_path": str(tmp_path / "c.sqlite3")}
    async with talk(websocket(_echo), backend="sqlite3", params=params) as client:
        await client.connect()
        await client.say("one")
        await client.say("two")
        await client.leave()
    assert told.endings == [
        ("connect", "accepted"),
        ("message", "parked"),
        ("message", "parked"),
        ("disconnect", "told"),
    ]
    # Stored; read, twice; taken out, with no membership to end.
    assert told.counts == [(1, 0), (1, 1), (1, 1), (1, 0)]
    routes = [one.route_key for one in told.records]
    assert routes == ["$connect", "$default", "$default", "$disconnect"]
    assert {one.connection_id for one in told.records} == {client.connection_id}
    assert [one.status for one in told.records] == [200, None, None, None]
    assert all(0 < one.duration_ms <= one.total_ms for one in told.records)


async def test_a_record_is_one_readable_line(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the attributes say."""
    monkeypatch.setattr(observe, "_events", itertools.count())
    async with talk(websocket(_echo)) as client:
        await client.connect()
        await client.say("one")
        connected, replied = (one.getMessage() for one in told.logged)
    first, second = told.records
    assert connected == (
        f"CONNECT $connect {client.connection_id} accepted 200: {first.duration_ms:.1f} ms, "
        f"{first.total_ms:.1f} ms in all, store requests: 1, posts: 0, cold"
    )
    assert replied == (
        f"MESSAGE $default {client.connection_id} parked: {second.duration_ms:.1f} ms, "
        f"{second.total_ms:.1f} ms in all, store requests: 1, posts: 1"
    )
    assert {(one.name, one.levelname) for one in told.logged} == {("longwire", "INFO")}


async def test_only_the_first_event_of_a_process_is_cold(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever handler gets it."""
    monkeypatch.setattr(observe, "_events", itertools.count())
    for _ in range(2):
        async with talk(websocket(_echo)) as client:
            await client.connect()
            await client.say("")
    assert [one.cold for one in told.records] == [True, False, False, False]


async def test_lambda_writes_the_attributes_as_keys(told: Told) -> None:
    """None of their names is one that its runtime keeps for itself."""
    async with talk(websocket(_echo)) as client:
        await client.connect()
    (logged,) = told.logged
    (record,) = told.records
    plain = logging.makeLogRecord({}).__dict__.keys() | {"asctime", "message"}
    assert not (_RESERVED_FIELDS | plain).intersection(EventRecord._fields)
    line = json.loads(JsonFormatter().format(logged))
    expected = {key: value for key, value in record._asdict().items() if value is not None}
    assert {key: line[key] for key in EventRecord._fields if key in line} == expected


async def test_nothing_is_logged_below_info(caplog: pytest.LogCaptureFixture) -> None:
    """Which is how Python and Lambda begin."""
    async with talk(websocket(_echo)) as client:
        await client.connect()
    assert not caplog.records


def test_the_documents_have_all_attributes_and_all_words() -> None:
    """And no others."""
    page = PAGES["docs/observability.md"]

    def first_column(head: str) -> list[str]:
        table = page.split(f"\n| {head} | meaning |\n", 1)[1].split("\n\n", 1)[0]
        return re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in table.splitlines()))

    assert sorted(first_column("attribute")) == sorted(EventRecord._fields)
    assert sorted(first_column("outcome")) == sorted(get_args(Word))


# How events end


async def _close(websocket: WebSocket) -> None:
    await websocket.close(4401)


async def _unauthorized(websocket: WebSocket) -> None:
    raise HTTPException(401)


async def _crash(websocket: WebSocket) -> None:
    raise ZeroDivisionError("secret")


async def _return(websocket: WebSocket) -> None:
    return None


async def _wait(websocket: WebSocket) -> None:
    await websocket.receive()
    await websocket.receive()


@pytest.mark.parametrize(
    ("endpoint", "outcome", "status", "error_type"),
    [
        (_close, "refused", 403, None),
        (_unauthorized, "refused", 401, None),
        (_crash, "raised", 500, "ZeroDivisionError"),
        (_return, "refused", 500, None),
        (_wait, "refused", 500, None),
    ],
)
async def test_a_refusal_has_its_status(
    told: Told, endpoint: Any, outcome: str, status: int, error_type: str | None
) -> None:
    """An error is told from a decision."""
    async with talk(websocket(endpoint)) as client:
        await client.connect()
    (record,) = told.records
    assert (record.outcome, record.status) == (outcome, status)
    assert record.error_type == error_type
    assert record.is_error == (status == 500)


async def test_a_forbidden_origin_is_a_refusal(told: Told) -> None:
    """Though no app has been asked."""
    async with talk(websocket(_echo), allowed_origins=["https://ours.example"]) as client:
        await client.connect(headers={"Origin": ["https://theirs.example"]})
    assert (told.last.outcome, told.last.status) == ("refused", 403)


async def test_an_app_that_is_late_is_told_by_its_deadline(told: Told) -> None:
    """At $connect with its status."""

    async def late(websocket: WebSocket) -> None:
        await asyncio.sleep(60)

    async with talk(websocket(late)) as client:
        client.seconds = 0.2
        await client.connect()
    assert (told.last.outcome, told.last.status) == ("deadline", 504)
    assert told.last.is_error


async def _obey(websocket: WebSocket) -> None:
    await websocket.accept()
    match await websocket.receive_text():
        case "close":
            await websocket.close()
        case "raise":
            raise KeyError("secret")
        case "sleep":
            await asyncio.sleep(60)
        case "reply":
            await websocket.send_text("a reply")
            await websocket.receive_text()


@pytest.mark.parametrize(
    ("order", "outcome", "error_type"),
    [
        ("return", "returned", None),
        ("close", "closed", None),
        ("raise", "raised", "KeyError"),
        ("sleep", "deadline", None),
        ("reply", "parked", None),
    ],
)
async def test_a_message_ends_as_the_app_does(
    told: Told, order: str, outcome: str, error_type: str | None
) -> None:
    """Errors with the name of their class, without their text."""
    async with talk(websocket(_obey)) as client:
        await client.connect()
        client.seconds = 0.2 if order == "sleep" else 20.0
        await client.say(order)
    assert (told.last.phase, told.last.outcome, told.last.error_type) == (
        "message",
        outcome,
        error_type,
    )
    assert "secret" not in str(told.logged[-1].__dict__)


async def test_a_client_that_a_post_finds_gone_is_told_so(told: Told) -> None:
    """The $disconnect that comes later finds nothing."""
    async with talk(websocket(_echo)) as client:
        await client.connect()
        await client.grow_old()
        client.vanish()
        await client.say("anybody?")
        await client.leave()
    assert told.endings[1:] == [("message", "gone"), ("disconnect", "no_record")]


async def test_a_message_without_a_record_is_told_so(told: Told) -> None:
    """It was deleted, or has expired."""
    async with talk(websocket(_echo)) as client:
        await client.say("hello?")
    assert told.endings == [("message", "no_record")]
    assert told.counts == [(3, 0)]  # read; taken out; its memberships ended


async def test_an_app_may_refuse_when_it_runs_again(told: Told) -> None:
    """As when a session has ended meanwhile."""
    valid = True

    async def app(websocket: WebSocket) -> None:
        if not valid:
            await websocket.close()
            return
        await _echo(websocket)

    async with talk(websocket(app)) as client:
        await client.connect()
        valid = False
        await client.say("")
    assert told.last.outcome == "refused"


async def test_a_disconnect_in_which_the_app_raises_is_an_error(told: Told) -> None:
    """The client is gone all the same."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive()
        raise LookupError("secret")

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.leave()
    assert (told.last.outcome, told.last.error_type) == ("raised", "LookupError")


class _Broken(MemoryBackend):
    async def get(self, connection_id: str) -> Any:
        raise BackendError("broken", "get", "no route")


async def test_a_handler_that_raises_is_one_record_too(told: Told) -> None:
    """Of the store, and of an event that is none."""
    async with talk(websocket(_echo), backend=_Broken()) as client:
        await client.connect()
        with pytest.raises(BackendError):
            await client.say("")
        bad = message_event("", client.connection_id)
        bad["requestContext"]["eventType"] = "PING"
        with pytest.raises(LongwireError):
            await client.handler.handle(bad)
    assert told.endings == [("connect", "accepted"), ("message", "failed"), ("other", "failed")]
    assert [one.error_type for one in told.records] == [None, "BackendError", "EventError"]
    assert told.last.connection_id == client.connection_id


async def test_a_startup_that_fails_is_told_of(told: Told) -> None:
    """No app has seen the event."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "secret"})

    async with talk(app, lifespan="on") as client:
        with pytest.raises(LongwireError):
            await client.connect()
    assert (told.last.outcome, told.last.error_type) == ("failed", "LifespanError")


# Events of other kinds


async def test_a_sweep_is_an_event(told: Told) -> None:
    """What it asks the store is counted; so are the requests of the app that it tells."""
    async with talk(websocket(_echo)) as client:
        await client.connect()
        await client.grow_old()
        client.vanish()
        event = {"longwire": "sweep", "min_age": 0, "rate": 10_000}
        swept = await client.handler.handle(event, LambdaContext())
    assert swept["gone"] == 1
    assert (told.last.phase, told.last.outcome, told.last.connection_id) == ("sweep", "done", None)
    assert told.last.store_requests > 3
    assert told.last.posts == 0
    assert len(told.records) == 2


async def test_a_part_that_comes_again_leaves_the_event_of_its_queue_incomplete(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a queue, such an event is somebody else's."""
    queue = {"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": "secret"}]}
    async with talk(websocket(_echo)) as client:
        monkeypatch.setattr(client.handler, "_http", lambda event, context: None)
        await client.handler.handle(queue, LambdaContext())
        fanout: Any = {"queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/fanout"}
        handler = Longwire(websocket(_echo), dsn="memory://", fanout=fanout)
        await handler.handle(queue, LambdaContext())
        await handler.aclose()
    assert told.endings == [("other", "done"), ("queue", "incomplete")]
    assert not told.last.is_error


async def test_a_sweep_that_leaves_some_out_is_incomplete(told: Told) -> None:
    """Its answer says why."""
    async with talk(websocket(_echo)) as client:
        await client.connect()
        client.server.answers[client.connection_id].append(500)
        event = {"longwire": "sweep", "min_age": 0, "rate": 10_000}
        await client.handler.handle(event, LambdaContext())
    assert told.endings[1:] == [("sweep", "incomplete")]


async def test_an_http_event_has_its_status(told: Told) -> None:
    """Whoever answers it; what it answers with may be anything."""
    answers: list[Any] = [{"statusCode": 503}, {"statusCode": "odd"}, "text"]

    async def http(event: Any, context: Any) -> Any:
        await Connections().send("c1", "hello")
        return answers.pop(0)

    async with ConnectionsServer() as server:
        config: Any = {
            "backend": "memory",
            "params": {},
            "api_gateway_endpoint_url": server.url,
        }
        handler = Longwire(websocket(_echo), ws_config=config, http=http, lifespan="off")
        for _ in range(3):
            await handler.handle({"httpMethod": "GET", "path": "/secret"}, LambdaContext())
        await handler.aclose()
    assert told.endings == [("other", "done")] * 3
    assert [(one.status, one.posts, one.is_error) for one in told.records] == [
        (503, 1, True),
        (None, 1, False),
        (None, 1, False),
    ]


# When a record comes


async def test_what_follows_the_response_is_part_of_its_event(told: Told) -> None:
    """The record comes once, when the greeting has been delivered."""

    async def greet(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.receive_text()

    async with talk(websocket(greet)) as client:
        await client.connect()
        assert not told.records
        await _until_over(client)
        (record,) = told.records
        assert client.frames == ["hello"]
    assert (record.outcome, record.status, record.posts) == ("accepted", 200, 1)
    assert record.duration_ms < record.total_ms
    assert len(told.records) == 1


async def test_an_app_that_goes_on_after_the_response_tells_its_real_end(told: Told) -> None:
    """It streams, and then returns."""
    go_on = asyncio.Event()

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("1")
        await go_on.wait()
        await websocket.send_text("2")

    async with talk(websocket(stream)) as client:
        assert await client.connect() == OK
        await client.until("1")
        assert not told.records
        go_on.set()
        await _until_over(client)
    (record,) = told.records
    assert (record.outcome, record.status, record.posts) == ("returned", 200, 2)


async def test_a_client_that_is_gone_before_its_greeting_is_told_so(told: Told) -> None:
    """Its handshake was answered with 200."""

    async def greet(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.receive_text()

    async with talk(websocket(greet)) as client:
        client.seconds = 2.0
        await client.handler.handle(connect_event(client.connection_id), LambdaContext(2.0))
        await _until_over(client)
    (record,) = told.records
    assert (record.outcome, record.status) == ("gone", 200)


async def test_what_fails_behind_the_response_is_told(told: Told) -> None:
    """A greeting that the store does not let be delivered, say."""

    class Store(MemoryBackend):
        async def get(self, connection_id: str) -> Any:
            raise BackendError("broken", "get", "no route")

    async def greet(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.receive_text()

    async with talk(websocket(greet), backend=Store()) as client:
        await client.connect()
        await _until_over(client)
    (record,) = told.records
    assert (record.outcome, record.status, record.error_type) == ("failed", 200, "BackendError")


async def test_work_that_is_cancelled_behind_the_response_is_one_record(told: Told) -> None:
    """As the handler is closed."""

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("1")
        await asyncio.sleep(60)

    async with talk(websocket(stream)) as client:
        await client.connect()
        await client.until("1")
    assert [(one.status, one.posts) for one in told.records] == [(200, 1)]


def test_a_synchronous_call_is_told_of(told: Told) -> None:
    """On a loop of the handler's own."""
    handler = Longwire(websocket(_echo), dsn="memory://", lifespan="off")
    assert handler(connect_event(), LambdaContext()) == OK
    assert handler(disconnect_event(), LambdaContext()) == OK
    handler.close()
    assert told.endings == [("connect", "accepted"), ("disconnect", "told")]


async def test_a_call_that_is_no_event_is_not_told_of(told: Told) -> None:
    """The handler has not begun with it."""
    handler = Longwire(websocket(_echo), dsn="memory://", lifespan="off")
    with pytest.raises(EventLoopError):
        handler(connect_event())
    assert not told.records


async def test_who_blocks_the_loop_is_told_of_once() -> None:
    """At once from another thread, though the event itself goes on some time."""
    seen: list[tuple[str, str | None]] = []

    def tell(observed: Observed) -> None:
        seen.append((observed.ending.word, observed.ending.error_type))

    with Observed({}, None, tell) as observed:
        observed.give_up(TimeoutError())
        observed.keep()
    observed.release()
    assert seen == [("deadline", "TimeoutError")]


# Several at once


async def test_events_on_one_loop_do_not_mix(told: Told) -> None:
    """Each counts what its own app's tasks do, through `Connections` too."""
    both = asyncio.Barrier(2)

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        connections = Connections()
        async for text in websocket.iter_text():
            await both.wait()
            sends = (connections.send(websocket.scope, text) for _ in range(int(text)))
            async with asyncio.TaskGroup() as group:
                for send in sends:
                    group.create_task(send)
            await asyncio.to_thread(connections.sync.send, websocket.scope, "thread")
            await connections.group_add("blue", websocket.scope)
            await both.wait()

    async with talk(websocket(app)) as client:
        other = client.another()
        await client.connect()
        await other.connect()
        await asyncio.gather(client.say("2"), other.say("5"))
    by_connection = {one.connection_id: one for one in told.records if one.phase == "message"}
    assert by_connection[client.connection_id].posts == 3
    assert by_connection[other.connection_id].posts == 6
    requests = {one.store_requests for one in by_connection.values()}
    assert len(requests) == 1
    assert min(requests) > 1


async def test_a_repeated_post_counts_as_often_as_it_was_made(told: Told) -> None:
    """It is what API Gateway was asked."""
    async with talk(websocket(_echo)) as client:
        await client.connect()
        client.server.answers[client.connection_id].extend([Reply(429), 200])
        await client.say("hello")
    assert told.counts[-1] == (1, 2)


async def test_what_a_startup_began_counts_for_no_event(told: Told) -> None:
    """Though it began during one."""
    wanted, sent = asyncio.Event(), asyncio.Event()

    async def background(connection_id: str) -> None:
        await wanted.wait()
        await Connections().send(connection_id, "from afar")
        sent.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["task"] = asyncio.create_task(background(client.connection_id))
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        wanted.set()
        await sent.wait()
        await receive()

    async with talk(app, lifespan="on") as client:
        await client.connect()
        await client.say("now")
        assert client.frames == ["from afar"]
    assert [one.posts for one in told.records] == [0, 0]


# What is never told


async def test_no_record_has_anything_of_a_client_in_it(
    told: Told, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Headers, query, messages, replies, close reason: at the most talkative level."""
    caplog.set_level(logging.DEBUG, "longwire")
    async with ConnectionsServer() as server:
        config: WSConfig = {
            "backend": "memory",
            "params": {},
            "api_gateway_endpoint_url": server.url,
        }
        handler = Longwire(websocket(_echo), ws_config=config, metrics="Test")
        connect = connect_event(
            headers={"Cookie": ["secret-1"], "X-Amzn-Trace-Id": ["secret-2"]},
            query={"token": ["secret-3"], "secret-4": ["x"]},
        )
        for event in (
            connect,
            message_event("secret-5"),
            disconnect_event(code=4000, reason="secret-6"),
        ):
            assert await handler.handle(event, LambdaContext()) == OK
        await handler.aclose()
    assert len(told.records) == 3
    output = capsys.readouterr()
    everything = [str(one.__dict__) for one in caplog.records] + [output.out, output.err]
    assert "secret" not in "".join(everything)


async def test_a_broken_output_does_not_break_the_answer(
    told: Told, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever observes is less important than the client."""

    class Broken:
        def write(self, text: str) -> None:
            raise OSError("no room")

    handler = Longwire(websocket(_echo), dsn="memory://", lifespan="off", metrics="Test")
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Broken())
        answer = await handler.handle(connect_event(), LambdaContext())
    await handler.aclose()
    assert answer == OK
    assert "an event could not be told of" in caplog.text


async def test_functions_without_an_app_are_told_of_too(told: Told) -> None:
    """`websocket_handler` writes the same record."""
    async with ConnectionsServer() as server:
        handler = websocket_handler(api_gateway_endpoint_url=server.url)

        @handler.route("$connect")
        async def connect(event: Any, context: Any) -> dict[str, int]:
            return {"statusCode": 401 if context.connection_id == "No=" else 200}

        @handler.route("$default")
        async def message(event: Any, context: Any) -> None:
            if context.body == "raise":
                raise ValueError(context.body)
            await context.send(context.body)

        await handler.handle(connect_event("Yes="), LambdaContext())
        await handler.handle(connect_event("No="), LambdaContext())
        await handler.handle(message_event("a", "Yes="), LambdaContext())
        with pytest.raises(ValueError, match="raise"):
            await handler.handle(message_event("raise", "Yes="), LambdaContext())
        await handler.aclose()
    assert told.endings == [
        ("connect", "accepted"),
        ("connect", "refused"),
        ("message", "done"),
        ("message", "failed"),
    ]
    assert [one.status for one in told.records] == [200, 401, None, None]
    assert [one.posts for one in told.records] == [0, 0, 1, 0]
    assert told.last.error_type == "ValueError"
