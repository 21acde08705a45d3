"""A layer whose processes are joined by a broker: everything but the broker itself.

The verbs of :class:`~channel_layers.base.ChannelLayer` become frames that a
:class:`~channel_layers.transport.Transport` carries; what comes is put into mailboxes
(:mod:`channel_layers.routing`). A layer of this kind is a transport and a class that makes it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Final, TypeVar, Unpack

from channel_layers.acknowledging import Acknowledgements
from channel_layers.base import ChannelLayer
from channel_layers.codec import Message, Position, decode
from channel_layers.config import CommonConfig
from channel_layers.controls import Add, Ask, Discard, Flush
from channel_layers.envelope import Kind, decode_envelope
from channel_layers.exceptions import ChannelFull, LayerClosed, LayerError, LayerUnavailable
from channel_layers.history import History, recover
from channel_layers.home import HomeLoop
from channel_layers.local import Stats
from channel_layers.mailbox import Mailbox
from channel_layers.membership import Membership
from channel_layers.names import process_of
from channel_layers.pulling import PulledItem, Puller, Unread
from channel_layers.questions import Questions
from channel_layers.routing import UNREADABLE, Router
from channel_layers.sealing import seal_for
from channel_layers.transport import Outcome, Pulled, Transport

__all__ = ["DistributedLayer"]

T = TypeVar("T")

logger = logging.getLogger("channel_layers")

ANSWER_SECONDS: Final = 2.0
"""How long others may take to say which channels they have, or that they have flushed."""


class DistributedLayer(ChannelLayer):
    """A layer over a broker."""

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
            transport, self._hub, self._lock, spawn=self._spawn, call=self._on_home
        )
        self._acknowledgements = Acknowledgements(
            done=self._dealt_with, failed=self._not_dealt_with
        )
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

    # Messages

    async def _send(self, channel: str, body: bytes) -> None:
        await self._home.run(lambda: self._send_here(channel, body))

    async def _send_many(self, messages: list[tuple[str, bytes]]) -> list[str]:
        return await self._home.run(lambda: self._send_many_here(messages))

    async def _group_send(self, group: str, body: bytes) -> None:
        await self._home.run(lambda: self._group_send_here(group, body))

    async def _send_here(self, channel: str, body: bytes) -> None:
        if not self._started:
            await self._ready()
        process = process_of(channel)
        if process is None:
            frame, _ = self._router.frame(Kind.PLAIN_CHANNEL, channel, body)
            capacity = self.options.channel_capacity.get(channel)
            if not await self._transport.push(channel, frame, capacity):
                with self._lock:
                    self._hub.counters.channel_full += 1
                raise ChannelFull(
                    f"Channel {channel!r} is full: {capacity} messages wait to be read. "
                    "Read faster, send less, or raise capacity or channel_capacity in the CONFIG."
                )
        else:
            own = process == self._process
            if own and not self._router.expect(channel):
                return
            try:
                frame, departed = self._router.frame(Kind.PROCESS_CHANNEL, channel, body)
                outcome = await self._transport.to_channel(channel, process, frame)
            except BaseException:
                if own:
                    self._router.expect_no_more(channel)
                raise
            if outcome != "sent":
                if own:
                    self._router.expect_no_more(channel)
                self._not_sent(channel, outcome)
                return
            self._router.landed(channel, departed)
        self._hub.counters.sent += 1

    async def _send_many_here(self, messages: list[tuple[str, bytes]]) -> list[str]:
        # All are on their way before the first answer comes; the transport keeps their order.
        results = await asyncio.gather(
            *(self._send_here(channel, body) for channel, body in messages),
            return_exceptions=True,
        )
        full = []
        for (channel, _), result in zip(messages, results, strict=True):
            if isinstance(result, ChannelFull):
                full.append(channel)
            elif isinstance(result, BaseException):
                raise result
        return full

    async def _group_send_here(self, group: str, body: bytes) -> None:
        if not self._started:
            await self._ready()
        limits = self._limits_of(group) if self._has_history else None
        frame, departed = self._router.frame(Kind.GROUP, group, body)
        await self._transport.to_group(group, frame, limits)
        self._router.landed(group, departed)
        self._hub.counters.group_sent += 1

    def _not_sent(self, channel: str, outcome: Outcome) -> None:
        with self._lock:
            if outcome == "gone":
                self._hub.drops.add("gone", channel)
                return
            self._hub.counters.channel_full += 1
        raise ChannelFull(
            f"Channel {channel!r} is full: its process is thousands of messages behind. "
            "Read faster or send less."
        )

    # Groups

    async def _group_add(self, group: str, channel: str) -> None:
        if not self._membership.add_further(group, channel, self._clock()):
            await self._home.run(lambda: self._group_add_here(group, channel))

    async def _group_add_here(self, group: str, channel: str) -> None:
        await self._ready()
        group, channel = str.__str__(group), str.__str__(channel)
        process = process_of(channel)
        if process is None:
            capacity = self.options.channel_capacity.get(channel)
            seconds = self.options.group_expiry
            await self._transport.add_plain(group, channel, seconds, capacity)
        elif process != self._process:
            frame = self._router.control_frame(group, Add(group, channel))
            await self._transport.add_member(group, process, frame)
        else:
            self._membership.begin_add(group, channel, self._clock())
            try:
                frame = self._router.control_frame(group, Add(group, channel))
                await self._transport.add_member(group, process, frame)
            except BaseException:
                self._membership.add_failed(group, channel)
                raise

    async def _group_discard(self, group: str, channel: str) -> None:
        await self._home.run(lambda: self._group_discard_here(group, channel))

    async def _group_discard_here(self, group: str, channel: str) -> None:
        await self._ready()
        group, channel = str.__str__(group), str.__str__(channel)
        process = process_of(channel)
        if process is None:
            await self._transport.discard_plain(group, channel)
        elif process != self._process:
            frame = self._router.control_frame(group, Discard(group, channel))
            await self._transport.tell(group, process, frame)
        else:
            token = secrets.token_urlsafe(6)
            self._membership.begin_discard(group, channel, token)
            try:
                frame = self._router.control_frame(group, Discard(group, channel, token))
                await self._transport.tell(group, process, frame)
            except BaseException as error:
                self._membership.discard_failed(group, channel, token)
                if not isinstance(error, LayerUnavailable):
                    raise

    async def _group_channels(self, group: str) -> list[str]:
        return await self._home.run(lambda: self._group_channels_here(group))

    async def _group_channels_here(self, group: str) -> list[str]:
        await self._ready()
        group = str.__str__(group)
        async with self._questions.ask() as question:
            frame = self._router.control_frame(group, Ask(group, self._process, question.token))
            asked = await self._transport.ask(group, frame)
            await question.wait(asked, min(ANSWER_SECONDS, self.options.send_timeout))
            members = [channel for channels in question.answers for channel in channels]
        return members + await self._transport.plain_members(group)

    # History

    async def _history(self, group: str, since: Position | None, limit: int | None) -> History:
        return await self._home.run(lambda: self._history_here(group, since, limit))

    async def _history_here(self, group: str, since: Position | None, limit: int | None) -> History:
        await self._ready()
        limits = self._limits_of(group)
        if limits is None:
            raise LayerError(f"Group {group!r} has no history.")
        log = await self._transport.log(group, limits)
        kept = [entry for entry in log.entries if entry.forget_at > log.now]
        found = recover(kept, log.position, since, limit)
        messages = []
        recovered = found.recovered
        for entry in found.entries:
            try:
                body = self._seal.open(decode_envelope(entry.body).body)
                message = decode(body)
            except UNREADABLE:
                self._router.garbage(group, "in the history")
                recovered = False
                continue
            messages.append(Message(message, group, Position(found.position.epoch, entry.offset)))
        return History(messages, found.position, recovered)

    async def _position(self, group: str) -> Position:
        return await self._home.run(lambda: self._position_here(group))

    async def _position_here(self, group: str) -> Position:
        await self._ready()
        limits = self._limits_of(group)
        if limits is None:
            raise LayerError(f"Group {group!r} has no history.")
        return (await self._transport.log(group, limits)).position

    # The layer itself

    async def _flush(self) -> None:
        await self._home.run(self._flush_here)

    async def _flush_here(self) -> None:
        await self._ready()
        async with self._questions.ask() as question:
            frame = self._router.control_frame("", Flush(self._process, question.token))
            asked = await self._transport.announce(frame)
            await question.wait(asked, min(ANSWER_SECONDS, self.options.send_timeout))

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
