"""Puts together what the gateway, the function and its processes say of each event."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from longwire.local.inspector import peers, transport
from longwire.local.inspector.entries import PostedFrame, SeenEvent, kind_of
from longwire.local.inspector.peers import Peer
from longwire.local.inspector.ring import Ring
from longwire.local.rules.faults import LOST
from longwire.local.rules.management_api import unquoted
from longwire.local.rules.results import Outcome, Raised, Returned, TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.local.function.instance import Instance
    from longwire.local.invoking import Function, HandledEvent
    from longwire.local.rules.management_api import JSONResponse, ManagementRequest
    from longwire.local.session import Session
    from longwire.types import LambdaEvent

# Pieces of output that wait to be put to their event.
MOST_PIECES = 10_000
# In the place of a request's id: this page has posted.
OF_PAGE = "page"


class Looker(Protocol):
    """Who is told what has changed."""

    def entry_changed(self, entry: SeenEvent) -> None: ...

    def entry_gone(self, entry: SeenEvent) -> None: ...

    def peer_changed(self, connection_id: str) -> None: ...

    def cleared(self) -> None: ...


def _do_nothing() -> None:
    pass


class Inspector:
    """Keeps the latest events as they came, and tells of them whoever looks."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.ring = Ring()
        self.peers: dict[str, Peer] = {}
        self.lookers: set[Looker] = set()
        self._clock = clock
        self._here = f"pid {os.getpid()}"
        self._numbers = itertools.count(1)
        # From any thread.
        self._output: deque[tuple[str, str]] = deque(maxlen=MOST_PIECES)
        self._running: set[SeenEvent] = set()
        self._raised: dict[str, str] = {}  # by the ids of their requests
        self._latest_here = ""  # the request of the latest event that came to this process

    # The function

    def watching(self, function: Function, *, here: bool = True) -> WatchedFunction:
        """Return the function, with each of its events noted; `here`: it runs in this process."""
        return WatchedFunction(self, function, here=here)

    def began(self, event: LambdaEvent, *, here: bool, replay_of: int | None) -> SeenEvent:
        entry = self._new(event)
        entry.is_running, entry.replay_of = True, replay_of
        self._running.add(entry)
        if here:
            entry.process, self._latest_here = self._here, entry.request_id or ""
        peer = self.peers.get(entry.connection_id or "")
        if peer is not None and entry.kind == "MESSAGE" and replay_of is None:
            peer.messages += 1
        self.changed(entry)
        return entry

    def ended(self, entry: SeenEvent, outcome: Outcome, seconds: float) -> None:
        entry.is_running = False
        self._running.discard(entry)
        if isinstance(entry.outcome, TimedOut):
            entry.late = outcome
        else:
            entry.outcome = outcome
        entry.seconds = seconds
        entry.app_error = self._raised.pop(entry.request_id or "", entry.app_error)
        self.put_output()
        self.changed(entry)

    def taken(self, event: LambdaEvent, instance: Instance) -> None:
        """Note which process has an event."""
        entry = self._of_event(event)
        if entry is not None:
            entry.process, entry.is_cold = f"pid {instance.pid}", instance.is_cold
            self.changed(entry)

    def app_raised(self, request_id: str, error: str) -> None:
        """Note what an app raised though its event was answered."""
        entry = self.ring.of_request(request_id)
        if entry is not None:
            entry.app_error = error
            self.changed(entry)

    def app_raised_soon(self, event: LambdaEvent, error: str) -> None:
        """Note it when the event has ended; from any thread, before that."""
        request_id = _request_id(event)
        if request_id is not None:
            self._raised[request_id] = error

    def heard(self, request_id: str, text: str) -> None:
        """Take what the function has written while it had an event; from any thread."""
        self._output.append((request_id, text))

    def hear_here(self, text: str) -> None:
        """Take what is written in this process, if it is of an event."""
        request_id = transport.current.get()
        if not request_id and threading.current_thread() is not threading.main_thread():
            # A framework may log in a thread of its own, which knows of no event.
            request_id = self._latest_here if len(self._running) < 2 else ""
        if request_id:
            self._output.append((request_id, text))

    def put_output(self) -> None:
        """Put what was heard to its events."""
        while self._output:
            request_id, text = self._output.popleft()
            entry = self.ring.of_request(request_id)
            if entry is not None:
                entry.add_output(text)
                self.changed(entry)

    # The gateway

    def admitted(self, session: Session) -> None:
        connection_id = session.connection.connection_id
        self.peers[connection_id] = Peer(session)
        self._peer_changed(connection_id)

    def left(self, session: Session) -> None:
        connection_id = session.connection.connection_id
        peer = self.peers.get(connection_id)
        if peer is None:
            return
        peer.ended_at = peer.ended_at or self._clock()
        for one in peers.closed_in_excess(self.peers.items()):
            del self.peers[one]
        faults = session.faults
        if faults is not None and faults.disconnect_delay == LOST:
            entry = self._new(None, "DISCONNECT")
            entry.connection_id, entry.note = connection_id, "lost: the function does not get it"
            self.changed(entry)
        self._peer_changed(connection_id)

    def handled(self, handled: HandledEvent) -> None:
        """Complete an entry with what the gateway made of the outcome."""
        entry = self._of_event(handled.event)
        if entry is None:
            entry = self._new(handled.event)  # the function was not asked
        if isinstance(handled.outcome, TimedOut):
            entry.outcome = handled.outcome
        entry.seconds, entry.verdict = handled.seconds, handled.verdict
        entry.http_status = handled.status
        peer = self.peers.get(entry.connection_id or "")
        if peer is not None:
            if entry.kind == "CONNECT":
                peer.verdict = handled.verdict
            elif entry.kind == "MESSAGE" and handled.outcome is None:
                peer.messages += 1
        if handled.reply is not None and entry.connection_id is not None:
            entry.add_frame(PostedFrame(entry.connection_id, handled.reply, None))
            if peer is not None:
                peer.frames += 1
        self.changed(entry)

    def managed(self, request: ManagementRequest, response: JSONResponse) -> None:
        """Put a request to `@connections` to the event that made it, if one did."""
        method = request.method
        if method not in ("POST", "DELETE"):
            return
        connection_id = unquoted(request.target.partition("?")[0].rpartition("/")[2])
        peer = self.peers.get(connection_id)
        frame = PostedFrame(connection_id, request.body, response.status)
        if peer is not None and method == "POST" and response.status == 200:
            peer.frames += 1
        name = next((value for key, value in request.headers if key == transport.HEADER), "")
        entry = self.ring.of_request(name) if name else self._only_running()
        if entry is None or method == "DELETE":
            by = "" if entry is None else f"by event {entry.number}"
            entry = self._new(None, "POST" if method == "POST" else "DELETE")
            entry.connection_id = connection_id
            entry.note = "from this page" if name == OF_PAGE else by
            entry.outcome = Returned({"statusCode": response.status})
        if method == "POST":
            entry.add_frame(frame)
        self.changed(entry)

    # Who looks

    def changed(self, entry: SeenEvent) -> None:
        for gone in self.ring.put(entry):
            for looker in self.lookers:
                looker.entry_gone(gone)
        for looker in self.lookers:
            looker.entry_changed(entry)
        if entry.connection_id is not None:
            self._peer_changed(entry.connection_id)

    def clear(self) -> None:
        """Forget all events, and the connections that are over."""
        self.ring.clear()
        self.peers = {key: peer for key, peer in self.peers.items() if not peer.ended_at}
        for looker in self.lookers:
            looker.cleared()

    def _peer_changed(self, connection_id: str) -> None:
        for looker in self.lookers:
            looker.peer_changed(connection_id)

    def _new(self, event: Any, kind: Any = None) -> SeenEvent:
        entry = SeenEvent(next(self._numbers), kind or kind_of(event), self._clock(), event=event)
        entry.request_id = _request_id(event)
        if entry.kind in ("CONNECT", "MESSAGE", "DISCONNECT", "AUTHORIZER") and event is not None:
            entry.connection_id = event["requestContext"]["connectionId"]
        return entry

    def _of_event(self, event: LambdaEvent) -> SeenEvent | None:
        request_id = _request_id(event)
        entry = None if request_id is None else self.ring.of_request(request_id)
        if entry is None or entry.event is event:
            return entry
        # It has been replayed meanwhile, or its authorizer was asked.
        return next((one for one in self.ring if one.event is event), None)

    def _only_running(self) -> SeenEvent | None:
        """Return the one event that is handled now: a post without a name is then its own."""
        return next(iter(self._running)) if len(self._running) == 1 else None


