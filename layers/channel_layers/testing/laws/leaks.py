"""Promise 13: connections that come and go leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import strategies as st

from channel_layers.testing.law import EXPIRY, law, not_applicable, over
from channel_layers.testing.protocols import AnyLayer
from channel_layers.testing.scene import Scene

FIGURES = ("channels", "groups", "members", "waiting")
FEW, MANY = 50, 1000
ENDS = ("discard", "vanish", "close")


async def connection(layer: AnyLayer, number: int, end: str) -> None:
    """A consumer's life: join groups, read, leave something unread, and go."""
    channel = await layer.new_channel()
    own_group = f"user.{number}"
    await layer.group_add("everybody", channel)
    await layer.group_add(own_group, channel)
    reader = asyncio.ensure_future(layer.receive(channel))
    await layer.group_send(own_group, {"type": "read"})
    await reader
    reader = asyncio.ensure_future(layer.receive(channel))
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    await layer.send(channel, {"type": "unread"})
    if end == "discard":
        await layer.group_discard("everybody", channel)
        await layer.group_discard(own_group, channel)
    elif end == "close":
        await layer.close_channel(channel)


async def churn(layer: AnyLayer, count: int, end: str) -> None:
    """Many connections, some at a time."""
    for start in range(0, count, 10):
        await asyncio.gather(
            *(connection(layer, number, end) for number in range(start, min(start + 10, count)))
        )


async def settle(scene: Scene, layer: AnyLayer) -> None:
    """Let everything expire, with a little traffic, on which many layers clean up."""
    for _ in range(5):
        await asyncio.sleep(0.5 * scene.under_test.expiry)
        channel = await layer.new_channel()
        await layer.group_send("everybody", {"type": "t"})
        await layer.send(channel, {"type": "t"})
        await scene.receive(layer, channel)
        del channel


def figures(layer: AnyLayer) -> Mapping[str, object]:
    """What stats() says is there."""
    stats = layer.stats()
    return {name: stats[name] for name in FIGURES}


def objects() -> int:
    """How many objects this process holds."""
    for _ in range(3):
        gc.collect()
    return len(gc.get_objects())


def open_files() -> int | None:
    """How many files and sockets this process has open, where the system tells."""
    for path in (Path("/proc/self/fd"), Path("/dev/fd")):
        if path.exists():
            return len(list(path.iterdir()))
    return None


@pytest.mark.promise(13)
class TestLeaks:
    @law(needs=("stats", "close_channel"))
    @over(count=st.integers(1, 300))
    async def test_closed_channels_leave_nothing(self, scene: Scene, count: int) -> None:
        """After connections that closed their channels stats() shows what it showed before."""
        layer = scene.layer()
        before = figures(layer)
        await churn(layer, count, "close")
        assert figures(layer) == before

    @law(needs=("stats",), config={"expiry": EXPIRY, "group_expiry": EXPIRY}, effort=0.1)
    @over(end=st.sampled_from(["discard", "vanish"]))
    async def test_vanished_channels_leave_nothing(self, scene: Scene, end: str) -> None:
        """After connections that just went away stats() shows, in time, what it showed before."""
        layer = scene.layer()
        before = figures(layer)
        await churn(layer, FEW, end)
        ends = time.monotonic() + scene.patience + 3 * scene.under_test.expiry
        while (after := figures(layer)) != before:
            assert time.monotonic() < ends, f"stats() was {before}, it stays {after}"
            await asyncio.sleep(0.1)

    @law(config={"expiry": EXPIRY, "group_expiry": EXPIRY})
    async def test_memory_does_not_grow_with_connections(self, scene: Scene) -> None:
        """A thousand connections that left their groups leave no objects behind in this process."""
        await self._memory_does_not_grow(scene, "discard")

    @law(config={"expiry": EXPIRY, "group_expiry": EXPIRY})
    async def test_memory_does_not_grow_with_vanished_connections(self, scene: Scene) -> None:
        """A thousand connections that went without leaving their groups leave nothing either."""
        await self._memory_does_not_grow(scene, "vanish")

    async def _memory_does_not_grow(self, scene: Scene, end: str) -> None:
        layer = scene.layer()
        await churn(layer, FEW, end)
        await settle(scene, layer)
        before = objects()
        await churn(layer, MANY, end)
        await settle(scene, layer)
        left = objects() - before
        assert left < MANY / 2, f"{MANY} connections left {left} objects"

    @law(config={"expiry": EXPIRY})
    async def test_memory_does_not_grow_with_plain_channels(self, scene: Scene) -> None:
        """Plain channels that were used once leave nothing behind in this process."""
        layer = scene.layer()

        async def use(count: int) -> None:
            for number in range(count):
                await layer.send(f"job.{number}", {"type": "t"})
                await scene.receive(layer, f"job.{number}")
                await layer.send(f"job.{number}", {"type": "never read"})

        await use(FEW)
        await settle(scene, layer)
        before = objects()
        await use(MANY)
        await settle(scene, layer)
        left = objects() - before
        assert left < MANY / 2, f"{MANY} plain channels left {left} objects"

    @law()
    async def test_a_closed_layer_leaves_no_task_thread_or_connection(self, scene: Scene) -> None:
        """Instances that were used and closed leave no task, thread or connection."""
        if not scene.under_test.closes:
            not_applicable("no close()")

        async def use() -> None:
            layer = scene.under_test.make(**scene.config)
            await churn(layer, 5, "discard")
            await scene.close(layer)

        def remains() -> tuple[int, int, int]:
            gc.collect()
            return len(asyncio.all_tasks()), threading.active_count(), open_files() or 0

        await use()
        before = remains()
        for _ in range(5):
            await use()
        ends = time.monotonic() + scene.patience
        while True:
            after = remains()
            if all(now <= then for now, then in zip(after, before, strict=True)):
                break
            assert time.monotonic() < ends, (
                f"tasks, threads, open files: {before} after one instance, {after} after six"
            )
            await asyncio.sleep(0.05)

    @law(needs=("close_channel",))
    @over(readers=st.integers(1, 3), whole=st.booleans())
    async def test_closing_ends_what_waits(self, scene: Scene, readers: int, whole: bool) -> None:
        """A receive() that waits when its channel or its layer is closed ends with an error."""
        layer = scene.under_test.make(**scene.config)
        channel = await layer.new_channel()
        tasks = [asyncio.ensure_future(layer.receive(channel)) for _ in range(readers)]
        await asyncio.sleep(0)
        if whole:
            await layer.close()
        else:
            await layer.close_channel(channel)
        done, waiting = await asyncio.wait(tasks, timeout=scene.patience)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await layer.close()
        assert not waiting, f"{len(waiting)} of {readers} readers wait for ever"
        assert all(type(task.exception()).__name__ == "LayerClosed" for task in done)
