"""Every connection to the server is killed each 100 ms, while one sender keeps on sending."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.bench import Bench
from benchmarks.cases import Figure, Layer, Receiving, Result, Scenario
from benchmarks.cutting import CutConnections
from benchmarks.layers import Row
from benchmarks.measure import STALL_SECONDS, until_stalled
from benchmarks.readers import Readers, message
from benchmarks.tally import Tally

__all__ = ["SCENARIO", "Ear", "Enduring", "Sender"]

SECONDS = 10
RATE = 1000
"""Messages a second: what is sent after a delay catches up with it."""
CUT_SECONDS = 0.1
GROUP = "bench.faults"

CALL_SECONDS = 10.0
"""A send that takes so long has failed: twice the time our layers may take for one."""
AGAIN_SECONDS = 0.01
"""Before the next try when a ``receive()``, or one of the last sends, has raised."""
LAST_SECONDS = 20.0
STRAGGLER_SECONDS = 0.2


class Sender:
    """Sends numbered messages, by turns to the channel and to its group.

    Attributes:
        sent: how many were numbered.
        refused: numbers of those whose send raised. They may have arrived all the same.
        reasons: the names of what was raised.
    """

    def __init__(self, layer: Layer, channel: str) -> None:
        self._layer, self._channel = layer, channel
        self.sent = 0
        self.refused: set[int] = set()
        self.reasons: set[str] = set()

    async def pace(self, seconds: float) -> float:
        """Send for so long, one after the other; how many a second were not refused."""
        start = time.monotonic()
        for due in range(round(seconds * RATE)):
            early = start + due / RATE - time.monotonic()
            if early > 0:
                await asyncio.sleep(early)
            elif time.monotonic() > start + seconds:
                break
            await self.send()
        return (self.sent - len(self.refused)) / (time.monotonic() - start)

    async def send(self) -> bool:
        """Send the next message; False if the layer refused it."""
        number = self.sent
        self.sent += 1
        try:
            async with asyncio.timeout(CALL_SECONDS):
                if number % 2:
                    await self._layer.send(self._channel, message(number))
                else:
                    await self._layer.group_send(GROUP, message(number))
        except Exception as error:  # noqa: BLE001  # any at all: it is counted and named
            self.refused.add(number)
            self.reasons.add(type(error).__name__)
            return False
        return True

    async def send_last(self) -> int | None:
        """Send until two in a row were taken, one each way; the number of the later one."""
        taken = 0
        ends = time.monotonic() + LAST_SECONDS
        while time.monotonic() < ends:
            if await self.send():
                taken += 1
                if taken == 2:
                    return self.sent - 1
            else:
                taken = 0
                await asyncio.sleep(AGAIN_SECONDS)
        return None


class Enduring:
    """A layer whose reader begins again when ``receive()`` raises.

    Attributes:
        reasons: the names of what was raised.
    """

    def __init__(self, layer: Receiving) -> None:
        self._layer = layer
        self.reasons: set[str] = set()

    async def receive(self, channel: str) -> dict[str, Any]:
        """The next message."""
        while True:
            try:
                return await self._layer.receive(channel)
            except Exception as error:  # noqa: BLE001  # any at all: it is named
                self.reasons.add(type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)


class Ear:
    """Notices arrivals, and the silences between them.

    Attributes:
        heard: how many messages came.
        longest: the longest silence in seconds, of those that were listened to.
    """

    def __init__(self) -> None:
        self.heard = 0
        self.longest = 0.0
        self._since: float | None = None
        self._news = asyncio.Event()

    def listen(self) -> None:
        """Silences count from now on."""
        self._since = time.monotonic()

    def stop(self, silent_at: float | None = None) -> None:
        """Silences count no more; one that lasts counts up to ``silent_at``, if given."""
        if self._since is not None and silent_at is not None:
            self.longest = max(self.longest, silent_at - self._since)
        self._since = None

    def hear(self, _message: dict[str, Any]) -> None:
        """A message came."""
        self.heard += 1
        if self._since is not None:
            now = time.monotonic()
            self.longest = max(self.longest, now - self._since)
            self._since = now
        self._news.set()

    async def until(self, enough: Callable[[], bool], patience: float) -> bool:
        """Listen until it is enough; False if before that nothing came for so many seconds."""

        async def hear_all() -> None:
            while not enough():
                self._news.clear()
                await self._news.wait()

        return await until_stalled(hear_all(), lambda: self.heard, patience)


async def faults(bench: Bench) -> Result:
    """Send through cut connections, then see over whole ones what has come of it."""
    cutting = await bench.hold(CutConnections(bench.case.address, CUT_SECONDS))
    bench.case = replace(bench.case, address=cutting.address)
    receiving, sending = bench.open(), bench.open()
    channel = await receiving.new_channel()
    await receiving.group_add(GROUP, channel)
    patience = 2.0 if bench.case.quick else STALL_SECONDS
    enduring, ear, sender = Enduring(receiving), Ear(), Sender(sending, channel)
    async with Readers() as readers:
        tally: Tally = readers.add(enduring, channel, ear.hear).tallies[0]
        notes = await readers.knock(partial(sending.group_send, GROUP))

        def all_came() -> bool:
            return not tally.losses(sender.sent, sender.refused).lost

        ear.listen()
        cutting.start()
        try:
            rate = await sender.pace(bench.seconds(SECONDS))
        finally:
            await asyncio.to_thread(cutting.stop)
        ended = time.monotonic()
        refused = len(sender.refused)
        whole = await ear.until(all_came, patience)
        ear.stop(None if whole else ended)

        # What comes twice or late has come by the time these two have.
        last = await sender.send_last()
        if last is None or not await ear.until(lambda: tally.next > last, patience):
            notes.append("nothing more went through when connections were whole again")
        await asyncio.sleep(STRAGGLER_SECONDS)
        losses = tally.losses(sender.sent, sender.refused)
    if cutting.accepted < 2 or not cutting.cuts:
        raise RuntimeError("No connection was cut: the layer does not go through the proxy.")
    notes += _raised("sends", sender.reasons) + _raised("receive()", enduring.reasons)
    return Result(
        {
            "lost": losses.lost,
            "twice": losses.doubled,
            "disordered": losses.disordered,
            "rate": rate,
            "refused": refused,
            "silence": ear.longest * 1e3,
        },
        losses,
        notes,
    )


def _raised(what: str, names: set[str]) -> list[str]:
    return [f"{what} raised {', '.join(sorted(names))}"] if names else []


def _not_applicable(row: Row) -> str | None:
    return None if row.server else "it has no connection to a server"


SCENARIO = Scenario(
    name="faults",
    title=f"connections killed every 100 ms for {SECONDS} s at {RATE:,} messages/s",
    figures=(
        Figure("lost", "lost", "", lower_is_better=True, every_run=True),
        Figure("twice", "twice", "", lower_is_better=True, every_run=True),
        Figure("disordered", "out of order", "", lower_is_better=True, every_run=True),
        Figure("rate", "sent", "/s", lower_is_better=False),
        Figure("refused", "refused", "", lower_is_better=True),
        Figure("silence", "longest silence", "ms", lower_is_better=True),
    ),
    run=faults,
    not_applicable=_not_applicable,
)
