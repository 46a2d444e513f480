"""One run of the app: which messages ASGI allows in which state, and what receive() gives."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from longwire.asgi.hints.hints import Hints
from longwire.asgi.messages import disconnect
from longwire.asgi.quiescence import REST_ROUNDS
from longwire.asgi.run import Run
from longwire.exceptions import ASGIMessageError, ConnectionGoneError

if TYPE_CHECKING:
    from longwire.asgi.stage import Stage
    from longwire.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio

ACCEPT = {"type": "websocket.accept"}
SEND = {"type": "websocket.send", "text": "x"}
CLOSE = {"type": "websocket.close"}
START = {"type": "websocket.http.response.start", "status": 401, "headers": []}
BODY = {"type": "websocket.http.response.body", "body": b""}
MORE = {"type": "websocket.http.response.body", "body": b"", "more_body": True}
FOREIGN = {"type": "http.response.start", "status": 200}


class Recorder:
    """A client that writes down what the run does to it."""

    def __init__(self) -> None:
        self.did: list[Any] = []

    def swallow(self, frame: str | bytes) -> None:
        self.did.append(("swallowed", frame))

    async def send(self, frame: str | bytes) -> bool:
        self.did.append(frame)
        return True

    async def close(self, code: int, reason: str) -> None:
        self.did.append((code, reason))


def _run(app: Any, client: Recorder, stage: Stage = "connect", linger: float = 2.0) -> Run:
    return Run(app, {}, client, stage=stage, connection_id="c=", linger=linger)


def _deadline(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def _send_all(*messages: dict[str, Any]) -> tuple[list[Any], Run]:
    """Let an app send these; return what its client saw and the run."""
    client = Recorder()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for message in messages:
            await send(message)

    run = _run(app, client)
    await run.until_answer(_deadline(), patient=False)
    await run.stop()
    return client.did, run


NOW = "ASGI expects websocket.accept, websocket.close or a denial response now"


@pytest.mark.parametrize(
    ("before", "allowed"),
    [
        ([], [ACCEPT, CLOSE, START]),
        ([ACCEPT], [SEND, CLOSE]),
        ([START], [BODY, MORE]),
        ([START, MORE], [BODY, MORE]),
        ([CLOSE], []),
        ([ACCEPT, CLOSE], []),
        ([START, BODY], []),
    ],
)
@pytest.mark.parametrize("message", [ACCEPT, SEND, CLOSE, START, BODY, MORE, FOREIGN])
async def test_every_message_is_allowed_or_refused_by_the_state(
    before: list[dict[str, Any]], allowed: list[dict[str, Any]], message: dict[str, Any]
) -> None:
    """The state x message table of the ASGI specification."""
    _, run = await _send_all(*before, message)
    if message in allowed:
        assert run.error is None
    else:
        assert isinstance(run.error, ASGIMessageError)
        assert repr(message["type"]) in str(run.error)


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([SEND], f"the app sent 'websocket.send', but {NOW}"),
        ([{}], f"the app sent None, but {NOW}"),
        (
            [ACCEPT, ACCEPT],
            "the app sent 'websocket.accept', but "
            "ASGI expects websocket.send or websocket.close now",
        ),
        (
            [START, SEND],
            "the app sent 'websocket.send', but ASGI expects websocket.http.response.body now",
        ),
        ([CLOSE, SEND], "the app sent 'websocket.send', but the connection is closed"),
        (
            [ACCEPT, {"type": "websocket.send"}],
            "websocket.send needs text (a str) or bytes, got text: NoneType, bytes: NoneType",
        ),
        (
            [ACCEPT, {"type": "websocket.send", "text": 5}],
            "websocket.send needs text (a str) or bytes, got text: int, bytes: NoneType",
        ),
        (
            [{"type": "websocket.accept", "subprotocol": b"x"}],
            "websocket.accept: subprotocol is b'x', not a str",
        ),
        *(
            (
                [{"type": "websocket.accept", "subprotocol": name}],
                f"websocket.accept: subprotocol is {name!r}, which no header can hold",
            )
            for name in ("a\r\nb: c", "\ud800", "grüße", "a b")
        ),
        *(
            (
                [{"type": "websocket.accept", "headers": headers}],
                f"websocket.accept: headers is {headers!r}, not an iterable of pairs of bytes",
            )
            for headers in ([("x", "y")], [(5, b"")], 7, [b"x"])
        ),
        (
            [ACCEPT, {"type": "websocket.close", "code": "1000"}],
            "websocket.close: code is '1000', not an int",
        ),
        (
            [{"type": "websocket.http.response.start", "status": "401"}],
            "websocket.http.response.start: status is '401', not 100-599",
        ),
    ],
)
async def test_an_illegal_message_says_what_was_expected(
    messages: list[dict[str, Any]], text: str
) -> None:
    """The error is raised where the app called send()."""
    _, run = await _send_all(*messages)
    assert isinstance(run.error, ASGIMessageError)
    assert str(run.error) == text


async def test_a_code_of_none_is_1000() -> None:
    """The specification's default."""
    did, _ = await _send_all(ACCEPT, {"type": "websocket.close", "code": None})
    assert did == [(1000, "")]


