"""What the DynamoDB and the S3 store say of servers, keys and answers that are no good.

After each failure the server is as it should be again, and the next operation has to work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import shlex
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from longwire_aws.http import TransportError, TransportTimeoutError
from longwire_aws.streams import default_tls_context
from longwire_backends.base import (
    Backend,
    BackendError,
    ConfigurationError,
    Record,
    RecordTooLargeError,
)
from longwire_backends.dynamodb import DynamoDBBackend
from longwire_backends.s3.backend import S3Backend
from tests.aws.raw_server import Peer, raw_server
from tests.backends.aws_canned import (
    DYNAMODB,
    ETAG,
    FAR,
    S3,
    SECRET,
    SIGNATURE,
    VALUE,
    Answer,
    CannedServer,
    Kind,
    at,
    break_off,
    cut,
    cut_head,
    hold,
    lose,
    reply,
)
from tests.servers.aws import aws_server
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

pytestmark = pytest.mark.anyio

RECORD_OPERATIONS = ("put", "get", "take", "update", "append")
ONCE = ("take", "update", "append")


@pytest.fixture(params=[DYNAMODB, S3], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each of the two stores."""
    found: Kind = request.param
    return found


@pytest.fixture(autouse=True)
def _no_secret(
    aws_keys: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Have secrets that can be recognised, and find them in no logger's records."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SECRET}-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"{SECRET}-token")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.get_records("call"):
        check_texts(record.getMessage(), record.exc_text or "")


def check_texts(*texts: str) -> None:
    """Find no secret in texts."""
    for text in texts:
        assert SECRET not in text
        assert SIGNATURE not in text


async def failed(doing: Awaitable[object], kind: type[BackendError]) -> BackendError:
    """Return the error; neither its text nor those of its causes have a secret in them."""
    with pytest.raises(kind) as caught:
        await doing
    error: BaseException | None = caught.value
    while error is not None:
        check_texts(str(error), repr(error), repr(error.args))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return caught.value


async def failure(doing: Awaitable[object], kind: type[BackendError] = BackendError) -> str:
    """Return the text of the error."""
    return str(await failed(doing, kind))


async def cause(doing: Awaitable[object]) -> tuple[str, BaseException | None]:
    """Return the text of the error, and its cause."""
    error = await failed(doing, BackendError)
    return str(error), error.__cause__


async def perform(backend: Backend, kind: Kind, operation: str) -> None:
    """Do it, and check the result that goes with the kind's answers."""
    record = Record(VALUE, kind.version, FAR)
    match operation:
        case "put":
            assert await backend.put("a", VALUE, FAR)
        case "get":
            assert await backend.get("a") == record
        case "take":
            assert await backend.take("a") == record
        case "update":
            assert await backend.update("a", VALUE, FAR, kind.version)
        case "append":
            assert await backend.append("a", 1, VALUE, FAR)
        case "group_members":
            assert (await backend.group_members("g")).members == ("a",)
        case "create":
            await backend.create()


def answers(kind: Kind, operation: str) -> tuple[tuple[bytes, ...], bytes]:
    """Return the answers before the one that does it, and that one."""
    if operation in ("take", "append"):
        steps = getattr(kind, operation)
        return steps[:-1], steps[-1]
    return (), getattr(kind, operation)


@contextlib.asynccontextmanager
async def opened(kind: Kind, server: CannedServer, timeout: float = 5.0) -> AsyncIterator[Backend]:
    """Open the store on a server."""
    async with server:
        backend = kind.open(server.url, timeout)
        yield backend
        await backend.close()


# --- servers that break ---------------------------------------------------------------------------


@pytest.mark.parametrize("operation", RECORD_OPERATIONS)
async def test_a_refused_connection(kind: Kind, operation: str) -> None:
    """The error names the address; once somebody listens there, all is well."""
    port = free_port()
    backend = kind.open(f"http://127.0.0.1:{port}")
    text, why = await cause(perform(backend, kind, operation))
    refused = f"127.0.0.1:{port}: Connection refused"
    assert text == f"{kind.name}: {operation} failed: {refused}; check endpoint_url"
    assert isinstance(why, TransportError)
    assert str(why) == refused
    first, last = answers(kind, operation)
    async with CannedServer(*first, last, port=port):
        await perform(backend, kind, operation)
        await backend.close()


BREAKS: dict[str, tuple[Callable[[Peer], Awaitable[None]], str]] = {
    "reset in mid-answer": (break_off, "Connection reset by peer"),
    "cut in mid-answer": (cut, "the server closed the connection in mid-answer"),
    "cut in the headers": (cut_head, "the server closed the connection in mid-answer"),
    "no answer": (lose, "the server closed the connection before an answer"),
}


@pytest.mark.parametrize(
    ("operation", "how"),
    [*(("get", how) for how in BREAKS), ("put", "no answer"), ("group_members", "no answer")],
)
async def test_a_broken_answer_is_asked_for_again(kind: Kind, operation: str, how: str) -> None:
    """What may be done twice is done until it works, three times at most."""
    breaking, said = BREAKS[how]
    _, last = answers(kind, operation)
    server = CannedServer(breaking, breaking, last)
    async with opened(kind, server) as backend:
        await perform(backend, kind, operation)
        assert len(server.requests) == 3
    server = CannedServer(breaking)
    async with opened(kind, server) as backend:
        text, why = await cause(perform(backend, kind, operation))
        assert text == f"{kind.name}: {operation} failed: {server.host}: {said}; check endpoint_url"
        assert isinstance(why, TransportError)
        assert str(why) == f"{server.host}: {said}"
        assert len(server.requests) == 3
        server.answers = [last]
        await perform(backend, kind, operation)


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("operation", ONCE)
async def test_what_may_have_been_done_is_not_done_again(
    kind: Kind, operation: str, how: str
) -> None:
    """The answer to a take, update or append that worked may be what was lost."""
    breaking, said = BREAKS[how]
    first, last = answers(kind, operation)
    # On a connection of its own: an old one that breaks is replaced, since it may have been idle
    # for too long.
    first = tuple(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) for answer in first)
    server = CannedServer(*first, breaking, *first, last)
    async with opened(kind, server) as backend:
        text, why = await cause(perform(backend, kind, operation))
        assert text == f"{kind.name}: {operation} failed: {server.host}: {said}; check endpoint_url"
        assert isinstance(why, TransportError)
        assert len(server.requests) == len(first) + 1
        await perform(backend, kind, operation)


