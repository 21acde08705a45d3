"""Settings that hold per name: ``{"chat.*": value}``, the first pattern that matches wins."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from typing import Generic, TypeVar

__all__ = ["Patterns"]

T = TypeVar("T")


class Patterns(Generic[T]):
    """Values by glob or compiled pattern, matched from the start of a name as channels does.

    Args:
        values: glob (as :mod:`fnmatch`) or compiled pattern -> value, tried in this order.
        default: for names that no pattern matches.
    """

    __slots__ = ("compiled", "default")

    def __init__(self, values: Mapping[str | re.Pattern[str], T], default: T) -> None:
        self.compiled = [
            (re.compile(fnmatch.translate(key)) if isinstance(key, str) else key, value)
            for key, value in values.items()
        ]
        self.default = default

    def get(self, name: str) -> T:
        """The value for ``name``."""
        for pattern, value in self.compiled:
            if pattern.match(name):
                return value
        return self.default
