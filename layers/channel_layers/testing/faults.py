"""What a test module may be able to do to a layer's broker, for the laws about faults.

A subclass of :class:`~channel_layers.testing.harness.LayerUnderTest` sets ``faults`` to an object
with as many of these methods as it can; the laws for the others are then not applicable. The
methods block, and are called in a worker thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

__all__ = ["Cuts", "Faults", "Pauses", "Restarts"]


@runtime_checkable
class Cuts(Protocol):
    """Can break the connections between the layer and the broker."""

    direct: Mapping[str, object]
    """CONFIG of an instance that reaches the broker another way, which is never broken."""

    def cut(self) -> None:
        """Break every connection now; new ones succeed at once."""

    def part(self) -> None:
        """Break every connection and refuse new ones, until :meth:`heal`."""

    def heal(self) -> None:
        """Let connections through again."""


@runtime_checkable
class Restarts(Protocol):
    """Can kill the broker and start it again."""

    forgets: bool
    """Whether a restarted broker has lost what it held."""

    def restart(self) -> None:
        """Kill the broker without warning, start it again, return when it answers."""


@runtime_checkable
class Pauses(Protocol):
    """Can stop the broker's process without ending it."""

    def pause(self) -> None:
        """Stop it: connections stay open, nothing is answered."""

    def resume(self) -> None:
        """Let it go on."""


Faults = Cuts | Restarts | Pauses
