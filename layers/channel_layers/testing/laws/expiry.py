"""Promise 8: what is older than ``expiry`` is never delivered, by one clock."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import strategies as st

from channel_layers.testing.law import EXPIRY, law, over
from channel_layers.testing.process import RemoteLayer
from channel_layers.testing.protocols import AnyLayer
from channel_layers.testing.scene import Scene


@pytest.mark.promise(8)
class TestExpiry:
    @law(config={"expiry": EXPIRY}, effort=0.1)
    @over(old=st.integers(1, 5), fresh=st.integers(1, 5))
    async def test_old_messages_are_never_delivered(
        self, scene: Scene, old: int, fresh: int
    ) -> None:
        """Messages older than expiry are gone; later ones to the same channel do not keep them."""
        expiry = scene.under_test.expiry
        sender, reader = scene.layers(2)
        channels = [await reader.new_channel(), "plain"]
        grouped = await reader.new_channel()
        await reader.group_add("group", grouped)
        for number in range(old):
            for channel in channels:
                await sender.send(channel, {"type": "old", "n": number})
            await sender.group_send("group", {"type": "old", "n": number})
        await asyncio.sleep(0.6 * expiry)
        for number in range(fresh):
            for channel in channels:
                await sender.send(channel, {"type": "fresh", "n": number})
            await sender.group_send("group", {"type": "fresh", "n": number})
        await asyncio.sleep(0.6 * expiry)
        for channel in [*channels, grouped]:
            found = await scene.drain(reader, channel, by=sender)
            assert [message["type"] for message in found] == ["fresh"] * fresh, channel

    @law(config={"expiry": EXPIRY, "capacity": 2}, effort=0.1)
    async def test_expired_messages_make_room(self, scene: Scene) -> None:
        """A full channel takes messages again when those in it have expired."""
        layer = scene.layer()
        channel = await layer.new_channel()
        for target in (channel, "plain"):
            await layer.send(target, {"type": "old"})
            await layer.send(target, {"type": "old"})
        await asyncio.sleep(1.2 * scene.under_test.expiry)
        for target in (channel, "plain"):
            await layer.send(target, {"type": "fresh"})
            assert await scene.receive(layer, target) == {"type": "fresh"}

    @law(needs=("distributed",), effort=0.2)
    @over(skew=st.sampled_from([-86400, -3600, 3600, 86400]))
    async def test_a_wrong_clock_loses_nothing(self, scene: Scene, skew: int) -> None:
        """Messages from, to and through a process whose wall clock is hours off all arrive."""
        here, there = scene.layer(), await scene.process(clock_skew=skew)
        mine, theirs = await here.new_channel(), await there.new_channel()
        await here.group_add("group", mine)
        await there.group_add("group", theirs)
        await there.send(mine, {"type": "sent"})
        await here.send(theirs, {"type": "sent"})
        await there.group_send("group", {"type": "from there"})
        await here.group_send("group", {"type": "from here"})
        ends: list[tuple[AnyLayer | RemoteLayer, str]] = [(here, mine), (there, theirs)]
        for layer, channel in ends:
            found = await scene.receive_all(layer, channel, 3)
            assert sorted(str(message["type"]) for message in found) == [
                "from here",
                "from there",
                "sent",
            ]
