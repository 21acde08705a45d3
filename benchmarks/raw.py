"""The least that delivering to waiting tasks can cost: the yardstick of ``fanout``."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Any, Self

from benchmarks.measure import Arrivals
from benchmarks.readers import Reader, message

__all__ = ["RawFanout"]


class RawFanout:
    """A loop that appends one message to the deques of many tasks and wakes them.

    No names, no copies, no expiry, no capacity, no layer. Its readers check each message just as
    those of the layers do, because that is part of what both are measured with.
    """

    def __init__(self, members: int) -> None:
        self._members = members
        self._arrivals = Arrivals()
        self._queues: list[deque[dict[str, Any]]] = [deque() for _ in range(members)]
        self._waiters: list[asyncio.Future[None] | None] = [None] * members
        self._tasks: list[asyncio.Task[None]] = []
        self._sent = 0

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._read(index)) for index in range(self._members)]
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def one_round(self) -> None:
        """Send one message to all and wait until all have read it."""
        self._arrivals.expect(self._members)
        body = message(self._sent)
        self._sent += 1
        for queue, waiter in zip(self._queues, self._waiters, strict=True):
            queue.append(body)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        if not await self._arrivals.all():
            raise RuntimeError("The bare loop lost a message.")

    async def _read(self, index: int) -> None:
        queue, waiters = self._queues[index], self._waiters
        create_future = asyncio.get_running_loop().create_future

        async def receive() -> dict[str, Any]:
            while not queue:
                waiter = waiters[index] = create_future()
                await waiter
            return queue.popleft()

        await Reader().read(receive, self._arrivals)
