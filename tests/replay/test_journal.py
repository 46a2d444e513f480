"""What the entries of a journal say, one by one, and what is no journal of ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from longwire.asgi.inbox import CHANNEL_MESSAGE
from longwire.exceptions import RecordVersionError, StoredRecordError
from longwire.replay import journal
from longwire.replay.journal import (
    LEASE_TIME,
    Conversation,
    FramesSent,
    KeptResult,
    Result,
    Told,
)

if TYPE_CHECKING:
    from longwire.types import Message

END = Told(7, {"type": "websocket.disconnect", "code": 1001, "reason": "bye"})


def text(what: str, at: int = 1) -> Told:
    return Told(at, {"type": "websocket.receive", "text": what})


def message_entry(*parts: Any) -> str:
    return journal.message_entry(*parts).text


def lease_entry(*parts: Any) -> str:
    return journal.lease_entry(*parts).text


def rest_entry(*parts: Any, **more: Any) -> str:
    return journal.rest_entry(*parts, **more).text


def once_entry(owner: str, result: Result) -> str:
    return journal.once_entry(owner, result).text


def read(*entries: str) -> Conversation:
    conversation = Conversation()
    for entry in entries:
        conversation.add(entry)
    return conversation


def state(conversation: Conversation) -> tuple[Any, ...]:
    """Return all that may change."""
    return (
        conversation.position,
        conversation.size,
        list(conversation.messages),
        {key: list(kept) for key, kept in conversation.results.items()},
        dict(conversation.sent),
        list(conversation.given),
        dict(conversation.rested),
        conversation.owner,
        conversation.until,
    )


# Messages


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.receive", "text": ""},
        {"type": "websocket.receive", "text": "héllo \N{GRINNING FACE} \u2028"},
        {"type": "websocket.receive", "text": "\x00\x01\x7f" * 40_000},
        {"type": "websocket.receive", "text": "half of a pair: \ud83d"},
        {"type": "websocket.receive", "text": '"\\' * 60_000},
        {"type": "websocket.receive", "bytes": b""},
        {"type": "websocket.receive", "bytes": bytes(range(256)) * 512},
        {"type": "websocket.disconnect", "code": 1006, "reason": ""},
    ],
    ids=["empty", "unicode", "control", "surrogate", "quotes", "no bytes", "bytes", "end"],
)
def test_a_message_comes_out_as_it_went_in(message: Message) -> None:
    entry = message_entry("a", 0.0, Told(5, message))

    assert read(entry).messages == [Told(5, message)]
    assert entry.encode()  # no store is asked to keep half of a surrogate pair
    assert len(entry) <= 128 * 1024 * 4 / 3 + 200


def test_a_message_without_a_lease_waits_for_who_has_the_turn() -> None:
    conversation = read(message_entry("a", 10.0, text("one")), message_entry("b", 0.0, text("two")))

    assert (conversation.owner, conversation.until) == ("a", 10.0)
    assert (conversation.begun, conversation.waiting) == (1, 1)
    assert [given.at for given in conversation.given] == [10.0 - LEASE_TIME]
    assert [conversation.number_of(owner) for owner in "abc"] == [1, 2, None]


def test_an_end_is_known_as_one() -> None:
    assert read(message_entry("a", 0.0, END)).messages[0].is_end
    assert not read(message_entry("a", 0.0, text("end"))).messages[0].is_end


# Turns


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.receive", "text": 'half \ud83d, and "quotes"'},
        {"type": "websocket.receive", "bytes": b"\x00"},
        {"type": CHANNEL_MESSAGE, "message": {"type": "a.b", "of": [b"", {"n": 0.5}]}},
    ],
    ids=["text", "bytes", "channel"],
)
@pytest.mark.parametrize("sent", [None, FramesSent(2, "0f")], ids=["not compared", "compared"])
def test_who_appends_an_entry_knows_the_same_as_who_reads_it(
    message: Message, sent: FramesSent | None
) -> None:
    entries = (
        journal.lease_entry("a", 9.5, 0),
        journal.rest_entry("a", 0, 7.25, 1, how="parked"),
        journal.message_entry("b", 10.1, Told(5, message)),
        journal.once_entry("b", Result(1, "key", {"n": [1]})),
        journal.message_entry("c", 0.0, END),
        journal.lease_entry("b", 20.0, 2, 3),
        journal.rest_entry("b", 2, 19.3, 4, sent),
    )
    here, elsewhere = Conversation(), Conversation()
    for entry in entries:
        here.add_own(entry)
        elsewhere.add(entry.text)
        assert state(here) == state(elsewhere)


def test_a_lease_keeps_a_turn_or_begins_with_the_next_message() -> None:
    conversation = read(
        message_entry("a", 10.0, text("one")),
        lease_entry("a", 12.0, 1),
        message_entry("b", 0.0, text("two")),
        lease_entry("a", 14.0, 2),
    )

    assert (conversation.owner, conversation.until, conversation.begun) == ("a", 14.0, 2)
    assert [given.at for given in conversation.given] == [10.0 - LEASE_TIME, 14.0 - LEASE_TIME]
    assert conversation.waiting == 0


def test_whoever_appends_a_lease_has_the_turn() -> None:
    conversation = read(
        message_entry("a", 10.0, text("one")),
        message_entry("b", 0.0, text("two")),
        lease_entry("b", 20.0, 2),
    )

    assert (conversation.owner, conversation.begun) == ("b", 2)
    with pytest.raises(StoredRecordError):
        conversation.add(rest_entry("a", 2, 0.0, 0))


def test_after_a_rest_it_is_nobodys_turn() -> None:
    conversation = read(
        message_entry("a", 10.0, text("one")),
        rest_entry("a", 1, 8.0, 3, FramesSent(3, "abc"), how="parked"),
    )

    assert (conversation.owner, conversation.until, conversation.begun) == ("", 0.0, 1)
    assert conversation.sent == {1: FramesSent(3, "abc")}
    assert conversation.rested == {0: "busy", 1: "parked"}
    conversation.add(message_entry("b", 20.0, text("two")))
    assert (conversation.owner, conversation.begun) == ("b", 2)


def test_a_connect_step_that_goes_on_has_rested_once_it_says_so() -> None:
    going_on = read(lease_entry("a", 10.0, 0))
    assert going_on.rested == {}
    assert (going_on.owner, going_on.begun, going_on.given) == ("a", 0, [])

    going_on.add(rest_entry("a", 0, 0.0, 0, how="parked"))
    assert going_on.rested == {0: "parked"}


def test_results_are_of_the_turns_owner_and_of_messages_that_were_begun_with() -> None:
    conversation = read(
        message_entry("a", 10.0, text("one")),
        once_entry("a", Result(1, "id", {"n": 5})),
        message_entry("b", 0.0, text("two")),
        lease_entry("a", 12.0, 2),
        once_entry("a", Result(1, "late", None)),
        once_entry("a", Result(2, "id", 6)),
    )

    assert conversation.results == {
        (1, "id"): [KeptResult({"n": 5}, 1)],
        (1, "late"): [KeptResult(None, 2)],
        (2, "id"): [KeptResult(6, 2)],
    }


def test_the_connect_part_has_results_without_a_turn() -> None:
    conversation = read(once_entry("a", Result(0, "id", 1)), once_entry("a", Result(0, "id", 2)))
    assert conversation.results == {(0, "id"): [KeptResult(1, 0), KeptResult(2, 0)]}


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), {"deep": float("inf")}])
def test_a_result_that_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        once_entry("a", Result(1, "id", value))


def test_until_a_turn_was_taken_over_the_app_may_have_gone_on() -> None:
    """What it may have sent is not sent again, though the next message had come long before."""
    conversation = read(
        message_entry("a", 10.0, text("one")),
        message_entry("b", 0.0, text("two", at=8_000)),
        lease_entry("b", 20.0, 2),
        rest_entry("b", 2, 17.0, 5, how="parked"),
        message_entry("c", 30.0, text("three", at=18_000)),
    )

    arrived = [given.arrived_at for given in conversation.given]
    assert arrived[1] == 20.0 - LEASE_TIME
    assert arrived[2] > arrived[1]

    connecting = read(lease_entry("a", 10.0, 0), message_entry("b", 20.0, text("one", at=8_000)))
    assert connecting.given[0].arrived_at == 20.0 - LEASE_TIME


# What is not ours

ONE = message_entry("a", 10.0, text("one"))
BAD = {
    "nothing": "",
    "torn": ONE[:-5],
    "no list": '{"v":1}',
    "empty": "[]",
    "a number": "1",
    "null": "null",
    "deep": "[" * 100_000,
    "deep inside": ONE[:-7] + "[" * 100_000,
    "another kind": '[1,"X","a",1]',
    "a kind that is no text": '[1,[],"a",1]',
    "nobody's": '[1,"L","",10.0,0]',
    "an owner that is no text": '[1,"L",5,10.0,0]',
    "a message without text": '[1,"M","b",0.0,1,"text",5]',
    "a message of an unknown form": '[1,"M","b",0.0,1,"xml","<a/>"]',
    "a message with bad base64": '[1,"M","b",0.0,1,"bytes","*"]',
    "a message with half of its bytes": '[1,"M","b",0.0,1,"bytes","AAA"]',
    "a message that is no UTF-8": '[1,"M","b",0.0,1,"utf-8","/w=="]',
    "a message with too much": '[1,"M","b",0.0,1,"text","a","b","c"]',
    "a message without a time": '[1,"M","b",0.0,null,"text","a"]',
    "a message of no time": '[1,"M","b",0.0,-1,"text","a"]',
    "a message of a time that no clock shows": f'[1,"M","b",0.0,1{"0" * 400},"text","a"]',
    "a lease until a time that no clock shows": f'[1,"L","a",1{"0" * 400},1,0]',
    "a lease that counts no frames": '[1,"L","a",20.0,1]',
    "a rest at a time that no clock shows": f'[1,"R","a",1,"parked",2.0,1{"0" * 400},4]',
    "an end with a code that is no number": '[1,"M","b",0.0,1,"end","1000",""]',
    "an end without a code": '[1,"M","b",0.0,1,"end"]',
    "a lease that is no number": '[1,"L","a","x",1]',
    "a lease of an earlier message": lease_entry("a", 20.0, 0),
    "a lease of a message that never came": lease_entry("a", 20.0, 2),
    "a lease of less than nothing": lease_entry("a", 20.0, -1),
    "a rest after another message": rest_entry("a", 0, 0.0, 0),
    "a rest of somebody else's": rest_entry("b", 1, 0.0, 0),
    "a rest with too much": '[1,"R","a",1,"parked",1,1,1,1,"x",2]',
    "a rest that does not say how": '[1,"R","a",1]',
    "a result of somebody else's": once_entry("b", Result(1, "id", 5)),
    "a result of a message that never came": once_entry("a", Result(2, "id", 5)),
    "a result of less than nothing": once_entry("a", Result(-1, "id", 5)),
    "a result without a key": '[1,"O","a",1,null,5]',
    "the same message once more": message_entry("a", 0.0, text("one")),
}


@pytest.mark.parametrize("entry", BAD.values(), ids=BAD)
def test_what_is_not_ours_is_told_and_changes_nothing(entry: str) -> None:
    conversation = read(ONE)
    before = state(conversation)

    with pytest.raises(StoredRecordError, match="entry 2 of its journal is not one of ours"):
        conversation.add(entry)
    assert state(conversation) == before


def test_a_turn_may_not_leave_out_messages() -> None:
    conversation = read(ONE, message_entry("b", 0.0, text("two")))

    with pytest.raises(StoredRecordError):
        conversation.add(message_entry("c", 20.0, text("three")))


def test_another_version_says_so() -> None:
    parts = json.loads(ONE)

    with pytest.raises(RecordVersionError, match="version 2, not 1"):
        read(json.dumps([2, *parts[1:]]))
    with pytest.raises(RecordVersionError, match="version None"):
        read('[null,"M","a"]')


def test_an_error_does_not_show_what_clients_have_said() -> None:
    with pytest.raises(StoredRecordError) as caught:
        read('[1,"M","b",0.0,1,"text",["a password"]]')
    assert "password" not in str(caught.value)
    assert caught.value.__cause__ is None
