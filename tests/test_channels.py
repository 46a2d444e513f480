"""The channel layer: consumers hear of each other though none runs between two events."""

from __future__ import annotations

import asyncio
import datetime
import logging
import subprocess
import sys
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.test import override_settings

from longwire import Longwire
from longwire.asgi import noise
from longwire.channels import ChannelLayer, channel_of, connection_of
from longwire.exceptions import ConfigurationError
from longwire.testing import Closed, Gateway
from tests.channel_layers import LAYERS, app
from tests.connections_server import ConnectionsServer
from tests.lambda_events import LambdaContext
from tests.talk import Talk, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from longwire import WSConfig
    from longwire.testing import WebSocket

pytestmark = pytest.mark.anyio
MEMORY: WSConfig = {"backend": "memory", "params": {}, "linger": 0.1}


@pytest.fixture(autouse=True)
def _layers() -> Iterator[None]:
    with override_settings(CHANNEL_LAYERS=LAYERS):
        yield


@pytest.fixture(params=[False, True], ids=["plain", "replay"])
def gateway(request: pytest.FixtureRequest) -> Gateway:
    return Gateway(app, {**MEMORY, "replay": request.param})


@asynccontextmanager
async def _room(
    gateway: Gateway, number: int, path: str = "/chat/blue"
) -> AsyncIterator[list[WebSocket]]:
    """Enter a gateway, where so many clients are in a room."""
    async with gateway, AsyncExitStack() as stack:
        yield [await stack.enter_async_context(gateway.connect(path)) for _ in range(number)]


# Between consumers


async def test_a_message_to_a_group_reaches_all_its_members(gateway: Gateway) -> None:
    async with _room(gateway, 3) as (ann, bob, eve):
        async with gateway.connect("/chat/green") as zoe:
            await ann.send("all hi")
            for one in (ann, bob, eve):
                assert await one.receive(20) == "1 hi"
            await zoe.nothing()


async def test_a_consumer_of_threads_works_the_same(gateway: Gateway) -> None:
    async with _room(gateway, 3, "/sync/blue") as everybody:
        for one in everybody:
            await one.send_json({"message": "hi"})
            for other in everybody:
                assert await other.receive_json(20) == {"message": "hi"}


async def test_messages_of_one_event_come_in_order(gateway: Gateway) -> None:
    """Also to the sender itself, which goes on before any of them."""
    async with _room(gateway, 2) as (ann, bob):
        await ann.send("several 5")
        assert [(await bob.receive(20))[2:] for _ in range(5)] == list("01234")
        assert await ann.receive(20) == "sent"
        assert [(await ann.receive(20))[2:] for _ in range(5)] == list("01234")


async def test_a_channel_has_one_name_in_all_events_and_can_be_sent_to(gateway: Gateway) -> None:
    async with _room(gateway, 2) as (ann, bob):
        await bob.send("name")
        name = await bob.receive(20)
        await ann.send("all hi")
        assert (await bob.receive(20), await ann.receive(20)) == ("1 hi", "1 hi")
        await bob.send("name")
        assert await bob.receive(20) == name
        await ann.send(f"to {name} you alone")
        assert (await bob.receive(20))[2:] == "you alone"
        await ann.nothing()


async def test_consumers_that_answer_each_other_wait_for_nobody(gateway: Gateway) -> None:
    """The event of the first message goes on until all that follows from it is delivered."""
    async with _room(gateway, 4) as (ann, *others):
        await ann.send("tell answer")
        answers = sorted([(await ann.receive(20))[-6:] for _ in range(4)])
        assert answers == ["answer"] * 4  # one of them "told answer", by itself
        for one in others:
            await one.nothing()


async def test_a_consumer_may_wait_for_an_answer_by_a_channel_of_its_own(gateway: Gateway) -> None:
    """Whom it asks runs in the same process, at the same time."""
    async with _room(gateway, 2) as (ann, bob):
        await ann.send("ask")
        assert await ann.receive(20) == "answered here I am"
        await bob.nothing()


async def test_a_second_channel_in_a_group_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    async with _room(Gateway(app, MEMORY), 1) as (ann,):
        await ann.send("second")
        assert await ann.receive(20) == "joined"
    assert [one for one in caplog.messages if "is in group 'blue' in the memory" in one]


