"""What the sockets of all pages share."""

from __future__ import annotations

from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import URLPattern, re_path

from demo_site.frames import CLOSE_NOT_FOUND, error_frame


class NoSuchSocket(AsyncWebsocketConsumer):
    """Answers a socket at an unknown address with a sentence, where a router would crash."""

    @classmethod
    def route(cls) -> URLPattern:
        """The pattern that matches what no other did; put it last."""
        return re_path(r"", cls.as_asgi())  # type: ignore[arg-type]  # an ASGI application, as channels routes them

    async def connect(self) -> None:
        """Accept, say so, close."""
        await self.accept()
        await self.send(error_frame("no_such_address", "There is no socket at this address."))
        await self.close(code=CLOSE_NOT_FOUND)
