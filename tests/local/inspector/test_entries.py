"""What the page is told of an event, and how much of it is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from longwire.local.inspector.entries import (
    MOST_FRAME_BYTES,
    MOST_FRAMES,
    MOST_OUTPUT,
    PREVIEW,
    PostedFrame,
    SeenEvent,
    as_json,
    conversation,
    detail,
    kind_of,
    status_of,
    summary,
)
from longwire.local.inspector.ring import Ring
from longwire.local.rules.errors import FunctionRaisedError
from longwire.local.rules.results import (
    HandshakeRefused,
    Outcome,
    Raised,
    Returned,
    TimedOut,
    Verdict,
)


def message(number: int = 1, body: str = "hi", connection_id: str = "a=") -> SeenEvent:
    context = {"eventType": "MESSAGE", "requestId": f"r{number}", "connectionId": connection_id}
    event = {"requestContext": context, "body": body, "isBase64Encoded": False}
    return SeenEvent(number, "MESSAGE", 1.0, connection_id, f"r{number}", event)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"requestContext": {"eventType": "CONNECT"}}, "CONNECT"),
        ({"requestContext": {"eventType": "DISCONNECT"}}, "DISCONNECT"),
        ({"type": "REQUEST", "methodArn": "a", "requestContext": {}}, "AUTHORIZER"),
        ({"version": "2.0", "requestContext": {"http": {"method": "GET"}}}, "HTTP"),
        ({"httpMethod": "GET", "requestContext": {}}, "HTTP"),
        ({"longwire": "sweep"}, "OTHER"),
        ([], "OTHER"),
    ],
)
def test_the_kind_of_an_event(event: Any, kind: str) -> None:
    assert kind_of(event) == kind


@pytest.mark.parametrize(
    ("outcome", "verdict", "app_error", "status", "tone"),
    [
        (Returned({"statusCode": 200}), None, None, "200", "ok"),
        (Returned({"statusCode": 200}), None, "KeyError", "200, raised KeyError", "bad"),
        (Returned({"statusCode": 403}), HandshakeRefused(403), None, "403", "warn"),
        (Raised(ValueError("x")), HandshakeRefused(502), None, "502, raised ValueError", "bad"),
        (Raised(FunctionRaisedError("KeyError", "x")), None, None, "raised KeyError", "bad"),
        (TimedOut(), None, None, "timed out", "bad"),
        (None, HandshakeRefused(401, "no token"), None, "401 no token", "warn"),
        (None, None, None, "no route", "warn"),
    ],
)
def test_what_became_of_it(
    outcome: Outcome | None, verdict: Verdict | None, app_error: str | None, status: str, tone: str
) -> None:
    one = message()
    one.outcome, one.verdict, one.app_error = outcome, verdict, app_error
    assert status_of(one) == (status, tone)


def test_an_http_event_needs_nothing_more() -> None:
    """It is told from its event alone."""
    http = {"method": "POST", "path": "/rooms"}
    event = {
        "version": "2.0",
        "rawPath": "/rooms",
        "rawQueryString": "a=b",
        "body": "hello",
        "requestContext": {"http": http, "requestId": "r"},
    }
    answer = {"statusCode": 201, "cookies": ["a=b"], "headers": {}, "body": ""}
    one = SeenEvent(1, "HTTP", 1.0, None, "r", event, outcome=Returned(answer))
    told = detail(one)
    assert (told["text"], told["status"], told["body"]) == ("POST /rooms?a=b", "201", "hello")
    one.outcome = Returned("a body alone")
    assert status_of(one) == ("200", "ok")
    one.outcome = Returned({"statusCode": 503})
    assert status_of(one) == ("503", "bad")


@pytest.mark.parametrize(
    ("effects", "status", "tone"),
    [
        (["Allow"], "Allow", "ok"),
        (["Deny", "Deny"], "Deny", "warn"),
        (["Allow", "Deny"], "answered", "ok"),
        (None, "answered", "ok"),
    ],
)
def test_what_an_authorizer_says(effects: list[str] | None, status: str, tone: str) -> None:
    policy = effects and {"Statement": [{"Effect": one} for one in effects]}
    one = SeenEvent(1, "AUTHORIZER", 1.0, event={"type": "REQUEST"})
    one.outcome = Returned({"principalId": "u", "policyDocument": policy})
    assert status_of(one) == (status, tone)


def test_the_list_has_a_beginning_and_the_details_have_all() -> None:
    one = message(body="x" * 5000)
    assert len(summary(one)["text"]) == PREVIEW
    assert detail(one)["body"] == "x" * 5000


def test_what_is_no_json_is_shown_all_the_same() -> None:
    one = message(body="\ud800")
    one.outcome = Returned({"statusCode": 200, "body": object(), "n": float("nan"), "b": b"\xff"})
    told = json.loads(as_json(detail(one)))
    assert told["body"] == "\ud800"
    assert told["answer"]["n"] == "NaN"
    assert told["answer"]["b"] == "\ufffd"


def test_frames_and_output_of_one_event_are_bounded() -> None:
    one = message()
    for _ in range(MOST_FRAMES + 5):
        one.add_frame(PostedFrame("a=", b"x", 200))
        one.add_output("y" * 1000)
    assert (len(one.frames), one.frames_left_out) == (MOST_FRAMES, 5)
    assert len("".join(one.output)) <= MOST_OUTPUT + 10
    two = message()
    two.add_frame(PostedFrame("a=", b"x" * (MOST_FRAME_BYTES + 1), 200))
    assert two.frames_left_out == 1


def test_the_ring_keeps_so_many() -> None:
    ring = Ring(most=3)
    gone = [one.number for number in range(1, 6) for one in ring.put(message(number))]
    assert gone == [1, 2]
    assert [one.number for one in ring] == [3, 4, 5]
    assert ring.of_request("r2") is None
    assert ring.of_request("r3") is ring.get(3)


def test_the_ring_keeps_so_many_bytes() -> None:
    """Also when an event grows after it came; the newest stays."""
    ring = Ring(most_bytes=50_000)
    entries = [message(number, "x" * 10_000) for number in range(1, 8)]
    for one in entries:
        ring.put(one)
    assert ring.bytes <= 50_000
    assert [one.number for one in ring] == [5, 6, 7]
    entries[-1].add_frame(PostedFrame("a=", b"z" * 300_000, 200))
    ring.put(entries[-1])
    assert [one.number for one in ring] == [7]
    ring.put(entries[0])  # what has gone does not come back
    assert [one.number for one in ring] == [7]
    ring.clear()
    assert (len(ring), ring.bytes) == (0, 0)


def test_an_answer_counts_whatever_its_form() -> None:
    """JSON without a status is a legal answer to HTTP."""
    entry = SeenEvent(1, "HTTP", 1.0)
    entry.outcome = Returned({"rows": [{"text": "x" * 1000} for _ in range(100)]})
    assert entry.size > 100_000


def test_a_replay_has_the_request_id_of_what_it_repeats() -> None:
    ring = Ring(most=2)
    first, again = message(1), message(2)
    again.request_id = first.request_id
    ring.put(first)
    ring.put(again)
    assert ring.of_request("r1") is again
    ring.put(message(3))
    assert ring.of_request("r1") is again


def test_a_conversation_has_what_others_have_sent() -> None:
    mine, other = message(1, "hi"), message(2, "to all", "b=")
    other.add_frame(PostedFrame("a=", b"to all", 200))
    other.add_frame(PostedFrame("a=", b"lost", 410))
    assert conversation([mine, other], "a=") == [
        {"n": 1, "out": True, "text": "hi"},
        {"n": 2, "text": "to all"},
    ]
