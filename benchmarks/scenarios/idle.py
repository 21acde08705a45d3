"""What a connection that waits costs in memory, over a bare task that waits."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from benchmarks.bench import Bench
from benchmarks.cases import Figure, Result, Scenario
from benchmarks.measure import Arrivals, resident_bytes, settle
from benchmarks.readers import message
from benchmarks.tally import Losses

__all__ = ["SCENARIO"]

GROUP_SIZE = 50


async def idle(bench: Bench) -> Result:
    """Once by what the process occupies, once by what Python allocated.

    Each connection has got one message before it is measured: that proves that it is there, and
    an idle connection is one that has been used.
    """
    count = bench.amount(5000, 500)
    figures: dict[str, float] = {}
    losses = Losses()

    if resident_bytes() is not None:
        figures["resident"], lost = await _extra(
            bench, "resident", count, lambda: resident_bytes() or 0
        )
        losses += lost

    tracemalloc.start()
    figures["allocated"], lost = await _extra(bench, "allocated", count, _allocated_bytes)
    tracemalloc.stop()
    return Result(figures, losses + lost)


async def _extra(
    bench: Bench, name: str, count: int, used: Callable[[], int]
) -> tuple[float, Losses]:
    """Bytes that a connection takes more than a task on a future; nothing is freed meanwhile."""
    connections = _Connections(bench, f"bench.{name}")
    await connections.warm_up()
    await settle()
    before = used()
    async with _bare_tasks(count):
        await settle()
        bare = used() - before
        before = used()
        try:
            lost = await connections.open(count)
            await settle()
            extra = used() - before - bare
        finally:
            await connections.close()
    return extra / count, Losses(lost=lost)


class _Connections:
    """Waiting readers, as few of our own bytes to each as can be.

    Args:
        bench: where the layer comes from.
        name: what the names of their groups begin with. Over a broker, connections measured
            before may still be in their groups; what is sent here must not fill their mailboxes.
    """

    def __init__(self, bench: Bench, name: str) -> None:
        self._layer = bench.open_anew()
        self._name = name
        self._tasks: list[asyncio.Task[None]] = []
        self._arrivals = Arrivals()

    async def warm_up(self) -> None:
        """Connect, load, fill pools: what is paid once."""
        channel = await self._layer.new_channel()
        await self._layer.group_add(f"{self._name}.warm", channel)
        await self._layer.group_send(f"{self._name}.warm", message(0))
        async with asyncio.timeout(10):
            await self._layer.receive(channel)

    async def open(self, count: int) -> int:
        """Open so many; how many did not get the message that was sent to each."""
        for number in range(count):
            channel = await self._layer.new_channel()
            await self._layer.group_add(f"{self._name}.{number // GROUP_SIZE}", channel)
            self._tasks.append(asyncio.create_task(self._read(channel)))
        await asyncio.sleep(0)
        self._arrivals.expect(count)
        for room in range(-(-count // GROUP_SIZE)):
            await self._layer.group_send(f"{self._name}.{room}", message(0))
        await self._arrivals.all()
        return self._arrivals.missing

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=5)

    async def _read(self, channel: str) -> None:
        while True:
            await self._layer.receive(channel)
            self._arrivals.missing -= 1
            if not self._arrivals.missing:
                self._arrivals.complete()


@asynccontextmanager
async def _bare_tasks(count: int) -> AsyncIterator[None]:
    create_future = asyncio.get_running_loop().create_future

    async def wait() -> None:
        await create_future()

    tasks = [asyncio.create_task(wait()) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _allocated_bytes() -> int:
    return tracemalloc.get_traced_memory()[0]


SCENARIO = Scenario(
    name="idle",
    title="memory of an idle connection",
    figures=(
        Figure("allocated", "allocated", "bytes", lower_is_better=True),
        Figure("resident", "resident", "bytes", lower_is_better=True),
    ),
    run=idle,
)
