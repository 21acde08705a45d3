"""What was taken from plain channels lately, should the broker offer it again.

A replica that takes over may not have heard yet that a message was taken, and so still have it.
The process that took it knows better. Pure: the time is passed in (seconds).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from channel_layers.transport import Pulled

__all__ = ["Taken"]

REMEMBERED: Final = 1024
"""Messages; replicas are behind by less."""
SLACK_SECONDS: Final = 1.0
"""By so much a message's age may be wrong: two servers have two clocks."""


class Taken:
    """The last messages that this process took."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=REMEMBERED)
        """Hashes: the messages themselves would be too much to keep."""
        self._lost_at: float | None = None

    def lost(self, now: float) -> None:
        """The broker may have forgotten what was done last."""
        self._lost_at = now

    def only_new(self, channel: str, pulled: Iterable[Pulled], now: float) -> list[Pulled]:
        """Those that were not taken before; from now on they were."""
        new = []
        for one in pulled:
            key = hash((channel, one.element))
            if self._is_doubtful(one, now) and key in self._recent:
                continue
            self._recent.append(key)
            new.append(one)
        return new

    def given_back(self, channel: str, pulled: Iterable[Pulled]) -> None:
        """They go back to the broker: whoever takes them next takes them rightly."""
        for one in pulled:
            key = hash((channel, one.element))
            if key in self._recent:
                self._recent.remove(key)

    def _is_doubtful(self, one: Pulled, now: float) -> bool:
        """Whether it was there before the broker forgot: only such can come again."""
        return self._lost_at is not None and now - one.age <= self._lost_at + SLACK_SECONDS
