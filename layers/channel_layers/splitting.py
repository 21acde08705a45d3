"""Messages larger than a broker's limit, sent in parts. Pure: the time is passed in."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec

from channel_layers.envelope import Envelope

__all__ = ["Joiner", "split"]


def split(envelope: Envelope, *, max_body: int) -> list[Envelope]:
    """The envelope in parts of at most ``max_body`` bytes, which take consecutive sequences.

    Args:
        max_body: bytes, 1 or more.

    Returns:
        The envelope alone if it fits. Otherwise the first part has its sequence, and the
        producer goes on counting after the last part's.
    """
    if len(envelope.body) <= max_body:
        return [envelope]
    bodies = [
        envelope.body[start : start + max_body] for start in range(0, len(envelope.body), max_body)
    ]
    return [
        msgspec.structs.replace(
            envelope, body=body, part=part, parts=len(bodies), sequence=envelope.sequence + part
        )
        for part, body in enumerate(bodies)
    ]


@dataclass(slots=True)
class _Unfinished:
    give_up_at: float
    parts: dict[int, bytes] = field(default_factory=dict)
    size: int = 0


class Joiner:
    """Puts split messages together again.

    Parts of several messages may be interleaved and may come in any order. What stays
    incomplete is given up after ``patience`` seconds, or when more than ``max_bytes`` wait.

    Args:
        patience: seconds that a message may take to become complete.
        max_bytes: of all incomplete messages together.
    """

    def __init__(self, *, patience: float, max_bytes: int) -> None:
        self._patience = patience
        self._max_bytes = max_bytes
        self._unfinished: OrderedDict[tuple[str, int], _Unfinished] = OrderedDict()
        self._size = 0
        self.given_up = 0
        """Messages that never became complete."""

    def add(self, envelope: Envelope, now: float) -> Envelope | None:
        """Take one envelope; the whole message if this completes it, else None.

        A whole message has the sequence of its last part, and ``parts`` 1.
        """
        if envelope.parts == 1:
            return envelope
        key = (envelope.producer, envelope.sequence - envelope.part)
        unfinished = self._unfinished.setdefault(key, _Unfinished(now + self._patience))
        if envelope.part not in unfinished.parts:
            unfinished.parts[envelope.part] = envelope.body
            unfinished.size += len(envelope.body)
            self._size += len(envelope.body)
        if len(unfinished.parts) == envelope.parts:
            self._remove(key)
            return msgspec.structs.replace(
                envelope,
                body=b"".join(unfinished.parts[part] for part in sorted(unfinished.parts)),
                part=0,
                parts=1,
                sequence=key[1] + envelope.parts - 1,
            )
        self.expire(now)
        return None

    def expire(self, now: float) -> None:
        """Give up what is too old, and the oldest of what is too much."""
        while self._unfinished:
            key, oldest = next(iter(self._unfinished.items()))
            if oldest.give_up_at > now and self._size <= self._max_bytes:
                return
            self._remove(key)
            self.given_up += 1

    def _remove(self, key: tuple[str, int]) -> None:
        self._size -= self._unfinished.pop(key).size
