"""One order out of several partitions: kept, without waiting for ever, in little memory."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_layers.merging import Departures, Merger

PATIENCE, FORGET, WINDOW = 2.0, 30.0, 60.0


def a_merger(partitions: int = 3) -> Merger[str]:
    return Merger(partitions, patience=PATIENCE, forget_after=FORGET)


@dataclass(eq=False)
class Sent:
    """One message on its way."""

    sender: int
    partition: int
    sequence: int
    after: tuple[tuple[int, int], ...]
    mine: bool
    departed: int
    landed: float = math.inf
    again: bool = False


@dataclass
class Wire:
    """One sender's connection to one partition: pipelined, answered in order."""

    postponed: deque[Sent] = field(default_factory=deque)
    written: deque[Sent] = field(default_factory=deque)
    executed: deque[Sent] = field(default_factory=deque)


class World:
    """Some senders, the streams of one receiver, and that receiver. Time stands still in it."""

    def __init__(self, senders: int, partitions: int) -> None:
        self.partitions = partitions
        self.step = 0
        self.departures = [Departures(partitions, window=WINDOW) for _ in range(senders)]
        self.wires = {
            (sender, partition): Wire()
            for sender in range(senders)
            for partition in range(partitions)
        }
        self.streams: list[list[Sent | int]] = [[] for _ in range(partitions)]
        self.read_up_to = [0] * partitions
        self.fences_on_the_way: list[deque[int]] = [deque() for _ in range(partitions)]
        self.merger: Merger[Sent] = Merger(partitions, patience=PATIENCE, forget_after=FORGET)
        self.seen: set[Sent] = set()
        self.mine: list[Sent] = []
        self.delivered: list[Sent] = []
        self.delivered_surely = 0

    # What may happen at any moment

    def depart(self, sender: int, partition: int, *, mine: bool) -> None:
        sequence, after = self.departures[sender].depart(partition, 0)
        sent = Sent(sender, partition, sequence, after, mine, self.step)
        self.wires[sender, partition].written.append(sent)

    def execute(self, sender: int, partition: int) -> None:
        wire = self.wires[sender, partition]
        if wire.written:
            sent = wire.written.popleft()
            wire.executed.append(sent)
            if sent.mine:
                self.streams[partition].append(sent)

    def confirm(self, sender: int, partition: int) -> None:
        wire = self.wires[sender, partition]
        if wire.executed:
            sent = wire.executed.popleft()
            self.departures[sender].landed(partition, sent.sequence, 0, again=sent.again)
            sent.landed = self.step
            self.mine += [sent] * sent.mine

    def send(self, sender: int, partition: int, *, mine: bool) -> None:
        """Awaited: whatever this sender has under way to that partition lands before it."""
        self.depart(sender, partition, mine=mine)
        wire = self.wires[sender, partition]
        while wire.written:
            self.execute(sender, partition)
        while wire.executed:
            self.confirm(sender, partition)

    def postpone(self, sender: int, partition: int) -> None:
        """The server refuses it for now."""
        wire = self.wires[sender, partition]
        if wire.written:
            wire.postponed.append(wire.written.popleft())

    def resume(self, sender: int, partition: int) -> None:
        wire = self.wires[sender, partition]
        if wire.postponed:
            wire.postponed[0].again = True
            wire.written.append(wire.postponed.popleft())

    def cut(self, sender: int, partition: int) -> None:
        """The connection breaks: what was not confirmed is given again."""
        wire = self.wires[sender, partition]
        wire.written.extendleft(reversed(wire.executed))
        wire.executed.clear()
        for sent in wire.written:
            sent.again = True

    def read(self, partition: int) -> None:
        place = self.read_up_to[partition]
        if place < len(self.streams[partition]):
            self.read_up_to[partition] += 1
            entry = self.streams[partition][place]
            if isinstance(entry, int):
                self.take(self.merger.fence_read(partition, entry, 0))
            elif entry not in self.seen:
                self.seen.add(entry)
                name = f"sender{entry.sender}"
                self.take(
                    self.merger.arrived(partition, name, entry.sequence, entry.after, entry, 0)
                )

    def fence_lands(self, partition: int) -> None:
        if self.fences_on_the_way[partition]:
            self.streams[partition].append(self.fences_on_the_way[partition].popleft())

    def lose_fence(self, partition: int) -> None:
        """The connection for commands breaks; one on its way may still land, or never."""
        if self.fences_on_the_way[partition] and self.step % 2:
            self.fences_on_the_way[partition].clear()
        self.merger.reset(partition)
        self.ask()

    # What follows

    def take(self, items: Sequence[Sent]) -> None:
        self.delivered += items
        if not self.merger.given_up:
            self.delivered_surely = len(self.delivered)
        self.ask()

    def ask(self) -> None:
        for partition, token in self.merger.fences():
            self.fences_on_the_way[partition].append(token)
        assert self.merger.fences() == []
        assert (self.merger.next_deadline() is None) == (self.merger.held_back == 0)

    def finish(self) -> None:
        """Everything lands and is read."""
        for (sender, partition), wire in self.wires.items():
            while wire.postponed or wire.written or wire.executed:
                self.resume(sender, partition)
                self.execute(sender, partition)
                self.confirm(sender, partition)
        for _ in range(100):
            for partition in range(self.partitions):
                while self.fences_on_the_way[partition]:
                    self.fence_lands(partition)
                while self.read_up_to[partition] < len(self.streams[partition]):
                    self.read(partition)
            if not any(self.fences_on_the_way):
                return
        raise AssertionError("fences without an end")

    def check_order(self) -> None:
        place = {sent: place for place, sent in enumerate(self.delivered[: self.delivered_surely])}
        for first, second in itertools.permutations(place, 2):
            if first.sender == second.sender and first.landed < second.departed:
                assert place[first] < place[second]
        for partition in range(self.partitions):
            entries = [sent for sent in self.streams[partition] if isinstance(sent, Sent)]
            as_read = list(dict.fromkeys(entries))
            assert [sent for sent in self.delivered if sent.partition == partition] == as_read

    def check_all_delivered(self) -> None:
        assert len(self.delivered) == len(self.mine)
        assert set(self.delivered) == set(self.mine)
        assert self.merger.held_back == 0
        assert self.merger.next_deadline() is None


