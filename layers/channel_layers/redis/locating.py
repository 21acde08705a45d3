"""Where the server of a partition is now: always the same, or as Sentinel or a cluster says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from channel_layers.redis.endpoint import CannotConnect, Endpoint

__all__ = ["ClusterMap", "FixedLocator", "Locator", "SentinelLocator", "SlotLocator"]

ASK_SECONDS: Final = 1.0
"""How long one Sentinel or node may take to say where the server is; then the next is asked."""


class Locator(Protocol):
    """Finds the server of one partition."""

    @property
    def label(self) -> str:
        """How messages call it, before it is known."""

    async def locate(self, *, timeout: float) -> Endpoint:
        """The server.

        Args:
            timeout: seconds.

        Raises:
            CannotConnect: nobody knows.
        """

    def distrust(self) -> None:
        """What was told last is wrong, or its server out of reach: ask again next time."""


class FixedLocator:
    """A server that stays where it is."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def label(self) -> str:
        """Its address."""
        return self._endpoint.label

    async def locate(self, *, timeout: float) -> Endpoint:
        """The server."""
        return self._endpoint

    def distrust(self) -> None:
        """There is no other place to look."""


class SentinelLocator:
    """The master of a name, as Sentinels know it.

    They are asked at every connection, as `Sentinel clients
    <https://redis.io/docs/latest/develop/reference/sentinel-clients/>`_ should. A master that has
    been demoted refuses to be written to, which the partition finds out when it registers.

    Args:
        sentinels: all that may be asked.
        name: of the master.
        master: the options with which it is reached; its address is not used.
    """

    def __init__(self, sentinels: Sequence[Endpoint], name: str, master: Endpoint) -> None:
        self._sentinels = list(sentinels)
        self._name = name
        self._master = master

    @property
    def label(self) -> str:
        """The name and who knows it."""
        places = ", ".join(f"{s.options['host']}:{s.options['port']}" for s in self._sentinels)
        return f"master {self._name!r} of the Sentinels at {places}"

    async def locate(self, *, timeout: float) -> Endpoint:
        """The master, from the first Sentinel that answers."""
        failure = CannotConnect(f"{self.label} has no Sentinel")
        for sentinel in tuple(self._sentinels):
            try:
                answer = await sentinel.ask(
                    *("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name),
                    timeout=min(timeout, ASK_SECONDS),
                )
            except CannotConnect as error:
                failure = error
                continue
            if isinstance(answer, list) and len(answer) == 2:
                # Whoever answers is asked first next time.
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return self._master.at(answer[0].decode(), int(answer[1]))
            failure = CannotConnect(
                f"{sentinel.label} knows no master {self._name!r}", permanent=True
            )
        raise CannotConnect(f"{self.label} was not found: {failure}", permanent=failure.permanent)

    def distrust(self) -> None:
        """The Sentinel asked first may be cut off from the others: ask another one."""
        self._sentinels.append(self._sentinels.pop(0))


class _Range(NamedTuple):
    first: int
    last: int
    host: str
    port: int


class ClusterMap:
    """Which node of a Redis Cluster has which hash slots; shared by all partitions.

    Args:
        start: nodes to begin with; others are found.
    """

    def __init__(self, start: Sequence[Endpoint]) -> None:
        self._start = list(start)
        self._known: list[Endpoint] = []
        self._ranges: list[_Range] = []
        self._stale = True
        self._looking: asyncio.Task[None] | None = None

    @property
    def label(self) -> str:
        """The nodes to begin with."""
        return f"the cluster of {', '.join(endpoint.label for endpoint in self._start)}"

    def distrust(self) -> None:
        """A slot has moved or a node is out of reach."""
        self._stale = True

    async def node_of(self, slot: int, *, timeout: float) -> Endpoint:
        """The node that has a slot.

        Raises:
            CannotConnect: no node answers, or none has the slot.
        """
        if self._stale:
            looking = self._looking
            loop = asyncio.get_running_loop()
            if looking is None or looking.done() or looking.get_loop() is not loop:
                # All partitions are in need of it at the same time: one asks for all.
                looking = self._looking = loop.create_task(self._look(timeout))
            await asyncio.shield(looking)
        for found in self._ranges:
            if found.first <= slot <= found.last:
                return self._start[0].at(found.host, found.port)
        self._stale = True
        raise CannotConnect(f"{self.label}: no node serves hash slot {slot}")

    async def _look(self, timeout: float) -> None:
        failure = CannotConnect(f"{self.label} has no nodes")
        known = random.sample(self._known, len(self._known))
        for endpoint in [*known, *self._start]:
            try:
                answer = await endpoint.ask("CLUSTER", "SLOTS", timeout=min(timeout, ASK_SECONDS))
            except CannotConnect as error:
                failure = error
                continue
            self._ranges = _ranges(answer, str(endpoint.options["host"]))
            places = {(found.host, found.port) for found in self._ranges}
            self._known = [self._start[0].at(*place) for place in sorted(places)]
            self._stale = False
            return
        raise CannotConnect(f"{self.label}: {failure}", permanent=failure.permanent)


class SlotLocator:
    """The node of a cluster that has one slot.

    Args:
        nodes: of the cluster.
        slot: in which all keys of the partition lie.
    """

    def __init__(self, nodes: ClusterMap, slot: int) -> None:
        self._nodes = nodes
        self._slot = slot

    @property
    def label(self) -> str:
        """The cluster."""
        return self._nodes.label

    async def locate(self, *, timeout: float) -> Endpoint:
        """The node."""
        return await self._nodes.node_of(self._slot, timeout=timeout)

    def distrust(self) -> None:
        """The slot may have moved."""
        self._nodes.distrust()


def _ranges(answer: object, asked: str) -> list[_Range]:
    """The answer to CLUSTER SLOTS: ``[[first, last, [host, port, id, ...], replicas...], ...]``."""
    ranges = []
    for first, last, master, *_ in answer if isinstance(answer, list) else []:
        # An empty host, or none, means the one that was asked.
        host = master[0].decode() if master[0] else asked
        ranges.append(_Range(first, last, host, master[1]))
    return ranges
