"""`longwire.once` and `ReplayFilter`: what an app with `replay` does not do, or say, twice."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import itertools
import json
import logging
import math
import random
from typing import TYPE_CHECKING, Any

import pytest

import longwire
from longwire import BackendError, Longwire, OnceError
from longwire.exceptions import DeadlineError, EventOverError
from longwire.testing import Gateway
from tests.cold import cold
from tests.invocation.test_connect import OK, websocket
from tests.talk import Talk, talk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.websockets import WebSocket

    from longwire import WSConfig

pytestmark = pytest.mark.anyio


class Shop:
    """Takes money: what nobody wants twice."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.fails = 0

    async def charge(self, what: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        if self.fails:
            self.fails -= 1
            raise TimeoutError("the card did not answer")
        self.taken.append(what)
        return {"receipt": len(self.taken)}


@pytest.fixture
def shop() -> Shop:
    return Shop()


def paying(shop: Shop) -> Any:
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            paid = await longwire.once("pay", lambda text=text: shop.charge(text))
            await ws.send_text(f"{text} {paid['receipt']}")

    return websocket(app)


async def test_what_was_paid_is_not_paid_again_in_another_process(shop: Shop) -> None:
    """Each message is handled by a process that repeats all before it."""
    async with cold(paying(shop)) as client:
        await client.connect()
        for text in "abc":
            assert await client.say(text) == OK
        assert client.frames == ["a 1", "b 2", "c 3"]
        assert shop.taken == ["a", "b", "c"]
        assert len(client.backend.results) == 3
        await client.leave()
        assert shop.taken == ["a", "b", "c"]
        assert await client.journal() == ()


async def test_a_kept_run_goes_on_and_keeps_what_it_gets(shop: Shop) -> None:
    """In the event that it goes on in; another process knows it then."""
    async with cold(paying(shop)) as client:
        await client.connect()
        await Talk.say(client, "a")
        await Talk.say(client, "b")
        await client.say("c")
        assert client.frames == ["a 1", "b 2", "c 3"]
        assert shop.taken == ["a", "b", "c"]


async def test_a_secret_of_the_connect_part_stays(shop: Shop) -> None:
    """A plain function; the app compares with what its first process has chosen."""

    async def app(ws: WebSocket) -> None:
        secret = await longwire.once("secret", random.random)
        await ws.accept()
        async for _ in ws.iter_text():
            await ws.send_text(str(secret))

    async with cold(websocket(app)) as client:
        await client.connect()
        await client.say("")
        await client.say("")
        assert len(set(client.frames)) == 1
        assert len(client.backend.results) == 1


@pytest.mark.parametrize("how", ["refuse", "return"])
async def test_a_connection_that_does_not_go_on_leaves_no_journal(how: str) -> None:
    async def app(ws: WebSocket) -> None:
        await longwire.once("id", lambda: 1)
        if how == "refuse":
            await ws.close()
        else:
            await ws.accept()

    async with cold(websocket(app)) as client:
        await client.connect()
        assert len(client.backend.results) == 1
        assert await client.journal() == ()


async def test_an_app_that_goes_on_after_it_has_refused_keeps_nothing(shop: Shop) -> None:
    """Nobody would drop it any more."""
    answered, done = asyncio.Event(), asyncio.Event()

    async def app(ws: WebSocket) -> None:
        await longwire.once("id", lambda: 1)
        await ws.close()
        await answered.wait()
        await longwire.once("report", lambda: shop.charge("report"))
        done.set()

    async with cold(websocket(app)) as client:
        assert await client.connect() != OK
        assert client.backend.dropped == 1
        answered.set()
        await done.wait()
        assert shop.taken == ["report"]
        assert len(client.backend.results) == 1
        assert await client.journal() == ()


async def test_the_connect_part_that_goes_on_behind_the_response_keeps_results_too(
    shop: Shop,
) -> None:
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await asyncio.sleep(0.01)
        await ws.send_json(await longwire.once("pay", lambda: shop.charge("entry")))
        async for _ in ws.iter_text():
            await ws.send_text("again")

    async with cold(websocket(app)) as client:
        await client.connect()
        await client.say("")
        await client.say("")
        assert shop.taken == ["entry"]
        assert client.frames[-2:] == ["again", "again"]


async def test_a_key_gives_its_results_in_order() -> None:
    """Several within one message, and other keys between them."""
    numbers = itertools.count()

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        seen = []
        async for _ in ws.iter_text():
            for _ in range(3):
                seen.append(await longwire.once("n", lambda: next(numbers)))
            seen.append(await longwire.once("other", lambda: next(numbers)))
            await ws.send_json(seen)

    async with cold(websocket(app)) as client:
        await client.connect()
        await client.say("")
        await client.say("")
        assert client.frames == ["[0,1,2,3]", "[0,1,2,3,4,5,6,7]"]


async def test_a_failure_is_raised_and_is_not_kept(shop: Shop) -> None:
    """A second try in the same message finds the result of that try when it is repeated."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            for _ in range(3):
                try:
                    paid = await longwire.once("pay", lambda text=text: shop.charge(text))
                except TimeoutError:
                    await ws.send_text("once more")
                else:
                    await ws.send_text(str(paid["receipt"]))
                    break

    async with cold(websocket(app)) as client:
        shop.fails = 1
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["once more", "1", "2"]
        assert shop.taken == ["a", "b"]


async def test_what_has_no_result_is_called_again_and_not_kept_in_a_replay(shop: Shop) -> None:
    """As after a failure: only a message's own event keeps what it gets."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            try:
                paid = await longwire.once(text, lambda text=text: shop.charge(text))
            except TimeoutError:
                await ws.send_text("sorry")
            else:
                await ws.send_text(str(paid["receipt"]))

    async with cold(websocket(app)) as client:
        shop.fails = 1
        await client.connect()
        await client.say("a")
        await client.say("b")
        await client.say("c")
        assert client.frames[0] == "sorry"
        assert shop.taken == ["a", "b", "a", "c"]
        assert len(client.backend.results) == 2


async def test_a_result_waits_for_the_message_that_came_meanwhile(shop: Shop) -> None:
    """What is asked for after it finds its own result again, though nothing is slow then."""
    asked = asyncio.Event()
    answers: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def model(what: str) -> str:
        shop.taken.append(what)
        asked.set()
        if what == "model":
            await answers
        return what

    async def app(ws: WebSocket) -> None:
        async def agent() -> None:
            for key in ("model", "tool"):
                seen.append(await longwire.once(key, lambda key=key: model(key)))
            await ws.send_json(seen)

        await ws.accept()
        seen: list[str] = []
        working = set()
        async for text in ws.iter_text():
            seen.append(text)
            if text == "go":
                working.add(asyncio.create_task(agent()))
                await asyncio.sleep(0.001)  # it receives after that one has asked
            else:
                await ws.send_json(seen)

    async with cold(websocket(app)) as client:
        await client.connect()
        going = asyncio.create_task(Talk.say(client, "go"))
        await asked.wait()
        await Talk.say(client, "1")
        await client.until('["go","1"]')
        answers.set_result(None)
        await going
        await client.say("2")
        assert client.frames[1:] == ['["go","1","model","tool"]', '["go","1","model","tool","2"]']
        assert shop.taken == ["model", "tool"]


async def test_an_app_that_asks_itself_meets_its_messages_in_order_again(shop: Shop) -> None:
    """Two came while it waited for the result, and it had received neither."""
    asked = asyncio.Event()
    answers: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def model() -> str:
        shop.taken.append("model")
        asked.set()
        return await answers

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        seen: list[Any] = []
        async for text in ws.iter_text():
            seen.append(text)
            if text == "go":
                seen.append(await longwire.once("model", model))
                seen.append(await longwire.once("tool", lambda: len(shop.taken)))
            await ws.send_json(seen)

    async with cold(websocket(app)) as client:
        await client.connect()
        going = asyncio.create_task(Talk.say(client, "go"))
        await asked.wait()
        more = [asyncio.create_task(Talk.say(client, text)) for text in "12"]
        while sum('"M"' in entry for entry in await client.journal()) < 3:
            await asyncio.sleep(0)
        answers.set_result("yes")
        await asyncio.gather(going, *more)
        await client.say("3")
        assert client.frames[-1] == '["go","yes",1,"1","2","3"]'
        assert shop.taken == ["model"]
        assert len(client.backend.results) == 2


@pytest.mark.parametrize("how", ["task for each", "one by one", "receives in a task"])
async def test_a_burst_finds_its_results_again(shop: Shop, how: str) -> None:
    """All use one key; a result is found by the message that its code has received."""

    async def app(ws: WebSocket) -> None:
        async def answer(text: str) -> None:
            for part in "xy":
                paid = await longwire.once("pay", lambda part=part: shop.charge(text + part))
                receipts[text + part] = paid["receipt"]
            await ws.send_text(text)

        receipts: dict[str, int] = {}
        working = set()
        await ws.accept()
        while True:
            receiving = ws.receive()
            if how == "receives in a task":
                receiving = asyncio.create_task(receiving)  # type: ignore[assignment]
            text = (await receiving).get("text")
            if text == "all":
                await ws.send_json(sorted(receipts.items()))
            elif text is None:
                return
            elif how == "task for each":
                working.add(asyncio.create_task(answer(text)))
            else:
                await answer(text)

    async with cold(websocket(app)) as client:
        await client.connect()
        await asyncio.gather(*(Talk.say(client, text) for text in "abcde"))
        assert sorted(client.frames) == list("abcde")
        charged = list(shop.taken)
        assert len(set(charged)) == len(charged) == 10
        await client.say("all")
        assert shop.taken == charged
        want = sorted((what, number) for number, what in enumerate(charged, 1))
        assert json.loads(client.frames[-1]) == [list(pair) for pair in want]


async def test_the_same_key_in_two_tasks_at_once_is_an_error() -> None:
    errors: list[OnceError] = []

    async def app(ws: WebSocket) -> None:
        async def ask() -> None:
            try:
                await longwire.once("k", lambda: asyncio.sleep(0.01))
            except OnceError as error:
                errors.append(error)

        await ws.accept()
        async for _ in ws.iter_text():
            await asyncio.gather(ask(), ask())
            await ws.send_text("done")

    async with cold(websocket(app)) as client:
        await client.connect()
        await client.say("")
        (error,) = errors
        assert error.key == "k"
        assert "give each a key of its own" in str(error)
        await client.say("")  # a replay says so, too
        assert len(errors) == 3


async def test_one_key_for_two_functions_is_an_error() -> None:
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            await longwire.once("k", lambda: 1)
            for factory in (lambda: 2, random.random, functools.partial(int, "7")):
                with pytest.raises(OnceError, match="two functions"):
                    await longwire.once("k", factory)
            for _ in range(2):
                await longwire.once("l", functools.partial(int, "7"))
            await ws.send_text("done")

    async with cold(websocket(app)) as client:
        await client.connect()
        await client.say("")
        await client.say("")
        assert client.frames == ["done", "done"]


class Colour(enum.StrEnum):
    RED = "red"


_endless: list[Any] = []
_endless.append(_endless)
SECRET = "s3cret"

deep: Any = SECRET
for _ in range(200):
    deep = [deep]
WRONG: dict[str, tuple[Any, str]] = {
    "nan": ([SECRET, math.nan], "not finite"),
    "set": ({SECRET}, "type set"),
    "bytes": (SECRET.encode(), "type bytes"),
    "keys": ({1: SECRET}, "keys that are no str"),
    "cycle": (_endless, "contains itself"),
    "surrogate": (SECRET + "\ud800", "surrogate"),
    "enum": (Colour.RED, "type Colour"),
    "in a tuple": (({SECRET},), "type set"),
    "deep": (deep, "levels deep"),
    "large": (SECRET * 50_000, "300002 bytes of JSON, over 262144"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_result_that_cannot_be_kept_is_an_error_everywhere(name: str) -> None:
    """Also where there is no replay, so that it is found before it matters."""
    value, reason = WRONG[name]
    with pytest.raises(OnceError, match=reason) as outside:
        await longwire.once("token", lambda: value)
    assert SECRET not in str(outside.value)
    assert outside.value.key == "token"

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            with pytest.raises(OnceError, match=reason):
                await longwire.once("token", lambda: value)
            await ws.send_text("said")

    async with cold(websocket(app)) as client:
        await client.connect()
        await client.say("")
        assert client.frames == ["said"]
        assert client.backend.results == []


@pytest.mark.parametrize(
    ("key", "factory", "reason"),
    [
        ("", dict, "must not be empty"),
        (5, dict, "not of type int"),
        ("\ud800", dict, "surrogate"),
        ("k", 5, "a callable without arguments: int"),
    ],
)
async def test_what_can_be_no_key_or_factory_is_an_error(
    key: Any, factory: Any, reason: str
) -> None:
    with pytest.raises(OnceError, match=reason):
        await longwire.once(key, factory)


async def test_a_coroutine_in_place_of_a_function_is_an_error() -> None:
    called = asyncio.sleep(0)
    with pytest.raises(OnceError, match="pass the function, and do not call it"):
        await longwire.once("k", called)  # type: ignore[call-overload]
    called.close()


RESULTS: tuple[Any, ...] = (
    None,
    True,
    0,
    -0.0,
    "\x00é😀",
    [],
    {"a": [1, {"b": None}]},
    (1, ("a",)),
)


async def test_a_result_is_the_same_live_and_repeated() -> None:
    """In type, too: what JSON gives back, also where nothing is kept."""
    seen: list[str] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            for number, result in enumerate(RESULTS):
                seen.append(repr(await longwire.once(str(number), lambda result=result: result)))

    async with cold(websocket(app)) as client:
        await client.connect()
        await client.say("")
        await client.say("")
        count = len(RESULTS)
        assert seen[:count] == seen[count : 2 * count] == seen[2 * count :]
        plain = [repr(await longwire.once("k", lambda one=one: one)) for one in RESULTS]
        assert plain == seen[:count]
        assert plain[-1] == "[1, ['a']]"


async def test_what_the_app_does_to_a_result_does_not_change_it() -> None:
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            cart = await longwire.once("cart", lambda: ["a"])
            cart.append("b")
            await ws.send_json(cart)

    async with cold(websocket(app)) as client:
        await client.connect()
        await client.say("")
        await client.say("")
        assert client.frames == ['["a","b"]'] * 2


async def test_a_thread_can_ask_by_its_loop(shop: Shop) -> None:
    """It inherits whose code it is."""

    async def app(ws: WebSocket) -> None:
        loop = asyncio.get_running_loop()

        def in_thread(text: str) -> dict[str, Any]:
            asked = longwire.once("pay", lambda: shop.charge(text))
            paid: dict[str, Any] = asyncio.run_coroutine_threadsafe(asked, loop).result()
            return paid

        await ws.accept()
        async for text in ws.iter_text():
            await ws.send_json(await asyncio.to_thread(in_thread, text))

    async with cold(websocket(app)) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert shop.taken == ["a", "b"]
        assert client.frames == ['{"receipt":1}', '{"receipt":2}']


async def test_two_handlers_on_a_file_share_it(shop: Shop, tmp_path: Path) -> None:
    """As two processes do."""
    app, params = paying(shop), {"file_path": str(tmp_path / "ws.sqlite3")}
    config: Any = {"replay": True, "backend": "sqlite3", "params": params}
    async with talk(app, **config) as client:
        config["api_gateway_endpoint_url"] = client.server.url
        other = Longwire(app, ws_config=config)
        await client.connect()
        await client.say("a")
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(other.aclose)
            for text in "bc":
                client.handler, other = other, client.handler
                await client.say(text)
            assert client.frames == ["a 1", "b 2", "c 3"]
            assert shop.taken == ["a", "b", "c"]


async def test_without_replay_it_calls(shop: Shop) -> None:
    """Each message runs the app from the top, with a connection of its own."""
    async with talk(paying(shop)) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["a 1", "b 2"]


async def test_it_works_in_tests_of_users(shop: Shop) -> None:
    config: WSConfig = {"backend": "memory", "replay": True}
    async with Gateway(paying(shop), ws_config=config) as gateway, gateway.connect() as ws:
        await ws.send("a")
        assert await ws.receive() == "a 1"
        await ws.send("b")
        assert await ws.receive() == "b 2"


async def test_a_result_whose_append_lost_its_answer_is_there_once(shop: Shop) -> None:
    async with cold(paying(shop)) as client:
        client.backend.faults.append(('"pay"', True))
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["a 1", "b 2"]
        assert shop.taken == ["a", "b"]
        assert len(client.backend.results) == 2


async def test_a_result_that_could_not_be_kept_is_not_returned(shop: Shop) -> None:
    """The store says why; nobody takes for done what the next event would not know."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            try:
                await longwire.once("pay", lambda text=text: shop.charge(text))
            except BackendError:
                await ws.send_text("unsure")

    async with cold(websocket(app)) as client:
        client.backend.faults.append(('"pay"', False))
        await client.connect()
        await client.say("a")
        assert client.frames == ["unsure"]


async def test_a_run_whose_turn_is_lost_gets_no_result(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process has taken it over meanwhile: this one stops, without effect."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        shop.taken.append("slow")
        asked.set()
        await answered.wait()
        return "late"

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            await ws.send_text(await longwire.once("slow", slow))

    async with cold(websocket(app)) as client:
        await client.connect()
        going = asyncio.create_task(client.say("a"))
        await asked.wait()
        # As of a process that has found its lease to be over.
        position = len(await client.journal()) + 1
        entry = f'[1,"L","other",{2**32},1,0]'
        await client.backend.append(client.connection_id, position, entry, 2**32)
        answered.set()
        with pytest.raises(DeadlineError):  # so its client is told
            await going
        assert client.frames == []
        assert not client.deleted
        assert "the app raised" not in caplog.text
        assert client.backend.results == []


async def test_an_app_that_cleans_up_may_not_ask(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """It may do so at the end of each event, in each process."""
    errors: list[BaseException] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        try:
            async for text in ws.iter_text():
                await ws.send_text(text)
        finally:
            try:
                await longwire.once("bill", lambda: shop.charge("bill"))
            except EventOverError as error:
                errors.append(error)

    async with cold(websocket(app)) as client:
        await client.connect()
        await client.say("a")
        await client.handler.aclose()
        assert len(errors) == 1
        assert shop.taken == []
        assert "longwire.once('bill') was asked for after its event was over" in caplog.text
        assert "test_replaying.py" in str(errors[0])


async def test_the_real_end_may_ask(shop: Shop) -> None:
    """Its number is that of the end, so that the last message's results are not its own."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            await longwire.once("pay", lambda: shop.charge("message"))
        await longwire.once("pay", lambda: shop.charge("end"))

    async with cold(websocket(app)) as client:
        await client.connect()
        await client.say("a")
        await client.leave()
        assert shop.taken == ["message", "end"]
        assert await client.journal() == ()


@pytest.mark.parametrize("number", [-1, 2, True, "1", None])
async def test_a_result_of_a_message_that_was_not_begun_with_is_no_entry(number: Any) -> None:
    from longwire.exceptions import StoredRecordError
    from longwire.replay.journal import Conversation, Result, once_entry

    with pytest.raises(StoredRecordError):
        Conversation().add(once_entry("me", Result(number, "k", 1)).text)


# What an app is told of it


def _replaying(ws: WebSocket) -> bool:
    told: bool = ws.scope["extensions"]["longwire"]["replaying"]
    return told


async def test_an_app_can_see_whether_it_only_repeats() -> None:
    seen: list[tuple[str, bool]] = []

    async def app(ws: WebSocket) -> None:
        def note(where: str) -> None:
            seen.append((where, _replaying(ws)))

        note("connect")
        await ws.accept()
        try:
            async for text in ws.iter_text():
                note(text)
            note("end")
        finally:
            note("finally")

    async with cold(websocket(app)) as client:
        await client.connect()
        assert seen == [("connect", False)]
        seen.clear()
        await Talk.say(client, "a")  # to the kept run
        assert seen == [("a", False)]
        seen.clear()
        await client.say("b")
        assert seen == [("connect", True), ("a", True), ("b", False)]
        seen.clear()
        await client.handler.aclose()
        assert seen == [("finally", True)]
        seen.clear()
        await client.leave()
        again = [("connect", True), ("a", True), ("b", True)]
        assert seen == [*again, ("end", False), ("finally", False)]


async def test_a_kept_run_is_told_so_too() -> None:
    """Whoever of it looks meanwhile, such as a thread."""
    scopes = []

    async def app(ws: WebSocket) -> None:
        scopes.append(ws)
        await ws.accept()
        async for text in ws.iter_text():
            await ws.send_text(f"{text} {_replaying(ws)}")

    async with cold(websocket(app)) as client:
        await client.connect()
        assert _replaying(scopes[0])
        await Talk.say(client, "a")
        assert _replaying(scopes[0])
        assert client.frames == ["a False"]


# The log


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.addFilter(longwire.ReplayFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def lines() -> Iterator[list[str]]:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler.lines
    logging.getLogger().removeHandler(handler)


logger = logging.getLogger("of.an.app")


async def _logs(ws: WebSocket) -> None:
    logger.warning("connect")
    await ws.accept()
    try:
        async for text in ws.iter_text():
            await asyncio.gather(
                asyncio.create_task(_log(f"task {text}")),
                asyncio.to_thread(logger.warning, "thread %s", text),
            )
        logger.warning("end")
    finally:
        logger.warning("finally")


async def _log(line: str) -> None:
    logger.warning(line)


async def test_the_filter_keeps_a_log_quiet_in_a_replay(lines: list[str]) -> None:
    """In tasks and threads, too; nothing is lost that happens for the first time."""
    async with cold(websocket(_logs)) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        await client.leave()
        assert len(lines) == 7
        assert set(lines[1:3]) == {"task a", "thread a"}
        assert set(lines[3:5]) == {"task b", "thread b"}
        assert [lines[0], *lines[5:]] == ["connect", "end", "finally"]


async def test_the_filter_is_quiet_without_replay_too(lines: list[str]) -> None:
    """There each event runs the connect part again, and cleans up."""
    async with talk(websocket(_logs)) as client:
        await client.connect()
        await client.say("a")
        await client.leave()
        assert set(lines) == {"connect", "task a", "thread a", "end", "finally"}
        assert len(lines) == 5


async def test_an_end_that_the_app_makes_is_in_the_log(lines: list[str]) -> None:
    """It cleans up once, and nobody runs it again."""

    async def app(ws: WebSocket) -> None:
        async def work() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                logger.warning("cleaned up")

        await ws.accept()
        async for text in ws.iter_text():
            if text == "close":
                working.add(asyncio.create_task(work()))
                await asyncio.sleep(0)
                await ws.close()
                return

    working: set[asyncio.Task[None]] = set()
    async with cold(websocket(app), linger=0) as client:
        await client.connect()
        await client.say("a")
        await client.say("close")
        assert client.deleted
        assert lines == ["cleaned up"]


def _too_late_in_a_cleanup() -> Any:
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive_text()
        finally:
            logger.warning("of the app")
            with contextlib.suppress(EventOverError):
                await longwire.once("filtered", dict)

    return websocket(app)


async def test_the_filter_lets_our_own_lines_pass(lines: list[str]) -> None:
    """They are for the app's author, and each is said once."""
    async with cold(_too_late_in_a_cleanup()) as client:
        await client.connect()
        await client.handler.aclose()
        (line,) = lines
        assert "longwire.once('filtered') was asked for after its event was over" in line


def test_the_filter_lets_pass_what_belongs_to_no_event(lines: list[str]) -> None:
    logger.warning("at import")
    assert lines == ["at import"]
