"""Generated cases, run: what must be so after each event, and at the end."""

from __future__ import annotations

import asyncio
import gc
import random as global_random
from collections import Counter
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire import Longwire
from longwire.apigateway import events
from longwire.exceptions import (
    BackendError,
    ConfigurationError,
    DeadlineError,
    EventError,
    LifespanError,
)
from tests.campaigns.fuzz import events as generated
from tests.campaigns.fuzz import scripts
from tests.campaigns.fuzz.api import FakeAPI
from tests.campaigns.fuzz.apps import App
from tests.campaigns.fuzz.judge import (
    id_of,
    is_from_mangum,
    listening,
    place_of,
    type_of,
    wrong_with,
)
from tests.campaigns.fuzz.scripts import OTHER
from tests.campaigns.fuzz.world import (
    Context,
    HangError,
    World,
    end_tasks,
    make_store,
)
from tests.talk import old_record

if TYPE_CHECKING:
    from pathlib import Path

    from longwire_backends import Backend
    from tests.campaigns.fuzz.cases import Case
    from tests.campaigns.fuzz.events import Sent

QUEUE: Any = {"queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/sends"}
DOCUMENTED = (EventError, LifespanError, BackendError, DeadlineError, ConfigurationError)
# With less time than this (seconds) left, a store may have none to answer in.
SHORT = 0.6
# What the rounds of a loop take of a world's time, and not of the real one.
SLACK = 0.2
# What an app that ignores its cancellation may take, in seconds.
UNWINDING = 2.2


class Report(NamedTuple):
    """What came of a case."""

    wrong: list[str]
    outcomes: Counter[str]


def run(case: Case, folder: Path) -> Report:
    """Run a case in a world of its own.

    Args:
        folder: for the files of stores.
    """
    world = World()
    global_random.seed(f"{case.seed}/{case.index}")
    outcomes: Counter[str] = Counter()
    with world.rules(), listening(world):
        try:
            outcomes = _Conversation(world, case, make_store(world, case.store, folder)).run()
        except HangError as hang:
            world.wrong.append(f"hangs: {hang}")
        for loop in world.loops:
            if not loop.is_closed():
                world.wrong.append("an event loop was left open")
                loop.close()
        gc.collect()  # so that whatever is left behind speaks up here
    return Report(world.wrong, outcomes)