NORMAL = ["send", "send", "read", "read", "read", "fence", "depart", "execute", "confirm", "lose"]
FAULTY = [*NORMAL, "postpone", "resume", "cut", "depart", "execute"]


def histories(actions: list[str]) -> st.SearchStrategy[list[tuple[str, int, int, bool]]]:
    step = st.tuples(
        st.sampled_from(actions), st.integers(0, 2), st.integers(0, 2), st.sampled_from([1, 1, 0])
    )
    return st.lists(step.map(lambda s: (s[0], s[1], s[2], bool(s[3]))), min_size=5, max_size=80)


def play(history: list[tuple[str, int, int, bool]]) -> World:
    world = World(senders=3, partitions=3)
    for action, sender, partition, mine in history:
        world.step += 1
        match action:
            case "send":
                world.send(sender, partition, mine=mine)
            case "depart":
                world.depart(sender, partition, mine=mine)
            case "read":
                world.read(partition)
            case "fence":
                world.fence_lands(partition)
            case "lose":
                world.lose_fence(partition)
            case _:
                getattr(world, action)(sender, partition)
    world.step += 1
    world.finish()
    return world


@settings(max_examples=400)
@given(histories(NORMAL))
def test_what_was_awaited_before_is_delivered_before_and_nothing_waits_for_ever(
    history: list[tuple[str, int, int, bool]],
) -> None:
    world = play(history)
    world.check_all_delivered()
    world.check_order()
    assert world.merger.given_up == 0


@settings(max_examples=400)
@given(histories(FAULTY))
def test_the_order_also_holds_when_what_failed_is_given_again(
    history: list[tuple[str, int, int, bool]],
) -> None:
    world = play(history)
    world.take(world.merger.give_up(PATIENCE))
    world.check_all_delivered()
    world.check_order()


