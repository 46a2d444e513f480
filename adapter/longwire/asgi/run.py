"""One run of the app for one event.

Each event runs the app from the top, up to where that event belongs, and takes back nothing that
an earlier event has already done. This module decides when a step of a run is over and what the
app's messages mean; `quiescence.py` sees whether the run still moves, and an `Outbox`, handed in,
does what the messages ask for.

ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html#websocket
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from longwire.asgi import frames, messages, noise, tasks
from longwire.asgi.handshake import EXPECTED, PENDING, HandshakeAnswer
from longwire.asgi.inbox import Inbox
from longwire.asgi.quiescence import MOVES, Watch
from longwire.asgi.stage import BETWEEN, WITHOUT_EFFECT, Replay, SupersededError
from longwire.deadlines import is_hang
from longwire.exceptions import (
    ASGIMessageError,
    ConnectionGoneError,
    EventOverError,
    ManagementError,
)

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping

    from longwire.asgi.channel import RunChannel
    from longwire.asgi.handshake import HandshakeState
    from longwire.asgi.hints.hints import Hints
    from longwire.asgi.quiescence import Look, Outcome
    from longwire.asgi.stage import Outbox, Stage
    from longwire.types import ASGIApp, Frame, Message, Scope

    # What to make of a run that is not at rest: its step is over with this outcome, or is to be
    # looked at again by this time. A pure function of the look, the time of it, and when the app
    # was first seen to wait in this step. Times are the event loop's.
    Decision = Outcome | float
    Decide = Callable[[Look, float, float | None], Decision]

logger: logging.Logger = logging.getLogger("longwire")

# How long the response to $connect waits after `accept`, in seconds: for an app that waits for the
# client while other tasks of it are busy, and for one that is still working itself.
WAITING_GRACE = 0.1
WORKING_GRACE = 1.0

# An app that has sent nothing for so long, in seconds, is no stream but slow.
STREAM_PAUSE = 1.0

# An app that sends without end, and never waits, lets the event loop turn this often: the greeting
# and a replay reach no socket that would make it wait.
SENDS_AT_ONCE = 16

NO_ASGI_APP = "The app is not an ASGI app: write `async def app(scope, receive, send)`."

NOWHERE: frozenset[str] = frozenset()


class Run:
    """The app, called once with one scope."""

    lives_on = False  # in later events, which bring back what waits for a later message
    # What most runs leave as it is costs nothing here.
    cut_off: str = ""  # what was still busy when the step was ended, for the log
    cut_off_at: frozenset[str] = NOWHERE  # the places in the code where that was
    # A send that nobody answered: the app may have kept that to itself.
    hang: ManagementError | None = None
    # Tells an app's author what to know, on a developer's machine alone.
    hints: Hints | None = None
    # With `replay`, what waits for the event that knows of the end to tell this run of it.
    hears_the_end: Callable[[], Awaitable[bool]] | None = None
    # Called once the app waits for the client and nothing else of it moves, before it cleans up.
    on_rest: Callable[[], object] | None = None
    _sends = 0
    _frames = 0  # without those of after the end
    _expected: float = math.inf  # so many are waited for
    _left_alone = False  # the app had returned before its run was stopped
    _ended = _stopped = _is_made = _is_called = _is_let_go = False
    # In this very step, as the app was about to wait for the client: it went on, or its step ended.
    _has_gone_on = _has_parked = False
    _is_cancelled = False  # before it is stopped, which must not cancel it again
    _go_on: Callable[[], object] | None = None  # once it is ready for its message
    _error: BaseException | None = None

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        outbox: Outbox,
        *,
        stage: Stage,
        connection_id: str,
        linger: float,
        on_hand_over: Callable[[], object] = lambda: None,
        context: contextvars.Context | None = None,
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._active_at = self.loop.time()  # when it last did something for the client
        # When the app was called, or was given a message once more, had nothing been skipped.
        self._began = self._active_at
        self.answer: HandshakeAnswer = PENDING
        self.replay: Replay = Replay()
        self._outbox = outbox
        self._sending = asyncio.Lock()  # frames leave in the order in which they were sent
        # Of the scope, for an app that wants to know whether it is only repeating.
        self._told = scope.get("extensions", {}).get("longwire", {})
        self._enter(stage)
        self._is_handshake = stage == "connect"
        # Where tasks waited when the message was handed over, but not for the client.
        self._before: Mapping[asyncio.Task[Any], str] = {}
        self.connection_id = connection_id
        self._linger = linger
        self._on_hand_over = on_hand_over  # called once the replay is over
        self._tasks = tasks.TaskSet(goes_on=self.lives_on)
        self._inbox = Inbox({"type": "websocket.connect"})
        self._inbox.on_empty = self._at_rest
        self._watch = Watch(self._tasks, self._inbox, linger)
        name = f"app {connection_id}"
        self._task = tasks.spawn(self._call(app, scope), self._tasks, name, self.loop, context)
        self._is_made = True

    async def _call(self, app: ASGIApp, scope: Scope) -> None:
        if not self._is_made:  # an eager task factory must not run the app before its run is made
            await asyncio.sleep(0)
        self._began, self._is_called = self.loop.time(), True
        try:
            await app(scope, self._inbox.receive, self._send)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                error.add_note(NO_ASGI_APP)  # it was raised here, by the call or by what it gave
            raise
        finally:
            self._tasks.forget(self._task)
            self._watch.signal()

    # What the handler asks for, in this order. Deadlines are in the event loop's time.

    async def until_answer(self, deadline: float, *, patient: bool) -> Outcome:
        """Run the connect step until its response can leave; `patient` waits for the whole step."""

        def decide(look: Look, now: float, since: float | None) -> Decision:
            until = self._answer_until(since if look.waits else None, patient)
            return "unanswered" if _is_late(look, now, until) else until

        return await self._drive(decide, deadline)

    def _answer_until(self, since: float | None, patient: bool) -> float:
        if self.answer.state == "pending":
            return math.inf
        if not self.answer.accepted:
            return self.answer.at + WORKING_GRACE
        if since is None:
            return math.inf if patient else self.answer.at + WORKING_GRACE
        if patient:
            return max(since, self._active_at) + self._linger
        return self.answer.at + WAITING_GRACE

    async def until_ready(
        self, answered: int, deadline: float, go_on: Callable[[], object] | None = None
    ) -> Outcome | None:
        """Replay the connect step until the app is ready for a message: None, else why it is not.

        It is not before it has sent again the `answered` frames that had been sent when the
        response to $connect left, unless that takes it too long. `go_on` is called once it is, if
        possible by the app itself as it is about to wait.
        """

        def decide(look: Look, now: float, since: float | None) -> Decision:
            if self.answer.is_closing:
                return "ended"
            if since is None or not look.waits or not self.answer.accepted:
                return math.inf
            until = max(since, self.answer.at) + self._linger
            done = self.replay.sent >= answered or _is_late(look, now, until)
            return "ready" if done else until

        self._go_on = go_on
        outcome = await self._drive(decide, deadline)
        self._go_on = None
        if self._has_gone_on:
            self._has_gone_on = False
            return None
        if self.answer.is_closing:
            return "ended"
        self.replay.complete = outcome == "parked"
        if outcome != "ready" and not (self.replay.complete and self.answer.accepted):
            return outcome
        if go_on is not None:
            go_on()
        return None

    def _at_rest(self) -> bool:
        """Act at once, as the app is about to wait for the client, if nothing else of it can move.

        A replay goes on with its message. Any other step is over, and the app is cancelled as if it
        waited already; only `Task.cancelling` does not show that. Neither takes a turn of the event
        loop, or a look at the app. Tell whether there may be a message by now.
        """
        goes_on = self._stage == "replay" and self._go_on is not None
        # Somebody goes on with such an app that waits, or gives it more.
        parks = self._stage in ("connect", "live") and not (self.lives_on or self._channel)
        if not (goes_on or parks) or self.answer.state != "accepted":
            return False
        if not self._watch.is_alone(self._task):
            return False
        if self._go_on is not None:
            go_on, self._go_on = self._go_on, None
            self._has_gone_on = self.replay.complete = True
            go_on()
            return True
        if self.on_rest is not None:
            self.on_rest()
        if self.hints is not None:
            self.hints.park(self._task, self._tasks, (self._task,))
        self._has_parked = self._is_cancelled = True
        self._unwind()
        self._watch.signal()
        raise asyncio.CancelledError

    def _now(self) -> float:
        """Return the time of the event loop as it is for the app."""
        return self.loop.time()

    def abandon(self) -> None:
        """Cancel the app without effect, as somebody else goes on with its connection."""
        if not (self._is_let_go or self._is_cancelled):
            self._is_cancelled = True
            if asyncio.current_task() is not self._task:  # who calls this there raises it
                self._task.cancel()
            self._watch.signal()  # an app that was never called says nothing itself
        self._unwind()

    def fall_silent(self) -> None:
        """Let nothing that the app does take effect any more; `stop` cancels it, once."""
        self._unwind()

    def hand_over(self, message: Message) -> None:
        """Give the app what its connect step waited for."""
        self._on_hand_over()
        self._enter("live")
        if self.hints is not None:
            # Who goes on by itself is not among those who wait, but about to.
            clients = (self._task,) if self._has_gone_on else self._inbox.waiters
            self.hints.hand_over(self._task, self._tasks, clients)
        self.deliver(message)

    def deliver(self, message: Message) -> None:
        """Give the app a further message of its client."""
        self._active_at = self.loop.time()
        if not self.lives_on:  # else they may yet go on
            self._before = self._watch.others()
        self._inbox.deliver(message)

    def expect_disconnect(self, message: Message, sent: int) -> None:
        """Let a streaming app learn that its client is gone, though it never waits for it.

        Its replay may send as many frames as the connect step did, and go on for as long as a step
        may linger; what it sends after that raises.
        """
        self.replay.disconnect = message, sent, self.loop.time() + self._linger

    def mark_gone(self, message: Message) -> None:
        """Let `send()` raise from now on, and `receive()` return the disconnect once.

        Not to one that is kept: who tells its app goes on with it for that.
        """
        if self._stage not in ("gone", *BETWEEN):
            if self._stage == "replay":
                self._on_hand_over()
            self._enter("gone")
            self._inbox.deliver(message)

    async def until_over(
        self, deadline: float, on_waiting: Callable[[], object] | None = None
    ) -> Outcome:
        """Run until the app ends, or waits for the client and lingers no longer.

        `on_waiting` is called once the app waits for the client though other tasks are busy.
        """

        def decide(look: Look, now: float, since: float | None) -> Decision:
            until = self._lingers_until(look, since)
            return "cut_off" if _is_late(look, now, until) else until

        outcome = await self._drive(decide, deadline, on_waiting)
        if outcome == "parked":
            is_last = self._stage == "live" and not self.lives_on
            self._note_cut_off(self._watch.newly_waiting(self._before) if is_last else ())
        return outcome

    def _lingers_until(self, look: Look, since: float | None) -> float:
        # A frame under way has a deadline of its own, and is not cut off.
        if since is None or not look.waits or self._sending.locked():
            return math.inf
        return max(since, self._active_at) + self._linger

    async def _drive(
        self, decide: Decide, deadline: float, on_waiting: Callable[[], object] | None = None
    ) -> Outcome:
        """Look at the run whenever it has changed, until its step is over."""
        since: float | None = None
        if not self._is_called:
            # In the next turn of the event loop an app mostly gets through what posts nothing.
            posts = self._stage == "replay" and self.replay.disconnect is None
            await (self._watch.change(MOVES, deadline) if posts else asyncio.sleep(0))
        while not self._has_gone_on:
            if self._has_parked:
                return "parked"
            look = self._watch.glance(self._task) or await self._watch.look(self._task)
            if look.outcome is not None:
                return look.outcome
            now = self.loop.time()
            if look.waits and since is None:
                since = now
                if on_waiting is not None:
                    on_waiting()
            decision = decide(look, now, since)
            if isinstance(decision, float) and now >= deadline:
                decision = "deadline"
            if not isinstance(decision, float):
                if decision in ("unanswered", "cut_off", "deadline"):
                    self._note_cut_off(self._watch.held_by(look))
                return decision
            await self._watch.change(look, min(decision, deadline))
        return "ready"

    async def stop(self, deadline: float = math.inf, give_up_at: float = math.inf) -> str:
        """End the run: let the app clean up without effect, then cancel what it left behind.

        Tasks that an app has left behind by itself may finish what they do until the deadline, as
        long as a step may linger. Returns those that ignored their cancellation and are given up,
        for the log; mostly "".
        """
        if self._is_let_go:
            return ""
        self._left_alone = self._task.done() and not self._is_cancelled
        self._note_cut_off(())
        if self.hints is not None and self._goes_on(deadline):
            self.hints.park(self._task, self._tasks, self._inbox.waiters)
        self._unwind()
        app = self._task  # which is let go of, if it is stopped twice at once
        running = {app, *self._tasks}  # to the end, or asyncio says what they raise
        try:
            if self._left_alone and len(running) > 1:
                # One that waits for the client waits for ever: nothing comes any more.
                moving = await self._watch.moving()
                await tasks.wait(moving, min(self._linger, deadline - self.loop.time()))
                self._note_cut_off([task for task in moving if not task.done()])
            if "sanic" in sys.modules:
                from longwire.asgi import sanic  # nobody else pays for it

                await sanic.leave(app, self._inbox)
            if not self._left_alone:
                end = tasks.unwound if self._is_cancelled else tasks.cancel
                await end([app], give_up_at - self.loop.time())
            if app.done():
                self._tasks.forget(app)  # which may never have been called
            if self._tasks:
                await tasks.cancel(list(self._tasks), give_up_at - self.loop.time())
        finally:  # also when nobody waits for it any longer
            self._stopped = True
            running |= self._tasks
            tasks.end_all(running)
            if self.hints is not None:
                self.hints.over()
        given_up = [task for task in self._tasks if not task.done()] if self._tasks else None
        if app.done() and not self._is_let_go:
            self._let_go()
        return frames.describe(given_up) if given_up else ""

    def _let_go(self) -> None:
        """Refer to nothing that refers to this run, which is garbage then at once.

        Else the garbage collector finds it later, and looks at all runs that wait to do so.
        """
        with suppress(asyncio.CancelledError):  # which the task has kept, and it keeps this run
            self._error = self._task.exception()
        self._is_let_go = True
        del self._task, self._outbox
        self._inbox.on_change, self._inbox.on_empty, self.on_rest = _nothing, None, None

    def _note_cut_off(self, held_by: Collection[asyncio.Task[Any]]) -> None:
        if not held_by:
            self.cut_off, self.cut_off_at = "", NOWHERE
            return
        self.cut_off, self.cut_off_at = frames.describe(held_by), frames.places(held_by)

    def _goes_on(self, deadline: float) -> bool:
        """Tell whether the connection outlives this run, whose app waits for the client."""
        waits = self.answer.accepted and self._inbox.waiters and not self._inbox
        has_acted = self._stage in ("connect", "live")
        return bool(waits) and has_acted and not self.ended and self.loop.time() < deadline

    def _unwind(self) -> None:
        self._ended = self.ended
        self._enter("unwinding")
        self._inbox.close()

    def _enter(self, stage: Stage) -> None:
        self._stage = stage
        self._told["replaying"] = stage in WITHOUT_EFFECT

    @property
    def has_effect(self) -> bool:
        """Whether what the app does beside its messages takes effect, as in `Connections`."""
        return self._stage not in WITHOUT_EFFECT

    @property
    def unwinding(self) -> bool:
        """Whether the run is over and only cleans up."""
        if self._stage in BETWEEN:
            # Who ends an event loop cancels what is kept on it.
            return self._stage == "unwinding" or self._task.cancelling() > 0
        return False

    @property
    def is_handshake(self) -> bool:
        """Whether it is the first run of its connection."""
        return self._is_handshake

    @property
    def disconnect_delivered(self) -> bool:
        """Whether the app is being told that its client is gone."""
        return self._stage == "gone"

    # For a channel layer

    _channel: RunChannel | None = None

    def channel(self) -> RunChannel:
        """Return the app's end of a channel layer."""
        if self._channel is None:
            from longwire.asgi.channel import RunChannel  # nobody else pays for it

            self._channel = self._inbox.channel = RunChannel(self._inbox)
        return self._channel

    @property
    def _hears_next(self) -> bool:
        """Whether the app is a consumer that hears of its client's end by a message, yet to come.

        It has a method for that, which an error while it handles something else would leave out.
        """
        return self._channel is not None and not self._inbox.told_the_end

    @property
    def gives_own(self) -> bool:
        """Whether the app gets in this very run what it sends to its own connection."""
        return self.has_effect or self.repeats_connect

    @property
    def repeats_connect(self) -> bool:
        """Whether the app does again what it did before the first message."""
        return self._stage == "replay" and not self._inbox.number

    async def close(self) -> None:
        """Close the connection as the app itself does; no error when it is closed."""
        if not self.answer.is_closing:
            await self._send({"type": "websocket.close"})

    @property
    def streams(self) -> bool:
        """Whether its replay has sent again and again, lately too, and never waited."""
        lately = self.loop.time() - self.replay.sent_at < STREAM_PAUSE
        return self.replay.sent > 1 and lately and not self._inbox.waited

    @property
    def left_behind(self) -> bool:
        """Whether the app has ended and tasks of it go on."""
        has_ended = self._is_let_go or self._task.done()
        return has_ended and any(not task.done() for task in self._tasks)

    def is_shared(self) -> bool:
        """Tell whether another event may run the app meanwhile, as it waits for the client."""
        return self._inbox.waited

    @property
    def ended(self) -> bool:
        """Whether the app has ended the conversation, by closing, returning or raising."""
        if self.unwinding:
            return self._ended
        return self._task.done() or self.answer.state == "closed"

    @property
    def error(self) -> BaseException | None:
        """What the app raised, if it did."""
        if self._is_let_go:
            return self._error
        if self._has_parked and not self._stopped:
            return None  # whatever its cleaning up has come to
        done = self._task.done() and not self._task.cancelled()
        return self._task.exception() if done else None

    # What the app calls.

    async def _send(self, message: Message) -> None:
        try:
            if self._stage in BETWEEN:
                self._clean_up(message)
            elif (doing := self._do(message)) is not None:
                await doing
        finally:
            if self._inbox.waiters or self._frames > self._expected:
                self._watch.signal()
            # Behind the frame, so that none of another task overtakes it; also when it raises.
            self._sends += 1
            if self._sends % SENDS_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _do(self, message: Message) -> Coroutine[Any, Any, None] | None:
        """Do what a message asks for; return what is left of that to be awaited, as a rule none."""
        match self.answer.state, message.get("type"):
            case "accepted", "websocket.send":
                return self._emit(messages.frame(message))
            case "pending", "websocket.accept":
                self._accept(message)
            case "pending", "websocket.close":
                self._deny(403, closed_with=(message.get("code"), message.get("reason")))
            case "pending", "websocket.http.response.start":
                self._deny(messages.status(message), "denying")
            case "denying", "websocket.http.response.body":
                self._go_on_denying(message)
            case "accepted", "websocket.close":
                return self._close(message)
            case "closed", _ if self._inbox.told_the_end:
                raise ConnectionGoneError(self.connection_id)  # as for an end by the client
            case state, kind:
                raise ASGIMessageError(f"the app sent {kind!r}, but {EXPECTED[state]}")
        return None

    def _clean_up(self, message: Message) -> None:
        """Do nothing for an app that cleans up; raise for all else, which reaches nobody."""
        if self.ended:
            raise ConnectionGoneError(self.connection_id)
        if not self.unwinding or self._stopped or asyncio.current_task() not in self._tasks:
            raise self._too_late()
        if self.hints is not None and message.get("type") == "websocket.send":
            self.hints.swallowed(message)

    def _too_late(self) -> EventOverError:
        """Log a send of somebody whose WebSocket is that of another time, and return its error."""
        place = frames.caller_place()
        error = EventOverError(self.connection_id, place)
        logger.log(noise.level("sent late", [place]), "%s", error)
        return error

    def _is_foreign(self, task: asyncio.Task[Any] | None) -> bool:
        """Tell whether a task is another event's or a worker's; a thread's is nobody's."""
        owner = tasks.current_owner()
        return task not in self._tasks and owner is not None and owner is not self._tasks

    # What the app's messages mean.

    def _accept(self, message: Message) -> None:
        subprotocol, dropped = messages.accepted(message)
        self.answer = HandshakeAnswer(
            "accepted",
            self.loop.time(),
            accepted=True,
            subprotocol=subprotocol,
            dropped_headers=tuple(dropped),
        )
        if self._is_handshake or self.lives_on or self._inbox.waiters:
            self._watch.signal()

    def _deny(
        self,
        status: int,
        state: HandshakeState = "closed",
        closed_with: tuple[object, object] | None = None,
    ) -> None:
        now = self.loop.time()
        self.answer = HandshakeAnswer(state, now, status=status, closed_with=closed_with)
        self._watch.signal()
        if state == "closed":
            self._inbox.deliver(messages.lost())

    def _go_on_denying(self, message: Message) -> None:
        if not message.get("more_body", False):
            self._deny(self.answer.status or 403)

    def _emit(self, frame: Frame) -> Coroutine[Any, Any, None] | None:
        if self._stage == "replay":
            self._replay(frame)
        elif self._stage != "gone":
            return self._send_now(frame)
        elif not self._hears_next:
            raise ConnectionGoneError(self.connection_id)
        return None

    def _replay(self, frame: Frame) -> None:
        if self._is_foreign(asyncio.current_task()):
            raise self._too_late()
        if self.replay.disconnect is not None:
            message, sent, tolerated_until = self.replay.disconnect
            if self.replay.sent >= sent and self.loop.time() >= tolerated_until:
                self.mark_gone(message)
                raise ConnectionGoneError(self.connection_id)
        self._frames += 1
        self._outbox.swallow(frame)  # which raises for one that cannot be sent
        self.replay.sent += 1
        self.replay.sent_at = self._now()

    async def _send_now(self, frame: Frame) -> None:
        outbox = self._outbox  # a task of somebody else may wait here for longer than the run is
        try:
            async with self._sending:
                if self.lives_on and self._stage in BETWEEN:  # its turn has ended meanwhile
                    return
                self._frames += 1
                if await outbox.send(frame):
                    self._active_at = self.loop.time()
        except ConnectionGoneError:
            self.mark_gone(messages.lost())
            if not self._hears_next:
                raise
        except ManagementError as error:
            if is_hang(error):
                self.hang = error
            raise
        except SupersededError:
            await self.give_way()
            raise ConnectionGoneError(self.connection_id) from None

    async def give_way(self) -> None:
        """Stop, as somebody else goes on with its connection: whoever calls this is cancelled.

        A run that is told the end goes on with that.
        """
        if self.hears_the_end is None or not await self.hears_the_end():
            self.abandon()
            raise asyncio.CancelledError

    async def _close(self, message: Message) -> None:
        code, reason = message.get("code"), message.get("reason")
        if code is None:
            code = 1000
        if not isinstance(code, int):
            raise ASGIMessageError(f"websocket.close: code is {code!r}, not an int")
        if self._stage == "gone":
            return  # as under uvicorn: the client was faster
        if not isinstance(reason, str):
            reason = ""  # FastAPI gives the list of validation errors
        before = self.answer
        self.answer = before._replace(state="closed", closed_with=(code, reason))
        self._watch.signal()
        outbox = self._outbox
        try:
            if self._stage != "replay" and self.ended:
                async with self._sending:
                    await outbox.close(code, reason)
        except SupersededError:
            self.answer = before
            await self.give_way()
        finally:  # not before, as an app that hears of the end may cancel who closes
            self._inbox.deliver(messages.disconnect(code, reason))


def _nothing() -> None:
    """Nobody looks any more."""


def _is_late(look: Look, now: float, until: float) -> bool:
    """Tell whether it is this late, or nothing that could change that moves before it is."""
    return now >= until or (look.waits and look.next_move > until)
