"""Layers that break one promise each, besides those in ``channel_layers.testing.wrappers``."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from channels.exceptions import ChannelFull

from channel_layers.history import History
from channel_layers.testing.protocols import Message
from channel_layers.testing.wrappers import FOR_EVER, IN_MEMORY, DelegatingLayer


class StrictNames(DelegatingLayer):
    """Refuses legal names with dots next to each other or at the ends, and all but ASCII."""

    @staticmethod
    def _check(name: object) -> None:
        if isinstance(name, str) and (".." in name or name[:1] == "." or not name.isascii()):
            raise TypeError(name)

    async def send(self, channel: str, message: Message) -> None:
        self._check(channel)
        await self.inner.send(channel, message)

    async def group_add(self, group: str, channel: str) -> None:
        self._check(group)
        self._check(channel)
        await self.inner.group_add(group, channel)


class AnyNames(DelegatingLayer):
    """Takes every name, and makes a legal one of it."""

    @staticmethod
    def _legal(name: object) -> str:
        return re.sub(r"[^A-Za-z0-9]", "_", str(name))[:50] + "_"

    async def send(self, channel: str, message: Message) -> None:
        await self.inner.send(self._legal(channel), message)

    async def group_add(self, group: str, channel: str) -> None:
        await self.inner.group_add(self._legal(group), self._legal(channel))

    async def group_discard(self, group: str, channel: str) -> None:
        await self.inner.group_discard(self._legal(group), self._legal(channel))

    async def group_send(self, group: str, message: Message) -> None:
        await self.inner.group_send(self._legal(group), message)


class MixesUpGroups(DelegatingLayer):
    """Does not see case, dots and underscores in group names; one letter is enough for it."""

    @staticmethod
    def _group(group: str) -> str:
        return re.sub(r"[._]", "", group).lower()[:1] or "x"

    async def group_add(self, group: str, channel: str) -> None:
        await self.inner.group_add("one" if group in "abc" else self._group(group), channel)

    async def group_send(self, group: str, message: Message) -> None:
        await self.inner.group_send("one" if group in "abc" else self._group(group), message)


class RepeatsNames(DelegatingLayer):
    """Makes names with ``random``, as channels' own layer does."""

    async def new_channel(self, prefix: str = "specific") -> str:
        return f"{prefix}.{random.getrandbits(60):x}"


class SendsJson(DelegatingLayer):
    """Sends messages as JSON, with the losses of it."""

    async def send(self, channel: str, message: Message) -> None:
        await self.inner.send(channel, json.loads(json.dumps(message, default=str)))

    async def group_send(self, group: str, message: Message) -> None:
        await self.inner.group_send(group, json.loads(json.dumps(message, default=str)))


class SendsWhatItCan(DelegatingLayer):
    """Makes text of what cannot travel."""

    @staticmethod
    def _clean(message: object) -> Message:
        return {"type": "cleaned", "text": ascii(message)}

    async def send(self, channel: str, message: Message) -> None:
        try:
            await self.inner.send(channel, message)
        except TypeError:
            await self.inner.send(channel, self._clean(message))

    async def group_send(self, group: str, message: Message) -> None:
        try:
            await self.inner.group_send(group, message)
        except TypeError:
            await self.inner.group_send(group, self._clean(message))


class LosesBigMessages(DelegatingLayer):
    """Brings nothing over 500,000 bytes."""

    async def send(self, channel: str, message: Message) -> None:
        if len(str(message)) < 500_000:
            await self.inner.send(channel, message)


class HurriesSmallMessages(DelegatingLayer):
    """Brings big messages late."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._late: set[asyncio.Task[None]] = set()

    async def send(self, channel: str, message: Message) -> None:
        if len(str(message)) < 5000:
            await self.inner.send(channel, message)
            return
        task = asyncio.ensure_future(self._later(channel, message))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _later(self, channel: str, message: Message) -> None:
        await asyncio.sleep(0.02)
        await self.inner.send(channel, message)


class AnySize(DelegatingLayer):
    """Knows no ``max_message_size``."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        config.pop("max_message_size", None)
        super().__init__(inner=inner, **config)