@settings(max_examples=200)
@given(histories(NORMAL), st.sets(st.integers(0, 2), min_size=1))
def test_a_partition_that_gives_no_fence_holds_back_nothing_longer_than_patience(
    history: list[tuple[str, int, int, bool]], away: set[int]
) -> None:
    world = World(senders=3, partitions=3)
    for action, sender, partition, mine in history:
        world.step += 1
        if action in ("send", "depart"):
            world.send(sender, partition, mine=mine)
        elif action == "read" and partition not in away:
            world.read(partition)
        elif action == "fence" and partition not in away:
            world.fence_lands(partition)
    within_reach = {
        sent
        for partition in range(3)
        for sent in world.streams[partition][: world.read_up_to[partition]]
        if isinstance(sent, Sent)
    }
    assert set(world.delivered) <= within_reach
    before = len(world.delivered)
    world.take(world.merger.give_up(PATIENCE - 0.1))
    assert len(world.delivered) == before
    world.take(world.merger.give_up(PATIENCE))
    assert set(world.delivered) == within_reach
    world.finish()
    world.take(world.merger.give_up(PATIENCE))
    world.check_all_delivered()
    world.check_order()


# The rules one by one


def test_without_anything_to_wait_for_it_is_delivered_at_once() -> None:
    merger = a_merger(1)
    assert list(merger.arrived(0, "p", 1, (), "a", 0)) == ["a"]
    assert list(merger.arrived(0, "p", 2, (), "b", 0)) == ["b"]
    assert merger.fences() == []
    assert merger.next_deadline() is None
    assert merger.held_back == 0


def test_what_has_come_already_needs_no_fence() -> None:
    merger = a_merger()
    merger.arrived(0, "p", 1, (), "a", 0)
    assert list(merger.arrived(1, "p", 2, ((0, 1),), "b", 0)) == ["b"]
    assert merger.fences() == []


def test_an_earlier_message_that_comes_later_is_waited_for_and_those_behind_wait_too() -> None:
    merger = a_merger()
    assert list(merger.arrived(1, "p", 2, ((0, 1),), "second", 0)) == []
    assert list(merger.arrived(1, "other", 1, (), "behind", 0)) == []
    assert merger.held_back == 2
    assert list(merger.arrived(0, "p", 1, (), "first", 0)) == ["first", "second", "behind"]


def test_an_earlier_message_for_somebody_else_is_waited_for_until_a_fence_is_read() -> None:
    merger = a_merger()
    assert list(merger.arrived(1, "p", 2, ((0, 1),), "second", 0)) == []
    [(partition, token)] = merger.fences()
    assert partition == 0
    assert list(merger.fence_read(0, token, 0)) == ["second"]
    assert list(merger.arrived(1, "p", 3, ((0, 1),), "third", 0)) == ["third"], "proved once"
    assert merger.fences() == []


def test_one_fence_at_a_time_for_all_that_came_before_it() -> None:
    merger = a_merger()
    for number in range(2, 6):
        merger.arrived(1, f"p{number}", number, ((0, 1),), f"before{number}", 0)
    [(_, first)] = merger.fences()
    merger.arrived(2, "p9", 2, ((0, 1),), "later", 0)
    assert merger.fences() == [], "one is under way"
    assert list(merger.fence_read(0, first, 0)) == ["before2", "before3", "before4", "before5"]
    [(_, second)] = merger.fences()
    assert second != first
    assert list(merger.fence_read(0, second, 0)) == ["later"]


def test_a_fence_that_is_not_needed_any_more_is_not_sent() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 2, ((0, 1),), "second", 0)
    merger.arrived(0, "p", 1, (), "first", 0)
    assert merger.fences() == []


