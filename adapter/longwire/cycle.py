"""One run of the app for one event.

Each event runs the app from the top, up to where that event belongs, and takes back nothing that
an earlier event has already done. This module decides *when* a step of a run is over and *what* the
app's messages mean; a `Client`, handed in, does what they ask for.

ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html#websocket
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from longwire import tasks, waiting
from longwire.exceptions import ASGIMessageError, ConnectionGoneError

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.record import Frame
    from longwire.types import ASGIApp, Message, Scope

# How long the response to $connect waits after `accept`, in seconds: for an app that waits for the
# client while other tasks of it are busy, and for one that is still working itself.
WAITING_GRACE = 0.1
WORKING_GRACE = 1.0

# How long a cancelled app may take to clean up, in seconds.
UNWIND_LIMIT = 1.0
UNWIND_ROUNDS = 3

# A task that yields to the event loop this many times without waiting for anything is busy.
SETTLE_ROUNDS = 100


class Stage(enum.Enum):
    """Where a run stands in the life of its connection; decides what `send()` does."""

    CONNECT = enum.auto()  # the first run: effects are real
    REPLAY = enum.auto()  # the connect step once more: effects are swallowed
    LIVE = enum.auto()  # a message has been handed over
    GONE = enum.auto()  # the client has left: `send()` raises
    UNWINDING = enum.auto()  # the run is over and cleans up: nothing takes effect


class Answer(enum.Enum):
    """How far the app's answer to `websocket.connect` has come."""

    PENDING = enum.auto()
    ACCEPTED = enum.auto()
    DENYING = enum.auto()
    CLOSED = enum.auto()


class Outcome(enum.Enum):
    """Why a step is over."""

    ENDED = enum.auto()  # the app returned or raised
    PARKED = enum.auto()  # it waits for the client and nothing else can move
    CUT_OFF = enum.auto()  # it waits for the client; other tasks stayed busy for too long
    UNANSWERED = enum.auto()  # the response must leave now, the run may go on
    DEADLINE = enum.auto()


class SupersededError(Exception):
    """Another event has told the app, or is telling it, that the client is gone."""


class Client(Protocol):
    """What a run may do to its client."""

    def swallow(self, frame: Frame) -> None:
        """Note that the replayed connect step has sent this frame again."""

    async def send(self, frame: Frame) -> bool:
        """Send a frame; False when the connect step had already sent it.

        Raises:
            ConnectionGoneError: the client is gone, and this run is the one to tell the app.
            SupersededError: the client is gone, and another run tells the app.
        """

    async def close(self, code: int, reason: str) -> None:
        """End the connection; no error when it has ended already."""