async def test_who_has_left_the_group_hears_no_more(gateway: Gateway) -> None:
    async with _room(gateway, 2) as (ann, bob):
        await bob.send("leave")
        await bob.send("name")
        await bob.receive(20)
        await ann.send("all hi")
        assert await ann.receive(20) == "1 hi"
        await bob.nothing()


async def test_the_others_hear_of_an_end(gateway: Gateway) -> None:
    async with _room(gateway, 2) as (ann, bob):
        await bob.close(4002)
        assert await ann.receive(20) == "1 bye 4002"


async def test_all_types_of_the_specification_arrive(gateway: Gateway) -> None:
    async with _room(gateway, 2) as (ann, bob):
        await ann.send("types")
        value = "{'type': 'chat.types', 'b': b'\\x00\\xff', 'l': [1, 2.5, None, True], "
        for one in (ann, bob):
            assert await one.receive(20) == value + "'d': {'x': {}}}"


async def test_a_handler_that_takes_longer_than_linger_is_not_cut_off(gateway: Gateway) -> None:
    """Its consumer waits for its client all the while, but has something to do."""
    async with _room(gateway, 2) as (ann, bob):
        await ann.send("tell slowly")
        for one in (bob, ann):
            assert await one.receive(20) == "slowly done"


async def test_what_a_consumer_keeps_in_variables_is_there_with_replay_alone() -> None:
    for replay, heard in ((False, ["1", "1", "1"]), (True, ["1", "2", "3"])):
        async with _room(Gateway(app, {**MEMORY, "replay": replay}), 2) as (ann, bob):
            for number in range(3):
                await ann.send(f"all {number}")
                assert await ann.receive(20) == f"{heard[number]} {number}"
                assert await bob.receive(20) == f"{heard[number]} {number}"


# While a connection begins


async def test_a_consumer_hears_itself_while_it_connects(gateway: Gateway) -> None:
    """As under a server: what comes before `accept` waits until its handler is through."""
    async with _room(gateway, 1, "/welcome") as (ann,):
        assert [await ann.receive(20), await ann.receive(20)] == ["early", "joined"]
        async with gateway.connect("/welcome") as bob:
            for one in (ann, bob):
                assert [await one.receive(20), await one.receive(20)] == ["early", "joined"]


async def test_what_it_heard_then_is_heard_again_without_effect() -> None:
    """The connect part is repeated with it, so that what it keeps is as it was."""
    async with _room(Gateway(app, MEMORY), 1, "/welcome") as (ann,):
        assert [await ann.receive(20), await ann.receive(20)] == ["early", "joined"]
        await ann.send("?")
        assert await ann.receive(20) == "seen 2"
        await ann.nothing()


# What goes wrong


