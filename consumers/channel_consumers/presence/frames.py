"""What trackers say to each other: the frames of the presence protocol, version 1.

Every frame names its sender's channel (``node``), which is the sender's identity as well.
``seq`` counts the deltas that a node has announced, so that whoever missed one notices at the
next delta or beat, and asks.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from channel_layers.names import require_channel_name

__all__ = ["Ask", "Beat", "Bye", "Delta", "Entry", "Frame", "FrameError", "State", "read", "write"]

VERSION: Final = 1
MESSAGE_TYPE: Final = "presence.frame"

Meta = dict[str, Any]
Entry = tuple[int, str, Meta]
"""One connection: its number in its node, whose it is (key), and what is told of it (meta)."""


class FrameError(ValueError):
    """A message on the presence group is not a frame that this version understands."""


class _Frame(msgspec.Struct, frozen=True, tag_field="kind"):
    node: str


class Delta(_Frame, frozen=True, tag="delta"):
    """Members came and went: to everybody."""

    seq: int
    joins: list[tuple[str, int, str, Meta]] = []
    """Group, number, key, meta; a number that is already there gets a new key or meta."""
    leaves: list[tuple[str, int]] = []
    """Group, number."""


class Beat(_Frame, frozen=True, tag="beat"):
    """Still alive, and this many deltas so far: to everybody, every ``every`` seconds."""

    seq: int
    every: float


class Ask(_Frame, frozen=True, tag="ask"):
    """Who is in these groups? To everybody, or to the node whose delta was missed."""

    groups: list[str]


class State(_Frame, frozen=True, tag="state"):
    """The node's own members of some groups, all of them, after ``seq`` deltas: to the asker."""

    seq: int
    every: float
    groups: dict[str, list[Entry]]


class Bye(_Frame, frozen=True, tag="bye"):
    """The node ends and has no members any more: to everybody."""


Frame = Delta | Beat | Ask | State | Bye


def write(frame: Frame) -> dict[str, Any]:
    """The frame as a channel layer message."""
    message: dict[str, Any] = msgspec.to_builtins(frame, builtin_types=(bytes,))
    return {"type": MESSAGE_TYPE, "v": VERSION, **message}


def read(message: dict[str, Any]) -> Frame:
    """The frame in a channel layer message.

    Raises:
        FrameError: it is none, or of a version that is not known here.
    """
    if message.get("type") != MESSAGE_TYPE or message.get("v") != VERSION:
        raise FrameError(
            f"type {message.get('type')!r}, version {message.get('v')!r}; "
            f"expected {MESSAGE_TYPE!r}, version {VERSION}"
        )
    try:
        frame: Frame = msgspec.convert(message, Frame)
        require_channel_name(frame.node)
    except (msgspec.ValidationError, TypeError) as error:
        raise FrameError(str(error)) from error
    return frame
