"""Taking messages of plain channels: as many as readers of this process wait for, and no more.

A plain channel is read by competing readers in all processes. What lies in it stays with the
broker, where it counts for the channel's capacity, until somebody waits for it; then it is this
process's. What a cancelled reader left behind goes back after a moment.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Final

from channel_layers.exceptions import LayerClosed, LayerError
from channel_layers.hub import Hub
from channel_layers.mailbox import Item, Mailbox
from channel_layers.taken import Taken
from channel_layers.transport import Pulled, Transport
from channel_layers.wake import Waker

__all__ = ["PulledItem", "Puller", "Unread"]

logger = logging.getLogger("channel_layers")

LEFT_SECONDS: Final = 0.05
"""How long a message may lie in this process without a reader."""
AUDIT_SECONDS: Final = 2.0
"""How often to look for messages that nobody told of: whoever was told first may have died."""

Unread = tuple[str, list[Pulled]]
"""A plain channel and messages of it that nobody here has read."""


class PulledItem(Item):
    """A message that was taken from a plain channel."""

    __slots__ = ("on_read", "pulled")

    def __init__(
        self, deadline: float, body: bytes, pulled: Pulled, on_read: Callable[[PulledItem], None]
    ) -> None:
        super().__init__(deadline, body)
        self.pulled = pulled
        self.on_read = on_read

    def read(self) -> dict[str, object]:
        """The message; from now on it is its reader's."""
        self.on_read(self)
        return super().read()


class Puller:
    """Keeps the readers of plain channels supplied. Lives on the home loop.

    Args:
        clock: the hub's.
        opened: makes an item of what was pulled; None if it is garbage, and counted.
        spawn: runs a coroutine as a task that the layer owns.
        taken: recognises what the broker offers a second time; None if it may do so.
    """

    def __init__(
        self,
        transport: Transport,
        hub: Hub,
        lock: threading.Lock,
        waker: Waker,
        *,
        clock: Callable[[], float],
        opened: Callable[[str, Pulled], PulledItem | None],
        spawn: Callable[[Coroutine[object, object, None]], None],
        taken: Taken | None = None,
    ) -> None:
        self._transport = transport
        self._hub = hub
        self._lock = lock
        self._waker = waker
        self._clock = clock
        self._opened = opened
        self._spawn = spawn
        self._taken = taken
        self._pulling: set[str] = set()
        self._again: set[str] = set()
        """Channels to look at again when the pull under way has ended."""
        self._audit: asyncio.TimerHandle | None = None
        self._stopped = False
        self._idle: asyncio.Future[None] | None = None
        """Done when no pull is under way any more."""
        self._left: list[Unread] = []
        """Pulled when the layer was closed already."""

    def look(self, channel: str) -> None:
        """Readers wait in ``channel``, or messages do: bring them together."""
        if self._stopped:
            return
        if channel in self._pulling:
            self._again.add(channel)
        else:
            self._pulling.add(channel)
            self._spawn(self._pull(channel))

    def look_everywhere(self) -> None:
        """Look at every channel in which readers wait."""
        with self._lock:
            waiting = [b.channel for b in self._hub.boxes.values() if b.waiters and not b.process]
        for channel in waiting:
            self.look(channel)
        if self._audit is not None:
            self._audit.cancel()
        self._audit = None
        if waiting:
            self._audit_later()

    def stop(self) -> None:
        """No more pulls and audits."""
        self._stopped = True
        if self._audit is not None:
            self._audit.cancel()

    def unread(self) -> list[Unread]:
        """Take out what was pulled and that no reader has taken, from any thread."""
        with self._lock:
            boxes = [b for b in self._hub.boxes.values() if b.items and not b.process]
            taken = [(box.channel, self._hub.take_all(box)) for box in boxes]
        return [
            (channel, [item.pulled for item in items if isinstance(item, PulledItem)])
            for channel, items in taken
        ]

    async def finish(self, unread: list[Unread], seconds: float) -> None:
        """Stop, and put back what was pulled in vain.

        Args:
            unread: from :meth:`unread`, before the mailboxes were closed.
            seconds: how long that may take.
        """
        self.stop()
        self._left += unread
        try:
            async with asyncio.timeout(seconds):
                if self._pulling:
                    self._idle = asyncio.get_running_loop().create_future()
                    await self._idle
                while self._left:
                    channel, pulled = self._left[0]
                    await self._take_back(channel, pulled)
                    del self._left[0]
        except TimeoutError:
            for channel, pulled in self._left:
                logger.warning(
                    "Lost %d unread message(s) of %r: the layer was closed while the broker was "
                    "away.",
                    len(pulled),
                    channel,
                )

    async def _pull(self, channel: str) -> None:
        try:
            while True:
                self._again.discard(channel)
                wanted = self._missing(channel)
                pulled = await self._transport.pull(channel, wanted)
                if pulled:
                    self._deliver(channel, pulled)
                if self._stopped:
                    break
                if channel in self._again or (pulled and self._missing(channel)):
                    continue
                break
        except LayerClosed:
            pass
        except LayerError as error:
            # Its readers wait; they are looked at when the broker is back, and by the audit.
            logger.info("Could not read from %r: %s", channel, error)
        finally:
            self._pulling.discard(channel)
            self._again.discard(channel)
            if not self._pulling and self._idle is not None and not self._idle.done():
                self._idle.set_result(None)
        if self._audit is None and self._missing(channel) and not self._stopped:
            self._audit_later()

    def _missing(self, channel: str) -> int:
        with self._lock:
            box = self._hub.boxes.get(channel)
            # Each message that was put into the box has woken a reader: who still waits lacks one.
            return len(box.waiters) if box is not None else 0

    def _deliver(self, channel: str, pulled: list[Pulled]) -> None:
        if self._taken is not None:
            pulled = self._taken.only_new(channel, pulled)
        if self._stopped:
            self._left.append((channel, pulled))
            return
        items = [item for one in pulled if (item := self._opened(channel, one)) is not None]
        now = self._clock()
        with self._lock:
            box = self._hub.open(channel, now, process=False)
            for item in items:
                self._hub.accept(box, item)
                self._waker.wake((box,))
        asyncio.get_running_loop().call_later(LEFT_SECONDS, self._give_back, box, items)

    def _give_back(self, box: Mailbox, items: list[PulledItem]) -> None:
        with self._lock:
            if not box.items or box.items[0] not in items:
                return  # all that were pulled then are read; what has come since has its own turn
            if box.waiters:  # one that was woken has yet to take it
                asyncio.get_running_loop().call_later(LEFT_SECONDS, self._give_back, box, items)
                return
            left = [item for item in self._hub.take_all(box) if isinstance(item, PulledItem)]
        if left:
            self._spawn(self._take_back(box.channel, [item.pulled for item in left]))

    async def _take_back(self, channel: str, pulled: list[Pulled]) -> None:
        if self._taken is not None:
            self._taken.given_back(channel, pulled)
        try:
            await self._transport.take_back(channel, pulled)
        except LayerError as error:
            logger.warning("Lost %d unread message(s) of %r: %s", len(pulled), channel, error)

    def _audit_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._audit = loop.call_later(AUDIT_SECONDS, self.look_everywhere)
