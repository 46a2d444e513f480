"""What happens at scale, played small: nobody is lost, no limit is passed, and the sums are right.

`make scale` plays it with a million.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from random import Random

import pytest

from tests.campaigns.scale import facts, money, report, scenarios
from tests.campaigns.scale.__main__ import main
from tests.campaigns.scale.bucket import Bucket, with_tail
from tests.campaigns.scale.functions import Function
from tests.campaigns.scale.gateway import Region
from tests.campaigns.scale.scenarios import Crowd, Reached
from tests.campaigns.scale.sqs import Queue

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs" / "large-groups.md"
FIVE = Function(at_once=5)
# As little as that most of what a few thousand want is over it.
TINY = Region(rate=300, burst=150)


def assert_all_accounted(found: Reached) -> None:
    """Everybody got it, once or more often, or is known to be gone or not to read."""
    assert found.once + found.twice + found.gone + found.slow == found.members
    assert found.lost == 0


# --- everybody ------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1_000, 4_001])
def test_everybody_is_reached_once(members: int) -> None:
    found = scenarios.reach(members, 1, FIVE)
    assert (found.once, found.twice, found.again, found.refused) == (members, 0, 0, 0)
    assert_all_accounted(found)


@pytest.mark.parametrize("at_once", [2, 1_000])
def test_nobody_is_lost_where_the_account_refuses_most(at_once: int) -> None:
    """Nor is anybody served twice; and no second has more than the limit."""
    region = Region(rate=800, burst=400)
    found = scenarios.reach(4_000, 2, Function(at_once=at_once), region=region)
    assert (found.once, found.twice, found.slow) == (4_000, 0, 0)
    assert found.refused > 100
    assert found.busiest <= region.rate + region.burst


def test_those_who_do_not_read_hold_nobody_up() -> None:
    """Who has left is told apart from them, and neither is tried again from the queue."""
    plain = scenarios.reach(4_000, 3, FIVE)
    found = scenarios.reach(4_000, 3, FIVE, crowd=Crowd(gone=0.01, slow=0.002))
    assert_all_accounted(found)
    assert found.gone > 20
    assert found.slow > 2
    assert (found.twice, found.again) == (0, 0)
    assert found.last < plain.last + 2.0


def test_a_tiny_account_takes_its_time_and_loses_nobody() -> None:
    """Parts whose time is up are handed out again, to those who are left."""
    found = scenarios.reach(3_000, 4, Function(at_once=5, timeout=8.0), region=TINY)
    assert_all_accounted(found)
    assert found.twice < 30  # whose post was under way when the time was up
    assert found.again > 0
    assert found.last > 180.0


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_crash_loses_nothing_that_the_queue_hands_out_again() -> None:
    found = scenarios.reach(4_000, 5, FIVE, kills=[0.5])
    assert_all_accounted(found)
    assert 0 < found.twice < money.PART
    assert found.again == 1
    assert 180.0 < found.last < 200.0


def test_lost_answers_make_some_get_it_twice_and_nobody_not_at_all() -> None:
    found = scenarios.reach(4_000, 6, FIVE, region=Region(loses=0.005))
    assert_all_accounted(found)
    assert 0 < found.twice < 60


def test_a_sender_that_is_killed_loses_what_it_has_not_queued() -> None:
    found = scenarios.reach(20_000, 7, FIVE, sender_dies=1)
    assert (found.once, found.twice, found.lost) == (10_000, 0, 10_000)


# --- the same, and in proportion ------------------------------------------------------------------


def test_the_same_seed_gives_the_same_figures() -> None:
    crowd = Crowd(0.01, 0.002)
    first, second, other = (
        scenarios.reach(2_500, seed, FIVE, crowd=crowd, kills=[0.5]) for seed in (8, 8, 9)
    )
    assert first == second
    assert first != other


def test_time_and_money_grow_with_the_members() -> None:
    """So what is left out of a play may be taken for the same again; starts are not counted."""
    few, more, many = (
        scenarios.reach(count, 10, Function(at_once=1)) for count in (2_000, 4_000, 8_000)
    )
    each = (more.last - few.last) / 2_000
    assert many.last == pytest.approx(more.last + 4_000 * each, rel=0.1)
    assert many.dollars == pytest.approx(4 * few.dollars, rel=0.02)


@pytest.mark.parametrize("audience", [10, 150])
def test_a_sample_of_a_chat_stands_for_all_of_it(audience: int) -> None:
    """Everybody gets each message once and in order; more messages cost the same, each."""
    few, many = (scenarios.talk(audience, count, 11) for count in (5, 30))
    assert few.wanting == many.wanting == 0
    formula = money.dollars(money.message(money.Load(1, audience=audience)))
    for said in (few, many):
        assert money.dollars(said.usage) == pytest.approx(formula, rel=0.1)


def test_money_of_a_send_is_the_formulas() -> None:
    found = scenarios.reach(5_000, 12, FIVE)
    formula = money.message(money.Load(1, audience=5_000)) + money.handshake(money.Load(1))
    assert found.dollars == pytest.approx(money.dollars(formula), rel=0.05)


# --- storms and sweeps ----------------------------------------------------------------------------


def test_all_come_back_at_the_rate_of_new_connections() -> None:
    found = scenarios.storm(900, 13, rooms=50, within=0.5)
    assert found.refused > 0
    assert found.failed == 0
    assert found.seconds >= (found.clients - facts.HANDSHAKES.value) / facts.HANDSHAKES.value


def test_sweeps_go_on_until_all_have_been_asked() -> None:
    """Each has time for a part only, and yet every ghost is found, once."""
    swept = scenarios.sweep(1_000, 14, gone=0.02, timeout=10.0, times=3)
    assert [each.incomplete is not None for each in swept] == [True] * 3
    assert all(each.checked < 500 for each in swept)
    world_gone = scenarios.sweep(1_000, 14, gone=0.02, rate=500.0)[0]
    assert world_gone.incomplete is None
    assert sum(each.gone for each in swept) == world_gone.gone > 10


# --- the models, and the page ---------------------------------------------------------------------


def test_a_bucket_lets_no_more_pass_than_its_rate_and_its_size() -> None:
    bucket, random, now = Bucket(100.0, 50.0), Random(1), 0.0
    passed = []
    for _ in range(20_000):
        now += random.expovariate(300.0)
        if bucket.take(now):
            passed.append(now)
    assert len(passed) == pytest.approx(now * 100.0 + 50.0, rel=0.01)
    for begin in range(int(now) - 1):
        assert sum(begin <= at < begin + 1 for at in passed) <= 150


def test_times_have_their_median_and_their_tail() -> None:
    random = Random(1)
    times = sorted(with_tail(random, 0.02) for _ in range(20_000))
    assert times[10_000] == pytest.approx(0.02, rel=0.03)
    assert times[19_800] == pytest.approx(0.02 * facts.TAIL.value, rel=0.1)


def test_a_message_comes_back_until_it_is_deleted_or_dead() -> None:
    now = 0.0
    queue = Queue(Random(1), lambda: now, visibility=10.0, receives=2)
    queue.request("SendMessageBatch", b'{"Entries":[{"Id":"0","MessageBody":"x"}]}')
    for begin in (0.0, 10.0):
        now = begin
        assert queue.receive() is not None
        assert queue.receive() is None
        assert queue.returns_at() == begin + 10.0
    now = 20.0
    assert queue.receive() is None
    assert len(queue.dead) == 1
    assert queue.is_empty


@pytest.mark.parametrize("table", report.TABLES, ids=lambda table: table.name)
def test_the_page_has_what_the_simulation_says(table: report.Table) -> None:
    """Of the small ones, or of all; other Pythons schedule a little else."""
    whole = "LONGWIRE_TEST_SCALE" in os.environ
    if not whole and table.name != "everybody":
        pytest.skip("LONGWIRE_TEST_SCALE is not set: it takes minutes")
    written = report.in_page(PAGE.read_text(encoding="utf-8"), table.name)
    played = list(table.rows(1, report.SIZES[-1] if whole else 10_000))
    assert len(played) == len(written) if whole else len(played) == 2
    for row, again in zip(written, played, strict=False):
        assert row[0] == again[0]
        for cell, other in zip(row[1:], again[1:], strict=True):
            assert number(cell) == pytest.approx(number(other), rel=0.15, abs=2), (row, again)


@pytest.mark.parametrize("table", report.TABLES, ids=lambda table: table.name)
def test_the_page_has_each_table_with_its_head(table: report.Table) -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = report.in_page(page, table.name)
    assert rows
    assert {len(row) for row in rows} == {len(table.head)}
    assert report.put_into(page, table.name, report.shown(table, rows)) == page


def number(cell: str) -> float:
    """Read the number in a cell of a table."""
    found = re.search(r"[0-9][0-9,.]*", cell)
    assert found is not None
    return float(found[0].replace(",", ""))


def test_the_command_prints_tables_and_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{report.mark('everybody')}\n\nMore.\n", encoding="utf-8")
    options = ["--seed", "3", "--most", "1000", "--table", "everybody", "--into", str(page)]
    assert main(options) == 0
    (row,) = report.in_page(page.read_text(encoding="utf-8"), "everybody")
    assert row[0] == "1,000"
    assert " | ".join(row) in capsys.readouterr().out
    assert page.read_text(encoding="utf-8").endswith("\n\nMore.\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--most", "0"], "--most"),
        (["--table", "chat", "--into", "nowhere.md"], "nowhere.md"),
        (["--table", "chat", "--into", "README.md"], "make scale: chat"),
    ],
)
def test_the_command_says_what_is_wrong_before_it_plays(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
