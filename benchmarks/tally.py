"""Did every message arrive, once, and in order? Pure bookkeeping."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

__all__ = ["Losses", "Tally"]


@dataclass
class Losses:
    """How often something went wrong."""

    lost: int = 0
    doubled: int = 0
    disordered: int = 0

    def __add__(self, other: Losses) -> Losses:
        return Losses(
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.disordered + other.disordered,
        )


class Tally:
    """What one receiver got from one sender, who numbers its messages 0, 1, 2, ...

    :attr:`next` is the number that is due. A reader that is in a hurry may compare and raise it
    itself, and call :meth:`take` for whatever else comes.
    """

    __slots__ = ("_missing", "disordered", "doubled", "next")

    def __init__(self) -> None:
        self.next = 0
        self._missing: set[int] = set()
        self.doubled = 0
        self.disordered = 0

    def take(self, number: int) -> bool:
        """Note a message; whether it came for the first time."""
        if number == self.next:
            self.next += 1
            return True
        if number > self.next:
            self._missing.update(range(self.next, number))
            self.next = number + 1
            return True
        if number in self._missing:
            self._missing.discard(number)
            self.disordered += 1
            return True
        self.doubled += 1
        return False

    def losses(self, sent: int, refused: AbstractSet[int] = frozenset()) -> Losses:
        """What went wrong with the first ``sent`` messages, if no more will come.

        Args:
            sent: how many the sender has numbered.
            refused: those of which the sender knows that they may not have been sent: they may
                be missing, but not come twice or late.
        """
        never = sum(number < sent and number not in refused for number in self._missing)
        rest = range(self.next, sent)
        never += len(rest) - sum(number in rest for number in refused)
        return Losses(never, self.doubled, self.disordered)