async def test_bytes_win_where_an_app_gives_both() -> None:
    """As uvicorn and hypercorn do."""
    did, _ = await _send_all(ACCEPT, {"type": "websocket.send", "text": "t", "bytes": b"b"})
    assert did == [b"b"]


async def test_a_reason_that_is_no_text_is_left_out() -> None:
    """FastAPI closes with the list of its validation errors as the reason."""
    did, run = await _send_all(ACCEPT, {"type": "websocket.close", "code": 1008, "reason": [{}]})
    assert did == [(1008, "")]
    assert run.ended


async def test_receive_after_an_own_close_is_a_disconnect_with_its_code() -> None:
    """Once; an app that goes on receiving waits, and its run parks."""
    got: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": 4000, "reason": "bye"})
        got.append(await receive())
        got.append(await receive())

    run = _run(app, Recorder())
    assert await run.until_answer(_deadline(), patient=False) == "parked"
    await run.stop()
    assert got == [disconnect(4000, "bye")]
    assert run.ended


async def test_receive_after_a_refusal_is_a_disconnect_1006() -> None:
    """As under uvicorn."""
    got: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(CLOSE)
        got.append(await receive())

    run = _run(app, Recorder())
    await run.until_answer(_deadline(), patient=False)
    assert got == [disconnect(1006, "")]
    assert run.answer.status == 403


async def _park(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message["text"]})


async def test_a_replay_swallows_what_the_connect_step_did() -> None:
    """Nothing reaches the client until the message has been handed over."""
    client = Recorder()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send(SEND)
        await receive()
        await send({"type": "websocket.send", "text": "reply"})

    run = _run(app, client, "replay")
    assert await run.until_ready(1, _deadline()) is None
    run.hand_over({"type": "websocket.receive", "text": "a"})
    assert await run.until_over(_deadline()) == "ended"
    assert client.did == [("swallowed", "x"), "reply"]


@pytest.mark.parametrize("is_alone", [True, False])
async def test_an_app_that_is_alone_goes_on_in_its_own_receive(*, is_alone: bool) -> None:
    """A timer might still move it, so who has set one is looked at when it waits."""
    client, went_on_in = Recorder(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        if not is_alone:
            asyncio.get_running_loop().call_later(60, print)
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})
        await receive()

    def go_on() -> None:
        went_on_in.append(asyncio.current_task())
        run.hand_over({"type": "websocket.receive", "text": "a"})

    run = _run(app, client, "replay")
    app_task = run._task
    assert await run.until_ready(0, _deadline(), go_on) is None
    assert await run.until_over(_deadline()) == "parked"
    await run.stop()
    assert client.did == ["a"]
    assert went_on_in == [app_task if is_alone else asyncio.current_task()]


