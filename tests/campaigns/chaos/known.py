"""What is known to be violated, and why the campaign goes on all the same; all of it is counted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.campaigns.chaos.faults import Weather


class Known(NamedTuple):
    """One thing that is known.

    Attributes:
        pattern: of the violation's text.
        apps: in whose conversations it happens; empty for any.
        in_peace: also where no process dies and no request fails or is slow.
    """

    name: str
    pattern: str
    apps: tuple[str, ...] = ()
    in_peace: bool = False


# By design (docs/differences.md): the record remembers what the connect step has sent, and an app
# that waits for the client while it still sends by another task is handed the message at once.
# When its connect step was cut off (by a kill, or since something was too slow), all that it would
# still have sent is news in the run of each message, and two runs at a time send it both.
CUT_OFF = Known(
    "sent again by an app whose connect step was cut off",
    r" (tick|greet) \d' twice$",
    apps=("ticker", "early_receiver"),
)

# The record says when the response was about to leave. When its write was slow, that was long
# before API Gateway had the response, and the client's first words come when "gone" is believed.
TOLD_TOO_EARLY = Known(
    "a connection whose record was written slowly is taken for gone too early",
    r"which is there, but was not known yet$",
)

ALL = (CUT_OFF, TOLD_TOO_EARLY)


def known(violation: str, app: str, weather: Weather) -> Known | None:
    """Return what explains a violation."""
    for one in ALL:
        if one.apps and app not in one.apps:
            continue
        if re.search(one.pattern, violation) and (one.in_peace or not weather.is_peaceful):
            return one
    return None
