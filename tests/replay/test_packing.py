"""Messages of a channel layer in a journal."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from longwire.asgi.channel import channel_message, copied
from longwire.exceptions import StoredRecordError
from longwire.replay.journal import Conversation, Told, message_entry
from longwire.replay.packing import pack, unpack


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "t", "": "é\U0001f600\x00", "n": [0, -1, 1 << 63, 1.5, -0.0, True, None]},
        {b"\xff": b"", 1: [], 2: {}, "deep": [[{"a": {"b": [b"x"]}}]]},
        {"b": "x"},
        {"d": [1, 2]},
        {"f": "nan"},
        {"d": {"d": []}},
    ],
)
def test_a_message_comes_back_as_it_was(message: dict[Any, Any]) -> None:
    """Also one that looks like a packed value."""
    assert unpack(json.loads(json.dumps(pack(copied(message)), allow_nan=False))) == message


def test_a_float_that_json_lacks_comes_back() -> None:
    assert math.isnan(unpack(pack(math.nan)))
    assert unpack(pack([math.inf, -math.inf])) == [math.inf, -math.inf]


def test_a_journal_gives_it_back_among_the_clients() -> None:
    told = Told(1, channel_message({"type": "t", "data": b"\xff", "of": {1: None}}))
    conversation = Conversation()
    conversation.add(message_entry("me", 0.0, told).text)
    assert conversation.messages == [told]
    assert told.size > 0


@pytest.mark.parametrize(
    "data", ['{"d":[1]}', '{"x":1}', "[]", '"t"', '{"b":"*"}', '{"d":[{"d":1},2]}', "null"]
)
def test_an_entry_that_is_not_ours_is_refused(data: str) -> None:
    with pytest.raises(StoredRecordError, match="not one of ours"):
        Conversation().add(f'[1,"M","me",0.0,1,"channel",{data}]')