async def test_hints_are_asked_by_an_app_that_is_about_to_wait() -> None:
    """They look at the frames that call, so nobody waits for a turn of the event loop."""
    client, told = Recorder(), list[str]()
    went_on_in: list[object] = []
    ended_in: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        count = 0
        try:
            while True:
                await receive()
                count += 1
                asyncio.get_running_loop().call_soon(ended_in.append, "a further turn")
                await asyncio.sleep(0)
                ended_in.clear()
        finally:
            ended_in.append("its own receive")
            await send({"type": "websocket.send", "text": str(count)})

    def go_on() -> None:
        went_on_in.append(asyncio.current_task())
        run.hand_over({"type": "websocket.receive", "text": "a"})

    run = _run(app, client, "replay")
    run.hints, app_task = Hints(app, {}, told.append), run._task
    assert await run.until_ready(0, _deadline(), go_on) is None
    assert await run.until_over(_deadline()) == "parked"
    await run.stop()
    assert went_on_in == [app_task]
    assert ended_in == ["its own receive"]
    assert client.did == []
    changed, swallowed = told
    assert "'count' changed" in changed
    assert "sent while only the event ends" in swallowed


async def _parks_at_once(app: ASGIApp, kind: str, rests: list[str] | None = None) -> Run:
    """Run a connect step or a message to where its app waits, alone; return the stopped run."""
    notes = [] if rests is None else rests
    run = _run(app, Recorder(), "connect" if kind == "connect" else "replay")
    run.on_rest = lambda: notes.append("rests")
    if kind == "connect":
        outcome = await run.until_answer(_deadline(), patient=True)
    else:
        message = {"type": "websocket.receive", "text": "a"}
        assert await run.until_ready(0, _deadline(), lambda: run.hand_over(message)) is None
        outcome = await run.until_over(_deadline())
    assert outcome == "parked"
    assert (run.ended, run.error) == (False, None)
    await run.stop()
    return run


EITHER = pytest.mark.parametrize("kind", ["connect", "message"])


@EITHER
async def test_an_app_that_is_alone_is_cancelled_in_its_own_receive(kind: str) -> None:
    """At once, so that nobody has to look at it; not before it is noted what it has left."""
    did: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        try:
            while True:
                await receive()
                asyncio.get_running_loop().call_soon(did.append, "a turn of the event loop")
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            did.append("cancelled")
            raise

    run = await _parks_at_once(app, kind, did)
    assert did[-2:] == ["rests", "cancelled"]
    assert run.error is None


@EITHER
async def test_an_app_that_is_cancelled_at_once_may_take_its_time_to_clean_up(kind: str) -> None:
    """It is not cancelled once more as it does so, and its messages reach nobody."""
    did: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        try:
            while True:
                await receive()
        finally:
            await asyncio.sleep(0.02)
            await send(SEND)
            did.append("cleaned up")

    await _parks_at_once(app, kind)
    assert did == ["cleaned up"]


@EITHER
@pytest.mark.parametrize(
    "block",
    [
        asyncio.TaskGroup,
        lambda: asyncio.timeout(None),
        anyio.create_task_group,
        lambda: contextlib.nullcontext(anyio.CancelScope(shield=True)),
    ],
    ids=["TaskGroup", "timeout", "anyio's group", "anyio's scope"],
)
async def test_what_waits_for_the_client_in_a_block_leaves_it_at_once(
    kind: str, block: Any
) -> None:
    """`Task.cancelling` says nothing of it, and no block takes that for its own cancellation."""
    left: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        async with block() as entered:
            with entered if isinstance(entered, anyio.CancelScope) else contextlib.nullcontext():
                try:
                    while not left:
                        await receive()
                finally:
                    left.append("cleaned up")
        left.append("went on")

    await _parks_at_once(app, kind)
    assert left == ["cleaned up"]


