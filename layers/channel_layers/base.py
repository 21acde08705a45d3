"""What all layers share: the public verbs, their checks, and reading from mailboxes.

A layer adds how messages get from one process to another: the abstract methods at the end,
which are given checked names and encoded bodies. See ``docs/architecture.md``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from abc import abstractmethod
from asyncio import _get_running_loop
from collections.abc import Coroutine, Iterable
from typing import Any, ClassVar, TypedDict, TypeVar, Unpack

from channels.layers import BaseChannelLayer

from channel_layers.codec import Position, encode
from channel_layers.config import CommonConfig, Options, refuse_unknown
from channel_layers.counters import DropReason
from channel_layers.exceptions import (
    ChannelFull,
    ForeignChannelError,
    LayerClosed,
    LayerError,
    LayerUnavailable,
    MessageTooLarge,
)
from channel_layers.history import History
from channel_layers.hub import Hub
from channel_layers.mailbox import Mailbox, Waiter
from channel_layers.names import (
    new_channel_name,
    new_process_id,
    process_of,
    require_channel_name,
    require_group_name,
)
from channel_layers.sync import SyncVerbs
from channel_layers.version import __version__
from channel_layers.wake import ThreadWaiter, Waker

__all__ = ["ChannelLayer", "Stats"]

logger = logging.getLogger("channel_layers")

T = TypeVar("T")

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


class ChannelLayer(BaseChannelLayer):
    """A channel layer that keeps the promises of ``docs/promises.md``.

    It can be made anywhere, without a running event loop, and be used from every loop and
    thread at once. Options: :class:`channel_layers.config.CommonConfig`.

    Raises:
        OptionError: an unknown option, or one of the wrong kind.
        OptionValueError: an option whose value cannot be right.
    """

    extensions: ClassVar[list[str]] = ["groups", "flush", "history", "membership"]
    mode: ClassVar[str]
    """How the layer works, in a word or two, for ``stats()``."""
    ChannelFull = ChannelFull
    MessageTooLarge = MessageTooLarge

    def __init__(self, **config: Unpack[CommonConfig]) -> None:
        refuse_unknown(type(self), config.keys() - CommonConfig.__annotations__.keys())
        self.options = options = Options.checked(**config)
        super().__init__(expiry=options.expiry, capacity=options.capacity)  # type: ignore[arg-type]  # the stubs say int, channels takes fractions too
        self.channel_capacity = options.channel_capacity.compiled  # type: ignore[assignment]  # what get_capacity() iterates; the stubs name the raw dict
        self.group_expiry = options.group_expiry
        self.sync = SyncVerbs(self)
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
        )
        self._turns = 0
        self._drained: list[ThreadWaiter | asyncio.Future[None]] = []

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

    # Messages

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send to one channel.

        A message to a process channel that does not exist any more is dropped and counted.

        Raises:
            ChannelFull: ``capacity`` messages wait in it unread.
            MessageTypeError: a value in the message cannot travel; nothing was sent.
            MessageTooLarge: more than ``max_message_size`` bytes; nothing was sent.
            LayerUnavailable: the broker was not reached within ``send_timeout``.
            LayerClosed: the layer has been closed or is draining.
            TypeError: not a channel name.
        """
        self._check_channel(channel)
        body = self._encoded(message)
        await self._breathe()
        await self._send(channel, body)
        self._report_drops()

    async def send_many(self, messages: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Send many messages in one go, in their order.

        All are checked before the first is sent.

        Args:
            messages: pairs of channel and message.

        Raises:
            ChannelFull: some channels were full, the text names them; the others were sent.
            Otherwise as :meth:`send`.
        """
        checked = [
            (require_channel_name(channel), self._encoded(message)) for channel, message in messages
        ]
        await self._breathe()
        full = await self._send_many(checked)
        self._report_drops()
        if full:
            raise ChannelFull(
                f"{len(full)} of {len(checked)} messages were not sent, as their channels are "
                f"full: {', '.join(sorted(set(full))[:10])}."
            )

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send to every member of a group, in every process.

        It never raises ChannelFull: what a member's mailbox cannot hold is dropped (see the
        option ``overflow``), counted and logged.

        Raises:
            MessageTypeError, MessageTooLarge, LayerUnavailable, LayerClosed: as :meth:`send`.
            TypeError: not a group name.
        """
        self._check_group(group)
        body = self._encoded(message)
        await self._breathe()
        await self._group_send(group, body)
        self._report_drops()

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
            finally:
                lock.release()
            try:
                await waiter
            except BaseException:  # a cancelled reader, or one whose loop is thrown away
                self._stop_waiting(box, waiter)
                raise
        return item.read()

    # Groups

    async def group_add(self, group: str, channel: str) -> None:
        """Make a channel, of whichever process, a member of a group.

        When it returns, every later ``group_send`` from anywhere reaches the channel. The
        membership lapses ``group_expiry`` seconds after the last add, when the channel is
        closed, and when its process ends.

        Raises:
            TypeError: not a group name or not a channel name.
            LayerUnavailable, LayerClosed: as :meth:`send`.
        """
        self._require_open()
        self._check_group(group)
        self._check_channel(channel)
        await self._group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """End a membership; nothing happens if there is none.

        When it returns, no later ``group_send`` reaches the channel.

        Raises:
            As :meth:`group_add`.
        """
        self._require_open()
        self._check_group(group)
        self._check_channel(channel)
        await self._group_discard(group, channel)

    async def group_channels(self, group: str) -> list[str]:
        """The channels in a group, of all processes.

        Raises:
            As :meth:`group_add`.
        """
        self._require_open()
        self._check_group(group)
        return await self._group_channels(group)

    async def history(
        self, group: str, since: Position | None = None, limit: int | None = None
    ) -> History:
        """The messages that a group still remembers.

        Args:
            since: only what came after this position; the first ``limit`` of it, to be
                continued from ``History.position``. Without it the last ``limit``.
            limit: the most messages; None for all.

        Raises:
            LayerError: the option ``history`` does not name this group.
            TypeError: not a group name, or ``since`` is not an (epoch, offset) pair.
            ValueError: ``limit`` is less than 1.
        """
        self._require_open()
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be 1 or more, or None for all, not {limit!r}.")
        if since is not None:
            since = _position(since)
        return await self._history(self._require_history(group), since, limit)

    async def position(self, group: str) -> Position:
        """Where the history of a group stands now.

        Raises:
            LayerError: the option ``history`` does not name this group.
            TypeError: not a group name.
        """
        self._require_open()
        return await self._position(self._require_history(group))

    # The layer itself

    async def flush(self) -> None:
        """Forget all messages, memberships and history of this prefix, in every process.

        Channels stay, and so do the readers that wait in them.
        """
        self._require_open()
        await self._flush()

    async def ping(self) -> float:
        """Send a message to oneself by the real path; the time it took, in seconds.

        Raises:
            LayerUnavailable: it did not come back within ``send_timeout``.
        """
        channel = await self.new_channel("ping")
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self.options.send_timeout):
                await self.send(channel, {"type": "ping"})
                await self.receive(channel)
        except TimeoutError as error:
            raise self._ping_unanswered() from error
        finally:
            await self.close_channel(channel)
        return time.perf_counter() - start

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
                "connected": not self._closed,
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

    # What a layer implements; names are legal, bodies encoded and within max_message_size

    @abstractmethod
    async def _send(self, channel: str, body: bytes) -> None: ...

    @abstractmethod
    async def _send_many(self, messages: list[tuple[str, bytes]]) -> list[str]:
        """Send all that fit; the channels of those that do not."""

    @abstractmethod
    async def _group_send(self, group: str, body: bytes) -> None: ...

    @abstractmethod
    async def _group_add(self, group: str, channel: str) -> None: ...

    @abstractmethod
    async def _group_discard(self, group: str, channel: str) -> None: ...

    @abstractmethod
    async def _group_channels(self, group: str) -> list[str]: ...

    @abstractmethod
    async def _history(self, group: str, since: Position | None, limit: int | None) -> History: ...

    @abstractmethod
    async def _position(self, group: str) -> Position: ...

    @abstractmethod
    async def _flush(self) -> None: ...

    @abstractmethod
    def _run_blocking(self, verb: Coroutine[Any, Any, T]) -> T:
        """Run one verb (never ``receive``) to its end from a thread without an event loop."""

    # What sync.py needs besides

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
            if not waiter.wait(None if ends is None else ends - time.monotonic()):
                self._stop_waiting(box, waiter)
                raise TimeoutError(f"No message in {channel!r} within {timeout} s.")
        return item.read()

    def _drain_blocking(self, timeout: float | None) -> int:
        waiter = ThreadWaiter()
        if self._begin_drain(waiter):
            waiter.wait(self.options.send_timeout if timeout is None else timeout)
        return self._hub.counters.waiting

    def _ping_unanswered(self) -> LayerError:
        return LayerUnavailable(
            f"{type(self).__name__} did not bring a message back to this process within "
            f"{self.options.send_timeout} s (send_timeout): is the broker up and reachable?"
        )

    # Helpers; those marked (locked) are called with the lock held

    def _encoded(self, message: object) -> bytes:
        if self._closed or self._draining:
            self._require_open()
            raise LayerClosed("The layer is draining and takes no new messages.")
        return encode(message, max_size=self.options.max_message_size)

    def _check_channel(self, channel: object) -> None:
        # A name in use here has been checked before: a look-up costs a tenth of the pattern.
        if not (isinstance(channel, str) and channel in self._hub.boxes):
            require_channel_name(channel)

    def _check_group(self, group: object) -> None:
        if not (isinstance(group, str) and group in self._hub.groups):
            require_group_name(group)

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

    def _require_history(self, group: str) -> str:
        if self.options.history.get(require_group_name(group)) is None:
            raise LayerError(
                f"Group {group!r} has no history: name it in the layer's CONFIG, "
                'such as history={"chat.*": (100, 300)} for 100 messages and 300 seconds.'
            )
        return group


def _position(since: object) -> Position:
    # It may well come from a browser, as a list and unchecked.
    if isinstance(since, list | tuple) and len(since) == 2:
        epoch, offset = since
        if isinstance(epoch, str) and isinstance(offset, int) and not isinstance(offset, bool):
            return Position(epoch, offset)
    raise TypeError(
        f"since must be a position, (epoch: str, offset: int), not {repr(since)[:100]}."
    )


_layers: weakref.WeakSet[ChannelLayer] = weakref.WeakSet()


def _after_fork() -> None:
    # The child shares no loop, thread, lock or connection with its parent.
    for layer in _layers:
        layer._start_afresh()  # this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
