"""CONNECT: what each way of the app to answer a handshake means to API Gateway."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute

from longwire import Longwire, MessageTooLargeError
from longwire.testing import Gateway
from tests.lambda_events import LambdaContext, connect_event
from tests.talk import talk

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

OK = {"statusCode": 200}


def websocket(endpoint: Any) -> Starlette:
    """Return an app with one WebSocket endpoint."""
    return Starlette(routes=[WebSocketRoute("/", endpoint)])


async def test_an_app_that_waits_for_the_client_is_accepted() -> None:
    """The response has nothing but a status."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()

    async with talk(websocket(app)) as client:
        assert await client.connect() == OK


async def test_the_chosen_subprotocol_is_the_only_header(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """API Gateway hands on this header and no other; the log names what it drops."""

    async def app(websocket: WebSocket) -> None:
        offered = websocket.scope["subprotocols"]
        await websocket.accept(subprotocol=offered[1], headers=[(b"x-lost", b"1")])
        await websocket.receive_text()

    headers = {"Sec-WebSocket-Protocol": ["chat.v2, chat.v1"]}
    async with talk(websocket(app)) as client:
        answer = await client.connect(headers=headers)
    assert answer == {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "chat.v1"}}
    assert "API Gateway drops the headers that the app accepted with: x-lost" in caplog.text


async def _close(websocket: WebSocket) -> None:
    await websocket.close(4401)


async def _denial(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("no", 418))


async def _denial_in_parts(websocket: WebSocket) -> None:
    start = {"type": "websocket.http.response.start", "status": 429, "headers": []}
    await websocket.send(start)
    await websocket.send({"type": "websocket.http.response.body", "body": b"", "more_body": True})


async def _denial_that_would_accept(websocket: WebSocket) -> None:
    await websocket.send_denial_response(PlainTextResponse("fine?", 200))


async def _http_exception(websocket: WebSocket) -> None:
    raise HTTPException(401)


async def _crash(websocket: WebSocket) -> None:
    raise ValueError("before accept")


async def _return(websocket: WebSocket) -> None:
    return None


async def _wait_without_accepting(websocket: WebSocket) -> None:
    await websocket.receive()
    await websocket.receive()


@pytest.mark.parametrize(
    ("endpoint", "status"),
    [
        (_close, 403),
        (_denial, 418),
        (_denial_in_parts, 429),
        (_denial_that_would_accept, 403),
        (_http_exception, 401),
        (_crash, 500),
        (_return, 500),
        (_wait_without_accepting, 500),
    ],
)
async def test_a_refusal_is_the_status_of_the_handshake(endpoint: Any, status: int) -> None:
    """Nothing is posted and nothing is stored."""
    async with talk(websocket(endpoint)) as client:
        assert await client.connect() == {"statusCode": status}
        assert client.server.requests == []
        assert await client.leave() == OK


async def test_an_http_exception_without_a_framework_is_its_status_too() -> None:
    """Raised by a plain ASGI middleware, say."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(401)

    async with talk(app, lifespan="off") as client:
        assert await client.connect() == {"statusCode": 401}


async def test_a_crash_before_accept_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once, and by connection."""
    async with talk(websocket(_crash)) as client:
        await client.connect()
        (record,) = caplog.records
        assert f"{client.connection_id}: the app raised before it had accepted" in record.message
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def _sync_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Forget the `async`."""


class _Asgi2App:
    def __init__(self, scope: Scope) -> None:
        pass


async def _raising_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise TypeError("its own")


@pytest.mark.parametrize(
    ("app", "is_told"), [(_sync_app, True), (_Asgi2App, True), (_raising_app, False)]
)
async def test_what_is_no_asgi_app_is_told_how_to_write_one(
    caplog: pytest.LogCaptureFixture, app: Any, is_told: bool
) -> None:
    async with talk(app, lifespan="off") as client:
        assert await client.connect() == {"statusCode": 500}
    assert ("write `async def app(scope, receive, send)`" in caplog.text) == is_told


async def test_an_app_that_has_not_accepted_at_the_deadline_is_504(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says where it waits."""
    cleaned = False

    async def app(websocket: WebSocket) -> None:
        nonlocal cleaned
        try:
            await asyncio.sleep(60)
        finally:
            cleaned = True

    async with talk(websocket(app)) as client:
        client.seconds = 0.1
        assert await client.connect() == {"statusCode": 504}
    assert cleaned
    assert "has not accepted by the deadline; it waits in" in caplog.text
    assert __file__ in caplog.text


