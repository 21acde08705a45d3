"""What may be said, how much and how fast; pure."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import Final

from demo_site.frames import Refusal

MAX_TEXT: Final = 2000
"""Characters in one message."""
MAX_ROOM_TITLE: Final = 40
"""Characters in the name of a room."""
RATE_MESSAGES: Final = 20
"""The most messages of one person within RATE_PERIOD, all tabs and all ways in together."""
RATE_PERIOD: Final = timedelta(seconds=10)


def clean_text(text: object) -> str:
    """The text of a message, trimmed.

    Raises:
        Refusal: ``empty``, ``too_long`` or ``bad_text``.
    """
    if not isinstance(text, str):
        raise Refusal("bad_text", "A message is text.")
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise Refusal("empty", "Write something first: an empty message is not sent.")
    if len(text) > MAX_TEXT:
        raise Refusal(
            "too_long",
            f"That is {len(text):,} characters; a message has at most {MAX_TEXT:,}. "
            "Shorten it or send it in parts.",
        )
    # NUL does not fit into every database, and half a surrogate pair into none.
    if any(unicodedata.category(c) in {"Cc", "Cs"} for c in text if c not in "\n\t"):
        raise Refusal("bad_text", "The message holds control characters, which are not text.")
    return text


def clean_title(title: str) -> str:
    """The name of a new room, trimmed.

    Raises:
        Refusal: ``bad_title``.
    """
    title = " ".join(title.split())
    if not title:
        raise Refusal("bad_title", "Give the room a name.")
    if len(title) > MAX_ROOM_TITLE:
        raise Refusal(
            "bad_title", f"That is {len(title)} characters; {MAX_ROOM_TITLE} is the most."
        )
    if any(unicodedata.category(character).startswith("C") for character in title):
        raise Refusal("bad_title", "The name of a room cannot hold invisible characters.")
    return title
