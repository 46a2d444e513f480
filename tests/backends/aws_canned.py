"""A server that answers what a test tells it, and what DynamoDB and S3 would answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from longwire_backends.dynamodb import DynamoDBBackend
from longwire_backends.s3.backend import S3Backend
from tests.aws.raw_server import Peer

if TYPE_CHECKING:
    import ssl
    from typing import Self

    from longwire_backends.base import Backend

FAR = 1 << 40
ETAG = '"0123456789abcdef"'
# Whatever no text may have in it has one of these.
SECRET, SIGNATURE = "hush", "Signature="
VALUE = f'{{"cookie": "{SECRET}"}}'

Answer: TypeAlias = bytes | Callable[[Peer], Awaitable[None]]
"""Bytes, or what is done instead, after which the connection ends."""


class Request(NamedTuple):
    """What the server was asked; the names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class CannedServer:
    """Gives the answers it was made with, one to each request, and the last to all further ones."""

    def __init__(self, *answers: Answer, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.answers = list(answers)
        self.port = port
        self.requests: list[Request] = []
        self.connections = 0
        self._tls = tls
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://{self.host}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task, writer in self._open.items():
            task.cancel()
            writer.transport.abort()
        results = await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open[asyncio.create_task(self._serve(Peer(reader, writer)))] = writer

    async def _serve(self, peer: Peer) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(peer):
                    pass
        finally:
            peer.writer.close()

    async def _answer(self, peer: Peer) -> bool:
        self.requests.append(_parsed(await peer.request()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, bytes):
            await peer.reply(answer)
            return True
        await answer(peer)
        return False


def _parsed(data: bytes) -> Request:
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Request(method, target, headers, body)


# --- what a server may do -------------------------------------------------------------------------


async def lose(peer: Peer) -> None:
    """End the connection instead of answering."""


async def hold(peer: Peer) -> None:
    """Never answer."""
    await peer.gone()


async def cut(peer: Peer) -> None:
    """End in the middle of a body."""
    await peer.reply(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


async def cut_head(peer: Peer) -> None:
    """End in the middle of a header."""
    await peer.reply(b"HTTP/1.1 200 OK\r\nContent-Le")


async def break_off(peer: Peer) -> None:
    """Reset the connection in the middle of a body."""
    await cut(peer)
    peer.reset()


def reply(status: int, body: bytes | str = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Encode an answer after which the connection stays open."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X"]
    if status != 204:
        lines.append(f"Content-Length: {len(data)}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def at(seconds: float) -> dict[str, str]:
    """Return the header that tells this time."""
    return {"Date": formatdate(seconds, usegmt=True)}


# --- both services --------------------------------------------------------------------------------


def json_refusal(
    code: str, message: str, status: int = 400, headers: Mapping[str, str] | None = None
) -> bytes:
    """Refuse as DynamoDB does."""
    said = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}
    return reply(status, json.dumps(said), headers)


def xml_refusal(
    code: str, message: str, status: int = 400, headers: Mapping[str, str] | None = None
) -> bytes:
    """Refuse as S3 does."""
    said = f"<Code>{code}</Code><Message>{message}</Message><RequestId>1</RequestId>"
    return reply(status, f'<?xml version="1.0"?>\n<Error>{said}</Error>', headers)


@dataclass(frozen=True)
class Kind:
    """One of the two stores, and the answers of its service."""

    name: str
    open: Callable[..., Backend]  # at an endpoint, with a time limit
    refusal: Callable[..., bytes]  # from code, message, status and headers
    version: str
    put: bytes
    get: bytes
    update: bytes
    take: tuple[bytes, ...]  # the last one is to the request that takes
    tidying: int  # requests that follow it
    append: tuple[bytes, ...]  # the last one is to the request that appends
    group_members: bytes
    # The service has too much to do, or is broken; with what the error says.
    throttled: tuple[tuple[bytes, str], ...]
    failed: tuple[bytes, str]


def open_table(url: str | None, timeout: float = 5.0) -> Backend:
    return DynamoDBBackend("table", endpoint_url=url, timeout=timeout)


def open_bucket(url: str | None, timeout: float = 5.0) -> Backend:
    return S3Backend("bucket", endpoint_url=url, timeout=timeout)


_ITEM = {
    "pk": {"S": "connection#a"},
    "sk": {"S": "record"},
    "value": {"S": VALUE},
    "version": {"S": "0123456789abcdef"},
    "expires_at": {"N": str(FAR)},
}
_WRITTEN = reply(200, "", {"ETag": ETAG})
_OBJECT = reply(200, f"{FAR} 0123456789abcdef\n{VALUE}", {"ETag": ETAG})
_LISTING = (
    '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    f"<IsTruncated>false</IsTruncated><Contents><Key>groups/g/a/{FAR}</Key></Contents>"
    "</ListBucketResult>"
)

DYNAMODB = Kind(
    name="dynamodb",
    open=open_table,
    refusal=json_refusal,
    version="0123456789abcdef",
    put=reply(200, "{}"),
    get=reply(200, json.dumps({"Item": _ITEM})),
    update=reply(200, "{}"),
    take=(reply(200, json.dumps({"Attributes": _ITEM})),),
    tidying=0,
    append=(reply(200, "{}"),),
    group_members=reply(200, '{"Items":[{"sk":{"S":"a"}}]}'),
    throttled=(
        (
            json_refusal("ProvisionedThroughputExceededException", "The level of throughput ..."),
            "ProvisionedThroughputExceededException: The level of throughput ...",
        ),
        (
            json_refusal("ThrottlingException", "Rate exceeded"),
            "ThrottlingException: Rate exceeded",
        ),
    ),
    failed=(
        json_refusal("InternalServerError", "Internal server error", 500),
        "InternalServerError: Internal server error",
    ),
)
S3 = Kind(
    name="s3",
    open=open_bucket,
    refusal=xml_refusal,
    version=f"{ETAG} {FAR}",
    put=_WRITTEN,
    get=_OBJECT,
    update=_WRITTEN,
    take=(_OBJECT, _WRITTEN),
    tidying=1,
    append=(xml_refusal("NoSuchKey", "The specified key does not exist.", 404), _WRITTEN),
    group_members=reply(200, _LISTING),
    throttled=(
        (
            xml_refusal("SlowDown", "Please reduce your request rate.", 503),
            "SlowDown: Please reduce your request rate.",
        ),
        (
            xml_refusal("RequestTimeout", "Your socket connection to the server ..."),
            "RequestTimeout: Your socket connection to the server ...",
        ),
    ),
    failed=(
        xml_refusal("InternalError", "We encountered an internal error.", 500),
        "InternalError: We encountered an internal error.",
    ),
)