def test_a_fence_counts_when_it_is_read_though_what_is_before_it_is_held_back() -> None:
    merger = a_merger(2)
    assert not merger.arrived(0, "p", 2, ((1, 1),), "a", 0)
    assert not merger.arrived(1, "q", 2, ((0, 1),), "b", 0)
    tokens = dict(merger.fences())
    assert list(merger.fence_read(0, tokens[0], 0)) == ["b"]
    assert list(merger.fence_read(1, tokens[1], 0)) == ["a"]


def test_what_was_read_and_is_held_back_is_waited_for_in_spite_of_a_fence() -> None:
    merger = a_merger(3)
    merger.arrived(0, "other", 2, ((2, 1),), "obstacle", 0)
    merger.arrived(0, "p", 1, (), "first", 0)
    merger.arrived(1, "p", 3, ((0, 2),), "second", 0)
    tokens = dict(merger.fences())
    assert list(merger.fence_read(0, tokens[0], 0)) == []
    assert list(merger.fence_read(2, tokens[2], 0)) == ["obstacle", "first", "second"]


def test_what_landed_behind_later_ones_is_waited_for() -> None:
    departures, merger = Departures(3, window=WINDOW), a_merger(3)
    departures.depart(0, 0)
    departures.depart(0, 0)
    departures.landed(0, 2, 0)
    departures.landed(0, 1, 0)
    sequence, after = departures.depart(1, 0)
    merger.arrived(0, "p", 2, (), "two", 0)
    assert not merger.arrived(1, "p", sequence, after, "three", 0), "one is still to come"
    assert list(merger.arrived(0, "p", 1, (), "one", 0)) == ["one"]
    [(_, token)] = merger.fences()
    assert list(merger.fence_read(0, token, 0)) == ["three"]


def test_what_was_given_again_and_stands_behind_later_ones_is_waited_for() -> None:
    # 1 was postponed; 2 was carried out, but the connection broke before it was confirmed; then
    # 1 landed and was confirmed, then 2 once more. The stream: 2, 1, 2.
    departures, merger = Departures(2, window=WINDOW), a_merger(2)
    departures.depart(0, 0)
    departures.depart(0, 0)
    departures.landed(0, 1, 0, again=True)
    sequence, after = departures.depart(1, 0)
    merger.arrived(0, "p", 2, (), "two", 0)
    assert not merger.arrived(1, "p", sequence, after, "three", 0)
    assert list(merger.arrived(0, "p", 1, (), "one", 0)) == ["one"]


def test_an_entry_that_stands_behind_a_later_one_and_is_held_back_with_it_is_waited_for() -> None:
    merger = a_merger(3)
    merger.arrived(0, "other", 2, ((2, 1),), "obstacle", 0)
    merger.arrived(0, "p", 2, (), "two", 0)
    merger.arrived(0, "p", 1, (), "one", 0)
    assert not merger.arrived(1, "p", 3, ((0, 1),), "three", 0)
    tokens = dict(merger.fences())
    assert list(merger.fence_read(2, tokens[2], 0)) == ["obstacle", "two", "one", "three"]


def test_a_void_fence_says_nothing_and_another_one_is_asked_for() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 2, ((0, 1),), "second", 0)
    [(_, void)] = merger.fences()
    merger.reset(2)
    assert merger.fences() == [], "another partition's"
    merger.reset(0)
    assert list(merger.fence_read(0, void, 0)) == []
    [(_, token)] = merger.fences()
    assert list(merger.fence_read(0, token, 0)) == ["second"]
    merger.reset(0)
    assert merger.fences() == []


def test_a_void_fence_proves_nothing_of_what_came_after_it() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 2, ((0, 1),), "a", 0)
    [(_, void)] = merger.fences()
    merger.reset(0)
    merger.arrived(2, "q", 2, ((0, 1),), "b", 0)
    [(_, token)] = merger.fences()
    assert list(merger.fence_read(0, void, 0)) == []
    assert list(merger.fence_read(0, token, 0)) == ["a", "b"]