class Run:
    """The app, called once with one scope.

    Attributes:
        answer: how far the app's answer to the handshake has come.
        accepted: whether it has been `websocket.accept`.
        subprotocol: what `websocket.accept` chose.
        dropped_headers: names of the headers in `websocket.accept`, which the client will not see.
        status: the HTTP status of a refusal; None until there is one.
        cut_off: the tasks that were still busy when the step was ended, for the log.
    """

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        client: Client,
        *,
        stage: Stage,
        connection_id: str,
        linger: float,
    ) -> None:
        self.answer = Answer.PENDING
        self.accepted = False
        self.subprotocol: str | None = None
        self.dropped_headers: list[str] = []
        self.status: int | None = None
        self.cut_off = ""
        self._client = client
        self._stage = stage
        self._connection_id = connection_id
        self._linger = linger
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[Message] = deque([{"type": "websocket.connect"}])
        self._waiters: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        self._waited = False  # the app has asked for what only the client can give
        self._responded = False  # the response to $connect has left
        self._replayed = 0  # frames of the connect step sent once more
        self._departure: tuple[Message, int, float] | None = None
        self._active_at = self._decided_at = self._loop.time()
        self._end: Message | None = None  # what receive() gives once the conversation is over
        self._changed: asyncio.Future[None] | None = None
        self._tasks: tasks.TaskSet = set()
        tasks.install(self._loop)
        self._task = tasks.spawn(
            _call(app, scope, self._receive, self._send), self._tasks, f"app {connection_id}"
        )
        self._task.add_done_callback(self._signal)

    # What the handler asks for, in this order.

    async def until_answer(self, deadline: float) -> Outcome:
        """Run the connect step until its response can leave.

        Args:
            deadline: in the event loop's time.
        """
        while True:
            look, busy = await self._look()
            if look is not None:
                return look
            until = deadline
            if self.answer is not Answer.PENDING:
                grace = WAITING_GRACE if busy else WORKING_GRACE
                until = min(until, self._decided_at + grace)
            if self._loop.time() >= until:
                self.cut_off = waiting.describe(busy or self._tasks)
                return Outcome.DEADLINE if until == deadline else Outcome.UNANSWERED
            await self._change(until, busy)

    def respond(self) -> None:
        """Note that the response to $connect is leaving: the client may speak to others now."""
        self._responded = True

    async def until_ready(self, answered: int, deadline: float) -> Outcome | None:
        """Replay the connect step until the next message can be handed over.

        Args:
            answered: frames that the connect step had sent when its response left.
            deadline: in the event loop's time.

        Returns:
            None when the app is ready, else why it never will be.
        """
        lingering_until: float | None = None
        while True:
            look, busy = await self._look()
            if look is Outcome.ENDED or self.answer in (Answer.DENYING, Answer.CLOSED):
                return Outcome.ENDED
            if look is Outcome.PARKED:
                return None if self.accepted else look
            until = deadline
            if busy and self.accepted:
                lingering_until = lingering_until or self._loop.time() + self._linger
                until = min(until, lingering_until)
                if self._replayed >= answered or self._loop.time() >= until:
                    return None
            if self._loop.time() >= deadline:
                self.cut_off = waiting.describe(busy or self._tasks)
                return Outcome.DEADLINE
            await self._change(until, busy)

    def hand_over(self, message: Message) -> None:
        """Give the app what its connect step waited for."""
        self._stage = Stage.LIVE
        self._active_at = self._loop.time()
        self._deliver(message)

    def expect_disconnect(self, message: Message, sent: int) -> None:
        """Let a streaming app learn that its client is gone, though it never waits for it.

        Its replay may send as many frames as the connect step did, and go on for as long as a step
        may linger; what it sends after that raises.
        """
        self._departure = message, sent, self._loop.time() + self._linger

    def lose_client(self, message: Message) -> None:
        """Let `send()` raise and `receive()` return the disconnect from now on."""
        self._stage = Stage.GONE
        self._deliver(message)

    async def until_over(
        self, deadline: float, on_waiting: Callable[[], object] | None = None
    ) -> Outcome:
        """Run until the app ends, or waits for the client and lingers no longer.

        Args:
            deadline: in the event loop's time.
            on_waiting: called once the app waits for the client though other tasks are busy.
        """
        lingering_since: float | None = None
        while True:
            look, busy = await self._look()
            if look is not None:
                return look
            now, until = self._loop.time(), deadline
            if busy:
                if lingering_since is None and on_waiting is not None:
                    on_waiting()
                lingering_since = lingering_since or now
                until = min(until, max(lingering_since, self._active_at) + self._linger)
            if now >= until:
                self.cut_off = waiting.describe(busy or self._tasks)
                return Outcome.DEADLINE if until == deadline else Outcome.CUT_OFF
            await self._change(until, busy)

    async def stop(self) -> str:
        """End the run: let the app clean up without effect, then cancel what it left behind.

        Tasks that an app has left behind by itself may finish what they do, for as long as a step
        may linger.

        Returns:
            The tasks that ignored their cancellation and are given up, for the log; mostly "".
        """
        left_alone = self._task.done()
        self._stage = Stage.UNWINDING
        if left_alone:
            busy = [task for task in self._tasks if not waiting.is_quiet(task, self._tasks)]
            await _wait(busy, self._linger)
        await _cancel([self._task])
        await _cancel(list(self._tasks))
        return waiting.describe(task for task in self._tasks if not task.done())

    def is_shared(self) -> bool:
        """Tell whether another event may run the app meanwhile, as it waits for the client."""
        return self._waited

    @property
    def ended(self) -> bool:
        """Whether the app has ended the conversation, by closing, returning or raising.

        An ending that a timer decides while the client may already be speaking to another event
        proves nothing, so it does not count.
        """
        if self._stage is Stage.CONNECT and self._responded and self._waited:
            return False
        return self._task.done() or self.answer is Answer.CLOSED

    @property
    def error(self) -> BaseException | None:
        """What the app raised, if it did."""
        done = self._task.done() and not self._task.cancelled()
        return self._task.exception() if done else None

    # What the app calls.

    async def _receive(self) -> Message:
        while not self._inbox:
            if self._stage is Stage.UNWINDING:
                raise asyncio.CancelledError
            if self._end is not None:
                return self._end
            await self._wait_for_client()
        return self._inbox.popleft()

    async def _wait_for_client(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise ASGIMessageError("receive() was called outside a task")
        self._waited = True
        self._waiters[task] = waiter = self._loop.create_future()
        self._signal()
        try:
            await waiter
        finally:
            del self._waiters[task]
            if self._inbox:  # cancelled with a message on its way: another may have it
                self._wake_waiter()

    async def _send(self, message: Message) -> None:
        if self._stage is Stage.UNWINDING:
            return
        match self.answer, message.get("type"):
            case Answer.PENDING, "websocket.accept":
                self._accept(message)
            case Answer.PENDING, "websocket.close":
                self._deny(403)
            case Answer.PENDING, "websocket.http.response.start":
                self._deny(_status(message), Answer.DENYING)
            case Answer.DENYING, "websocket.http.response.body":
                if not message.get("more_body", False):
                    self._deny(self.status or 403)
            case Answer.ACCEPTED, "websocket.send":
                await self._emit(_frame(message))
            case Answer.ACCEPTED, "websocket.close":
                await self._close(message)
            case _, kind:
                raise ASGIMessageError(f"the app sent {kind!r}, but {_EXPECTED[self.answer]}")

    # What the app's messages mean.

    def _accept(self, message: Message) -> None:
        subprotocol = message.get("subprotocol")
        if subprotocol is not None and not isinstance(subprotocol, str):
            raise ASGIMessageError(f"websocket.accept: subprotocol is {subprotocol!r}, not a str")
        self.answer, self.accepted, self.subprotocol = Answer.ACCEPTED, True, subprotocol
        headers = message.get("headers") or ()
        self.dropped_headers = [bytes(name).decode("latin-1") for name, _ in headers]
        self._decided_at = self._loop.time()

    def _deny(self, status: int, answer: Answer = Answer.CLOSED) -> None:
        self.answer, self.status = answer, status
        self._decided_at = self._loop.time()
        self._end = disconnect_message(1006, "")

    async def _emit(self, frame: Frame) -> None:
        match self._stage:
            case Stage.REPLAY:
                self._replay(frame)
            case Stage.GONE:
                raise ConnectionGoneError(self._connection_id)
            case _:
                await self._send_now(frame)
        if self._waiters:
            self._signal()

    def _replay(self, frame: Frame) -> None:
        if self._departure is not None:
            message, sent, tolerated_until = self._departure
            if self._replayed >= sent and self._loop.time() >= tolerated_until:
                self.lose_client(message)
                raise ConnectionGoneError(self._connection_id)
        self._replayed += 1
        self._client.swallow(frame)

    async def _send_now(self, frame: Frame) -> None:
        try:
            if await self._client.send(frame):
                self._active_at = self._loop.time()
        except ConnectionGoneError:
            self.lose_client(disconnect_message(1006, ""))
            raise
        except SupersededError:
            self._task.cancel()
            self._stage = Stage.UNWINDING
            raise asyncio.CancelledError from None

    async def _close(self, message: Message) -> None:
        code, reason = message.get("code", 1000), message.get("reason")
        if not isinstance(code, int):
            raise ASGIMessageError(f"websocket.close: code is {code!r}, not an int")
        if self._stage is Stage.GONE:
            return  # as under uvicorn: the client was faster
        self.answer = Answer.CLOSED
        # FastAPI gives the list of validation errors as the reason.
        self._end = disconnect_message(code, reason if isinstance(reason, str) else "")
        if self._stage is not Stage.REPLAY and self.ended:
            await self._client.close(code, self._end["reason"])

    # When a step is over.

    async def _look(self) -> tuple[Outcome | None, list[asyncio.Task[Any]]]:
        """Tell whether the step is over, and else which tasks keep it from parking."""
        await self._settle()
        if self._task.done():
            return Outcome.ENDED, []
        if self._inbox or not self._waiters:
            return None, []
        others = [task for task in self._tasks if task not in self._waiters]
        busy = [task for task in others if not waiting.is_quiet(task, self._tasks)]
        return (None, busy) if busy else (Outcome.PARKED, [])

    async def _settle(self) -> None:
        """Wait until no task of the run can go on by itself, or one of them never stops."""
        if len(self._tasks) <= len(self._waiters):
            return
        calm = 0
        for _ in range(SETTLE_ROUNDS):
            await asyncio.sleep(0)
            # One round more than the tasks need lets callbacks (call_soon) move them again.
            calm = 0 if any(waiting.is_runnable(task) for task in self._tasks) else calm + 1
            if calm > 1:
                return

    async def _change(self, until: float, busy: list[asyncio.Task[Any]]) -> None:
        """Wait until the run has something new to look at, or until the time has come."""
        self._changed = changed = self._loop.create_future()
        timer = self._loop.call_at(until, self._signal)
        watched = [future for task in busy if (future := waiting.waits_for(task).future)]
        for future in watched:
            future.add_done_callback(self._signal)
        try:
            await changed
        finally:
            timer.cancel()
            for future in watched:
                future.remove_done_callback(self._signal)

    def _signal(self, _: object = None) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _deliver(self, message: Message) -> None:
        self._inbox.append(message)
        self._wake_waiter()

    def _wake_waiter(self) -> None:
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_result(None)
                return


_EXPECTED = {
    Answer.PENDING: "ASGI expects websocket.accept, websocket.close or a denial response now",
    Answer.ACCEPTED: "ASGI expects websocket.send or websocket.close now",
    Answer.DENYING: "ASGI expects websocket.http.response.body now",
    Answer.CLOSED: "the connection is closed",
}


async def _call(app: ASGIApp, scope: Scope, receive: Any, send: Any) -> None:
    await app(scope, receive, send)


def disconnect_message(code: int, reason: str) -> Message:
    """Return what tells an app that its client is gone."""
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


def _frame(message: Message) -> Frame:
    """Return what `websocket.send` carries; bytes win where an app gives both."""
    data, text = message.get("bytes"), message.get("text")
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if data is None and isinstance(text, str):
        return text
    raise ASGIMessageError(
        "websocket.send needs text (a str) or bytes, got "
        f"text: {type(text).__name__}, bytes: {type(data).__name__}"
    )


def _status(message: Message) -> int:
    status = message.get("status")
    if not isinstance(status, int) or not 100 <= status <= 599:
        raise ASGIMessageError(f"websocket.http.response.start: status is {status!r}, not 100-599")
    return status


async def _cancel(running: list[asyncio.Task[Any]]) -> None:
    for task in running:
        task.cancel()
    # Nearly all are done after these few rounds, which cost less than a wait with a time limit.
    for _ in range(UNWIND_ROUNDS):
        if all(task.done() for task in running):
            return
        await asyncio.sleep(0)
    await _wait(running, UNWIND_LIMIT)


async def _wait(running: list[asyncio.Task[Any]], limit: float) -> None:
    unfinished = [task for task in running if not task.done()]
    if unfinished:
        await asyncio.wait(unfinished, timeout=limit)
