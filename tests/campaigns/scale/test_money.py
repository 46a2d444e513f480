"""The formulas of money: each against what our own code asks the models for, and by hand."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.campaigns.scale import facts, money
from tests.campaigns.scale.functions import Function
from tests.campaigns.scale.money import Load, Usage
from tests.campaigns.scale.world import World, ids

PAUSE = 5.0


def asked(world: World, before: Usage) -> Usage:
    """Return what was charged since then."""
    return world.usage() + before * -1.0


def assert_same(counted: Usage, formula: Usage) -> None:
    """Judge requests to the unit."""
    assert replace(counted, gb_seconds=0.0) == replace(formula, gb_seconds=0.0)
    assert_same_time(counted, formula)


def assert_same_time(counted: Usage, formula: Usage) -> None:
    """Judge Lambda's time, which has tails, and more so with few events."""
    far = 0.35 if counted.events >= 5 else 1.0
    assert counted.gb_seconds == pytest.approx(formula.gb_seconds, rel=far)


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize("audience", [2, 10, 300])
def test_a_conversation_costs_what_the_formulas_say(audience: int, *, replay: bool) -> None:
    said = 20
    world = World(1, replay=replay)
    charged: dict[str, Usage] = {}

    async def play() -> None:
        await world.connect("warm=")
        await world.leave("warm=")
        await asyncio.sleep(PAUSE)
        world.seat(ids(audience - 1))
        for name, times in (("connect", 1), ("say", said), ("leave", 1)):
            before = world.usage()
            for _ in range(times):
                text = ("x" * 200,) if name == "say" else ()
                await getattr(world, name)("me=", *text)
                await asyncio.sleep(PAUSE)
            charged[name] = asked(world, before)

    world.run(play)
    load = Load(1, said, audience, lifetime=1.0, replay=replay)
    # What it hears is not asked for by our code.
    heard = Usage(messages=1)
    assert_same(charged["connect"], money.handshake(load))
    formula = (money.message(load) + heard * -1.0) * said
    if replay:  # it looks into the journal for others the more often the longer it posts
        assert formula.reads <= charged["say"].reads <= formula.reads + 3 * said
        formula = replace(formula, reads=charged["say"].reads)
    assert_same(charged["say"], formula)
    assert_same(charged["leave"], money.end(load))


@pytest.mark.parametrize("audience", [1_001, 4_500])
def test_a_send_to_many_costs_what_the_formulas_say(audience: int) -> None:
    # One environment does it all, as each notes the API once a day.
    world = World(1, Function(at_once=1))
    charged: list[Usage] = []

    async def play() -> None:
        await world.connect("me=")
        world.seat(ids(audience - 1))
        await world.say("me=", "x" * 200)  # it notes the API, once a day, and warms up
        await world.source.run()
        await asyncio.sleep(PAUSE)
        before = world.usage()
        await world.say("me=", "x" * 200)
        await world.source.run()
        charged.append(asked(world, before))

    world.run(play)
    load = Load(1, audience=audience)
    assert_same(charged[0], money.message(load) + Usage(messages=-1))


def test_an_hour_is_the_sum_of_its_events_times_their_prices() -> None:
    """Written out by hand."""
    load = Load(100_000, messages=1.0, audience=10, lifetime=60.0)
    said = 100_000 * 60
    usage = money.hour(load)
    assert usage.messages == said * 11
    assert usage.minutes == 100_000 * 60
    assert usage.events == said + 2 * 100_000
    assert usage.reads == said * 2 + 100_000
    assert usage.writes == 100_000 * (4 + 2) + 100_000 * (2 + 2)
    bill = money.bill(usage)
    assert bill["API Gateway: messages"] == pytest.approx(66.0)
    assert bill["API Gateway: minutes"] == pytest.approx(1.5)
    assert bill["Lambda: events"] == pytest.approx(1.24)
    assert bill["DynamoDB: reads"] == pytest.approx(12.1 * 0.125)
    assert bill["DynamoDB: writes"] == pytest.approx(1.0 * 0.625)
    assert money.dollars(usage) == pytest.approx(sum(bill.values()))


def test_money_grows_with_connections_alone_and_with_replay() -> None:
    one, many = (money.dollars(money.hour(Load(count))) for count in (1_000, 1_000_000))
    assert many == pytest.approx(1_000 * one)
    assert money.dollars(money.hour(Load(1_000, replay=True))) > one


def test_x86_costs_more_and_a_big_message_counts_as_several() -> None:
    usage = Usage(gb_seconds=1e6)
    assert money.bill(usage, arm=False)["Lambda: time"] == facts.X86_PRICE.value
    assert money.bill(usage)["Lambda: time"] == facts.ARM_PRICE.value
    assert money.message(Load(1, size=33 * 1024)).messages == 2 * 11


def test_every_fact_says_where_it_is_from() -> None:
    known = [each for each in vars(facts).values() if isinstance(each, facts.Fact)]
    listed = [each for group in facts.SERVICES.values() for each in group]
    assert sorted(known) == sorted(listed)
    assert all(each.source for each in known if each.sure != "believed")
    assert all(each.source.startswith("https://") for each in known if each.sure == "document")
