"""What the tests of several partitions share: names that lie in a certain one, and flows in it."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from redis.crc import key_slot

from channel_layers.redis import RedisStreamsChannelLayer
from tests.layers.redis.flows import Message, Reading, Sending

__all__ = [
    "BIG",
    "Flows",
    "channel_in",
    "is_part_of",
    "layers",
    "name_in",
    "require_same",
    "slot_of",
]

Send = Callable[[str, Message], Awaitable[None]]

BIG: dict[str, Any] = {"capacity": 1_000_000}


@asynccontextmanager
async def layers(
    count: int, config: dict[str, Any], **more: object
) -> AsyncIterator[list[RedisStreamsChannelLayer]]:
    """Layers with a prefix of their own, closed at the end."""
    async with AsyncExitStack() as stack:
        options: dict[str, Any] = {**BIG, "prefix": f"t{secrets.token_hex(4)}", **config, **more}
        made = []
        for _ in range(count):
            layer = RedisStreamsChannelLayer(**options)
            stack.push_async_callback(layer.close)
            made.append(layer)
        yield made


def name_in(layer: RedisStreamsChannelLayer, partition: int, kind: str = "g") -> str:
    """The name of a group or plain channel in a partition, the same each time."""
    names = (f"{kind}{number}" for number in itertools.count())
    return next(name for name in names if layer._transport.partition_of(name) == partition)


async def channel_in(layer: RedisStreamsChannelLayer, partition: int) -> str:
    """A new channel in a partition."""
    while layer._transport.partition_of(channel := await layer.new_channel()) != partition:
        await layer.close_channel(channel)
    return channel


def slot_of(layer: RedisStreamsChannelLayer, partition: int) -> int:
    """The hash slot of a partition."""
    return key_slot(layer._plans[partition].tag.encode())


def is_part_of(found: Sequence[int], sent: Sequence[int]) -> bool:
    """Whether nothing came twice, in another order, or from nowhere."""
    rest = iter(sent)
    return all(number in rest for number in found)


def has_come(number: int, found: Sequence[int]) -> bool:
    """Whether a number or a later one is among those found."""
    return max(found, default=-1) >= number


def require_same(found: Sequence[int], sent: Sequence[int], what: str) -> None:
    """Assert that all came once and in order, and say what did not."""
    if found != sent:
        lost = sorted(set(sent) - set(found))
        twice = sorted(number for number, count in Counter(found).items() if count > 1)
        raise AssertionError(
            f"{what}: lost {lost[:10]}, twice {twice[:10]}, from nowhere "
            f"{sorted(set(found) - set(sent))[:10]}; in order: {list(found) == sorted(found)}"
        )


class Flows:
    """All that can be sent through one partition, under load; use it as a context manager.

    Args:
        sender, receiver: layers whose ``history`` has ``log*``.
        partition: through which all of it goes.
    """

    def __init__(
        self, sender: RedisStreamsChannelLayer, receiver: RedisStreamsChannelLayer, partition: int
    ) -> None:
        self.sender = sender
        self.receiver = receiver
        self.group, self.log, self.plain = (
            name_in(sender, partition, kind) for kind in ("g", "log", "tasks")
        )
        self._partition = partition
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Flows:
        enter, receiver = self._stack.enter_async_context, self.receiver
        channel = await channel_in(receiver, self._partition)
        await receiver.group_add(self.group, channel)
        of_log = await receiver.new_channel()
        await receiver.group_add(self.log, of_log)
        self.start = await receiver.position(self.log)
        self.readings = [
            await enter(Reading(receiver, name)) for name in (channel, of_log, self.plain)
        ]
        send, group_send = self.sender.send, self.sender.group_send

        def slowly(send: Send, name: str) -> Callable[[Message], Awaitable[None]]:
            async def sent(message: Message) -> None:
                await send(name, message)
                await asyncio.sleep(0.002)  # else there are more than a slow machine can read

            return sent

        ways = slowly(send, channel), slowly(group_send, self.group)
        self.sendings = [
            await enter(Sending(*ways)),
            await enter(Sending(slowly(group_send, self.log))),
            await enter(Sending(slowly(send, self.plain))),
        ]
        await self.more(20)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    async def more(self, count: int) -> None:
        """Wait until so many more of each kind were sent, and until what is sent then comes."""
        for reading, sending in zip(self.readings, self.sendings, strict=True):
            await sending.more(count)
            await reading.until(partial(has_come, sending.accepted[-1]), "later ones came")

    async def stop(self) -> None:
        """Stop sending and wait until the last ones have come."""
        for sending in self.sendings:
            await sending.stop()
        for reading, sending in zip(self.readings, self.sendings, strict=True):
            await reading.until_came(sending.accepted[-1])

    async def require_all(self) -> None:
        """Assert that nothing was lost, doubled or reordered."""
        for reading, sending in zip(self.readings, self.sendings, strict=True):
            require_same(reading.numbers, sending.accepted, reading.channel)
            assert sending.refused == [], sending.refused
        log, sent = self.readings[1], self.sendings[1]
        offsets = [message.position.offset for message in log.messages]  # type: ignore[attr-defined]  # of a group with history
        first = self.start.offset + 1
        require_same(offsets, list(range(first, first + len(offsets))), "positions")
        found = await self.receiver.history(self.log, since=self.start)
        assert found.recovered
        require_same([message["n"] for message in found.messages], sent.accepted, "history")

    def require_none_twice(self) -> None:
        """Assert that nothing came twice, in another order, or from nowhere."""
        for reading, sending in zip(self.readings, self.sendings, strict=True):
            sent = sorted(sending.accepted + sending.refused)
            if not is_part_of(reading.numbers, sent):
                require_same(reading.numbers, sent, reading.channel)
