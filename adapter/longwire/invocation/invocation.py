"""What one Lambda event does: connect, message or disconnect."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from longwire.apigateway.events import ConnectEvent
from longwire.asgi import messages, scope
from longwire.asgi.messages import is_disconnect
from longwire.asgi.quiescence import Outcome
from longwire.asgi.run import Run, Stage, SupersededError
from longwire.exceptions import ConnectionGoneError, StoredRecordError
from longwire.invocation.connection import Connection
from longwire.invocation.greeting import (
    Departed,
    Greeting,
    Replies,
    end_connect_step,
    greeted,
    owe,
    release_greeting,
)
from longwire.invocation.outcome import handshake_status, log_ending, note_ending
from longwire.registry.caller import Caller, OwnConnection, calling
from longwire.registry.record import ConnectionRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from longwire.apigateway.events import DisconnectEvent, Event, MessageEvent
    from longwire.apigateway.management import Management
    from longwire.asgi.run import Outbox
    from longwire.config.settings import Settings
    from longwire.invocation.departures import Departures
    from longwire.observability.event import Ending, Word
    from longwire.registry.api_gateway import Layer
    from longwire.runtime.after_response import AfterResponse
    from longwire.types import ASGIApp, LambdaEvent, LambdaResponse, Message
    from longwire_backends import Backend

logger = logging.getLogger("longwire")

# What is left of the invocation's time when everything of ours is over, in seconds, and as a part
# of a short invocation.
DEADLINE_MARGIN = 0.5
DEADLINE_PART = 0.2
# The part of that margin in which the store and API Gateway may still be told how it ended.
LAST_WORDS = 0.6
# Without a Lambda context: the time that API Gateway waits for an integration, in seconds.
DEFAULT_TIME = 29.0
# Seconds for which a client's answer waits until apps are told of ends that its event has found.
TELL_TIME = 2.0

# A message may overtake the write of its connection's record: while the connection is younger than
# this (milliseconds), the record is looked up again after these pauses (seconds).
YOUNG_CONNECTION = 5000
LOOK_AGAIN_AFTER = (0.05, 0.1, 0.2)


class Invocation:
    """One Lambda event at work.

    Args:
        raw: the event as Lambda gave it.
        context: Lambda's context object, or None.
        layer: what `Connections` reaches in the app.
        endpoint: URL of the management API.
        state: the app's lifespan state.
        after: where work goes on after the response; None where nothing runs then.
        departures: collects connections that prove to be gone; their app is told at the end.
        ending: is told how the event has ended.
    """

    def __init__(
        self,
        app: ASGIApp,
        event: Event,
        raw: LambdaEvent,
        context: Any,
        *,
        settings: Settings,
        layer: Layer,
        endpoint: str,
        backend: Backend,
        management: Callable[[], Management],
        state: dict[str, Any],
        after: AfterResponse | None,
        departures: Departures,
        ending: Ending,
    ) -> None:
        self._app = app
        self._raw = raw
        self._context = context
        self._settings = settings
        self._state = state
        self._after = after
        self._request = event.context
        seconds = time_left(context)
        self._deadline = time.monotonic() + seconds
        self._departures = departures
        self._ending = ending
        self._connection = Connection(
            event.context.connection_id,
            endpoint,
            self._deadline + LAST_WORDS * margin(seconds),
            run_until=self._deadline,
            new=isinstance(event, ConnectEvent),
            settings=settings,
            backend=backend,
            management=management,
        )
        self._layer = layer
        # A send to many has to be back, with what it could not do, before the run is cancelled.
        self._send_deadline = self._deadline - margin(seconds) / 2
        # After that there has to be time for the store.
        self._give_up_at = self._deadline + LAST_WORDS / 2 * margin(seconds)

    # $connect

    async def connect(self, event: ConnectEvent) -> LambdaResponse:
        """Run the app up to where it waits for the client, and answer the handshake."""
        handshake = scope.handshake(
            event, path=self._settings.path, path_query=self._settings.path_query
        )
        if not self._allows(handshake.header("origin")):
            logger.warning("connection %s: its origin is not allowed; refused", self._connection.id)
            self._ending.note("refused")
            self._ending.status = 403
            return {"statusCode": 403}
        record = ConnectionRecord(handshake)
        client = Greeting(self._connection, record)

        async def save() -> None:
            record.joined = True
            await self._connection.save(replace(record, connecting_until=self._connection.lease))

        run = self._run(record, client, Stage.CONNECT, "connect", save)
        status, settled = 500, False
        try:
            outcome = await run.until_answer(self._deadline, patient=self._after is None)
            answer = handshake_status(run, outcome, self._connection.id)
            note_ending(self._ending, run, outcome)
            if answer == 200:
                settled = await self._accepted(run, outcome, client, record)
            elif self._after is not None and outcome is Outcome.UNANSWERED:
                await self._after.start(self._clean_up(run), f"refusal of {self._connection.id}")
                settled = True
            status = answer
        finally:
            if self._after is not None and not settled and run.left_behind:
                await self._after.start(self._stop(run), f"end of {self._connection.id}")
            elif not settled:
                await self._stop(run)
            if status != 200:
                await self._refused(record)
        if self._departures.found:
            await self._after_response(self._departures.tell(), "others that are gone")
        self._ending.status = status
        if status == 200 and run.answer.subprotocol:
            return {
                "statusCode": 200,
                "headers": {"Sec-WebSocket-Protocol": run.answer.subprotocol},
            }
        return {"statusCode": status}

    async def _refused(self, record: ConnectionRecord) -> None:
        """Let nothing stay of a connection that there will never be."""
        self._own.refused = True
        if record.joined:
            await self._connection.forget()

    async def _accepted(
        self, run: Run, outcome: Outcome, client: Greeting, record: ConnectionRecord
    ) -> bool:
        """Store the connection; tell whether its run has been stopped, or is left to be."""
        log_ending(run, outcome, self._connection.id)
        if run.answer.dropped_headers:
            logger.warning(
                "connection %s: API Gateway drops the headers that the app accepted with: %s",
                self._connection.id,
                ", ".join(run.answer.dropped_headers),
            )
        record.ended = run.ended
        record.answered = client.sent
        run.respond()
        after = self._after
        if after is None:
            if outcome is Outcome.UNANSWERED:
                logger.warning(
                    "connection %s: the app goes on after it has accepted, but nothing runs here "
                    "after the response; cancelled",
                    self._connection.id,
                )
            # All that takes time comes before the record says when the response has left.
            await self._stop(run)
            await self._departures.tell(TELL_TIME)
            record.greeting = client.frames
            record.responded_at = time.time()
            await self._own.answer(self._connection.save(record))
            return True
        going_on = outcome is Outcome.UNANSWERED
        # While the app is still working itself, its next frame belongs before any reply.
        greeting = client.frames or (going_on and not run.is_shared())
        record.greeting_until = self._connection.greeting_lease if greeting else 0.0
        record.connecting_until = self._connection.lease if going_on else 0.0
        record.responded_at = time.time()
        # Who has joined is stored already. Who has ended needs no record unless a greeting is owed.
        stored = record.joined or not record.ended or bool(client.frames)
        await self._own.answer(self._connection.save(record) if stored else None)
        if client.frames or record.ended or going_on:
            left = after.response_left
            work = (
                self._go_on(run, client, record, left)
                if going_on
                else self._greet(client, record, left)
            )
            await after.start(work, f"greeting of {self._connection.id}")
        return going_on

    # Behind the response

    async def _greet(
        self, client: Greeting, record: ConnectionRecord, left: Callable[[], Awaitable[None]]
    ) -> None:
        """Deliver the greeting of an app whose connect step is over."""
        try:
            await left()
            await client.deliver()
            if client.frames:
                return
            if record.ended:
                await self._connection.end()
            else:
                await self._connection.update(end_connect_step)
        except ConnectionGoneError:
            if not record.ended:
                await self._tell(record, messages.disconnect(1006, ""), "gone")
        except SupersededError:
            self._ending.note("gone")
            logger.debug("connection %s: gone before its greeting", self._connection.id)
        finally:
            await self._hand_back(client)

    async def _go_on(
        self,
        run: Run,
        client: Greeting,
        record: ConnectionRecord,
        left: Callable[[], Awaitable[None]],
    ) -> None:
        """Deliver the greeting while the connect step goes on, and what it still sends."""
        try:
            try:
                await left()
                await client.deliver(run.is_shared)
                if run.is_shared() and not client.frames:
                    await self._connection.update(release_greeting)
            except ConnectionGoneError:
                run.mark_gone(messages.disconnect(1006, ""))
            outcome = await run.until_over(self._deadline)
            log_ending(run, outcome, self._connection.id)
            note_ending(self._ending, run, outcome)
            if client.frames:
                return
            if run.ended:
                await self._connection.end()
            else:
                await self._connection.update(end_connect_step)
        except SupersededError:
            self._ending.note("gone")
            logger.debug("connection %s: gone before its greeting", self._connection.id)
        finally:
            # Both at once: where the process is about to end, an app may clean up for too long.
            await asyncio.gather(self._stop(run), self._hand_back(client, ended=run.ended))
            await self._departures.tell()

    async def _after_response(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._after is not None:
            await self._after.start(work, name)
        else:
            await work

    async def _clean_up(self, run: Run) -> None:
        """Let an app that has refused end what it is doing."""
        try:
            log_ending(run, await run.until_over(self._deadline), self._connection.id)
        finally:
            await self._stop(run)

    async def _hand_back(self, client: Greeting, *, ended: bool = False) -> None:
        """Store a greeting that cannot be delivered here, for the first message to deliver.

        That is so when the event loop is closed right after the response.
        """
        if client.frames and not self._connection.ended:
            await self._connection.update(owe(list(client.frames), ended=ended))

    # MESSAGE

    async def message(self, event: MessageEvent) -> LambdaResponse:
        """Run the app again up to where it waits for the client, and give it the message."""
        try:
            record = await self._find()
            if record is not None and await self._greeted(record):
                key = "text" if isinstance(event.body, str) else "bytes"
                await self._reply(record, {"type": "websocket.receive", key: event.body})
        except StoredRecordError as error:
            logger.error("connection %s: deleted: %s", self._connection.id, error)
            await self._connection.end()
        await self._departures.tell()
        return {"statusCode": 200}

    async def _greeted(self, record: ConnectionRecord) -> bool:
        """Let the greeting go first; tell whether the connection goes on after it."""
        try:
            current = await greeted(self._connection, record)
        except ConnectionGoneError:
            await self._tell(record, messages.disconnect(1006, ""), "gone")
            return False
        except SupersededError:
            current = None
        self._ending.note("gone" if current is None else "closed")  # unless a run says more
        if current is not None and current.ended:
            await self._connection.end()
        return current is not None and not current.ended

    async def _reply(self, record: ConnectionRecord, message: Message) -> None:
        client = Replies(self._connection, record)
        run = self._run(record, client, Stage.REPLAY, "message")
        try:
            outcome = await run.until_ready(record.answered, self._deadline)
            if outcome is None:
                client.hand_over(complete=run.replay.complete)
                run.hand_over(message)
                # A host that keeps a connection's messages in order may go on with the next one.
                on_waiting = getattr(self._context, "waits_for_client", None)
                outcome = await run.until_over(self._deadline, on_waiting)
                ended = run.ended
            else:
                logger.warning(
                    "connection %s: the app did not come to wait for this message (%s)",
                    self._connection.id,
                    outcome.name.lower(),
                )
                ended = outcome is not Outcome.DEADLINE
            log_ending(run, outcome, self._connection.id)
            note_ending(self._ending, run, outcome)
            if ended:
                await self._connection.end()
        finally:
            await self._stop(run)

    async def _find(self) -> ConnectionRecord | None:
        """Read the stored record; a connection without one is deleted."""
        record = await self._connection.read()
        for pause in LOOK_AGAIN_AFTER if self._is_young() else ():
            if record is None and await self._connection.pause(pause):
                record = await self._connection.read()
        if record is None:
            logger.warning(
                "connection %s: deleted: it has no stored record (expired, lost, or "
                "$disconnect was faster)",
                self._connection.id,
            )
            self._ending.note("no_record")
            await self._connection.end()
        return record

    def _is_young(self) -> bool:
        now, then = self._request.request_time, self._request.connected_at
        return now is None or then is None or now - then < YOUNG_CONNECTION

    # $disconnect

    async def disconnect(self, event: DisconnectEvent) -> LambdaResponse:
        """Tell the app that its client is gone, unless it has been told."""
        record = None
        self._ending.note("no_record")
        try:
            record = await self._connection.take()
        except StoredRecordError as error:
            logger.error("connection %s: its end was not told: %s", self._connection.id, error)
        await self._connection.leave()
        if record is not None and not record.ended:
            await self._tell(record, messages.disconnect(event.code, event.reason), "told")
        await self._departures.tell()
        return {"statusCode": 200}

    async def _tell(self, record: ConnectionRecord, message: Message, word: Word) -> None:
        """Run the app to its end; `word` is how the event ends then."""
        run = self._run(record, Departed(), Stage.REPLAY, "disconnect")
        run.expect_disconnect(message, record.sent.total())
        try:
            outcome = await run.until_ready(record.answered, self._deadline)
            if outcome is None:
                run.mark_gone(message)
                outcome = await run.until_over(self._deadline)
            log_ending(run, outcome, self._connection.id)
            note_ending(self._ending, run, outcome, word)
        finally:
            await self._stop(run)

    # All of them

    def _run(
        self,
        record: ConnectionRecord,
        client: Outbox,
        stage: Stage,
        phase: str,
        save: Callable[[], Awaitable[None]] | None = None,
    ) -> Run:
        context, connection = self._request, self._connection
        greeting = client if isinstance(client, Greeting) else None
        self._own = own = OwnConnection(connection, greeting=greeting, save=save)
        caller = Caller(
            self._layer,
            self._send_deadline,
            loop=asyncio.get_running_loop(),
            own=own,
            departed=self._departures.found,
        )
        with calling(caller):
            own.run = Run(
                self._app,
                scope.asgi_scope(
                    record.handshake,
                    state=self._state,
                    extension=scope.extension(context, phase, connection.expires_at),
                    event=self._raw,
                    context=self._context,
                ),
                client,
                stage=stage,
                connection_id=connection.id,
                linger=self._settings.linger,
            )
        connection.on_lost = lambda: own.run.mark_gone(messages.disconnect(1006, ""))
        return own.run

    async def _stop(self, run: Run) -> None:
        error = run.error
        given_up = await run.stop(self._deadline, self._give_up_at)
        if error is None and run.error is not None and not is_disconnect(run.error):
            logger.error(
                "connection %s: the app raised while it was being cancelled",
                self._connection.id,
                exc_info=run.error,
            )
        if given_up:
            logger.error(
                "connection %s: the app ignored its cancellation and is given up: %s",
                self._connection.id,
                given_up,
            )

    def _allows(self, origin: str | None) -> bool:
        """Only browsers send an origin, and only they can be misled: others may connect."""
        allowed = self._settings.allowed_origins
        return allowed is None or origin is None or origin in allowed


def time_left(context: Any) -> float:
    """Return how many seconds an event with this Lambda context may take."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    seconds = remaining() / 1000 if remaining is not None else DEFAULT_TIME
    return float(max(0.0, seconds - margin(seconds)))


def last_moment(context: Any) -> float:
    """Return after how many seconds all is over, even if nothing else has kept its time."""
    seconds = time_left(context)
    return seconds + 0.8 * margin(seconds)


def margin(seconds: float) -> float:
    """Return how much of this time is kept back for the end of the event."""
    return min(DEADLINE_MARGIN, seconds * DEADLINE_PART)
