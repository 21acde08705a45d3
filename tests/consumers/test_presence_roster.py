"""The presence protocol, without I/O: whatever the network does, everybody agrees in the end."""

from __future__ import annotations

from collections import deque
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from channel_consumers.presence import Roster
from channel_consumers.presence.frames import (
    Ask,
    Beat,
    Bye,
    Delta,
    Frame,
    FrameError,
    State,
    read,
    write,
)
from channel_consumers.presence.people import People
from channel_consumers.presence.roster import PATIENCE

EVERY = 5.0
GROUPS = ("lobby", "den")
KEYS = ("ann", "bob", "cy")


class Network:
    """Rosters, and the frames between them that have been sent but not delivered."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rosters: dict[str, Roster] = {}
        self.in_flight: list[tuple[str, Frame]] = []
        self.made = 0

    def start(self) -> str:
        self.made += 1
        name = f"node.{self.made}"
        self.rosters[name] = Roster(name, every=EVERY, now=self.now)
        return name

    def collect(self) -> None:
        for name, roster in self.rosters.items():
            for target, frame in roster.take_outgoing():
                # Over the wire and back, as the layer does it.
                carried = read(write(frame))
                targets = self.rosters if target is None else [target]
                self.in_flight.extend((to, carried) for to in targets)
                assert carried.node == name

    def deliver(self, index: int, *, keep: bool = False) -> None:
        to, frame = self.in_flight[index] if keep else self.in_flight.pop(index)
        if to in self.rosters:
            self.rosters[to].receive(frame, self.now)

    def settle(self) -> None:
        self.collect()
        while self.in_flight:
            self.deliver(0)
            self.collect()

    def beat(self) -> None:
        self.now += EVERY
        for roster in self.rosters.values():
            roster.beat(self.now)


def shown(roster: Roster, group: str) -> dict[str, list[str]]:
    people = roster.people(group)
    found = {p.key: sorted(meta["conn"] for meta in p.metas) for p in people}
    assert len(found) == len(people)
    assert all(found.values())
    return found


class RosterMachine(RuleBasedStateMachine):
    """Processes that come, go and crash on a network that loses, doubles and reorders."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Network()
        self.members: dict[tuple[str, str, int], str] = {}
        self.watched: dict[str, set[str]] = {}
        self.told: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
        self.number = 0

    @initialize(count=st.integers(1, 3))
    def begin(self, count: int) -> None:
        for _ in range(count):
            self.watched[self.net.start()] = set()

    @precondition(lambda self: len(self.watched) < 4)
    @rule()
    def start(self) -> None:
        self.watched[self.net.start()] = set()

    @precondition(lambda self: self.watched)
    @rule(data=st.data(), group=st.sampled_from(GROUPS), key=st.sampled_from(KEYS))
    def join(self, data: st.DataObject, group: str, key: str) -> None:
        node = data.draw(st.sampled_from(sorted(self.watched)))
        self.number += 1
        self.watch(node, group)
        self.members[node, group, self.number] = key
        meta = {"conn": f"{node}/{self.number}"}
        self.net.rosters[node].join(group, self.number, key, meta)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), key=st.sampled_from(KEYS))
    def change(self, data: st.DataObject, key: str) -> None:
        node, group, number = member = data.draw(st.sampled_from(sorted(self.members)))
        self.members[member] = key
        self.net.rosters[node].join(group, number, key, {"conn": f"{node}/{number}"})

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        node, group, number = member = data.draw(st.sampled_from(sorted(self.members)))
        del self.members[member]
        self.net.rosters[node].leave(group, number)

    @precondition(lambda self: self.watched)
    @rule(data=st.data(), group=st.sampled_from(GROUPS))
    def watch_only(self, data: st.DataObject, group: str) -> None:
        self.watch(data.draw(st.sampled_from(sorted(self.watched))), group)

    @precondition(lambda self: any(self.watched.values()))
    @rule(data=st.data())
    def unwatch(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(sorted(n for n, g in self.watched.items() if g)))
        group = data.draw(st.sampled_from(sorted(self.watched[node])))
        for member in [m for m in self.members if m[:2] == (node, group)]:
            del self.members[member]
            self.net.rosters[node].leave(group, member[2])
        self.net.rosters[node].unwatch(group)
        self.watched[node].discard(group)
        self.told.pop((node, group), None)

    @precondition(lambda self: self.watched)
    @rule(data=st.data(), politely=st.booleans())
    def end(self, data: st.DataObject, politely: bool) -> None:
        node = data.draw(st.sampled_from(sorted(self.watched)))
        if politely:
            self.net.rosters[node].bye()
            self.net.collect()
        del self.net.rosters[node], self.watched[node]
        self.members = {m: key for m, key in self.members.items() if m[0] != node}
        self.told = {where: people for where, people in self.told.items() if where[0] != node}

    @rule()
    def send(self) -> None:
        self.net.collect()

    @precondition(lambda self: self.net.in_flight)
    @rule(data=st.data(), fate=st.sampled_from(["deliver", "deliver", "double", "lose"]))
    def one_frame(self, data: st.DataObject, fate: str) -> None:
        index = data.draw(st.integers(0, len(self.net.in_flight) - 1))
        if fate == "lose":
            del self.net.in_flight[index]
        else:
            self.net.deliver(index, keep=fate == "double")

    @rule(share=st.floats(0, 1))
    def some_frames(self, share: float) -> None:
        for _ in range(int(len(self.net.in_flight) * share)):
            self.net.deliver(0)

    @rule()
    def beat(self) -> None:
        self.net.beat()

    @invariant()
    def own_members_are_known_at_once(self) -> None:
        for node, groups in self.watched.items():
            for group in groups:
                own = shown(self.net.rosters[node], group)
                for (where, which, number), key in self.members.items():
                    if (where, which) == (node, group):
                        assert f"{node}/{number}" in own[key]

    @invariant()
    def what_is_told_adds_up_to_what_is_listed(self) -> None:
        for node, roster in self.net.rosters.items():
            for group, touched in roster.take_touched():
                told = self.told.setdefault((node, group), {})
                change = roster.view(group).change_since(touched)
                for person in change.joined:
                    assert person.key not in told
                    told[person.key] = person.metas
                for person in change.updated:
                    assert told[person.key] != person.metas
                    told[person.key] = person.metas
                for person in change.left:
                    assert told.pop(person.key) == person.metas
            for group in self.watched[node]:
                listed = {p.key: p.metas for p in roster.people(group)}
                assert self.told.get((node, group), {}) == listed

    def teardown(self) -> None:
        self.net.in_flight.clear()  # all that was still under way is lost
        for _ in range(PATIENCE + 1):  # one round repairs; the dead are missed after PATIENCE
            self.net.beat()
            self.net.settle()
        self.all_agree()

    def watch(self, node: str, group: str) -> None:
        self.net.rosters[node].watch(group)
        self.watched[node].add(group)

    def all_agree(self) -> None:
        for group in GROUPS:
            truth: dict[str, list[str]] = {}
            for (node, where, number), key in self.members.items():
                if where == group:
                    truth.setdefault(key, []).append(f"{node}/{number}")
            truth = {key: sorted(found) for key, found in truth.items()}
            for node, groups in self.watched.items():
                if group in groups:
                    assert shown(self.net.rosters[node], group) == truth


RosterMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRosterMachine = RosterMachine.TestCase


def two_in_lobby() -> tuple[Network, Roster, Roster]:
    net = Network()
    one, two = net.rosters[net.start()], net.rosters[net.start()]
    for number, (roster, key) in enumerate([(one, "ann"), (two, "bob")]):
        roster.watch("lobby")
        roster.join("lobby", number, key, {"conn": f"{roster.node}/{number}"})
    net.settle()
    return net, one, two


def keys(roster: Roster, group: str = "lobby") -> set[str]:
    return {person.key for person in roster.people(group)}


def test_a_starting_node_learns_of_all_at_once() -> None:
    net, one, two = two_in_lobby()
    three = net.rosters[net.start()]
    three.watch("lobby")
    net.settle()
    assert keys(one) == keys(two) == keys(three) == {"ann", "bob"}


def test_a_lost_delta_is_made_up_for_by_the_next_beat() -> None:
    net, one, two = two_in_lobby()
    one.join("lobby", 7, "cy", {"conn": "x"})
    net.collect()
    net.in_flight.clear()
    assert "cy" not in keys(two)
    net.beat()
    net.settle()
    assert "cy" in keys(two)


# One roster, told by hand what another node says: exact orders of frames

OTHER = "other"


def told(*frames: Frame) -> Roster:
    roster = Roster("me", every=EVERY, now=0.0)
    roster.watch("lobby")
    roster.take_outgoing()
    for frame in frames:
        roster.receive(frame, 0.0)
    return roster


