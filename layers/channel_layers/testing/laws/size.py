"""Promise 3: big messages pass, and above the limit they are refused."""

from __future__ import annotations

import pytest
from channels.exceptions import MessageTooLarge
from hypothesis import strategies as st

from channel_layers.testing.law import always, law, over
from channel_layers.testing.laws.types import refused
from channel_layers.testing.protocols import Message
from channel_layers.testing.scene import Scene

KIB, MIB = 2**10, 2**20
LIMIT = 64 * KIB


def filled(size: int, *, text: bool) -> Message:
    """A message of about ``size`` bytes, each part of it different from the others."""
    numbers = b"".join(b"%08x" % n for n in range(size // 8 + 1))[:size]
    return {"type": "t", "data": numbers.decode() if text else numbers}


@pytest.mark.promise(3)
class TestSize:
    @law(effort=0.3)
    @over(
        size=st.integers(0, 3 * MIB)
        | st.sampled_from([4095, 4096, 7999, 8000, 8001, 65535, 65536, MIB - 1, MIB, MIB + 1]),
        text=st.booleans(),
    )
    async def test_a_big_message_comes_through(self, scene: Scene, size: int, text: bool) -> None:
        """1 MiB and more passes through send() and group_send(), whole."""
        message = filled(size, text=text)
        sender, reader = scene.layers(2)
        channel = await reader.new_channel()
        await sender.send(channel, message)
        assert await scene.receive(reader, channel) == message, "send() spoilt it"
        if "groups" in sender.extensions:
            await reader.group_add("group", channel)
            await sender.group_send("group", message)
            assert await scene.receive(reader, channel) == message, "group_send() spoilt it"

    @law(effort=0.1)
    @over(sizes=st.lists(st.sampled_from([10, 9000, 100_000, MIB]), min_size=2, max_size=6))
    @always([{"sizes": [MIB, 10, 9000, 10]}])
    async def test_big_and_small_messages_keep_their_order(
        self, scene: Scene, sizes: list[int]
    ) -> None:
        """A small message does not overtake a big one."""
        sender, reader = scene.layers(2)
        channel = await reader.new_channel()
        for number, size in enumerate(sizes):
            await sender.send(channel, {**filled(size, text=False), "number": number})
        found = await scene.receive_all(reader, channel, len(sizes))
        assert [message["number"] for message in found] == list(range(len(sizes)))

    @law(config={"max_message_size": LIMIT}, effort=0.5)
    @over(excess=st.integers(1, 2 * MIB), group=st.booleans())
    async def test_above_the_limit_is_refused(self, scene: Scene, excess: int, group: bool) -> None:
        """Above max_message_size both verbs raise MessageTooLarge, and send nothing."""
        await refused(scene, filled(LIMIT + excess, text=False), MessageTooLarge, group=group)

    @law(config={"max_message_size": LIMIT}, effort=0.5)
    @over(room=st.integers(100, LIMIT))
    @always([{"room": 100}])
    async def test_below_the_limit_passes(self, scene: Scene, room: int) -> None:
        """What is below max_message_size is not refused."""
        message = filled(LIMIT - room, text=False)
        layer = scene.layer()
        channel = await layer.new_channel()
        await layer.send(channel, message)
        assert await scene.receive(layer, channel) == message

    @law()
    async def test_the_layer_names_its_exceptions(self, scene: Scene) -> None:
        """The layer has the attributes ChannelFull and MessageTooLarge, as channels specifies."""
        layer = scene.layer()
        for name in ("ChannelFull", "MessageTooLarge"):
            error = getattr(layer, name, None)
            assert isinstance(error, type), f"it has no attribute {name}"
            assert issubclass(error, Exception)