async def test_one_consumer_that_raises_harms_no_other(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own connection ends, as under a server."""
    async with _room(gateway, 2) as (ann, bob):
        await ann.send("tell crash")
        assert await ann.receive(20) == "told crash"
        with pytest.raises(Closed):
            await bob.receive(20)
        raised = [one.exc_info[1] for one in caplog.records if one.exc_info]
        assert list(map(repr, raised)) == ["ValueError('as told')"]
        await ann.send("all hi")
        assert await ann.receive(20) in ("1 hi", "2 hi")


async def test_a_consumer_may_close_when_it_hears_something(gateway: Gateway) -> None:
    async with _room(gateway, 3) as (ann, bob, eve):
        await ann.send("tell close")
        assert await ann.receive(20) == "told close"
        for one in (bob, eve):
            with pytest.raises(Closed):
                await one.receive(20)


@pytest.mark.parametrize("replay", [False, True])
async def test_a_member_that_is_gone_is_told_and_leaves_the_group(
    caplog: pytest.LogCaptureFixture, replay: bool
) -> None:
    """Its consumer's `disconnect` is called, though it was about to send; nobody posts again."""
    async with talk(app, linger=0.1, replay=replay) as ann:
        bob = ann.another()
        for one in (ann, bob):
            await one.connect(query={"path": ["/chat/blue"]})
            await one.grow_old()
        bob.vanish()
        await ann.say("all hi")
        asked = [one for one in ann.server.requests if one[1] == bob.connection_id]
        await ann.say("all again")
        assert [one for one in ann.server.requests if one[1] == bob.connection_id] == asked
        assert {method for method, _, _ in asked} == {"POST"}
        assert sorted(one[2:] for one in ann.frames) == ["again", "bye 1006", "hi"]
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_a_member_without_a_record_is_left_out() -> None:
    async with talk(app) as ann:
        await ann.connect(query={"path": ["/chat/blue"]})
        backend = ann.handler._api.backend
        assert backend is not None
        await backend.group_add("blue", "ghost", int(time.time()) + 60)
        await ann.say("all hi")
        assert ann.frames == ["1 hi"]
        assert (await backend.group_members("blue")).members == (ann.connection_id,)


async def test_what_there_is_no_time_for_is_said_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The event ends in time, whatever consumers do."""
    async with talk(app, linger=0.1) as ann:
        others = [ann.another() for _ in range(30)]
        for one in (ann, *others):
            await one.connect(query={"path": ["/chat/blue"]})
        ann.seconds = 0.5
        await ann.say("tell for ever")
        late = [one for one in caplog.messages if one.startswith("a channel layer: no time")]
        assert late == ["a channel layer: no time was left for 10 messages"]
        ann.seconds = 20.0
        await ann.say("all hi")
        assert all(one.frames == ["1 hi"] for one in (ann, *others))


async def test_a_sender_of_which_many_are_told_reaches_all() -> None:
    """More than run at a time."""
    async with talk(app, linger=0.1) as ann:
        others = [ann.another() for _ in range(100)]
        for one in (ann, *others):
            await one.connect(query={"path": ["/chat/blue"]})
        await ann.say("all hi")
        assert all(one.frames == ["1 hi"] for one in (ann, *others))


async def test_the_capacity_of_a_channel_is_kept() -> None:
    layer = {"default": {**LAYERS["default"], "CONFIG": {"capacity": 3}}}
    with override_settings(CHANNEL_LAYERS=layer):
        async with _room(Gateway(app, MEMORY), 2) as (ann, bob):
            await ann.send("several 9")
            assert await ann.receive(20) == "sent"
            assert [(await ann.receive(20))[2:] for _ in range(3)] == list("012")
            await ann.nothing()
            got = [(await bob.receive(20))[2:] for _ in range(3)]
            assert got == list("012")


async def test_a_send_to_a_full_channel_raises() -> None:
    layer = {"default": {**LAYERS["default"], "CONFIG": {"capacity": 2}}}
    with override_settings(CHANNEL_LAYERS=layer):
        async with _room(Gateway(app, MEMORY), 2) as (ann, bob):
            await bob.send("name")
            name = await bob.receive(20)
            for _ in range(2):
                await ann.send(f"fill {name}")
                assert await ann.receive(20) == "full after 2"
                assert [(await bob.receive(20))[2:] for _ in range(2)] == ["0", "1"]


async def test_what_has_no_worker_here_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async with _room(Gateway(app, MEMORY), 1) as (ann,):
        await ann.send("to thumbnails a")
        await ann.send("to thumbnails b")
        await ann.send("name")
        await ann.receive(20)
    said = [one for one in caplog.messages if "thumbnails" in one]
    assert len(said) == 1
    assert "no worker" in said[0]


async def test_what_is_repeated_sends_nothing_more_to_who_is_in_memory() -> None:
    """Such as a task of the lifespan that does work."""
    layer = ChannelLayer()
    await layer.group_add("workers", "encoder")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await receive()
        await layer.send("thumbnails", {"type": "t"})
        await layer.group_send("workers", {"type": "t"})
        await send({"type": "websocket.accept"})
        try:
            while (await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": "ok"})
        finally:
            await layer.send("thumbnails", {"type": "over"})

    async with Gateway(app, MEMORY) as gateway, gateway.connect() as ann:
        for _ in range(2):
            await ann.send("hi")
            assert await ann.receive(20) == "ok"
    assert (layer.channels["thumbnails"].qsize(), layer.channels["encoder"].qsize()) == (2, 1)
    assert await layer.receive("thumbnails") == {"type": "t"}
    assert await layer.receive("thumbnails") == {"type": "over"}


async def test_another_layer_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Consumers would connect, and none would hear another, without a word."""
    noise._said.discard(("foreign layer", "default"))  # where a test before this one has led to it
    foreign = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    with override_settings(CHANNEL_LAYERS=foreign):
        async with talk(app) as ann:
            for one in (ann, ann.another()):
                await one.connect(query={"path": ["/chat/blue"]})
    said = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert len(said) == 1
    assert "a channels.layers.InMemoryChannelLayer, but nobody runs it" in said[0]
    assert "longwire.channels.ChannelLayer" in said[0]


# From elsewhere


@pytest.mark.parametrize("replay", [False, True])
async def test_an_http_event_of_the_same_function_reaches_consumers(replay: bool) -> None:
    """Also if its view is synchronous, as Django's are."""

    def http(event: dict[str, Any], context: object) -> dict[str, Any]:
        message = {"type": "chat.say", "text": event["text"]}
        async_to_sync(get_channel_layer().group_send)(event["room"], message)
        return {"statusCode": 202}

    async with ConnectionsServer(unknown_is_gone=True) as server:
        config: WSConfig = {**MEMORY, "replay": replay, "api_gateway_endpoint_url": server.url}
        handler = Longwire(app, ws_config=config, http=http)
        ann = Talk(handler, server, "ann")
        await ann.connect(query={"path": ["/chat/blue"]})
        event = {"version": "2.0", "room": "blue", "text": "by http"}
        assert await handler.handle(event, LambdaContext()) == {"statusCode": 202}
        await ann.until("1 by http")
        await handler.aclose()


async def test_a_thread_of_no_event_reaches_consumers() -> None:
    """It waits for them, as there is no event that would."""

    def work() -> None:
        message = {"type": "chat.say", "text": "by a thread"}
        async_to_sync(get_channel_layer().group_send)("blue", message)

    async with talk(app) as ann:
        await ann.connect(query={"path": ["/chat/blue"]})
        thread = threading.Thread(target=work)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert ann.frames == ["1 by a thread"]


# The specification: https://channels.readthedocs.io/en/stable/channel_layer_spec.html


async def test_a_channel_gives_each_message_to_one_reader_in_order() -> None:
    layer = ChannelLayer()
    for number in range(3):
        await layer.send("a.channel", {"type": "t", "number": number})
    got = [await layer.receive("a.channel") for _ in range(3)]
    assert got == [{"type": "t", "number": number} for number in range(3)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive("a.channel"), 0.01)


async def test_a_reader_that_waits_gets_what_is_sent_later() -> None:
    layer = ChannelLayer()
    waiting = asyncio.create_task(layer.receive("later"))
    await asyncio.sleep(0)
    await layer.send("later", {"type": "t"})
    assert await waiting == {"type": "t"}


async def test_a_new_channel_is_local_and_like_no_other() -> None:
    layer = ChannelLayer()
    one, two = await layer.new_channel(), await layer.new_channel("other")
    assert one != two
    assert "!" in one
    assert two.startswith("other")
    await layer.send(one, {"type": "t"})
    assert await layer.receive(one) == {"type": "t"}


async def test_groups_have_members_until_they_are_taken_out() -> None:
    layer = ChannelLayer()
    for channel in ("a", "b", "c"):
        await layer.group_add("g", channel)
    await layer.group_add("g", "a")  # once more is no error
    await layer.group_discard("g", "b")
    await layer.group_discard("g", "never")
    await layer.group_discard("no-group", "a")
    await layer.group_send("g", {"type": "t"})
    assert [await layer.receive(one) for one in ("a", "c")] == [{"type": "t"}] * 2
    for channel in ("a", "b", "c"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(layer.receive(channel), 0.01)


async def test_a_full_channel_refuses_and_a_group_leaves_it_out() -> None:
    layer = ChannelLayer(capacity=2, channel_capacity={"wide.*": 4})
    for channel, capacity in (("narrow", 2), ("wide.x", 4)):
        await layer.group_add("g", channel)
        for _ in range(capacity):
            await layer.send(channel, {"type": "t"})
        with pytest.raises(ChannelFull):
            await layer.send(channel, {"type": "t"})
    await layer.group_send("g", {"type": "t"})
    for _ in range(2):
        await layer.receive("narrow")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive("narrow"), 0.01)


async def test_what_has_expired_is_not_received() -> None:
    layer = ChannelLayer(expiry=-1)
    await layer.send("a", {"type": "t"})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive("a"), 0.01)