def delta(seq: int, *, joins: tuple[int, ...] = (), leaves: tuple[int, ...] = ()) -> Delta:
    return Delta(
        OTHER,
        seq,
        joins=[("lobby", number, f"user{number}", {}) for number in joins],
        leaves=[("lobby", number) for number in leaves],
    )


def state(seq: int, *numbers: int) -> State:
    return State(OTHER, seq, EVERY, {"lobby": [(n, f"user{n}", {}) for n in numbers]})


ASK = [(OTHER, Ask("me", ["lobby"]))]


def test_a_delta_that_comes_twice_brings_nobody_back() -> None:
    roster = told(state(0), delta(1, joins=(1,)), delta(2, leaves=(1,)), delta(1, joins=(1,)))
    assert keys(roster) == set()
    assert roster.take_outgoing() == []


def test_a_state_that_crossed_a_newer_delta_is_asked_for_again() -> None:
    roster = told(delta(1, joins=(1, 2)), delta(2, leaves=(1,)))
    roster.take_outgoing()
    roster.receive(state(1, 1, 2), 0.0)
    assert keys(roster) == {"user2"}
    assert roster.take_outgoing() == ASK
    roster.receive(state(2, 2, 3), 0.0)
    assert keys(roster) == {"user2", "user3"}
    assert roster.take_outgoing() == []


def test_deltas_that_a_state_covers_already_change_nothing() -> None:
    roster = told(state(5), state(7, 3))
    for late in (delta(6, joins=(1,), leaves=(3,)), delta(7, leaves=(1,), joins=(3,))):
        roster.receive(late, 0.0)
        assert keys(roster) == {"user3"}
    roster.receive(delta(8, joins=(4,)), 0.0)
    assert keys(roster) == {"user3", "user4"}
    assert roster.take_outgoing() == []


def test_an_older_state_does_not_replace_a_newer_one() -> None:
    assert keys(told(state(5), state(7, 3), state(6, 1))) == {"user3"}


def test_who_is_not_in_a_newer_state_is_gone() -> None:
    assert keys(told(state(5, 1, 2), state(6, 2))) == {"user2"}


def test_a_missed_delta_is_asked_for_and_takes_nobody_away_meanwhile() -> None:
    roster = told(state(1, 1), delta(3, joins=(3,)))
    assert keys(roster) == {"user1", "user3"}
    assert roster.take_outgoing() == ASK


def test_what_is_still_unknown_is_asked_for_at_the_next_beat() -> None:
    roster = told(Beat(OTHER, 1, EVERY))
    assert roster.take_outgoing() == ASK  # lost, say
    roster.receive(Beat(OTHER, 1, EVERY), 0.0)
    assert roster.take_outgoing() == ASK
    roster.receive(state(1), 0.0)
    roster.receive(Beat(OTHER, 1, EVERY), 0.0)
    assert roster.take_outgoing() == []
    roster.watch("den")
    roster.take_outgoing()  # lost as well
    roster.receive(Beat(OTHER, 1, EVERY), 0.0)
    assert roster.take_outgoing() == [(OTHER, Ask("me", ["den"]))]


def test_who_says_goodbye_is_gone_at_once() -> None:
    roster = told(state(1, 1), Bye(OTHER))
    assert keys(roster) == set()
    assert roster.nodes == []


def test_what_was_undone_before_it_was_told() -> None:
    roster = told()
    roster.join("lobby", 1, "ann", {})
    roster.leave("lobby", 1)
    (_, frame), *more = roster.take_outgoing()
    assert isinstance(frame, Delta)
    assert (frame.joins, more) == ([], [])
    roster.join("lobby", 2, "bob", {})
    roster.take_outgoing()
    roster.leave("lobby", 2)
    roster.join("lobby", 2, "bob", {})
    (_, frame), *more = roster.take_outgoing()
    assert isinstance(frame, Delta)
    assert (frame.joins, frame.leaves, more) == ([("lobby", 2, "bob", {})], [], [])


