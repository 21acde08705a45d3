"""Joining 2,000 groups: one after the other, all at once, and as a further local member."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from benchmarks.bench import Bench
from benchmarks.cases import Figure, Result, Scenario
from benchmarks.readers import Reader, Readers, message
from benchmarks.tally import Losses

__all__ = ["SCENARIO"]

SAMPLES = 20


async def join(bench: Bench) -> Result:
    """Three times the same number of groups; a sample of them must then deliver."""
    count = bench.amount(2000, 100)
    layer, sending = bench.open(), bench.open()
    figures: dict[str, float] = {}
    async with Readers() as readers:
        channels = [await layer.new_channel() for _ in range(3)]
        got: list[Reader] = [readers.add(layer, channel) for channel in channels]
        for channel in channels:
            await layer.group_add("bench.warm", channel)
        notes = await readers.knock(partial(sending.group_send, "bench.warm"))
        alone = [f"bench.alone.{n}" for n in range(count)]
        together = [f"bench.together.{n}" for n in range(count)]

        start = time.perf_counter()
        for group in alone:
            await layer.group_add(group, channels[0])
        figures["one_by_one"] = count / (time.perf_counter() - start)

        start = time.perf_counter()
        joins = (layer.group_add(group, channels[1]) for group in together)
        failed = [e for e in await asyncio.gather(*joins, return_exceptions=True) if e is not None]
        if not failed:
            figures["gathered"] = count / (time.perf_counter() - start)

        start = time.perf_counter()
        for group in alone:
            await layer.group_add(group, channels[2])
        figures["further"] = count / (time.perf_counter() - start)

        # Sender 0 writes to the groups joined alone, 1 to those joined together.
        readers.arrivals.expect(3 * SAMPLES)
        for number in range(SAMPLES):
            pick = number * (count // SAMPLES)
            await sending.group_send(alone[pick], message(number, sender=0))
            await sending.group_send(together[pick], message(number, sender=1))
        await readers.arrivals.all()
    wanted = ({0: SAMPLES}, {1: SAMPLES}, {0: SAMPLES})
    losses = sum((reader.losses(w) for reader, w in zip(got, wanted, strict=True)), Losses())
    if failed:
        notes.append(f"{len(failed)} of {count} gathered joins failed: {failed[0]!r}")
    return Result(figures, losses, notes)


SCENARIO = Scenario(
    name="join",
    title="joining 2,000 groups",
    figures=(
        Figure("one_by_one", "one by one", "/s", lower_is_better=False),
        Figure("gathered", "gathered", "/s", lower_is_better=False),
        Figure("further", "further local member", "/s", lower_is_better=False),
    ),
    run=join,
)
