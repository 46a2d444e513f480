"""Chat rooms in Django Channels, the same under Longwire and under any ASGI server.

    longwire dev examples.channels_chat:app    # ws://127.0.0.1:3001/?path=/ws/chat/blue/
    uvicorn examples.channels_chat:app         # ws://127.0.0.1:8000/ws/chat/blue/

The consumer is that of every tutorial: it joins a group of the channel layer, and sends to it. The
layer is Longwire's: on Lambda no consumer waits for it, so each member's is run for a message.
"""

import json
from typing import Any

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={"default": {"BACKEND": "longwire.channels.ChannelLayer"}},
    INSTALLED_APPS=["channels", "django.contrib.auth", "django.contrib.contenttypes"],
    SECRET_KEY="of no use: nobody logs in here",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)
django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402  # models need Django to be set up
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402


class ChatConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """One client in one room."""

    async def connect(self) -> None:
        """Join the room."""
        self.room = f"chat_{self.scope['url_route']['kwargs']['room_name']}"
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Leave it."""
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send what the client says to the room."""
        message = f"{self.scope['user']}: {json.loads(text_data or '{}')['message']}"
        event = {"type": "chat.message", "message": message}
        await self.channel_layer.group_send(self.room, event)

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Tell the client what somebody in the room has said."""
        await self.send(json.dumps({"message": event["message"]}))


rooms = URLRouter([re_path(r"ws/chat/(?P<room_name>\w+)/$", ChatConsumer.as_asgi())])
app = ProtocolTypeRouter({"websocket": AuthMiddlewareStack(rooms)})
