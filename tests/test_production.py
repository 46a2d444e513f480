"""What the pages say of money, limits and requests: from the formulas, and counted."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, WebSocket
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from websockets.asyncio.client import connect
from werkzeug.serving import WSGIRequestHandler, make_server

from longwire import Connections, Longwire
from longwire.cli.main import main
from longwire.deploy.alarms import alarms
from longwire.local.function.inline import ThreadFunction
from longwire.local.rules.settings import GatewaySettings
from longwire.local.server.server import LocalGateway
from longwire.testing import Gateway
from tests.campaigns.scale import facts, money
from tests.documents import FILES, PAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire import WSConfig

pytestmark = pytest.mark.anyio

PRODUCTION, CHOOSE = PAGES["docs/production.md"], PAGES["docs/choose-a-store.md"]
HOURS = 730


def _rows(page: str, head: str) -> list[list[str]]:
    table = page.split(f"\n{head}", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in table]


def _number(cell: str) -> float:
    return float(cell.replace(",", ""))


def test_a_month_costs_what_the_page_says() -> None:
    """For each size and each way to use it."""
    for row in _rows(PRODUCTION, "| connections, all the time |"):
        connections, *shown = map(_number, row)
        loads = [money.Load(int(connections), messages=said) for said in (0, 0.1, 1)]
        months = [money.dollars(money.hour(load) * HOURS) for load in loads]
        assert shown == pytest.approx(months, abs=0.5)
    bill = money.bill(money.hour(money.Load(1_000)) * HOURS)
    gateway = sum(dollars for name, dollars in bill.items() if name.startswith("API Gateway"))
    assert f"{100 * gateway / sum(bill.values()):.0f} % is API Gateway's" in PRODUCTION


def test_a_million_of_each_costs_what_the_page_says() -> None:
    """In the order of the table."""
    one = money.Load(1)
    each = (
        money.handshake(one),
        money.end(one),
        money.message(one),
        money.message(one._replace(replay=True)),
        money.Usage(minutes=60),
    )
    shown = [_number(row[1]) for row in _rows(PRODUCTION, "| a million | dollars |")]
    assert shown == pytest.approx([1e6 * money.dollars(usage) for usage in each], abs=0.005)
    cents = re.search(
        r"of 1,000 costs ([\d.]+) cents, to 100,000 (\d+) cents, to 1,000,000 ([\d.]+)", PRODUCTION
    )
    assert cents is not None
    sends = [money.dollars(money.message(one._replace(audience=n))) for n in (10**3, 10**5, 10**6)]
    said = [float(cents[1]) / 100, float(cents[2]) / 100, float(cents[3])]
    assert said == pytest.approx(sends, rel=0.03)


def test_the_prices_and_the_formulas_are_those_of_the_code() -> None:
    """The column of prices, the times, and how many units."""
    rows = {row[0]: row for row in _rows(PRODUCTION, "| what | how many | price of a million |")}
    prices = {
        "minutes": facts.MINUTE_PRICE,
        "messages, in and out, in pieces of 32 KB": facts.MESSAGE_PRICE,
        "events": facts.EVENT_PRICE,
        "writes to DynamoDB": facts.WRITE_PRICE,
        "reads": facts.READ_PRICE,
        "logs": facts.LOG_PRICE,
        "traffic": facts.OUT_PRICE,
    }
    for name, price in prices.items():
        assert float(rows[name][2].split()[0]) == price.value
    one = money.Load(1)
    handshake, said = money.handshake(one), money.message(one)
    times = [1000 * usage.gb_seconds * 1024 / one.memory for usage in (handshake, said)]
    assert (
        [round(time) for time in times]
        == [29, 70]
        == [int(ms) for ms in re.findall(r"(\d+) ms for a", rows["the function's time"][1])]
    )
    assert rows["writes to DynamoDB"][1].startswith(
        f"{handshake.writes:.0f} for a handshake, {money.end(one).writes:.0f} for an end"
    )
    assert f"500 handshakes a second of 29 ms are {-(-500 * 29 // 1000)} environments" in PRODUCTION
    assert f"gets {500 * handshake.writes:,.0f} writes a second" in PRODUCTION


def test_clients_come_back_no_faster_than_they_may() -> None:
    """The table of an outage."""
    for clients, seconds in _rows(PRODUCTION, "| clients | seconds until"):
        assert _number(seconds) == _number(clients) / facts.HANDSHAKES.value
    steady = 1_000_000 / facts.LIFETIME.value
    assert f"a million clients need {steady:.0f} a second" in PRODUCTION


def test_the_alarms_are_those_of_the_templates() -> None:
    """As many rows as there are alarms, without those of an HTTP API."""
    from longwire.deploy.plan import Plan

    plan = Plan(name="chat", handler="main.handler", fanout=True, alarms=True)
    found = [alarm for alarm in alarms(plan) if alarm.of != "http_api"]
    assert len(_rows(PRODUCTION, "| alarm | when |")) == len(found)


async def test_a_relay_reaches_the_groups_of_its_region(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event of SNS, and a client that is in the group."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGWIRE_DSN", "sqlite:///ws.sqlite3")
    async with (
        ThreadFunction(Longwire(_chat())).running() as function,
        LocalGateway(function, GatewaySettings()) as gateway,
    ):
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", gateway.management_url)
        async with connect(gateway.url) as ws:
            await ws.send("there?")
            assert await ws.recv() == "there?"
            names: dict[str, Any] = {}
            exec(FILES["relay.py"], names)
            told = json.dumps({"group": "chat", "data": {"news": 1}})
            event = {"Records": [{"Sns": {"Message": told}}]}
            await asyncio.to_thread(names["handler"], event, None)
            assert json.loads(await ws.recv()) == {"news": 1}
            await asyncio.to_thread(names["connections"].sync.aclose)


def _chat() -> FastAPI:
    app, connections = FastAPI(), Connections()

    @app.websocket("/")
    async def chat(ws: WebSocket) -> None:
        await ws.accept()
        await connections.group_add("chat", ws)
        async for text in ws.iter_text():
            await connections.group_send("chat", text)

    return app


# What a store is asked for


class _Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@pytest.fixture
def counted() -> Iterator[tuple[str, Counter[str]]]:
    """An emulator of AWS, and how many requests of each kind it has got."""
    emulator = DomainDispatcherApplication(create_backend_app)
    seen: Counter[str] = Counter()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        target = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")[2]
        listed = "list-type" in environ.get("QUERY_STRING", "")
        seen[target or ("LIST" if listed else environ["REQUEST_METHOD"])] += 1
        return emulator(environ, start_response)

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


WRITES, READS = ("PutItem", "DeleteItem"), ("GetItem", "Query")


@pytest.mark.parametrize("store", ["dynamodb", "s3"])
async def test_the_stores_are_asked_as_often_as_the_page_says(
    store: str, counted: tuple[str, Counter[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handshake, a message and an end, each client in one group; and their price."""
    url, seen = counted
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    params = {"table_name": "connections"} if store == "dynamodb" else {"bucket": "my-bucket"}
    params |= {"region_name": "eu-west-1", "endpoint_url": url}
    init = ["init", "--backend", store, "--params", json.dumps(params)]
    assert await asyncio.to_thread(main, init) == 0
    config: WSConfig = {"backend": store, "params": params}  # type: ignore[typeddict-item]
    handler = Longwire(_chat(), ws_config=config)
    phases: list[Counter[str]] = []
    seen.clear()
    async with Gateway(handler) as gateway:
        async with gateway.connect() as ws:
            await handler.settle()
            phases.append(seen.copy())
            await ws.send("one")
            assert await ws.receive() == "one"
            await handler.settle()
            phases.append(seen - phases[0])
            before = seen.copy()
    phases.append(seen - before)
    column = 1 if store == "dynamodb" else 3
    rows = _rows(CHOOSE, "| | `dynamodb` | a million |")
    for row, phase in zip(rows, phases, strict=True):
        shown = {
            kind: int(n)
            for n, kind in re.findall(r"(\d+) (reads?|writes?|PUT|GET|LIST)", row[column])
        }
        if store == "dynamodb":
            asked = {"read": sum(phase[k] for k in READS), "write": sum(phase[k] for k in WRITES)}
            shown = {kind.rstrip("s"): n for kind, n in shown.items()}
            assert shown == {kind: n for kind, n in asked.items() if n}
            continue
        assert shown == {kind: phase[kind] for kind in ("PUT", "GET", "LIST") if phase[kind]}
        dollars = 5.0 * (phase["PUT"] + phase["LIST"]) + 0.4 * phase["GET"]
        assert float(row[4]) == pytest.approx(dollars, abs=0.005)


def test_dynamodb_costs_what_the_formulas_say() -> None:
    """The column beside its requests."""
    one = money.Load(1, audience=1)
    each = (money.handshake(one), money.message(one), money.end(one))
    rows = _rows(CHOOSE, "| | `dynamodb` | a million |")
    for row, usage in zip(rows, each, strict=True):
        bill = money.bill(usage)
        dollars = bill["DynamoDB: reads"] + bill["DynamoDB: writes"]
        assert float(row[2]) == pytest.approx(1e6 * dollars, abs=0.006)