@EITHER
async def test_what_an_app_raises_as_it_cleans_up_is_known_after_its_end(kind: str) -> None:
    """It waited for its client, which is how the step has ended."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        try:
            while True:
                await receive()
        finally:
            raise OSError("the pool is closed")

    run = await _parks_at_once(app, kind)
    assert str(run.error) == "the pool is closed"


async def _ends_before_its_message(app: ASGIApp) -> None:
    """Give a replayed app a message as soon as it waits for it; it ends, and has sent nothing."""

    def go_on() -> None:
        run.hand_over({"type": "websocket.receive", "text": "a"})

    client = Recorder()
    run = _run(app, client, "replay")
    assert await run.until_ready(0, _deadline(), go_on) == "ended"
    await run.stop()
    assert client.did == []


async def test_a_task_that_an_app_has_left_behind_is_given_no_message() -> None:
    """The app has returned, and its connection with it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def read() -> None:
            await send({"type": "websocket.send", "text": (await receive())["text"]})

        await receive()
        await send(ACCEPT)
        scope["reader"] = asyncio.create_task(read())

    await _ends_before_its_message(app)


async def test_an_app_that_has_cancelled_itself_is_cancelled_before_its_message() -> None:
    """As it would be by any other wait."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await send({"type": "websocket.send", "text": (await receive())["text"]})

    await _ends_before_its_message(app)


async def test_sends_raise_once_the_client_is_gone() -> None:
    """ASGI 2.4: an OSError."""
    caught: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        try:
            await send(SEND)
        except OSError as error:
            caught.append(error)
        await send(CLOSE)

    run = _run(app, Recorder(), "replay")
    assert await run.until_ready(0, _deadline()) is None
    run.mark_gone(disconnect(1001, ""))
    assert await run.until_over(_deadline()) == "ended"
    assert [type(error) for error in caught] == [ConnectionGoneError]
    assert run.error is None


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([ACCEPT, SEND], id="send"),
        pytest.param([ACCEPT, CLOSE], id="close"),
        pytest.param([ACCEPT, FOREIGN], id="illegal"),
    ],
)
async def test_nothing_takes_effect_while_a_run_unwinds(messages: list[dict[str, Any]]) -> None:
    """A `finally` that is right on a server must not touch a client who is still there."""
    client = Recorder()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(messages[0])
        try:
            await receive()
        finally:
            await send(messages[1])

    run = _run(app, client)
    assert await run.until_answer(_deadline(), patient=False) == "parked"
    await run.stop()
    assert client.did == []
    assert run.error is None


async def test_receive_while_a_run_unwinds_is_a_cancellation() -> None:
    """An app that catches its cancellation and goes on receiving cannot hang the run."""
    rounds = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal rounds
        await receive()
        await send(ACCEPT)
        while rounds < 3:
            try:
                await receive()
            except asyncio.CancelledError:
                rounds += 1

    run = _run(app, Recorder())
    assert await run.until_answer(_deadline(), patient=False) == "parked"
    await run.stop()
    assert rounds == 3


async def test_an_app_that_never_stops_receiving_does_not_block_the_loop() -> None:
    """Whatever it catches: it is given up, and the loop turns."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        while not over.is_set():
            try:
                await receive()
            except asyncio.CancelledError:
                continue

    over = asyncio.Event()
    run = _run(app, Recorder())
    assert await run.until_answer(_deadline(), patient=False) == "parked"
    assert "app c=" in await run.stop()
    over.set()


async def test_frames_leave_in_the_order_in_which_they_were_sent() -> None:
    """Also when many tasks send at once and one takes longer than the next."""

    class Slow(Recorder):
        async def send(self, frame: str | bytes) -> bool:
            for _ in range(10 - int(frame)):
                await asyncio.sleep(0)
            return await super().send(frame)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        frames = ({"type": "websocket.send", "text": str(number)} for number in range(10))
        await asyncio.gather(*(send(frame) for frame in frames))

    client = Slow()
    await _run(app, client).until_answer(_deadline(), patient=False)
    assert client.did == [str(number) for number in range(10)]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in Python 3.12")
