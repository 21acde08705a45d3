"""The public verbs that all layers share, and what a layer has to add to them.

A layer adds how messages get from one process to another: the abstract methods at the end,
which are given checked names and encoded bodies. See ``docs/architecture.md``.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Coroutine, Iterable
from typing import Any, ClassVar, TypeVar, Unpack

from channel_layers.codec import Position, encode
from channel_layers.config import CommonConfig
from channel_layers.exceptions import (
    ChannelFull,
    LayerClosed,
    LayerError,
    LayerUnavailable,
    MessageTooLarge,
)
from channel_layers.history import History
from channel_layers.local import LocalLayer, Stats
from channel_layers.names import require_channel_name, require_group_name
from channel_layers.sync import SyncVerbs

__all__ = ["ChannelLayer", "Stats"]

T = TypeVar("T")


class ChannelLayer(LocalLayer):
    """A channel layer that keeps the promises of ``docs/promises.md``.

    It can be made anywhere, without a running event loop, and be used from every loop and
    thread at once. Options: :class:`channel_layers.config.CommonConfig`.

    Raises:
        OptionError: an unknown option, or one of the wrong kind.
        OptionValueError: an option whose value cannot be right.
    """

    extensions: ClassVar[list[str]] = ["groups", "flush", "history", "membership"]
    ChannelFull = ChannelFull
    MessageTooLarge = MessageTooLarge

    def __init__(self, **config: Unpack[CommonConfig]) -> None:
        super().__init__(**config)
        self.sync = SyncVerbs(self)

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

    def _ping_unanswered(self) -> LayerError:
        return LayerUnavailable(
            f"{type(self).__name__} did not bring a message back to this process within "
            f"{self.options.send_timeout} s (send_timeout): is the broker up and reachable?"
        )

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
