"""How long to wait before the next attempt to reach a broker."""

from __future__ import annotations

import random
from typing import Final

__all__ = ["Backoff"]

FIRST_SECONDS: Final = 0.02
LONGEST_SECONDS: Final = 1.0


class Backoff:
    """Delays that double, with full jitter, so that a thousand processes do not come at once.

    See `Exponential Backoff And Jitter
    <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>`_. The first
    attempt after a success is made at once.
    """

    def __init__(self) -> None:
        self._ceiling = 0.0

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        delay = random.uniform(self._ceiling / 2, self._ceiling)  # no secret
        self._ceiling = min(max(FIRST_SECONDS, 2 * self._ceiling), LONGEST_SECONDS)
        return delay

    def succeeded(self) -> None:
        """The next attempt is a first one again."""
        self._ceiling = 0.0
