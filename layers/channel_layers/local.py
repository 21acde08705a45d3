"""What every layer does in its own process: channels, mailboxes, readers, figures, the end.

How messages get into the mailboxes, from here or from another process, is for :mod:`base`
and the layers to say.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from asyncio import _get_running_loop
from typing import Any, TypedDict, Unpack

from channels.layers import BaseChannelLayer

from channel_layers.config import CommonConfig, Options, refuse_unknown
from channel_layers.counters import DropReason
from channel_layers.exceptions import ForeignChannelError, LayerClosed
from channel_layers.hub import Hub
from channel_layers.mailbox import Mailbox, Waiter
from channel_layers.names import (
    new_channel_name,
    new_process_id,
    process_of,
    require_channel_name,
)
from channel_layers.version import __version__
from channel_layers.wake import ThreadWaiter, Waker

__all__ = ["LocalLayer", "Stats"]

logger = logging.getLogger("channel_layers")

_BREATHE_MASK = 63
"""Verbs that find all they need at once never suspend, so a loop around one would keep every
other task from running; each 64th lets the event loop go round."""

_DROP_TEXTS: dict[DropReason, str] = {
    "capacity": "the channel was full: read faster, send less, or raise its capacity",
    "expired": "nobody read them within the layer's expiry",
    "gone": "the channel does not exist any more, or its process is gone",
    "decode": "they were garbage, of an unknown version, or sealed with an unknown key",
    "closed": "the channel was closed while they waited in it",
}

_USUAL_DROPS = {"closed", "gone"}
"""What every page that is closed at the wrong moment causes; the others call for action."""


class Stats(TypedDict):
    """What :meth:`ChannelLayer.stats` tells, of this process only."""

    layer: str
    version: str
    mode: str
    connected: bool
    process: str
    channels: int
    groups: int
    members: int
    waiting: int
    counters: dict[str, int]
    dropped: dict[str, int]


class LocalLayer(BaseChannelLayer):
    """The half of a channel layer that needs no other process."""

    mode: str
    """How the layer works, in a word or two, for ``stats()``."""

    def __init__(self, **config: Unpack[CommonConfig]) -> None:
        refuse_unknown(type(self), config.keys() - CommonConfig.__annotations__.keys())
        self.options = options = Options.checked(**config)
        super().__init__(expiry=options.expiry, capacity=options.capacity)  # type: ignore[arg-type]  # the stubs say int, channels takes fractions too
        self.channel_capacity = options.channel_capacity.compiled  # type: ignore[assignment]  # what get_capacity() iterates; the stubs name the raw dict
        self.group_expiry = options.group_expiry
        self._clock = time.monotonic
        self._draining = False
        self._closed = False
        self._start_afresh()
        _layers.add(self)

    def _start_afresh(self) -> None:
        """Begin with nothing, as a process of its own: when made, and in a forked child."""
        options = self.options
        self._lock = threading.Lock()
        self._waker = Waker(self._lock)
        self._process = new_process_id()
        self._hub = Hub(
            expiry=options.expiry,
            group_expiry=options.group_expiry,
            capacity_of=options.channel_capacity.get,
            overflow=options.overflow,
            emptied=self._emptied,
        )
        self._turns = 0
        self._drained: list[ThreadWaiter | asyncio.Future[None]] = []

    @property
    def process(self) -> str:
        """The id of this layer in this process; it stands in the names of its channels."""
        return self._process

    # Channels

    async def new_channel(self, prefix: str = "specific") -> str:
        """A new channel that only this process reads; no I/O.

        Keep the very string that is returned for as long as the channel is in use: a channel
        whose name object is gone, and that nobody has read for ``expiry`` seconds, is
        reclaimed (:class:`channel_layers.names.ChannelName`).

        Args:
            prefix: how the name starts; letters, digits, ``-``, ``_``, ``.``.

        Raises:
            TypeError: ``prefix`` does not make a legal name.
            LayerClosed: the layer has been closed.
        """
        self._require_open()
        name = new_channel_name(prefix, self._process)
        with self._lock:
            now = self._clock()
            # Under a copy of the name: the hub must not keep the owner's own alive.
            self._hub.open(str.__str__(name), now, process=True, owner=weakref.ref(name))
            self._tick(now)
        return name

    async def close_channel(self, channel: str) -> None:
        """Forget a channel of this process: messages, memberships; a waiting receive ends.

        Nothing happens if it does not exist. Plain channels are emptied in this process.

        Raises:
            ForeignChannelError: the channel belongs to another process.
            TypeError: not a channel name.
        """
        self._require_readable(channel)
        with self._lock:
            box = self._hub.close(channel)
            if box is not None:
                self._waker.wake_all(box)

    async def receive(self, channel: str) -> dict[str, Any]:
        """The next message of a channel; waits for ever if there is none.

        Cancelling it at any moment loses nothing. Several readers of one channel compete.

        Returns:
            A fresh dict; for a group with history a :class:`channel_layers.codec.Message`,
            which knows its position.

        Raises:
            ForeignChannelError: the channel belongs to another process.
            LayerClosed: the layer or the channel was closed.
            TypeError: not a channel name.
        """
        hub, lock = self._hub, self._lock
        try:
            box = hub.boxes.get(channel) or self._open_to_read(channel)
        except TypeError:  # unhashable, perhaps: let the answer speak of names
            require_channel_name(channel)
            raise
        if box.items:
            self._turns += 1
            if not self._turns & _BREATHE_MASK:
                await asyncio.sleep(0)
        while True:
            lock.acquire()  # not "with": that costs 0.15 µs more, twice for each message
            try:
                if box.forgotten:
                    box = self._reopen_to_read(box)
                if box.items and (item := hub.take(box, self._clock())) is not None:
                    if box.items or self._drained:
                        self._after_take(box)
                    break
                waiter: asyncio.Future[None] = asyncio.Future()
                box.waiters.append(waiter)
                if not box.process:
                    self._waits(box)
            finally:
                lock.release()
            try:
                await waiter
            except BaseException:  # a cancelled reader, or one whose loop is thrown away
                self._stop_waiting(box, waiter)
                raise
        return item.read()

    def stats(self) -> Stats:
        """Figures of this process: no I/O."""
        self._report_drops()
        with self._lock:
            hub = self._hub
            self._tick(self._clock())
            return {
                "layer": f"{type(self).__module__}.{type(self).__qualname__}",
                "version": __version__,
                "mode": self.mode,
                "connected": self._connected(),
                "process": self._process,
                "channels": len(hub.boxes),
                "groups": len(hub.groups),
                "members": sum(len(members) for members in hub.groups.values()),
                "waiting": hub.counters.waiting,
                "counters": hub.counters.as_dict(),
                "dropped": {str(reason): n for reason, n in hub.drops.totals.items()},
            }

    async def drain(self, timeout: float | None = None) -> int:
        """Refuse new messages and wait until those that are here have been read.

        Args:
            timeout: seconds; None for ``send_timeout``.

        Returns:
            How many are still unread; 0 if it went well.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._begin_drain(waiter):
            try:
                await asyncio.wait_for(
                    waiter, self.options.send_timeout if timeout is None else timeout
                )
            except TimeoutError:
                logger.warning("Drained with %d messages still unread.", self._hub.counters.waiting)
        return self._hub.counters.waiting

    async def close(self) -> None:
        """Close for good: waiting readers get LayerClosed, and so does every later call."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for channel in tuple(self._hub.boxes):
                box = self._hub.close(channel)
                if box is not None:
                    self._waker.wake_all(box)
            self._end_drain()
        self._report_drops()

    # For layer.sync

    def _receive_blocking(self, channel: str, timeout: float | None) -> dict[str, Any]:
        ends = None if timeout is None else time.monotonic() + timeout
        box = self._hub.boxes.get(channel) or self._open_to_read(channel)
        while True:
            with self._lock:
                if box.forgotten:
                    box = self._reopen_to_read(box)
                if box.items and (item := self._hub.take(box, self._clock())) is not None:
                    self._after_take(box)
                    break
                waiter = ThreadWaiter()
                box.waiters.append(waiter)
                if not box.process:
                    self._waits(box)
            if not waiter.wait(None if ends is None else ends - time.monotonic()):
                self._stop_waiting(box, waiter)
                raise TimeoutError(f"No message in {channel!r} within {timeout} s.")
        return item.read()

    def _drain_blocking(self, timeout: float | None) -> int:
        waiter = ThreadWaiter()
        if self._begin_drain(waiter):
            waiter.wait(self.options.send_timeout if timeout is None else timeout)
        return self._hub.counters.waiting

    # What a layer that crosses processes has to know (locked)

    def _waits(self, box: Mailbox) -> None:
        """A reader begins to wait in a plain channel."""

    def _connected(self) -> bool:
        return not self._closed

    def _emptied(self, group: str) -> None:
        """A group has lost its last member in this process."""

    # Helpers; those marked (locked) are called with the lock held

    async def _breathe(self) -> None:
        self._turns += 1
        if not self._turns & _BREATHE_MASK and _get_running_loop() is not None:
            await asyncio.sleep(0)

    def _open_to_read(self, channel: str) -> Mailbox:
        self._require_open()
        self._require_readable(channel)
        with self._lock:
            return self._hub.open(channel, self._clock(), process="!" in channel)

    def _reopen_to_read(self, box: Mailbox) -> Mailbox:
        """The mailbox that takes the place of a forgotten one (locked)."""
        self._require_open()
        if box.closed:
            raise LayerClosed(f"Channel {box.channel!r} was closed while it was being read.")
        return self._hub.open(box.channel, self._clock(), process=box.process)

    def _stop_waiting(self, box: Mailbox, waiter: Waiter) -> None:
        with self._lock:
            self._hub.abandon(box, waiter, self._clock())
            if box.items and box.waiters:
                self._waker.wake((box,))

    def _after_take(self, box: Mailbox) -> None:
        """Pass on what a reader that got its message owes to others (locked)."""
        if box.items and box.waiters:
            self._waker.wake((box,))
        if self._drained and not self._hub.counters.waiting:
            self._end_drain()

    def _begin_drain(self, waiter: ThreadWaiter | asyncio.Future[None]) -> bool:
        with self._lock:
            self._draining = True
            if not self._hub.counters.waiting:
                return False
            self._drained.append(waiter)
            return True

    def _end_drain(self) -> None:
        for waiter in self._drained:
            self._waker.wake_one(waiter)
        self._drained.clear()

    def _tick(self, now: float) -> None:
        """Look after the few mailboxes that are due (locked)."""
        if self._hub.next_check <= now:
            self._hub.tick(now)

    def _report_drops(self) -> None:
        drops = self._hub.drops
        if drops.untold and self._clock() >= drops.quiet_until:
            # Outside the lock: a log handler may well send through this very layer.
            with self._lock:
                notices = drops.notices(self._clock())
            for notice in notices:
                logger.log(
                    logging.INFO if notice.reason in _USUAL_DROPS else logging.WARNING,
                    "Dropped %d message(s), lately for %r: %s.",
                    notice.count,
                    notice.channel,
                    _DROP_TEXTS[notice.reason],
                )

    def _require_open(self) -> None:
        if self._closed:
            raise LayerClosed(
                f"This {type(self).__name__} has been closed; make a new one, or do not close "
                "the one that channels caches for the whole process."
            )

    def _require_readable(self, channel: str) -> None:
        process = process_of(require_channel_name(channel))
        if process is not None and process != self._process:
            raise ForeignChannelError(
                f"Channel {channel!r} was made by another process or layer; only the one that "
                "made it can read or close it. Send to it, or use a name without '!'."
            )


_layers: weakref.WeakSet[LocalLayer] = weakref.WeakSet()


def _after_fork() -> None:
    # The child shares no loop, thread, lock or connection with its parent.
    for layer in _layers:
        layer._start_afresh()  # this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