async def test_flush_drops_messages_and_groups() -> None:
    layer = ChannelLayer()
    await layer.send("a", {"type": "t"})
    await layer.group_add("g", "a")
    await layer.flush()
    await layer.group_send("g", {"type": "t"})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive("a"), 0.01)


async def test_flush_takes_connections_out_of_their_groups() -> None:
    async with talk(app) as ann:
        await ann.connect(query={"path": ["/chat/blue"]})
        await get_channel_layer().flush()
        await ann.say("all hi")
        assert ann.frames == []


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "x" * 100, 3, None, b"a"])
async def test_names_that_are_none_are_refused(name: Any) -> None:
    layer = ChannelLayer()
    for call in (
        layer.send(name, {"type": "t"}),
        layer.receive(name),
        layer.group_add(name, "a"),
        layer.group_add("g", name),
        layer.group_discard(name, "a"),
        layer.group_discard("g", name),
        layer.group_send(name, {"type": "t"}),
    ):
        with pytest.raises(TypeError):
            await call


async def test_a_group_is_no_channel_and_has_no_local_part() -> None:
    with pytest.raises(TypeError):
        await ChannelLayer().group_send("group!x", {"type": "t"})


@pytest.mark.parametrize("message", ["text", None, ["type"], 3])
async def test_a_message_must_be_a_dict(message: Any) -> None:
    layer = ChannelLayer()
    with pytest.raises(AssertionError):
        await layer.send("a", message)
    with pytest.raises(AssertionError):
        await layer.group_send("g", message)


