"""What the layers of one prefix say to each other: the bodies of envelopes of kind ``CONTROL``.

Each is an array, to which later releases may add elements at the end.

They travel in the same streams as the messages, so that they take effect in order: a channel
that another process adds to a group gets exactly the messages sent after that.
"""

from __future__ import annotations

from typing import Final

import msgspec

from channel_layers.envelope import BadFrame

__all__ = [
    "Add",
    "Answer",
    "Ask",
    "Control",
    "Discard",
    "Flush",
    "decode_control",
    "encode_control",
]


class Add(msgspec.Struct, array_like=True, frozen=True, tag="add"):
    """Make a channel of the receiver a member of a group."""

    group: str
    channel: str


class Discard(msgspec.Struct, array_like=True, frozen=True, tag="discard"):
    """End that."""

    group: str
    channel: str
    token: str = ""
    """Given by a process that writes to itself, to know its own."""


class Ask(msgspec.Struct, array_like=True, frozen=True, tag="ask"):
    """Tell ``process`` which channels of the receiver are in a group."""

    group: str
    process: str
    token: str


class Flush(msgspec.Struct, array_like=True, frozen=True, tag="flush"):
    """Forget all messages and memberships, and tell ``process`` when that is done."""

    process: str
    token: str


class Answer(msgspec.Struct, array_like=True, frozen=True, tag="answer"):
    """What was asked for under this token."""

    process: str
    token: str
    channels: list[str] = []


Control = Add | Discard | Ask | Flush | Answer


def encode_control(control: Control) -> bytes:
    """The control as the body of an envelope."""
    return _encoder.encode(control)


def decode_control(body: bytes) -> Control:
    """Read the body of an envelope.

    Raises:
        BadFrame: it is no control that this release knows.
    """
    try:
        control: Control = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFrame(f"not a control: {error}") from error
    return control


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Control)
