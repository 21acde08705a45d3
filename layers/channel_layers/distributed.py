"""A layer whose processes are joined by a broker: its verbs.

The verbs of :class:`~channel_layers.base.ChannelLayer` become frames that a
:class:`~channel_layers.transport.Transport` carries; what comes is put into mailboxes
(:mod:`channel_layers.routing`). A layer of this kind is a transport and a class that makes it.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from channel_layers.brokered import BrokeredLayer
from channel_layers.codec import Message, Position, decode
from channel_layers.controls import Add, Ask, Discard, Flush
from channel_layers.envelope import Kind, decode_envelope
from channel_layers.exceptions import ChannelFull, LayerError, LayerUnavailable
from channel_layers.history import History, recover
from channel_layers.names import process_of
from channel_layers.routing import UNREADABLE
from channel_layers.transport import Outcome

__all__ = ["DistributedLayer"]

ANSWER_SECONDS: Final = 2.0
"""How long others may take to say which channels they have, or that they have flushed."""


class DistributedLayer(BrokeredLayer):
    """A layer over a broker; a subclass makes the transport."""

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
        if not self._started:
            await self._ready()
        group, channel = str.__str__(group), str.__str__(channel)
        process = process_of(channel)
        if process is None:
            capacity = self.options.channel_capacity.get(channel)
            seconds = self.options.group_expiry
            await self._membership.add_plain(group, channel, seconds, capacity, self._clock())
        elif process != self._process:
            frame = self._router.control_frame(group, Add(group, channel))
            await self._transport.add_member(group, process, frame)
        else:
            self._membership.begin_add(group, channel, self._clock())
            try:
                frame = self._router.control_frame(group, Add(group, channel))
                ordered = self._router.holds_back()
                if await self._transport.add_myself(group, frame, ordered=ordered):
                    self._membership.added(group, channel, self._clock())
            except BaseException:
                self._membership.add_failed(group, channel)
                raise

    async def _group_discard(self, group: str, channel: str) -> None:
        await self._home.run(lambda: self._group_discard_here(group, channel))

    async def _group_discard_here(self, group: str, channel: str) -> None:
        if not self._started:
            await self._ready()
        group, channel = str.__str__(group), str.__str__(channel)
        process = process_of(channel)
        if process is None:
            await self._membership.discard_plain(group, channel)
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