@pytest.mark.parametrize("operation", ["get", "update"])
async def test_a_server_that_does_not_answer_in_time(kind: Kind, operation: str) -> None:
    """The error says for how long it was waited, and what it may be on AWS."""
    server = CannedServer(hold, getattr(kind, operation))
    async with opened(kind, server, 0.3) as backend:
        text, why = await cause(perform(backend, kind, operation))
        assert isinstance(why, TransportTimeoutError)
        assert text == (
            f"{kind.name}: {operation} failed: {why}; check endpoint_url; "
            f"a VPC without an endpoint for {kind.name} looks like this"
        )
        limit = re.fullmatch(rf"{server.host}: no answer within (0\.\d+) s", str(why))
        assert limit is not None
        assert 0 < float(limit[1]) <= 0.3
        assert len(server.requests) == 1
        await perform(backend, kind, operation)


@pytest.mark.parametrize("operation", RECORD_OPERATIONS)
async def test_a_throttled_request_is_repeated(kind: Kind, operation: str) -> None:
    """Also a take, an update or an append: it was surely not done."""
    first, last = answers(kind, operation)
    for throttled, _ in kind.throttled:
        server = CannedServer(*first, throttled, throttled, last)
        async with opened(kind, server) as backend:
            await perform(backend, kind, operation)
            tidying = kind.tidying if operation == "take" else 0
            assert len(server.requests) == len(first) + 3 + tidying


@pytest.mark.parametrize("operation", RECORD_OPERATIONS)
async def test_throttling_without_an_end(kind: Kind, operation: str) -> None:
    """The time limit ends it, with the service's own words."""
    first, last = answers(kind, operation)
    throttled, said = kind.throttled[0]
    server = CannedServer(*first, throttled)
    async with opened(kind, server, 0.3) as backend:
        text = await failure(perform(backend, kind, operation))
        assert text == f"{kind.name}: {operation} failed: {said}; it was repeated for 0.3 s"
        assert len(server.requests) > len(first) + 1
        server.answers = [*first, last]
        await perform(backend, kind, operation)


@pytest.mark.parametrize("operation", ["put", "get", "group_members"])
async def test_a_failure_of_the_service_is_repeated(kind: Kind, operation: str) -> None:
    """Twice; then it is the error."""
    failed, said = kind.failed
    _, last = answers(kind, operation)
    server = CannedServer(failed, failed, last)
    async with opened(kind, server) as backend:
        await perform(backend, kind, operation)
        assert len(server.requests) == 3
        server.answers = [failed]
        text = await failure(perform(backend, kind, operation))
        assert text == f"{kind.name}: {operation} failed: {said}"
        assert len(server.requests) == 6
        server.answers = [last]
        await perform(backend, kind, operation)


