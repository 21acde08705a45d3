"""One consumer's interest in one group: what it was told, and what it must yet be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from channel_consumers.presence.people import Change, Present

if TYPE_CHECKING:
    from channel_consumers.presence.tracker import Tracker

__all__ = ["Subscription"]

_RETELL_SECONDS: Final = 30.0

Meta = dict[str, Any]


class Subscription:
    """One consumer's interest in one group, and its membership if it is more than a watcher.

    Args:
        channel: where the consumer gets its notices; None for none.
    """

    def __init__(self, tracker: Tracker, group: str, channel: str | None, number: int) -> None:
        self.group = group
        self.channel = channel
        self._tracker = tracker
        self._number = number
        self._before: dict[str, Present | None] = {}
        self._retell_at = 0.0
        """Until then a notice is taken to be on its way: there is one at a time, so that
        presence never fills a consumer's mailbox, and one that expired unread is repeated."""

    def people(self) -> list[Present]:
        """Everybody in the group, as far as this process knows."""
        return self._tracker.roster.people(self.group)

    def enter(self, key: str, meta: Meta) -> None:
        """Become a member, or change key or meta. Not told to oneself."""
        self._tracker.enter(self, self._number, key, meta)

    def take_change(self) -> Change:
        """What changed since the last call, or since the beginning."""
        self._retell_at = 0.0
        before, self._before = self._before, {}
        return self._tracker.roster.view(self.group).change_since(before)

    def touch(self, touched: dict[str, Present | None]) -> None:
        """Note who may have changed, and how they were."""
        for key, before in touched.items():
            self._before.setdefault(key, before)

    def needs_notice(self, now: float) -> bool:
        """Whether there is something to tell that the consumer has no notice of."""
        return self.channel is not None and bool(self._before) and now >= self._retell_at

    def mark_told(self, now: float | None) -> None:
        """Note when a notice was sent; None if it could not be."""
        self._retell_at = 0.0 if now is None else now + _RETELL_SECONDS

    async def end(self) -> None:
        """Leave the group. The last one of a tracker to end closes it."""
        await self._tracker.unsubscribe(self, self._number)