async def test_an_eager_task_factory_changes_nothing() -> None:
    """The app may close before its first suspension."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
    try:
        did, run = await _send_all(ACCEPT, SEND, CLOSE)
    finally:
        loop.set_task_factory(before)
    assert did == ["x", (1000, "")]
    assert run.error is None


async def test_a_message_on_its_way_to_a_cancelled_receive_goes_to_the_next() -> None:
    """`wait_for(receive(), ...)` may be cancelled just then."""
    client = Recorder()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        first = asyncio.create_task(_echo(receive, send))
        second = asyncio.create_task(_echo(receive, send))
        cancel.append(first)
        await second

    async def _echo(receive: Receive, send: Send) -> None:
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})

    cancel: list[asyncio.Task[None]] = []
    run = _run(app, client, "replay")
    assert await run.until_ready(0, _deadline()) is None
    run.hand_over({"type": "websocket.receive", "text": "a"})
    cancel[0].cancel()
    assert await run.until_over(_deadline()) == "ended"
    assert client.did == ["a"]


async def test_runs_on_one_loop_do_not_share_their_tasks() -> None:
    """A busy task of one run keeps no other from parking."""

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        ticker = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(asyncio.wait([ticker]))
        await receive()
        await task

    noisy = _run(busy, Recorder())
    assert await noisy.until_answer(_deadline(), patient=False) == "unanswered"
    calm = _run(_park, Recorder())
    assert await calm.until_answer(_deadline(), patient=False) == "parked"
    await calm.stop()
    await noisy.stop()


async def test_an_earlier_task_factory_is_still_used() -> None:
    """A loop's owner may have one of their own."""
    loop = asyncio.get_running_loop()
    made: list[str] = []

    def factory(loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coro.__qualname__)
        return asyncio.Task(coro, loop=loop, **options)

    before = loop.get_task_factory()
    loop.set_task_factory(factory)
    try:
        run = _run(_park, Recorder())
        assert await run.until_answer(_deadline(), patient=False) == "parked"
        await run.stop()
    finally:
        loop.set_task_factory(before)
    assert made == ["Run._call"]


async def test_a_task_that_never_waits_does_not_hang_the_run() -> None:
    """It is busy, and the step lingers no longer than it may."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        spinner = asyncio.create_task(_spin())
        await receive()
        await spinner

    async def _spin() -> None:
        while True:
            await asyncio.sleep(0)

    run = _run(app, Recorder(), linger=0.05)
    assert await run.until_answer(_deadline(), patient=False) == "unanswered"
    assert await run.until_over(_deadline()) == "cut_off"
    assert re.search(r"_spin", run.cut_off)
    await run.stop()


async def test_answers_are_read_off_the_run() -> None:
    """What the handler needs to answer the handshake."""
    _, run = await _send_all({"type": "websocket.accept", "subprotocol": "chat"})
    answer = run.answer
    assert (answer.state, answer.accepted, answer.subprotocol, answer.status) == (
        "accepted",
        True,
        "chat",
        None,
    )


class Clock:
    """Writes down how often the run is looked at, until it is over."""

    def __init__(self, run: Run) -> None:
        self.looks = 0
        self._look = run._watch.look
        setattr(run._watch, "look", self.look)  # noqa: B010

    async def look(self, app: Any) -> Any:
        self.looks += 1
        return await self._look(app)


@pytest.mark.parametrize("answer", [ACCEPT, CLOSE, START])
async def test_an_answer_wakes_who_waits_for_it(
    answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app works, answers and works on; nothing else of it would tell."""
    monkeypatch.setattr("longwire.asgi.run.WORKING_GRACE", 0.05)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await answering.wait()
        await send(answer)
        await asyncio.Event().wait()

    answering = asyncio.Event()
    run = _run(app, Recorder())
    outcome = asyncio.create_task(run.until_answer(_deadline(), patient=False))
    for _ in range(REST_ROUNDS + 5):  # until it is no longer looked at
        await asyncio.sleep(0)
    answering.set()
    assert await outcome == "unanswered"
    assert run.answer.state != "pending"
    await run.stop()