@pytest.mark.parametrize("operation", ONCE)
async def test_a_failure_of_the_service_may_have_been_a_success(kind: Kind, operation: str) -> None:
    """So a take, an update or an append is not repeated."""
    failed, said = kind.failed
    first, last = answers(kind, operation)
    server = CannedServer(*first, failed, *first, last)
    async with opened(kind, server) as backend:
        text = await failure(perform(backend, kind, operation))
        assert text == f"{kind.name}: {operation} failed: {said}"
        assert len(server.requests) == len(first) + 1
        await perform(backend, kind, operation)


async def test_repeated_group_changes(kind: Kind) -> None:
    """Joining and leaving may be done twice, so that each part of them is repeated."""
    failed, _ = kind.failed
    done = {"dynamodb": [kind.put] * 2, "s3": [kind.group_members] * 2 + [reply(204)] * 2}
    joined = {"dynamodb": [kind.put] * 2, "s3": [kind.group_members, kind.put, kind.put]}
    for steps, change in ((joined, "group_add"), (done, "group_discard")):
        script: list[Answer] = [answer for step in steps[kind.name] for answer in (failed, step)]
        server = CannedServer(*script)
        async with opened(kind, server) as backend:
            if change == "group_add":
                await backend.group_add("g", "a", FAR)
            else:
                await backend.group_discard("g", "a")
            assert len(server.requests) == len(script)


def test_a_server_killed_and_restarted(kind: Kind) -> None:
    """The kept connection is found dead; what the server has lost can be created again."""
    server = aws_server("ministack")
    server.start()
    backend = kind.open(server.url)

    async def scenario() -> None:
        await backend.create()
        version = await backend.put("a", VALUE, FAR)
        server.stop(9)
        text = await failure(backend.get("a"))
        refused = f"127.0.0.1:{server.port}: Connection refused"
        assert text == f"{kind.name}: get failed: {refused}; check endpoint_url"
        server.start()
        await backend.create()
        assert await backend.update("a", VALUE, FAR, version) is None
        version = await backend.put("a", VALUE, FAR)
        assert await backend.take("a") == Record(VALUE, version, FAR)
        await backend.close()

    try:
        asyncio.run(scenario())
    finally:
        server.close()


async def test_a_server_restarted_unnoticed(kind: Kind) -> None:
    """No error at all: the kept connection is replaced, also for what is done only once."""
    first, last = answers(kind, "take")
    async with CannedServer(kind.get) as server:
        backend = kind.open(server.url)
        await perform(backend, kind, "get")
    async with CannedServer(*first, last, port=server.port) as server:
        await perform(backend, kind, "take")
        await backend.close()
        assert len(server.requests) == len(first) + 1 + kind.tidying


async def test_a_cancelled_request_leaves_nothing_behind(kind: Kind) -> None:
    """The next operation does not read the answer to the one before."""
    half, go_on = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        middle = len(kind.get) - 5
        await peer.reply(kind.get[:middle])
        half.set()
        await go_on.wait()
        await peer.reply(kind.get[middle:])

    server = CannedServer(slow, kind.group_members)
    async with opened(kind, server) as backend:
        reading = asyncio.create_task(perform(backend, kind, "get"))
        await half.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        go_on.set()
        await perform(backend, kind, "group_members")
        assert server.connections == 2


# --- settings and addresses -----------------------------------------------------------------------

MAKERS: dict[str, Callable[..., Backend]] = {
    "dynamodb": lambda **options: DynamoDBBackend("table", **options),
    "s3": lambda **options: S3Backend("bucket", **options),
}


