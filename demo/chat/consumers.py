"""The socket of the chat: joining, catching up, and passing on what is said."""

from __future__ import annotations

import logging
from typing import Final, cast

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth.models import AnonymousUser, User

from channel_consumers.presence import PresenceMixin, Present
from channel_layers.codec import Message, Position
from channel_layers.exceptions import LayerError
from chat.frames import Post, read_post, read_since
from chat.gaps import told_of_gaps
from chat.models import MessagePayload, Room
from chat.posting import post, recent
from demo_site.frames import (
    CLOSE_BAD_REQUEST,
    CLOSE_LAYER_AWAY,
    CLOSE_NOT_FOUND,
    CLOSE_NOT_SIGNED_IN,
    Refusal,
    error_frame,
    frame,
)
from demo_site.layer import site_layer
from demo_site.sockets import LAYER_AWAY, SaysLayerAway

logger = logging.getLogger("demo.chat")

CLOSE_CODES: Final = {
    "not_signed_in": CLOSE_NOT_SIGNED_IN,
    "unknown_room": CLOSE_NOT_FOUND,
    "bad_position": CLOSE_BAD_REQUEST,
}


class ChatConsumer(SaysLayerAway, PresenceMixin, AsyncWebsocketConsumer):
    """One page in one room. Its channel is closed when it ends, which takes it out of the group."""

    room: Room | None = None
    """None until the page has joined."""
    position: Position
    """Up to where the page knows what was said."""

    @property
    def _user(self) -> User | AnonymousUser:
        # AuthMiddlewareStack has resolved it; without it this is a mistake in asgi.py.
        return cast("User | AnonymousUser", self.scope["user"])

    async def connect(self) -> None:
        """Accept, then let the page join or tell it why it cannot."""
        await self.accept()
        try:
            await self._join()
        except Refusal as refusal:
            await self.send(error_frame(refusal.code, refusal.text))
            await self.close(code=CLOSE_CODES[refusal.code])
        except LayerError as error:
            logger.warning("A page could not join: %s", error)
            await self.send(LAYER_AWAY)
            await self.close(code=CLOSE_LAYER_AWAY)

    async def _join(self) -> None:
        since = read_since(self.scope["query_string"])
        user = self._user
        if not isinstance(user, User):
            raise Refusal("not_signed_in", "You are not signed in. Choose a name to enter a room.")
        slug = self.scope["url_route"]["kwargs"]["slug"]
        room = await Room.objects.filter(slug=slug).afirst()
        if room is None:
            raise Refusal("unknown_room", "There is no such room. Choose one from the list.")
        # First the group, then the history: what comes in between is in both, and _has_seen
        # drops it the second time.
        await site_layer().group_add(room.group, self.channel_name)
        self.exit_stack.enter_context(told_of_gaps(room.group, self.channel_name))
        if since is None or not await self._resume(room, since):
            await self._reload(room)
        await self.presence_join(room.group, str(user.pk), {"name": user.first_name})
        await self._show_people(room.group)
        self.room = room

    async def _resume(self, room: Room, since: Position) -> bool:
        """Send what came after ``since``; False if the layer does not know all of it."""
        history = await site_layer().history(room.group, since)
        if history.recovered:
            missed = [message["message"] for message in history.messages]
            await self._welcome(missed, history.position, whole=False)
        return history.recovered

    async def _reload(self, room: Room) -> None:
        """Send the last messages from the database."""
        # The position first: what comes in between is sent twice, and pages know it by its id.
        position = await site_layer().position(room.group)
        messages = await database_sync_to_async(recent)(room.pk)
        await self._welcome(messages, position, whole=True)

    async def _welcome(
        self, messages: list[MessagePayload], position: Position, *, whole: bool
    ) -> None:
        self.position = position
        await self.send(frame("welcome", messages=messages, position=position, whole=whole))

    async def receive(
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,  # a binary frame has no text, which is all we say
    ) -> None:
        """What the page sent: store it, or say why not."""
        room = self.room
        if room is None:
            return  # refused in connect(), which has told the page; the close is under way
        ref = None
        try:
            wish = read_post(text_data)
            ref = str(wish.ref)
            await self._post(room, wish)
        except Refusal as refusal:
            await self.send(
                error_frame(refusal.code, refusal.text, ref=ref, retry_after=refusal.retry_after)
            )

    async def _post(self, room: Room, wish: Post) -> None:
        posted = await database_sync_to_async(post)(room.pk, self._user, wish.text, wish.ref)
        await self.send(frame("stored", message=posted.message.payload(), live=posted.live))

    async def chat_message(self, event: Message) -> None:
        """Somebody in the room said something."""
        room, position = self.room, event.position
        if room is None or self._has_seen(position):
            return
        if position != (self.position.epoch, self.position.offset + 1):
            # Something was dropped on the way to this page, or the layer began anew.
            await self._catch_up(room)
            return
        self.position = position
        await self.send(frame("message", message=event["message"], position=position))

    async def chat_gap(self, event: Message) -> None:
        """The layer may have lost what was said (:mod:`chat.gaps`)."""
        if self.room is not None:
            await self._catch_up(self.room)

    async def _catch_up(self, room: Room) -> None:
        try:
            if not await self._resume(room, self.position):
                await self._reload(room)
        except LayerError as error:
            logger.warning("A page could not catch up: %s", error)
            await self.close(code=CLOSE_LAYER_AWAY)

    def _has_seen(self, position: Position) -> bool:
        return position.epoch == self.position.epoch and position.offset <= self.position.offset

    async def presence_changed(
        self,
        group: str,
        joined: list[Present],  # the page is told who is here,
        left: list[Present],  # not who came and went
    ) -> None:
        """Somebody entered or left the room."""
        await self._show_people(group)

    async def _show_people(self, group: str) -> None:
        people = [
            {"id": int(person.key), "name": person.metas[-1]["name"]}
            for person in self.presence_list(group)
        ]
        await self.send(frame("people", people=people))
