"""What a 429 means: one client that does not read, or too many requests. No clock, no socket."""

from __future__ import annotations

from longwire.apigateway import slow_clients
from longwire.apigateway.slow_clients import (
    ATTEMPTS,
    CALM,
    FORGOTTEN_AFTER,
    MANY,
    SEVERAL,
    SlowClients,
    Throttled,
    patient_until,
)


def use_up(slow: SlowClients, connection_id: str, begin: float, end: float) -> Throttled:
    """Refuse a client, often enough, from then until then; return what the last one was."""
    for number in range(ATTEMPTS - 1):
        slow.refused(connection_id, begin + number / 10)
    return slow.refused(connection_id, end)


def test_patience_counts_from_the_first_refusal() -> None:
    """Whatever asks: all requests about one client share it."""
    slow = SlowClients(2.0)
    assert slow.refused("a", 10.0) == Throttled(12.0, crowded=False)
    assert slow.refused("a", 11.9) == Throttled(12.0, crowded=False)


def test_who_has_used_it_up_gets_no_more() -> None:
    """For as long as it is refused; each request is one attempt."""
    slow = SlowClients(2.0)
    assert use_up(slow, "a", 10.0, 12.0) == Throttled(12.0, crowded=False)
    for now in (12.1, 60.0, 119.0, 178.0):
        assert slow.refused("a", now) == Throttled(now, crowded=False)


def test_who_was_served_has_its_patience_back_in_a_while() -> None:
    """A success says that it reads, if slowly; so does time, when nobody has asked."""
    slow = SlowClients(2.0)
    use_up(slow, "a", 10.0, 12.0)
    slow.served("a", 13.0)
    half = 13.0 + FORGOTTEN_AFTER / 2
    assert slow.refused("a", half).until == half + 1.0
    slow.served("a", half + 0.5)
    half += 0.5 + FORGOTTEN_AFTER / 4
    assert slow.refused("a", half).until == half + 1.0
    use_up(slow, "a", half + 0.5, half + 1.0)
    later = half + 1.0 + FORGOTTEN_AFTER
    assert slow.refused("a", later).until == later + 2.0


def test_who_reads_a_little_now_and_then_is_not_waited_for_all_the_time() -> None:
    """Each second it takes one frame more: in a minute it costs others five seconds, not fifty."""
    slow, waited = SlowClients(2.0), 0.0
    for now in range(100, 160):
        until = slow.refused("a", float(now)).until
        waited += min(until, now + 0.9) - now
        slow.refused("a", now + 0.8)
        slow.served("a", now + 0.9)
    assert waited < 5.0


def test_one_that_has_ended_is_forgotten() -> None:
    """Its id means nobody any more."""
    slow = SlowClients(2.0)
    slow.refused("a", 10.0)
    slow.ended("a")
    assert not slow.known


def test_too_many_requests_cost_nobody_patience() -> None:
    """Who waited for its turn then has all of it when it does not read."""
    slow = SlowClients(2.0)
    for number in range(SEVERAL):
        slow.refused(f"c{number}", 10.0)
    slow.served("c0", 11.9)
    assert slow.refused("c0", 12.0).until == 14.0


def test_no_patience_is_a_single_attempt() -> None:
    """`slow_client` may be 0."""
    assert SlowClients(0.0).refused("a", 10.0) == Throttled(10.0, crowded=False)


def test_several_different_ones_in_a_row_are_too_many_requests() -> None:
    """Patience counts from then on for all who had some left."""
    slow = SlowClients(2.0)
    use_up(slow, "used up", 1.0, 5.0)
    slow.served("other", 5.0)
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
            slow.served(f"c{number}", 10.0)
    assert use_up(slow, "c1", 10.5, 12.0).until == 12.0


def test_few_attempts_are_no_proof_however_late_they_come() -> None:
    """Where several are refused: a send to many has tried all others before."""
    slow = SlowClients(2.0)
    for name in ("a", "b", "c"):
        slow.refused(name, 10.0)
        slow.served("other", 10.0)
    slow.refused("b", 19.0)
    for number in range(1, ATTEMPTS - 1):
        now = 20.0 + number / 10
        assert slow.refused("a", now).until > now
    assert slow.refused("a", 21.0) == Throttled(21.0, crowded=False)


def test_who_is_served_late_says_that_there_are_too_many_requests() -> None:
    """For one of them who is refused to the end, and not for a second one."""
    slow = SlowClients(2.0)
    for number in range(MANY):
        slow.refused(f"c{number}", 10.0)
        slow.served("other", 10.0)
    for name in ("a", "b"):
        for moment in range(ATTEMPTS - 1):
            slow.refused(name, 10.0 + moment / 10)
        slow.served("other", 10.5)
    for number in range(MANY):
        slow.served(f"c{number}", 11.0)
    assert slow.refused("a", 12.0) == Throttled(14.0, crowded=True)
    assert slow.refused("b", 12.0) == Throttled(12.0, crowded=False)


def test_those_served_late_long_ago_say_nothing() -> None:
    """Nor does one who has ended."""
    slow = SlowClients(2.0)
    for number in range(MANY):
        slow.refused(f"c{number}", 10.0)
        slow.served(f"c{number}", 11.0)
    later = 10.1 + CALM
    assert use_up(slow, "a", later, later + 2.0) == Throttled(later + 2.0, crowded=False)


def test_those_served_before_say_nothing_of_one_that_comes_to_be_refused() -> None:
    """Else each post to it would keep the count, and all would wait for it for ever."""
    slow = SlowClients(2.0)
    for number in range(10 * MANY):
        slow.refused(str(number), 10.0)
        slow.served(str(number), 10.5)
    for number in range(ATTEMPTS):
        slow.refused("a", 11.0 + number / 10)
        slow.served("b", 11.0 + number / 10)
    for now in (13.0, 14.0, 50.0):
        assert slow.refused("a", now) == Throttled(now, crowded=False)


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
