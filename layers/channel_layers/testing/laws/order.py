"""Promise 5: one sender's messages keep their order; a group has one order for all members."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import strategies as st

from channel_layers.testing.law import law, over
from channel_layers.testing.process import RemoteLayer
from channel_layers.testing.protocols import AnyLayer, Message
from channel_layers.testing.scene import Scene

Readable = AnyLayer | RemoteLayer
Ways = list[str]

ways_to_send = st.lists(st.sampled_from(["send", "group_send"]), min_size=1, max_size=40)


async def send_each_way(layer: Readable, ways: Ways, channel: str, sender: int = 0) -> None:
    """Send numbered messages to a channel and to the group it is in."""
    for number, way in enumerate(ways):
        message: Message = {"type": "t", "sender": sender, "n": number}
        if way == "send":
            await layer.send(channel, message)
        else:
            await layer.group_send("group", message)


async def shouts(layer: Readable, sender: int, count: int) -> None:
    """Send numbered messages to the group."""
    for number in range(count):
        await layer.group_send("group", {"type": "t", "sender": sender, "n": number})


async def heard(layer: Readable, channel: str, count: int) -> list[tuple[object, object]]:
    """The sender and the number of the next messages."""
    found = [await layer.receive(channel) for _ in range(count)]
    return [(message["sender"], message["n"]) for message in found]


async def common_order(
    readers: list[tuple[Readable, str]], senders: list[tuple[Readable, int]]
) -> None:
    """Assert that all readers see one order while all senders send at once."""
    counts = [count for _, count in senders]
    async with asyncio.TaskGroup() as tasks:
        hearing = [
            tasks.create_task(heard(layer, channel, sum(counts))) for layer, channel in readers
        ]
        for number, (layer, count) in enumerate(senders):
            tasks.create_task(shouts(layer, number, count))
    first = hearing[0].result()
    for one in hearing:
        in_order(one.result(), counts)
        assert one.result() == first, "two members saw different orders"


def in_order(found: list[tuple[object, object]], counts: list[int]) -> None:
    """Assert that each sender's messages are all there and in their order."""
    for sender, count in enumerate(counts):
        numbers = [n for who, n in found if who == sender]
        assert numbers == list(range(count)), f"sender {sender}'s came as {numbers}"


@pytest.mark.promise(5)
class TestOrder:
    @law(needs=("groups",))
    @over(ways=ways_to_send)
    async def test_send_and_group_send_keep_their_order(self, scene: Scene, ways: Ways) -> None:
        """What one sender sends to a channel and to its group arrives in the order it was sent."""
        sender, reader = scene.layers(2)
        channel = await reader.new_channel()
        await reader.group_add("group", channel)
        await send_each_way(sender, ways, channel)
        found = await scene.receive_all(reader, channel, len(ways))
        in_order([(m["sender"], m["n"]) for m in found], [len(ways)])

    @law()
    @over(count=st.integers(1, 80), pauses=st.lists(st.booleans(), max_size=80))
    async def test_a_plain_channel_is_a_queue(
        self, scene: Scene, count: int, pauses: list[bool]
    ) -> None:
        """One reader of a plain channel sees one sender's messages in order, read late or early."""
        sender, reader = scene.layers(2)
        found: list[object] = []
        for number in range(count):
            await sender.send("plain", {"type": "t", "n": number})
            if number < len(pauses) and pauses[number]:
                found.append((await scene.receive(reader, "plain"))["n"])
        while len(found) < count:
            found.append((await scene.receive(reader, "plain"))["n"])
        assert found == list(range(count))

    @law(needs=("groups",))
    @over(counts=st.lists(st.integers(1, 15), min_size=1, max_size=4), members=st.integers(2, 5))
    async def test_members_see_one_common_order(
        self, scene: Scene, counts: list[int], members: int
    ) -> None:
        """All members see a group's messages in one order, whoever sends at the same time."""
        layers = scene.layers(3)
        channels: list[tuple[Readable, str]] = []
        for number in range(members):
            layer = layers[number % 3]
            channels.append((layer, await layer.new_channel()))
            await layer.group_add("group", channels[-1][1])
        async with asyncio.timeout(2 * scene.patience):
            await common_order(channels, [(layers[n % 3], count) for n, count in enumerate(counts)])

    @law(needs=("send_many",))
    @over(targets=st.lists(st.sampled_from("abc"), min_size=1, max_size=60))
    async def test_send_many_keeps_its_order(self, scene: Scene, targets: list[str]) -> None:
        """send_many() delivers as send() one after the other would, also between two sends."""
        sender, reader = scene.layers(2)
        for target in "abc":
            await sender.send(target, {"type": "t", "n": "first"})
        await sender.send_many(
            [(target, {"type": "t", "n": number}) for number, target in enumerate(targets)]
        )
        for target in "abc":
            await sender.send(target, {"type": "t", "n": "last"})
            mine = [number for number, other in enumerate(targets) if other == target]
            found = await scene.receive_all(reader, target, len(mine) + 2)
            assert [message["n"] for message in found] == ["first", *mine, "last"]


@pytest.mark.promise(5)
class TestOrderAcrossProcesses:
    @law(needs=("distributed", "groups"), effort=0.15)
    @over(counts=st.lists(st.integers(1, 15), min_size=3, max_size=3))
    async def test_all_processes_see_one_common_order(
        self, scene: Scene, counts: list[int]
    ) -> None:
        """Members in several processes see a group's messages in one order, whoever sends them."""
        layers: list[Readable] = [scene.layer(), await scene.process(), await scene.process()]
        channels = [await layer.new_channel() for layer in layers]
        for layer, channel in zip(layers, channels, strict=True):
            await layer.group_add("group", channel)
        async with asyncio.timeout(2 * scene.patience):
            await common_order(
                list(zip(layers, channels, strict=True)), list(zip(layers, counts, strict=True))
            )

    @law(needs=("distributed", "groups"), effort=0.15)
    @over(ways=ways_to_send, skew=st.sampled_from([-3600, -1, 1, 3600]))
    async def test_a_wrong_clock_changes_no_order(
        self, scene: Scene, ways: Ways, skew: int
    ) -> None:
        """The order is that of sending even if the senders' clocks disagree."""
        reader, other = scene.layer(), await scene.process(clock_skew=skew)
        channel = await reader.new_channel()
        await reader.group_add("group", channel)
        for number, way in enumerate(ways):
            layer: Readable = other if number % 2 else reader
            message: Message = {"type": "t", "n": number}
            if way == "send":
                await layer.send(channel, message)
            else:
                await layer.group_send("group", message)
        found = await scene.receive_all(reader, channel, len(ways))
        assert [message["n"] for message in found] == list(range(len(ways)))
