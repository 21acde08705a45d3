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
SHARE: Final = 3
"""Where there are so many, one that says nothing takes up such a part of the time at most."""


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

    @property
    def may_change_unnoticed(self) -> bool:
        """Whether a server that is not the one any more may not say so: ask :meth:`confirms`."""

    async def confirms(self, endpoint: Endpoint) -> bool:
        """Whether a server is still the one, as far as can be found out; it never raises."""

    def distrust(self) -> None:
        """What was told last is wrong, or its server out of reach: ask again next time."""


class FixedLocator:
    """A server that stays where it is."""

    may_change_unnoticed = False

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def label(self) -> str:
        """Its address."""
        return self._endpoint.label

    async def locate(self, *, timeout: float) -> Endpoint:
        """The server."""
        return self._endpoint

    async def confirms(self, endpoint: Endpoint) -> bool:
        """It cannot be another one."""
        return True

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

    may_change_unnoticed = True

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
        asking = _Asking(timeout, len(self._sentinels))
        for sentinel in tuple(self._sentinels):
            try:
                answer = await asking.ask(
                    sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name
                )
            except CannotConnect as error:
                failure = error
                # Last next time, when there may not be time enough for all of them either.
                self._sentinels.remove(sentinel)
                self._sentinels.append(sentinel)
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

    async def confirms(self, endpoint: Endpoint) -> bool:
        """Whether a Sentinel still names it: a master that is replaced is told only later."""
        try:
            return await self.locate(timeout=ASK_SECONDS) == endpoint
        except CannotConnect:
            return True

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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._failure: CannotConnect | None = None
        """Why the nodes were asked in vain the last time that they were."""

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
            await self._renew(timeout)
        for found in self._ranges:
            if found.first <= slot <= found.last:
                return self._start[0].at(found.host, found.port)
        self._stale = True
        raise CannotConnect(f"{self.label}: no node serves hash slot {slot}")

    async def _renew(self, timeout: float) -> None:
        """Ask the nodes, or wait for what another partition is just being told.

        All partitions are in need of it at the same time: one asks for all. If it is cancelled,
        the next one takes over; there is no task that could outlive them.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # a lock belongs to one event loop
            self._loop, self._lock = loop, asyncio.Lock()
        before = self._failure
        async with self._lock:
            if not self._stale:
                return
            if self._failure is not None and self._failure is not before:
                # The one that was waited for.
                raise CannotConnect(str(self._failure), permanent=self._failure.permanent)
            try:
                await self._look(timeout)
            except CannotConnect as error:
                self._failure = error
                raise

    async def _look(self, timeout: float) -> None:
        failure = CannotConnect(f"{self.label} has no nodes")
        endpoints = [*_shuffled(self._known), *_shuffled(self._start)]
        asking = _Asking(timeout, len(endpoints))
        for endpoint in endpoints:
            try:
                answer = await asking.ask(endpoint, "CLUSTER", "SLOTS")
            except CannotConnect as error:
                failure = error
                continue
            found = _ranges(answer, str(endpoint.options.get("host", "localhost")))
            if not found:  # it has been taken out of the cluster
                failure = CannotConnect(f"{endpoint.label} knows of no slots")
                continue
            self._ranges = found
            places = {(place.host, place.port) for place in found}
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

    may_change_unnoticed = False

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

    async def confirms(self, endpoint: Endpoint) -> bool:
        """A node that has lost its slot says so itself."""
        return True

    def distrust(self) -> None:
        """The slot may have moved."""
        self._nodes.distrust()


class _Asking:
    """One after the other is asked, within one time.

    Args:
        timeout: seconds for all of them.
        count: how many may be asked.
    """

    def __init__(self, timeout: float, count: int) -> None:
        self._ends = asyncio.get_running_loop().time() + timeout
        self._each = min(ASK_SECONDS, timeout / max(1, min(count, SHARE)))

    async def ask(self, endpoint: Endpoint, *words: str) -> object:
        """The answer of one.

        Raises:
            CannotConnect: there was none, or there is no time left.
        """
        left = min(self._each, self._ends - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(left):  # the connection and the answer together
                return await endpoint.ask(*words, timeout=self._each)
        except TimeoutError as error:
            raise CannotConnect(f"{endpoint.label} did not answer in time") from error


def _shuffled(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    return random.sample(endpoints, len(endpoints))


def _ranges(answer: object, asked: str) -> list[_Range]:
    """The answer to CLUSTER SLOTS: ``[[first, last, [host, port, id, ...], replicas...], ...]``."""
    ranges = []
    for first, last, master, *_ in answer if isinstance(answer, list) else []:
        # An empty host, or none, means the one that was asked.
        host = master[0].decode() if master[0] else asked
        ranges.append(_Range(first, last, host, master[1]))
    return ranges