class _Conversation:
    def __init__(self, world: World, case: Case, store: Backend) -> None:
        self._world = world
        self._case = case
        self._store = store
        self._api = FakeAPI(world, case.faults, Random(f"{case.seed}/{case.index}/api"))
        self._app = App(world, case.script, case.lifespan[1])
        self._handler = Longwire(
            self._app,
            ws_config={
                "backend": store,
                "linger": case.linger,
                "binary": case.binary,
                "api_gateway_endpoint_url": case.endpoint,
            },
            lifespan=case.lifespan[0],  # type: ignore[arg-type]
            http={"async": _answer, "sync": _answer_synchronously, "none": None}[case.http],
            fanout=QUEUE if case.fanout else None,
        )
        self._handler.transport = self._api
        self._outcomes: Counter[str] = Counter()
        # Whose events have failed, so that nobody knows what the store has of them.
        self._failed: set[str] = set()
        # What has to be gone at the end, and why.
        self._ended: dict[str, str] = {}

    def run(self) -> Counter[str]:
        called = self._case.called
        with self._world.runner() as runner:
            runner.run(self._prepare())
            for sent in self._case.sent[:called]:
                self._call(sent)
            if called:
                self._handler.close()
            runner.run(self._await(self._case.sent[called:]))
            runner.run(self._check_store())
            self._check_repeats()
        self._outcomes["posts"] = len(self._api.posts)
        self._outcomes["runs of the app"] = self._app.runs
        return self._outcomes

    async def _prepare(self) -> None:
        expires_at = int(self._world.time()) + 7800
        await self._store.put(OTHER, old_record(), expires_at)
        await self._store.group_add("blue", OTHER, expires_at)
        self._api.known.add(OTHER)
        await self._store.close()

    # One event

    def _call(self, sent: Sent) -> None:
        event, context, began = self._begin(sent)
        answer: Any = None
        error: BaseException | None = None
        try:
            answer = self._handler(event, context)
        except HangError:
            raise
        except BaseException as raised:
            error = raised
        self._judge(sent, event, answer, error, began)
        self._world.now += sent.pause

    async def _await(self, sent: tuple[Sent, ...]) -> None:
        going_on: set[asyncio.Task[None]] = set()
        for one in sent:
            task = asyncio.create_task(self._handle(one), name="fuzz event")
            going_on.add(task)
            if not one.at_once:
                await asyncio.wait(going_on)
                going_on.clear()
            await asyncio.sleep(one.pause)
        if going_on:
            await asyncio.wait(going_on)
        await asyncio.sleep(self._case.patience)
        await self._handler.aclose()
        await end_tasks(self._world)

    async def _handle(self, sent: Sent) -> None:
        if sent.damage is not None:
            await self._damage(sent.connection_id, sent.damage)
        event, context, began = self._begin(sent)
        answer: Any = None
        error: BaseException | None = None
        try:
            answer = await self._handler.handle(event, context)
        except BaseException as raised:
            error = raised
        self._judge(sent, event, answer, error, began)

    async def _damage(self, connection_id: str, value: str) -> None:
        """Write over a record what is none, or cut it short."""
        with suppress(BackendError):
            stored = await self._store.get(connection_id)
            if stored is not None:
                value = stored.value[:60] if value == "cut" else value
                await self._store.put(connection_id, value, stored.expires_at)

    def _begin(self, sent: Sent) -> tuple[Any, Context | None, float]:
        event = sent.event()
        match type_of(event):
            case "CONNECT":
                self._ended.pop(id_of(event), None)
            case "DISCONNECT":
                self._api.known.discard(id_of(event))
        context = None if sent.seconds is None else Context(self._world, sent.seconds)
        return event, context, self._world.now

    # What must be so

    def _judge(
        self, sent: Sent, event: Any, answer: Any, error: BaseException | None, began: float
    ) -> None:
        took = self._world.now - began
        allowed = 30.0 if sent.seconds is None else sent.seconds
        if took > allowed + SLACK:
            late = "late" if took <= allowed + self._case.linger + UNWINDING else "hanging"
            self._wrong(sent, f"was {late}: it took {took:.3g} s of {allowed:g} s")
        kind = type_of(event) if events.is_websocket_event(event) else sent.kind
        if error is not None:
            self._outcomes[f"{kind}: {type(error).__name__}"] += 1
            self._judge_error(sent, event, error)
            self._failed.add(id_of(event))
        elif events.is_websocket_event(event):
            for what in wrong_with(kind, answer):
                self._wrong(sent, what)
            status = answer["statusCode"] if isinstance(answer, dict) else 0
            self._outcomes[f"{kind}: {status}"] += 1
            if kind == "CONNECT" and status == 200:
                self._api.known.add(id_of(event))
            elif kind == "CONNECT" and self._opened()[id_of(event)] < 2:
                self._ended[id_of(event)] = f"its handshake was refused with {status}"
            elif kind == "DISCONNECT":
                self._ended[id_of(event)] = "it has disconnected"
        else:
            self._outcomes[f"{kind}: {type(answer).__name__}"] += 1

    def _judge_error(self, sent: Sent, event: Any, error: BaseException) -> None:
        if not isinstance(error, DOCUMENTED):
            if events.is_websocket_event(event) or not is_from_mangum(error):
                self._wrong(sent, f"raised {error!r:.300} at {place_of(error)}")
        elif sent.well_formed and not self._is_excused(sent, error):
            self._wrong(sent, f"raised {error!r:.300} for a well-formed event")

    def _is_excused(self, sent: Sent, error: BaseException) -> bool:
        short = sent.seconds is not None and sent.seconds < SHORT
        match error:
            case LifespanError():
                return self._case.lifespan[0] != "off"
            case BackendError() if short:
                return True
            case DeadlineError():  # of a message that its app has not come to wait for
                return sent.kind == "message"
        return sent.connection_id in generated.STRINGS

    async def _check_store(self) -> None:
        for post in self._api.posts:
            if post.connection_id != OTHER and not self._may_be_posted_to(post.connection_id):
                self._world.wrong.append(
                    f"{post.method} to {post.connection_id!r} was not asked for"
                )
        for connection_id, why in (self._closed() | self._ended).items():
            try:
                record = await self._store.get(connection_id)
                groups = await self._store.groups(connection_id)
            except BackendError:
                continue  # an id that this store cannot have
            if record is not None or groups:
                self._world.wrong.append(
                    f"{connection_id!r} is in the store though {why}: {record} {groups}"
                )
        await self._store.close()

    def _closed(self) -> dict[str, str]:
        """Return the connections that the handler itself has closed, and that are not back."""
        # Its app may have closed them, which ends them with their DISCONNECT only; or a message
        # before the handshake was over, which API Gateway does not let through.
        if "connections" in repr(self._case.script) or any(one.at_once for one in self._case.sent):
            return {}
        opened = self._opened()
        return {
            post.connection_id: "it was closed"
            for post in self._api.posts
            if post.method == "DELETE" and post.status == 204 and opened[post.connection_id] < 2
        }

    def _opened(self) -> Counter[str]:
        """Return how many handshakes each connection has had."""
        given = [sent.event() for sent in self._case.sent]
        return Counter([OTHER, *(id_of(one) for one in given if type_of(one) == "CONNECT")])

    def _check_repeats(self) -> None:
        """No frame of a greeting comes twice, and no end is told twice."""
        opened = self._opened()
        greetings = {text.encode() for text in scripts.greetings(self._case.script)}
        surely_not = (410, 429)  # these did not take it, so that it may be sent once more
        frames = Counter(
            (post.connection_id, post.body)
            for post in self._api.posts
            if post.body.partition(b"\n")[2] in greetings and post.status not in surely_not
        )
        for (to, frame), times in frames.items():
            if times > opened[to]:
                self._world.wrong.append(f"{times} times {to!r} was sent {frame!r:.100}")
        if not scripts.is_calm(self._case.script):
            return
        for connection_id, times in self._app.told.items():
            if times > opened[connection_id] and connection_id not in self._failed:
                self._world.wrong.append(f"the end of {connection_id!r} was told {times} times")

    def _may_be_posted_to(self, connection_id: str) -> bool:
        return connection_id in ("nobody", "b" * 15 + "=") or any(
            connection_id in (id_of(sent.event()), sent.connection_id * (sent.kind == "sqs"))
            for sent in self._case.sent
        )

    def _wrong(self, sent: Sent, what: str) -> None:
        self._world.wrong.append(f"{sent.kind} {what}")


async def _answer(event: Any, context: Any) -> Any:
    return {"statusCode": 204}


def _answer_synchronously(event: Any, context: Any) -> Any:
    return {"statusCode": 204}
