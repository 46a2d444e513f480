"""One client's connection: which events the functions get for it, when, and what follows.

API Gateway waits for an authorizer and for the function of a route in the same way: for a time, and
whatever comes of it is an outcome, which `rules/` turns into what the client gets.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from longwire.local.invoking import HandledEvent, log_failure, outcome_of
from longwire.local.rules import authorizer, results
from longwire.local.rules.connection import DELETED, FLOODING, GOING_AWAY, ConnectionState
from longwire.local.rules.faults import LOST
from longwire.local.rules.results import HandshakeRefused
from longwire.local.rules.settings import CONNECT, DISCONNECT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.local.invoking import Function
    from longwire.local.rules.connection import ClientHandshake, CloseStatus, LocalConnection
    from longwire.local.rules.faults import Faults
    from longwire.local.rules.gateway import GatewayRules
    from longwire.local.tasks import Tasks
    from longwire.types import LambdaEvent

logger: logging.Logger = logging.getLogger("longwire.local")

# With so many messages unanswered, no more are read from a client.
BACKLOG = 100


class ClientSocket(Protocol):
    """What a session reaches its client through, until either side has closed."""

    def send_text(self, data: bytes) -> None:
        """Send a text message."""

    def close(self, close_status: CloseStatus) -> None:
        """Close the connection."""

    def hold(self, on: bool) -> None:
        """Stop reading from the client, or go on."""


class Session:
    """The events of one connection.

    The owner calls `connect`; once the response to an accepted handshake is written, `open`; then
    `receive` for each message, and `client_closed` when the client has closed or vanished. All but
    `connect` return at once: the function works in tasks of its own.
    """

    def __init__(
        self,
        gateway: GatewayRules,
        function: Function,
        handshake: ClientHandshake,
        tasks: Tasks,
        observer: Callable[[HandledEvent], None],
        authorizer: Function | None = None,
    ) -> None:
        self.connection: LocalConnection = gateway.admit(handshake)
        self.faults: Faults | None = None
        self._gateway = gateway
        self._function = function
        self._authorizer = authorizer
        self._tasks = tasks
        self._observer = observer
        self._client: ClientSocket | None = None
        # Set by the first thing that ends the connection; whatever comes later finds it set.
        self._close_status: CloseStatus | None = None
        # Whether the gateway itself ended it: messages that wait for their turn are dropped then,
        # as a server does not read on after it closed.
        self._dropping = False
        # Set when the function is ready for the next event of this connection.
        self._turn: asyncio.Event | None = None
        self._steps: set[asyncio.Task[None]] = set()
        self._backlog = 0
        self._timers: list[asyncio.TimerHandle] = []
        self._active = 0.0
        self._posts_reported = 0

    @property
    def ended(self) -> bool:
        """Whether anything has ended the connection, from either side."""
        return self._close_status is not None

    @property
    def is_over(self) -> bool:
        """Whether it has ended and the function has answered its last event."""
        return self.ended and not self._steps

    @property
    def close_status(self) -> CloseStatus | None:
        """How the connection has ended."""
        return self._close_status

    # The handshake

    async def connect(self) -> results.Verdict:
        """Ask the authorizer, then the function, whether the client may connect."""
        event = await self._authorize(self._gateway.connect_event(self.connection))
        verdict = event if isinstance(event, HandshakeRefused) else await self._connect(event)
        if isinstance(verdict, HandshakeRefused):
            self._gateway.close(self.connection)
        elif self._close_status is not None:
            # Accepted, but the client did not wait: the function must hear of its end.
            self._finish(self._close_status)
        return verdict

    async def _authorize(self, event: LambdaEvent) -> LambdaEvent | HandshakeRefused:
        """Return the CONNECT event with what the authorizer said, if there is one."""
        if self._authorizer is None:
            return event
        settings, seconds = self._gateway.settings, 0.0
        decision: authorizer.Granted | HandshakeRefused | None
        decision = authorizer.unidentified(settings, event)
        if decision is None:
            request = authorizer.request_event(settings, event)
            call, name = self._authorizer.invoke(request), "the authorizer"
            limit = settings.authorizer_timeout
            outcome, seconds = await outcome_of(self._tasks, call, limit, name)
            decision = authorizer.decide(outcome, request["methodArn"])
            # "Unauthorized" is an answer like any other, though it is raised.
            if decision != authorizer.NOT_AUTHENTICATED:
                log_failure(outcome, name)
        if isinstance(decision, HandshakeRefused):
            self._report(event, None, seconds, decision)
            return decision
        self.connection.authorizer = decision.context
        return authorizer.authorized(event, decision, seconds)

    async def _connect(self, event: LambdaEvent) -> results.Verdict:
        if CONNECT not in self._gateway.settings.routes:
            return results.HandshakeAccepted()
        outcome, seconds = await self._invoke(event)
        verdict = results.connect_verdict(outcome)
        self._report(event, outcome, seconds, verdict)
        return verdict

    def open(self, client: ClientSocket) -> None:
        """Let the connection be posted to, and its timeouts run: the client has its 101."""
        self._client = client
        self._gateway.open(self.connection)
        loop = asyncio.get_running_loop()
        self._active = loop.time()
        settings = self._gateway.settings
        self._timers = [
            loop.call_later(settings.lifetime, self.expire),
            loop.call_later(settings.idle_timeout, self._check_idle),
        ]

    # From the client

    def receive(self, text: str) -> None:
        """Take a whole text message."""
        if self.connection.state is not ConnectionState.OPEN:
            return
        if self._gateway.floods(self.connection):
            self._end(FLOODING)
            return
        self._touch()
        for one in [text] if self.faults is None else self.faults.order(text):
            self._accept(one)

    def release(self) -> None:
        """Let go on what waits for another message to change places with."""
        for text in [] if self.faults is None else self.faults.rest():
            self._accept(text)

    def _accept(self, text: str) -> None:
        self._backlog += 1
        if self._backlog >= BACKLOG and self._client is not None:
            self._client.hold(True)
        self._schedule(lambda turn: self._message(text, turn))

    def client_closed(self, close_status: CloseStatus) -> None:
        """Note that the client has closed, has vanished, or broke the protocol."""
        if self._close_status is not None:
            return
        self._close_status = close_status
        if self.connection.state is ConnectionState.OPEN:
            self._finish(close_status)

    # From the function and the gateway

    def post(self, data: bytes) -> None:
        """Send a text message that the function posted."""
        self.connection.posts += 1
        if not _is_utf8(data):
            logger.warning(
                "%s: posted bytes are not UTF-8, and every frame is text: the client will break",
                self.connection.connection_id,
            )
        self._send(data)

    def close(self, close_status: CloseStatus = DELETED) -> None:
        """End the connection from the gateway's side, and all that waits for its turn."""
        if self._close_status is None:
            self._dropping = True
            self._end(close_status)

    def _end(self, close_status: CloseStatus) -> None:
        self._close_status = close_status
        if self._client is not None:
            self._client.close(close_status)
            self._finish(close_status)

    def expire(self) -> None:
        """End a connection that was idle for too long, or has lived for too long."""
        self.close(GOING_AWAY)

    async def answered(self) -> None:
        """Wait until the function has answered everything that the client caused so far."""
        while self._steps:
            await asyncio.wait(self._steps)

    def _check_idle(self) -> None:
        loop = asyncio.get_running_loop()
        due = self._active + self._gateway.settings.idle_timeout
        if loop.time() >= due:
            self.expire()
        else:
            self._timers[1] = loop.call_at(due, self._check_idle)

    def _touch(self) -> None:
        self._gateway.touch(self.connection)
        self._active = asyncio.get_running_loop().time()

    def _send(self, data: bytes) -> None:
        if self.connection.state is ConnectionState.OPEN and self._client is not None:
            self._touch()
            self._client.send_text(data)

    def _finish(self, close_status: CloseStatus) -> None:
        for timer in self._timers:
            timer.cancel()
        self._gateway.close(self.connection)
        self.release()
        if DISCONNECT in self._gateway.settings.routes:
            self._schedule(lambda turn: self._disconnect(close_status))

    # Invocations

    def _schedule(self, step: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        before = None if self._gateway.settings.unordered else self._turn
        self._turn = asyncio.Event()
        task = self._tasks.spawn(_in_turn(before, step, self._turn))
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)

    async def _message(self, text: str, turn: asyncio.Event) -> None:
        try:
            if not self._dropping:
                await self._route(text, turn)
        finally:
            self._backlog -= 1
            if self._backlog == BACKLOG - 1 and self._client is not None and not self.ended:
                self._client.hold(False)

    async def _route(self, text: str, turn: asyncio.Event) -> None:
        route_key = self._gateway.select_route(text)
        if route_key is None:
            frame = self._gateway.forbidden_frame(self.connection)
            event = self._gateway.message_event(self.connection, "", text)
            self._report(event, None, 0.0, reply=frame)
            self._send(frame)
            return
        event = self._gateway.message_event(self.connection, route_key, text)
        outcome, seconds = await self._invoke(event, turn)
        reply = results.message_reply(
            outcome,
            connection_id=self.connection.connection_id,
            request_id=event["requestContext"]["requestId"],
            route_responses=self._gateway.settings.route_responses,
        )
        self._report(event, outcome, seconds, reply=reply)
        if reply is not None:
            self._send(reply)

    async def _disconnect(self, close_status: CloseStatus) -> None:
        if self.faults is not None and self.faults.disconnect_delay:
            if self.faults.disconnect_delay == LOST:
                return
            await asyncio.sleep(self.faults.disconnect_delay)
        event = self._gateway.disconnect_event(self.connection, close_status)
        outcome, seconds = await self._invoke(event)
        self._report(event, outcome, seconds)

    async def _invoke(
        self, event: LambdaEvent, turn: asyncio.Event | None = None
    ) -> tuple[results.Outcome, float]:
        """Invoke the function; with `turn`, it may let the next event begin before it is done."""
        # An app may wait for the client while it still has work of its own to do.
        loop, end_turn = asyncio.get_running_loop(), (turn or asyncio.Event()).set
        call = self._function.invoke(event, lambda: loop.call_soon_threadsafe(end_turn))
        limit, name = self._gateway.settings.integration_timeout, "the function"
        outcome, seconds = await outcome_of(self._tasks, call, limit, name)
        log_failure(outcome, name)
        return outcome, seconds

    def _report(
        self,
        event: LambdaEvent,
        outcome: results.Outcome | None,
        seconds: float,
        verdict: results.Verdict | None = None,
        reply: bytes | None = None,
    ) -> None:
        posts = self.connection.posts - self._posts_reported
        self._posts_reported = self.connection.posts
        self._observer(HandledEvent(event, outcome, seconds, posts, verdict, reply=reply))


async def _in_turn(
    before: asyncio.Event | None,
    step: Callable[[asyncio.Event], Awaitable[None]],
    turn: asyncio.Event,
) -> None:
    if before is not None:
        await before.wait()
    try:
        await step(turn)
    finally:
        turn.set()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
