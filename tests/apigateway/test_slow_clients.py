"""What a 429 means: one client that does not read, or too many requests. No clock, no socket."""

from __future__ import annotations

from longwire.apigateway import slow_clients
from longwire.apigateway.slow_clients import (
    FORGOTTEN_AFTER,
    SEVERAL,
    SlowClients,
    Throttled,
    patient_until,
)


def test_patience_counts_from_the_first_refusal() -> None:
    """Whatever asks: all requests about one client share it."""
    slow = SlowClients(2.0)
    assert slow.refused("a", 10.0) == Throttled(12.0, crowded=False)
    assert slow.refused("a", 11.9) == Throttled(12.0, crowded=False)


def test_who_has_used_it_up_gets_no_more() -> None:
    """For as long as it is refused; each request is one attempt."""
    slow = SlowClients(2.0)
    slow.refused("a", 10.0)
    for now in (12.0, 12.1, 60.0, 119.0, 178.0):
        assert slow.refused("a", now) == Throttled(now, crowded=False)


def test_who_was_served_has_patience_again() -> None:
    """A success says that it reads; so does time, when nobody has asked."""
    slow = SlowClients(2.0)
    slow.refused("a", 10.0)
    slow.refused("a", 12.0)
    slow.served("a")
    assert not slow.known
    assert slow.refused("a", 13.0).until == 15.0
    slow.refused("a", 15.0)
    later = 15.0 + FORGOTTEN_AFTER
    assert slow.refused("a", later).until == later + 2.0


def test_no_patience_is_a_single_attempt() -> None:
    """`slow_client` may be 0."""
    assert SlowClients(0.0).refused("a", 10.0) == Throttled(10.0, crowded=False)


def test_several_different_ones_in_a_row_are_too_many_requests() -> None:
    """Patience counts from then on for all who had some left."""
    slow = SlowClients(2.0)
    slow.refused("used up", 1.0)
    slow.refused("used up", 5.0)
    slow.served("other")
    for number in range(SEVERAL - 1):
        assert not slow.refused(f"c{number}", 10.0 + number).crowded
    assert slow.refused("last", 12.0) == Throttled(14.0, crowded=True)
    assert slow.refused("next", 12.5) == Throttled(14.5, crowded=True)
    assert slow.refused("c0", 13.0) == Throttled(14.5, crowded=False)
    assert slow.refused("used up", 13.0) == Throttled(13.0, crowded=False)


def test_one_client_is_never_several() -> None:
    """Nor are a few, however often they are refused: only who was served before is news."""
    slow = SlowClients(2.0)
    judged = [slow.refused(f"c{number % 2}", 10.0 + number / 10) for number in range(100)]
    assert not any(one.crowded for one in judged)


def test_a_success_in_between_says_that_not_all_are_refused() -> None:
    """So a tenth that does not read slows nobody down."""
    slow = SlowClients(2.0)
    for number in range(1000):
        if number % 3:
            assert not slow.refused(f"c{number}", 10.0).crowded
        else:
            slow.served(f"c{number}")
    assert slow.refused("c1", 12.0).until == 12.0


def test_only_so_many_are_remembered() -> None:
    """Who was refused longest ago is forgotten, so that an attacker fills no memory."""
    slow = SlowClients(2.0)
    for number in range(slow_clients.MOST):
        slow.refused(f"c{number}", 10.0)
    slow.refused("c0", 11.0)
    slow.refused("one more", 11.0)
    assert len(slow.known) == slow_clients.MOST
    assert "c0" in slow.known
    assert "c1" not in slow.known


def test_one_client_takes_no_more_than_a_part() -> None:
    """Half of what an event has left."""
    assert patient_until(10.0, 14.0) == 12.0
