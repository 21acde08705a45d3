"""What travels between processes: one versioned msgpack array for each message.

``[version, kind, target, producer, sequence, lifetime_ms, body, part, parts, after]``

Receivers ignore further elements and fill in missing ones at the end, so that processes of
two releases understand each other during a deployment; another *version* they refuse.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

__all__ = ["VERSION", "BadFrame", "Envelope", "Kind", "decode_envelope", "encode_envelope"]

VERSION: Final = 1
"""Counts up when a receiver of the release before could misunderstand an envelope."""


class BadFrame(ValueError):
    """Bytes that are no envelope, or one of another version."""


class Kind(IntEnum):
    """What ``target`` names, and so who takes the message."""

    GROUP = 1
    """A group: every member in every process."""
    PROCESS_CHANNEL = 2
    """A process channel: the one process that made it."""
    PLAIN_CHANNEL = 3
    """A plain channel: one of the readers that compete for it."""
    CONTROL = 4
    """The layer in the receiving process itself; the body says what to do."""


class Envelope(msgspec.Struct, array_like=True, frozen=True):
    """One message, or one part of a split one, on its way."""

    version: int
    kind: Kind
    target: str
    """Name of the group or channel."""
    producer: str
    """Process id of the sender."""
    sequence: int
    """Counts the envelopes of this producer from 1: a repeated one is recognised by it."""
    lifetime_ms: int
    """How long it may wait to be read, by the clock of whoever keeps it."""
    body: bytes
    """The message as :mod:`channel_layers.codec` writes it, sealed if keys are configured."""
    part: int = 0
    """Which part of the body this is, from 0."""
    parts: int = 1
    """How many parts the body was split into."""
    after: tuple[tuple[int, int], ...] = ()
    """What it comes after in other partitions (:mod:`channel_layers.merging`)."""


def encode_envelope(envelope: Envelope) -> bytes:
    """The envelope as bytes."""
    return _encoder.encode(envelope)


def decode_envelope(frame: bytes) -> Envelope:
    """Read an envelope; it may come from anybody who can write to the broker.

    Raises:
        BadFrame: it is no envelope of this version; the text says what is wrong.
    """
    try:
        envelope = _decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"not an envelope: {error}") from error
    if envelope.version != VERSION:
        raise BadFrame(f"envelope version {envelope.version}, this release reads {VERSION}")
    if not 0 <= envelope.part < envelope.parts or envelope.sequence < 1:
        raise BadFrame(
            f"impossible part {envelope.part} of {envelope.parts} or sequence {envelope.sequence}"
        )
    return envelope


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Envelope)
