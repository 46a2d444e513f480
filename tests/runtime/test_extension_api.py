"""Lambda's Extensions API when it is slow, wrong, late or not there; and odd environments."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import queue
import socket
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from longwire.runtime import extension
from longwire_aws.http11 import MalformedError
from tests.lambda_events import message_event
from tests.runtime.test_after_response import GREETER, TAIL, connect, notes, posts, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FALLBACK = "nothing can run after a response here (registering as an extension failed: "


def response(status: int, body: bytes, *headers: str) -> bytes:
    """Return an HTTP response as it is on the wire."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Api:
    """Gives each connection the next of its answers to its first request; None gives none.

    Attributes:
        address: for AWS_LAMBDA_RUNTIME_API.
        asked: the first lines of all requests.
    """

    def __init__(self, *answers: bytes | None) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._server.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self._open.append(connection)
                self.asked.append(connection.recv(65536).decode().partition("\r\n")[0])
                answer = self._answers.pop(0) if self._answers else b""
                if answer is not None:
                    connection.sendall(answer)
                    connection.close()

    def answer(self, answer: bytes) -> None:
        """Answer the first request, which has none yet."""
        self._open[0].sendall(answer)

    def close(self) -> None:
        for one in (self._server, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a thread."""
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension, "REGISTER_LIMIT", 0.2)
    monkeypatch.setattr(extension, "RETRY_AFTER", (0.0, 0.0, 0.0))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "answer",
    [
        response(403, b'{"errorType": "Extension.TooManyExtensions"}'),
        response(500, b""),
        response(404, b"404 page not found"),
        response(200, b"{}"),  # without an identifier
        response(200, b"{}", "lambda-extension-identifier: "),
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nlambda-extension-identifier: a\r\n\r\nno",
        b"rubbish\r\n\r\n",
        b"",
    ],
)
def test_a_registration_that_fails_is_one_warning(
    answer: bytes | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And not the end of the handler, which does without the extension."""
    api = Api(answer)
    monkeypatch.setenv(extension.RUNTIME_API, api.address)
    assert extension._register() is None
    api.close()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.text.count(FALLBACK) == 1
    assert api.asked == ["POST /2020-01-01/extension/register HTTP/1.1"]


@pytest.mark.usefixtures("quick")
def test_a_registration_that_is_never_answered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The import of the handler's module goes on without it."""
    api = Api(None)
    monkeypatch.setenv(extension.RUNTIME_API, api.address)
    waiting = extension._register()
    assert waiting is not None
    assert waiting.hold(SimpleNamespace(aws_request_id="one"), lambda seconds: None) is None
    assert caplog.text.count("registering as an extension is not answered within 0.2 s") == 1
    api.close()
    assert isinstance(waiting.registered.exception(20), OSError)


@pytest.mark.usefixtures("quick")
def test_a_registration_that_is_answered_late(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its extension asks for its events, as Lambda waits for that; and it is used from then on."""
    api = Api(None, None)  # never closed: an extension without its API ends the process
    monkeypatch.setenv(extension.RUNTIME_API, api.address)
    late = extension._register()
    assert late is not None
    api.answer(response(200, b"{}", "Lambda-Extension-Identifier: me"))
    late.registered.result(20)
    until(lambda: len(api.asked) == 2)
    assert api.asked[1] == "GET /2020-01-01/extension/event/next HTTP/1.1"
    assert late.hold(SimpleNamespace(aws_request_id="one"), lambda seconds: None) is not None
    assert "registered as an extension, late" in caplog.text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "address",
    ["", "nonsense", "127.0.0.1:port", "127.0.0.1:99999", "127.0.0.1:1", "[::1", "a b", "\u00e9:1"],
)
def test_an_address_at_which_there_is_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(extension.RUNTIME_API, address)
    assert extension._register() is None
    assert caplog.text.count(FALLBACK) == 1


EVENT = response(200, json.dumps({"requestId": "one", "deadlineMs": 1500}).encode())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [403, 500])
def test_a_refused_event_is_not_asked_for_again(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Lambda refuses it for good; one line says so."""
    api = Api(response(status, b'{"errorType": "Extension.InvalidExtensionState"}'), EVENT)
    assert extension._API(api.address).next_event("me") is None
    api.close()
    assert api.asked == ["GET /2020-01-01/extension/event/next HTTP/1.1"]
    assert len(caplog.records) == 1
    assert f"answered with {status}" in caplog.text
    assert "Extension.InvalidExtensionState" in caplog.text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"rubbish\r\n\r\n",
        response(200, b""),
        response(200, b"[]"),
        response(200, b'{"requestId": "one"}'),
        response(200, b'{"requestId": "one", "deadlineMs": "soon"}'),
    ],
)
def test_what_is_no_event_is_asked_for_again(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """As Lambda waits for the next request of an extension that has had its event."""
    api = Api(answer, EVENT)
    with contextlib.closing(extension._API(api.address)) as asking:
        assert asking.next_event("me") == extension.InvokeEvent("one", 1.5)
    api.close()
    assert not caplog.records


CHUNKED = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def test_an_event_that_comes_in_chunks() -> None:
    body = '{"requestId": "one", "deadlineMs": 1500}'
    chunks = f"5\r\n{body[:5]}\r\n{len(body) - 5:x}\r\n{body[5:]}\r\n0\r\n\r\n"
    api = Api((CHUNKED + chunks).encode())
    with contextlib.closing(extension._API(api.address)) as asking:
        assert asking.next_event("me") == extension.InvokeEvent("one", 1.5)
    api.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 65536 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: some\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    """One that says what is wrong, and no wait for more."""
    api = Api(answer)
    with (
        contextlib.closing(extension._API(api.address)) as asking,
        pytest.raises(MalformedError, match=r"the answer|the server"),
    ):
        asking.register()
    api.close()


def test_one_connection_is_asked_for_all_events() -> None:
    """Unless it is said to be the last answer on it."""
    event = EVENT.replace(b"HTTP/1.1 200 X", b"HTTP/1.1 200 X\r\nconnection: close")
    with socket.create_server(("127.0.0.1", 0)) as server:
        asking = extension._API("{}:{}".format(*server.getsockname()))
        pending: queue.Queue[object] = queue.Queue()

        def ask() -> None:
            pending.put([asking.next_event("me") for _ in range(3)])

        threading.Thread(target=ask, daemon=True).start()
        for answers in ([EVENT, event], [EVENT]):
            connection, _ = server.accept()
            with connection:
                for answer in answers:
                    assert connection.recv(65536).startswith(b"GET /2020-01-01/extension/event")
                    connection.sendall(answer)
        assert pending.get(timeout=20) == [extension.InvokeEvent("one", 1.5)] * 3
        asking.close()


# In processes under AWS's own runtime

OTHERS = """
import http.client, threading

def other(number):
    address, _, secret = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
    connection = http.client.HTTPConnection(address)
    path, name = f"/{secret}/2020-01-01/extension/", "lambda-extension-identifier"
    connection.request("POST", path + "register", "{}", {"lambda-extension-name": str(number)})
    answer = connection.getresponse()
    answer.read()
    headers = {name: answer.headers[name]}
    connection.request("GET", path + "event/next", headers=headers)
    threading.Thread(target=connection.getresponse, daemon=True).start()

for number in range(10):
    other(number)
"""


@pytest.mark.anyio
async def test_the_eleventh_extension(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Lambda takes ten: the greeting goes out ahead of the first reply, and a warning says so."""
    async with running(tmp_path, GREETER, OTHERS + TAIL) as (process, server):
        await connect(process, server, "Connection=")
        await process.until_idle()
        assert posts(server, "Connection=") == []
        await process.invoke(message_event("a", "Connection="))
        assert posts(server, "Connection=")[:2] == ["hello", "I am a greeting"]
    log = "".join(capfd.readouterr())
    assert log.count(FALLBACK) == 1
    assert "Extension.TooManyExtensions" in log


ODD = {
    "missing": "for name in [*os.environ]:\n    if name.startswith('AWS_') and name not in (\n"
    "        'AWS_LAMBDA_RUNTIME_API', 'AWS_REGION'):\n        del os.environ[name]\n",
    "empty": "for name in [*os.environ]:\n    if name.startswith('AWS_') and name not in (\n"
    "        'AWS_LAMBDA_RUNTIME_API', 'AWS_REGION'):\n        os.environ[name] = ''\n",
    "odd": "os.environ.update(AWS_LAMBDA_INITIALIZATION_TYPE='snap-crackle', AWS_EXECUTION_ENV='?',"
    " AWS_LAMBDA_FUNCTION_MEMORY_SIZE='much', AWS_LAMBDA_FUNCTION_NAME='\\n')\n",
}


@pytest.mark.anyio
@pytest.mark.parametrize("how", ODD)
async def test_odd_variables(tmp_path: Path, how: str) -> None:
    async with running(tmp_path, GREETER, ODD[how] + TAIL) as (process, server):
        await connect(process, server, "Connection=")
        await process.until_idle()
        assert posts(server, "Connection=") == ["hello", "I am a greeting"]


THIEF = """
from longwire.runtime import extension
from longwire_aws.http11 import MalformedError
import http.client, threading

register, ids = extension._API.register, []

def noting(self):
    ids.append(register(self))
    return ids[-1]

extension._API.register = noting
longwire = make()

def handler(event, context):
    address, _, secret = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
    connection = http.client.HTTPConnection(address)
    path = f"/{secret}/2020-01-01/extension/event/next"
    connection.request("GET", path, headers={extension.IDENTIFIER: ids[0]})
    threading.Thread(target=connection.getresponse, daemon=True).start()
    return longwire(event, context)
"""


@pytest.mark.anyio
async def test_the_process_of_a_refused_extension_ends_cleanly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its last event is answered, what follows it is done, and the app's shutdown runs."""
    tail = TAIL.replace("handler = make()", THIEF)
    async with running(tmp_path, GREETER, tail) as (process, server):
        await connect(process, server, "Connection=")
        async with asyncio.timeout(10):
            while process.instance.is_alive:
                await asyncio.sleep(0.01)
        assert notes(tmp_path) == ["shutdown"]
        assert posts(server, "Connection=") == ["hello", "I am a greeting"]
    log = "".join(capfd.readouterr())
    said = [line for line in log.splitlines() if "the extension ends" in line]
    assert len(said) == 1
    assert "Extension.InvalidExtensionState" in said[0]
    assert "Traceback" not in log


def test_nothing_is_kept_open_by_a_registration() -> None:
    """Events are waited for on a connection of their own."""
    api = Api(response(200, b"{}", "Lambda-Extension-Identifier: me"), EVENT)
    with contextlib.closing(extension._API(api.address)) as asking:
        assert asking.register() == "me"
        assert asking.next_event("me") == extension.InvokeEvent("one", 1.5)
    api.close()
    assert len(api.asked) == 2
