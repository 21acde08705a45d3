"""Frames that the sockets of all pages have in common, and how they close; pure.

A frame is a JSON object with a ``type``. What went wrong is always told in an ``error``
frame, whose ``text`` is written for the person in front of the page, before any close.
"""

from __future__ import annotations

import json
from typing import Final

CLOSE_BAD_REQUEST: Final = 4400
CLOSE_NOT_SIGNED_IN: Final = 4401
CLOSE_NOT_FOUND: Final = 4404
CLOSE_LAYER_AWAY: Final = 4503
"""The one of these codes after which a page should try again."""


class Refusal(Exception):
    """Something a person did that cannot be done, and why.

    Args:
        code: short and stable, for programs.
        text: a sentence or two for the person.
        retry_after: seconds after which trying again makes sense; None if it never does.
    """

    def __init__(self, code: str, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.retry_after = retry_after


def frame(kind: str, **fields: object) -> str:
    """A frame as text, ready to send."""
    return json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))


def error_frame(
    code: str, text: str, *, ref: str | None = None, retry_after: float | None = None
) -> str:
    """A frame that says what went wrong.

    Args:
        code: short and stable, for programs.
        text: a sentence or two for the person.
        ref: which message of the sender it is about.
        retry_after: seconds after which trying again makes sense.
    """
    return frame("error", code=code, text=text, ref=ref, retry_after=retry_after)


def parse_frame(text: str | None) -> dict[str, object]:
    """The object in a frame that a page sent.

    Args:
        text: None for a binary frame.

    Raises:
        Refusal: ``bad_frame``: not a JSON object with a ``type``.
    """
    if text is None:
        raise Refusal("bad_frame", "The page sent a binary frame; frames are JSON text.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal("bad_frame", "The page sent a frame that is not JSON.") from error
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise Refusal("bad_frame", "The page sent a frame that is not an object with a type.")
    return value
