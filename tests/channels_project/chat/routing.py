# mypy: ignore-errors
"""Which consumer serves which room."""

from chat import consumers
from django.urls import re_path

websocket_urlpatterns = [
    re_path(r"ws/chat/(?P<room_name>\w+)/$", consumers.ChatConsumer.as_asgi()),
    re_path(r"ws/sync/(?P<room_name>\w+)/$", consumers.SyncChatConsumer.as_asgi()),
]