@pytest.mark.parametrize("numbers", [(3, 5), (5, 3)])
@pytest.mark.parametrize("asked_between", [True, False])
def test_one_fence_proves_the_highest_that_is_waited_for(
    numbers: tuple[int, int], asked_between: bool
) -> None:
    merger = a_merger()
    merger.arrived(1, "p", 8, ((0, numbers[0]),), "a", 0)
    if asked_between:
        merger.fences()
    merger.arrived(2, "p", 9, ((0, numbers[1]),), "b", 0)
    merger.reset(0)
    [(_, token)] = merger.fences()
    assert sorted(merger.fence_read(0, token, 0)) == ["a", "b"]
    assert merger.fences() == []


@pytest.mark.parametrize("held", [True, False])
def test_what_was_read_once_is_not_waited_for_again(held: bool) -> None:
    merger = a_merger(4)
    if held:
        merger.arrived(0, "other", 2, ((3, 1),), "obstacle", 0)
    merger.arrived(0, "p", 5, (), "five", 0)
    merger.arrived(0, "p", 2, (), "two", 0)
    for partition, token in merger.fences():
        merger.fence_read(partition, token, 0)
    assert list(merger.arrived(1, "p", 6, ((0, 5),), "six", 0)) == ["six"]
    merger.arrived(2, "q", 2, ((1, 1),), "elsewhere", 0)
    merger.arrived(0, "p", 3, (), "three", 0)
    assert list(merger.arrived(1, "p", 7, ((0, 5),), "seven", 0)) == ["seven"]


def test_a_fence_takes_back_nothing_that_was_read_meanwhile() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 2, ((0, 1),), "a", 0)
    [(_, token)] = merger.fences()
    assert list(merger.arrived(0, "p", 5, (), "b", 0)) == ["b", "a"]
    merger.fence_read(0, token, 0)
    assert list(merger.arrived(1, "p", 6, ((0, 5),), "c", 0)) == ["c"]


def test_a_later_message_proves_it_though_it_is_held_back_itself() -> None:
    merger = a_merger()
    merger.arrived(0, "other", 2, ((2, 1),), "obstacle", 0)
    merger.arrived(1, "p", 2, ((0, 1),), "a", 0)
    assert list(merger.arrived(0, "p", 3, (), "b", 0)) == ["a"]
    assert [partition for partition, _ in merger.fences()] == [2]


def test_a_reset_asks_for_nothing_that_is_not_needed_any_more() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 2, ((0, 1),), "second", 0)
    assert merger.fences()
    merger.arrived(0, "p", 1, (), "first", 0)
    merger.reset(0)
    assert merger.fences() == []
    assert not merger.arrived(1, "q", 2, ((0, 1),), "other", 0)
    assert merger.fences(), "the next one that is needed"


def test_a_partition_that_is_away_is_asked_again_though_nothing_waits_for_it() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 2, ((0, 1),), "second", 0)
    merger.give_up(PATIENCE)
    merger.fences()
    merger.arrived(0, "p", 1, (), "first", 3)
    merger.reset(0)
    [(_, token)] = merger.fences()
    merger.fence_read(0, token, 3)
    assert not merger.arrived(1, "q", 2, ((0, 1),), "other", 3)


def test_what_is_set_free_sets_others_free_in_any_partition() -> None:
    merger = a_merger(4)
    merger.arrived(2, "p", 3, ((1, 2),), "third", 0)
    merger.arrived(1, "p", 2, ((0, 1),), "second", 0)
    merger.arrived(0, "other", 2, ((3, 1),), "obstacle", 0)
    merger.arrived(0, "p", 1, (), "first", 0)
    assert merger.held_back == 4
    [(_, token)] = [fence for fence in merger.fences() if fence[0] == 3]
    assert list(merger.fence_read(3, token, 0)) == ["obstacle", "first", "second", "third"]


