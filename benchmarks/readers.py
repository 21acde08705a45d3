"""Tasks that read channels, check every message and count arrivals."""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from benchmarks.cases import Receiving
from benchmarks.measure import Arrivals
from benchmarks.tally import Losses, Tally

__all__ = ["Reader", "Readers", "message"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Seen = Callable[[dict[str, Any]], None]

CANCEL_SECONDS = 5
KNOCKS = 5
KNOCK_SECONDS = 3
KNOCKER = -1
"""The sender number of what is not measured and not judged."""

_TEXT = "The quick brown fox jumps over the lazy dog. " * 2


def message(number: int, sender: int = 0) -> dict[str, Any]:
    """A message of the size of a short chat message."""
    return {"type": "bench.message", "sender": sender, "number": number, "text": _TEXT}


class Reader:
    """One channel's arrivals, by sender."""

    __slots__ = ("tallies",)

    def __init__(self) -> None:
        self.tallies: defaultdict[int, Tally] = defaultdict(Tally)

    async def read(self, receive: Receive, arrivals: Arrivals) -> None:
        """Read for ever and note what comes. Its few lines are in every figure: keep them few."""
        tallies = self.tallies
        while True:
            message = await receive()
            tally = tallies[message["sender"]]
            number = message["number"]
            if number == tally.next:
                tally.next = number + 1
            elif not tally.take(number):
                continue
            arrivals.missing -= 1
            if not arrivals.missing:
                arrivals.complete()

    def losses(self, sent: dict[int, int]) -> Losses:
        """What went wrong, given how many messages each sender has sent."""
        found = (self.tallies[sender].losses(count) for sender, count in sent.items())
        return sum(found, Losses())


class Readers:
    """Owns a task for each channel that is read; a context manager."""

    def __init__(self) -> None:
        self.arrivals = Arrivals()
        self.readers: list[Reader] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        broken = self._broken()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CANCEL_SECONDS)
        if broken is not None and error is None:
            raise broken

    def add(self, layer: Receiving, channel: str, seen: Seen | None = None) -> Reader:
        """Read a channel from now on; ``seen`` is called with each message."""
        reader = Reader()
        self.readers.append(reader)
        receive: Receive = partial(layer.receive, channel)  # as channels' own consumers do it
        if seen is not None:
            receive = partial(_receive_and_tell, receive, seen)
        self._tasks.append(asyncio.create_task(reader.read(receive, self.arrivals)))
        return reader

    async def start(self) -> None:
        """Let every task reach its first ``receive()``."""
        for _ in range(3):
            await asyncio.sleep(0)

    async def knock(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> list[str]:
        """Send messages until one has reached every channel: then all have really begun to read.

        Several peers lose what is sent while a first ``receive()`` still connects.

        Returns:
            A note if any had to be sent again; these are not counted as lost.
        """
        await self.start()
        for tries in range(KNOCKS):
            self.arrivals.expect(len(self.readers))
            await send(message(tries, KNOCKER))
            first = {self.arrivals.each(), *self._tasks}
            await asyncio.wait(first, timeout=KNOCK_SECONDS, return_when=FIRST_COMPLETED)
            if self.arrivals.each().done():
                lost = f"{tries} message(s) lost before all readers had begun"
                return [lost] if tries else []
            broken = self._broken()
            if broken is not None:
                raise broken
        raise RuntimeError(f"Of {KNOCKS} messages none has reached all {len(self.readers)}.")

    def losses(self, sent: dict[int, int]) -> Losses:
        """What went wrong in all channels together; each was to get all messages."""
        return sum((reader.losses(sent) for reader in self.readers), Losses())

    def _broken(self) -> BaseException | None:
        """Why a reader ended, if one did: they should all still be waiting."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                return task.exception()
        return None


async def _receive_and_tell(receive: Receive, seen: Seen) -> dict[str, Any]:
    message = await receive()
    seen(message)
    return message
