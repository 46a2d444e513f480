"""What runs under both cores: a function's module, as a user writes it, that says what it sees.

It is deployed without these tests. In its folder `output` gets what it prints and logs, `extension`
what Longwire's extension asks and is answered, and `asked` the answers to the requests of ASKS.
RESPONDED gets a POST when the core has taken a response.
"""

import asyncio
import http.client
import json
import os
import socket
import threading
import time
import urllib.request
from typing import Any

os.chdir(os.environ["LAMBDA_TASK_ROOT"])
OUTPUT = os.open("output", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
os.dup2(OUTPUT, 1)
os.dup2(OUTPUT, 2)


from awslambdaric.lambda_runtime_client import LambdaRuntimeClient  # noqa: E402

from longwire import Longwire  # noqa: E402
from longwire.runtime import extension  # noqa: E402

breaks = threading.Event()
request = extension._API._request


def request_and_note(self: Any, method: str, path: str, *args: Any) -> Any:
    """Note what Longwire's extension asks, and the answer."""
    if breaks.is_set() and path == "/event/next":
        # By then the core has it; if not, the next one is broken off, too.
        threading.Timer(0.3, lambda: self._stream.socket.shutdown(socket.SHUT_RDWR)).start()
    response = request(self, method, path, *args)
    with open("extension", "a") as file:
        file.write(f"{method} {path} {response.status}\n")
    return response


extension._API._request = request_and_note  # type: ignore[method-assign, assignment]

post = LambdaRuntimeClient.post_invocation_result


def post_and_tell(*args: Any, **kwargs: Any) -> None:
    post(*args, **kwargs)
    urllib.request.urlopen(os.environ["RESPONDED"], b"", 10).close()


LambdaRuntimeClient.post_invocation_result = post_and_tell


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Greets, has two things to say to each message, and says which way it is told to fail."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        say("the app is shut down")
        await send({"type": "lifespan.shutdown.complete"})
        return
    await receive()
    if scope["query_string"] == b"refuse=":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    if scope["query_string"] == b"wait=":
        await wait_for_the_answer()
    await send({"type": "websocket.send", "text": "hello"})
    if scope["query_string"] == b"endless=":
        await asyncio.sleep(3600)
    while (message := await receive())["type"] == "websocket.receive":
        text = message["text"]
        if text == "block":
            time.sleep(60)  # noqa: ASYNC251 (on purpose)
        if text == "crash":
            raise RuntimeError("the app crashes")
        await send({"type": "websocket.send", "text": f"{text}?"})
        await send({"type": "websocket.send", "text": f"{text}!"})


async def wait_for_the_answer() -> None:
    """Wait until whoever has sent the event has its answer, but not for long."""
    for _ in range(300):
        await asyncio.sleep(0.01)
        if has_answered():
            return
    say("nobody had an answer")


def has_answered() -> bool:
    return os.path.exists("answered")


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


# The identifier of the last extension that has registered here, for "mine" in a header.
mine = ""


def ask(method: str, path: str, headers: dict[str, str], body: str | None) -> list[Any]:
    """Return the status of a request to the core, and the type of the error or what there is."""
    status, names, text = raw(method, path, headers, body)
    global mine
    if status == 200 and "Lambda-Extension-Identifier" in names:
        # The core waits for all that have registered.
        mine = names["Lambda-Extension-Identifier"]
        wait = ("GET", "/2020-01-01/extension/event/next", {"lambda-extension-identifier": mine})
        threading.Thread(target=raw, args=wait, daemon=True).start()
    try:
        said = json.loads(text)
    except ValueError:
        return [status, text]
    return [status, said.get("errorType") or sorted(said)]


def raw(method: str, path: str, headers: dict[str, str], body: str | None = None) -> Any:
    address, slash, base = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
    connection = http.client.HTTPConnection(address)
    given = {name: value.replace("mine", mine) for name, value in headers.items()}
    connection.request(method, f"{slash}{base}{path}", body, given)
    response = connection.getresponse()
    return response.status, response.headers, response.read().decode()


def make() -> Longwire:
    store: Any = {"file_path": "connections.sqlite3"}
    return Longwire(app, ws_config={"backend": "sqlite3", "params": store})


longwire = None if "LAZY" in os.environ else make()

if "FAILS" in os.environ:
    raise LookupError("the module fails")

if "ASKS" in os.environ:
    with open("asked", "w") as file:
        json.dump([ask(*request) for request in json.loads(os.environ["ASKS"])], file)


def handler(event: dict[str, Any], context: Any) -> Any:
    """Hand what is API Gateway's to Longwire, and do the rest as it is told."""
    global longwire
    match event.get("do"):
        case "answer":
            return {"for": event["number"]}
        case "raise":
            raise ValueError("the handler raises")
        case "exit":
            os._exit(3)
        case "sleep":
            time.sleep(60)
        case "break":
            breaks.set()
            return os.getpid()
        case "pid":
            return os.getpid()
        case "much":
            return "x" * (6 * 1024 * 1024 + 200)
        case "ask":
            return [ask(*request) for request in event["asks"]]
    longwire = longwire or make()
    return longwire(event, context)
