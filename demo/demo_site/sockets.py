"""What the sockets of all pages share."""

from __future__ import annotations

import logging

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import URLPattern, re_path

from channel_consumers.dispatch import DispatchMixin
from channel_layers.exceptions import LayerUnavailable
from demo_site.frames import CLOSE_LAYER_AWAY, CLOSE_NOT_FOUND, error_frame

logger = logging.getLogger("demo")

LAYER_AWAY = error_frame("layer_away", "The live connection is away just now.")


class SaysLayerAway(DispatchMixin):
    """Mix into a consumer: a page that comes while the layer is away is told so."""

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Handle the socket, or refuse it where the layer cannot give it a channel."""
        try:
            await super().__call__(scope, receive, send)
        except LayerUnavailable as error:
            if hasattr(self, "channel_name"):
                raise
            logger.warning("A page could not connect: %s", error)
            await receive()  # the wish to connect
            await send({"type": "websocket.accept", "subprotocol": None, "headers": ()})
            await send({"type": "websocket.send", "text": LAYER_AWAY, "bytes": None})
            await send({"type": "websocket.close", "code": CLOSE_LAYER_AWAY, "reason": None})


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
