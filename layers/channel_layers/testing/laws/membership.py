"""The membership extension: ``group_channels`` tells who is in a group, in all processes."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from channel_layers.testing.law import law, over
from channel_layers.testing.scene import Scene

actions = st.lists(
    st.tuples(st.sampled_from(["add", "discard"]), st.sampled_from("ab"), st.integers(0, 3)),
    max_size=30,
)


@pytest.mark.promise("membership")
class TestMembership:
    @law(needs=("group_channels",))
    @over(steps=actions)
    async def test_group_channels_is_the_set_of_members(
        self, scene: Scene, steps: list[tuple[str, str, int]]
    ) -> None:
        """group_channels() lists each member once, seen from every instance."""
        layers = scene.layers(2)
        channels = [await layers[n % 2].new_channel() for n in range(3)] + ["plain"]
        members: dict[str, set[str]] = {"a": set(), "b": set()}
        for number, (action, group, index) in enumerate(steps):
            if action == "add":
                await layers[number % 2].group_add(group, channels[index])
                members[group].add(channels[index])
            else:
                await layers[number % 2].group_discard(group, channels[index])
                members[group].discard(channels[index])
        for layer in layers:
            for group, expected in members.items():
                found = await layer.group_channels(group)
                assert sorted(found) == sorted(expected)

    @law(needs=("group_channels", "distributed"), effort=0.1)
    @over(count=st.integers(1, 4))
    async def test_group_channels_of_all_processes(self, scene: Scene, count: int) -> None:
        """group_channels() lists the channels of other processes too."""
        here, there = scene.layer(), await scene.process()
        members = set()
        for layer in (here, there):
            for _ in range(count):
                channel = await layer.new_channel()
                await layer.group_add("group", channel)
                members.add(channel)
        assert set(await here.group_channels("group")) == members
        assert set(await there.group_channels("group")) == members