def test_nothing_waits_for_a_partition_that_is_away_until_it_gives_a_fence_again() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 2, ((0, 1),), "a", 10.0)
    assert merger.fences()
    merger.arrived(2, "q", 2, ((0, 1),), "b", 11.0)
    assert merger.next_deadline() == 10.0 + PATIENCE
    assert list(merger.give_up(11.9)) == []
    assert list(merger.give_up(12.0)) == ["a", "b"], "both waited for the same partition"
    assert merger.given_up == 1
    assert merger.next_deadline() is None
    assert list(merger.arrived(1, "r", 2, ((0, 1),), "c", 12.5)) == ["c"], "no second wait"
    merger.reset(0)
    [(partition, token)] = merger.fences()
    assert partition == 0, "to learn that it is back"
    assert list(merger.arrived(1, "r", 3, ((0, 1),), "d", 13.0)) == ["d"]
    merger.fence_read(0, token, 13.5)
    assert list(merger.arrived(1, "r", 4, ((0, 1),), "e", 14.0)) == [], "order counts again"
    [(_, token)] = merger.fences()
    assert list(merger.give_up(14.0 + PATIENCE - 0.1)) == []
    assert list(merger.fence_read(0, token, 16.0)) == ["e"]


def test_a_partition_that_answers_fences_slowly_is_not_away() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 2, ((0, 1),), "a", 0.0)
    [(_, token)] = merger.fences()
    merger.arrived(2, "q", 2, ((0, 1),), "b", 0.5)
    assert list(merger.fence_read(0, token, 1.9)) == ["a"]
    [(_, token)] = merger.fences()
    assert list(merger.give_up(2.5)) == ["b"]
    assert not merger.arrived(1, "r", 2, ((0, 1),), "c", 2.6)
    merger.fence_read(0, token, 2.7)
    [(_, token)] = merger.fences()
    assert list(merger.fence_read(0, token, 2.8)) == ["c"]


def test_what_was_read_of_a_partition_that_is_away_is_waited_for() -> None:
    merger = a_merger()
    merger.arrived(1, "q", 2, ((0, 1),), "a", 0.0)
    assert list(merger.give_up(2.0)) == ["a"]
    merger.arrived(0, "other", 2, ((2, 1),), "obstacle", 3.0)
    merger.arrived(0, "p", 1, (), "b", 3.0)
    assert not merger.arrived(1, "p", 3, ((0, 2),), "c", 3.0)
    tokens = dict(merger.fences())
    assert list(merger.fence_read(2, tokens[2], 3.0)) == ["obstacle", "b", "c"]


def test_a_partition_is_not_away_because_its_entries_are_held_back() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 3, ((0, 2),), "b", 0.0)
    [(_, token)] = merger.fences()
    merger.arrived(0, "other", 2, ((2, 1),), "obstacle", 0.0)
    merger.arrived(0, "p", 1, (), "a", 0.0)
    merger.fence_read(0, token, 0.0)
    assert list(merger.give_up(2.0)) == ["b", "obstacle", "a"]
    assert not merger.arrived(1, "r", 2, ((0, 1),), "c", 2.0)


def test_everything_that_waited_too_long_is_given_up_at_once() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 2, ((0, 1),), "a", 0.0)
    merger.arrived(2, "q", 2, ((1, 1),), "b", 0.5)
    assert list(merger.give_up(0.5 + PATIENCE)) == ["a", "b"]
    assert merger.given_up == 2


def test_giving_up_everything_delivers_everything() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 2, ((0, 1),), "a", 5.0)
    merger.arrived(2, "p", 3, ((1, 2),), "b", 6.0)
    assert list(merger.give_up(math.inf)) == ["a", "b"]


def test_the_oldest_is_given_up_first_and_sets_others_free() -> None:
    merger = a_merger()
    merger.arrived(1, "p", 2, ((0, 1),), "a", 0.0)
    merger.arrived(2, "p", 3, ((1, 2),), "b", 0.0)
    assert list(merger.give_up(PATIENCE)) == ["a", "b"]
    assert merger.given_up == 1


