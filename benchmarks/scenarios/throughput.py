"""One channel of a process, 50 messages in flight, each of another sender."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cases import Figure, Result, Scenario
from benchmarks.flight import SENDERS, rate_in_flight

__all__ = ["SCENARIO"]


async def throughput(bench: Bench) -> Result:
    """Never more than 50 messages sent and not yet read."""
    receiving, sending = bench.open(), bench.open()
    return await rate_in_flight(bench, receiving, sending, await receiving.new_channel())


SCENARIO = Scenario(
    name="throughput",
    title=f"one channel, {SENDERS} messages in flight",
    figures=(Figure("rate", "messages", "/s", lower_is_better=False),),
    run=throughput,
)
