"""What the tests of faults share: readers and senders that go on whatever happens."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from channel_layers.base import ChannelLayer
from channel_layers.exceptions import LayerUnavailable
from channel_layers.signals import layer_gap

__all__ = ["Gaps", "Reading", "Sending", "numbered", "until"]

PATIENCE = 15.0
"""Seconds after which a test that waits for something fails."""

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


def numbered(number: int) -> Message:
    """A message."""
    return {"type": "t", "n": number}


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask a server again and again until something is so."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not await condition():  # noqa: ASYNC110  # a server has no event for it
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE:g} s: {what}") from None


class Reading:
    """Reads a channel all the time; ``receive`` must not raise.

    Use it as an asynchronous context manager.
    """

    def __init__(self, layer: ChannelLayer, channel: str) -> None:
        self.layer = layer
        self.channel = channel
        self.numbers: list[int] = []
        self.messages: list[Message] = []
        self._came = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def _read(self) -> None:
        try:
            while True:
                message = await self.layer.receive(self.channel)
                async with self._came:
                    self.messages.append(message)
                    self.numbers.append(message["n"])
                    self._came.notify_all()
        finally:
            async with self._came:
                self._came.notify_all()

    async def until(self, condition: Callable[[list[int]], bool], what: str) -> None:
        """Wait until the numbers that came are as they should be."""
        try:
            async with asyncio.timeout(PATIENCE), self._came:
                while not condition(self.numbers):
                    self.require_alive()
                    await self._came.wait()
        except TimeoutError:
            last = self.numbers[-20:]
            raise AssertionError(
                f"{self.channel}: not {what}; {len(self.numbers)} came, lately {last}"
            ) from None

    async def until_came(self, number: int) -> None:
        """Wait for one message."""
        await self.until(lambda numbers: number in numbers, f"{number} came")

    def require_alive(self) -> None:
        """Assert that ``receive`` has not raised."""
        assert self._task is not None
        if self._task.done():
            raise AssertionError("receive() ended") from self._task.exception()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Sending:
    """Sends numbered messages one after the other, each as soon as the one before is confirmed.

    Use it as an asynchronous context manager; it stops at the end.
    """

    def __init__(self, *sends: Send) -> None:
        self.accepted: list[int] = []
        """Numbers whose send returned."""
        self.refused: list[int] = []
        """Numbers whose send raised LayerUnavailable."""
        self._sends = itertools.cycle(sends)
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Condition()

    async def _send_all(self) -> None:
        for number in itertools.count():
            if self._stopping:
                return
            try:
                await next(self._sends)(numbered(number))
            except LayerUnavailable:
                self.refused.append(number)
            else:
                self.accepted.append(number)
            async with self._moved:
                self._moved.notify_all()

    async def more(self, count: int) -> None:
        """Wait until so many more were accepted."""
        goal = len(self.accepted) + count
        async with asyncio.timeout(PATIENCE), self._moved:
            await self._moved.wait_for(lambda: len(self.accepted) >= goal)

    async def stop(self) -> None:
        """Send no more; what is under way is awaited."""
        self._stopping = True
        assert self._task is not None
        async with asyncio.timeout(PATIENCE):
            await self._task

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._send_all())
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()


class Gaps:
    """Hears ``layer_gap`` of every layer of this process."""

    def __init__(self) -> None:
        self.heard: list[tuple[ChannelLayer, tuple[str, ...]]] = []

    def _hear(
        self, *, layer: ChannelLayer, groups: tuple[str, ...], reason: str, **_: object
    ) -> None:
        assert reason
        self.heard.append((layer, groups))

    def of(self, layer: ChannelLayer) -> list[tuple[str, ...]]:
        """The groups of each signal of a layer."""
        return [groups for sender, groups in self.heard if sender is layer]

    async def until(self, *layers: ChannelLayer) -> None:
        """Wait until each of them has told of a gap."""

        async def told() -> bool:
            return all(self.of(layer) for layer in layers)

        await until(told, "every layer tells of a gap")

    def __enter__(self) -> Self:
        layer_gap.connect(self._hear)
        return self

    def __exit__(self, *_error: object) -> None:
        layer_gap.disconnect(self._hear)


@asynccontextmanager
async def repeatedly(action: Callable[[], object], every: float) -> AsyncIterator[None]:
    """Do something that blocks again and again, in a thread."""

    async def do() -> None:
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(action)

    task = asyncio.create_task(do())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
