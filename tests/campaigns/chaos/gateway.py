"""A simulated API Gateway: its clients, and the events that it sends to the processes."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from longwire.exceptions import DeadlineError
from longwire_aws.http import Response
from longwire_backends import BackendError
from tests.campaigns.chaos.event import Event, here, now_in
from tests.campaigns.chaos.known import known
from tests.campaigns.chaos.remote import at_once
from tests.connections_server import INFO
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from longwire_backends.memory import MemoryBackend
    from tests.campaigns.chaos.faults import Faults
    from tests.campaigns.chaos.process import Process

# By how much an event may exceed its time: a few rounds of the loop.
LATE = 0.01

GONE = Response(410, {"x-amzn-errortype": "GoneException"}, b"")


@dataclass(eq=False)
class Client:
    """Somebody with a WebSocket.

    Attributes:
        room: the group that its app puts it in.
        frames: what has reached it.
        known_at: when API Gateway begins to know the connection; None while it does not exist.
        leaving: it has ended.
        closed: API Gateway knows that, too.
        told: (process, code) of each run that was told of its end.
        misjudged: a request was answered as if it had ended, since it was not known yet.
        refused: its handshake was not answered with 200.
        heard: the messages that its app has been given, with effect, in their order.
        failed: the messages of whose events API Gateway has got no answer.
    """

    id: str
    room: str
    frames: list[str] = field(default_factory=list)
    known_at: float | None = None
    connected_at: float = 0.0
    leaving: bool = False
    closed: bool = False
    refused: bool = False
    misjudged: bool = False
    told: list[tuple[str, int]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)

    @property
    def is_known(self) -> bool:
        return self.known_at is not None and not self.closed and time.monotonic() >= self.known_at


class Gateway:
    """API Gateway, and Lambda's choice of a process for each event.

    Args:
        start: starts one more process.
        journals: the store, where each connection has a journal of its messages.

    Attributes:
        violations: what must never happen and did.
        tolerated: how often what is known to happen did.
        events: how many were sent, by their kind.
        lines: what happened, and when.
    """

    def __init__(
        self,
        app: str,
        faults: Faults,
        random: Random,
        start: Callable[[], Process],
        journals: MemoryBackend | None = None,
    ) -> None:
        self.journals = journals
        self.late = 0  # messages that were handled when their connection had just ended
        self.clients: dict[str, Client] = {}
        self.processes: list[Process] = []
        self.violations: list[str] = []
        self.tolerated: Counter[str] = Counter()
        self.events: dict[str, int] = {}
        self.lines: list[str] = []
        self.going_on: set[asyncio.Task[Any]] = set()
        self._app = app
        self._faults = faults
        self._random = random
        self._start = start

    def log(self, line: str) -> None:
        self.lines.append(f"{time.monotonic():9.4f}  {line}")

    def violated(self, what: str) -> None:
        one = known(what, self._app, self._faults.weather)
        if one is not None and self.journals is None:
            self.log(f"TOLERATED: {what}")
            self.tolerated[one.name] += 1
            return
        self.log(f"VIOLATED: {what}")
        self.violations.append(what)

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Let something happen meanwhile."""
        task = asyncio.create_task(work)
        self.going_on.add(task)
        task.add_done_callback(self.going_on.discard)
        return task

    # What clients do

    async def connect(self, client: Client) -> bool:
        """Send the handshake; tell whether it was answered with 200."""
        self.clients[client.id] = client
        client.connected_at = time.time()
        raw = connect_event(client.id, query={"room": [client.room]})
        answer = await self._invoke("connect", client, raw)
        if not (isinstance(answer, dict) and answer.get("statusCode") == 200):
            client.refused = client.leaving = client.closed = True
            return False
        client.known_at = time.monotonic() + self._random.choice((0.0, 0.02, 0.1))
        return True

    async def say(self, client: Client, text: str, after: float = 0.0) -> None:
        """Send a message, whose event begins so many seconds later."""
        await asyncio.sleep(after)
        if await self._invoke("message", client, message_event(text, client.id)) is None:
            client.failed.add(text)

    def close(self, client: Client, code: int, reason: str) -> asyncio.Task[Any] | None:
        """End a connection; its $disconnect follows, as well as API Gateway manages."""
        if client.leaving:
            return None
        client.leaving = True
        early = self._faults.weather.disorder and self._random.random() < 0.3
        if early:
            asyncio.get_running_loop().call_later(0.05, setattr, client, "closed", True)
        else:
            client.closed = True
        return self.spawn(self._disconnect(client, code, reason, early=early))

    async def _disconnect(self, client: Client, code: int, reason: str, *, early: bool) -> None:
        how = "once"
        if self._faults.weather.disorder:
            how = self._random.choice(("once", "once", "twice", "twice", "never", "late"))
            self._faults.note(f"$disconnect {'early, ' if early else ''}{how}")
            # About when others find that the client is gone.
            await asyncio.sleep(self._random.choice((0.0, 0.0, 0.012, 0.016, 0.02, 0.024)))
        if how == "late":
            await asyncio.sleep(self._random.choice((0.2, 2.0, 10.0)))
        raw = disconnect_event(client.id, code, reason)
        if how == "twice":
            self.spawn(self._invoke("disconnect", client, raw))
            await asyncio.sleep(self._random.choice((0.0, 0.002, 0.004, 0.006, 0.5)))
        if how != "never":
            await self._invoke("disconnect", client, raw)

    async def sweep(self) -> None:
        """Let some process look for connections that are gone."""
        raw = {"longwire": "sweep", "rate": 1000, "min_age": 0}
        await self._invoke("sweep", None, raw)

    # What the processes do

    def answer(self, method: str, url: str, body: bytes) -> Response:
        """Answer a request to the management API."""
        connection_id = unquote(url.rpartition("/")[2])
        client = self.clients.get(connection_id)
        if client is None:
            self.violated(f"{method} for {connection_id}, which never was")
            return GONE
        self.log(f"{method} {client.id}: {body.decode()!r}{'' if client.is_known else ' (410)'}")
        if not client.is_known:
            client.misjudged = client.misjudged or not client.leaving
            return GONE
        if method == "DELETE":
            self.close(client, 1000, "Connection Closed Normally")
            return Response(204, {}, b"")
        if method == "GET":
            return Response(200, {}, json.dumps(INFO).encode())
        self._deliver(client, body.decode())
        return Response(200, {}, b"")

    def _deliver(self, client: Client, frame: str) -> None:
        event = now_in.get()
        if event is not None:
            event.posts += 1
        owner, kind, _ = frame.split(" ", 2)
        if frame in client.frames:
            self.violated(f"{client.id} got {frame!r} twice")
        if kind != "all" and owner not in (client.id, client.room):
            self.violated(f"{client.id}, in room {client.room}, got {frame!r}")
        client.frames.append(frame)

    def tell(self, process: Process, connection_id: str, code: int) -> None:
        """Note that an app was told of an end; what a dead process does nobody notices."""
        if process.dead:
            return
        client = self.clients[connection_id]
        self.log(f"{process.name}: the app is told that {client.id} has ended ({code})")
        client.told.append((process.name, code))
        if not client.leaving and client.known_at is not None:
            why = ", but was not known yet" if client.misjudged else ""
            self.violated(f"the app was told of the end of {client.id}, which is there{why}")
        if len(client.told) > 1:
            self.violated(f"the app was told of the end of {client.id} again: {client.told}")

    # With `replay`

    def heard(self, process: Process, connection_id: str, texts: tuple[str, ...]) -> None:
        """See that each message is handled once, in the order of the journal, by who knows all."""
        if process.dead or self.journals is None:
            return
        client, text = self.clients[connection_id], texts[-1]
        self.log(f"{process.name}: the app is given {texts} of {client.id}")
        if text in client.heard:
            self.violated(f"{text!r} of {client.id} was handled twice")
        known, wrong = self._journal(client), ""
        if not set(client.heard) <= set(texts):
            wrong = f"who was given {texts} of {client.id} does not know {client.heard}"
        elif known is not None and list(texts) != known[: len(texts)]:
            wrong = f"the app was given {texts} of {client.id}, but its journal says {known}"
        if wrong and at_once(self.journals.get(client.id)) is None:
            # It read the record before that had ended, or expired, and wrote its first entry after;
            # or its entries have expired, too, and another one is in their place.
            self.log(f"the connection of {client.id} had just ended")
            self.late += 1
        elif wrong:
            self.violated(wrong)
        client.heard.append(text)

    def _journal(self, client: Client) -> list[str] | None:
        """Return the messages of a client's journal; None when it has been dropped."""
        assert self.journals is not None
        entries, _ = self.journals._journals.get(client.id, ((), 0))
        read = [json.loads(entry) for entry in entries]
        return [entry[6] for entry in read if entry[1] == "M" and entry[5] == "text"] or None

    def windows(self) -> Counter[str]:
        """Count what a client notices of a process that has died, or of a store that fails."""
        seen: Counter[str] = Counter()
        seen["handled when the connection had just ended"] += self.late
        for client in self.clients.values():
            if self.journals is None or client.leaving is False:
                continue
            replied = {frame.split(" ")[2].split(".")[0] for frame in client.frames}
            for text in client.heard:
                seen["message handled"] += 1
                seen["its reply was lost"] += text not in replied
            seen["message of which the client is told that it failed"] += len(client.failed)
            seen["though it was handled"] += len(client.failed & set(client.heard))
        return seen

    # Events

    async def _invoke(self, kind: str, client: Client | None, raw: dict[str, Any]) -> Any:
        process = self._process()
        about = "" if client is None else client.id
        event = Event(kind, about)
        self.events[kind] = self.events.get(kind, 0) + 1
        if client is not None:
            raw["requestContext"]["connectedAt"] = int(client.connected_at * 1000)
            raw["requestContext"]["requestTimeEpoch"] = int(time.time() * 1000)
        calm = self._faults.weather.is_calm
        seconds = 10.0 if calm else self._random.choice((1.0, 2.0, 3.0))
        self.log(f"{process.name}: {kind} {about} {raw.get('body', '')!r}, {seconds:g} s")
        now_in.set(event)
        here.set(process)
        context = LambdaContext(seconds, started=time.monotonic())
        task = asyncio.create_task(process.handle(raw, context))
        here.set(None)
        await asyncio.wait(
            (task, process.died), timeout=seconds + LATE, return_when=asyncio.FIRST_COMPLETED
        )
        event.responded = True
        if process.dead:
            if task.done() and not task.cancelled():
                task.exception()  # nobody hears of it
            return None
        if not task.done():
            self.violated(f"{kind} {about} takes longer than its {seconds:g} s")
            return None
        return self._judged(event, process, task)

    def _judged(self, event: Event, process: Process, task: asyncio.Task[Any]) -> Any:
        about = f"{process.name}: {event.kind} {event.connection_id}"
        error = None if task.cancelled() else task.exception()
        if task.cancelled():
            self.violated(f"{about} was cancelled")
        elif error is None:
            self.log(f"{about} is answered {task.result()}")
            return task.result()
        elif isinstance(error, BackendError) and self._faults.of_store:
            self.log(f"{about} raised {error!r}")
        elif isinstance(error, DeadlineError):
            # Of an app, or of requests, that take too long: its client gets API Gateway's error
            # frame, and knows that its message was lost.
            self.log(f"{about} raised {error!r}")
        else:
            self.violated(f"{about} raised {error!r}")
        return None

    def _process(self) -> Process:
        free = [process for process in self.processes if process.is_free]
        if free and self._random.random() < 0.6:
            return self._random.choice(free)
        self.processes.append(self._start())
        return self.processes[-1]
