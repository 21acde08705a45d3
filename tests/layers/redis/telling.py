"""The layer that worker processes of the tests run: it tells what happened to it."""

from __future__ import annotations

import asyncio
from typing import Any

from channel_layers.redis import RedisStreamsChannelLayer
from channel_layers.signals import layer_gap

__all__ = ["TellingLayer"]


class TellingLayer(RedisStreamsChannelLayer):
    """A layer over Redis with a few more verbs for :mod:`channel_layers.testing.worker`."""

    def __init__(self, **config: Any) -> None:  # noqa: ANN401  # any CONFIG
        super().__init__(**config)
        self._gaps: list[list[str]] = []
        layer_gap.connect(self._hear)

    def _hear(self, *, groups: tuple[str, ...], **_: object) -> None:
        self._gaps.append(list(groups))

    async def gaps(self) -> list[list[str]]:
        """The groups of each ``layer_gap``."""
        return self._gaps

    async def receive_many(self, channel: str, count: int) -> list[dict[str, Any]]:
        """So many messages, one after the other in one task."""
        return [await self.receive(channel) for _ in range(count)]

    async def receive_and_fail(self, channel: str) -> None:
        """A handler that receives a message and comes to grief over it."""
        await asyncio.create_task(self._fail(channel))

    async def _fail(self, channel: str) -> None:
        message = await self.receive(channel)
        raise ValueError(f"cannot do {message}")

    async def receive_and_hold(self, channel: str, count: int) -> None:
        """A handler that deals with all but the last of so many messages, and never with that."""
        await self.receive_many(channel, count)
        await asyncio.get_running_loop().create_future()
