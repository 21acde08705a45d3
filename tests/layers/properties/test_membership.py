"""Who is in a group, while what processes say to each other is still under way.

Layers over a broker in memory whose entries arrive when the machine says so. Its model is the
order in which the broker was told of things: a channel gets exactly the messages that were sent
to its group after its coming and before its going.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from channel_layers.exceptions import LayerUnavailable
from channel_layers.signals import layer_gap
from tests.layers.broker import Broker, LoopbackLayer

T = TypeVar("T")

GROUPS = ["g", "h"]
PROCESSES = 2
CHANNELS = 2

processes = st.integers(0, PROCESSES - 1)
members = st.tuples(processes, st.integers(0, CHANNELS - 1))
groups = st.sampled_from(GROUPS)


@dataclass
class ModelChannel:
    name: str
    groups: set[str] = field(default_factory=set)
    has_left: set[str] = field(default_factory=set)
    must: list[int] = field(default_factory=list)
    may: set[int] = field(default_factory=set)
    """What it may get besides: sent before it came, and still under way then."""
    got: list[int] = field(default_factory=list)


class MembershipMachine(RuleBasedStateMachine):
    """Additions, discards and messages, delivered late."""

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.broker = Broker(held=True)
        self.sent = 0
        self.foreign_discards: set[tuple[str, tuple[int, int]]] = set()
        """Under way, perhaps: group and channel."""
        self.in_flight: dict[str, set[int]] = {group: set() for group in GROUPS}
        self.run(self.open_layers())

    async def open_layers(self) -> None:
        self.layers = [LoopbackLayer(self.broker, capacity=10_000) for _ in range(PROCESSES)]
        self.channels = {
            (process, number): ModelChannel(await layer.new_channel())
            for process, layer in enumerate(self.layers)
            for number in range(CHANNELS)
        }

    def run(self, verb: Coroutine[object, object, T]) -> T:
        async def then_go_round() -> T:
            result = await verb
            for _ in range(4):  # leaving a group is a task of the layer's own
                await asyncio.sleep(0)
            return result

        return self.runner.run(then_go_round())

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            with self.runner:
                self.run(self.settle())
                self.check_messages()
                self.run(self.leave_all())
                self.check_nothing_is_left()
                self.run(self.close())

    async def settle(self) -> None:
        while self.broker.under_way():
            self.broker.deliver_everything()
            await asyncio.sleep(0)
        for (process, _), channel in self.channels.items():
            await self.layers[process].send(channel.name, {"number": 0})
            self.broker.deliver_everything()
            async with asyncio.timeout(10):
                while number := (await self.layers[process].receive(channel.name))["number"]:
                    channel.got.append(number)

    def check_messages(self) -> None:
        for channel in self.channels.values():
            extra = set(channel.got) - set(channel.must)
            assert extra <= channel.may
            assert [n for n in channel.got if n not in extra] == channel.must
            assert channel.got == sorted(channel.got), "each once, in order"

    async def leave_all(self) -> None:
        for (process, _), channel in self.channels.items():
            for group in channel.groups:
                await self.layers[process].group_discard(group, channel.name)
        while self.broker.under_way():
            self.broker.deliver_everything()
            await asyncio.sleep(0)

    def check_nothing_is_left(self) -> None:
        assert not any(self.broker.groups.values())
        for layer in self.layers:
            membership = layer._membership
            assert membership.joined == set()
            assert not layer._hub.groups
            assert not membership.adding
            assert not membership._discarding

    async def close(self) -> None:
        for layer in self.layers:
            await layer.close()

    def knows(self, group: str, number: int) -> bool:
        """Whether some process has yet to read a message."""
        return number in self.in_flight[group] and self.broker.under_way() > 0

    @rule(group=groups, by=processes, who=members)
    def add(self, group: str, by: int, who: tuple[int, int]) -> None:
        channel = self.channels[who]
        if by == who[0]:
            if (group, who) in self.foreign_discards and self.broker.under_way():
                return  # a known limit: an addition at once, which that discard undoes
            if group not in channel.has_left:
                # It may be added at once, beside another channel of its process.
                channel.may |= {n for n in self.in_flight[group] if self.knows(group, n)}
        self.run(self.layers[by].group_add(group, channel.name))
        channel.groups.add(group)

    @rule(group=groups, by=processes, who=members)
    def discard(self, group: str, by: int, who: tuple[int, int]) -> None:
        channel = self.channels[who]
        self.run(self.layers[by].group_discard(group, channel.name))
        if group in channel.groups:
            channel.groups.discard(group)
            channel.has_left.add(group)
        if by != who[0]:
            self.foreign_discards.add((group, who))

    @rule(group=groups, by=processes)
    def send(self, group: str, by: int) -> None:
        self.sent += 1
        self.run(self.layers[by].group_send(group, {"number": self.sent}))
        self.in_flight[group].add(self.sent)
        for channel in self.channels.values():
            if group in channel.groups:
                channel.must.append(self.sent)

    @rule(process=processes, count=st.integers(1, 4))
    def arrive(self, process: int, count: int) -> None:
        self.run(self.some_arrive(process, count))

    @rule()
    def all_arrive(self) -> None:
        self.run(self.everything_arrives())
        self.foreign_discards.clear()
        for numbers in self.in_flight.values():
            numbers.clear()

    async def some_arrive(self, process: int, count: int) -> None:
        self.broker.deliver(self.layers[process].process, 0, count)

    async def everything_arrives(self) -> None:
        self.broker.deliver_everything()


def test_a_channel_gets_what_was_sent_between_its_coming_and_its_going() -> None:
    run_state_machine_as_test(
        MembershipMachine, settings=settings(max_examples=150, stateful_step_count=30)
    )


async def test_a_group_is_left_with_its_last_member_and_not_before() -> None:
    broker = Broker()
    layer, other = LoopbackLayer(broker), LoopbackLayer(broker)
    one, two = await layer.new_channel(), await layer.new_channel()
    for channel in (one, two):
        await layer.group_add("g", channel)
    await settled(broker, lambda: len(layer._hub.groups.get("g", ())) == 2)
    await layer.group_discard("g", one)
    await settled(broker, lambda: len(layer._hub.groups["g"]) == 1)
    assert broker.leaves == []
    await other.group_discard("g", two)
    await settled(broker, lambda: bool(broker.leaves))
    assert broker.leaves == [("g", layer.process)]
    await layer.group_add("g", one)
    await settled(broker, lambda: "g" in layer._hub.groups)
    await layer.close_channel(one)
    await settled(broker, lambda: len(broker.leaves) == 2)
    await layer.close()
    await other.close()


async def test_further_members_of_a_process_cost_the_broker_nothing() -> None:
    broker = Broker()
    layer = LoopbackLayer(broker)
    first = await layer.new_channel()
    await layer.group_add("g", first)
    await settled(broker, lambda: "g" in layer._hub.groups)
    broker.away = True
    second = await layer.new_channel()
    await layer.group_add("g", second)
    broker.away = False
    await layer.group_send("g", {"type": "x"})
    assert await layer.receive(second) == {"type": "x"}
    await layer.close()


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_member_that_comes_back_misses_what_was_sent_meanwhile(arrived: bool) -> None:
    """Beside another member of its process, and whether or not its discard has been read."""
    broker = Broker(held=True)
    layer = LoopbackLayer(broker)
    staying, going = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("g", staying)
    broker.deliver_everything()
    await layer.group_add("g", going)
    await layer.group_discard("g", going)
    if arrived:
        broker.deliver_everything()
    await layer.group_send("g", {"type": "meanwhile"})
    await layer.group_add("g", going)
    await layer.group_send("g", {"type": "after"})
    broker.deliver_everything()
    assert await layer.receive(going) == {"type": "after"}
    assert [await layer.receive(staying) for _ in range(2)] == [
        {"type": "meanwhile"},
        {"type": "after"},
    ]
    await layer.close()


async def test_a_discard_that_was_for_nothing_does_not_undo_a_later_addition() -> None:
    broker = Broker(held=True)
    layer = LoopbackLayer(broker)
    staying, coming = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("g", staying)
    broker.deliver_everything()
    await layer.group_discard("g", coming)
    await layer.group_add("g", coming)
    broker.deliver_everything()
    assert layer._hub.members("g", 0) == [staying, coming]
    await layer.close()


async def test_a_channel_that_was_closed_may_join_again() -> None:
    broker = Broker()
    layer = LoopbackLayer(broker)
    channel = await layer.new_channel()
    await layer.close_channel(channel)
    await layer.group_add("g", channel)
    await layer.group_send("g", {"type": "x"})
    async with asyncio.timeout(2):
        assert await layer.receive(channel) == {"type": "x"}
    await layer.close()


async def test_a_broker_that_is_away_refuses_an_addition_but_not_a_discard() -> None:
    broker = Broker()
    layer = LoopbackLayer(broker)
    channel = await layer.new_channel()
    broker.away = True
    with pytest.raises(LayerUnavailable):
        await layer.group_add("g", channel)
    assert not layer._membership.adding
    broker.away = False
    await layer.group_add("g", channel)
    await settled(broker, lambda: "g" in layer._hub.groups)
    broker.away = True
    await layer.group_discard("g", channel)
    assert "g" not in layer._hub.groups, "nobody else is needed for it"
    assert not layer._membership._discarding
    await layer.close()


async def test_an_addition_for_a_channel_that_has_gone_ends_in_leaving() -> None:
    broker = Broker(held=True)
    layer = LoopbackLayer(broker)
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    await layer.close_channel(channel)
    broker.deliver_everything()
    await settled(broker, lambda: bool(broker.leaves))
    assert layer._membership.joined == set()
    await layer.close()


async def test_leaving_is_dropped_if_an_addition_comes_before_it_is_done() -> None:
    """The group empties, and in the same turn of the loop an addition is read."""
    broker = Broker(held=True)
    layer = LoopbackLayer(broker)
    one, two = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("g", one)
    broker.deliver_everything()
    await layer.group_add("g", two)  # at once, beside the other
    await layer.group_discard("g", two)
    await layer.group_discard("g", one)
    await layer.group_add("g", two)
    broker.deliver(layer.process, 0, 2)  # the discards: the group is empty
    asyncio.get_running_loop().call_soon(broker.deliver, layer.process)
    for _ in range(5):
        await asyncio.sleep(0)
    await layer.group_send("g", {"type": "x"})
    broker.deliver_everything()
    async with asyncio.timeout(2):
        assert await layer.receive(two) == {"type": "x"}
    await layer.close()


async def test_what_was_lost_on_the_way_is_done_and_said() -> None:
    broker = Broker(held=True)
    layer = LoopbackLayer(broker)
    staying, coming, going = [await layer.new_channel() for _ in range(3)]
    for channel in (staying, going):
        await layer.group_add("g", channel)
    broker.deliver_everything()
    await layer.group_discard("g", going)
    await layer.group_add("h", coming)
    gaps: list[tuple[str, ...]] = []

    def note(sender: object, groups: tuple[str, ...], **_: object) -> None:
        gaps.append(groups)

    layer_gap.connect(note)
    try:
        broker.lose(layer.process)
    finally:
        layer_gap.disconnect(note)
    assert layer._hub.members("g", 0) == [staying]
    assert layer._hub.members("h", 0) == [coming]
    assert sorted(layer._membership.joined) == ["g", "h"]
    assert [sorted(groups) for groups in gaps] == [["g", "h"]]
    assert not layer._membership.adding
    assert not layer._membership._discarding
    await layer.close()


async def test_a_repeated_discard_of_its_own_does_not_undo_a_later_addition() -> None:
    """A discard whose answer was lost is done at once, and comes all the same."""
    broker = Broker(held=True)
    layer = LoopbackLayer(broker)
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    broker.deliver_everything()
    membership = layer._membership
    membership.begin_discard("g", channel, "token")
    membership.discard_failed("g", channel, "token")
    await layer.group_add("g", channel)
    broker.deliver_everything()
    membership.discard("g", channel, own="token")
    assert layer._hub.members("g", 0) == [channel]
    await layer.close()


async def settled(broker: Broker, condition: object) -> None:
    """Let the loop go round until a condition holds."""
    assert callable(condition)
    async with asyncio.timeout(5):
        for _ in range(100_000):
            if condition():
                return
            await asyncio.sleep(0)


async def test_what_comes_before_the_answer_to_an_addition_is_for_the_channel() -> None:
    broker = Broker()
    layer, other = LoopbackLayer(broker), LoopbackLayer(broker)
    channel = await layer.new_channel()
    broker.answers.clear()
    adding = asyncio.ensure_future(layer.group_add("g", channel))
    await settled(broker, lambda: layer.process in broker.groups["g"])
    await other.group_send("g", {"type": "early"})
    await settled(broker, lambda: not broker.under_way())
    broker.answers.set()
    await adding
    await other.group_send("g", {"type": "late"})
    async with asyncio.timeout(2):
        assert [await layer.receive(channel) for _ in range(2)] == [
            {"type": "early"},
            {"type": "late"},
        ]
    assert not layer._membership.adding
    await layer.close()
    await other.close()


async def test_leaving_does_not_overtake_an_addition_whose_answer_is_late() -> None:
    broker = Broker()
    layer = LoopbackLayer(broker)
    one, two = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("g", one)
    broker.answers.clear()
    await layer.close_channel(one)  # the group is empty, and will be left in a moment
    adding = asyncio.ensure_future(layer.group_add("g", two))
    for _ in range(5):
        await asyncio.sleep(0)
    broker.answers.set()
    await adding
    await layer.group_send("g", {"type": "x"})
    async with asyncio.timeout(2):
        assert await layer.receive(two) == {"type": "x"}
    await layer.close()
