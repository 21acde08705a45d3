"""Rooms and what was said in them."""

from __future__ import annotations

import uuid
from typing import TypedDict

from django.conf import settings
from django.db import models
from django.urls import reverse

from chat.rules import MAX_ROOM_TITLE


class MessagePayload(TypedDict):
    """A message as it travels through the layer and to the pages."""

    id: int
    ref: str
    author: int | None
    name: str
    text: str
    at: str
    """ISO 8601, UTC."""


class Room(models.Model):
    """A place to talk; everybody who is signed in may enter."""

    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=MAX_ROOM_TITLE)

    class Meta:
        ordering = ("title",)

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """The room's page."""
        return reverse("chat:room", args=[self.slug])

    @property
    def group(self) -> str:
        """The channel layer group of the people in the room."""
        return room_group(self.pk)


class Message(models.Model):
    """One thing that was said."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="messages")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    author_name = models.CharField(max_length=150)
    text = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    ref = models.UUIDField(default=uuid.uuid4)
    """Chosen by the sender: what is sent again after a lost connection is stored once."""
    announced = models.BooleanField(default=False)
    """Whether the layer took it; if not, the sender's page asks for it again."""

    class Meta:
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=["author", "ref"], name="chat_once"),)
        indexes = (
            models.Index(fields=["room", "id"], name="chat_in_room"),
            models.Index(fields=["author", "created_at"], name="chat_rate"),
        )

    def __str__(self) -> str:
        return f"{self.author_name}: {self.text[:50]}"

    def payload(self) -> MessagePayload:
        """What pages are told of it."""
        return {
            "id": self.pk,
            "ref": str(self.ref),
            "author": self.author_id,
            "name": self.author_name,
            "text": self.text,
            "at": self.created_at.isoformat(),
        }


def room_group(room_id: int) -> str:
    """The channel layer group of a room."""
    return f"chat.{room_id}"