def test_an_unknown_region(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text names the parameter and the variable; with an endpoint any region will do."""
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(ConfigurationError) as caught:
        MAKERS[kind.name]()
    assert str(caught.value) == (
        f"{kind.name}: the region is unknown: set region_name in its parameters, or the "
        "environment variable AWS_REGION"
    )
    MAKERS[kind.name](endpoint_url="http://127.0.0.1:1")


@pytest.mark.parametrize("region", ["EU-WEST-1", "eu west", "evil.example/", "a\n"])
def test_what_cannot_be_a_region(kind: Kind, region: str) -> None:
    """It would become a part of the host's name."""
    with pytest.raises(ConfigurationError) as caught:
        MAKERS[kind.name](region_name=region)
    assert str(caught.value) == f"{kind.name}: {region!r} is not a region such as 'eu-west-1'"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "//localhost",
        "ftp://localhost",
        f"http://user:{SECRET}@localhost",
        f"user:{SECRET}@localhost:8000",
        f"http://localhost/?{SECRET}",
        f"http://localhost/#{SECRET}",
        "http://localhost:99999",
        "http://local host",
        "http://localhost\r\nX: y",
    ],
)
def test_an_endpoint_that_is_no_url(kind: Kind, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before anything is sent, and not shown: it may have a password in it."""
    with pytest.raises(ConfigurationError) as caught:
        MAKERS[kind.name](endpoint_url=url)
    what = "is not an http:// or https:// URL with a host"
    assert str(caught.value) == (
        f"{kind.name}: endpoint_url {what}, and without user, query and fragment"
    )
    if url:
        variable = f"AWS_ENDPOINT_URL_{kind.name.upper()}"
        monkeypatch.setenv(variable, url)
        with pytest.raises(ConfigurationError) as caught:
            MAKERS[kind.name]()
        assert str(caught.value) == f"{kind.name}: the environment variable {variable} {what}"


@pytest.mark.parametrize("own", [True, False], ids=["of the service", "of all services"])
async def test_the_environment_has_the_endpoint(
    kind: Kind, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """A service's own variable comes first; a parameter is stronger than both."""
    async with CannedServer(kind.get) as server, CannedServer(kind.get) as other:
        monkeypatch.setenv("AWS_ENDPOINT_URL", other.url if own else server.url + "/")
        if own:
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{kind.name.upper()}", server.url + "/")
        backend = MAKERS[kind.name]()
        await perform(backend, kind, "get")
        await backend.close()
        assert (len(server.requests), len(other.requests)) == (1, 0)
        backend = MAKERS[kind.name](endpoint_url=other.url)
        await perform(backend, kind, "get")
        await backend.close()
        assert (len(server.requests), len(other.requests)) == (1, 1)


@pytest.mark.parametrize(
    ("environ", "given", "region"),
    [
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-west-2"}, None, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "us-west-2"}, None, "us-west-2"),
        ({"AWS_REGION": "eu-west-1"}, "cn-north-1", "cn-north-1"),
        ({}, None, "us-east-1"),
    ],
)
async def test_requests_are_signed_for_the_region(
    kind: Kind,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    given: str | None,
    region: str,
) -> None:
    """For the one that was given, else the one of the environment."""
    monkeypatch.delenv("AWS_REGION")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with CannedServer(kind.get) as server:
        backend = MAKERS[kind.name](endpoint_url=server.url, region_name=given)
        await perform(backend, kind, "get")
        await backend.close()
    assert f"/{region}/{kind.name}/aws4_request" in server.requests[0].headers["authorization"]


async def test_a_name_that_does_not_exist(kind: Kind) -> None:
    """The error says that it is the name."""
    text, why = await cause(kind.open("http://nowhere.invalid").get("a"))
    assert re.fullmatch(
        rf"{kind.name}: get failed: nowhere\.invalid:80: the name cannot be resolved: [^;]+; "
        "check endpoint_url",
        text,
    )
    assert isinstance(why, TransportError)


@pytest.mark.parametrize(
    ("region", "bucket", "hosts"),
    [
        (
            "eu-west-1",
            "b-b",
            ("dynamodb.eu-west-1.amazonaws.com", "b-b.s3.eu-west-1.amazonaws.com"),
        ),
        ("eu-west-1", "b.b", ("dynamodb.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com")),
        (
            "us-gov-west-1",
            "b-b",
            ("dynamodb.us-gov-west-1.amazonaws.com", "b-b.s3.us-gov-west-1.amazonaws.com"),
        ),
        (
            "cn-north-1",
            "b-b",
            ("dynamodb.cn-north-1.amazonaws.com.cn", "b-b.s3.cn-north-1.amazonaws.com.cn"),
        ),
        (
            "eusc-de-east-1",
            "b-b",
            ("dynamodb.eusc-de-east-1.amazonaws.eu", "b-b.s3.eusc-de-east-1.amazonaws.eu"),
        ),
        (
            "us-isof-south-1",
            "b-b",
            ("dynamodb.us-isof-south-1.csp.hci.ic.gov", "b-b.s3.us-isof-south-1.csp.hci.ic.gov"),
        ),
    ],
)
async def test_without_an_endpoint_the_host_is_of_aws(
    monkeypatch: pytest.MonkeyPatch, region: str, bucket: str, hosts: tuple[str, str]
) -> None:
    """Over TLS, in the region's partition; a bucket with a dot is not in the name of the host."""

    def nobody(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    backends = (
        DynamoDBBackend("table", region_name=region),
        S3Backend(bucket, region_name=region),
    )
    for backend, host in zip(backends, hosts, strict=True):
        assert await failure(backend.get("a")) == (
            f"{backend.name}: get failed: {host}:443: the name cannot be resolved: "
            f"Name or service not known; check region_name ({region})"
        )


async def test_plain_http_behind_https(kind: Kind) -> None:
    """A server without TLS answers TLS's greeting with an error of its own."""

    async def script(peer: Peer) -> None:
        await peer.reply(reply(400))
        await peer.gone()

    async with raw_server(script, script, script) as server:
        backend = kind.open(server.url.replace("http", "https"))
        text, why = await cause(backend.get("a"))
    assert re.search(r"(?i)failed: 127\.0\.0\.1:\d+: \[SSL.*; check endpoint_url$", text)
    assert isinstance(why, TransportError)


async def test_a_certificate_nobody_trusts(kind: Kind) -> None:
    """Nothing is sent; the error says what is wrong with the certificate."""
    default_tls_context.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).parents[1] / "aws" / "tls" / "server.pem")
    server = CannedServer(kind.get, tls=context)
    async with opened(kind, server) as backend:
        text, why = await cause(backend.get("a"))
        assert "certificate verify failed" in text
        assert text.endswith("; check endpoint_url")
        assert isinstance(why, TransportError)
        assert server.requests == []


