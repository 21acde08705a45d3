"""Promise 7: capacity holds for each channel, group_send never raises, no drop is silent."""

from __future__ import annotations

import logging

import pytest
from channels.exceptions import ChannelFull
from hypothesis import strategies as st

from channel_layers.testing.law import law, over
from channel_layers.testing.protocols import AnyLayer
from channel_layers.testing.scene import Scene

CAPACITY = 4

sends_and_receives = st.lists(st.sampled_from(["send", "send", "receive"]), max_size=30)


class Records(logging.Handler):
    """Collects what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.records.append(record)

    def __enter__(self) -> Records:
        root = logging.getLogger()
        self._level = root.level
        root.setLevel(logging.INFO)
        root.addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._level)


async def like_a_bounded_queue(
    scene: Scene, layer: AnyLayer, channel: str, steps: list[str]
) -> None:
    """Assert that a channel takes exactly CAPACITY messages, whatever came and went before."""
    queue: list[int] = []
    for number, step in enumerate(steps):
        if step == "receive" and queue:
            assert (await scene.receive(layer, channel))["n"] == queue.pop(0)
        elif step == "send":
            try:
                await layer.send(channel, {"type": "t", "n": number})
            except ChannelFull:
                assert len(queue) >= CAPACITY, f"ChannelFull with {len(queue)} of {CAPACITY}"
            else:
                assert len(queue) < CAPACITY, f"it took {len(queue) + 1} messages of {CAPACITY}"
                queue.append(number)
    found = await scene.receive_all(layer, channel, len(queue))
    assert [message["n"] for message in found] == queue
    assert await scene.drain(layer, channel) == []


@pytest.mark.promise(7)
class TestCapacity:
    @law(config={"capacity": CAPACITY})
    @over(steps=sends_and_receives)
    async def test_a_plain_channel_is_a_bounded_queue(self, scene: Scene, steps: list[str]) -> None:
        """A plain channel takes as many unread messages as its capacity, then ChannelFull."""
        await like_a_bounded_queue(scene, scene.layer(), "plain", ["send"] * 6 + steps)

    @law(config={"capacity": CAPACITY})
    @over(steps=sends_and_receives)
    async def test_a_channel_of_this_process_is_a_bounded_queue(
        self, scene: Scene, steps: list[str]
    ) -> None:
        """So does a process channel when its own process sends to it."""
        layer = scene.layer()
        channel = await layer.new_channel()
        await like_a_bounded_queue(scene, layer, channel, ["send"] * 6 + steps)

    @law(config={"capacity": CAPACITY})
    @over(full=st.integers(0, 3))
    async def test_a_full_channel_does_not_fill_others(self, scene: Scene, full: int) -> None:
        """Capacity counts for each channel by itself, in one process too."""
        layer = scene.layer()
        channels = [await layer.new_channel() for _ in range(2)] + ["plain", "other.plain"]
        for number in range(CAPACITY):
            await layer.send(channels[full], {"type": "t", "n": number})
        for index, channel in enumerate(channels):
            if index != full:
                await layer.send(channel, {"type": "fits"})
                assert await scene.receive(layer, channel) == {"type": "fits"}

    @law(config={"capacity": 50, "channel_capacity": {"tiny.*": 2, "t*": 3}})
    async def test_channel_capacity_of_the_first_matching_glob(self, scene: Scene) -> None:
        """channel_capacity sets the capacity by glob, the first match counts."""
        layer = scene.layer()
        for channel, capacity in (("tiny.a", 2), ("tall", 3), ("other", 50)):
            for number in range(capacity):
                await layer.send(channel, {"type": "t", "n": number})
            with pytest.raises(ChannelFull):
                await layer.send(channel, {"type": "too many"})

    @law(needs=("groups",), config={"capacity": CAPACITY})
    @over(excess=st.integers(1, 20))
    async def test_group_send_drops_only_for_the_full_member(
        self, scene: Scene, excess: int
    ) -> None:
        """group_send() never raises ChannelFull; only the full member loses, others nothing."""
        sender, reader = scene.layers(2)
        stalled, lively = await reader.new_channel(), await reader.new_channel()
        await reader.group_add("group", stalled)
        await reader.group_add("group", lively)
        for number in range(CAPACITY + excess):
            await sender.group_send("group", {"type": "t", "n": number})
            assert (await scene.receive(reader, lively))["n"] == number
        found = await scene.receive_all(reader, stalled, CAPACITY)
        numbers = [message["n"] for message in found]
        assert numbers == sorted(set(range(CAPACITY + excess)) & set(numbers)), numbers
        assert await scene.drain(reader, stalled, by=sender) == [], "it held more than its capacity"

    @law(needs=("groups",), config={"capacity": CAPACITY, "overflow": "drop_new"})
    @over(excess=st.integers(1, 20))
    async def test_drop_new_keeps_the_oldest(self, scene: Scene, excess: int) -> None:
        """With overflow="drop_new", the default, a full member loses the newest messages."""
        sender, reader = scene.layers(2)
        stalled = await reader.new_channel()
        await reader.group_add("group", stalled)
        for number in range(CAPACITY + excess):
            await sender.group_send("group", {"type": "t", "n": number})
        await _pass_through(scene, sender, reader)
        found = await scene.receive_all(reader, stalled, CAPACITY)
        assert [message["n"] for message in found] == list(range(CAPACITY))

    @law(needs=("groups",), config={"capacity": CAPACITY, "overflow": "drop_old"})
    @over(excess=st.integers(1, 20))
    async def test_drop_old_keeps_the_newest(self, scene: Scene, excess: int) -> None:
        """With overflow="drop_old" a full member loses the oldest instead."""
        sender, reader = scene.layers(2)
        stalled = await reader.new_channel()
        await reader.group_add("group", stalled)
        for number in range(CAPACITY + excess):
            await sender.group_send("group", {"type": "t", "n": number})
        await _pass_through(scene, sender, reader)
        found = await scene.receive_all(reader, stalled, CAPACITY)
        assert [message["n"] for message in found] == list(range(excess, CAPACITY + excess))

    @law(config={"capacity": CAPACITY}, needs=("send_many",))
    @over(fitting=st.integers(0, CAPACITY), excess=st.integers(1, 9))
    async def test_send_many_sends_what_fits(self, scene: Scene, fitting: int, excess: int) -> None:
        """send_many() sends the messages that fit, then raises ChannelFull for the others."""
        layer = scene.layer()
        full = await layer.new_channel()
        count = CAPACITY + excess
        messages: list[tuple[str, dict[str, object]]] = [
            (full, {"type": "t", "n": number}) for number in range(count)
        ]
        messages[fitting:fitting] = [("elsewhere", {"type": "t", "n": "fits"})]
        with pytest.raises(ChannelFull):
            await layer.send_many(messages)
        found = await scene.receive_all(layer, full, CAPACITY)
        assert [message["n"] for message in found] == list(range(CAPACITY))
        assert (await scene.receive(layer, "elsewhere"))["n"] == "fits"


@pytest.mark.promise(7)
class TestDropsAreTold:
    @law(needs=("groups", "stats"), config={"capacity": CAPACITY})
    @over(excess=st.integers(1, 30))
    async def test_drops_are_counted(self, scene: Scene, excess: int) -> None:
        """stats()["dropped"]["capacity"] counts every message dropped for a full channel."""
        layer = scene.layer()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        for _ in range(CAPACITY + excess):
            await layer.group_send("group", {"type": "t"})
        await scene.receive_all(layer, channel, CAPACITY)
        assert await scene.drain(layer, channel) == []
        dropped = layer.stats()["dropped"]
        assert isinstance(dropped, dict)
        assert dropped["capacity"] == excess

    @law(needs=("groups",), config={"capacity": CAPACITY})
    async def test_drops_are_logged_at_a_limited_rate(self, scene: Scene) -> None:
        """Two hundred drops in a moment make at least one line in the log, and few."""
        layer = scene.layer()
        with Records() as log:
            channel = await layer.new_channel()
            await layer.group_add("group", channel)
            for _ in range(CAPACITY + 200):
                await layer.group_send("group", {"type": "t"})
            await scene.receive_all(layer, channel, CAPACITY)
            assert await scene.drain(layer, channel) == [], "it held more than its capacity"
        assert log.records, "200 messages were dropped and nothing was logged"
        assert len(log.records) <= 10, f"200 drops made {len(log.records)} lines"


async def _pass_through(scene: Scene, sender: AnyLayer, reader: AnyLayer) -> None:
    # When this message has come, those that were sent to the other group before have come too.
    fence = await reader.new_channel()
    await reader.group_add("fences", fence)
    await sender.group_send("fences", {"type": "fence"})
    await scene.receive(reader, fence)
