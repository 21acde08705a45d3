"""Layers over channels_redis that break one promise each, among processes or under faults."""

from __future__ import annotations

import asyncio
from typing import Final

from channel_layers.history import History
from channel_layers.testing.protocols import Message
from channel_layers.testing.wrappers import DelegatingLayer

CORE: Final = "channels_redis.core.RedisChannelLayer"


class OverRedis(DelegatingLayer):
    """A layer over channels_redis that takes the options of the kit which that lacks."""

    def __init__(self, **config: object) -> None:
        for option in ("send_timeout", "history"):
            config.pop(option, None)
        super().__init__(inner=CORE, **config)

    async def close(self) -> None:
        await self.inner.close_pools()  # type: ignore[attr-defined]


class Redelivers(OverRedis):
    """A new instance delivers again what others have read from plain channels."""

    def __init__(self, **config: object) -> None:
        super().__init__(**config)
        self._looked = False

    async def receive(self, channel: str) -> Message:
        if "!" in channel:
            return await self.inner.receive(channel)
        copies = f"copy.{channel}"
        if not self._looked:
            self._looked = True
            try:
                async with asyncio.timeout(0.2):
                    return await self.inner.receive(copies)
            except TimeoutError:
                pass  # nobody has read anything yet
        message = await self.inner.receive(channel)
        await self.inner.send(copies, message)
        return message


class Reorders(OverRedis):
    """Brings every third group message late."""

    def __init__(self, **config: object) -> None:
        super().__init__(**config)
        self._count = 0

    async def group_send(self, group: str, message: Message) -> None:
        self._count += 1
        if self._count % 2:
            message = {**message, "n": 1 - int(str(message["n"]))}
        await self.inner.group_send(group, message)


class FirstKeyOnly(OverRedis):
    """Opens messages with the newest key only."""

    def __init__(self, **config: object) -> None:
        keys = config.get("symmetric_encryption_keys")
        if isinstance(keys, list):
            config["symmetric_encryption_keys"] = keys[:1]
        super().__init__(**config)


class OnlyMyMembers(OverRedis):
    """Knows the members that it has added itself, for ever."""

    def __init__(self, **config: object) -> None:
        super().__init__(**config)
        self._mine: dict[str, list[str]] = {}

    async def group_add(self, group: str, channel: str) -> None:
        self._mine.setdefault(group, []).append(channel)
        await self.inner.group_add(group, channel)

    async def group_channels(self, group: str) -> list[str]:
        return self._mine.get(group, [])


class NeverForgetsMembers(OverRedis):
    """Lists members as long as Redis has them, dead or alive."""

    async def group_channels(self, group: str) -> list[str]:
        connection = self.inner.connection(0)  # type: ignore[attr-defined]
        key = self.inner._group_key(group)  # type: ignore[attr-defined]
        return [member.decode() for member in await connection.zrange(key, 0, -1)]


class PretendsHistory(OverRedis):
    """Says that nothing is missing, whatever happened."""

    extensions: Final = ["groups", "flush", "history"]

    async def history(
        self, group: str, since: tuple[str, int] | None = None, limit: int | None = None
    ) -> History:
        return History([], await self.position(group), recovered=True)  # type: ignore[arg-type]

    async def position(self, group: str) -> tuple[str, int]:
        return ("always", 0)
