"""What was taken from plain channels lately, should the broker offer it again.

A replica that takes over may not have heard that a message was taken, and so still have it: the
process that took it knows better. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from channel_layers.transport import Pulled

__all__ = ["Taken"]

REMEMBERED: Final = 10_000
"""Messages: what may be taken from a master until it is found out that it was replaced."""


class Taken:
    """The last messages that this process took."""

    def __init__(self) -> None:
        self._recent: OrderedDict[int, None] = OrderedDict()
        """Hashes, the oldest first: the messages themselves would be too much to keep."""

    def only_new(self, channel: str, pulled: Iterable[Pulled]) -> list[Pulled]:
        """Those that were not taken before; from now on they were."""
        recent, new = self._recent, []
        for one in pulled:
            key = hash((channel, one.element))
            if key in recent:
                continue
            recent[key] = None
            if len(recent) > REMEMBERED:
                recent.popitem(last=False)
            new.append(one)
        return new

    def given_back(self, channel: str, pulled: Iterable[Pulled]) -> None:
        """They go back to the broker: who takes them from there takes them rightly."""
        for one in pulled:
            self._recent.pop(hash((channel, one.element)), None)