@pytest.mark.parametrize("after", [((1, 99),), ((7, 1),), ((-1, 1),), ((0, 0),), ((0, -5),)])
def test_what_makes_no_sense_is_not_waited_for(after: tuple[tuple[int, int], ...]) -> None:
    merger = a_merger()
    assert list(merger.arrived(1, "p", 2, after, "a", 0)) == ["a"]
    assert merger.fences() == []


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9), st.integers(0, 9)), max_size=30))
def test_repeats_and_nonsense_break_nothing(entries: list[tuple[int, int, int]]) -> None:
    merger = a_merger()
    got: list[str] = []
    for place, (partition, sequence, number) in enumerate(entries * 2):
        after = (((partition + 1) % 3, number),)
        got += merger.arrived(partition, "p", sequence, after, f"{partition}:{place}", 0)
        for fenced, token in merger.fences():
            got += merger.fence_read(fenced, token, 0)
    got += merger.give_up(PATIENCE)
    assert len(got) == len(entries) * 2
    for partition in range(3):
        places = [int(item[2:]) for item in got if item.startswith(f"{partition}:")]
        assert places == sorted(places)
    assert merger.held_back == 0


# Memory


def test_producers_that_send_nothing_are_forgotten() -> None:
    merger = a_merger()
    for number in range(3000):
        merger.arrived(number % 3, f"p{number}", 1, (), "x", number / 10)
        assert len(merger._producers) <= FORGET * 10 + 2
    merger.arrived(0, "last", 1, (), "x", 1000.0)
    assert list(merger._producers) == ["last"]


def test_producers_that_send_are_not_forgotten() -> None:
    merger = a_merger()
    merger.arrived(0, "p", 1, (), "x", 0)
    for second in range(1, 100):
        merger.arrived(1, "p", second + 1, (), "x", second)
        merger.arrived(1, f"q{second}", 1, (), "x", second)
        assert len(merger._producers) <= FORGET + 2
    assert list(merger.arrived(1, "p", 200, ((0, 1),), "y", 100)) == ["y"]


def test_a_producer_is_not_forgotten_while_something_of_it_is_held_back() -> None:
    merger = a_merger()
    merger.arrived(0, "other", 2, ((2, 1),), "obstacle", 0)
    merger.arrived(0, "p", 1, (), "first", 0)
    merger.arrived(1, "q", 1, (), "x", FORGET + 1)
    assert not merger.arrived(1, "p", 2, ((0, 1),), "second", FORGET + 1)
    [(partition, token)] = merger.fences()
    assert list(merger.fence_read(partition, token, 40)) == ["obstacle", "first", "second"]


def test_nothing_stays_of_what_was_delivered() -> None:
    merger = a_merger()
    for number in range(1, 500):
        merger.arrived(1, "p", 2 * number, ((0, 2 * number - 1),), "x", 0)
        for partition, token in merger.fences():
            merger.fence_read(partition, token, 0)
    assert merger.held_back == 0
    assert not merger._blocked
    assert not merger._wanted
    assert not any(stream.covered or stream.uncovered for stream in merger._streams)
    assert not any(producer.lines for producer in merger._producers.values())


# The sender's side


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from([0.0, 1.0, 25.0]))),
    st.booleans(),
)
def test_an_envelope_names_the_last_that_landed_in_each_other_partition(
    sends: list[tuple[int, int, float]], landing: bool
) -> None:
    departures, now, expected = Departures(4, window=WINDOW), 0.0, 1
    landed: dict[int, tuple[int, float]] = {}
    for partition, parts, wait in sends:
        now += wait
        sequence, after = departures.depart(partition, now, parts=parts)
        assert sequence == expected
        expected += parts
        assert dict(after) == {
            other: number
            for other, (number, at) in landed.items()
            if other != partition and now - at < WINDOW
        }
        assert len(dict(after)) == len(after)
        if landing:
            departures.landed(partition, sequence + parts - 1, now)
            landed[partition] = (sequence + parts - 1, now)


def test_an_envelope_names_nothing_that_has_not_landed() -> None:
    departures = Departures(2, window=WINDOW)
    first, _ = departures.depart(0, 0)
    assert departures.depart(1, 0) == (2, ())
    departures.landed(0, first, 0)
    assert departures.depart(1, 0) == (3, ((0, first),))
    assert departures.depart(0, 0) == (4, ())
