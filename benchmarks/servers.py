"""What the measured processes speak to, in processes of their own; the servers are the tests'."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
import ssl
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.measured import event
from tests.connections_server import ConnectionsServer
from tests.servers.proxy import CountingProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from multiprocessing.connection import Connection

    # An address, and what counts.
    Counted = tuple[str, Callable[[], int]]


TLS_FILES = Path(__file__).parents[1] / "tests/aws/tls"
# Lets Python's default context believe the server's certificate.
TRUSTING = {"SSL_CERT_FILE": str(TLS_FILES / "authority.pem")}


class Server:
    """An asyncio server in another process.

    Attributes:
        address: its URL or port.
    """

    def __init__(self, pipe: Connection) -> None:
        self.address = str(pipe.recv())
        self._pipe = pipe

    def count(self) -> int:
        """Return how much has arrived by now."""
        self._pipe.send("count")
        return int(self._pipe.recv())


@contextmanager
def running(
    make: Callable[..., AbstractAsyncContextManager[Counted]], *arguments: int
) -> Iterator[Server]:
    """Run one of the servers below."""
    spawn = multiprocessing.get_context("spawn")
    ours, its = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(its, make, *arguments), daemon=True)
    process.start()
    try:
        yield Server(ours)
    finally:
        process.terminate()
        process.join()


def _serve(
    pipe: Connection,
    make: Callable[..., AbstractAsyncContextManager[Counted]],
    *arguments: int,
) -> None:
    async def run() -> None:
        async with make(*arguments) as (address, count):
            pipe.send(address)
            while await asyncio.to_thread(pipe.recv):
                pipe.send(count())

    asyncio.run(run())


@asynccontextmanager
async def connections() -> AsyncIterator[Counted]:
    """The management API; counts the frames that were posted."""
    async with ConnectionsServer() as server:
        yield server.url, lambda: len(server.delivered)


class Quick(asyncio.Protocol):
    """Answers at once, and does no more than must be to know a request's end."""

    answered = 0
    _transport: asyncio.Transport
    _received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        _, _, length = head.lower().partition(b"\r\ncontent-length:")
        if len(body) == int(length.partition(b"\r\n")[0] or 0):
            self._received = b""
            Quick.answered += 1
            self._transport.write(self.answer(head, body))

    def answer(self, head: bytes, body: bytes) -> bytes:
        raise NotImplementedError


class QuickConnections(Quick):
    """Takes each frame, as API Gateway does."""

    def answer(self, head: bytes, body: bytes) -> bytes:
        return _TAKEN


_TAKEN = (
    b"HTTP/1.1 200 OK\r\nDate: Tue, 11 Nov 2025 13:45:46 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: 0\r\nConnection: keep-alive\r\n"
    b"x-amzn-RequestId: 3f1c2d4e-5b6a-7c8d-9e0f-1a2b3c4d5e6f\r\n"
    b"x-amz-apigw-id: QWEaVtH2IAMFZEQ=\r\n\r\n"
)


class QuickTable(Quick):
    """Items of DynamoDB by their keys, without conditions; one is there from the beginning."""

    items: ClassVar[dict[str, Any]] = {}

    def answer(self, head: bytes, body: bytes) -> bytes:
        request = json.loads(body)
        key = request.get("Key") or request.get("Item") or {"pk": {"S": ""}, "sk": {"S": ""}}
        name = f"{key['pk']['S']} {key['sk']['S']}"
        answer: dict[str, Any] = {}
        match re.findall(rb"(?i)x-amz-target: *\w+\.(\w+)", head):
            case [b"GetItem"] if name in self.items:
                answer = {"Item": self.items[name]}
            case [b"PutItem"]:
                self.items[name] = request["Item"]
            case [b"DeleteItem"] if name in self.items:
                answer = {"Attributes": self.items.pop(name)}
            case [b"Query"]:
                answer = {"Items": [], "Count": 0, "ScannedCount": 0}
        text = json.dumps(answer, separators=(",", ":")).encode()
        return _ANSWER % len(text) + text


_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
    b"x-amzn-RequestId: A1B2C3D4E5F6G7H8I9J0\r\nContent-Length: %d\r\n\r\n"
)


@asynccontextmanager
async def quick_connections(*, tls: bool = False) -> AsyncIterator[Counted]:
    """The management API without its rules, so quick that the clients are what is measured."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS_FILES / "server.pem")
    async with _listening(QuickConnections, context) as port:
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}/prod", lambda: Quick.answered


@asynccontextmanager
async def _listening(
    quick: type[Quick], context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(quick, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def tls_connections() -> AbstractAsyncContextManager[Counted]:
    """The same over TLS, for clients with `TRUSTING` in their environment."""
    return quick_connections(tls=True)


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[Counted]:
    """What passes requests on to a store; counts them."""
    async with CountingProxy(port) as server:
        yield str(server.port), lambda: server.turns


@asynccontextmanager
async def quick_dynamodb() -> AsyncIterator[Counted]:
    """DynamoDB so quick that the clients are what is measured."""
    record = {
        "pk": {"S": "connection#QWEaVd7IIAMCJsQ="},
        "sk": {"S": "record"},
        "value": {"S": json.dumps(event("CONNECT", "QWEaVd7IIAMCJsQ="))},
        "version": {"S": "0123456789abcdef"},
        "expires_at": {"N": str(int(time.time()) + 7800)},
    }
    QuickTable.items[f"{record['pk']['S']} record"] = record
    async with _listening(QuickTable) as port:
        yield f"http://127.0.0.1:{port}", lambda: Quick.answered