async def test_the_response_waits_a_moment_for_an_app_that_still_works() -> None:
    """What it does next may be a part of the connection: a close, a group, a greeting."""
    checked = asyncio.Event()
    accepted = asyncio.Event()

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        accepted.set()
        await checked.wait()
        await websocket.close(4401)

    async with talk(websocket(app)) as client:
        answer = asyncio.create_task(client.connect())
        await accepted.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert not answer.done()
        checked.set()
        assert await answer == OK
        await client.until_deleted()


@pytest.mark.parametrize("status", [200, 403])
async def test_the_response_does_not_wait_for_tasks_left_behind(status: int) -> None:
    """They go on behind it, for as long as a step may linger."""
    release = asyncio.Event()
    saved: list[int] = []

    async def save() -> None:
        await release.wait()
        saved.append(status)

    async def app(websocket: WebSocket) -> None:
        if status == 200:
            await websocket.accept()
        else:
            await websocket.close()
        tasks.append(asyncio.create_task(save()))

    tasks: list[asyncio.Task[None]] = []
    async with talk(websocket(app), linger=3600) as client:
        assert await client.connect() == {"statusCode": status}
        release.set()
        await tasks[0]
    assert saved == [status]


async def test_work_after_a_refusal_is_finished_behind_the_response() -> None:
    """A slow line in an audit log, say."""
    release = asyncio.Event()
    done = asyncio.Event()

    async def app(websocket: WebSocket) -> None:
        await websocket.close()
        await release.wait()
        done.set()

    async with talk(websocket(app)) as client:
        assert await client.connect() == {"statusCode": 403}
        release.set()
        await done.wait()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://app.example.com", 200),
        ("https://evil.example.com", 403),
        ("null", 403),
        (None, 200),
    ],
)
async def test_other_origins_are_refused_before_the_app_runs(
    origin: str | None, status: int
) -> None:
    """Only browsers send an origin, and only they can be misled into connecting."""
    ran = False

    async def app(websocket: WebSocket) -> None:
        nonlocal ran
        ran = True
        await websocket.accept()
        await websocket.receive_text()

    headers = {"Host": ["a"]} if origin is None else {"Origin": [origin]}
    async with talk(websocket(app), allowed_origins=["https://app.example.com"]) as client:
        assert await client.connect(headers=headers) == {"statusCode": status}
    assert ran is (status == 200)


@pytest.mark.parametrize(
    ("single", "multi"),
    [
        ({}, {"Origin": ["https://app.example.com", "https://evil.example.com"]}),
        ({}, {"Origin": ["https://evil.example.com", "https://app.example.com"]}),
        ({"Origin": "https://evil.example.com"}, {}),
        ({"Origin": "https://evil.example.com"}, None),
        ({"origin": "https://evil.example.com"}, {"Origin": ["https://app.example.com"]}),
        ({"Origin": "https://app.example.com"}, {"origin": ["https://evil.example.com"]}),
    ],
)
async def test_every_origin_of_a_handshake_has_to_be_allowed(
    single: dict[str, str], multi: dict[str, list[str]] | None
) -> None:
    """Whichever of the event's two maps has it, and whichever one an authorizer reads."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()

    event = {**connect_event(), "headers": single, "multiValueHeaders": multi}
    async with talk(websocket(app), allowed_origins=["https://app.example.com"]) as client:
        assert await client.handler.handle(event, LambdaContext()) == {"statusCode": 403}


async def test_a_handshake_with_several_paths_is_refused_before_the_app_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An authorizer may have judged by another path than the app would run at."""
    paths: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await send({"type": "websocket.accept"})
        await receive()

    async with talk(app, lifespan="off") as client:
        for given in (["/admin", "/public"], ["admin"], ["/a\nb"]):
            caplog.clear()
            assert await client.connect(query={"path": given}) == {"statusCode": 400}
            (line,) = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
            assert line.startswith(f"connection {client.connection_id}: ")
            assert line.isprintable()
            assert "/" not in line.replace("'/'", "")
        assert await client.connect(query={"path": ["/public"]}) == OK
    assert paths == ["/public"]


