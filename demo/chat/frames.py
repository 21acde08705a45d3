"""What the chat's page and server say to each other; pure.

The page opens ``/ws/chat/<room>/?since=<epoch>:<offset>`` with the position that it knows,
or without ``since``, and may send::

    {"type": "post", "ref": "<uuid>", "text": "..."}

The server sends ``welcome`` (first, and again when something was missed), ``message``,
``people``, ``stored`` (the answer to ``post``) and ``error``.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from urllib.parse import parse_qs

from channel_layers.codec import Position
from demo_site.frames import Refusal, parse_frame


@dataclass(frozen=True, slots=True)
class Post:
    """Somebody says something."""

    ref: uuid.UUID
    text: object


def read_post(text: str | None) -> Post:
    """What a frame from the page asks for.

    Raises:
        Refusal: ``bad_frame``.
    """
    value = parse_frame(text)
    if value["type"] != "post":
        raise Refusal("bad_frame", f"The page sent a frame of unknown type {value['type']!r:.60}.")
    try:
        return Post(uuid.UUID(str(value.get("ref"))), value.get("text"))
    except ValueError as error:
        raise Refusal("bad_frame", "A post needs a ref, which is a UUID.") from error


def read_since(query: bytes) -> Position | None:
    """The position in a query string; None if there is none.

    Raises:
        Refusal: ``bad_position``.
    """
    given = parse_qs(query.decode("latin-1")).get("since")
    if not given:
        return None
    epoch, mark, offset = given[0].rpartition(":")
    if not mark or not offset.isascii() or not offset.isdigit() or len(offset) > 18:
        raise Refusal("bad_position", "The page asked for a position that is not one: reload it.")
    return Position(epoch, int(offset))
