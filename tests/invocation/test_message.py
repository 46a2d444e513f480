"""MESSAGE: replies, and what each ending of the app means to the connection."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from starlette.websockets import WebSocketDisconnect

from longwire import BackendError, Connections, ManagementError
from longwire.exceptions import DeadlineError
from longwire_backends.memory import MemoryBackend
from longwire_backends.sqlite3.backend import SQLite3Backend
from tests.connections_server import Reply
from tests.invocation.test_connect import OK, websocket
from tests.lambda_events import LambdaContext, connect_event
from tests.talk import talk

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.websockets import WebSocket

    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def test_each_message_gets_its_replies_in_order() -> None:
    """No reply, one, ten."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            for number in range(int(text)):
                await websocket.send_text(f"{text}.{number}")

    async with talk(websocket(app)) as client:
        await client.connect()
        for count in ("0", "1", "10"):
            assert await client.say(count) == OK
        assert client.frames == ["1.0", *(f"10.{number}" for number in range(10))]
        assert not client.deleted


@pytest.mark.parametrize("text", ["", "emoji 😀", "x" * 131072, "{}", "\x00"])
async def test_text_arrives_as_it_was_sent(text: str) -> None:
    """Empty, beyond the basic plane, as long as API Gateway allows."""
    async with talk(websocket(_echo)) as client:
        await client.connect()
        await client.say(text)
        assert client.frames == [text]


async def test_a_base64_message_is_received_as_bytes() -> None:
    """Only then are there bytes in the message."""
    got: list[Any] = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        got.append(await websocket.receive())

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.say("AP8=", base64=True)
    assert got == [{"type": "websocket.receive", "bytes": b"\x00\xff"}]


async def test_a_message_finds_the_scope_that_connect_had() -> None:
    """Byte for byte, but for what belongs to the event."""
    scopes: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(dict(scope))
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async with talk(app, lifespan="off") as client:
        await client.connect(
            headers={"X": ["1", "caf\xe9"], "Cookie": ["a=b"]},
            query={"path": ["/rooms/a b"], "t": ["1", "2"]},
        )
        await client.say("x")
    own = ("aws.event", "aws.context", "extensions")
    first, second = ({k: v for k, v in scope.items() if k not in own} for scope in scopes)
    assert first == second
    assert first["path"] == "/rooms/a b"
    phases = [scope["extensions"]["longwire"]["phase"] for scope in scopes]
    assert phases == ["connect", "message"]
    expiries = {scope["extensions"]["longwire"]["expires_at"] for scope in scopes}
    assert len(expiries) == 1


async def test_the_authorizer_of_each_event_is_current() -> None:
    """It is in every event, so it is never stored."""
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["aws.event"]["requestContext"]["eventType"])
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async with talk(app, lifespan="off") as client:
        await client.connect()
        await client.say("x")
    assert seen == ["CONNECT", "MESSAGE"]


