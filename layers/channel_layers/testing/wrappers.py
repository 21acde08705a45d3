"""Layers around another layer, broken in one way each: what the laws must catch.

Each takes the CONFIG of the layer inside, and ``inner``, its dotted path. They are good for
trying one's own code against a layer that misbehaves as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

from channels.exceptions import ChannelFull

from channel_layers.testing.harness import imported
from channel_layers.testing.protocols import AnyLayer, Message

__all__ = [
    "DelegatingLayer",
    "DoublingLayer",
    "IgnoresDiscardLayer",
    "IgnoresExpiryLayer",
    "LosesOnCancelLayer",
    "LosingLayer",
    "ReorderingLayer",
    "SharedObjectsLayer",
    "SilentlyFullLayer",
]

IN_MEMORY: Final = "channel_layers.memory.InMemoryChannelLayer"
FOR_EVER: Final = 1e6


class DelegatingLayer:
    """A layer that passes every verb on to another one."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        self.inner = cast(AnyLayer, imported(inner)(**config))

    def __getattr__(self, name: str) -> object:
        if name == "inner":  # asked for before __init__ has set it
            raise AttributeError(name)
        return getattr(self.inner, name)

    async def send(self, channel: str, message: Message) -> None:
        """See the layer's."""
        await self.inner.send(channel, message)

    async def receive(self, channel: str) -> Message:
        """See the layer's."""
        return await self.inner.receive(channel)

    async def new_channel(self, prefix: str = "specific") -> str:
        """See the layer's."""
        return await self.inner.new_channel(prefix)

    async def group_add(self, group: str, channel: str) -> None:
        """See the layer's."""
        await self.inner.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """See the layer's."""
        await self.inner.group_discard(group, channel)

    async def group_send(self, group: str, message: Message) -> None:
        """See the layer's."""
        await self.inner.group_send(group, message)


class LosingLayer(DelegatingLayer):
    """Loses every ``every``-th message."""

    def __init__(self, *, every: int = 7, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._every, self._sent = every, 0

    def _lost(self) -> bool:
        self._sent += 1
        return self._sent % self._every == 0

    async def send(self, channel: str, message: Message) -> None:
        """Send most of them."""
        if not self._lost():
            await self.inner.send(channel, message)

    async def group_send(self, group: str, message: Message) -> None:
        """Send most of them."""
        if not self._lost():
            await self.inner.group_send(group, message)


class DoublingLayer(DelegatingLayer):
    """Sends everything twice."""

    async def send(self, channel: str, message: Message) -> None:
        """Send twice."""
        await self.inner.send(channel, message)
        with suppress(ChannelFull):
            await self.inner.send(channel, message)

    async def group_send(self, group: str, message: Message) -> None:
        """Send twice."""
        await self.inner.group_send(group, message)
        await self.inner.group_send(group, message)


class ReorderingLayer(DelegatingLayer):
    """Lets every third message be overtaken by the next one."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._count = 0
        self._held: Callable[[], object] | None = None

    async def _after(self, channel: str, message: Message, *, group: bool) -> None:
        self._count += 1
        verb = self.inner.group_send if group else self.inner.send
        held, self._held = self._held, None
        if held is None and self._count % 3 == 0:
            self._held = lambda: verb(channel, message)
            return
        await verb(channel, message)
        if held is not None:
            await held()  # type: ignore[misc]

    async def send(self, channel: str, message: Message) -> None:
        """Send, perhaps after the next one."""
        await self._after(channel, message, group=False)

    async def group_send(self, group: str, message: Message) -> None:
        """Send, perhaps after the next one."""
        await self._after(group, message, group=True)


class IgnoresDiscardLayer(DelegatingLayer):
    """Once a member, always a member."""

    async def group_discard(self, group: str, channel: str) -> None:
        """Do nothing."""


class IgnoresExpiryLayer(DelegatingLayer):
    """Keeps messages and memberships for ever."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        for option in {"expiry", "group_expiry"} & config.keys():
            config[option] = FOR_EVER
        super().__init__(inner=inner, **config)


class SilentlyFullLayer(DelegatingLayer):
    """Never raises ChannelFull: what does not fit is lost."""

    async def send(self, channel: str, message: Message) -> None:
        """Send it or lose it."""
        with suppress(ChannelFull):
            await self.inner.send(channel, message)


class SharedObjectsLayer(DelegatingLayer):
    """Delivers the very object that was sent, to every receiver."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._objects: list[Message] = []

    def _reference(self, message: Message) -> Message:
        self._objects.append(message)
        return {"type": "reference", "to": len(self._objects) - 1}

    async def send(self, channel: str, message: Message) -> None:
        """Send a reference."""
        await self.inner.send(channel, self._reference(message))

    async def group_send(self, group: str, message: Message) -> None:
        """Send a reference."""
        await self.inner.group_send(group, self._reference(message))

    async def receive(self, channel: str) -> Message:
        """Return the object."""
        number = (await self.inner.receive(channel))["to"]
        assert isinstance(number, int)
        return self._objects[number]


class LosesOnCancelLayer(DelegatingLayer):
    """A receive that is cancelled goes on in the background, and takes a message with it."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._tasks: set[asyncio.Task[Message]] = set()

    async def receive(self, channel: str) -> Message:
        """Wait for a task that cancelling does not reach."""
        task = asyncio.ensure_future(self.inner.receive(channel))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Message]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # or asyncio complains that nobody has looked at it