async def test_a_close_after_accept_wakes_who_waits() -> None:
    """An app that closes and works on has ended its connection."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await closing.wait()
        await send(CLOSE)
        await asyncio.Event().wait()

    closing = asyncio.Event()
    run = _run(app, Recorder(), "replay")
    outcome = asyncio.create_task(run.until_ready(0, _deadline()))
    for _ in range(REST_ROUNDS + 5):
        await asyncio.sleep(0)
    closing.set()
    assert await outcome == "ended"
    await run.stop()


async def test_a_replay_that_waits_no_longer_is_not_looked_at_all_the_time() -> None:
    """Its time to linger is up, and only the app can change that."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.sleep(0.2)

    run = _run(app, Recorder(), "replay", linger=0.05)
    clock = Clock(run)
    assert await run.until_ready(1, _deadline()) == "ended"
    assert clock.looks < 10


def _forever(message: dict[str, Any], caught: type[BaseException]) -> Any:
    """Make an app that sends without end, whatever it is told."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        while True:
            try:
                await send(message)
            except caught:
                continue

    return app


class Nothing(Recorder):
    """A client that takes everything."""

    def swallow(self, frame: str | bytes) -> None:
        """Keep nothing."""

    async def send(self, frame: str | bytes) -> bool:
        return True


class Refusing(Recorder):
    """A client that can be sent nothing."""

    def swallow(self, frame: str | bytes) -> None:
        raise ASGIMessageError


async def test_what_cannot_be_sent_counts_for_no_frame_of_a_replay() -> None:
    """As many are compared with those that the client has got."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        with pytest.raises(ASGIMessageError):
            await send(SEND)
        await receive()

    run = _run(app, Refusing(), "replay")
    assert await run.until_ready(0, _deadline()) is None
    assert run.replay.sent == 0
    await run.stop()


@pytest.mark.parametrize("message", [SEND, FOREIGN], ids=["send", "illegal"])
async def test_an_app_that_sends_without_end_lets_the_loop_turn(message: dict[str, Any]) -> None:
    """While it connects, its deadline holds, and it can be cancelled."""
    run = _run(_forever(message, ASGIMessageError), Nothing())
    assert await run.until_answer(_deadline(0.05), patient=True) == "deadline"
    assert await run.stop() == ""


async def test_a_replay_that_sends_without_end_lets_the_loop_turn() -> None:
    """Nothing of it reaches a socket that would make it wait."""
    run = _run(_forever(SEND, ASGIMessageError), Nothing(), "replay")
    assert await run.until_ready(1, _deadline(0.05)) == "deadline"
    assert await run.stop() == ""


async def test_an_app_that_sends_to_a_gone_client_without_end_lets_the_loop_turn() -> None:
    """Each send raises; the app does not care."""
    run = _run(_forever(SEND, OSError), Nothing(), "replay")
    run.mark_gone(disconnect(1006, ""))
    assert await run.until_over(_deadline(0.05)) == "deadline"
    assert await run.stop() == ""


async def test_an_app_that_sends_without_end_as_it_cleans_up_lets_the_loop_turn() -> None:
    """What it sends then has no effect, and takes no time."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        try:
            await receive()
        finally:
            while True:
                await send(SEND)

    run = _run(app, Nothing())
    assert await run.until_answer(_deadline(), patient=True) == "parked"
    await run.stop(give_up_at=_deadline(0.05))
    await asyncio.sleep(0.05)
    assert run.error is None
    assert not run.left_behind


async def test_frames_leave_in_order_where_sends_let_the_loop_turn() -> None:
    """A send that waits for its turn has been taken before."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        frames = ({"type": "websocket.send", "text": str(number)} for number in range(100))
        await asyncio.gather(*(send(frame) for frame in frames))

    client = Recorder()
    await _run(app, client).until_answer(_deadline(), patient=False)
    assert client.did == [str(number) for number in range(100)]


