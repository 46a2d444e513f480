"""The benchmarks measure what they say: the floor does what Longwire does, and rows add up."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.costs import STEPS, Message, Start, memory_table, picture, put_into
from benchmarks.measured import SENT_WITH
from benchmarks.race import AWS, Contender, Figures, run_warm
from benchmarks.run import parse
from benchmarks.sampled import APP, EVENT, LOOP, RECORD, RUN, step
from benchmarks.setup import Setup
from benchmarks.table import BEFORE, CONTROL, OURS, Aim, Pair, show, show_beside, show_head
from tests.connections_server import ConnectionsServer
from tests.documents import PAGES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

SITE_WIDTH = 86  # columns of a picture that the site shows without scrolling
COUNTING = "for number, line in enumerate(open(0)): print(number, number * 2, flush=True)"


@pytest.mark.parametrize("name", ["floor", "longwire"])
async def test_the_floor_sends_what_longwire_sends(name: str, tmp_path: Path) -> None:
    """Each client's message comes back to it, once."""
    async with ConnectionsServer() as server:
        config = {
            "backend": "sqlite3",
            "params": {"file_path": str(tmp_path / "store")},
            "api_gateway_endpoint_url": server.url,
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.measured", "warm", name),
            json.dumps({"ws_config": config}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | AWS,
        )
        timed, _ = await process.communicate(b"CONNECT 2\nMESSAGE 2\nDISCONNECT 2\n")
    assert (process.returncode, len(timed.splitlines())) == (0, 3)
    sent = [(connection_id[-2:], body) for connection_id, body in server.delivered]
    body = SENT_WITH["MESSAGE"]["body"].encode()
    assert sent == [("-0", body), ("-1", body)]


def test_an_earlier_longwire_that_cannot_do_it_is_left_out() -> None:
    """The first round of the others does not count."""
    contenders = {OURS: Contender(["-c", COUNTING]), BEFORE: Contender(["-c", "exit(1)"])}
    found = run_warm(contenders, ["MESSAGE"], 2)
    assert found == {OURS: {"MESSAGE": [Figures(1, 2), Figures(2, 4)]}}


def test_a_row_is_the_median_of_what_its_rounds_came_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not the quotient of the medians; the control and an earlier one stand beside it."""
    base = [1e-6, 2e-6, 4e-6]
    found = {OURS: Pair(base, [3e-6, 4e-6, 20e-6]), CONTROL: Pair(base, base)}
    show_head("events", "floor")
    show("MESSAGE", found, Aim(2.2))
    show("added", found, Aim(3, how="added"))
    show_beside("boto3", [6e-6, 8e-6, 40e-6], found[OURS].value, Aim(2, at_least=True))
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[1:]] == [
        "events floor longwire ratio control before aim",
        "MESSAGE 2 4 3.00x 1.00x - <= 2.2: missed",
        "added 2 4 +2.00 +0.00 - <= 3: met",
        "boto3 8 2.0x of longwire >= 2: met",
    ]


def test_what_is_measured_can_be_chosen() -> None:
    """By names that there are."""
    given = parse(["--rows", "events,posts", "--stores", "redis", "--quick"])
    setup = Setup(stores=given.stores, quick=given.quick)
    assert given.rows == ["events", "posts"]
    assert setup.chosen(("memory", "redis")) == ["redis"]
    assert Setup().chosen(("memory", "redis"), usual=["memory"]) == ["memory"]
    assert (setup.rounds(15), Setup().rounds(15)) == (5, 15)
    with pytest.raises(SystemExit):
        parse(["--rows", "nothing"])


def test_the_page_of_performance_agrees_with_itself() -> None:
    """Its table of memory is that of the message and the start in its picture."""
    page = PAGES["docs/performance.md"]
    paused = re.search(r"2 ms after another: (\d+) us", page)
    start = re.search(r"fresh process: (\d+) ms", page)
    assert paused is not None
    assert start is not None
    table = memory_table(int(paused[1]) / 1e3, int(start[1]))
    assert put_into(page, "memory", table) == page
    assert put_into(page, "imports", "none") != put_into(page, "stores", "none") == page


def test_a_picture_shows_each_step_by_its_part() -> None:
    """They add up to the message, however many samples there were."""
    samples = dict.fromkeys(STEPS, 5)
    shown = picture(Message(600e-6, 800e-6, 2.2e6, samples), Start(0.03, 0.08, 0.1))
    assert [line.split()[:3] for line in shown.splitlines()[3:9]] == [
        [step, "100", "us"] for step in STEPS
    ]
    assert "100 ms of CPU until the first CONNECT is answered:\n    30 Python" in shown
    assert max(map(len, shown.splitlines())) <= SITE_WIDTH


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("adapter/longwire/handler.py", EVENT),
        ("adapter/longwire/asgi/run.py", RUN),
        ("adapter/longwire/runtime/loop.py", LOOP),
        ("backends/longwire_backends/dynamodb.py", RECORD),
        ("backends/longwire_aws/http.py", LOOP),  # of whoever asks, if there is one
        (".venv/lib/python3.13/site-packages/starlette/routing.py", APP),
        ("benchmarks/app.py", APP),
        ("benchmarks/measured.py", LOOP),
    ],
)
def test_a_step_is_told_by_the_file_wherever_the_checkout_is(file: str, expected: str) -> None:
    """The folder that `git clone` makes has the name of the package."""
    code = compile("", f"/home/me/longwire/{file}", "exec")
    frame: Any = SimpleNamespace(f_code=code, f_back=None)
    assert step(frame) == expected
