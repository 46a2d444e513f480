"""A whole stack in simulated time: the models of four services, and our code between them."""

from __future__ import annotations

import json
import logging
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from longwire import Connections, Longwire
from longwire.deadlines import PATIENCE
from longwire_backends.dynamodb import DynamoDBBackend
from tests.campaigns.chaos.clock import BEGIN, Clock, SimulatedLoop
from tests.campaigns.scale import edge, facts
from tests.campaigns.scale.dynamodb import Table
from tests.campaigns.scale.functions import EventSource, Function, Lambda
from tests.campaigns.scale.gateway import Gateway, Region
from tests.campaigns.scale.money import Usage
from tests.campaigns.scale.sqs import Queue
from tests.lambda_events import connect_event, disconnect_event, message_event

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from tests.campaigns.scale.gateway import Answer

TABLE = "connections"
# As a browser sends them: they are most of a record.
HEADERS = {
    "Accept-Encoding": ["gzip, deflate, br, zstd"],
    "Accept-Language": ["en-US,en;q=0.9,de;q=0.8"],
    "Cache-Control": ["no-cache"],
    "Cookie": ["session=" + "0123456789abcdef" * 24],
    "Host": [edge.API_HOST],
    "Origin": ["https://chat.example.com"],
    "Pragma": ["no-cache"],
    "Sec-WebSocket-Extensions": ["permessage-deflate; client_max_window_bits"],
    "Sec-WebSocket-Key": ["rJ1q5lNaSTvVzC6kWbB4Xg=="],
    "Sec-WebSocket-Version": ["13"],
    "User-Agent": [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 "
        "Safari/537.36"
    ],
    "X-Amzn-Trace-Id": ["Root=1-6913e5cf-6a5d1d2f4a6b7c8d9e0f1a2b"],
    "X-Forwarded-For": ["203.0.113.7"],
    "X-Forwarded-Port": ["443"],
    "X-Forwarded-Proto": ["https"],
}
FAR = str(int(BEGIN) + 7_800)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Put whoever connects into the room of its URL, and pass on to it what they say."""
    room = parse_qs(scope["query_string"].decode()).get("room", ["all"])[0]
    connections = Connections()
    await receive()
    await send({"type": "websocket.accept"})
    await connections.group_add(room, scope)
    while (message := await receive())["type"] == "websocket.receive":
        await connections.group_send(room, message["text"])


class World:
    """An account with one API, one function, one table and one queue."""

    def __init__(
        self,
        seed: int,
        function: Function | None = None,
        *,
        replay: bool = False,
        fanout: bool = True,
        named: bool = False,
        slow_client: float = PATIENCE,
        region: Region | None = None,
    ) -> None:
        self.clock = Clock(round=0.0)
        self.random = Random(seed)
        self.seed = seed
        self.gateway = Gateway(self.random, self.now, region or Region())
        self.table = Table(self.random, self.now, self.clock.time)
        self.queue = Queue(self.random, self.now)
        self.function = Lambda(self._handler, self.random, self.now, function or Function())
        self.source = EventSource(self.function, self.queue, self.random, self.now)
        self._config = {"replay": replay, "slow_client": slow_client}
        self._fanout = fanout
        # Whether the environment says where the management API is, as a sweep has to know.
        self._named = named

    def now(self) -> float:
        """Return the seconds since the beginning."""
        return self.clock.now

    def run(self, play: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Play something in this world, as fast as it goes."""
        loop = SimulatedLoop(self.clock)
        level = logging.getLogger("longwire").level
        logging.getLogger("longwire").setLevel(logging.CRITICAL)
        try:
            with edge.behind(self, self.clock, self.seed, named=self._named):
                loop.run_until_complete(self._play(play))
        finally:
            logging.getLogger("longwire").setLevel(level)
            loop.close()

    async def _play(self, play: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await play()
        await self.function.settle()
        await self.function.close()

    def answer(self, host: str, head: bytes, body: bytes) -> Answer:
        """Be the service at this host."""
        line = head[: head.index(b"\r\n")].decode()
        method, target, _ = line.split(" ")
        if host == edge.API_HOST:
            return self.gateway.request(method, target, body)
        at = head.lower().index(b"x-amz-target: ") + len(b"x-amz-target: ")
        action = head[at : head.index(b"\r\n", at)].decode().partition(".")[2]
        if host == edge.QUEUE_HOST:
            return self.queue.request(action, body)
        return self.table.request(action, body)

    async def connect(self, connection_id: str, room: str = "all") -> None:
        """Let a client connect."""
        event = connect_event(connection_id, headers=HEADERS, query={"room": [room]})
        answer = await self.function.invoke(_ours(event))
        assert answer == {"statusCode": 200}
        self.gateway.connected.add(connection_id)

    async def say(self, connection_id: str, text: str) -> None:
        """Let a client send a message."""
        await self.function.invoke(_ours(message_event(text, connection_id)))

    async def leave(self, connection_id: str) -> None:
        """Let a client leave."""
        self.gateway.connected.discard(connection_id)
        await self.function.invoke(_ours(disconnect_event(connection_id)))

    def usage(self) -> Usage:
        """Return what has been charged so far, but for connection minutes and clients' messages."""
        return Usage(
            messages=self.gateway.metered,
            events=self.function.events,
            gb_seconds=self.function.seconds * self.function.function.memory / 1024,
            reads=self.table.reads,
            writes=self.table.writes,
            queued=self.queue.charged,
            logged=self.function.events * facts.LOG_BYTES.value,
            sent=self.gateway.out,
        )

    def seat(self, ids: Sequence[str], room: str = "all") -> None:
        """Let these be connected and in a room, as if they had been so for long."""
        self.gateway.connected.update(ids)
        self.table.fill(f"group#{room}", ids, {"expires_at": {"N": FAR}})

    def settle_in(self, ids: Sequence[str], model: str, *, connected_at: float) -> None:
        """Let these be connected since then, each with the record of the model and in no group."""
        item = self.table.item(f"connection#{model}", "record")
        value = json.loads(item["value"]["S"])
        value["scope"]["connected_at"] = int(connected_at * 1000)
        value["responded_at"] = connected_at
        item = {**item, "value": {"S": json.dumps(value, separators=(",", ":"))}}
        self.gateway.connected.update(ids)
        for one in ids:
            self.table.fill(f"connection#{one}", ["record"], item)

    def _handler(self) -> Longwire:
        fanout: Any = {"queue_url": edge.QUEUE_URL} if self._fanout else None
        # Its clock is what `time` was when it was imported, if nobody says another.
        store = DynamoDBBackend(TABLE, region_name=edge.REGION, clock=self.clock.time)
        config: Any = {"backend": store, **self._config}
        return Longwire(app, ws_config=config, lifespan="off", fanout=fanout)


def _ours(event: dict[str, Any]) -> dict[str, Any]:
    about = event["requestContext"]
    about["domainName"], about["apiId"], about["stage"] = edge.API_HOST, edge.API, "prod"
    return event


def ids(count: int) -> list[str]:
    """Return so many ids that look like those of API Gateway."""
    return [f"Cn{number:013d}=" for number in range(count)]
