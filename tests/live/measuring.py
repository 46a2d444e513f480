"""All measurements, one after the other; one that fails does not keep the others from running."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.live.findings import Finding, unmeasured
from tests.live.measures import bursts, ending, frames, posting, unasked, unseen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.live.world import World


class Measurement(NamedTuple):
    """One of the seven.

    Attributes:
        about, assumed: what the table says if nothing can be measured.
    """

    measure: Callable[[World], Awaitable[list[Finding]]]
    about: str
    assumed: str


MEASUREMENTS = {
    "posting": Measurement(posting.measure, posting.ABOUT, posting.ASSUMED),
    "ending": Measurement(ending.measure, ending.ABOUT, ending.ASSUMED),
    "unseen": Measurement(unseen.measure, unseen.ABOUT, unseen.ASSUMED),
    "snapstart": Measurement(
        unasked.measure_snapstart, unasked.SNAPSTART, unasked.ASSUMED_OF_SNAPSTART
    ),
    "bursts": Measurement(bursts.measure, bursts.BURST, bursts.ASSUMED_OF_A_BURST),
    "frames": Measurement(frames.measure, "odd frames and posts", "as docs/aws.md says"),
    "managed": Measurement(unasked.measure_managed, unasked.MANAGED, unasked.ASSUMED_OF_MANAGED),
}


async def measure_all(
    world: World,
    lacks: Mapping[str, str],
    findings: list[Finding],
    tell: Callable[[str], None],
) -> None:
    """Run each measurement that the world does not lack; add what it finds to the findings."""
    for name, one in MEASUREMENTS.items():
        if name in lacks:
            findings.append(unmeasured(one.about, one.assumed, lacks[name]))
            continue
        tell(f"measuring: {one.about}")
        try:
            findings += await one.measure(world)
        except Exception as error:  # whatever a service may answer
            why = f"failed: {type(error).__name__}: {error}"
            findings.append(unmeasured(one.about, one.assumed, why))
