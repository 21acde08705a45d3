"""group_send to 500 members of one process, beside the least that any fan-out must do."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median

from benchmarks.bench import Bench
from benchmarks.cases import Figure, Result, Scenario
from benchmarks.raw import RawFanout
from benchmarks.readers import Readers, message

__all__ = ["SCENARIO"]

MEMBERS = 500
GROUP = "bench.fanout"


async def fanout(bench: Bench) -> Result:
    """One group_send at a time, each followed until every member has read it.

    The yardstick runs in the same process, in turns with the layer, so that whatever slows the
    machine down slows both.
    """
    receiving, sending = bench.open(), bench.open()
    sent = 0
    ours: list[float] = []
    raws: list[float] = []
    stalled = False
    async with Readers() as readers, RawFanout(MEMBERS) as raw:
        for _ in range(MEMBERS):
            channel = await receiving.new_channel()
            await receiving.group_add(GROUP, channel)
            readers.add(receiving, channel)
        notes = await readers.knock(partial(sending.group_send, GROUP))

        async def one_round() -> None:
            nonlocal sent, stalled
            readers.arrivals.expect(MEMBERS)
            await sending.group_send(GROUP, message(sent))
            sent += 1
            stalled = not await readers.arrivals.all()

        for block in range(bench.amount(13, 4)):
            raw_us = await _per_delivery(raw.one_round, bench.seconds(0.1), lambda: False)
            our_us = await _per_delivery(one_round, bench.seconds(0.3), lambda: stalled)
            if block > 1:  # the first ones warm up
                raws.append(raw_us)
                ours.append(our_us)
            if stalled:
                break
    if not ours:
        raise RuntimeError(f"Deliveries stopped: {readers.losses({0: sent})} of {sent} sends.")
    return Result(
        {
            "delivery": median(ours),
            "raw": median(raws),
            "ratio": median(our / bare for our, bare in zip(ours, raws, strict=True)),
        },
        readers.losses({0: sent}),
        notes + (["deliveries stopped half-way"] if stalled else []),
    )


async def _per_delivery(
    one_round: Callable[[], Awaitable[None]], seconds: float, stop: Callable[[], bool]
) -> float:
    """Microseconds for each delivery, of rounds for at least so many seconds."""
    start = time.perf_counter()
    rounds = 0
    while True:
        await one_round()
        rounds += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds or stop():
            return elapsed / rounds / MEMBERS * 1e6


SCENARIO = Scenario(
    name="fanout",
    title=f"group_send to {MEMBERS} members in one process, per delivery",
    figures=(
        Figure("delivery", "per delivery", "µs", lower_is_better=True),
        Figure("raw", "bare loop", "µs", lower_is_better=True),
        Figure("ratio", "of the bare loop", "x", lower_is_better=True),
    ),
    run=fanout,
)
