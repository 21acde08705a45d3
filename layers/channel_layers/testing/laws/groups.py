"""Promise 6: who is in a group gets its messages, who is not does not, from anywhere."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import strategies as st

from channel_layers.testing.law import EXPIRY, always, law, over
from channel_layers.testing.process import RemoteLayer
from channel_layers.testing.protocols import AnyLayer
from channel_layers.testing.scene import Scene

memberships = st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=25)
"""Steps: add or discard, and by which of three instances."""


@pytest.mark.promise(6)
class TestGroups:
    @law(needs=("groups",))
    @over(steps=memberships, sender=st.integers(0, 2))
    async def test_exactly_the_members_get_a_message(
        self, scene: Scene, steps: list[tuple[bool, int]], sender: int
    ) -> None:
        """After group_add every group_send arrives, after group_discard none, whoever calls it."""
        layers = scene.layers(3)
        channel = await layers[0].new_channel()
        expected = []
        for number, (add, who) in enumerate(steps):
            if add:
                await layers[who].group_add("group", channel)
            else:
                await layers[who].group_discard("group", channel)
            await layers[sender].group_send("group", {"type": "t", "n": number})
            if add:
                expected.append(number)
        found = await scene.drain(layers[0], channel, by=layers[sender])
        assert [message["n"] for message in found] == expected

    @law(needs=("groups",))
    @over(adds=st.integers(2, 5), discards=st.integers(2, 5))
    async def test_adding_and_discarding_twice_is_once(
        self, scene: Scene, adds: int, discards: int
    ) -> None:
        """A channel added several times gets one copy, and one discard ends it; more do nothing."""
        layer = scene.layer()
        channel = await layer.new_channel()
        await layer.group_discard("group", channel)
        for _ in range(adds):
            await layer.group_add("group", channel)
        await layer.group_send("group", {"type": "once"})
        for _ in range(discards):
            await layer.group_discard("group", channel)
        await layer.group_send("group", {"type": "never"})
        assert await scene.drain(layer, channel) == [{"type": "once"}]

    @law(needs=("groups",))
    async def test_a_group_without_members_takes_messages(self, scene: Scene) -> None:
        """group_send() to a group that nobody is in does nothing."""
        layer = scene.layer()
        await layer.group_send("empty", {"type": "t"})
        channel = await layer.new_channel()
        await layer.group_add("empty", channel)
        assert await scene.drain(layer, channel) == []

    @law(needs=("groups",))
    @over(members=st.dictionaries(st.sampled_from("abc"), st.sets(st.integers(0, 3)), min_size=1))
    async def test_groups_overlap(self, scene: Scene, members: dict[str, set[int]]) -> None:
        """A channel gets the messages of all its groups and of no other."""
        sender, reader = scene.layers(2)
        channels = [await reader.new_channel() for _ in range(4)]
        for group, which in members.items():
            for index in which:
                await reader.group_add(group, channels[index])
        for group in "abc":
            await sender.group_send(group, {"type": "t", "group": group})
        for index, channel in enumerate(channels):
            found = {str(m["group"]) for m in await scene.drain(reader, channel, by=sender)}
            assert found == {group for group, which in members.items() if index in which}

    @law(needs=("groups",))
    async def test_a_plain_channel_can_be_a_member(self, scene: Scene) -> None:
        """A group may have plain channels as members; one of its readers gets the message."""
        sender, reader = scene.layers(2)
        await reader.group_add("group", "plain")
        await sender.group_send("group", {"type": "t"})
        assert await scene.drain(reader, "plain", by=sender) == [{"type": "t"}]

    @law(needs=("groups", "flush"))
    @over(plain=st.integers(0, 3), own=st.integers(0, 3))
    async def test_after_flush_the_layer_is_empty(self, scene: Scene, plain: int, own: int) -> None:
        """flush() forgets every message and membership; afterwards everything works again."""
        one, other = scene.layers(2)
        channel = await one.new_channel()
        await one.group_add("group", channel)
        for _ in range(plain):
            await one.send("plain", {"type": "old"})
        for _ in range(own):
            await one.send(channel, {"type": "old"})
        await other.flush()
        await other.group_send("group", {"type": "nobody is a member"})
        assert await scene.drain(one, "plain") == []
        assert await scene.drain(one, channel) == []
        await one.group_add("group", channel)
        await other.group_send("group", {"type": "new"})
        assert await scene.drain(one, channel, by=other) == [{"type": "new"}]


@pytest.mark.promise(6)
class TestMembershipEnds:
    @law(needs=("groups",), config={"group_expiry": EXPIRY})
    async def test_membership_lapses(self, scene: Scene) -> None:
        """A membership ends group_expiry after the last add, and not before."""
        expiry = scene.under_test.expiry
        layer = scene.layer()
        stays, lapses = await layer.new_channel(), await layer.new_channel()
        await layer.group_add("group", lapses)
        await layer.group_add("group", stays)
        await layer.group_send("group", {"type": "both"})
        for _ in range(3 if expiry < 1 else 5):  # the clocks of some layers tick in whole seconds
            await asyncio.sleep(0.5 * expiry)
            await layer.group_add("group", stays)
        await layer.group_send("group", {"type": "one"})
        assert await scene.drain(layer, lapses) == [{"type": "both"}]
        assert await scene.drain(layer, stays) == [{"type": "both"}, {"type": "one"}]

    @law(needs=("groups",), config={"expiry": EXPIRY})
    async def test_membership_survives_an_expired_message(self, scene: Scene) -> None:
        """A member whose message expired unread is still a member."""
        layer = scene.layer()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await layer.group_send("group", {"type": "expires"})
        await asyncio.sleep(1.3 * scene.under_test.expiry)
        assert await scene.drain(layer, channel) == []
        await layer.group_send("group", {"type": "later"})
        assert await scene.drain(layer, channel) == [{"type": "later"}]

    @law(needs=("groups", "close_channel"))
    @over(groups=st.sets(st.sampled_from("abc")), other=st.booleans())
    async def test_membership_ends_with_the_channel(
        self, scene: Scene, groups: set[str], other: bool
    ) -> None:
        """A closed channel is in no group any more; others stay."""
        sender, reader = scene.layers(2)
        closed, stays = await reader.new_channel(), await reader.new_channel()
        for group in groups:
            await (sender if other else reader).group_add(group, closed)
            await reader.group_add(group, stays)
        await reader.close_channel(closed)
        for group in sorted(groups):
            await sender.group_send(group, {"type": "t", "group": group})
        found = await scene.drain(reader, stays, by=sender)
        assert [message["group"] for message in found] == sorted(groups)
        for group in groups:
            if scene.under_test.lacks("group_channels") is None:
                assert await sender.group_channels(group) == [stays]


@pytest.mark.promise(6)
class TestGroupsAcrossProcesses:
    @law(needs=("distributed", "groups"), effort=0.15)
    @over(steps=memberships)
    @always([{"steps": [(True, 1), (False, 2), (True, 2), (False, 1), (True, 0)]}])
    async def test_channels_of_other_processes_join_and_leave(
        self, scene: Scene, steps: list[tuple[bool, int]]
    ) -> None:
        """A process may add another one's channel to a group and discard it, as its own."""
        reader = scene.layer()
        callers: list[AnyLayer | RemoteLayer] = [
            reader,
            await scene.process(),
            await scene.process(),
        ]
        channel = await reader.new_channel()
        expected = []
        for number, (add, who) in enumerate(steps):
            caller = callers[who]
            if add:
                await caller.group_add("group", channel)
                expected.append(number)
            else:
                await caller.group_discard("group", channel)
            await callers[(who + 1) % 3].group_send("group", {"type": "t", "n": number})
        found = await scene.drain(reader, channel)
        assert [message["n"] for message in found] == expected

    @law(needs=("distributed", "groups", "group_channels"))
    async def test_membership_ends_with_the_process(self, scene: Scene) -> None:
        """The channels of a process that was killed leave their groups; others are served."""
        survivor, victim = scene.layer(), await scene.process()
        mine, gone = await survivor.new_channel(), await victim.new_channel()
        await survivor.group_add("group", mine)
        await victim.group_add("group", gone)
        assert set(await survivor.group_channels("group")) == {mine, gone}
        await victim.kill()
        await survivor.group_send("group", {"type": "t"})
        assert await scene.receive(survivor, mine) == {"type": "t"}
        await _until_members_are(scene, survivor, {mine})


async def _until_members_are(scene: Scene, layer: AnyLayer, expected: set[str]) -> None:
    # How soon a death is noticed is the layer's affair; that it is noticed is the promise.
    async with asyncio.timeout(6 * scene.patience):
        while set(await layer.group_channels("group")) != expected:
            await layer.group_send("group", {"type": "t"})
            await asyncio.sleep(0.05)
