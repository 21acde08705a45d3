"""One channel, one message in flight: from before ``send`` until the reader has it."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.bench import Bench
from benchmarks.cases import Figure, Result, Scenario
from benchmarks.measure import quantile, until_stalled
from benchmarks.readers import Readers, message

__all__ = ["SCENARIO"]

WARM_UP = 50


async def latency(bench: Bench) -> Result:
    """Send, wait until it was read, send the next."""
    receiving, sending = bench.open(), bench.open()
    took: list[float] = []
    sent = 0
    async with Readers() as readers:
        channel = await receiving.new_channel()
        readers.add(receiving, channel)
        notes = await readers.knock(partial(sending.send, channel))
        arrivals = readers.arrivals

        async def exchange() -> None:
            nonlocal sent
            ends = time.monotonic() + bench.seconds(4)
            for sent in range(1, WARM_UP + bench.amount(5000, 200)):
                arrivals.expect(1)
                start = time.monotonic()
                await sending.send(channel, message(sent - 1))
                await arrivals.each()
                if sent > WARM_UP:
                    took.append((arrivals.completed - start) * 1e3)
                    if start > ends:
                        break

        whole = await until_stalled(exchange(), lambda: arrivals.total)
    return Result(
        {"p50": quantile(took, 0.5), "p99": quantile(took, 0.99)} if took else {},
        readers.losses({0: sent}),
        notes + ([] if whole else ["messages stopped coming"]),
    )


SCENARIO = Scenario(
    name="latency",
    title="one channel, one message in flight",
    figures=(
        Figure("p50", "p50", "ms", lower_is_better=True),
        Figure("p99", "p99", "ms", lower_is_better=True),
    ),
    run=latency,
)
