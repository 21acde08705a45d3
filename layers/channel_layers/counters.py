"""What a layer counts, and the log of what it had to drop. No I/O, no clock of its own."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Final, Literal

__all__ = ["Counters", "DropNotice", "DropReason", "Drops"]

DropReason = Literal["capacity", "expired", "gone", "decode", "closed"]
"""Why a message was not delivered.

``capacity`` the mailbox was full · ``expired`` nobody read it within ``expiry`` · ``gone``
its process channel no longer exists · ``decode`` the frame was garbage, of another version
or sealed with an unknown key · ``closed`` it was unread when its channel or layer was closed.
"""

NOTICE_INTERVAL_SECONDS: Final = 10.0
"""At most one log line a reason in this time."""


@dataclass(slots=True)
class Counters:
    """Totals since the layer was made in this process. One writer at a time (the layer's lock)."""

    sent: int = 0
    """Messages accepted by ``send``."""
    group_sent: int = 0
    """Messages accepted by ``group_send``."""
    delivered: int = 0
    """Messages put into mailboxes here, one per member for a group."""
    taken: int = 0
    """Messages that left a mailbox, read or not."""
    discarded: int = 0
    """Messages that left a mailbox unread: expired, flushed, crowded out, closed."""
    channel_full: int = 0
    """Times that ``send`` raised ChannelFull."""
    reclaimed: int = 0
    """Channels taken away because nobody read them any more."""

    @property
    def waiting(self) -> int:
        """Messages in all mailboxes now."""
        return self.delivered - self.taken

    @property
    def received(self) -> int:
        """Messages that ``receive`` returned."""
        return self.taken - self.discarded

    def as_dict(self) -> dict[str, int]:
        """The totals by name."""
        return {**asdict(self), "received": self.received}


@dataclass(frozen=True, slots=True)
class DropNotice:
    """One line for the log: ``count`` messages dropped for ``reason``, lately for ``channel``."""

    reason: DropReason
    count: int
    channel: str


@dataclass(slots=True)
class Drops:
    """Counts of dropped messages by reason, and what the log has not been told yet."""

    totals: dict[DropReason, int] = field(
        default_factory=lambda: {
            "capacity": 0,
            "expired": 0,
            "gone": 0,
            "decode": 0,
            "closed": 0,
        }
    )
    untold: dict[DropReason, tuple[int, str]] = field(default_factory=dict)
    quiet_until: float = 0.0

    def add(self, reason: DropReason, channel: str, count: int = 1) -> None:
        """Count ``count`` messages for ``channel`` that will not be delivered."""
        if count:
            self.totals[reason] += count
            self.untold[reason] = (self.untold.get(reason, (0, ""))[0] + count, channel)

    def notices(self, now: float) -> list[DropNotice]:
        """What is to be logged at ``now`` (seconds): at most one notice a reason and interval."""
        if now < self.quiet_until or not self.untold:
            return []
        notices = [DropNotice(reason, *told) for reason, told in self.untold.items()]
        self.untold.clear()
        self.quiet_until = now + NOTICE_INTERVAL_SECONDS
        return notices
