"""What one example of a law works with: instances of the layer that only it can meet."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from channel_layers.testing.protocols import AnyLayer, Message

if TYPE_CHECKING:
    from channel_layers.testing.harness import LayerUnderTest
    from channel_layers.testing.process import RemoteLayer

__all__ = ["Scene"]

STRAGGLER_SECONDS: Final = 0.03
"""How long a distributed layer gets to bring what should not come, after a fence has come."""


class Scene:
    """The layers of one example, and how a law reads from them without waiting in vain.

    That something does *not* arrive is seen with a *fence*: a message sent to the channel
    afterwards. What has not come when the fence comes does not come.
    """

    def __init__(
        self, under_test: LayerUnderTest, config: Mapping[str, object], stack: AsyncExitStack
    ) -> None:
        self.under_test = under_test
        self.config = dict(config)
        self.patience = under_test.patience
        self._stack = stack
        self._only: AnyLayer | None = None

    # Layers

    def layer(self, **overrides: object) -> AnyLayer:
        """One more instance with this example's prefix and CONFIG.

        Where instances do not reach each other it is the same one each time, unless
        ``overrides`` make it another.
        """
        if self.under_test.distributed or overrides:
            return self._opened(**overrides)
        if self._only is None:
            self._only = self._opened()
        return self._only

    def layers(self, count: int) -> list[AnyLayer]:
        """Several instances that reach each other, or one, several times."""
        return [self.layer() for _ in range(count)]

    async def process(self, *, clock_skew: float = 0) -> RemoteLayer:
        """An instance in another process.

        Args:
            clock_skew: seconds by which that process's wall clock is wrong.
        """
        remote = await self.under_test.worker({**self.config, "$clock_skew": clock_skew})
        self._stack.push_async_callback(remote.release)
        return remote

    async def close(self, layer: AnyLayer) -> None:
        """Close an instance before the example ends."""
        await self.under_test.close(layer)

    def _opened(self, **overrides: object) -> AnyLayer:
        layer = self.under_test.make(**{**self.config, **overrides})
        self._stack.push_async_callback(self.under_test.close, layer)
        return layer

    # Reading

    async def receive(self, layer: AnyLayer | RemoteLayer, channel: str) -> Message:
        """The next message.

        Raises:
            AssertionError: nothing came in time.
        """
        try:
            async with asyncio.timeout(self.patience):
                return await layer.receive(channel)
        except TimeoutError as error:
            raise AssertionError(
                f"Nothing arrived in {channel!r} within {self.patience:g} s."
            ) from error

    async def receive_all(
        self, layer: AnyLayer | RemoteLayer, channel: str, count: int
    ) -> list[Message]:
        """The next ``count`` messages."""
        return [await self.receive(layer, channel) for _ in range(count)]

    async def drain(
        self, layer: AnyLayer, channel: str, *, by: AnyLayer | None = None
    ) -> list[Message]:
        """All that is still to come: what arrives before (and shortly after) a fence.

        Args:
            by: the instance that sends the fence; the reader's own by default.
        """
        fence: Message = {"type": "fence", "token": secrets.token_hex(8)}
        await (by or layer).send(channel, fence)
        found: list[Message] = []
        while True:
            try:
                message = await self.receive(layer, channel)
            except AssertionError as error:
                raise AssertionError(
                    f"A message sent to {channel!r} did not arrive within {self.patience:g} s; "
                    f"before it came {shortened(found)}."
                ) from error
            if message == fence:
                break
            found.append(message)
        if self.under_test.distributed:
            found += await self.stragglers(layer, channel)
        return found

    async def settle(self, senders: list[AnyLayer], reader: AnyLayer) -> None:
        """Let all arrive that was sent so far.

        A channel that joins a group may get messages that were sent to it shortly before: no
        promise says that it does not, and to be sure of it would cost a round trip.
        """
        if not self.under_test.distributed:
            return
        channel = await reader.new_channel()
        for sender in senders:
            await sender.send(channel, {"type": "settle"})
            await self.receive(reader, channel)
        close = getattr(reader, "close_channel", None)
        if close is not None:
            await close(channel)

    async def stragglers(
        self, layer: AnyLayer, channel: str, seconds: float = STRAGGLER_SECONDS
    ) -> list[Message]:
        """What comes within a short time."""
        found: list[Message] = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    found.append(await layer.receive(channel))
        except TimeoutError:
            return found


def shortened(value: object, length: int = 300) -> str:
    """``repr`` for messages of reports."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."
