"""Requests to AWS: one after the other, over TLS too, and to many at once."""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.race import Contender, Measured, cpu, run_warm
from benchmarks.rows.events import against_floor
from benchmarks.servers import (
    TRUSTING,
    connections,
    quick_connections,
    quick_dynamodb,
    running,
    tls_connections,
)
from benchmarks.table import LABEL, OURS, SHOWN, Aim, Pair, show, show_beside, show_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.setup import Setup

CLIENT_ROUNDS = 21
CLIENT_TIMES, BOTO3_TIMES = 300, 60
CLIENT_AIMS = {
    "POST": ("one signed POST, kept alive", Aim(1.3)),
    "SIGN": ("sign one request", SHOWN),
    "GET": ("DynamoDB, get a record", Aim(1.4)),
}

FAN_OUT_ROUNDS = 5
FAN_OUT = 10_000  # posts make a round
FAN_OUT_AIM = Aim(2.3)
# And of others so many; how many times as much they should take.
PEERS = {
    "aiohttp": ("aiohttp, signed by botocore", 4_000, Aim(6, at_least=True)),
    "boto3": ("boto3, 32 threads", 1_000, SHOWN),
    "httpx": ("httpx, signed by botocore", 100, SHOWN),
}

SMALL, LARGE = 1_000, 100_000  # groups
FLAT = Aim(1.1)


def compare(setup: Setup) -> None:
    compare_clients(setup)
    compare_fan_out(setup)
    compare_group_sizes()


def clients(setup: Setup, url: str, dynamodb_url: str) -> dict[str, Contender]:
    """Make the floor and each Longwire."""
    environs: dict[str, Mapping[str, str]] = {"floor": {}, **setup.versions()}
    return {
        name: Contender(
            [
                "-m",
                "benchmarks.client",
                "floor" if name == "floor" else "longwire",
                url,
                dynamodb_url,
            ],
            CLIENT_TIMES,
            environ={**environ, **TRUSTING},
        )
        for name, environ in environs.items()
    }


def compare_clients(setup: Setup) -> None:
    rounds = setup.rounds(CLIENT_ROUNDS)
    with running(connections) as management, running(quick_dynamodb) as dynamodb:
        urls = management.address, dynamodb.address
        boto3 = Contender(["-m", "benchmarks.client", "boto3", *urls], BOTO3_TIMES)
        contenders = {**clients(setup, *urls), "boto3": boto3}
        found = run_warm(contenders, list(CLIENT_AIMS), rounds)
    show_head("AWS client, CPU us")
    for what, (label, aim) in CLIENT_AIMS.items():
        show(label, against_floor(found, what), aim)
        show_beside("boto3", cpu(found["boto3"][what]), cpu(found[OURS][what]))
    with running(tls_connections) as management:
        over_tls = clients(setup, management.address, "http://127.0.0.1:9")
        found = run_warm(over_tls, ["POST"], rounds)
    show("one signed POST over TLS", against_floor(found, "POST"))


def compare_fan_out(setup: Setup) -> None:
    rounds = setup.rounds(FAN_OUT_ROUNDS)
    with running(quick_connections) as server:
        environs: dict[str, Mapping[str, str]] = {"floor": {}, **setup.versions()}
        contenders = {
            name: posts("floor" if name == "floor" else "longwire", server.address, environ)
            for name, environ in environs.items()
        }
        for name, (_, times, _) in PEERS.items():
            # Mangum brings the other clients along.
            python = sys.executable if name == "boto3" else setup.mangum
            if python:
                command = ["-m", "benchmarks.posts", name, server.address]
                contenders[name] = Contender(command, times, python)
        found = run_warm(contenders, ["POST"], rounds)
        arrived, sent = (
            server.count(),
            (1 + rounds) * sum(each.times for each in contenders.values()),
        )
        if arrived != sent and len(found) == len(contenders):
            raise RuntimeError(f"{arrived} posts arrived, not {sent}")
    show_head("10,000 posts at once, CPU us each")
    show("send to a group", against_floor(found, "POST"), FAN_OUT_AIM)
    for name, (label, _, aim) in PEERS.items():
        if name in found:
            show_beside(label, cpu(found[name]["POST"]), cpu(found[OURS]["POST"]), aim)
    each = [1 / median(one.wall for one in found[name]["POST"]) for name in ("floor", OURS)]
    print(f"{'  posts a second':{LABEL}}{each[0]:>10,.0f}{each[1]:>10,.0f}", flush=True)


def posts(name: str, url: str, environ: Mapping[str, str]) -> Contender:
    return Contender(["-m", "benchmarks.posts", name, url], FAN_OUT, environ=environ)


def compare_group_sizes() -> None:
    """Show that a group's size decides how long a send takes, and nothing else."""
    took, peaks = [], []
    with running(quick_connections) as server:
        for size in (SMALL, LARGE):
            with Measured(posts("longwire", server.address, {})) as process:
                process.perform("POST", SMALL)
                took.append(process.perform("POST", size).cpu)
                peaks.append(process.peak_memory() / 2**20)
    show_head(f"a group of {LARGE:,}", f"{SMALL:,}")
    for label, (small, large), unit in (
        ("CPU us each member", took, 1e6),
        ("peak memory, MB", peaks, 1),
    ):
        show(label, {OURS: Pair([small], [large])}, FLAT, unit)
