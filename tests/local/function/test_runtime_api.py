"""Lambda's Runtime API and Extensions API: answers as Lambda gives them (`gateway.md`, 7.2)."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from longwire.local.function import runtime_api
from longwire.local.function.runtime_api import Failure, RuntimeAPI, Work
from longwire.local.function.runtime_server import RuntimeServer
from tests.local.fakes import exchange

if TYPE_CHECKING:
    from longwire.local.rules.management_api import JSONResponse

pytestmark = pytest.mark.anyio

NEXT = "/2018-06-01/runtime/invocation/next"
RESTORE = "/2018-06-01/runtime/restore/next"
REGISTER = "/2020-01-01/extension/register"
EVENT = "/2020-01-01/extension/event/next"
INVALID_STATE = "Extension.InvalidExtensionState"


@pytest.fixture
def api() -> RuntimeAPI:
    return RuntimeAPI(lambda: str(uuid.uuid4()))


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
    monkeypatch.setattr(runtime_api, "PAYLOAD_LIMIT", 100)
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
    told = asyncio.create_task(api.answer("GET", EVENT, me, b""))
    await asyncio.sleep(0)
    assert api.is_idle.is_set()
    assert _error(await api.answer("GET", EVENT, me, b"")) == (403, INVALID_STATE)
    # The first one is still the one that gets the event.
    api.begin(_work("two"))
    assert json.loads((await told).body)["requestId"] == "two"
    asking.cancel()


@pytest.mark.parametrize("phase", ["Init", "Exit"])
async def test_an_extension_that_reports_its_end(api: RuntimeAPI, phase: str) -> None:
    """Nobody waits for it any more, and the process that ends then has its error."""
    registered = await _register(api)
    me = {"lambda-extension-identifier": dict(registered.headers)["Lambda-Extension-Identifier"]}
    path = f"/2020-01-01/extension/{phase.lower()}/error"
    nobody = {"lambda-extension-identifier": str(uuid.uuid4())}
    for one in (me, nobody):
        refused = await api.answer("POST", path, one, b"{}")
        assert _error(refused) == (403, "Extension.MissingHeader")
    why = me | {"lambda-extension-function-error-type": "Mine.Broken"}
    asking = await _next(api)
    assert not api.is_idle.is_set()
    assert (await api.answer("POST", path, why, b"{}")).status == 202
    assert api.is_idle.is_set()
    assert api.has_extensions
    assert api.extension_error == f"Extension.{phase}Error"
    assert _error(await api.answer("GET", EVENT, me, b"")) == (403, INVALID_STATE)
    asking.cancel()


async def test_an_extension_that_waits_cannot_fail_to_begin(api: RuntimeAPI) -> None:
    registered = await _register(api)
    me = {"lambda-extension-identifier": dict(registered.headers)["Lambda-Extension-Identifier"]}
    told = asyncio.create_task(api.answer("GET", EVENT, me, b""))
    await asyncio.sleep(0)
    why = me | {"lambda-extension-function-error-type": "Mine.Broken"}
    refused = await api.answer("POST", "/2020-01-01/extension/init/error", why, b"{}")
    assert _error(refused) == (403, INVALID_STATE)
    told.cancel()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"rubbish", "InvalidRequestFormat"),
        ({"events": "INVOKE"}, "InvalidRequestFormat"),
        ([], "InvalidRequestFormat"),
        (b"", "InvalidRequestFormat"),
        ({"events": [["INVOKE"]]}, "InvalidRequestFormat"),
        ({"events": ["SHUTDOWN"]}, "Extension.InvalidEventType"),
        ({"events": ["INVOKE", "FOO"]}, "Extension.InvalidEventType"),
    ],
)
async def test_what_cannot_be_registered(api: RuntimeAPI, body: object, error: str) -> None:
    assert _error(await _register(api, body=body)) == (403, error)


@pytest.mark.parametrize("body", [{}, {"events": None}, {"events": []}, {"more": 1}, b"null"])
async def test_an_extension_without_events(api: RuntimeAPI, body: object) -> None:
    """It is told of none, and its environment waits for it once, at the beginning."""
    registered = await _register(api, body=body)
    assert registered.status == 200
    me = {"lambda-extension-identifier": dict(registered.headers)["Lambda-Extension-Identifier"]}
    told = asyncio.create_task(api.answer("GET", EVENT, me, b""))
    asking = await _next(api)
    assert api.is_idle.is_set()
    api.begin(_work())
    await asking
    asking = await _next(api)
    assert api.is_idle.is_set()
    assert not told.done()
    told.cancel()
    asking.cancel()


async def test_who_cannot_register(api: RuntimeAPI) -> None:
    assert _error(await _register(api, "")) == (403, "Extension.InvalidExtensionName")
    assert (await _register(api, "one 0")).status == 200
    assert _error(await _register(api, "one 0")) == (403, INVALID_STATE)
    for number in range(1, 10):
        assert (await _register(api, f"one {number}")).status == 200
    assert _error(await _register(api, "one more")) == (403, "Extension.TooManyExtensions")


@pytest.mark.parametrize("path", ["event/next", "init/error", "exit/error"])
@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, "Extension.MissingExtensionIdentifier"),
        ({"lambda-extension-identifier": "x"}, "Extension.InvalidExtensionIdentifier"),
        (
            {"lambda-extension-identifier": str(uuid.UUID(int=1))},
            "Extension.UnknownExtensionIdentifier",
        ),
    ],
)
async def test_an_extension_that_nobody_knows(
    api: RuntimeAPI, path: str, headers: dict[str, str], error: str
) -> None:
    method = "GET" if path == "event/next" else "POST"
    given = headers | {"lambda-extension-function-error-type": "Mine.Broken"}
    answer = await api.answer(method, f"/2020-01-01/extension/{path}", given, b"{}")
    assert _error(answer) == (403, error)


async def test_registration_closes_with_the_first_next(api: RuntimeAPI) -> None:
    asking = await _next(api)
    assert _error(await _register(api)) == (403, "Extension.RegistrationClosed")
    asking.cancel()


@pytest.mark.parametrize("phase", ["init", "restore"])
async def test_a_runtime_that_fails(api: RuntimeAPI, phase: str) -> None:
    said = b'{"errorType": "ImportError", "errorMessage": "no module"}'
    path = f"/2018-06-01/runtime/{phase}/error"
    assert (await api.answer("POST", path, {}, said)).status == 202
    assert api.failed == ("ImportError", "no module")


async def test_a_runtime_that_waits_for_its_restore(api: RuntimeAPI) -> None:
    """Its snapshot can be taken while it does, and nothing registers after that."""
    assert not api.restore()
    restored = asyncio.create_task(api.answer("GET", RESTORE, {}, b""))
    await asyncio.sleep(0)
    assert not restored.done()
    assert api.is_idle.is_set()
    assert _error(await _register(api)) == (403, "Extension.RegistrationClosed")
    assert api.restore()
    assert (await restored).status == 200
    assert not api.is_idle.is_set()
    asking = await _next(api)
    assert api.is_idle.is_set()
    refused = await api.answer("GET", RESTORE, {}, b"")
    assert _error(refused) == (403, "InvalidStateTransition")
    asking.cancel()


async def test_no_answer_is_taken_after_the_invocations_time(api: RuntimeAPI) -> None:
    asking = await _next(api)
    api.begin(work := _work())
    await asking
    api.abandon()
    late = await api.answer("POST", "/2018-06-01/runtime/invocation/one/response", {}, b"{}")
    assert _error(late) == (400, "InvalidRequestID")
    assert not work.answered.done()


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/2018-06-01/ping", 200, b"pong"),
        ("POST", "/2018-06-01/ping", 405, b'"MethodNotAllowed"'),
        ("POST", NEXT, 405, b'"MethodNotAllowed"'),
        ("GET", REGISTER, 405, b'"MethodNotAllowed"'),
        ("PUT", "/2018-06-01/runtime/invocation/one/response", 405, b'"MethodNotAllowed"'),
        ("PUT", "/2022-07-01/telemetry", 202, b'"Telemetry.NotSupported"'),
        ("PUT", "/2020-08-15/logs", 202, b'"Logs.NotSupported"'),
        ("GET", "/2018-06-01/nothing", 404, b'"NotFound"'),
        ("GET", "/event/next", 404, b'"NotFound"'),
    ],
)
async def test_other_requests(
    api: RuntimeAPI, method: str, path: str, status: int, body: bytes
) -> None:
    answer = await api.answer(method, path, {}, b"")
    assert answer.status == status
    assert body in answer.body
    kind = "text/plain; charset=utf-8" if body == b"pong" else "application/json"
    assert dict(answer.headers)["content-type"] == kind


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
