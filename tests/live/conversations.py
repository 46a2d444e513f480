"""The conversations of tests/parity: under uvicorn here, and in the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.live.findings import Finding, judged, unmeasured
from tests.parity.conversations import CONVERSATIONS, SOMETIMES, TO_COME
from tests.parity.hosts import Uvicorn
from tests.parity.play import MISSED, play_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.parity.hosts import Query
    from tests.parity.play import Transcript
    from tests.parity.scripts import Script

ABOUT = "conversations with {}"
ASSUMED = "are the same as under uvicorn"
TARGET = "tests.parity.frameworks.every:app"
# A new account may have ten events at once, and a conversation has up to two.
AT_ONCE = 4


def selected(frameworks: Sequence[str]) -> dict[str, Script]:
    """Return what is played: all but what needs `replay`, an order of messages, or luck."""
    return {
        name: script
        for name, script in CONVERSATIONS.items()
        if name.partition(": ")[0] in frameworks
        and script.ordered
        and not script.remembers
        and name not in SOMETIMES.keys() | TO_COME.keys()
    }


async def expected(frameworks: Sequence[str], folder: Path) -> dict[str, Transcript]:
    """Play it under uvicorn, here."""
    if not frameworks:
        return {}
    environ = {"PARITY_FRAMEWORKS": ",".join(frameworks), "PARITY_HEARD": str(folder / "heard")}
    with Uvicorn(folder, TARGET, **environ) as server:
        return await play_all(server.address(""), selected(frameworks), (), 8)


async def played(url: str, frameworks: Sequence[str]) -> dict[str, Transcript]:
    """Play it at the URL of an API."""

    def address(path: str, query: Query) -> str:
        return f"{url}/?{urlencode([('path', path), *query])}"

    return await play_all(address, selected(frameworks), (), AT_ONCE)


def judge(
    frameworks: Sequence[str],
    wanted: Mapping[str, Transcript],
    heard: Mapping[str, Transcript],
) -> list[Finding]:
    """Compare, for each framework."""
    return [_judge(framework, wanted, heard) for framework in frameworks]


def _judge(
    framework: str, wanted: Mapping[str, Transcript], heard: Mapping[str, Transcript]
) -> Finding:
    about = ABOUT.format(framework)
    names = [name for name in wanted if name.partition(": ")[0] == framework]
    # What nothing comes of here either is no measure.
    names = [name for name in names if wanted[name][-1:] != [MISSED]]
    if not names:
        return unmeasured(about, ASSUMED, "none could be played under uvicorn")
    others = {
        name: _both(wanted[name], heard[name]) for name in names if wanted[name] != heard[name]
    }
    seen = f"{len(names) - len(others)} of {len(names)} are"
    if others:
        shown = [name.partition(": ")[2] for name in others]
        seen += "; not: " + ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "")
    return judged(about, ASSUMED, seen, so=not others, differ=others)


def _both(wanted: Transcript, heard: Transcript) -> dict[str, Any]:
    return {"uvicorn": [_short(line) for line in wanted], "here": [_short(line) for line in heard]}


def _short(line: str) -> str:
    return line if len(line) < 200 else f"{line[:100]}... ({len(line)} characters)"