async def test_the_app_sees_the_event_and_where_it_runs() -> None:
    """`aws.event` and `aws.context` as Mangum names them, and the longwire extension."""
    seen: dict[str, Any] = {}

    async def app(websocket: WebSocket) -> None:
        seen.update(websocket.scope)
        await websocket.accept()
        await websocket.receive_text()

    async with talk(websocket(app), ttl=600) as client:
        await client.connect()
        assert seen["aws.event"]["requestContext"]["connectionId"] == client.connection_id
        assert seen["aws.context"].get_remaining_time_in_millis() > 0
        extension = seen["extensions"]["longwire"]
        assert extension.pop("expires_at") > 600
        assert extension == {
            "connection_id": client.connection_id,
            "phase": "connect",
            "route_key": "$connect",
            "connected_at": 1762868735513,
            "replaying": True,  # by now: its event is over
        }


async def test_a_frame_that_cannot_be_sent_fails_in_the_line_that_sends_it() -> None:
    """Also right after accept, when nothing is sent yet."""
    caught: list[BaseException] = []

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        for frame in ("x" * 131073, b"\xff"):
            try:
                await websocket.send({"type": "websocket.send", _kind(frame): frame})
            except Exception as error:
                caught.append(error)
        await websocket.send_text("x" * 131072)
        await websocket.receive_text()

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.until("x" * 131072)
    assert isinstance(caught[0], MessageTooLargeError)
    assert str(caught[1]) == (
        "websocket.send: these bytes are not UTF-8, and API Gateway sends text frames only; "
        "encode them yourself or set ws_config['binary'] to 'base64'"
    )


def _kind(frame: str | bytes) -> str:
    return "text" if isinstance(frame, str) else "bytes"


async def test_bytes_are_sent_as_base64_when_the_settings_say_so() -> None:
    """API Gateway sends text frames only."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_bytes(b"\x00\xff")
        await websocket.receive_text()

    async with talk(websocket(app), binary="base64") as client:
        await client.connect()
        await client.until("AP8=")


async def test_no_header_value_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither when all goes well nor when the app raises."""
    caplog.set_level(logging.DEBUG)
    async with talk(websocket(_crash)) as client:
        await client.connect(
            headers={"Authorization": ["s3cret"], "Origin": ["https://s3cret"]},
            query={"token": ["s3cret"]},
        )
    assert "s3cret" not in caplog.text


def test_a_synchronous_call_needs_no_event_loop() -> None:
    """As Lambda's runtime calls it."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_text()

    handler = Longwire(websocket(app), ws_config={"backend": "memory", "params": {}})
    assert handler(connect_event(), None) == OK
    handler.close()


@pytest.mark.parametrize(
    ("settings", "client"),
    [
        ({}, "130.176.1.9"),
        (
            {"client_ip_header": "x-forwarded-for", "trusted_proxies": ["130.176.0.0/16"]},
            "198.51.100.7",
        ),
        (
            {"client_ip_header": "CloudFront-Viewer-Address", "trusted_proxies": ["130.176.1.9"]},
            "198.51.100.8",
        ),
        (
            {"client_ip_header": "x-forwarded-for", "trusted_proxies": ["10.0.0.0/8"]},
            "130.176.1.9",
        ),
    ],
)
async def test_the_client_is_the_viewer_if_a_trusted_proxy_says_so(
    settings: dict[str, Any], client: str
) -> None:
    """In each event of the connection, and whatever is stored of its headers."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        async for _ in websocket.iter_text():
            await websocket.send_json(websocket.scope["client"])

    config: Any = {"backend": "memory", "exclude_headers": ["x-forwarded-for"], **settings}
    headers = [
        ("X-Forwarded-For", "203.0.113.66, 198.51.100.7"),
        ("CloudFront-Viewer-Address", "198.51.100.8:46532"),
    ]
    handler = Longwire(websocket(app), ws_config=config)
    async with (
        Gateway(handler) as gateway,
        gateway.connect(headers=headers, source_ip="130.176.1.9") as ws,
    ):
        await ws.send("who am I?")
        assert await ws.receive_json() == [client, 0]
