"""What goes wrong on purpose."""

from __future__ import annotations

from longwire.local.rules.faults import Faults


def test_messages_go_on_as_they_come() -> None:
    faults = Faults()
    assert [faults.order(text) for text in ("a", "b")] == [["a"], ["b"]]


def test_two_messages_change_places_once() -> None:
    faults = Faults(reorders=True)
    assert [faults.order(text) for text in ("a", "b", "c")] == [[], ["b", "a"], ["c"]]


def test_a_message_that_waits_in_vain_goes_on_in_the_end() -> None:
    faults = Faults(reorders=True)
    faults.order("a")
    assert (faults.rest(), faults.rest()) == (["a"], [])
