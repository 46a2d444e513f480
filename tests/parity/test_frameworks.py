"""Every conversation of every framework is the same as under uvicorn.

With LONGWIRE_TEST_PARITY=1 also where messages are handled in parallel, as on AWS, and where each
event may be handled by another frozen process; without it, a selection is.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.parity.conversations import CONVERSATIONS, SOMETIMES, TO_COME
from tests.parity.hosts import LongwireDev, Uvicorn
from tests.parity.play import MISSED, Transcript, play_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Told = dict[str, Transcript]

ALL = bool(os.environ.get("LONGWIRE_TEST_PARITY"))
pytestmark = pytest.mark.timeout(1800 if ALL else 150)

TARGET = "tests.parity.frameworks.every:app"
# How many conversations go on at once. Each needs up to two processes, as a connect step that
# lingers keeps one.
AT_ONCE = 24
SELECTED = {
    "starlettes": [
        *("echo", "several", "greet", "describe", "refuse", "crash_accepted", "close_asked"),
        *("feed_slowly", "feed_then_listen", "stream", "by_queue", "by_anyio", "by_race"),
        *("greet_by_task", "fire_and_forget", "in_thread", "heartbeat", "close_by_task"),
    ],
    "django_channels": ["Async", "Sync", "Layer", "Group", "close", "Feed"],
    "quarts": ["echo", "greet", "by_task_group"],
}


def _module(name: str) -> str:
    return name.partition(": ")[0]


def _selected() -> list[str]:
    """List what is played on the hosts that are more like AWS."""
    steady = CONVERSATIONS.keys() - TO_COME.keys() - SOMETIMES.keys()
    if not ALL:
        steady = {f"{module}: {name}" for module, names in SELECTED.items() for name in names}
    return sorted(name for name in steady if CONVERSATIONS[name].ordered)


PLAYED = {
    "uvicorn": list(CONVERSATIONS),
    "dev": list(CONVERSATIONS),
    "unordered": _selected(),
    "processes": _selected(),
}


def _play(host: str, folder: Path) -> Told:
    if host != "processes" or not ALL:
        return _play_on(host, folder, PLAYED[host], 1 if host == "processes" else AT_ONCE)
    told: Told = {}
    for module in {_module(name) for name in PLAYED[host]}:  # few, for a process to start fast
        names = [name for name in PLAYED[host] if _module(name) == module]
        told |= _play_on(host, folder / module, names, 1)
    return told


def _play_on(host: str, folder: Path, names: list[str], at_once: int) -> Told:
    folder.mkdir(parents=True)
    environ = {"PARITY_FRAMEWORKS": ",".join({_module(name) for name in names})}
    server: Uvicorn | LongwireDev
    match host:
        case "uvicorn":
            server = Uvicorn(folder, TARGET, **environ)
        case "unordered":
            server = LongwireDev(folder, TARGET, "--unordered", **environ)
        case "processes":
            options = "--instances", "6" if ALL else "3", "--freeze"
            server = LongwireDev(folder, TARGET, *options, **environ)
        case _:
            server = LongwireDev(folder, TARGET, **environ)
    scripts = {name: CONVERSATIONS[name] for name in names}
    with server:
        return asyncio.run(play_all(server.address(""), scripts, TO_COME, at_once))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Told]]]:
    """Play all, two hosts at a time."""
    folder = tmp_path_factory.mktemp("frameworks")
    with ThreadPoolExecutor(2) as hosts:
        yield {host: hosts.submit(_play, host, folder / host) for host in PLAYED}


def _parameters() -> Iterator[object]:
    for host, names in PLAYED.items():
        for name in names if host != "uvicorn" else ():
            if reason := TO_COME.get(name):
                mark = [pytest.mark.xfail(reason=reason, strict=True)]
            elif reason := SOMETIMES.get(name):
                mark = [pytest.mark.xfail(reason=reason, strict=False)]
            else:
                mark = []
            yield pytest.param(host, name, marks=mark, id=f"{host}-{name}")


@pytest.mark.parametrize(("host", "name"), list(_parameters()))
def test_a_conversation_is_the_same(host: str, name: str, told: dict[str, Future[Told]]) -> None:
    """Frames and their order, statuses, subprotocols and the end."""
    for played in (told["uvicorn"], told[host]):
        if (error := played.exception()) is not None:  # raised anew for each, it would grow
            pytest.fail(f"nothing was played: {error!r}", pytrace=False)
    expected = told["uvicorn"].result()[name]
    assert expected[-1] != MISSED, "the script is wrong"
    assert told[host].result()[name] == expected
