"""Promise 9: cancelling ``receive()`` loses nothing and breaks nothing; idle, it waits for ever."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import strategies as st

from channel_layers.testing.law import law, over
from channel_layers.testing.protocols import AnyLayer, Message
from channel_layers.testing.scene import Scene

IDLE_SECONDS = 6.5
"""Longer than the five seconds after which clients of brokers give up by default."""

steps = st.lists(
    st.tuples(
        st.integers(0, 3),  # messages sent while the reader waits
        st.integers(0, 6),  # turns of the event loop until it is cancelled
        st.sampled_from([0.0, 0.0, 0.0005, 0.003]),  # and seconds
    ),
    min_size=1,
    max_size=25,
)


async def cancelled(task: asyncio.Task[Message]) -> Message | None:
    """Cancel a reader; the message if it had one by then."""
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None


async def read_with_cancels(
    scene: Scene, layer: AnyLayer, channel: str, plan: list[tuple[int, int, float]]
) -> tuple[list[object], int]:
    """Cancel a reader again and again; the numbers that came, and how many were sent."""
    found: list[object] = []
    sent = 0
    for count, turns, seconds in plan:
        task = asyncio.ensure_future(layer.receive(channel))
        for turn in range(max(turns, count)):
            if turn < count:
                await layer.send(channel, {"type": "t", "n": sent})
                sent += 1
            await asyncio.sleep(0)
        if seconds:
            await asyncio.sleep(seconds)
        message = await cancelled(task)
        if message is not None:
            found.append(message["n"])
    found += [message["n"] for message in await scene.drain(layer, channel)]
    return found, sent


@pytest.mark.promise(9)
class TestCancelling:
    @law(effort=2)
    @over(plan=steps, plain=st.booleans())
    async def test_cancelling_receive_loses_nothing(
        self, scene: Scene, plan: list[tuple[int, int, float]], plain: bool
    ) -> None:
        """However often a reader is cancelled, all messages come, once and in order."""
        layer = scene.layer()
        channel = "plain" if plain else await layer.new_channel()
        found, sent = await read_with_cancels(scene, layer, channel, plan)
        assert found == list(range(sent))

    @law(effort=0.5)
    @over(plans=st.lists(steps, min_size=2, max_size=5))
    async def test_cancelling_many_channels_loses_nothing(
        self, scene: Scene, plans: list[list[tuple[int, int, float]]]
    ) -> None:
        """Readers of several channels of one process, cancelled at once, do not disturb others."""
        layer = scene.layer()
        channels = [await layer.new_channel() for _ in plans]
        results = await asyncio.gather(
            *(
                read_with_cancels(scene, layer, channel, plan)
                for channel, plan in zip(channels, plans, strict=True)
            )
        )
        for found, sent in results:
            assert found == list(range(sent))

    @law()
    @over(plain=st.booleans(), turns=st.integers(0, 4))
    async def test_a_cancelled_reader_does_not_orphan_another(
        self, scene: Scene, plain: bool, turns: int
    ) -> None:
        """When one of two readers of a channel is cancelled, the other gets what comes."""
        layer = scene.layer()
        channel = "plain" if plain else await layer.new_channel()
        first, second = (asyncio.ensure_future(layer.receive(channel)) for _ in range(2))
        for _ in range(turns):
            await asyncio.sleep(0)
        assert await cancelled(first) is None
        await layer.send(channel, {"type": "t"})
        try:
            async with asyncio.timeout(scene.patience):
                assert await second == {"type": "t"}
        except TimeoutError as error:
            raise AssertionError("the reader that was not cancelled got nothing") from error

    @law()
    @over(readers=st.integers(2, 4), plain=st.booleans())
    async def test_two_readers_share_all_messages(
        self, scene: Scene, readers: int, plain: bool
    ) -> None:
        """Several readers of one channel in one process each get messages, and none is stuck."""
        layer = scene.layer()
        channel = "plain" if plain else await layer.new_channel()
        tasks = [asyncio.ensure_future(layer.receive(channel)) for _ in range(readers)]
        await asyncio.sleep(0)
        for number in range(readers):
            await layer.send(channel, {"type": "t", "n": number})
            await asyncio.sleep(0)
        done, waiting = await asyncio.wait(tasks, timeout=scene.patience)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not waiting, f"{len(waiting)} of {readers} readers got nothing"
        assert sorted(task.result()["n"] for task in done) == list(range(readers))  # type: ignore[type-var]
        await layer.send(channel, {"type": "after"})
        assert await scene.receive(layer, channel) == {"type": "after"}

    @law()
    async def test_a_reader_cancelled_before_it_ran(self, scene: Scene) -> None:
        """A receive() that is cancelled before it ever ran takes nothing."""
        layer = scene.layer()
        for channel in ("plain", await layer.new_channel()):
            await layer.send(channel, {"type": "t"})
            assert await cancelled(asyncio.ensure_future(layer.receive(channel))) is None
            assert await scene.receive(layer, channel) == {"type": "t"}

    @law()
    async def test_an_idle_receive_waits_for_ever(self, scene: Scene) -> None:
        """receive() on a quiet channel waits (here 6.5 seconds), then gets what comes."""
        sender, reader = scene.layers(2)
        channels = ["plain", await reader.new_channel()]
        tasks = [asyncio.ensure_future(reader.receive(channel)) for channel in channels]
        done, waiting = await asyncio.wait(tasks, timeout=IDLE_SECONDS)
        problems = [repr(task.exception() or task.result()) for task in done]
        if not problems:
            for channel in channels:
                await sender.send(channel, {"type": "t", "channel": channel})
            _, waiting = await asyncio.wait(waiting, timeout=scene.patience)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not problems, f"after less than {IDLE_SECONDS} idle seconds: {problems}"
        assert not waiting, "what was sent after the idle time did not arrive"