def test_a_silent_node_is_dead_after_its_patience_and_not_before() -> None:
    net, one, two = two_in_lobby()
    del net.rosters[two.node]
    for _ in range(PATIENCE):
        net.beat()
        net.settle()
        assert keys(one) == {"ann", "bob"}
    net.beat()
    assert keys(one) == {"ann"}


def test_a_node_that_slept_itself_declares_nobody_dead() -> None:
    net, one, two = two_in_lobby()
    net.now += 100 * EVERY
    one.beat(net.now)
    assert keys(one) == {"ann", "bob"}
    assert one.nodes == [two.node]


def test_a_node_taken_for_dead_that_speaks_again_is_alive_again() -> None:
    net, one, two = two_in_lobby()
    for _ in range(PATIENCE + 1):
        net.now += EVERY
        one.beat(net.now)
        one.take_outgoing()
    assert keys(one) == {"ann"}
    two.beat(net.now)
    net.settle()
    assert keys(one) == {"ann", "bob"}


def test_who_does_not_hear_itself_asks_again() -> None:
    net, one, _two = two_in_lobby()
    assert one.beat(net.now + EVERY)
    one.take_outgoing()  # and nothing of it comes back
    assert not one.beat(net.now + 2 * EVERY)


def test_the_frames_of_a_join_do_not_grow_with_the_members() -> None:
    net, one, two = two_in_lobby()
    for number in range(100, 400):
        two.join("lobby", number, f"user{number}", {"conn": str(number)})
    net.settle()
    one.join("lobby", 1000, "dora", {"conn": "d"})
    assert [(to, type(frame)) for to, frame in one.take_outgoing()] == [(None, Delta)]
    three = net.rosters[net.start()]
    three.watch("lobby")
    net.collect()
    while net.in_flight and not isinstance(net.in_flight[0][1], State):
        net.deliver(0)
        net.collect()
    # Each other node answers with its own members, to the asker alone.
    assert sorted((to, frame.node) for to, frame in net.in_flight) == [
        (three.node, one.node),
        (three.node, two.node),
    ]


def test_many_changes_travel_together_in_frames_of_bounded_size() -> None:
    _net, one, _two = two_in_lobby()
    for number in range(100, 1300):
        one.join("lobby", number, f"user{number}", {})
    frames = deque(frame for _, frame in one.take_outgoing())
    assert [len(frame.joins) for frame in frames if isinstance(frame, Delta)] == [500, 500, 200]


def test_metas_of_one_person_are_kept_in_order_and_changes_told_apart() -> None:
    people = People()
    people.put(("a", 1), "ann", {"tab": 1})
    people.put(("b", 1), "bob", {})
    people.take_touched()
    people.put(("a", 2), "ann", {"tab": 2})
    people.drop(("b", 1), "bob")
    people.put(("c", 1), "cy", {})
    change = people.change_since(people.take_touched())
    assert [p.key for p in change.joined] == ["cy"]
    assert [(p.key, p.metas) for p in change.updated] == [("ann", [{"tab": 1}, {"tab": 2}])]
    assert [p.key for p in change.left] == ["bob"]
    assert people.get("ann") == ("ann", [{"tab": 1}, {"tab": 2}])


def test_who_comes_and_goes_between_two_looks_is_not_told() -> None:
    people = People()
    people.put(("a", 1), "ann", {})
    people.drop(("a", 1), "ann")
    assert people.change_since(people.take_touched()) == ([], [], [])


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "presence.frame"},
        {"type": "presence.frame", "v": 2, "kind": "bye", "node": "a"},
        {"type": "presence.frame", "v": 1, "kind": "other", "node": "a"},
        {"type": "presence.frame", "v": 1, "kind": "beat", "node": "a", "seq": "x", "every": 1},
        {"type": "presence.frame", "v": 1, "kind": "bye", "node": "not a name"},
        {"type": "presence.frame", "v": 1, "kind": "delta", "node": "a", "seq": 1, "joins": [[1]]},
        {"type": "presence.frame", "v": 1, "kind": "ask", "node": "a", "groups": {"x": 1}},
    ],
)
def test_what_is_no_frame_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(FrameError):
        read(message)


def test_bytes_in_a_meta_survive_the_wire() -> None:
    frame = Delta("n.1", 1, joins=[("g", 1, "ann", {"avatar": b"\x00\xff"})])
    assert read(write(frame)) == frame
