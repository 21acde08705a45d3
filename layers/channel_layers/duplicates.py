"""Recognising what a sender sent twice because it did not know whether it had arrived.

A sender numbers its envelopes and sends one again when the connection broke before the answer
came. On one path (a stream, a partition) the numbers of one producer grow; only what was sent
again comes out of order. Pure: the time is passed in (seconds).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Final

__all__ = ["Duplicates"]

REMEMBERED: Final = 1024
"""The last so many numbers of each producer; what is not above all others counts as seen."""


class _Seen:
    __slots__ = ("forgotten", "highest", "recent", "used_at")

    def __init__(self) -> None:
        self.forgotten = 0
        """The highest number that is not among the recent ones any more."""
        self.highest = 0
        self.recent: deque[int] = deque(maxlen=REMEMBERED)
        self.used_at = 0.0


class Duplicates:
    """What has been seen of each producer lately.

    Args:
        forget_after: seconds after which a producer that was silent is forgotten; longer than
            any sender goes on trying.
    """

    def __init__(self, *, forget_after: float) -> None:
        self._forget_after = forget_after
        self._producers: dict[Hashable, _Seen] = {}
        self._sweep_at = 0.0
        self.found = 0
        """How many were there."""

    def is_new(self, producer: Hashable, sequence: int, now: float) -> bool:
        """Whether this number of the producer has not been seen; from now on it has."""
        seen = self._producers.get(producer)
        if seen is None:
            self._sweep(now)
            seen = self._producers[producer] = _Seen()
        seen.used_at = now
        if sequence > seen.highest:
            seen.highest = sequence
        elif sequence <= seen.forgotten or sequence in seen.recent:
            self.found += 1
            return False
        if len(seen.recent) == REMEMBERED:
            seen.forgotten = max(seen.forgotten, seen.recent[0])
        seen.recent.append(sequence)
        return True

    def __len__(self) -> int:
        return len(self._producers)

    def _sweep(self, now: float) -> None:
        # When a producer appears, so that processes that come and go leave nothing behind.
        if now >= self._sweep_at:
            silent = now - self._forget_after
            for producer in [p for p, seen in self._producers.items() if seen.used_at < silent]:
                del self._producers[producer]
            self._sweep_at = now + self._forget_after / 4