HTML = "<html><body><h1>It works!</h1></body></html>"


@pytest.mark.parametrize("operation", [*RECORD_OPERATIONS, "group_members", "create"])
async def test_a_proxy_that_answers_html(kind: Kind, operation: str) -> None:
    """A page with status 200 is no answer of the service, and never a success."""
    server = CannedServer(reply(200, HTML))
    async with opened(kind, server) as backend:
        text = await failure(perform(backend, kind, operation))
        assert text == f"{kind.name}: {operation} failed: " + (
            f"the answer is not one of DynamoDB: is something else at {server.url}/?"
            if kind.name == "dynamodb"
            else f"the answer is not a listing of S3: is something else at {server.url}/bucket/?"
            if operation in ("group_members", "create")
            else f"the answer has no ETag: is something else at {server.url}/bucket/?"
        )
        server.answers = [kind.get]
        await perform(backend, kind, "get")


@pytest.mark.parametrize("status", [302, 403, 502])
async def test_a_proxy_that_refuses(kind: Kind, status: int) -> None:
    """Its page is not shown; its status is."""
    server = CannedServer(reply(status, HTML))
    async with opened(kind, server) as backend:
        text = await failure(backend.get("a"))
        assert text == (
            f"{kind.name}: get failed: status {status}, not in the form of AWS; check endpoint_url"
        )
        server.answers = [kind.get]
        await perform(backend, kind, "get")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"Item": \xff}',
        b"[1]",
        b'"text"',
        b"[" * 100_000,
        b'<?xml version="1.0" encoding="none"?><ListBucketResult/>',
        b'<?xml version="1.0" encoding="utf-7"?><ListBucketResult/>',
        b"<ListBucketResult><Contents>",
        b"<Other/>",
    ],
    ids=range(10),
)
async def test_malformed_answers(kind: Kind, body: bytes) -> None:
    """Whatever they are, with status 200 or 400, the error tells where they came from."""
    where = {"dynamodb": "/", "s3": "/bucket/"}[kind.name]
    what = {"dynamodb": "one of DynamoDB", "s3": "a listing of S3"}[kind.name]
    server = CannedServer(reply(200, body))
    async with opened(kind, server) as backend:
        text = await failure(backend.group_members("g"))
        assert text == (
            f"{kind.name}: group_members failed: the answer is not {what}: "
            f"is something else at {server.url}{where}?"
        )
        server.answers = [reply(400, body)]
        text = await failure(backend.group_members("g"))
        assert text == (
            f"{kind.name}: group_members failed: status 400, not in the form of AWS; "
            "check endpoint_url"
        )
        server.answers = [kind.group_members]
        await perform(backend, kind, "group_members")


# --- keys and permissions -------------------------------------------------------------------------

EXPIRED = {
    "dynamodb": (
        "ExpiredTokenException",
        "The security token included in the request is expired",
    ),
    "s3": ("ExpiredToken", "The provided token has expired."),
}


async def test_expired_keys(kind: Kind) -> None:
    """Where the environment has no others, it is the error at once."""
    code, message = EXPIRED[kind.name]
    server = CannedServer(kind.refusal(code, message), kind.get)
    async with opened(kind, server) as backend:
        assert await failure(backend.get("a")) == (
            f"{kind.name}: get failed: {code}: {message}; "
            "these AWS keys have expired and no newer ones were found: renew them"
        )
        assert len(server.requests) == 1
        await perform(backend, kind, "get")


