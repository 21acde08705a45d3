"""What the parts of the transport need to know of the layer, and the times that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["GROUP_TTL_MS", "SILENT_MS", "Settings"]

SILENT_MS: Final = 7_000
"""A process not heard of for so long is not waited for."""
GROUP_TTL_MS: Final = 900_000
"""How long a group's set of processes is kept; live processes write it again in time."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What partitions need to know of the layer."""

    process: str
    expiry_ms: int
    ttl_ms: int
    """How long the inbox of a process that is silent is kept."""
    timeout: float
    """Seconds: ``send_timeout``."""

    @property
    def number_ttl_ms(self) -> int:
        """How long the number of a producer's last command is kept: longer than it is retried."""
        return int(max(60.0, 2 * self.timeout) * 1000)
