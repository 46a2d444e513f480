"""Django, set up for tests of the channel layer, and consumers that use it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import django
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import URLRouter
from django.conf import settings
from django.urls import path

LAYERS = {"default": {"BACKEND": "longwire.channels.ChannelLayer"}}

if not settings.configured:  # as `tests.parity` may have done in this process
    settings.configure(INSTALLED_APPS=["channels"], CHANNEL_LAYERS=LAYERS, SECRET_KEY="tests only")
    django.setup()


class Chat(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Does what it is told; the room is in the path."""

    heard = 0

    async def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_send(self.room, {"type": "chat.say", "text": f"bye {code}"})
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        what, _, rest = (text_data or "").partition(" ")
        match what:
            case "all":
                await self.to_room({"type": "chat.say", "text": rest})
            case "tell":
                message = {"type": "chat.do", "what": rest, "by": self.channel_name}
                await self.to_room(message)
            case "to":
                name, _, text = rest.partition(" ")
                await self.channel_layer.send(name, {"type": "chat.say", "text": text})
            case "several":
                for number in range(int(rest)):
                    await self.to_room({"type": "chat.say", "text": str(number)})
                await self.send("sent")
            case "name":
                await self.send(self.channel_name)
            case "ask" | "second" | "fill":
                await self.by_channels(what, rest)
            case "leave":
                await self.channel_layer.group_discard(self.room, self.channel_name)
            case "types":
                value = {"b": b"\x00\xff", "l": [1, 2.5, None, True], "d": {"x": {}}}
                await self.to_room({"type": "chat.types", **value})

    async def fill(self, name: str) -> str:
        for number in range(10):
            try:
                await self.channel_layer.send(name, {"type": "chat.say", "text": str(number)})
            except ChannelFull:
                return f"full after {number}"
        return "never full"

    async def by_channels(self, what: str, name: str) -> None:
        if what == "fill":
            await self.send(await self.fill(name))
            return
        channel = await self.channel_layer.new_channel()
        if what == "second":
            await self.channel_layer.group_add(self.room, channel)
            await self.send("joined")
            return
        await self.to_room({"type": "chat.reply", "to": channel, "by": self.channel_name})
        answer = await self.channel_layer.receive(channel)
        await self.send(f"answered {answer['text']}")

    async def to_room(self, message: dict[str, Any]) -> None:
        await self.channel_layer.group_send(self.room, message)

    async def chat_say(self, event: dict[str, Any]) -> None:
        self.heard += 1
        await self.send(f"{self.heard} {event['text']}")

    async def chat_reply(self, event: dict[str, Any]) -> None:
        if event["by"] != self.channel_name:
            await self.channel_layer.send(event["to"], {"type": "t", "text": "here I am"})

    async def chat_types(self, event: dict[str, Any]) -> None:
        await self.send(repr(event))

    async def chat_do(self, event: dict[str, Any]) -> None:
        match event["what"]:
            case "crash" if event["by"] != self.channel_name:
                raise ValueError("as told")
            case "close" if event["by"] != self.channel_name:
                await self.close(4001)
            case "answer" if event["by"] != self.channel_name:
                await self.channel_layer.send(event["by"], {"type": "chat.say", "text": "answer"})
            case "for ever":
                await asyncio.sleep(60)
            case "slowly":
                await asyncio.sleep(0.3)  # longer than its step may linger in the test
                await self.send("slowly done")
            case _:
                await self.send(f"told {event['what']}")


class SyncChat(WebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Channels' way without `await`: its methods run in a thread."""

    def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["room"]
        async_to_sync(self.channel_layer.group_add)(self.room, self.channel_name)
        self.accept()

    def disconnect(self, code: int) -> None:
        async_to_sync(self.channel_layer.group_discard)(self.room, self.channel_name)

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = {"type": "chat.say", "text": json.loads(text_data or "")["message"]}
        async_to_sync(self.channel_layer.group_send)(self.room, message)

    def chat_say(self, event: dict[str, Any]) -> None:
        self.send(json.dumps({"message": event["text"]}))


class Welcome(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Tells its room, itself included, that somebody has come, before and after `accept`."""

    groups = ("lobby",)
    seen = 0

    async def connect(self) -> None:
        await self.channel_layer.group_send("lobby", {"type": "chat.joined", "text": "early"})
        await self.accept()
        await self.channel_layer.group_send("lobby", {"type": "chat.joined", "text": "joined"})

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(f"seen {self.seen}")

    async def chat_joined(self, event: dict[str, Any]) -> None:
        self.seen += 1
        await self.send(event["text"])


app = URLRouter(
    [
        path("chat/<str:room>", Chat.as_asgi()),
        path("sync/<str:room>", SyncChat.as_asgi()),
        path("welcome", Welcome.as_asgi()),
    ]
)
