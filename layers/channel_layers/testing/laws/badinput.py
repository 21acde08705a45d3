"""Promise 14: garbage, and messages sealed with another key, are dropped and kill nothing."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from channel_layers.testing.law import law, over
from channel_layers.testing.scene import Scene

KEYS = {"symmetric_encryption_keys": ["the right key"]}


@pytest.mark.promise(14)
class TestBadInput:
    @law(needs=("inject",))
    @over(garbage=st.lists(st.binary(max_size=200), min_size=1, max_size=5))
    async def test_garbage_is_dropped(self, scene: Scene, garbage: list[bytes]) -> None:
        """Bytes that no layer wrote are not delivered, raise nothing, and harm nothing later."""
        inject = scene.under_test.inject
        assert inject is not None
        layer = scene.layer()
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "before"})
        for data in garbage:
            await inject(layer, channel, data)
        assert await scene.drain(layer, channel) == [{"type": "before"}]

    @law(needs=("distributed",), config=KEYS, effort=0.5)
    @over(strange=st.integers(1, 4), group=st.booleans(), plain=st.booleans())
    async def test_a_message_with_another_key_is_dropped(
        self, scene: Scene, strange: int, group: bool, plain: bool
    ) -> None:
        """What is sealed with a key we do not have is not delivered and raises nothing."""
        reader = scene.layer()
        stranger = scene.layer(symmetric_encryption_keys=["another key"])
        channel = "plain" if plain else await reader.new_channel()
        await reader.group_add("group", channel)
        for _ in range(strange):
            if group:
                await stranger.group_send("group", {"type": "strange"})
            else:
                await stranger.send(channel, {"type": "strange"})
        assert await scene.drain(reader, channel) == []

    @law(needs=("distributed",), config=KEYS, effort=0.5)
    @over(group=st.booleans())
    async def test_keys_can_be_rotated(self, scene: Scene, group: bool) -> None:
        """A layer with the new key first and the old one second reads messages of both."""
        old = scene.layer()
        new = scene.layer(symmetric_encryption_keys=["a new key", "the right key"])
        channel = await new.new_channel()
        await new.group_add("group", channel)
        for sender, name in ((old, "old"), (new, "new")):
            if group:
                await sender.group_send("group", {"type": "t", "key": name})
            else:
                await sender.send(channel, {"type": "t", "key": name})
            assert (await scene.receive(new, channel))["key"] == name