@pytest.mark.parametrize(
    "value",
    [datetime.date(2026, 1, 1), {1}, object(), {("a", 1): 2}, "\ud800", [[{"x": {2}}]]],
)
async def test_what_could_not_be_written_down_is_refused(value: Any) -> None:
    """Also in memory, so that it is found before it is deployed."""
    layer = ChannelLayer()
    for call in (layer.send("a", {"v": value}), layer.group_send("g", {"v": value})):
        with pytest.raises(TypeError, match="a message of a channel layer"):
            await call


async def test_a_message_that_holds_itself_is_refused() -> None:
    message: dict[str, Any] = {"type": "t"}
    message["self"] = message
    with pytest.raises(TypeError):
        await ChannelLayer().send("a", message)


async def test_receivers_share_nothing_with_the_sender_or_each_other() -> None:
    layer = ChannelLayer()
    message = {"type": "t", "list": [1], "tuple": (1, 2)}
    for channel in ("a", "b"):
        await layer.group_add("g", channel)
    await layer.group_send("g", message)
    message["list"] = []
    one, two = await layer.receive("a"), await layer.receive("b")
    one["list"].append(2)
    assert two["list"] == [1]


def test_it_says_which_extensions_it_has() -> None:
    assert {"groups", "flush"} <= set(ChannelLayer.extensions)


# Behind the prefix: what no connection's id is escaped to.
NONE = [".D800.", ".110000.", ".FFFFFFFFFFFFFFFFFFFF.", ".41.", "a.b", "a b"]


@pytest.mark.parametrize("connection_id", ["L0SM9cOFvHcCIhw=", "a_b-c", "x/y+z==", "é.1.", "a!b"])
def test_the_name_of_a_connections_channel_leads_back_to_it(connection_id: str) -> None:
    name = channel_of(connection_id)
    assert ChannelLayer().require_valid_channel_name(name)
    assert connection_of(name) == connection_id


@pytest.mark.parametrize(
    "name",
    [
        "specific.inmemory!abc",
        "longwire.connection",
        *(f"longwire.connection!{one}" for one in NONE),
    ],
)
def test_other_names_are_no_connections(name: str) -> None:
    """Whatever a client may have made up."""
    assert connection_of(name) is None


def test_the_configuration_of_another_layer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'hosts' in CONFIG is for another layer"):
        ChannelLayer(hosts=[("127.0.0.1", 6379)])


async def test_a_connections_channel_needs_somebody_who_runs_its_consumer() -> None:
    code = (
        "import asyncio\n"
        "from longwire.channels import ChannelLayer, channel_of\n"
        "asyncio.run(ChannelLayer().send(channel_of('a'), {'type': 't'}))\n"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "ConfigurationError: nobody here can run the consumer of" in done.stderr
