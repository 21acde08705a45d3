"""The socket of the chat."""

from django.urls import path

from chat.consumers import ChatConsumer

websocket_urlpatterns = [
    path("ws/chat/<str:slug>/", ChatConsumer.as_asgi()),  # type: ignore[arg-type]  # an ASGI application, as channels routes them
]
