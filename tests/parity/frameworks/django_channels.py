"""Channels' consumers, which are called for each message."""

from __future__ import annotations

import asyncio
from typing import Any

import django
from channels.exceptions import AcceptConnection, DenyConnection, StopConsumer
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from channels.middleware import BaseMiddleware
from channels.routing import URLRouter
from django.conf import settings
from django.urls import path, re_path

from tests.parity.frameworks.remembering import hear

if not settings.configured:
    settings.configure(
        INSTALLED_APPS=["channels"],
        CHANNEL_LAYERS={"default": {"BACKEND": "longwire.channels.ChannelLayer"}},
        SECRET_KEY="tests only",
    )
    django.setup()


class Async(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Does what it is told."""

    async def connect(self) -> None:
        offered = self.scope["subprotocols"]
        await self.accept("chat.v2" if "chat.v2" in offered else None)
        await self.send("hello")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        match text_data:
            case "close":
                await self.send("bye")
                await self.close(4000)
            case "crash":
                raise ValueError("as told")
            case "stop":
                raise StopConsumer
            case "bytes":
                await self.send(bytes_data=b"bytes")
            case "later":
                await asyncio.sleep(0.05)
                await self.send("now")
            case "task":
                asyncio.get_running_loop().call_later(
                    0.05, lambda: asyncio.ensure_future(self.send("of a task"))
                )
            case "last words":
                await self.send("last", close=True)
            case _:
                await self.send(f"{text_data} in {self.scope['url_route']['kwargs']}")


class Sync(WebsocketConsumer):  # type: ignore[misc]  # channels has no types
    def connect(self) -> None:
        self.accept()
        self.send("hello")

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        match text_data:
            case "close":
                self.close(4000)
            case "crash":
                raise ValueError("as told")
            case _:
                for _ in range(3):
                    self.send(text_data)


class Json(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def receive_json(self, content: Any) -> None:
        await self.send_json({"got": content})


class SyncJson(JsonWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    def receive_json(self, content: Any) -> None:
        self.send_json({"got": content})


class Silent(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Has nothing but Channels' own ways."""


class Deny(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        if b"slow" in self.scope["query_string"]:
            await asyncio.sleep(0.1)
        raise DenyConnection


class Accept(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        raise AcceptConnection

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data)


class CloseFirst(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        await self.close(4401)


class CloseAfterAccept(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        await self.accept()
        await self.send("sorry")
        await self.close(4401)


class Crash(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        raise ValueError("at connect")


class Layer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Hears itself by the channel layer."""

    async def connect(self) -> None:
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = {"type": "chat.message", "text": text_data}
        await self.channel_layer.send(self.channel_name, message)

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send(f"by layer: {event['text']}")


class Group(Layer):
    """The same by a group that it has joined."""

    async def connect(self) -> None:
        name = self.scope["query_string"].decode().replace("=", ".")
        await self.channel_layer.group_add(name, self.channel_name)
        await super().connect()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        name = self.scope["query_string"].decode().replace("=", ".")
        message = {"type": "chat.message", "text": text_data}
        await self.channel_layer.group_send(name, message)

    async def disconnect(self, code: int) -> None:
        name = self.scope["query_string"].decode().replace("=", ".")
        await self.channel_layer.group_discard(name, self.channel_name)


class Feed(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        await self.accept()
        for number in range(3):
            await self.send(str(number))
            await asyncio.sleep(0.05)
        await self.close()


class TaskFeed(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """A task of the consumer feeds the client, and closes."""

    async def connect(self) -> None:
        await self.accept()
        self.feeding = asyncio.create_task(self.feed())

    async def feed(self) -> None:
        for number in range(3):
            await self.send(str(number))
            await asyncio.sleep(0.1)
        await self.close()

    async def disconnect(self, code: int) -> None:
        self.feeding.cancel()


class Kept(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        self.texts: list[str] = []
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.texts.append(text_data or "")
        await self.send(" ".join(self.texts))
        if text_data == "close":
            await self.close(4000)

    async def disconnect(self, code: int) -> None:
        hear(f"Channels kept {' '.join(self.texts)}, {code}")


class SyncKept(WebsocketConsumer):  # type: ignore[misc]  # channels has no types
    counted = 0

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.counted += 1
        if text_data == "crash":
            raise ValueError("as told")
        self.send(f"{self.counted} {text_data}")

    def disconnect(self, code: int) -> None:
        hear(f"Channels counted {self.counted}, {code}")


class Form(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Asks for one field after the other."""

    fields = ("name", "age")

    async def connect(self) -> None:
        self.form: dict[str, Any] = {}
        await self.accept()
        await self.send_json({"field": self.fields[0]})

    async def receive_json(self, content: Any) -> None:
        self.form[self.fields[len(self.form)]] = content
        if len(self.form) == len(self.fields):
            await self.send_json(self.form)
            await self.close()
        else:
            await self.send_json({"field": self.fields[len(self.form)]})


class KeptTask(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """A task of the consumer's own answers by a queue."""

    async def connect(self) -> None:
        await self.accept()
        self.texts: asyncio.Queue[str] = asyncio.Queue()
        self.answering = asyncio.create_task(self.answer())

    async def answer(self) -> None:
        number = 0
        while True:
            text = await self.texts.get()
            number += 1
            await self.send(f"{number} {text}")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.texts.put(text_data or "")

    async def disconnect(self, code: int) -> None:
        self.answering.cancel()


class KeptLayer(Layer):
    """Counts what it hears by the channel layer."""

    heard = 0

    async def chat_message(self, event: dict[str, Any]) -> None:
        self.heard += 1
        await self.send(f"{self.heard} by layer: {event['text']}")


class User(BaseMiddleware):  # type: ignore[misc]  # channels has no types
    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        return await super().__call__({**scope, "user": "ann"}, receive, send)


class ForUser(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(f"{self.scope['user']} {text_data}")


CONSUMERS: list[Any] = [
    Sync,
    Json,
    SyncJson,
    Silent,
    Deny,
    Accept,
    CloseFirst,
    CloseAfterAccept,
    Crash,
    Layer,
    Group,
    Feed,
    TaskFeed,
    Kept,
    SyncKept,
    Form,
    KeptTask,
    KeptLayer,
]
app = URLRouter(
    [
        path("rooms/<str:room>/<int:seat>", Async.as_asgi()),
        re_path(r"^Async$", Async.as_asgi()),
        path("ForUser", User(ForUser.as_asgi())),
        *(path(one.__name__, one.as_asgi()) for one in CONSUMERS),
    ]
)
