"""Promise 4: a message is delivered at most once, and to one reader of a plain channel."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import strategies as st

from channel_layers.testing.law import law, over
from channel_layers.testing.process import RemoteLayer
from channel_layers.testing.protocols import AnyLayer
from channel_layers.testing.scene import Scene

Readable = AnyLayer | RemoteLayer


async def read_until(scene: Scene, readers: list[Readable], channel: str, count: int) -> list[int]:
    """Let readers compete until ``count`` messages have come, or time is up; the numbers."""
    found: list[int] = []
    complete = asyncio.Event()

    async def read(layer: Readable) -> None:
        while True:
            message = await layer.receive(channel)
            number = message["n"]
            assert isinstance(number, int)
            found.append(number)
            if len(found) >= count:
                complete.set()

    tasks = [asyncio.ensure_future(read(layer)) for layer in readers]
    try:
        async with asyncio.timeout(scene.patience):
            await complete.wait()
        if scene.under_test.distributed:
            await asyncio.wait(tasks, timeout=0.05)  # a second copy comes late, if it comes
    except TimeoutError:
        pass  # the caller sees what is missing
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


def each_once(found: list[int], count: int) -> None:
    """Assert that every number up to ``count`` is there, once."""
    times = Counter(found)
    missing = sorted(set(range(count)) - times.keys())
    again = sorted(number for number, n in times.items() if n > 1)
    assert not missing, f"of {count} messages {len(missing)} were lost: {missing[:10]}"
    assert not again, f"of {count} messages {len(again)} came more than once: {again[:10]}"


@pytest.mark.promise(4)
class TestAtMostOnce:
    @law()
    @over(count=st.integers(1, 60), readers=st.integers(1, 5), early=st.integers(0, 60))
    async def test_competing_readers_share_a_plain_channel(
        self, scene: Scene, count: int, readers: int, early: int
    ) -> None:
        """Each message of a plain channel goes to exactly one of the readers that compete."""
        sender, *others = scene.layers(3)
        competing: list[Readable] = [others[n % 2] for n in range(readers)]
        for number in range(min(early, count)):
            await sender.send("work", {"type": "t", "n": number})

        async def send_the_rest() -> None:
            for number in range(early, count):
                await sender.send("work", {"type": "t", "n": number})

        found, _ = await asyncio.gather(
            read_until(scene, competing, "work", count), send_the_rest()
        )
        each_once(found, count)

    @law()
    @over(count=st.integers(1, 60))
    async def test_what_is_sent_before_the_first_receive_waits(
        self, scene: Scene, count: int
    ) -> None:
        """Messages to a plain channel that nobody has read yet wait for the first reader."""
        sender, reader = scene.layers(2)
        for number in range(count):
            await sender.send("early", {"type": "t", "n": number})
        found = await scene.receive_all(reader, "early", count)
        assert [message["n"] for message in found] == list(range(count))
        assert await scene.drain(reader, "early") == []

    @law(needs=("groups",))
    @over(count=st.integers(1, 20), members=st.integers(1, 5))
    async def test_members_get_one_copy_each(self, scene: Scene, count: int, members: int) -> None:
        """Each member of a group gets each message once."""
        sender, *readers = scene.layers(3)
        channels: list[tuple[AnyLayer, str]] = []
        for number in range(members):
            layer = readers[number % 2]
            channels.append((layer, await layer.new_channel()))
            await layer.group_add("group", channels[-1][1])
        for number in range(count):
            await sender.group_send("group", {"type": "t", "n": number})
        for layer, channel in channels:
            found = await scene.drain(layer, channel, by=sender)
            assert [message["n"] for message in found] == list(range(count))

    @law(needs=("distributed",), effort=0.5)
    @over(read=st.integers(0, 10), unread=st.integers(0, 10))
    async def test_nothing_is_delivered_again_to_a_new_instance(
        self, scene: Scene, read: int, unread: int
    ) -> None:
        """An instance that starts later gets what was left, and nothing that others have read."""
        sender, first = scene.layers(2)
        mine = await first.new_channel()
        for number in range(read + unread):
            await sender.send("plain", {"type": "t", "n": number})
            await sender.send(mine, {"type": "t", "n": number})
        await scene.receive_all(first, "plain", read)
        await scene.receive_all(first, mine, read + unread)
        later = scene.layer()
        found = await scene.drain(later, "plain", by=sender)
        numbers = [message["n"] for message in found]
        assert not set(numbers) & set(range(read)), f"delivered again: {numbers}"


@pytest.mark.promise(4)
class TestAtMostOnceAcrossProcesses:
    @law(needs=("distributed",), effort=0.15)
    @over(count=st.integers(1, 80))
    async def test_readers_in_several_processes_compete(self, scene: Scene, count: int) -> None:
        """Each message of a plain channel goes to exactly one reader of all processes."""
        here = scene.layer()
        away: list[Readable] = [await scene.process() for _ in range(2)]

        async def send() -> None:
            for number in range(count):
                await here.send("work", {"type": "t", "n": number})

        found, _ = await asyncio.gather(read_until(scene, [here, *away], "work", count), send())
        each_once(found, count)

    @law(needs=("distributed",), effort=0.1)
    @over(read=st.integers(1, 10))
    async def test_a_process_that_starts_gets_nothing_again(self, scene: Scene, read: int) -> None:
        """What a process has read before it was killed is not delivered again to the next one."""
        here = scene.layer()
        first = await scene.process()
        for number in range(read):
            await here.send("work", {"type": "t", "n": number})
        for number in range(read):
            assert (await scene.receive(first, "work"))["n"] == number
        await first.kill()
        second = await scene.process()
        await here.send("work", {"type": "t", "n": "new"})
        assert (await scene.receive(second, "work"))["n"] == "new"
