"""The presence of one process: a :class:`Roster` with a channel, a clock and two tasks."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from contextlib import suppress
from itertools import count
from typing import Any, Final

from channels.exceptions import ChannelFull, MessageTooLarge
from channels.layers import BaseChannelLayer
from django.conf import settings

from channel_consumers.presence.frames import FrameError, read, write
from channel_consumers.presence.roster import PATIENCE, Outgoing, Roster
from channel_consumers.presence.subscription import Subscription
from channel_layers.names import require_group_name

__all__ = ["GROUP", "NOTICE_TYPE", "Tracker", "subscribe"]

logger = logging.getLogger("channel_consumers.presence")

GROUP: Final = "channel_consumers.presence"
"""The layer's group in which the trackers of all processes are."""
NOTICE_TYPE: Final = "presence.notice"
"""Type of the message that tells a consumer to look what changed in a group."""

_DEFAULT_EVERY: Final = 5.0
_LONGEST_PAUSE: Final = 5.0
_GOODBYE_SECONDS: Final = 5.0
_LOG_EVERY: Final = 60.0
_MOST_WAITING: Final = 10_000

Meta = dict[str, Any]


class Tracker:
    """Presence of all consumers of one channel layer in one event loop.

    It runs from the first subscription to the end of the last one; see :func:`subscribe`. What
    the layer fails to carry is logged and made up for at the next beat.
    """

    def __init__(self, layer: BaseChannelLayer, channel: str, every: float) -> None:
        self.layer = layer
        self.channel = channel
        self.bad_frames = 0
        """How many messages on the presence group were not understood."""
        self._loop = asyncio.get_running_loop()
        self.roster = Roster(str(channel), every=every, now=self._loop.time())
        self._numbers = count(1)
        self._subscriptions: dict[str, dict[int, Subscription]] = {}
        self._outgoing: deque[Outgoing] = deque()
        self._untold: dict[Subscription, None] = {}
        self._wake = asyncio.Event()
        self._log_due = 0.0
        self._in_group = False
        self._tasks = [
            self._loop.create_task(self._read(), name="presence reader"),
            self._loop.create_task(self._work(), name="presence worker"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._report_end)

    @property
    def closed(self) -> bool:
        """Whether the last subscription has ended."""
        return not self._tasks

    def add(self, group: str, channel: str | None) -> Subscription:
        """A new subscription; see :func:`subscribe`."""
        number = next(self._numbers)
        self.roster.watch(group)
        subscription = Subscription(self, group, channel, number)
        self._subscriptions.setdefault(group, {})[number] = subscription
        self._wake.set()
        return subscription

    def enter(self, subscription: Subscription, number: int, key: str, meta: Meta) -> None:
        """A subscriber becomes a member."""
        self._note_changes()
        self.roster.join(subscription.group, number, key, meta)
        self._note_changes(besides=subscription)
        self._wake.set()

    async def unsubscribe(self, subscription: Subscription, number: int) -> None:
        """A subscriber leaves; the tracker closes with the last one."""
        subscribers = self._subscriptions.get(subscription.group, {})
        if subscribers.pop(number, None) is None:
            return
        self._untold.pop(subscription, None)
        self.roster.leave(subscription.group, number)
        if not subscribers:
            del self._subscriptions[subscription.group]
            self.roster.unwatch(subscription.group)
        self._note_changes()
        self._wake.set()
        if not self._subscriptions:
            await self._close()

    async def _close(self) -> None:
        tasks, self._tasks = self._tasks, []
        if _trackers.get((self.layer, self._loop)) is self:
            del _trackers[self.layer, self._loop]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                if self._in_group:
                    self.roster.bye()
                    self._outgoing.clear()
                    await self._send_outgoing()
                    await self.layer.group_discard(GROUP, self.channel)
                close_channel = getattr(self.layer, "close_channel", None)
                if close_channel is not None:
                    await close_channel(self.channel)
        except Exception as error:  # noqa: BLE001  # any layer, any client library's errors
            # The others will notice by its silence.
            self._log("Presence ended without saying goodbye: %s.", _brief(error))

    async def _read(self) -> None:
        pause = _Pause()
        while True:
            # Own beats come back: silence means that a layer, once flushed, has forgotten that
            # somebody waits here, as channels' in-memory layer does.
            silence = asyncio.timeout(PATIENCE * self.roster.every)
            try:
                async with silence:
                    message = await self.layer.receive(self.channel)
            except Exception as error:  # noqa: BLE001  # any layer, any client library's errors
                if silence.expired():
                    continue
                self._log("Presence cannot receive, trying again: %s.", _brief(error))
                await pause.after_failure()
                continue
            pause.reset()
            try:
                frame = read(message)
            except FrameError as error:
                self.bad_frames += 1
                self._log("Presence ignored %d bad frame(s): %s.", self.bad_frames, error)
                continue
            self.roster.receive(frame, self._loop.time())
            self._note_changes()
            self._wake.set()

    async def _work(self) -> None:
        pause = _Pause()
        beat_due = self._loop.time()
        while True:
            self._wake.clear()
            if self._loop.time() >= beat_due:
                # Spread, so that processes started together do not beat together for ever.
                beat_due = self._loop.time() + self.roster.every * random.uniform(0.8, 1.0)
                self._in_group &= self.roster.beat(self._loop.time())
                self._note_changes()
                self._repeat_notices()
            try:
                if not self._in_group:
                    await self.layer.group_add(GROUP, self.channel)
                    self._in_group = True
                await self._send_outgoing()
                await self._send_notices()
            except Exception as error:  # noqa: BLE001  # any layer, any client library's errors
                self._log("Presence cannot send, trying again: %s.", _brief(error))
                await pause.after_failure()
                continue
            pause.reset()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(beat_due):
                    await self._wake.wait()

    async def _send_outgoing(self) -> None:
        outgoing = self._outgoing
        outgoing.extend(self.roster.take_outgoing())
        if len(outgoing) > _MOST_WAITING:
            # The layer has been away for long; the next beat lets the others ask.
            outgoing.clear()
        while outgoing:
            node, frame = outgoing[0]
            try:
                if node is None:
                    await self.layer.group_send(GROUP, write(frame))
                else:
                    await self.layer.send(node, write(frame))
            except (ChannelFull, MessageTooLarge, TypeError) as error:
                # Sending it again would not help; the beats make up for it.
                self._log("Presence dropped a frame for %s: %s.", node or "all", _brief(error))
            outgoing.popleft()  # after the sending: what failed is sent again, twice is harmless

    async def _send_notices(self) -> None:
        while self._untold:
            subscription = next(iter(self._untold))
            if subscription.channel is not None and subscription.needs_notice(self._loop.time()):
                subscription.mark_told(self._loop.time())
                notice = {"type": NOTICE_TYPE, "group": subscription.group}
                try:
                    await self.layer.send(subscription.channel, notice)
                except ChannelFull:
                    # The consumer is far behind; the next change or beat tries again.
                    subscription.mark_told(None)
                except BaseException:
                    subscription.mark_told(None)
                    raise
            self._untold.pop(subscription, None)

    def _note_changes(self, besides: Subscription | None = None) -> None:
        now = self._loop.time()
        for group, touched in self.roster.take_touched():
            for subscription in self._subscriptions.get(group, {}).values():
                if subscription is not besides:
                    subscription.touch(touched)
                    if subscription.needs_notice(now):
                        self._untold[subscription] = None

    def _repeat_notices(self) -> None:
        now = self._loop.time()
        for subscribers in self._subscriptions.values():
            for subscription in subscribers.values():
                if subscription.needs_notice(now):
                    self._untold[subscription] = None

    def _report_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            logger.error("The %s failed.", task.get_name(), exc_info=task.exception())

    def _log(self, text: str, *values: object) -> None:
        """Warn, but not more often than once a minute."""
        if self._loop.time() >= self._log_due:
            self._log_due = self._loop.time() + _LOG_EVERY
            logger.warning(text, *values)


class _Pause:
    """Waits between attempts that grow longer."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def reset(self) -> None:
        self._seconds = 0.0

    async def after_failure(self) -> None:
        self._seconds = min(max(0.1, 2 * self._seconds), _LONGEST_PAUSE)
        await asyncio.sleep(self._seconds * random.uniform(0.5, 1.0))


_trackers: dict[tuple[BaseChannelLayer, asyncio.AbstractEventLoop], Tracker] = {}


async def subscribe(layer: BaseChannelLayer, group: str, channel: str | None) -> Subscription:
    """Take an interest in who is in ``group``, beginning the process's tracker if need be.

    Args:
        layer: the channel layer that carries it.
        group: whose people; any group name.
        channel: where to send a notice when something changes; None for nowhere.

    Raises:
        TypeError: not a group name.
        LayerError: the layer cannot make a channel.
    """
    require_group_name(group)
    loop = asyncio.get_running_loop()
    tracker = _trackers.get((layer, loop))
    if tracker is None:
        own_channel = await layer.new_channel()
        # Another consumer may have been faster meanwhile.
        tracker = _trackers.get((layer, loop))
        if tracker is None:
            _forget_dead_loops()
            tracker = _trackers[layer, loop] = Tracker(layer, own_channel, _beat_seconds())
    return tracker.add(group, channel)


def _forget_dead_loops() -> None:
    for layer, loop in list(_trackers):
        if loop.is_closed():
            del _trackers[layer, loop]


def _beat_seconds() -> float:
    seconds = getattr(settings, "CHANNEL_PRESENCE_HEARTBEAT", _DEFAULT_EVERY)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        raise TypeError(
            "The setting CHANNEL_PRESENCE_HEARTBEAT must be a number of seconds above 0, "
            f"not {seconds!r}."
        )
    return float(seconds)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(" .:")
