"""The life of a layer over a broker: its home loop, its parts, how it starts and how it ends.

The connections live on one event loop, the home loop (:mod:`channel_layers.home`); the parts that
know the broker's answers are made for it, and made anew should it be closed.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, TypeVar, Unpack

from channel_layers.acknowledging import Acknowledgements
from channel_layers.base import ChannelLayer
from channel_layers.codec import decode
from channel_layers.config import CommonConfig
from channel_layers.envelope import decode_envelope
from channel_layers.exceptions import LayerClosed, LayerError, LayerUnavailable
from channel_layers.home import HomeLoop
from channel_layers.local import Stats
from channel_layers.mailbox import Mailbox
from channel_layers.membership import Membership
from channel_layers.pulling import PulledItem, Puller, Unread
from channel_layers.questions import Questions
from channel_layers.routing import UNREADABLE, Router
from channel_layers.sealing import seal_for
from channel_layers.taken import Taken
from channel_layers.transport import Pulled, Transport

__all__ = ["BrokeredLayer"]

T = TypeVar("T")

logger = logging.getLogger("channel_layers")


class BrokeredLayer(ChannelLayer):
    """The life of a layer over a broker; its verbs are in :mod:`channel_layers.distributed`."""

    _at_least_once = False
    """Whether messages of plain channels are kept until they have been dealt with."""

    def __init__(self, **config: Unpack[CommonConfig]) -> None:
        self._seal = seal_for(config.get("symmetric_encryption_keys") or ())
        super().__init__(**config)

    @abstractmethod
    def _make_transport(self) -> Transport:
        """A transport for this process; it must not connect yet."""

    def _start_afresh(self) -> None:
        parents: Transport | None = getattr(self, "_transport", None)
        if parents is not None:
            parents.abandon(forked=True)
        super()._start_afresh()
        self._home = HomeLoop(name="channel-layers-home", moved=self._moved)
        self._limits_of = lru_cache(maxsize=4096)(self.options.history.get)
        self._has_history = bool(self.options.history.compiled)
        self._transport: Transport = self._make_transport()
        transport = self._transport
        self.mode = transport.mode
        self._router = Router(self, transport, self._hub, self._lock, self._waker, self._seal)
        self._membership = Membership(
            transport,
            self._hub,
            self._lock,
            self._waker,
            spawn=self._spawn,
            call=self._on_home,
            held_back=self._router.holds_back,
        )
        self._acknowledgements = Acknowledgements(
            done=self._dealt_with, failed=self._not_dealt_with
        )
        self._taken = Taken()
        self._begin()

    def _begin(self) -> None:
        """What belongs to one event loop."""
        self._starting: asyncio.Future[None] | None = None
        self._started = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._questions = Questions()
        self._puller = Puller(
            self._transport,
            self._hub,
            self._lock,
            self._waker,
            clock=self._clock,
            opened=self._opened,
            spawn=self._spawn,
            taken=None if self._at_least_once else self._taken,
        )
        self._router.begin(self._membership, self._puller, self._questions, spawn=self._spawn)

    def _moved(self) -> None:
        # The loop that had the connections, if there was one, was closed under them.
        if self._starting is not None:
            self._transport.abandon()
            self._begin()

    # Being ready

    async def new_channel(self, prefix: str = "specific") -> str:
        """A new channel that only this process reads; I/O for the first one only.

        See :meth:`LocalLayer.new_channel`.

        Raises:
            LayerUnavailable: the broker, which must know this process, was not reached.
        """
        if not self._started:
            self._require_open()
            await self._home.run(self._ready)
        return await super().new_channel(prefix)

    async def _ready(self) -> None:
        if self._started:
            return
        self._require_open()
        if self._starting is None or self._starting.done():
            self._starting = asyncio.ensure_future(self._start())
            # Whoever waited for it may have been cancelled.
            self._starting.add_done_callback(lambda done: done.cancelled() or done.exception())
        starting = self._starting
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if starting.cancelled() and task is not None and not task.cancelling():
                raise LayerClosed("The layer was closed while it was connecting.") from None
            raise

    async def _start(self) -> None:
        await self._transport.start(self._router)
        self._started = True

    def stats(self) -> Stats:
        """Figures of this process: no I/O."""
        stats = super().stats()
        stats["counters"].update(self._router.counts())
        return stats

    async def close(self) -> None:
        """Leave all groups, disconnect, and close for good; see :meth:`LocalLayer.close`."""
        if self._closed:
            return
        unread = self._puller.unread()
        await super().close()
        try:
            await self._home.run(lambda: self._close_here(unread))
        except LayerClosed:
            return  # by somebody else at the same time
        await self._home.stop()

    async def _close_here(self, unread: list[Unread]) -> None:
        seconds = self.options.send_timeout if self._transport.connected else 0
        await self._puller.finish(unread, seconds)
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._transport.stop()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connected(self) -> bool:
        return self._transport.connected and not self._closed

    # Plain channels

    def _waits(self, box: Mailbox) -> None:
        if self._at_least_once:
            self._acknowledgements.asks(box.channel)
        channel = box.channel
        self._on_home(lambda: self._spawn(self._look(channel)))

    async def _look(self, channel: str) -> None:
        while not self._started:
            try:
                await self._ready()
            except LayerUnavailable as error:
                logger.info("A reader of %r waits for the broker: %s", channel, error)
            except LayerClosed:
                return
        self._puller.look(channel)

    def _opened(self, channel: str, pulled: Pulled) -> PulledItem | None:
        try:
            envelope = decode_envelope(pulled.frame)
            body = self._seal.open(envelope.body)
            decode(body)
        except UNREADABLE as error:
            self._router.garbage(channel, str(error))
            return None
        deadline = self._clock() + envelope.lifetime_ms / 1000 - pulled.age

        def read(item: PulledItem) -> None:
            if self._at_least_once:
                self._acknowledgements.reads(channel, item)

        return PulledItem(deadline, body, pulled, read)

    def _dealt_with(self, channel: str, item: PulledItem) -> None:
        self._on_home(lambda: self._spawn(self._acknowledge(channel, item)))

    def _not_dealt_with(self, channel: str, item: PulledItem) -> None:
        self._on_home(lambda: self._spawn(self._return(channel, item)))

    async def _acknowledge(self, channel: str, item: PulledItem) -> None:
        try:
            await self._transport.acknowledge(channel, item.pulled)
        except LayerError as error:
            logger.warning("A message of %r may come again: %s", channel, error)

    async def _return(self, channel: str, item: PulledItem) -> None:
        try:
            await self._transport.take_back(channel, [item.pulled])
        except LayerError as error:
            logger.warning("A message of %r was not put back: %s", channel, error)

    # Tasks and threads

    def _emptied(self, group: str) -> None:
        self._membership.emptied(group)

    def _spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_home(self, function: Callable[[], object]) -> None:
        try:
            self._home.call(function)
        except LayerClosed:
            pass  # there is nothing left to do it on

    def _run_blocking(self, verb: Coroutine[Any, Any, T]) -> T:
        try:
            return self._home.run_blocking(lambda: verb)
        except LayerClosed:
            verb.close()  # it may never have been begun
            raise
