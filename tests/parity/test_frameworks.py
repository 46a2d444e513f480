"""Every conversation of every framework is the same as under uvicorn.

With LONGWIRE_TEST_PARITY=1 also where messages are handled in parallel, as on AWS, where each event
may be handled by another frozen process, and with all stores; without it, a selection is.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from longwire.cli.main import main
from tests.parity.conversations import CONVERSATIONS, SOMETIMES, TO_COME
from tests.parity.hosts import LongwireDev, Uvicorn
from tests.parity.play import MISSED, Transcript, play_all
from tests.servers.aws import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Told = dict[str, Transcript]
    Store = tuple[str, dict[str, Any]]  # a backend, and its parameters

ALL = bool(os.environ.get("LONGWIRE_TEST_PARITY"))
pytestmark = pytest.mark.timeout(3600 if ALL else 200)

TARGET = "tests.parity.frameworks.every:app"
# How many conversations go on at once. Each needs up to two processes, as a connect step that
# lingers keeps one.
AT_ONCE = 24
# Fewer where the emulator of a store answers one request at a time.
AT_ONCE_ON = {"dynamodb": 4, "s3": 4}
# Under this name, what apps wrote when their clients had left, for as long in seconds.
HEARD, HEARD_WITHIN = "what apps do at the end", 20.0
SELECTED = {
    "starlettes": [
        *("echo", "several", "greet", "describe", "refuse", "crash_accepted", "close_asked"),
        *("feed_slowly", "feed_then_listen", "stream", "by_queue", "by_anyio", "by_race"),
        *("greet_by_task", "fire_and_forget", "in_thread", "heartbeat", "close_by_task"),
    ],
    "django_channels": ["Async", "Sync", "Layer", "Group", "close", "Feed"],
    "quarts": ["echo", "greet", "by_task_group"],
}
REMEMBERED = {
    "starlettes": [
        *("count", "count_from", "sizes", "log_in", "json_rpc", "quiz", "guess", "crash_third"),
        *("by_generator", "by_variable", "streams", "sum_by_anyio", "subscriptions", "answers"),
        *("streams_with_ids, stopped", "one_job_at_a_time", "nudge", "ticks", "reminders"),
        *("Basket", "count_in_session"),
    ],
    "django_channels": ["Form", "KeptTask"],
}
STORES = "redis", "postgresql", "dynamodb", "s3"


def _module(name: str) -> str:
    return name.partition(": ")[0]


def _names(selected: dict[str, list[str]]) -> set[str]:
    return {f"{module}: {name}" for module, names in selected.items() for name in names}


def _played() -> Iterator[tuple[str, list[str]]]:
    """List the hosts beside uvicorn, and what is played on each."""
    others = CONVERSATIONS.keys() - TO_COME.keys()
    remembered = {name for name, script in CONVERSATIONS.items() if script.remembers}
    yield "dev", [name for name in CONVERSATIONS if name not in remembered]
    ordered = {name for name, script in CONVERSATIONS.items() if script.ordered}
    some = others - SOMETIMES.keys() - remembered if ALL else _names(SELECTED)
    yield "unordered", sorted(some & ordered)
    yield "processes", sorted(some & ordered)
    heard = {name for name, script in CONVERSATIONS.items() if script.heard}
    some = others if ALL else _names(REMEMBERED)
    yield "replay", sorted(some | heard)
    yield "replay, unordered", sorted(some & ordered)
    yield "replay, processes", sorted(some)
    for store in STORES if ALL else ():
        yield f"replay, on {store}", sorted(remembered)
        yield f"replay, processes, on {store}", sorted(remembered)


PLAYED = dict(_played())
PLAYED = {"uvicorn": sorted({name for names in PLAYED.values() for name in names}), **PLAYED}


def _play(host: str, folder: Path, store: Store | None) -> Told:
    in_processes = "processes" in host
    if not in_processes or not ALL:
        at_once = AT_ONCE if store is None else AT_ONCE_ON.get(store[0], AT_ONCE)
        return _play_on(host, folder, PLAYED[host], 1 if in_processes else at_once, store)
    told: Told = {}
    for module in {_module(name) for name in PLAYED[host]}:  # few, for a process to start fast
        names = [name for name in PLAYED[host] if _module(name) == module]
        told |= _play_on(host, folder / module, names, 1, store)
    return told


def _play_on(host: str, folder: Path, names: list[str], at_once: int, store: Store | None) -> Told:
    folder.mkdir(parents=True)
    heard = folder / "heard"
    environ = {
        **KEYS,
        "PARITY_FRAMEWORKS": ",".join({_module(name) for name in names}),
        "PARITY_HEARD": str(heard),
    }
    scripts = {name: CONVERSATIONS[name] for name in names}
    with _server(host, folder, environ, store) as server:
        told = asyncio.run(play_all(server.address(""), scripts, TO_COME, at_once))
        _wait_for_lines(heard, sum(script.heard for script in scripts.values()))
    return told | {HEARD: sorted(heard.read_text().splitlines()) if heard.exists() else []}


def _server(
    host: str, folder: Path, environ: dict[str, str], store: Store | None
) -> Uvicorn | LongwireDev:
    if host == "uvicorn":
        return Uvicorn(folder, TARGET, **environ)
    options = []
    if "replay" in host:
        options.append("--replay")
    if "unordered" in host:
        options.append("--unordered")
    if "processes" in host:
        options += ["--instances", "6" if ALL or "replay" in host else "3", "--freeze"]
    if store is not None:
        options += ["--backend", store[0], "--params", json.dumps(store[1])]
    return LongwireDev(folder, TARGET, *options, **environ)


def _wait_for_lines(path: Path, number: int) -> None:
    until = time.monotonic() + HEARD_WITHIN
    while time.monotonic() < until:
        if not number or (path.exists() and len(path.read_text().splitlines()) >= number):
            return
        time.sleep(0.05)


def _store(request: pytest.FixtureRequest, host: str) -> Store | None:
    """Start the server of a host's store, and make there what it needs."""
    name = f"parity{len(host)}"  # other tests use the servers, too
    match host.rpartition("on ")[2]:
        case "redis":
            port = request.getfixturevalue("redis_server").port
            return "redis", {"host": "127.0.0.1", "port": port, "key_prefix": name}
        case "postgresql":
            server = request.getfixturevalue("postgresql_server")
            return "postgresql", server.parameters(table_name=name)
        case "dynamodb" | "s3" as backend:
            url = request.getfixturevalue("moto").url
            of_it = {"table_name": name} if backend == "dynamodb" else {"bucket": name}
            params = {**of_it, "region_name": "eu-west-1", "endpoint_url": url}
            with pytest.MonkeyPatch.context() as patch:
                for key, value in KEYS.items():
                    patch.setenv(key, value)
                assert main(["init", "--backend", backend, "--params", json.dumps(params)]) == 0
            return backend, params
    return None


