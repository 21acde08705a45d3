"""Storing what a person says, whichever way it came: a form, a socket. Blocking."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from channel_layers.exceptions import LayerError
from chat.live import announce
from chat.models import Message, MessagePayload, Room
from chat.rules import RATE_MESSAGES, RATE_PERIOD, clean_text, clean_title
from demo_site.frames import Refusal

logger = logging.getLogger("demo.chat")

PAGE_SIZE = 50
"""Messages that a page shows of the past."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A stored message."""

    message: Message
    live: bool
    """Whether the layer took it; otherwise others see it when it is posted again, or on reload."""


def post(room_id: int, user: User | AnonymousUser, text: object, ref: uuid.UUID) -> Posted:
    """Check, store and announce a message.

    The same ``ref`` again stores nothing new; it is announced if it was not before.

    Raises:
        Refusal: ``empty``, ``too_long``, ``bad_text``, ``too_fast``, ``not_signed_in`` or
            ``unknown_room``.
    """
    text = clean_text(text)
    # Asked of the database, as the person may have signed out since the socket was opened.
    author = User.objects.filter(pk=user.pk).first() if user.is_authenticated else None
    if author is None:
        raise Refusal("not_signed_in", "You are signed out. Choose a name to go on writing.")
    if not Room.objects.filter(pk=room_id).exists():
        raise Refusal("unknown_room", "This room does not exist any more.")
    sent_before = Message.objects.filter(author=author, ref=ref).first()
    try:
        if sent_before is not None:
            if not sent_before.announced:
                announce(sent_before)
            return Posted(sent_before, live=True)
        _require_patience(author)
        with transaction.atomic():
            message, _ = Message.objects.get_or_create(
                author=author,
                ref=ref,
                defaults={"room_id": room_id, "author_name": author.first_name, "text": text},
            )
    except LayerError as error:
        # Raised after the commit: the message is stored.
        logger.warning("A message could not be announced: %s", error)
        return Posted(sent_before or Message.objects.get(author=author, ref=ref), live=False)
    return Posted(message, live=True)


def recent(room_id: int) -> list[MessagePayload]:
    """The last messages of a room, oldest first."""
    latest = Message.objects.filter(room_id=room_id).order_by("-id")[:PAGE_SIZE]
    return [message.payload() for message in reversed(latest)]


def open_room(title: str) -> Room:
    """The room of that name; made if there is none.

    Raises:
        Refusal: ``bad_title``.
    """
    title = clean_title(title)
    slug = slugify(title) or uuid.uuid5(uuid.NAMESPACE_URL, title).hex[:12]
    room, _ = Room.objects.get_or_create(slug=slug, defaults={"title": title})
    return room


def _require_patience(author: User) -> None:
    """Refuse whoever has sent RATE_MESSAGES within RATE_PERIOD."""
    now = timezone.now()
    sent = list(
        Message.objects.filter(author=author, created_at__gt=now - RATE_PERIOD)
        .order_by("-created_at")
        .values_list("created_at", flat=True)[:RATE_MESSAGES]
    )
    if len(sent) == RATE_MESSAGES:
        wait = max(1.0, round((sent[-1] + RATE_PERIOD - now).total_seconds(), 1))
        raise Refusal(
            "too_fast",
            f"You are sending too fast: at most {RATE_MESSAGES} messages in "
            f"{RATE_PERIOD.seconds} seconds. Wait {wait:.0f} s and try again.",
            retry_after=wait,
        )
