"""Of which groups this process is a member, as the broker knows it.

The broker knows processes, not channels: the first local member of a group makes the process a
member, and when the last one has gone it leaves. Further local members cost nothing. All other
changes travel through this process's own inbox, in line with the messages: a channel gets
exactly what was sent to its group between its coming and its going, whoever decides on them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Final

from channel_layers.exceptions import LayerError
from channel_layers.hub import Hub
from channel_layers.mailbox import Item, Mailbox
from channel_layers.transport import Transport
from channel_layers.wake import Waker

__all__ = ["Membership"]

logger = logging.getLogger("channel_layers")

LEFT: Final = 64
"""Groups that a channel is known to have left; only what is still under way matters."""
HELD_SECONDS: Final = 0.05

Pair = tuple[str, str]
"""Group and channel."""


class Membership:
    """The groups that this process has joined; what is marked (locked) needs the layer's lock.

    Args:
        hub, lock, waker: of the layer.
        spawn: runs a coroutine as a task that the layer owns.
        call: calls a function on the home loop, from any thread.
        held_back: whether entries have been read and not yet been looked at: an addition may
            be among them.
    """

    def __init__(
        self,
        transport: Transport,
        hub: Hub,
        lock: threading.Lock,
        waker: Waker,
        *,
        spawn: Callable[[Coroutine[object, object, None]], None],
        call: Callable[[Callable[[], object]], None],
        held_back: Callable[[], bool] = lambda: False,
    ) -> None:
        self.joined: set[str] = set()
        """Groups in which the broker knows this process."""
        self._transport = transport
        self._hub = hub
        self._lock = lock
        self._waker = waker
        self._spawn = spawn
        self._call = call
        self._held_back = held_back
        self.adding: dict[str, dict[str, list[Item]]] = {}
        """Own additions that are under way: group -> channel -> what has come meanwhile."""
        self._discarding: dict[Pair, set[str]] = {}
        """Own discards that are under way, by their tokens."""
        self._emptied: list[str] = []
        self._plain: OrderedDict[Pair, tuple[float, int]] = OrderedDict()
        """Memberships of plain channels that this process gave: when each lapses, capacity."""

    # What this process wants

    def add_further(self, group: str, channel: str, now: float) -> bool:
        """Add a channel if that needs nobody else; False if it does.

        The channel may then get messages that were sent just before and are still under way.
        """
        with self._lock:
            members = self._hub.groups.get(group)
            box = self._hub.boxes.get(channel)
            if (
                members is None
                or box is None
                or box in members
                or group not in self.joined
                or (box.left is not None and group in box.left)
                or (group, channel) in self._discarding
                or channel in self.adding.get(group, ())
            ):
                return False
            self._hub.add(group, box, now)
            return True

    def begin_add(self, group: str, channel: str, now: float) -> None:
        """Note that an addition goes under way."""
        with self._lock:
            self._hub.open(channel, now, process=True)
            self.adding.setdefault(group, {}).setdefault(channel, [])

    def added(self, group: str, channel: str, now: float) -> None:
        """The broker has made this process a member, and nothing older is under way to it."""
        with self._lock:
            came = self._end_add(group, channel)
            box = self._join(group, channel, now)
            for item in came:
                if box is not None and self._hub.offer(box, item, now) and box.waiters:
                    self._waker.wake((box,))

    def add_failed(self, group: str, channel: str) -> None:
        """It did not get under way, or nobody knows."""
        with self._lock:
            self._end_add(group, channel)
            if group not in self._hub.groups:
                self.joined.add(group)
                self.emptied(group)

    def came(self, group: str, item: Item) -> None:
        """A message to a group came before it is known whether it is for those that join (locked).

        The answer to an addition and what is sent after it come on two connections.
        """
        for channel, items in self.adding[group].items():
            box = self._hub.boxes.get(channel)
            if box is not None and not (box.groups and group in box.groups):
                items.append(item)

    def begin_discard(self, group: str, channel: str, token: str) -> None:
        """Note that a discard goes under way."""
        with self._lock:
            self._discarding.setdefault((group, channel), set()).add(token)

    def discard_failed(self, group: str, channel: str, token: str) -> None:
        """It did not get under way: nobody else is needed for it, so it is done now."""
        with self._lock:
            self.discard(group, channel, own=token)

    # What has come through the inbox

    def add(self, group: str, channel: str, now: float, *, own: bool) -> None:
        """A channel joins (locked)."""
        if own:
            self._end_add(group, channel)  # what has come meanwhile was sent before
        self._join(group, channel, now)

    def _join(self, group: str, channel: str, now: float) -> Mailbox | None:
        self.joined.add(group)
        box = self._hub.boxes.get(channel)
        if box is not None:
            self._hub.add(group, box, now)
            if box.left is not None:
                box.left.discard(group)
        elif group not in self._hub.groups:
            self.emptied(group)
        return box

    def discard(self, group: str, channel: str, *, own: str | None) -> None:
        """A channel leaves (locked).

        Args:
            own: the token of a discard of this process; one that has been carried out already
                does nothing.
        """
        if own is not None:
            tokens = self._discarding.get((group, channel), set())
            if own not in tokens:
                return
            tokens.remove(own)
            if not tokens:
                del self._discarding[group, channel]
        box = self._hub.boxes.get(channel)
        if box is not None and box.groups is not None and group in box.groups:
            if box.left is None or len(box.left) >= LEFT:
                box.left = set()
            box.left.add(group)
            self._hub.discard(group, channel)

    def lost(self, groups: Callable[[str], bool], now: float) -> None:
        """What was under way for these groups may never come: it is done now (locked)."""
        for group in [group for group in self.adding if groups(group)]:
            for channel in self.adding.pop(group):
                if (box := self._hub.boxes.get(channel)) is not None:
                    self._hub.add(group, box, now)
                    self.joined.add(group)
        for pair in [pair for pair in self._discarding if groups(pair[0])]:
            for token in tuple(self._discarding[pair]):
                self.discard(*pair, own=token)

    def flushed(self) -> None:
        """The broker has forgotten all groups (locked)."""
        self.joined.clear()
        self._plain.clear()
        self.adding.clear()
        self._discarding.clear()

    def _end_add(self, group: str, channel: str) -> list[Item]:
        channels = self.adding.get(group, {})
        came = channels.pop(channel, [])
        if not channels:
            self.adding.pop(group, None)
        return came

    # Plain channels, which no process stands for

    async def add_plain(
        self, group: str, channel: str, seconds: float, capacity: int, now: float
    ) -> None:
        """Make a plain channel a member, and remember it, should the broker forget it."""
        await self._transport.add_plain(group, channel, seconds, capacity)
        self._plain.pop((group, channel), None)
        self._plain[group, channel] = (now + seconds, capacity)
        while next(iter(self._plain.values()))[0] <= now:
            self._plain.popitem(last=False)

    async def discard_plain(self, group: str, channel: str) -> None:
        """End that."""
        self._plain.pop((group, channel), None)
        await self._transport.discard_plain(group, channel)

    async def restore_plain(self, groups: Callable[[str], bool], now: float) -> None:
        """The broker may have forgotten them: add them again, for as long as they had left."""
        for (group, channel), (lapses_at, capacity) in tuple(self._plain.items()):
            if lapses_at > now and groups(group):
                try:
                    await self._transport.add_plain(group, channel, lapses_at - now, capacity)
                except LayerError as error:
                    logger.warning("%r may not be in group %r any more: %s", channel, group, error)

    # Leaving

    def emptied(self, group: str) -> None:
        """A group has no local member any more (locked)."""
        if group not in self.joined:
            return
        self._emptied.append(group)
        if len(self._emptied) == 1:
            self._call(self._leave_emptied)

    def _leave_emptied(self) -> None:
        with self._lock:
            emptied, self._emptied = self._emptied, []
            leaving = [g for g in set(emptied) if g in self.joined and g not in self._hub.groups]
            self.joined.difference_update(leaving)
        for group in leaving:
            self._spawn(self._leave(group))

    async def _leave(self, group: str) -> None:
        if self._held_back():
            loop = asyncio.get_running_loop()
            loop.call_later(HELD_SECONDS, lambda: self._spawn(self._leave(group)))
            return
        if group in self.joined or group in self.adding:
            return  # an addition has come since, or is to come
        try:
            await self._transport.leave(group)
        except LayerError:
            pass  # messages that nobody here wants cost a little, until the membership lapses