@pytest.mark.parametrize("operation", RECORD_OPERATIONS)
async def test_keys_that_rotate(
    kind: Kind, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer keys are used at once, and just once; a take was surely not done before."""
    refused = kind.refusal(*EXPIRED[kind.name])

    async def rotate(peer: Peer) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"NEWER{len(server.requests)}")
        await peer.reply(refused)

    first, last = answers(kind, operation)
    server = CannedServer(*first, rotate, last)
    async with opened(kind, server) as backend:
        await perform(backend, kind, operation)
        taken = server.requests[: len(first) + 2]
        used = [request.headers["authorization"] for request in taken[-2:]]
        assert ["NEWER" in authorization for authorization in used] == [False, True]
        done = len(server.requests)
        server.answers = [*first, rotate, rotate, last]
        assert "have expired" in await failure(perform(backend, kind, operation))
        assert len(server.requests) == done + len(first) + 2


@pytest.mark.parametrize(
    ("minutes", "where"), [(-20, "20 minutes ahead of"), (20, "20 minutes behind")]
)
async def test_a_clock_that_is_wrong(kind: Kind, minutes: int, where: str) -> None:
    """The error says by how much, as the server's own clock has it."""
    code, message = {
        "dynamodb": ("InvalidSignatureException", "Signature expired: x is now earlier than y"),
        "s3": ("RequestTimeTooSkewed", "The difference between the request time and ..."),
    }[kind.name]
    now = at(time.time() + 60 * minutes)
    server = CannedServer(kind.refusal(code, message, 403, now), kind.get)
    async with opened(kind, server) as backend:
        assert await failure(backend.get("a")) == (
            f"{kind.name}: get failed: {code}: {message}; "
            f"the clock of this machine is wrong ({where} the server): set it"
        )
        await perform(backend, kind, "get")


UNKNOWN = "AWS does not know these keys: check them, and AWS_SESSION_TOKEN for temporary ones"
WRONG = "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID, or the region is wrong"
S3_NEEDS = (
    "the function's role needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket "
    "(without the last one S3 also says so of what does not exist)"
)


@pytest.mark.parametrize(
    ("name", "code", "message", "todo"),
    [
        ("dynamodb", "UnrecognizedClientException", "The security token is invalid.", UNKNOWN),
        ("s3", "InvalidAccessKeyId", "The AWS Access Key Id you provided ...", UNKNOWN),
        ("s3", "InvalidToken", "The provided token is malformed or ...", UNKNOWN),
        ("dynamodb", "InvalidSignatureException", "The request signature we calculated", WRONG),
        ("s3", "SignatureDoesNotMatch", "The request signature we calculated", WRONG),
        ("s3", "AccessDenied", "Access Denied", S3_NEEDS),
        ("dynamodb", "AccessDeniedException", "User: arn:... is not authorized to ...", ""),
        ("s3", "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting", ""),
        (
            "dynamodb",
            "IncompleteSignatureException",
            "Authorization header requires 'Credential'",
            "",
        ),
    ],
)
@pytest.mark.parametrize(
    "echo",
    [
        f"\n\nThe Canonical String was\nx-amz-security-token:{SECRET} {SIGNATURE}1",
        f" AWS4-HMAC-SHA256 Credential=A, {SIGNATURE}1",
    ],
)
async def test_refused_keys(name: str, code: str, message: str, todo: str, echo: str) -> None:
    """The service's own words, and what to do; what it repeats of the request is left out."""
    kind = {"dynamodb": DYNAMODB, "s3": S3}[name]
    server = CannedServer(kind.refusal(code, message + echo, 403), kind.get)
    async with opened(kind, server) as backend:
        text = await failure(backend.get("a"))
        assert text == f"{name}: get failed: {code}: {message}" + (f"; {todo}" if todo else "")
        await perform(backend, kind, "get")


@pytest.mark.parametrize("name", ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"])
@pytest.mark.parametrize("odd", ["\n", "\udc80"])
async def test_keys_that_cannot_be_sent(
    kind: Kind, monkeypatch: pytest.MonkeyPatch, name: str, odd: str
) -> None:
    """A line break that was pasted with them, or a byte that is no text."""
    server = CannedServer(kind.get)
    async with opened(kind, server) as backend:
        with monkeypatch.context() as patch:
            patch.setenv(f"AWS_{name}", f"{SECRET}{odd}")
            assert await failure(backend.get("a")) == (
                f"{kind.name}: get failed: the AWS keys cannot be sent: AWS_{name} has a line "
                "break, a space or another odd character in it"
            )
            assert server.requests == []
        await perform(backend, kind, "get")


async def test_half_a_pair_of_keys(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the search for keys is the store's, too."""
    server = CannedServer(kind.get)
    async with opened(kind, server) as backend:
        with monkeypatch.context() as patch:
            patch.delenv("AWS_SECRET_ACCESS_KEY")
            assert await failure(backend.get("a")) == (
                f"{kind.name}: get failed: AWS_ACCESS_KEY_ID is in the environment and "
                "AWS_SECRET_ACCESS_KEY is not: set both, or neither"
            )
        await perform(backend, kind, "get")


# --- stores that are not there, or not ours -------------------------------------------------------

MISSING = {
    "dynamodb": ("ResourceNotFoundException", "Requested resource not found", 400),
    "s3": ("NoSuchBucket", "The specified bucket does not exist", 404),
}
THERE = {
    "dynamodb": ("there is no table table in eu-west-1", {"table_name": "table"}),
    "s3": ("there is no bucket bucket", {"bucket": "bucket"}),
}


@pytest.mark.parametrize("operation", [*RECORD_OPERATIONS, "group_members"])
async def test_a_missing_table_or_bucket(kind: Kind, operation: str) -> None:
    """The command that creates it survives the shell, whatever the address has in it."""
    code, message, status = MISSING[kind.name]
    missing, params = THERE[kind.name]
    server = CannedServer(kind.refusal(code, message, status))
    async with server:
        backend = kind.open(f"{server.url}/it's/$(here)")
        text = await failure(perform(backend, kind, operation))
        start = f"{kind.name}: {operation} failed: {missing}; create it with: "
        assert text.startswith(start)
        *command, given = shlex.split(text.removeprefix(start))
        assert command == ["longwire", "init", "--backend", kind.name, "--params"]
        place = {"region_name": "eu-west-1", "endpoint_url": f"{server.url}/it's/$(here)"}
        assert json.loads(given) == params | place
        first, last = answers(kind, operation)
        server.answers = [*first, last]
        await perform(backend, kind, operation)
        await backend.close()


@pytest.mark.parametrize(
    "message",
    [
        "The provided key element does not match the schema",
        "One or more parameter values were invalid: Missing the key connectionId in the item",
        "One or more parameter values were invalid: Type mismatch for key pk expected: N actual: S",
        "Query condition missed key schema element: connectionId",
        "The number of conditions on the keys is invalid",
        "One or more parameter values were invalid: Condition parameter type does not match "
        "schema type",
    ],
)
async def test_a_table_with_other_keys(message: str) -> None:
    """In all the ways in which DynamoDB says so."""
    kind = DYNAMODB
    server = CannedServer(kind.refusal("ValidationException", message), kind.get)
    async with opened(kind, server) as backend:
        assert await failure(backend.get("a")) == (
            "dynamodb: get failed: the table table has other keys than the texts pk and sk, so it "
            f"is not one of Longwire's; give another table_name ({message})"
        )
        await perform(backend, kind, "get")


@pytest.mark.parametrize("operation", ["get", "take"])
@pytest.mark.parametrize(
    "item",
    [
        {"pk": {"S": "connection#a"}},
        {"value": {"S": VALUE}, "version": {"S": "1"}, "expires_at": {"S": SECRET}},
        {"value": {"B": VALUE}, "version": {"S": "1"}, "expires_at": {"N": "1"}},
        {"value": VALUE, "version": {"S": "1"}, "expires_at": {"N": "1"}},
        [VALUE],
        VALUE,
    ],
    ids=range(6),
)
async def test_an_item_that_is_not_ours(operation: str, item: object) -> None:
    """It is not shown."""
    kind = DYNAMODB
    server = CannedServer(reply(200, json.dumps({"Item": item, "Attributes": item})))
    async with opened(kind, server) as backend:
        assert await failure(perform(backend, kind, operation)) == (
            f"dynamodb: {operation} failed: the table table has an item that is not one of "
            "Longwire's"
        )
        server.answers = [*answers(kind, operation)[0], answers(kind, operation)[1]]
        await perform(backend, kind, operation)


@pytest.mark.parametrize("operation", ["get", "take"])
@pytest.mark.parametrize("body", [f"{SECRET} 1\n{VALUE}".encode(), b"", b"\xff", b"1e9 1\nv"])
async def test_an_object_that_is_not_ours(operation: str, body: bytes) -> None:
    """It is not shown, nor deleted."""
    kind = S3
    server = CannedServer(reply(200, body, {"ETag": ETAG}))
    async with opened(kind, server) as backend:
        assert await failure(perform(backend, kind, operation)) == (
            f"s3: {operation} failed: the object connections/a is not one of Longwire's; "
            "give another prefix"
        )
        assert [request.method for request in server.requests] == ["GET"]
        server.answers = [*answers(kind, operation)[0], answers(kind, operation)[1]]
        await perform(backend, kind, operation)


async def test_a_bucket_in_another_region() -> None:
    """S3 says where it is, and so does the error; create says it, too."""
    kind = S3
    elsewhere = kind.refusal(
        "PermanentRedirect", "Use another endpoint.", 301, {"x-amz-bucket-region": "us-west-2"}
    )
    server = CannedServer(elsewhere)
    async with opened(kind, server) as backend:
        detail = "the bucket bucket is in us-west-2: set region_name to it"
        for operation in (*RECORD_OPERATIONS, "group_members"):
            text = await failure(perform(backend, kind, operation))
            assert text == f"s3: {operation} failed: {detail}"
        assert await failure(backend.create()) == f"s3: create failed: {detail}"
        server.answers = [kind.get]
        await perform(backend, kind, "get")


@pytest.mark.parametrize("operation", ["put", "update"])
@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("dynamodb", "ValidationException", "Item size has exceeded the maximum allowed size"),
        (
            "dynamodb",
            "ValidationException",
            "Item size to update has exceeded the maximum allowed size",
        ),
        ("s3", "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"),
    ],
)
async def test_a_record_that_the_server_finds_too_large(
    name: str, operation: str, code: str, message: str
) -> None:
    """The same typed error as by the store's own limit."""
    kind = {"dynamodb": DYNAMODB, "s3": S3}[name]
    server = CannedServer(kind.refusal(code, message), kind.put)
    async with opened(kind, server) as backend:
        text = await failure(perform(backend, kind, operation), RecordTooLargeError)
        assert text.startswith(f"{name}: {operation} failed: ")
        assert text.endswith(message)
        assert len(server.requests) == 1
        await perform(backend, kind, operation)


async def test_a_record_that_is_never_the_one_just_read() -> None:
    """A take that is always overtaken, as by a server without conditions, comes to an end."""
    kind = S3
    overtaken = kind.refusal("PreconditionFailed", "At least one of the pre-conditions ...", 412)
    server = CannedServer(*[kind.get, overtaken] * 2000, kind.get)
    async with opened(kind, server, 0.1) as backend:
        assert await failure(backend.take("a")) == (
            "s3: take failed: the record was never the one just read, for 0.1 s"
        )
        server.answers = list(kind.take)
        await perform(backend, kind, "take")


@pytest.mark.parametrize(
    "listing",
    [
        "<IsTruncated>true</IsTruncated>",
        "<IsTruncated>true</IsTruncated><Contents><Key>groups/g/a/1</Key></Contents>",
    ],
    ids=["no keys", "the same keys again"],
)
async def test_a_listing_that_does_not_go_on(listing: str) -> None:
    """It is an error, and not asked for again and again."""
    answer = reply(200, f"<ListBucketResult>{listing}</ListBucketResult>")
    server = CannedServer(answer)
    async with opened(S3, server) as backend:
        text = await failure(backend.group_members("g", after=f"a/{FAR}"))
        assert text == (
            "s3: group_members failed: the answer is not a listing of S3: is something else at "
            f"{server.url}/bucket/?"
        )
        assert len(server.requests) == 1


async def test_a_query_that_does_not_go_on() -> None:
    """A page that ends where it began is not one of DynamoDB."""
    item = {"pk": {"S": "groups#a"}, "sk": {"S": "g"}}
    server = CannedServer(reply(200, json.dumps({"Items": [item], "LastEvaluatedKey": item})))
    async with opened(DYNAMODB, server) as backend:
        assert "is not one of DynamoDB" in await failure(backend.groups("a"))
        assert len(server.requests) == 2


async def test_a_server_that_deletes_what_is_gone() -> None:
    """Who takes a record is decided by a write, of which S3 promises that only one can do it."""
    lost = S3.refusal("PreconditionFailed", "At least one of the pre-conditions ...", 412)
    gone = S3.refusal("NoSuchKey", "The specified key does not exist.", 404)
    server = CannedServer(S3.get, lost, gone, reply(204))
    async with opened(S3, server) as backend:
        assert await backend.take("a") is None
        assert [request.method for request in server.requests] == ["GET", "PUT", "GET"]


async def test_a_record_that_was_taken_may_stay_until_it_is_swept() -> None:
    """A take that has won is not lost with the answer to its tidying."""
    failed, _ = S3.failed
    server = CannedServer(S3.get, S3.put, failed)
    async with opened(S3, server) as backend:
        await perform(backend, S3, "take")
