"""The heart of every layer: mailboxes, groups, expiry and capacity of one process.

Plain synchronous code without I/O, threads, tasks or a clock: the time (``now``, in seconds
of any steady clock) is passed in, and whoever must be woken is returned as a list of
mailboxes. The layer around it holds a lock, wakes the readers and talks to the broker.

Nothing here walks over all channels. Mailboxes stand in the order in which they are next to
be looked at; each operation of the layer calls :meth:`Hub.tick`, which looks at the few that
are due, drops what has expired in them, lets memberships lapse, and reclaims the dead.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from channel_layers.counters import Counters, Drops
from channel_layers.exceptions import ChannelFull
from channel_layers.mailbox import Item, Mailbox, Waiter

__all__ = ["Hub", "Overflow"]

Overflow = Literal["drop_new", "drop_old"]

_CHECKS_PER_TICK = 500


class Hub:
    """All channels that are read in this process, and the groups they are in.

    Args:
        expiry: seconds after which an unread message is dropped.
        group_expiry: seconds after the last ``add`` when a membership lapses.
        capacity_of: channel name -> most messages that may wait in it.
        overflow: what a group message does to a full mailbox: ``drop_new`` drops the
            message, ``drop_old`` the oldest one waiting.
        emptied: called with each group that has lost its last member.

    A process channel without a waiting reader is reclaimed ``expiry`` seconds after it was
    last read, unless its owner is alive; a plain channel when nothing waits in it either.
    """

    def __init__(
        self,
        *,
        expiry: float,
        group_expiry: float,
        capacity_of: Callable[[str], int],
        overflow: Overflow = "drop_new",
        emptied: Callable[[str], None] | None = None,
    ) -> None:
        self.expiry = expiry
        self.group_expiry = group_expiry
        self.capacity_of = capacity_of
        self.overflow = overflow
        self.emptied = emptied
        self.counters = Counters()
        self.drops = Drops()
        self.boxes: OrderedDict[str, Mailbox] = OrderedDict()
        self.groups: dict[str, dict[Mailbox, float]] = {}
        """group -> member -> when its membership lapses, the first to lapse first."""
        self.next_check = float("inf")
        self._check_interval = expiry / 2

    # Channels

    def open(
        self,
        channel: str,
        now: float,
        *,
        process: bool,
        owner: Callable[[], object | None] | None = None,
    ) -> Mailbox:
        """The mailbox of ``channel``, made if there is none."""
        box = self.boxes.get(channel)
        if box is None:
            box = Mailbox(
                channel,
                capacity=self.capacity_of(channel),
                process=process,
                owner=owner,
                now=now,
            )
            self.boxes[channel] = box
            box.check_at = now + self._check_interval
            self.next_check = min(self.next_check, box.check_at)
        return box

    def close(self, channel: str) -> Mailbox | None:
        """Forget ``channel``, its messages and memberships.

        Returns:
            The mailbox, marked closed, whose waiting readers must all be woken; None if
            there was none.
        """
        box = self.boxes.get(channel)
        if box is not None:
            box.closed = True
            self.drops.add("closed", channel, len(box.items))
            self._forget(box)
        return box

    def flush(self) -> None:
        """Forget all messages and memberships; channels and their waiting readers stay."""
        self.groups.clear()
        for box in self.boxes.values():
            self._discard_items(box, len(box.items))
            box.groups = None

    # Messages

    def put(self, box: Mailbox, item: Item, now: float) -> None:
        """Add one message; the caller wakes a reader if ``box.waiters``.

        Raises:
            ChannelFull: as many messages as its capacity wait unread and unexpired.
        """
        if len(box.items) >= box.capacity:
            self.require_room(box, 0, now)
        box.items.append(item)
        self.counters.delivered += 1

    def require_room(self, box: Mailbox, expected: int, now: float) -> None:
        """See whether one more message fits in besides ``expected`` others that will come.

        Raises:
            ChannelFull: it does not.
        """
        if len(box.items) + expected >= box.capacity:
            self._drop_expired(box, now)
            if (waiting := len(box.items) + expected) >= box.capacity:
                self.counters.channel_full += 1
                raise ChannelFull(
                    f"Channel {box.channel!r} is full: {waiting} messages wait to be read. "
                    "Read faster, send less, or raise capacity or channel_capacity in the CONFIG."
                )

    def offer(self, box: Mailbox, item: Item, now: float) -> bool:
        """Add one message, or drop it if the mailbox is full; whether it was added."""
        if len(box.items) >= box.capacity:
            self._drop_expired(box, now)
            if len(box.items) >= box.capacity:
                self.drops.add("capacity", box.channel)
                return False
        self.accept(box, item)
        return True

    def accept(self, box: Mailbox, item: Item) -> None:
        """Add one message for which there is room, or for which room was kept elsewhere."""
        box.items.append(item)
        self.counters.delivered += 1

    def fan_out(self, group: str, item: Item, now: float) -> list[Mailbox]:
        """Add one message to the mailbox of every member.

        Returns:
            The mailboxes that have a waiting reader to be woken.
        """
        members = self.groups.get(group)
        if members is None:
            return []
        if next(iter(members.values())) <= now:
            self._lapse(group, members, now)
        woken = []
        missed = 0
        for box in members:
            items = box.items
            if len(items) >= box.capacity and not self._make_room(box, now):
                missed += 1
                continue
            items.append(item)
            if box.waiters:
                woken.append(box)
        self.counters.delivered += len(members) - missed
        return woken

    def take(self, box: Mailbox, now: float) -> Item | None:
        """The oldest message that has not expired, or None."""
        box.idle_since = now
        items = box.items
        while items:
            item = items.popleft()
            self.counters.taken += 1
            if item.deadline > now:
                return item
            self.counters.discarded += 1
            self.drops.add("expired", box.channel)
        return None

    def take_all(self, box: Mailbox) -> list[Item]:
        """All that waits in a mailbox, to be put elsewhere."""
        items = list(box.items)
        self._discard_items(box, len(items))
        return items

    def abandon(self, box: Mailbox, waiter: Waiter, now: float) -> None:
        """Take back the waiter of a reader that stopped waiting without taking a message.

        If it had been woken already, its wake-up belongs to the next reader: the caller
        wakes one if ``box.items and box.waiters``.
        """
        box.idle_since = now
        if waiter in box.waiters:
            box.waiters.remove(waiter)

    # Groups

    def add(self, group: str, box: Mailbox, now: float) -> None:
        """Make the channel a member of ``group`` for another ``group_expiry`` seconds."""
        members = self.groups.get(group)
        if members is None:
            members = self.groups[group] = {}
        else:
            members.pop(box, None)
        members[box] = now + self.group_expiry
        if box.groups is None:
            box.groups = {group}
        else:
            box.groups.add(group)
        box.idle_since = now

    def discard(self, group: str, channel: str) -> None:
        """End a membership; nothing happens if there is none."""
        box = self.boxes.get(channel)
        if box is not None and box.groups and group in box.groups:
            self._leave(group, box)

    def members(self, group: str, now: float) -> list[str]:
        """The names of the channels in ``group``."""
        members = self.groups.get(group)
        if members is None:
            return []
        self._lapse(group, members, now)
        return [box.channel for box in members]

    # Upkeep

    def tick(self, now: float) -> None:
        """Look at the mailboxes that are due, a bounded number per call."""
        for _ in range(_CHECKS_PER_TICK):
            box = next(iter(self.boxes.values()), None)
            if box is None or box.check_at > now:
                self.next_check = box.check_at if box is not None else float("inf")
                return
            self._check(box, now)
        self.next_check = now

    def tidy(self, now: float) -> None:
        """Look at every mailbox now, due or not."""
        for box in tuple(self.boxes.values()):
            self._check(box, now)

    def _check(self, box: Mailbox, now: float) -> None:
        self._drop_expired(box, now)
        for group in tuple(box.groups or ()):
            if self.groups[group][box] <= now:
                self._leave(group, box)
        if self._is_dead(box, now):
            self.counters.reclaimed += 1
            self._forget(box)
        else:
            box.check_at = now + self._check_interval
            self.boxes.move_to_end(box.channel)

    def _is_dead(self, box: Mailbox, now: float) -> bool:
        # A reader that was woken and has not run yet is not among the waiters any more:
        # what it was woken for must not vanish under it.
        if box.waiters or box.items:
            return False
        if not box.process:
            return not box.groups
        if box.owner is not None and box.owner() is not None:
            return False
        return box.idle_since + self.expiry <= now

    def _drop_expired(self, box: Mailbox, now: float) -> None:
        expired = 0
        for item in box.items:
            if item.deadline > now:
                break
            expired += 1
        if expired:
            self._discard_items(box, expired)
            self.drops.add("expired", box.channel, expired)

    def _discard_items(self, box: Mailbox, count: int) -> None:
        for _ in range(count):
            box.items.popleft()
        self.counters.taken += count
        self.counters.discarded += count

    def _make_room(self, box: Mailbox, now: float) -> bool:
        self._drop_expired(box, now)
        if len(box.items) < box.capacity:
            return True
        self.drops.add("capacity", box.channel)
        if self.overflow == "drop_old":
            self._discard_items(box, 1)
            return True
        return False

    def _forget(self, box: Mailbox) -> None:
        box.forgotten = True
        del self.boxes[box.channel]
        self._discard_items(box, len(box.items))
        for group in tuple(box.groups or ()):
            self._leave(group, box)

    def _lapse(self, group: str, members: dict[Mailbox, float], now: float) -> None:
        lapsed = []
        for box, lapses_at in members.items():
            if lapses_at > now:
                break
            lapsed.append(box)
        for box in lapsed:
            self._leave(group, box)

    def _leave(self, group: str, box: Mailbox) -> None:
        members = self.groups[group]
        del members[box]
        if not members:
            del self.groups[group]
            if self.emptied is not None:
                self.emptied(group)
        if box.groups is not None:
            box.groups.discard(group)
            if not box.groups:
                box.groups = None
