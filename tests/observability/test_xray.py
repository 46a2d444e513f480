"""Which trace an event continues: AWS's header, in all the forms in which it comes."""

from __future__ import annotations

from typing import Any

import pytest

from longwire.observability.xray import Parent, parent_of

ROOT = "1-5759e988-bd862e3fe1be46a994272793"
OTHER = "1-6731ebfc-08e1e656421db73c5d2eef31"
TRACE = 0x5759E988BD862E3FE1BE46A994272793
SPAN = 0x53995C3F42CD8AD8
HALF = 0xE1BE46A994272793  # the last half of ROOT
FULL = f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1"


def _parent(header: object = None, variable: str | None = None) -> Parent | None:
    event = {} if header is None else {"headers": {"X-Amzn-Trace-Id": header}}
    return parent_of(event, variable)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (FULL, Parent(TRACE, SPAN, True)),
        # Nobody has decided, so it is sampled.
        (f"Root={ROOT};Parent=53995c3f42cd8ad8", Parent(TRACE, SPAN, True)),
        (f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=?", Parent(TRACE, SPAN, True)),
        # API Gateway's usual form.
        (f"Root={ROOT}", Parent(TRACE, HALF, True)),
        # A load balancer adds Self, Lambda adds Lineage; the order is free.
        (f"Self={OTHER};Root={ROOT}", Parent(TRACE, HALF, True)),
        (f" Sampled=1 ; Lineage=1:abc:0 ;Parent=53995C3F42CD8AD8; Root={ROOT.upper()}; ", None),
        ("Root=1-5759e988-bd862e3f0000000000000000", Parent(TRACE >> 64 << 64, 1, True)),
    ],
)
def test_a_header_is_continued(header: str, expected: Parent | None) -> None:
    """From the event, and likewise from Lambda's variable."""
    expected = expected or Parent(TRACE, SPAN, True)
    assert _parent(header) == expected
    assert _parent(variable=header) == expected


@pytest.mark.parametrize("rest", ["", ";Parent=53995c3f42cd8ad8"])
def test_only_the_header_of_the_event_can_say_not_to_sample(rest: str) -> None:
    """Lambda's variable says it in every function whose X-Ray is off."""
    text = f"Root={ROOT}{rest};Sampled=0"
    span_id = SPAN if rest else HALF
    assert _parent(text) == Parent(TRACE, span_id, False)
    assert _parent(text, FULL) == Parent(TRACE, SPAN, False)
    assert _parent(variable=text) == Parent(TRACE, span_id, True)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "secret",
        ";;=;",
        "Root=",
        "Root=2-5759e988-bd862e3fe1be46a994272793",
        "Root=1-5759e988-bd862e3fe1be46a99427279",
        "Root=1-5759e988-bd862e3fe1be46a99427279g",
        "Root=1-00000000-000000000000000000000000",
        "root=" + ROOT,
        f"Root={ROOT};Parent=xyz",
        f"Root={ROOT};Parent=",
        f"Root={ROOT};Sampled=yes",
        "x" * 100_000,
        7,
        ["Root=" + ROOT],
    ],
)
def test_a_malformed_header_is_as_good_as_none(header: Any) -> None:
    """Whoever sent it."""
    assert _parent(header) is None
    assert _parent(header, FULL) == Parent(TRACE, SPAN, True)


def test_nothing_tells_of_a_trace() -> None:
    """Off AWS."""
    assert _parent() is None
    assert parent_of("text", {}) is None
    assert parent_of({"headers": ["Root=" + ROOT]}, {}) is None
    assert parent_of({"headers": {7: "x", "Host": "h"}}, {}) is None


@pytest.mark.parametrize("name", ["X-Amzn-Trace-Id", "x-amzn-trace-id", "X-AMZN-TRACE-ID"])
def test_the_name_of_the_header_may_be_in_any_case(name: str) -> None:
    """A custom domain with mappings makes all of them lower case."""
    headers = {"Host": "h", name: FULL}
    assert parent_of({"headers": headers}, {}) == Parent(TRACE, SPAN, True)


@pytest.mark.parametrize(
    ("header", "variable", "expected"),
    [
        # What the header leaves open, the variable tells, if it is about the same trace.
        (f"Root={ROOT}", FULL, Parent(TRACE, SPAN, True)),
        (f"Root={ROOT}", FULL.replace("Sampled=1", "Sampled=0"), Parent(TRACE, SPAN, True)),
        (f"Root={ROOT}", FULL.replace(ROOT, OTHER), Parent(TRACE, HALF, True)),
        (f"Root={ROOT}", "secret", Parent(TRACE, HALF, True)),
        # What the header tells, it tells.
        (FULL, f"Root={ROOT};Parent=00000000000000aa;Sampled=0", Parent(TRACE, SPAN, True)),
        (f"Root={ROOT};Sampled=1", f"Root={ROOT};Sampled=0", Parent(TRACE, HALF, True)),
    ],
)
def test_the_header_comes_before_the_variable(header: str, variable: str, expected: Parent) -> None:
    """API Gateway knows the client's trace; the variable knows Lambda's part of it."""
    assert _parent(header, variable) == expected
