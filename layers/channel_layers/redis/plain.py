"""Plain channels: lists, from which a process takes what its readers wait for."""

from __future__ import annotations

import math
import time
from typing import Final

from channel_layers.redis.answers import as_bytes, as_int, as_list, as_texts
from channel_layers.redis.partitions import Partitions
from channel_layers.redis.scripts import script
from channel_layers.redis.settings import GROUP_TTL_MS
from channel_layers.transport import Pulled

__all__ = ["PlainChannels"]

RETURN_SECONDS: Final = 50.0
"""How long to go on trying to put back or to acknowledge a message; less than that."""

_PUSH: Final = script("push")
_PULL: Final = script("pull")


class PlainChannels(Partitions):
    """The half of the transport for plain channels."""

    _last_pull = 0

    def _next_pull(self) -> int:
        # Never one that this process used before it lost its connections.
        self._last_pull = max(self._last_pull + 1, time.time_ns())
        return self._last_pull

    async def push(self, channel: str, frame: bytes, capacity: int) -> bool:
        """See :class:`Transport`."""
        partition = self._of(channel)
        keys = partition.keys
        answer = await partition.run(
            _PUSH,
            keys.plain(channel),
            channel,
            frame,
            capacity,
            self._expiry_ms,
            self._process,
            0,
            self._settings.number_ttl_ms,
            numbered=5,
            once=True,
        )
        fits, expired = map(as_int, as_list(answer))
        if expired:
            self._arrivals.expired(channel, expired)
        return bool(fits)

    async def pull(self, channel: str, count: int) -> list[Pulled]:
        """See :class:`Transport`."""
        partition = self._of(channel)
        keys = partition.keys
        number = self._next_pull()
        answer = await partition.run(
            _PULL,
            keys.plain(channel),
            channel,
            self._process,
            number,
            count,
            self._expiry_ms,
            self._settings.ttl_ms,
            self._unacknowledged,
            seconds=math.inf,
        )
        self._pulls[channel] = number
        expired, now, *elements = as_list(answer)
        if expired:
            self._arrivals.expired(channel, as_int(expired))
        pulled = []
        for place, element in enumerate(map(as_bytes, elements), 1):
            sent, _, frame = element.partition(b":")
            age = max(0, as_int(now) - int(sent)) / 1000
            token = f"{channel}:{number}:{place}" if self._unacknowledged else ""
            pulled.append(Pulled(frame, age, token, element))
        return pulled

    async def take_back(self, channel: str, pulled: list[Pulled]) -> None:
        """See :class:`Transport`."""
        partition = self._of(channel)
        keys = partition.keys
        pairs = [word for one in pulled for word in (one.token, one.element)]
        await partition.run(
            script("take_back"),
            keys.plain(channel),
            channel,
            self._process,
            0,
            self._settings.number_ttl_ms,
            self._process,
            self._expiry_ms,
            *pairs,
            numbered=2,
            once=True,
            seconds=RETURN_SECONDS,
        )

    async def acknowledge(self, channel: str, pulled: Pulled) -> None:
        """See :class:`Transport`."""
        partition = self._of(channel)
        key = partition.keys.unacknowledged(self._process)
        await partition.outbox.command("HDEL", key, pulled.token, seconds=RETURN_SECONDS)

    async def add_plain(self, group: str, channel: str, seconds: float, capacity: int) -> None:
        """See :class:`Transport`."""
        partition = self._of(group)
        keys = partition.keys
        lifetime = int(seconds * 1000)
        await partition.run(
            script("add_plain"),
            keys.group(group),
            group,
            channel,
            capacity,
            lifetime,
            max(lifetime, GROUP_TTL_MS),
        )

    async def discard_plain(self, group: str, channel: str) -> None:
        """See :class:`Transport`."""
        partition = self._of(group)
        key = partition.keys.group(group)
        await partition.run(script("discard_plain"), key, group, channel)

    async def plain_members(self, group: str) -> list[str]:
        """See :class:`Transport`."""
        partition = self._of(group)
        key = partition.keys.group(group)
        return as_texts(await partition.run(script("plain_members"), key, group))
