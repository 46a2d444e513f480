"""Generated ASGI apps, played: scripts of what apps do, in orders in which nobody does it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from longwire import Connections, LongwireError
from longwire.exceptions import ConnectionGoneError
from tests.campaigns.fuzz.api import MARK

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from longwire.types import Message, Receive, Scope, Send
    from tests.campaigns.fuzz.scripts import Script
    from tests.campaigns.fuzz.world import World


TASK = "fuzz task"  # the name of every task that an app starts


class OddError(BaseException):
    """What is no `Exception`."""


class WebSocketDisconnect(Exception):
    """A framework's way to say that the client is gone."""


class HTTPException(Exception):
    """A framework's way to refuse."""

    status_code: Any


class App:
    """An ASGI app that does what a script says.

    Args:
        lifespan: how it takes its startup.

    Attributes:
        runs: how often it was called for a WebSocket.
        told: how often each connection's end was told.
    """

    def __init__(self, world: World, script: Script, lifespan: str) -> None:
        self._world = world
        self._script = script
        self._lifespan = lifespan
        self.runs = 0
        self.told: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "websocket":
                self.runs += 1
                await Performance(self._world, scope, receive, send, self.told).play(self._script)
            case "http":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"ok"})
            case _:
                await self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        if self._lifespan == "none":
            raise RuntimeError("there is no lifespan")
        await receive()
        match self._lifespan:
            case "raise":
                raise OSError("the startup has failed")
            case "cancel":
                raise asyncio.CancelledError
            case "hang":
                await asyncio.Event().wait()
            case "failed" | "odd" as kind:
                await send({"type": "lifespan.startup.failed" if kind == "failed" else "odd"})
        await send({"type": "lifespan.startup.complete"})
        if self._lifespan == "late":
            await asyncio.sleep(0.5)
            raise OSError("the lifespan has failed")
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


class Performance:
    """One run of a script."""

    def __init__(
        self, world: World, scope: Scope, receive: Receive, send: Send, told: Counter[str]
    ) -> None:
        self._world = world
        self._told = told
        self._scope = scope
        self._receive = receive
        self._send = send
        self._own = scope["extensions"]["longwire"]["connection_id"]
        self._background: set[asyncio.Task[bool]] = set()

    async def play(self, script: Script) -> bool:
        """Do all of a script; True when it says that the app returns."""
        for what, *args in script:
            if await getattr(self, f"_do_{what}")(*args):
                return True
        return False

    # Steps, by their names in scripts

    async def _do_return(self) -> bool:
        return True

    async def _do_receive(self) -> None:
        await self._hear()

    async def _do_echo(self) -> None:
        number = 0
        while (await self._hear())["type"] != "websocket.disconnect":
            await self._do_say(f"echo {(number := number + 1)}")

    async def _do_accept(self, subprotocol: Any, headers: Any) -> None:
        kind = "websocket.accept"
        await self._tell({"type": kind, "subprotocol": subprotocol, "headers": headers})

    async def _do_say(self, text: str) -> None:
        await self._tell({"type": "websocket.send", "text": f"{MARK}{self._own}\n{text}"})

    async def _do_send(self, data: Any) -> None:
        key = "bytes" if isinstance(data, (bytes, bytearray)) else "text"
        await self._tell({"type": "websocket.send", key: data})

    async def _do_message(self, message: Message) -> None:
        await self._tell(dict(message))

    async def _do_close(self, code: Any, reason: Any) -> None:
        await self._tell({"type": "websocket.close", "code": code, "reason": reason})

    async def _do_deny(self, status: Any) -> None:
        kind = "websocket.http.response.start"
        await self._tell({"type": kind, "status": status, "headers": []})

    async def _do_body(self, more: bool) -> None:
        kind = "websocket.http.response.body"
        await self._tell({"type": kind, "body": b"no", "more_body": more})

    async def _do_raise(self, kind: str) -> None:
        raise _error(kind)

    async def _do_sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _do_spin(self, rounds: int) -> None:
        for _ in range(rounds):
            await asyncio.sleep(0)

    async def _do_forever(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def _do_connections(self, method: str, arguments: Any, options: Any) -> None:
        given = [self._meant(argument) for argument in arguments]
        named = {name: self._meant(value) for name, value in options.items()}
        call = getattr(Connections(), method)(*given, **named)
        answer = _listed(call) if method == "group_members" else call
        await self._documented(f"Connections.{method}{given!r:.100}", answer)

    # Steps that consist of scripts

    async def _do_task(self, script: Script) -> None:
        self._background.add(self._task(script))

    async def _do_gather(self, *scripts: Script) -> bool:
        return any(await asyncio.gather(*map(self._task, scripts)))

    async def _do_group(self, *scripts: Script) -> None:
        async with asyncio.TaskGroup() as group:
            for script in scripts:
                group.create_task(self.play(script), name=TASK)

    async def _do_timeout(self, seconds: float, script: Script) -> bool:
        async with asyncio.timeout(seconds):
            return await self.play(script)

    async def _do_try(self, script: Script) -> bool:
        try:
            return await self.play(script)
        except Exception:
            return False

    async def _do_swallow(self, script: Script) -> bool:
        try:
            return await self.play(script)
        except asyncio.CancelledError:
            return False

    async def _do_finally(self, script: Script, last: Script) -> bool:
        try:
            return await self.play(script)
        finally:
            await self.play(last)

    def _task(self, script: Script) -> asyncio.Task[bool]:
        return asyncio.create_task(self.play(script), name=TASK)

    # What the library does for it

    async def _hear(self) -> Message:
        message: Message = await self._documented("receive", self._receive())
        if message["type"] == "websocket.disconnect":
            self._told[self._own] += 1
        return message

    async def _tell(self, message: Any) -> None:
        await self._documented(f"send of {message!r:.100}", self._send(message))

    def _meant(self, argument: Any) -> Any:
        if isinstance(argument, (tuple, list)):
            return type(argument)(map(self._meant, argument))
        if isinstance(argument, str):
            return {"OWN": self._own, "SCOPE": self._scope}.get(argument, argument)
        return argument

    async def _documented(self, what: str, call: Awaitable[Any]) -> Any:
        """Note when a call raises what no documentation names."""
        try:
            return await call
        except LongwireError:
            raise
        except Exception as error:
            self._world.wrong.append(f"{what} raised {error!r} in the app")
            raise


async def _listed(members: Any) -> list[str]:
    return [member async for member in members]


def _error(kind: str) -> BaseException:
    name, _, detail = kind.partition(" ")
    match name:
        case "HTTPException":
            error = HTTPException()
            error.status_code = int(detail) if detail.isdigit() else detail
            return error
        case "BaseExceptionGroup":
            return BaseExceptionGroup("several", [OddError(), OSError()])
        case "group":
            return ExceptionGroup("several", [WebSocketDisconnect(), WebSocketDisconnect()])
    errors: dict[str, BaseException] = {
        "Exception": Exception("the app has failed"),
        "OSError": OSError("the app has failed"),
        "RuntimeError": RuntimeError("the app has failed"),
        "CancelledError": asyncio.CancelledError(),
        "Gone": ConnectionGoneError("somebody"),
        "Odd": OddError("the app has failed"),
        "StopIteration": StopIteration(),
        "GeneratorExit": GeneratorExit(),
        "TimeoutError": TimeoutError(),
        "WebSocketDisconnect": WebSocketDisconnect(),
    }
    return errors[name]
