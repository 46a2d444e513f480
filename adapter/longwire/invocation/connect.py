"""$connect: run the app up to where it waits for the client, answer the handshake, greet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from typing import TYPE_CHECKING

from longwire.asgi import messages, scope
from longwire.asgi.stage import SupersededError
from longwire.exceptions import BackendError, ConnectionGoneError
from longwire.invocation.ending import end_unless_spoken
from longwire.invocation.greeting import Greeting, end_connect_step, owe, release_greeting
from longwire.invocation.invocation import TELL_TIME, Application, Call, Invocation
from longwire.invocation.leaving import response_left
from longwire.invocation.outcome import handshake_status, log_ending, note_ending
from longwire.invocation.tell import tell
from longwire.registry.record import ConnectionRecord

if TYPE_CHECKING:
    from longwire.apigateway.events import ConnectEvent
    from longwire.asgi.lasting import LastingRun
    from longwire.asgi.quiescence import Outcome
    from longwire.invocation.conversing import Conversing
    from longwire.runtime.after_response import AfterResponse
    from longwire.types import LambdaResponse

logger: logging.Logger = logging.getLogger("longwire")


async def connect(
    application: Application, call: Call, event: ConnectEvent, endpoint: str
) -> LambdaResponse:
    """Answer a handshake."""
    invocation = Invocation(application, call, event, endpoint)
    settings, connection_id = application.settings, invocation.connection.id
    try:
        handshake = scope.handshake(event, path=settings.path, path_query=settings.path_query)
    except scope.RefusedPathError as error:
        return _refuse(call, connection_id, 400, str(error))
    if settings.client_ip_header is not None:
        from longwire.apigateway.client_ip import client_ip  # nobody else pays for it

        client = client_ip(event, settings.client_ip_header, settings.trusted_proxies)
        handshake = handshake._replace(client=client)
    # Only browsers send an origin, and only they can be misled: others may connect.
    allowed = settings.allowed_origins
    if allowed is not None and not event.origins <= allowed:
        return _refuse(call, connection_id, 403, "its origin is not allowed")
    return await _ConnectStep(invocation, ConnectionRecord(handshake)).respond()


def _new_conversing(
    invocation: Invocation, run: LastingRun, record: ConnectionRecord
) -> Conversing:
    from longwire.invocation.conversing import Conversing  # nobody else pays for it
    from longwire.replay.turn import Turn, new_owner

    connection = invocation.connection
    turn = Turn(connection.store, connection.id, connection.expires_at, new_owner())
    return Conversing(invocation, run, turn, record)


def _by_nobody() -> bool:
    return False


def _refuse(call: Call, connection_id: str, status: int, why: str) -> LambdaResponse:
    """Answer a handshake that the app does not get to see."""
    logger.warning("connection %s: %s; refused", connection_id, why)
    call.ending.note("refused")
    call.ending.status = status
    return {"statusCode": status}


class _ConnectStep:
    """The first run of a connection, and what follows the response to its handshake."""

    def __init__(self, invocation: Invocation, record: ConnectionRecord) -> None:
        self._invocation = invocation
        self._call = invocation.call
        self._connection = invocation.connection
        self._record = record
        self._greeting = Greeting(invocation.connection, record)
        self._stopped = asyncio.Event()
        # With `replay`, its turn begins if it goes on behind the response.
        self._conversing: Conversing | None = None
        greeting = self._greeting
        if invocation.kept_runs is None:
            self._run = invocation.run(record, greeting, "connect", "connect", greeting)
        else:
            run = invocation.lasting_run(record, greeting, "connect", "connect", greeting)
            self._run = run
            self._conversing = _new_conversing(invocation, run, record)
        self._outcome: Outcome = "unanswered"

    async def respond(self) -> LambdaResponse:
        run, after, connection = self._run, self._call.after, self._connection
        status, settled = 500, False
        try:
            outcome = await run.until_answer(self._invocation.run_until, patient=after is None)
            answer = handshake_status(run, outcome, connection.id)
            note_ending(self._call.ending, run, outcome)
            if answer == 200:
                settled = await self._accepted(outcome)
            elif after is not None and outcome == "unanswered":
                await after.start(self._clean_up(), f"refusal of {connection.id}")
                settled = True
            status = answer
        finally:
            if after is not None and not settled and run.left_behind:
                await after.start(self._stop(), f"end of {connection.id}")
            elif not settled:
                await self._stop()
            if status != 200:
                await connection.refuse(joined=self._record.joined)
            if status != 200 or (self._record.ended and not settled):
                await self._forget_results()
        departures = self._call.departures
        if departures and after is not None:
            await after.start(departures.tell(), "others that are gone")
        elif departures:
            await departures.tell()
        self._call.ending.status = status
        if status == 200 and run.answer.subprotocol:
            return {
                "statusCode": 200,
                "headers": {"Sec-WebSocket-Protocol": run.answer.subprotocol},
            }
        return {"statusCode": status}

    async def _accepted(self, outcome: Outcome) -> bool:
        """Store the connection; False if its run still has to be stopped."""
        run, record, after = self._run, self._record, self._call.after
        log_ending(run, outcome, self._connection.id)
        if run.answer.dropped_headers:
            logger.warning(
                "connection %s: API Gateway drops the headers that the app accepted with: %s",
                self._connection.id,
                ", ".join(run.answer.dropped_headers),
            )
        # On a developer's machine the hints say more.
        if "channels.layers" in sys.modules and not self._invocation.wants_hints:
            from longwire.invocation.foreign_layers import warn_of_foreign_layers

            warn_of_foreign_layers(sys.modules["channels.layers"].channel_layers.backends)
        record.ended = run.ended
        record.answered = self._greeting.sent
        if self._conversing is not None:
            record.began_at = time.time() - self._conversing.run.age
        if self._conversing is not None and outcome == "parked":
            self._outcome, self._conversing.at_rest = outcome, True
            self._conversing.run.note_rest()
        going_on = outcome == "unanswered"
        if after is not None:
            await self._answer_and_go_on(after, going_on=going_on)
            return going_on
        if going_on:
            logger.warning(
                "connection %s: the app goes on after it has accepted, but nothing runs here "
                "after the response; cancelled",
                self._connection.id,
            )
        # Anything slow goes first: the record says when the response leaves.
        if self._conversing is None or going_on:
            await self._stop()
        if self._call.departures:
            await self._call.departures.tell(TELL_TIME)
        record.greeting = self._greeting.frames
        record.responded_at = time.time()
        # Nobody sees here when it leaves.
        record.leaving_until = self._connection.lease
        await self._connection.answer(record)
        return self._conversing is None or going_on

    async def _answer_and_go_on(self, after: AfterResponse, *, going_on: bool) -> None:
        run, record, frames = self._run, self._record, self._greeting.frames
        # While the app is still working itself, its next frame belongs before any reply.
        greets = frames or (going_on and not run.is_shared())
        record.greeting_until = self._connection.lease_greeting() if greets else 0.0
        record.connecting_until = self._connection.lease if going_on else 0.0
        if self._conversing is not None and going_on:
            await self._conversing.turn.begin()
            self._greeting.ensure = self._conversing.ensure_turn
        record.responded_at = time.time()
        # What has joined a group is stored already; what has ended is stored only to be greeted.
        stored = record.joined or not record.ended or bool(frames)
        await self._connection.answer(record if stored else None)
        if frames or record.ended or going_on:
            work = self._go_on(after) if going_on else self._greet(after)
            await after.start(work, f"greeting of {self._connection.id}")
        elif after.sees():
            await after.start(self._response_left(after), f"response of {self._connection.id}")

    async def _forget_results(self) -> None:
        """Drop what `longwire.once` has kept, as no event goes on with the connection."""
        if self._conversing is None:
            return
        self._conversing.results.close()
        if self._conversing.turn.conversation.position:
            with contextlib.suppress(BackendError):  # then it is there until it expires
                await self._conversing.turn.drop()

    # Behind the response

    async def _response_left(self, after: AfterResponse) -> None:
        await response_left(after, self._connection, self._record, self._call.times)

    async def _greet(self, after: AfterResponse) -> None:
        """Deliver the greeting of an app whose connect step is over."""
        try:
            await self._response_left(after)
            await self._greeting.deliver()
            if self._greeting.frames:
                return
            if self._record.ended:
                await self._connection.end()
            else:
                await self._connection.update(end_connect_step)
        except ConnectionGoneError:
            if not self._record.ended:
                await self._stopped.wait()  # or the run that is told would let it act again
                await tell(self._invocation, self._record, messages.lost(), "gone")
        except SupersededError:
            self._superseded()
        finally:
            await self._hand_back()

    async def _go_on(self, after: AfterResponse) -> None:
        """Deliver the greeting while the connect step goes on, and what it still sends."""
        run, conversing = self._run, self._conversing
        try:
            if conversing is None:
                await self._greet_and_go_on(after)
            else:
                async with conversing:
                    await self._greet_and_go_on(after)
        except SupersededError:
            self._superseded()
        finally:
            # Both at once: if the process is about to end, the app may clean up for too long.
            await asyncio.gather(self._stop(), self._hand_back(ended=run.ended))
            await self._call.departures.tell()

    async def _greet_and_go_on(self, after: AfterResponse) -> None:
        run, conversing, greeting = self._run, self._conversing, self._greeting
        # With `replay` no other event runs the app meanwhile.
        shared = run.is_shared if conversing is None else _by_nobody
        try:
            await self._response_left(after)
            await greeting.deliver(shared)
            if run.is_shared() and not greeting.frames:
                await self._connection.update(release_greeting)
        except ConnectionGoneError:
            run.mark_gone(messages.lost())
        if conversing is None:
            self._outcome = await run.until_over(self._invocation.run_until)
        else:
            await conversing.give_first()
            self._outcome = await conversing.until_rest()
        log_ending(run, self._outcome, self._connection.id)
        note_ending(self._call.ending, run, self._outcome)
        if greeting.frames:
            return
        has_spoken = conversing is not None and conversing.turn.conversation.begun > 0
        if not run.ended:
            await self._connection.update(end_connect_step)
        elif run.is_shared() and not (self._connection.ended or has_spoken):
            await end_unless_spoken(self._connection, self._record.responded_at)
        elif conversing is None:
            await self._connection.end()
        else:
            await conversing.end_connection()

    async def _clean_up(self) -> None:
        """Let an app that has refused finish what it is doing."""
        try:
            outcome = await self._run.until_over(self._invocation.run_until)
            log_ending(self._run, outcome, self._connection.id)
        finally:
            await self._stop()

    async def _stop(self) -> None:
        if self._conversing is None:
            await self._invocation.stop(self._run)
        else:
            await self._conversing.keep_or_stop(self._outcome, self._greeting)
        self._stopped.set()

    async def _hand_back(self, *, ended: bool = False) -> None:
        """Store what could not be delivered here, for the first message's event to deliver."""
        frames = self._greeting.frames
        if frames and not self._connection.ended:
            shared = self._run.is_shared()
            await self._connection.update(owe(frames, ended=ended, shared=shared))

    def _superseded(self) -> None:
        self._call.ending.note("gone")
        logger.debug("connection %s: gone before its greeting", self._connection.id)