class WatchedFunction:
    """A function whose events are noted."""

    def __init__(self, inspector: Inspector, function: Function, *, here: bool) -> None:
        self._inspector = inspector
        self._function = function
        self._here = here
        self._is_cold = here

    async def invoke(
        self, event: LambdaEvent, waits_for_client: Callable[[], object] = _do_nothing
    ) -> object:
        return await self.again(event, None, waits_for_client)

    async def again(
        self,
        event: LambdaEvent,
        replay_of: int | None,
        waits_for_client: Callable[[], object] = _do_nothing,
    ) -> object:
        """Invoke it with an event that it may have had before."""
        inspector = self._inspector
        entry = inspector.began(event, here=self._here, replay_of=replay_of)
        entry.is_cold, self._is_cold = self._is_cold, False
        if self._here:
            transport.current.set(entry.request_id or "")
        began = time.monotonic()
        try:
            returned = await self._function.invoke(event, waits_for_client)
        except BaseException as error:
            inspector.ended(entry, Raised(error), time.monotonic() - began)
            raise
        inspector.ended(entry, Returned(returned), time.monotonic() - began)
        return returned


def _request_id(event: Any) -> str | None:
    context = event.get("requestContext") if isinstance(event, dict) else None
    found = context.get("requestId") if isinstance(context, dict) else None
    return found if isinstance(found, str) else None
