"""50 tasks that send to one channel, with never more than one unread message each."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

from benchmarks.bench import Bench
from benchmarks.cases import Layer, Result
from benchmarks.measure import until_stalled
from benchmarks.readers import Readers, message

__all__ = ["SENDERS", "rate_in_flight"]

SENDERS = 50


async def rate_in_flight(bench: Bench, receiving: Layer, sending: Layer, channel: str) -> Result:
    """Messages a second through a channel that one task reads: the figure ``rate``."""
    flight = _Flight(sending, channel)
    async with Readers() as readers:
        readers.add(receiving, channel, flight.seen)
        notes = await readers.knock(partial(sending.send, channel))
        whole = await flight.fly(10, bench.seconds(1))
        before, start = flight.landed, time.perf_counter()
        whole = whole and await flight.fly(bench.amount(1000, 20), bench.seconds(3))
        rate = (flight.landed - before) / (time.perf_counter() - start)
    return Result(
        {"rate": rate} if whole else {},
        readers.losses(flight.sent),
        notes + ([] if whole else ["messages stopped coming"]),
    )


class _Flight:
    """50 tasks that send, each its next message when the reader has read its last."""

    def __init__(self, sending: Layer, channel: str) -> None:
        self._sending, self._channel = sending, channel
        self._landed: dict[int, asyncio.Future[None]] = {}
        self.sent = dict.fromkeys(range(SENDERS), 0)
        self.landed = 0

    async def fly(self, each: int, seconds: float) -> bool:
        """So many messages from each sender, or as many as the time allows; False: stalled."""
        ends = time.perf_counter() + seconds

        async def everything() -> None:
            await asyncio.gather(*(self._send(who, each, ends) for who in range(SENDERS)))

        return await until_stalled(everything(), lambda: self.landed)

    def seen(self, message: dict[str, Any]) -> None:
        """The reader has it: its sender may go on."""
        landed = self._landed.pop(message["sender"], None)
        if landed is not None and not landed.done():
            self.landed += 1
            landed.set_result(None)

    async def _send(self, who: int, count: int, ends: float) -> None:
        create_future = asyncio.get_running_loop().create_future
        for _ in range(count):
            landed = self._landed[who] = create_future()
            number = self.sent[who]
            self.sent[who] += 1
            await self._sending.send(self._channel, message(number, who))
            await landed
            if time.perf_counter() > ends:
                break
