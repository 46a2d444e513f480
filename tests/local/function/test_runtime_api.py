"""Lambda's Runtime API and Extensions API: answers as Lambda gives them (`gateway.md`, 7.2)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from longwire.local.function import runtime_api
from longwire.local.function.runtime_api import Failure, RuntimeAPI, RuntimeServer, Work
from tests.local.fakes import exchange

if TYPE_CHECKING:
    from longwire.local.rules.management_api import JSONResponse

pytestmark = pytest.mark.anyio

NEXT = "/2018-06-01/runtime/invocation/next"
REGISTER = "/2020-01-01/extension/register"
EVENT = "/2020-01-01/extension/event/next"


@pytest.fixture
def api() -> RuntimeAPI:
    numbers = iter(range(100))
    return RuntimeAPI(lambda: f"identifier-{next(numbers)}")


def _work(request_id: str = "one") -> Work:
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    return Work(request_id, b'{"a": 1}', 1500, "arn:x", "Root=1", lambda: None, answered)


async def _register(api: RuntimeAPI, name: str = "mine", body: object = None) -> JSONResponse:
    wanted = {"events": ["INVOKE"]} if body is None else body
    text = wanted if isinstance(wanted, bytes) else json.dumps(wanted).encode()
    return await api.answer("POST", REGISTER, {"lambda-extension-name": name}, text)


def _error(answer: JSONResponse) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["errorType"]


async def _next(api: RuntimeAPI) -> asyncio.Task[JSONResponse]:
    asking = asyncio.create_task(api.answer("GET", NEXT, {}, b""))
    await asyncio.sleep(0)
    return asking


async def test_an_invocation(api: RuntimeAPI) -> None:
    """Its headers, its one answer, and when the process is idle."""
    asking = await _next(api)
    assert api.is_idle.is_set()
    api.begin(work := _work())
    assert not api.is_idle.is_set()
    given = await asking
    assert (given.status, given.body) == (200, b'{"a": 1}')
    assert dict(given.headers) == {
        "content-type": "application/json",
        "Lambda-Runtime-Aws-Request-Id": "one",
        "Lambda-Runtime-Deadline-Ms": "1500",
        "Lambda-Runtime-Invoked-Function-Arn": "arn:x",
        "Lambda-Runtime-Trace-Id": "Root=1",
    }
    answer = "/2018-06-01/runtime/invocation/{}/response"
    assert _error(await api.answer("POST", answer.format("two"), {}, b"{}")) == (
        400,
        "InvalidRequestID",
    )
    assert (await api.answer("POST", answer.format("one"), {}, b'{"b": 2}')).status == 202
    assert work.answered.result() == b'{"b": 2}'
    assert _error(await api.answer("POST", answer.format("one"), {}, b"{}")) == (
        403,
        "InvalidStateTransition",
    )
    asking = await _next(api)
    assert api.is_idle.is_set()
    asking.cancel()


async def test_an_error_and_an_answer_that_is_too_large(
    api: RuntimeAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_api, "RESPONSE_LIMIT", 100)
    for path, body, status, failure in (
        ("error", b'{"errorType": "ValueError", "errorMessage": "no"}', 202, ("ValueError", "no")),
        ("error", b"rubbish", 202, ("Runtime.Unknown", "rubbish")),
        ("response", b"x" * 101, 413, None),
    ):
        asking = await _next(api)
        api.begin(work := _work())
        await asking
        given = await api.answer("POST", f"/2018-06-01/runtime/invocation/one/{path}", {}, body)
        assert given.status == status
        said = work.answered.result()
        assert isinstance(said, Failure)
        assert failure is None or said == failure
        assert failure is not None or said.type == "Function.ResponseSizeTooLarge"


async def test_an_extension_is_told_and_waited_for(api: RuntimeAPI) -> None:
    registered = await _register(api)
    assert registered.status == 200
    assert set(json.loads(registered.body)) == {"functionName", "functionVersion", "handler"}
    identifier = dict(registered.headers)["Lambda-Extension-Identifier"]
    asking = await _next(api)
    assert not api.is_idle.is_set()
    me = {"lambda-extension-identifier": identifier}
    told = asyncio.create_task(api.answer("GET", EVENT, me, b""))
    await asyncio.sleep(0)
    assert api.is_idle.is_set()
    api.begin(_work())
    await asking
    event = await told
    assert dict(event.headers)["Lambda-Extension-Event-Identifier"]
    assert json.loads(event.body) == {
        "eventType": "INVOKE",
        "deadlineMs": 1500,
        "requestId": "one",
        "invokedFunctionArn": "arn:x",
        "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1"},
    }
    asking = await _next(api)
    assert not api.is_idle.is_set()
    assert (await api.answer("POST", "/2020-01-01/extension/exit/error", me, b"{}")).status == 202
    assert api.is_idle.is_set()
    asking.cancel()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"rubbish", "InvalidRequestFormat"),
        ({"events": "INVOKE"}, "InvalidRequestFormat"),
        ([], "InvalidRequestFormat"),
        ({"events": ["SHUTDOWN"]}, "Extension.InvalidEventType"),
        ({"events": ["INVOKE", "FOO"]}, "Extension.InvalidEventType"),
    ],
)
async def test_what_cannot_be_registered(api: RuntimeAPI, body: object, error: str) -> None:
    assert _error(await _register(api, body=body)) == (403, error)


async def test_who_cannot_register(api: RuntimeAPI) -> None:
    assert _error(await _register(api, "")) == (403, "Extension.InvalidExtensionName")
    assert (await _register(api, "one 0")).status == 200
    assert _error(await _register(api, "one 0")) == (403, "Extension.InvalidExtensionName")
    for number in range(1, 10):
        assert (await _register(api, f"one {number}")).status == 200
    assert _error(await _register(api, "one more")) == (403, "Extension.TooManyExtensions")
    stranger = {"lambda-extension-identifier": "x"}
    unknown = (403, "Extension.UnknownExtensionIdentifier")
    assert _error(await api.answer("GET", EVENT, stranger, b"")) == unknown
    assert _error(await api.answer("GET", EVENT, {}, b"")) == unknown


async def test_registration_closes_with_the_first_next(api: RuntimeAPI) -> None:
    asking = await _next(api)
    assert _error(await _register(api)) == (403, "Extension.RegistrationClosed")
    asking.cancel()


async def test_other_requests(api: RuntimeAPI) -> None:
    said = b'{"errorType": "ImportError", "errorMessage": "no module"}'
    assert (await api.answer("POST", "/2018-06-01/runtime/init/error", {}, said)).status == 202
    assert api.failed == ("ImportError", "no module")
    assert (await api.answer("GET", "/2018-06-01/runtime/restore/next", {}, b"")).status == 200
    assert (await api.answer("GET", "/2018-06-01/ping", {}, b"")).status == 404


SECRET = "only-its-process-knows"


@pytest.mark.parametrize(
    ("prefix", "headers", "status"),
    [
        (f"/{SECRET}", [], 202),
        ("", [], 403),
        ("/", [], 403),
        (f"/{SECRET[:-1]}", [], 403),
        (f"/{SECRET}x", [], 404),
        ("/\x7f", [], 400),
        (f"/{SECRET}", ["Origin: https://evil.example"], 403),
        (f"/{SECRET}", ["Sec-Fetch-Site: cross-site"], 403),
        (f"/{SECRET}", ["Host: evil.example"], 403),
    ],
)
async def test_only_the_process_that_knows_the_secret_is_answered(
    api: RuntimeAPI, prefix: str, headers: list[str], status: int
) -> None:
    """Neither other programs of the machine nor web pages, which can send text/plain anywhere."""
    server = RuntimeServer(api, SECRET)
    await server.start()
    try:
        address, _, path = server.address.partition("/")
        assert path == SECRET
        body = '{"errorType": "E", "errorMessage": "forged"}'
        given = headers if any("Host" in line for line in headers) else ["Host: x", *headers]
        given = [line.replace("Host: x", f"Host: {address}") for line in given]
        head = [
            f"POST {prefix}/2018-06-01/runtime/init/error HTTP/1.1",
            *given,
            "Content-Type: text/plain",
            f"Content-Length: {len(body)}",
        ]
        request = "\r\n".join([*head, "", body]).encode()
        assert (await exchange(f"http://{address}", request))[0] == status
        assert (api.failed is not None) is (status == 202)
    finally:
        await server.stop()


async def test_a_stranger_gets_no_event(api: RuntimeAPI) -> None:
    """Which has the cookies of a client in it; the process itself gets it."""
    server = RuntimeServer(api, SECRET)
    await server.start()
    try:
        address = server.address.partition("/")[0]
        ask = f"HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
        stranger = await exchange(f"http://{address}", f"GET {NEXT} ".encode() + ask)
        assert stranger[0] == 403
        assert not api.is_idle.is_set()
        own = exchange(f"http://{address}", f"GET /{SECRET}{NEXT} ".encode() + ask)
        asking = asyncio.create_task(own)
        await api.is_idle.wait()
        api.begin(_work())
        assert (await asking)[2] == b'{"a": 1}'
    finally:
        await server.stop()