async def _return(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    await websocket.send_text("last")


async def _close(websocket: WebSocket) -> None:
    await _return(websocket)
    await websocket.close(4000, "enough")


async def _crash(websocket: WebSocket) -> None:
    await _return(websocket)
    raise ValueError("after accept")


async def _raise_disconnect(websocket: WebSocket) -> None:
    await _return(websocket)
    raise WebSocketDisconnect(1000)


@pytest.mark.parametrize("endpoint", [_return, _close, _crash, _raise_disconnect])
async def test_an_app_that_ends_takes_the_connection_with_it(endpoint: Any) -> None:
    """Its replies go first, and it hears of no disconnect after that."""
    async with talk(websocket(endpoint)) as client:
        await client.connect()
        assert await client.say("x") == OK
        assert client.frames == ["last"]
        assert client.server.requests[-1] == ("DELETE", client.connection_id, b"")
        requests = len(client.server.requests)
        assert await client.leave(1000, "Connection Closed Normally") == OK
        assert len(client.server.requests) == requests


async def test_a_crash_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """And a disconnect that escapes is none."""
    async with talk(websocket(_crash)) as client:
        await client.connect()
        await client.say("x")
    async with talk(websocket(_raise_disconnect)) as client:
        await client.connect()
        await client.say("x")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_an_app_that_refuses_when_it_runs_again_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A token may have expired since the handshake."""
    welcome = True

    async def app(websocket: WebSocket) -> None:
        if not welcome:
            await websocket.close(4401)
            return
        await _echo(websocket)

    async with talk(websocket(app)) as client:
        await client.connect()
        welcome = False
        assert await client.say("x") == OK
        assert client.frames == []
        assert client.deleted
    assert "the app did not come to wait for this message (it closed with 4401)" in caplog.text


async def test_a_client_that_is_gone_is_told_to_the_app_once() -> None:
    """A 410 on a reply counts as a disconnect; $disconnect then finds nothing."""
    told: list[int] = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.receive_text()
            await websocket.send_text("too late")
            await websocket.send_text("never")
        except WebSocketDisconnect as gone:
            told.append(gone.code)

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.grow_old()
        client.vanish()
        assert await client.say("x") == OK
        assert await client.leave() == OK
        assert [method for method, _, _ in client.server.requests] == ["POST"]
    assert told == [1006]


async def test_an_app_that_ignores_the_failed_send_receives_the_disconnect() -> None:
    """What ASGI promises either way."""
    got: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        with pytest.raises(OSError, match="is gone"):
            await send({"type": "websocket.send", "text": "x"})
        got.append(await receive())

    async with talk(app, lifespan="off") as client:
        await client.connect()
        client.vanish()
        await client.say("x")
    assert got == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_a_run_whose_client_another_event_saw_leave_ends_in_silence() -> None:
    """`$disconnect` may overtake a message: the app is told there, and not here as well."""
    told: list[str] = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await websocket.receive_text()
            await client.leave()
            await websocket.send_text("too late")
        except WebSocketDisconnect as gone:
            told.append(f"{websocket.scope['extensions']['longwire']['phase']} {gone.code}")

    async with talk(websocket(app)) as client:
        await client.connect()
        assert await client.say("x") == OK
    assert told == ["disconnect 1001"]


async def test_a_message_without_a_record_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One clear line, no traceback."""
    async with talk(websocket(_echo)) as client:
        client.server.known.add(client.connection_id)
        assert await client.say("x") == OK
        assert client.deleted
    (record,) = caplog.records
    assert record.exc_info is None
    assert record.message == (
        f"connection {client.connection_id}: deleted: it has no stored record (expired, lost, or "
        "$disconnect was faster)"
    )


@pytest.mark.parametrize("value", ['{"v":1,"scope":{"sch', '{"v":99}', "[]", "null"])
async def test_an_unreadable_record_ends_the_connection(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Truncated, or written by another version: the log says which."""
    store = MemoryBackend()
    async with talk(websocket(_echo), backend=store) as client:
        await client.connect()
        await store.put(client.connection_id, value, 2**40)
        assert await client.say("x") == OK
        assert client.deleted
        await store.put(client.connection_id, value, 2**40)
        assert await client.leave() == OK
    assert caplog.text.count("a stored record ") == 2


async def test_a_young_connection_is_looked_up_again() -> None:
    """Its first message may overtake the write of its record."""
    looked = 0

    class Late(MemoryBackend):
        async def get(self, connection_id: str) -> Any:
            nonlocal looked
            looked += 1
            return None if looked < 3 else await super().get(connection_id)

    async with talk(websocket(_echo), backend=Late()) as client:
        await client.connect()
        event = client.message("x")
        context = event["requestContext"]
        context["requestTimeEpoch"] = context["connectedAt"] + 10
        await client.handler.handle(event)
        assert client.frames == ["x"]


async def test_a_connection_whose_record_may_still_come_is_not_ended_for_lack_of_time() -> None:
    """Its message is an error then: API Gateway tells the client, who may try again."""
    looks: list[str] = []

    class Late(MemoryBackend):
        async def get(self, connection_id: str) -> Any:
            looks.append(connection_id)
            return None

    store = Late()
    async with talk(websocket(_echo), backend=store) as client:
        await client.connect()
        event = client.message("x")
        context = event["requestContext"]
        context["requestTimeEpoch"] = context["connectedAt"] + 10
        with pytest.raises(DeadlineError):
            await client.handler.handle(event, LambdaContext(0.05))
        assert not client.deleted
        assert await MemoryBackend.get(store, client.connection_id) is not None


async def test_a_message_that_the_app_never_waits_for_is_an_error() -> None:
    """The client is told, as the app has not got it."""
    hangs = False

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        if hangs:
            await asyncio.sleep(60)
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async with talk(websocket(app)) as client:
        await client.connect()
        hangs, client.seconds = True, 0.3
        with pytest.raises(DeadlineError):
            await client.say("a")
        hangs, client.seconds = False, 20
        assert await client.say("b") == OK
        assert client.frames == ["b"]


async def test_a_message_is_cancelled_at_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the line it waited in; the connection goes on."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            if text == "hang":
                await asyncio.sleep(60)
            await websocket.send_text(text)

    async with talk(websocket(app)) as client:
        await client.connect()
        client.seconds = 0.1
        assert await client.say("hang") == OK
        client.seconds = 20
        assert await client.say("go on") == OK
        assert client.frames == ["go on"]
    assert "was still running at the deadline and was cancelled; it waited in" in caplog.text
    assert __file__ in caplog.text


async def test_a_refused_reply_is_an_error_in_the_app() -> None:
    """It may handle it; a 403 says what its causes can be."""
    caught: list[ManagementError] = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            try:
                await websocket.send_text(text)
            except ManagementError as error:
                caught.append(error)

    async with talk(websocket(app)) as client:
        await client.connect()
        client.server.answers[client.connection_id].append(Reply(403))
        await client.say("a")
        await client.say("b")
        assert client.frames == ["b"]
    assert [error.status for error in caught] == [403]


async def test_nothing_of_one_connection_is_seen_by_another() -> None:
    """Context variables, scopes and state belong to one run."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="-")

    async def app(websocket: WebSocket) -> None:
        seen = [variable.get(), websocket.scope.get("mine"), getattr(websocket.state, "mine", None)]
        variable.set(websocket.query_params["name"])
        websocket.scope["mine"] = websocket.state.mine = websocket.query_params["name"]
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_json([*seen, variable.get(), text])

    async with talk(websocket(app)) as one:
        two = one.another()
        await one.connect(query={"name": ["one"]})
        await two.connect(query={"name": ["two"]})
        await asyncio.gather(one.say("a"), two.say("b"))
        assert one.frames == ['["-",null,null,"one","a"]']
        assert two.frames == ['["-",null,null,"two","b"]']


async def test_excluded_headers_are_missing_in_messages() -> None:
    """They are never stored, so only connect has them."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(str(websocket.headers.get("authorization")))
        async for _ in websocket.iter_text():
            await websocket.send_text(str(websocket.headers.get("authorization")))

    async with talk(websocket(app), exclude_headers=["Authorization"]) as client:
        await client.connect(headers={"Authorization": ["secret"]})
        await client.until("secret")
        await client.say("x")
        assert client.frames == ["secret", "None"]


class Written(MemoryBackend):
    """Notes all values that were ever written."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[str] = []

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        self.values.append(value)
        return await super().put(connection_id, value, expires_at)

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        self.values.append(value)
        return await super().update(connection_id, value, expires_at, version)


async def test_excluded_query_parameters_are_never_stored_or_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever writes the record: joining a group, a greeting, an end that others find."""
    caplog.set_level(logging.DEBUG)

    async def app(websocket: WebSocket) -> None:
        connections = Connections()
        await connections.group_add("early", websocket)
        await websocket.accept()
        await websocket.send_text(str(websocket.url.query))
        async for text in websocket.iter_text():
            await connections.group_add(text, websocket)
            await websocket.send_text(str(websocket.url.query))
            await connections.group_send("early", "hello")

    backend = Written()
    excluded = {"exclude_query": ["token"], "exclude_headers": ["cookie"]}
    async with talk(websocket(app), backend=backend, **excluded) as one:
        other = one.another()
        for client in (one, other):
            await client.connect(
                query={"token": ["SECRETtoken"], "user": ["ann"]},
                headers={"Cookie": ["SECRETcookie"]},
            )
            await client.grow_old()
        await one.say("blue")
        assert one.frames == ["token=SECRETtoken&user=ann", "user=ann", "hello"]
        other.vanish()
        await one.say("green")
        stored = await backend.get(one.connection_id)
        assert stored is not None
        await backend.put(one.connection_id, "{", stored.expires_at)
        await one.say("red")
    assert len(backend.values) > 6
    # What the app has sent is its own affair; it is digested, or owed for a while.
    scopes = [json.loads(value).get("scope") for value in backend.values if value != "{"]
    assert {scope["query_string"] for scope in scopes} == {"user=ann"}
    assert "SECRET" not in json.dumps(scopes)
    assert "SECRET" not in caplog.text
    assert caplog.records


async def test_a_greeting_is_stored_only_while_it_is_owed() -> None:
    """Mostly never: it leaves behind the response. Else until it is taken out to be sent."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("SECRETgreeting")
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    backend = Written()
    async with talk(websocket(app), backend=backend) as client:
        await client.connect()
        await client.until("SECRETgreeting")
        assert not any("SECRET" in value for value in backend.values)
        owed = client.another()
        await owed.connect()
        await owed.handler.aclose()  # before it could be sent
        assert "SECRET" in backend.values[-1]
        before = len(backend.values)
        await owed.say("x")
        assert owed.frames == ["SECRETgreeting", "x"]
        assert not any("SECRET" in value for value in backend.values[before:])
        assert len(backend.values) > before


async def test_an_app_cut_off_by_the_deadline_keeps_its_record(tmp_path: Path) -> None:
    """The store is told after the app's time is over; a real one takes a moment."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        if websocket.scope["extensions"]["longwire"]["phase"] == "connect":
            await asyncio.sleep(60)
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    store = SQLite3Backend(tmp_path / "store.sqlite3")
    async with talk(websocket(app), backend=store) as client:
        client.seconds = 2.0  # a tenth of which is for the store, also on a busy machine
        assert await client.connect() == OK
        client.seconds = 20
        await client.say("a")
        assert client.frames == ["a"]


async def test_a_reply_that_hangs_ends_with_the_deadline(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The event is answered, and the log says what was waited for."""
    store = SQLite3Backend(tmp_path / "store.sqlite3")
    async with talk(websocket(_echo), backend=store) as client:
        await client.connect()
        client.server.answers[client.connection_id].append("silence")
        client.seconds = 0.5
        assert await client.say("a") == OK
        client.seconds = 20
        await client.say("b")
        assert client.frames == ["b"]
    assert "was still running at the deadline" in caplog.text


async def test_a_store_that_does_not_answer_ends_the_event_in_time() -> None:
    """The error names the store, the operation and the time."""

    class Hanging(MemoryBackend):
        async def get(self, connection_id: str) -> Any:
            await asyncio.Event().wait()

    async with talk(websocket(_echo), backend=Hanging()) as client:
        await client.connect()
        client.seconds = 0.1
        with pytest.raises(BackendError, match=r"memory: get failed: no answer within the 0\.0"):
            await client.say("x")


async def test_a_client_that_speaks_before_api_gateway_knows_it() -> None:
    """Its first reply is answered with 410 for a moment, which is not its end."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async with talk(websocket(app)) as client:
        await client.handler.handle(connect_event(client.connection_id), LambdaContext())
        saying = asyncio.create_task(client.say("a"))
        await client.server.until(lambda: len(client.server.requests) > 2)
        client.server.known.add(client.connection_id)
        await saying
        await client.say("b")
        assert client.frames == ["a", "b"]


async def test_an_app_that_streams_and_never_waits_ignores_messages() -> None:
    """As under a server: its client may say something now and then to stay connected."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        for number in itertools.count():
            await websocket.send_text(str(number))
            await asyncio.sleep(0.01)

    async with talk(websocket(app)) as client:
        client.seconds = 1.0
        await client.connect()
        assert await client.say("ping") == OK
