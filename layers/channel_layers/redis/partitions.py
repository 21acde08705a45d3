"""All partitions of a layer: connected, left, found by name, and what they tell."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection, Iterable
from typing import Final

from channel_layers.codec import Position
from channel_layers.exceptions import LayerClosed
from channel_layers.redis.hosts import PartitionPlan
from channel_layers.redis.inbox import Entry
from channel_layers.redis.link import Reply
from channel_layers.redis.partition import Partition, Progress
from channel_layers.redis.settings import Settings
from channel_layers.transport import Arrivals, Transport

__all__ = ["Partitions"]

FRAMES: Final = frozenset({b"d", b"a"})


class Partitions(Transport):
    """One Redis, several, or a cluster.

    Args:
        plans: the partitions: where each is, and what its keys begin with.
        process: id of this process.
        expiry: seconds.
        group_expiry: seconds that a group's numbering outlives its last message.
        timeout: seconds (``send_timeout``).
        keep_unacknowledged: whether messages of plain channels are kept until acknowledged.
    """

    def __init__(
        self,
        plans: list[PartitionPlan],
        *,
        process: str,
        expiry: float,
        group_expiry: float,
        timeout: float,
        keep_unacknowledged: bool,
    ) -> None:
        self.mode = "streams" if len(plans) == 1 else f"streams, {len(plans)} partitions"
        self.partitions = len(plans)
        self._plans = plans
        self._arrivals: Arrivals
        self._process = process
        self._expiry_ms = int(expiry * 1000)
        self._keep_ms = int(group_expiry * 1000)
        self._unacknowledged = int(keep_unacknowledged)
        self._settings = Settings(
            process=process,
            expiry_ms=self._expiry_ms,
            ttl_ms=self._expiry_ms + 30_000,
            timeout=timeout,
        )
        self._partitions: list[Partition] = []
        self._pulls: dict[str, int] = {}
        """Plain channel -> number of its last pull whose answer has come."""
        self._progress: list[Progress | None] = [None] * len(plans)

    # Connections

    @property
    def connected(self) -> bool:
        """Whether every server is within reach."""
        return bool(self._partitions) and all(partition.up for partition in self._partitions)

    async def start(self, arrivals: Arrivals) -> None:
        """Connect to every server and register there."""
        self._arrivals = arrivals
        if not self._partitions:
            self._partitions = [
                Partition(plan.index, plan.tag, plan.locator, self._settings, self, progress)
                for plan, progress in zip(self._plans, self._progress, strict=True)
            ]
        await asyncio.gather(*(partition.start() for partition in self._partitions))

    async def stop(self) -> None:
        """Take this process out of its groups, remove its keys, disconnect."""
        leaving = [
            leave
            for partition in self._partitions
            if partition.up
            for leave in self._leave_all(partition)
        ]
        if leaving:
            # A server that does not answer keeps its keys until they expire.
            await asyncio.wait(leaving, timeout=self._settings.timeout)
        for partition in self._partitions:
            await partition.stop()
        self._partitions = []

    def abandon(self, *, forked: bool = False) -> None:
        """See :class:`Transport`."""
        if self._partitions:
            self._progress = [partition.abandon(forked=forked) for partition in self._partitions]
            self._partitions = []

    def _leave_all(self, partition: Partition) -> Iterable[asyncio.Future[Reply]]:
        keys, process = partition.keys, self._process
        for group in self.joined(self._partitions.index(partition)):
            yield partition.leave(group)
        if not self._unacknowledged:
            yield partition.outbox.command("UNLINK", keys.claims(process))
        own = (keys.inbox(process), f"{keys.base}n:{process}", f"{keys.base}s:{process}")
        yield partition.outbox.command("UNLINK", *own)
        if not self._unacknowledged:
            # Else others find it dead, and what it had not acknowledged.
            yield partition.outbox.command("ZREM", keys.processes, process)

    # By name

    def partition_of(self, name: str) -> int:
        """The number of the partition of a group or channel: the same in every process."""
        return zlib.crc32(name.encode()) % self.partitions if self.partitions > 1 else 0

    def repeats(self, partition: int) -> int:
        """See :class:`Transport`."""
        return self._partitions[partition].outbox.retried

    def _of(self, name: str) -> Partition:
        return self._at(self.partition_of(name))

    def _at(self, index: int) -> Partition:
        if not self._partitions:
            raise LayerClosed("The layer was closed during the call.")
        return self._partitions[index]

    # What the partitions tell

    def entry(self, index: int, fields: Entry, age: float) -> None:
        """An entry of this process's inbox."""
        kind = fields[0]
        if kind in FRAMES:
            position = None
            if len(fields) > 2:
                offset, _, epoch = fields[3].partition(b":")
                position = Position(epoch.decode(), int(offset))
            self._arrivals.arrived(index, fields[1], age, position)
        elif kind == b"wanted":
            self._arrivals.wanted(fields[1].decode())
        elif kind == b"fence":
            self._arrivals.fence_read(index, fields[1].decode())
        elif kind == b"full":
            self._arrivals.lost(index, "this process read too slowly: its inbox was full")

    def woken(self) -> int:
        """How many readers of this process have been woken so far."""
        return self._arrivals.woken

    def up(self, index: int, *, again: bool) -> None:
        """A server was reached."""
        if self.connected:
            self._arrivals.connected(again=again)

    def down(self, index: int, reason: str) -> None:
        """A server is out of reach."""
        self._arrivals.disconnected(index, reason)

    def lost(self, index: int, reason: str) -> None:
        """A server has lost messages, or all its memory."""
        self._arrivals.lost(index, reason)

    def joined(self, index: int) -> Collection[str]:
        """The groups of a partition of which this process is a member."""
        groups = self._arrivals.joined()
        if self.partitions == 1:
            return tuple(groups)
        return [group for group in groups if self.partition_of(group) == index]

    def confirmed(self, index: int) -> list[str]:
        """Plain channels and the numbers of pulls whose answers have come."""
        done = [name for name in self._pulls if self.partition_of(name) == index]
        return [word for name in done for word in (name, str(self._pulls.pop(name)))]