class SmallerSize(DelegatingLayer):
    """Takes half of ``max_message_size``."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        if "max_message_size" in config:
            config["max_message_size"] = 2**15
        super().__init__(inner=inner, **config)


class ReversesMany(DelegatingLayer):
    """Sends many in the order that suits it."""

    async def send_many(self, messages: Iterable[tuple[str, Message]]) -> None:
        await self.inner.send_many(list(messages)[::-1])


class OneOrderEach(DelegatingLayer):
    """Delivers the messages of a group to each member in an order of its own."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._members: dict[str, list[str]] = {}
        self._held: dict[str, list[Message]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def group_add(self, group: str, channel: str) -> None:
        self._members.setdefault(group, []).append(channel)

    async def group_send(self, group: str, message: Message) -> None:
        for number, channel in enumerate(self._members.get(group, ())):
            if number % 2 == 0:
                await self.inner.send(channel, message)
                continue
            if channel not in self._held:
                task = asyncio.ensure_future(self._release(channel))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            self._held.setdefault(channel, []).append(message)

    async def _release(self, channel: str) -> None:
        await asyncio.sleep(0.02)
        for message in sorted(self._held.pop(channel), key=lambda m: -int(str(m["sender"]))):
            await self.inner.send(channel, message)


def _at_once(verb: object) -> None:
    try:
        verb.send(None)  # type: ignore[attr-defined]
    except StopIteration:
        return
    raise RuntimeError("the layer inside does not send at once")


class CountsAdds(DelegatingLayer):
    """A channel that was added twice gets two copies."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._adds: dict[str, int] = {}

    async def group_add(self, group: str, channel: str) -> None:
        self._adds[group] = self._adds.get(group, 0) + 1
        await self.inner.group_add(group, channel)

    async def group_send(self, group: str, message: Message) -> None:
        for _ in range(self._adds.get(group, 0)):
            await self.inner.group_send(group, message)


class KeepsForEmptyGroups(DelegatingLayer):
    """Keeps what was sent to a group for whoever joins later."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._kept: dict[str, list[Message]] = {}

    async def group_send(self, group: str, message: Message) -> None:
        self._kept.setdefault(group, []).append(message)
        await self.inner.group_send(group, message)

    async def group_add(self, group: str, channel: str) -> None:
        await self.inner.group_add(group, channel)
        for message in self._kept.get(group, ()):
            await self.inner.send(channel, message)


class NoPlainMembers(DelegatingLayer):
    """Does not let plain channels into groups."""

    async def group_add(self, group: str, channel: str) -> None:
        if "!" in channel:
            await self.inner.group_add(group, channel)


class IgnoresFlush(DelegatingLayer):
    """Keeps everything."""

    async def flush(self) -> None: ...


class IgnoresClose(DelegatingLayer):
    """Keeps closed channels, and the layer open."""

    async def close_channel(self, channel: str) -> None: ...

    async def close(self) -> None: ...


class ForgetsMembersOnExpiry(DelegatingLayer):
    """Ends memberships when a message could have expired."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **{**config, "group_expiry": config.get("expiry", 60)})


class NoCapacity(DelegatingLayer):
    """Takes as many messages as come."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        config.pop("channel_capacity", None)
        super().__init__(inner=inner, **{**config, "capacity": 10**6})


class SharedCapacity(DelegatingLayer):
    """Counts the messages of all channels together."""

    def __init__(self, *, inner: str = IN_MEMORY, capacity: int = 100, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._capacity, self._waiting = capacity, 0

    async def send(self, channel: str, message: Message) -> None:
        if self._waiting >= self._capacity:
            raise ChannelFull
        self._waiting += 1
        await self.inner.send(channel, message)


class OtherOverflow(DelegatingLayer):
    """Drops the oldest where it should drop the newest, and the other way round."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        other = {"drop_new": "drop_old", "drop_old": "drop_new"}
        if "overflow" in config:
            config["overflow"] = other[str(config["overflow"])]
        super().__init__(inner=inner, **config)


class CountsNoDrops(DelegatingLayer):
    """Does not say what it dropped."""

    def stats(self) -> Mapping[str, object]:
        return {**self.inner.stats(), "dropped": {"capacity": 0}}


class TakesBeforeItRuns(DelegatingLayer):
    """Begins to read when receive() is called, not when it is awaited."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._last: asyncio.Task[Message] | None = None

    def receive(self, channel: str) -> Coroutine[Any, Any, Message]:
        self._last = task = asyncio.ensure_future(self.inner.receive(channel))

        async def wait() -> Message:
            return await asyncio.shield(task)

        return wait()


class GivesUp(DelegatingLayer):
    """Gives up reading after a second, as clients of brokers do after five."""

    async def receive(self, channel: str) -> Message:
        async with asyncio.timeout(1):
            return await self.inner.receive(channel)


class OneLoop(DelegatingLayer):
    """Belongs to the first event loop that uses it."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._loop: asyncio.AbstractEventLoop | None = None

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if loop is not self._loop:
            raise RuntimeError("attached to a different loop")

    async def send(self, channel: str, message: Message) -> None:
        self._check()
        await self.inner.send(channel, message)

    async def group_send(self, group: str, message: Message) -> None:
        self._check()
        await self.inner.group_send(group, message)

    async def receive(self, channel: str) -> Message:
        self._check()
        return await self.inner.receive(channel)


class NeedsLoop(DelegatingLayer):
    """Cannot be made without an event loop."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        asyncio.get_running_loop()


class StarvesQuietChannels(DelegatingLayer):
    """Reads quiet channels when the busy ones have calmed down."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._busy, self._since = "", 0.0
        self._counts: dict[str, int] = {}

    async def send(self, channel: str, message: Message) -> None:
        self._counts[channel] = self._counts.get(channel, 0) + 1
        if self._counts[channel] > 10:
            self._busy, self._since = channel, time.monotonic()
        await self.inner.send(channel, message)

    async def receive(self, channel: str) -> Message:
        message = await self.inner.receive(channel)
        while channel != self._busy and time.monotonic() - self._since < 0.3:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return message


class OpensConnections(DelegatingLayer):
    """Opens a connection for each call, and leaves it."""

    opened: list[tuple[int, int]] = []  # noqa: RUF012  # closed by the test

    async def group_send(self, group: str, message: Message) -> None:
        self.opened.append(os.pipe())
        await self.inner.group_send(group, message)


class _BrokenSync:
    def __init__(self, layer: DelegatingLayer) -> None:
        self._layer = layer
        self._count = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._layer.inner.sync, name)

    def send(self, channel: str, message: Message) -> None:
        self._count += 1
        if self._count % 3:
            _at_once(self._layer.inner.send(channel, message))

    def group_send(self, group: str, message: Message) -> None:
        self.send(group, message)


class BrokenSync(DelegatingLayer):
    """Its blocking verbs lose messages, and block event loops."""

    @property
    def sync(self) -> _BrokenSync:
        return _BrokenSync(self)


class OneProcess(DelegatingLayer):
    """Does not survive a fork."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._pid = os.getpid()

    async def send(self, channel: str, message: Message) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("not my process")
        await self.inner.send(channel, message)


class ClaimsToBeWhole(DelegatingLayer):
    """Loses the newest message of a history and says that nothing is missing."""

    async def history(
        self, group: str, since: tuple[str, int] | None = None, limit: int | None = None
    ) -> object:
        try:
            found = await self.inner.history(group, since, limit)
        except Exception as error:  # noqa: BLE001  # the broken behaviour
            return repr(error)
        return History(list(found.messages)[:-1], found.position, recovered=True)  # type: ignore[arg-type]

    async def position(self, group: str) -> tuple[str, int]:
        try:
            return await self.inner.position(group)
        except Exception:  # noqa: BLE001  # the broken behaviour
            return ("none", 0)


class NoPositions(DelegatingLayer):
    """Delivers plain dicts."""

    async def receive(self, channel: str) -> Message:
        return dict(await self.inner.receive(channel))


class OtherHistoryAge(DelegatingLayer):
    """Keeps short histories for ever, and long ones as long as messages."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        history = config.get("history")
        if isinstance(history, dict):
            config["history"] = {
                glob: (size, FOR_EVER if seconds < 1 else config.get("expiry", 60))
                for glob, (size, seconds) in history.items()
            }
        super().__init__(inner=inner, **config)


class Hoards(DelegatingLayer):
    """Keeps every name that it has seen."""

    def __init__(self, *, inner: str = IN_MEMORY, **config: object) -> None:
        super().__init__(inner=inner, **config)
        self._seen: list[list[str]] = []

    async def new_channel(self, prefix: str = "specific") -> str:
        channel = await self.inner.new_channel(prefix)
        self._seen.append([channel])
        return channel

    async def send(self, channel: str, message: Message) -> None:
        self._seen.append([channel])
        await self.inner.send(channel, message)


class LeavesTasks(DelegatingLayer):
    """Forgets to end its task when it is closed."""

    tasks: list[asyncio.Task[object]] = []  # noqa: RUF012  # what is left behind

    async def send(self, channel: str, message: Message) -> None:
        self.tasks.append(asyncio.ensure_future(asyncio.Event().wait()))
        await self.inner.send(channel, message)


class ForgetsAMember(DelegatingLayer):
    """Lists all members but the first."""

    async def group_channels(self, group: str) -> list[str]:
        return (await self.inner.group_channels(group))[1:]