@pytest.fixture(scope="module")
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Told]]]:
    """Play all on the hosts that are asked for, two at a time."""
    folder = tmp_path_factory.mktemp("frameworks")
    calls = (getattr(item, "callspec", None) for item in request.session.items)
    asked = {call.params["host"] for call in calls if call is not None and "host" in call.params}
    stores = {host: _store(request, host) for host in PLAYED if host in {"uvicorn", *asked}}
    with ThreadPoolExecutor(2) as hosts:
        yield {
            host: hosts.submit(_play, host, folder / host, store) for host, store in stores.items()
        }


def _results(told: dict[str, Future[Told]], host: str) -> Told:
    if (error := told[host].exception()) is not None:  # raised anew for each, it would grow
        pytest.fail(f"nothing was played: {error!r}", pytrace=False)
    return told[host].result()


def _parameters() -> Iterator[object]:
    for host, names in PLAYED.items():
        for name in names if host != "uvicorn" else ():
            if reason := TO_COME.get(name):
                mark = [pytest.mark.xfail(reason=reason, strict=True)]
            elif (reason := SOMETIMES.get(name)) and "replay" not in host:
                mark = [pytest.mark.xfail(reason=reason, strict=False)]
            else:
                mark = []
            if "processes" in host:
                mark.append(pytest.mark.slow)
            yield pytest.param(host, name, marks=mark, id=f"{host}-{name}")


@pytest.mark.parametrize(("host", "name"), list(_parameters()))
def test_a_conversation_is_the_same(host: str, name: str, told: dict[str, Future[Told]]) -> None:
    """Frames and their order, statuses, subprotocols and the end."""
    expected = _results(told, "uvicorn")[name]
    assert expected[-1] != MISSED, "the script is wrong"
    assert _results(told, host)[name] == expected


def test_apps_know_at_the_end_what_was_said(told: dict[str, Future[Told]]) -> None:
    """With `replay`; more of them may end than connections, where a run had to be made anew."""
    heard = Counter(_results(told, "replay")[HEARD])
    assert not Counter(_results(told, "uvicorn")[HEARD]) - heard