async def test_a_long_chain_of_tasks_ends_with_its_run() -> None:
    """Each waits for the one before; to ask the last is to ask them all, deeper than the stack."""
    chain: list[asyncio.Task[Any]] = []

    never = asyncio.Event()

    async def link(before: asyncio.Task[Any] | None) -> None:
        await (before or never.wait())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for _ in range(3000):
            chain.append(asyncio.create_task(link(chain[-1] if chain else None)))
        await receive()
        never.set()

    run = _run(app, Nothing())
    assert await run.until_answer(_deadline(), patient=True) == "parked"
    assert await run.stop() == ""
    assert all(task.done() for task in chain)


class Slow(Recorder):
    """Its frames are under way until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = asyncio.get_running_loop().create_future()

    async def send(self, frame: str | bytes) -> bool:
        await self.sent
        return await super().send(frame)


async def test_a_frame_under_way_is_not_cut_off() -> None:
    """However long the management API, or a store, takes; the app may linger for less."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        await asyncio.gather(send(SEND), receive())

    client = Slow()
    run = _run(app, client, "replay", linger=0.05)
    assert await run.until_ready(0, _deadline()) is None
    run.hand_over({"type": "websocket.receive", "text": "a"})
    over = asyncio.create_task(run.until_over(_deadline()))
    await asyncio.sleep(0.2)
    assert not over.done()
    client.sent.set_result(None)
    assert await over == "parked"
    await run.stop()
    assert client.did == ["x"]


async def test_what_others_have_sent_in_time_is_sent_after_the_run() -> None:
    """A worker of the app, which is not cancelled with the run, may wait behind a slow frame."""
    sends: list[Send] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        sends.append(send)
        await receive()

    client = Slow()
    run = _run(app, client, "replay")
    assert await run.until_ready(0, _deadline()) is None
    send = sends.pop()
    run.hand_over({"type": "websocket.receive", "text": "a"})
    sending = asyncio.gather(send(SEND), send({**SEND, "text": "y"}), send(CLOSE))
    await asyncio.sleep(0)
    assert await run.until_over(_deadline()) == "ended"
    await run.stop()
    client.sent.set_result(None)
    await sending
    assert client.did == ["x", "y", (1000, "")]


async def test_many_runs_come_to_rest_within_a_few_turns_of_the_loop() -> None:
    """Where much is due at once, each run still sees that nothing of it is."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()

    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    runs = [_run(app, Nothing()) for _ in range(300)]
    outcomes = await asyncio.gather(*(run.until_answer(_deadline(), patient=True) for run in runs))
    counting.cancel()
    assert set(outcomes) == {"parked"}
    assert turns < 10
    for run in runs:
        await run.stop()


async def test_the_errors_of_tasks_are_looked_at_though_nobody_waits_for_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As when a process is about to end while a run is being stopped."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def relay() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                raise OSError("upstream is closed")

        tasks.append(asyncio.create_task(relay()))
        await receive()
        await send(ACCEPT)
        await receive()

    tasks: list[asyncio.Task[None]] = []
    run = _run(app, Nothing())
    await run.until_answer(_deadline(), patient=False)
    stopping = asyncio.create_task(run.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping])
    await asyncio.wait(tasks)
    tasks.clear()
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_run_may_be_stopped_twice_at_once() -> None:
    """As by its own event, and by the process that is about to end; and once more after that."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        try:
            await receive()
        finally:
            await asyncio.sleep(0.01)
            raise OSError("cleaning up")

    run = _run(app, Nothing())
    await run.until_answer(_deadline(), patient=True)
    assert list(await asyncio.gather(run.stop(), run.stop())) == ["", ""]
    assert await run.stop() == ""
    assert isinstance(run.error, OSError)
