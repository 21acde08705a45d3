"""A broker in memory, and the transport to it: a layer over both needs nothing else.

It keeps what :class:`channel_layers.transport.Transport` promises, in one process and on one
event loop, and lets a test decide when what was sent arrives.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Unpack

from channel_layers.codec import Position
from channel_layers.config import CommonConfig
from channel_layers.distributed import DistributedLayer
from channel_layers.exceptions import LayerUnavailable
from channel_layers.history import Entry, Limits
from channel_layers.transport import Arrivals, Log, Outcome, Pulled, Transport

__all__ = ["Broker", "LoopbackLayer", "LoopbackTransport"]

Delivery = Callable[[Arrivals], None]


class Inbox:
    """What one process has yet to read from one partition."""

    def __init__(self) -> None:
        self.entries: deque[tuple[str, Delivery]] = deque()
        """Each with the group that it adds the process to, or nothing."""


class Broker:
    """All that several layers have in common.

    Args:
        partitions: how many streams each process has.
        held: whether entries stay in the inboxes until :meth:`deliver`.
    """

    def __init__(self, *, partitions: int = 1, held: bool = False) -> None:
        self.partitions = partitions
        self.held = held
        self.answers = asyncio.Event()
        """Unless it is set, the answers to additions of a process by itself are late."""
        self.answers.set()
        self.away = False
        """While it is, every verb is refused."""
        self.processes: dict[str, LoopbackTransport] = {}
        self.groups: defaultdict[str, set[str]] = defaultdict(set)
        self.plain: defaultdict[str, deque[bytes]] = defaultdict(deque)
        self.plain_groups: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self.waiting: defaultdict[str, list[str]] = defaultdict(list)
        """Plain channel -> processes to be told of a message."""
        self.unacknowledged: dict[str, tuple[str, bytes]] = {}
        self.logs: dict[str, list[Entry]] = {}
        self.leaves: list[tuple[str, str]] = []
        """Each membership that was given up: group and process."""

    def put(self, process: str, partition: int, entry: Delivery, *, adds: str = "") -> bool:
        """Write into an inbox; False if the process is gone."""
        transport = self.processes.get(process)
        if transport is None:
            return False
        transport.inboxes[partition].entries.append((adds, entry))
        if not self.held:
            asyncio.get_running_loop().call_soon(self.deliver, process, partition)
        return True

    def deliver(self, process: str, partition: int = 0, count: int = 1_000_000) -> None:
        """Let a process read the next so many entries."""
        transport = self.processes.get(process)
        while transport is not None and count > 0 and transport.inboxes[partition].entries:
            _, entry = transport.inboxes[partition].entries.popleft()
            entry(transport.arrivals)
            count -= 1

    def deliver_everything(self) -> None:
        """Let all processes read all that there is."""
        for process in tuple(self.processes):
            for partition in range(self.partitions):
                self.deliver(process, partition)

    def under_way(self) -> int:
        """Entries that nobody has read yet."""
        return sum(
            len(inbox.entries)
            for transport in self.processes.values()
            for inbox in transport.inboxes
        )

    def lose(self, process: str, partition: int = 0) -> None:
        """Lose what a process has yet to read, and tell it."""
        transport = self.processes[process]
        transport.inboxes[partition].entries.clear()
        transport.arrivals.lost(partition, "it was lost on purpose")


class LoopbackTransport(Transport):
    """The transport of one layer to a :class:`Broker`."""

    mode = "loopback"

    def __init__(self, broker: Broker, process: str, *, keep_unacknowledged: bool) -> None:
        self.broker = broker
        self.process = process
        self.partitions = broker.partitions
        self.arrivals: Arrivals
        self.inboxes = [Inbox() for _ in range(broker.partitions)]
        self._keep_unacknowledged = keep_unacknowledged
        self._pulls = 0

    # Connections

    @property
    def connected(self) -> bool:
        return self.process in self.broker.processes

    async def start(self, arrivals: Arrivals) -> None:
        self._reach()
        self.arrivals = arrivals
        self.broker.processes[self.process] = self
        arrivals.connected(again=False)

    async def stop(self) -> None:
        self.abandon()

    def abandon(self, *, forked: bool = False) -> None:
        self.broker.processes.pop(self.process, None)
        for members in self.broker.groups.values():
            members.discard(self.process)

    def partition_of(self, name: str) -> int:
        return zlib.crc32(name.encode()) % self.partitions

    def repeats(self, partition: int) -> int:
        return 0

    def _reach(self) -> None:
        if self.broker.away:
            raise LayerUnavailable("The broker is away.")

    # Messages and groups

    async def fence(self, partition: int, token: str) -> None:
        self._reach()
        self.broker.put(self.process, partition, lambda to: to.fence_read(partition, token))

    async def to_channel(self, channel: str, process: str, frame: bytes) -> Outcome:
        self._reach()
        return "sent" if self._put(channel, process, frame) else "gone"

    async def to_group(self, group: str, frame: bytes, limits: Limits | None) -> None:
        self._reach()
        position = None
        if limits is not None:
            log = self.broker.logs.setdefault(group, [])
            log.append(Entry(len(log) + 1, float("inf"), frame))
            position = Position("epoch", len(log))
        for process in tuple(self.broker.groups[group]):
            if not self._put(group, process, frame, position):
                self.broker.groups[group].discard(process)
        for channel, capacity in self.broker.plain_groups[group].items():
            if not await self.push(channel, frame, capacity):
                self.arrivals.overflowed(channel, 1)

    async def add_member(self, group: str, process: str, frame: bytes) -> None:
        self._reach()
        if self._put(group, process, frame, adds=group):
            self.broker.groups[group].add(process)

    async def add_myself(self, group: str, frame: bytes, *, ordered: bool) -> bool:
        self._reach()
        if ordered or self.inboxes[self.partition_of(group)].entries:
            await self.add_member(group, self.process, frame)
            return False
        self.broker.groups[group].add(self.process)
        await self.broker.answers.wait()  # what is sent meanwhile may well come before
        return True

    async def leave(self, group: str) -> None:
        self._reach()
        inbox = self.inboxes[self.partition_of(group)]
        if group not in [adds for adds, _ in inbox.entries]:
            self.broker.groups[group].discard(self.process)
            self.broker.leaves.append((group, self.process))

    async def tell(self, group: str, process: str, frame: bytes) -> None:
        self._reach()
        self._put(group, process, frame)

    async def ask(self, group: str, frame: bytes) -> list[str]:
        self._reach()
        return [p for p in tuple(self.broker.groups[group]) if self._put(group, p, frame)]

    async def announce(self, frame: bytes) -> list[str]:
        self._reach()
        broker = self.broker
        for forgotten in (broker.groups, broker.plain, broker.plain_groups, broker.logs):
            forgotten.clear()
        return [p for p in tuple(broker.processes) if self._put("", p, frame)]

    def _put(
        self,
        target: str,
        process: str,
        frame: bytes,
        position: Position | None = None,
        *,
        adds: str = "",
    ) -> bool:
        partition = self.partition_of(target)

        def entry(arrivals: Arrivals) -> None:
            arrivals.arrived(partition, frame, 0.0, position)

        return self.broker.put(process, partition, entry, adds=adds)

    # Plain channels

    async def push(self, channel: str, frame: bytes, capacity: int) -> bool:
        self._reach()
        if len(self.broker.plain[channel]) >= capacity:
            return False
        self.broker.plain[channel].append(frame)
        self._wake(channel)
        return True

    async def pull(self, channel: str, count: int) -> list[Pulled]:
        self._reach()
        waiting, there = self.broker.waiting[channel], self.broker.plain[channel]
        taken = [there.popleft() for _ in range(min(count, len(there)))]
        if self.process in waiting:
            waiting.remove(self.process)
        if len(taken) < count:
            waiting.append(self.process)
        elif there:
            self._wake(channel)
        return [Pulled(frame, 0.0, self._receipt(channel, frame), frame) for frame in taken]

    async def take_back(self, channel: str, pulled: list[Pulled]) -> None:
        self._reach()
        for one in reversed(pulled):
            if not one.token or one.token in self.broker.unacknowledged:
                self.broker.unacknowledged.pop(one.token, ("", b""))
                self.broker.plain[channel].appendleft(one.element)
        self._wake(channel)

    async def acknowledge(self, channel: str, pulled: Pulled) -> None:
        self._reach()
        self.broker.unacknowledged.pop(pulled.token, None)

    def _receipt(self, channel: str, frame: bytes) -> str:
        if not self._keep_unacknowledged:
            return ""
        self._pulls += 1
        token = f"{self.process}:{self._pulls}"
        self.broker.unacknowledged[token] = (channel, frame)
        return token

    def _wake(self, channel: str) -> None:
        waiting = self.broker.waiting[channel]
        while waiting:
            process = waiting.pop(0)
            partition = self.partition_of(channel)
            if self.broker.put(process, partition, lambda to: to.wanted(channel)):
                return

    async def add_plain(self, group: str, channel: str, seconds: float, capacity: int) -> None:
        self._reach()
        self.broker.plain_groups[group][channel] = capacity

    async def discard_plain(self, group: str, channel: str) -> None:
        self._reach()
        self.broker.plain_groups[group].pop(channel, None)

    async def plain_members(self, group: str) -> list[str]:
        self._reach()
        return list(self.broker.plain_groups[group])

    async def log(self, group: str, limits: Limits) -> Log:
        self._reach()
        log = self.broker.logs.get(group, [])
        return Log(log[-limits.size :], Position("epoch", len(log)), 0.0)


class LoopbackLayer(DistributedLayer):
    """A layer over a broker in memory.

    Args:
        broker: which one.
        at_least_once: see :class:`DistributedLayer`.
    """

    def __init__(
        self, broker: Broker, *, at_least_once: bool = False, **config: Unpack[CommonConfig]
    ) -> None:
        self.broker = broker
        self._at_least_once = at_least_once
        super().__init__(**config)

    def _make_transport(self) -> LoopbackTransport:
        return LoopbackTransport(self.broker, self.process, keep_unacknowledged=self._at_least_once)
