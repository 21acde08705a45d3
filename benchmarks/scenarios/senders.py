"""group_send from plain threads, as sync views, signal handlers and tasks do it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync

from benchmarks.bench import CAPACITY, Bench
from benchmarks.cases import Figure, Layer, Result, Scenario
from benchmarks.readers import Readers, message

__all__ = ["SCENARIO"]

THREADS = 8
GROUP = "bench.senders"
HANG_SECONDS = 10
"""A call that takes so long has failed."""

GroupSend = Callable[[str, dict[str, Any]], None]


class _Sender:
    """What one thread does."""

    def __init__(self, group_send: GroupSend, who: int, count: int, seconds: float) -> None:
        self.sent = 0
        self.failure = "a thread hangs in group_send"
        self.ended = 0.0
        self._group_send = group_send
        self._who, self._count, self._seconds = who, count, seconds

    def run(self) -> None:
        ends = time.perf_counter() + self._seconds
        try:
            while self.sent < self._count and time.perf_counter() < ends:
                self._group_send(GROUP, message(self.sent, self._who))
                self.sent += 1
            self.failure = ""
        except Exception as error:  # noqa: BLE001  # shown in the note; the thread ends
            self.failure = f"a thread failed: {type(error).__name__}: {error}"
        self.ended = time.perf_counter()


async def senders(bench: Bench) -> Result:
    """8 threads send for a while; one member, read by this process's event loop, gets it all."""
    receiving, sending = bench.open(), bench.open()
    group_send = _group_send(sending)
    async with Readers() as readers:
        channel = await receiving.new_channel()
        await receiving.group_add(GROUP, channel)
        readers.add(receiving, channel)
        notes = await readers.knock(partial(sending.group_send, GROUP))

        async def send_all(first: int, count: int, seconds: float) -> tuple[list[_Sender], float]:
            jobs = [_Sender(group_send, first + n, count, seconds) for n in range(THREADS)]
            threads = [threading.Thread(target=job.run, daemon=True) for job in jobs]
            start = time.perf_counter()
            for thread in threads:
                thread.start()
            await asyncio.to_thread(_join, threads, start + seconds + HANG_SECONDS)
            return jobs, max(job.ended or time.perf_counter() for job in jobs) - start

        before = readers.arrivals.total
        warm, _ = await send_all(THREADS, 10, bench.seconds(1))
        most = CAPACITY // THREADS // 2
        jobs, seconds = await send_all(0, bench.amount(most, 100), bench.seconds(2))
        sent = {THREADS + n: job.sent for n, job in enumerate(warm)}
        sent |= {n: job.sent for n, job in enumerate(jobs)}
        readers.arrivals.expect(sum(sent.values()) - (readers.arrivals.total - before))
        if readers.arrivals.missing > 0:
            await readers.arrivals.all()
    failed = sorted({job.failure for job in (*warm, *jobs) if job.failure})
    rate = sum(job.sent for job in jobs) / seconds
    return Result({"rate": rate} if not failed else {}, readers.losses(sent), notes + failed[:2])


def _join(threads: list[threading.Thread], until: float) -> None:
    for thread in threads:
        thread.join(max(0.0, until - time.perf_counter()))


def _group_send(layer: Layer) -> GroupSend:
    """The way that the layer offers to code without an event loop."""
    sync = getattr(layer, "sync", None)
    found: GroupSend = sync.group_send if sync is not None else async_to_sync(layer.group_send)
    return found


SCENARIO = Scenario(
    name="senders",
    title=f"sync group_send from {THREADS} plain threads",
    figures=(Figure("rate", "sends", "/s", lower_is_better=False),),
    run=senders,
)
