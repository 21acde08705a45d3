"""Clocks, quantiles and memory."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

__all__ = ["STALL_SECONDS", "Arrivals", "quantile", "resident_bytes", "settle", "until_stalled"]

STALL_SECONDS = 5.0
"""Nothing more for so long: what is still missing is lost."""


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of the values lie, interpolated.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("There are no values to take a quantile of.")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


class Arrivals:
    """Counts down the messages that a part of a scenario waits for.

    A reader lowers :attr:`missing` itself, and calls :meth:`complete` when it comes to 0: a call
    for each message would be a tenth of what the fastest layer takes to deliver it.
    """

    __slots__ = ("_asked", "_done", "completed", "missing")

    def __init__(self) -> None:
        self.missing = 0
        self.completed = 0.0
        """``time.monotonic()``, which processes share, when all had arrived."""
        self._asked = 0
        self._done: asyncio.Future[None] | None = None

    @property
    def total(self) -> int:
        """How many have arrived since the beginning."""
        return self._asked - self.missing

    def expect(self, count: int) -> None:
        """Wait for so many from now on."""
        self._asked = self.total + count
        self.missing = count
        self._done = asyncio.get_running_loop().create_future()

    def complete(self) -> None:
        """The last of them has arrived."""
        self.completed = time.monotonic()
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def all(self) -> bool:
        """Wait until all have arrived; False if for a while nothing more came."""
        return await until_stalled(self.each(), lambda: self.total)

    def each(self) -> asyncio.Future[None]:
        """What :meth:`all` waits for, without its care for what never comes.

        For many short waits, which are to be put into one :func:`until_stalled`.
        """
        if self._done is None:
            raise RuntimeError("expect() comes first.")
        return self._done


async def until_stalled(
    done: Awaitable[object], progress: Callable[[], int], patience: float | None = None
) -> bool:
    """Wait for ``done``; give up, cancel it and return False when ``progress`` stands still.

    Args:
        done: what to wait for.
        progress: a number that grows.
        patience: seconds without progress; :data:`STALL_SECONDS` by default.
    """
    future = asyncio.ensure_future(done)
    seen = -1
    while not future.done():
        if progress() == seen:
            future.cancel()
            await asyncio.wait((future,))
            return False
        seen = progress()
        await asyncio.wait((future,), timeout=patience or STALL_SECONDS)
    future.result()
    return True


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM; None where only Linux's /proc would tell."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def settle() -> None:
    """Let everything that is due run, and free what nobody holds."""
    for _ in range(20):
        await asyncio.sleep(0)
    gc.collect()
