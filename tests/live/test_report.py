"""The table, the files, the bill, and the comparison of conversations."""

from __future__ import annotations

import json

from tests.live import conversations, costs, extras, report
from tests.live.findings import judged, unmeasured
from tests.parity.play import MISSED

FINDINGS = [
    judged("a post", "soon", "40 ms", so=True, seconds=[0.04]),
    judged("a | pipe", "none", "1\n2", so=False),
    unmeasured("instances", "go on", "not there"),
]
RUN = report.Run("1.0", "eu-west-1", "3.13", "arm64", "2026-11-30T20:00:00+00:00")


def test_the_table_for_a_terminal() -> None:
    assert list(report.lines(FINDINGS)) == [
        "= a post: as assumed",
        "    assumed: soon",
        "    seen:    40 ms",
        "! a | pipe: otherwise",
        "    assumed: none",
        "    seen:    1 2",
        "? instances: not measured",
        "    assumed: go on",
        "    seen:    not there",
        "1 as assumed, 1 otherwise, 1 not measured",
    ]


def test_the_table_as_a_page() -> None:
    text = report.markdown(RUN, FINDINGS)
    assert "| a \\| pipe | none | 1 2 | otherwise |\n" in text
    assert "Longwire 1.0, eu-west-1, Python 3.13 on arm64" in text
    assert "none of it is AWS's" in report.markdown(RUN._replace(emulator=True), [])


def test_the_numbers() -> None:
    told = json.loads(report.as_json(RUN, FINDINGS))
    assert told["region"] == "eu-west-1"
    assert told["findings"][0]["numbers"] == {"seconds": [0.04]}


def test_the_bill_has_all_that_has_a_price() -> None:
    bill = costs.estimate(100, long=True, managed=True)
    assert costs.missing(costs.PRICES, bill) == set()
    assert costs.total(bill) < 1.0
    without = costs.estimate(100, long=False, managed=False)
    assert costs.missing(costs.PRICES, without) == {"Managed Instances hours"}
    assert costs.total(without) < 0.2


def test_conversations_are_compared() -> None:
    wanted = {"plain: a": ["1"], "plain: b": ["1", "2"], "plain: c": [MISSED], "other: a": ["1"]}
    heard = {"plain: a": ["1"], "plain: b": ["1", "x" * 300], "plain: c": ["1"], "other: a": ["1"]}
    one, other, none = conversations.judge(["plain", "other", "third"], wanted, heard)
    assert (one.verdict, one.seen) == ("otherwise", "1 of 2 are; not: b")
    assert one.numbers["differ"]["plain: b"]["here"] == [
        "1",
        f"{'x' * 100}... (300 characters)",
    ]
    assert other.verdict == "as assumed"
    assert none.verdict == "not measured"


def test_nothing_is_played_that_needs_replay_or_an_order() -> None:
    played = conversations.selected(["plain", "starlettes"])
    assert len(played) > 50
    assert all(script.ordered and not script.remembers for script in played.values())


def test_the_extras_have_what_can_be_measured() -> None:
    """SnapStart and instances only where they can be."""
    few = extras.template(extras.Extras("3.11", "arm64", snapstart=False))["Resources"]
    assert few.keys() == {"Table", "Ending", "Throttled", "ThrottledApi"}
    managed = extras.Managed(("subnet-1",), ("sg-1",))
    all_of_them = extras.template(extras.Extras("3.13", "arm64", managed=managed))["Resources"]
    more = {"Snap", "SnapApi", "Instances", "Managed", "ManagedApi"}
    assert all_of_them.keys() == few.keys() | more
    routes = all_of_them["SnapApi"]["Properties"]["Routes"]
    assert routes["$connect"]["FunctionArn"] == {"Ref": "Snap.Alias"}
    for name in ("Throttled", "Snap", "Managed"):
        (policy,) = all_of_them[name]["Properties"]["Policies"]
        post = policy["Statement"][0]["Resource"]["Fn::Sub"]
        assert post.endswith(f":${{{name}Api}}/live/*/@connections/*")
