"""Plain channels: their scripts alone, on a real server, against a model made of lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from tests.layers.redis.keyspace import Answer, Keyspace, keyspace

FIRST = 1_700_000_000_000_000_990
"""Number of a pull; the next ones differ in their last digits, too long for a Lua number."""


@pytest.fixture(scope="module")
def client() -> Iterator[Redis]:
    with keyspace() as space:
        yield space.redis


@pytest.fixture
def space(client: Redis) -> Keyspace:
    space = Keyspace(client)
    for process in "AB":
        space.register(process)
    return space


def frames(answer: list[Answer]) -> list[bytes]:
    """What a pull took."""
    return [element.partition(b":")[2] for element in cast("list[bytes]", answer[2:])]


def test_a_channel_holds_its_capacity_in_order(space: Keyspace) -> None:
    assert [space.push("jobs", b"%d" % n, capacity=3) for n in range(5)] == [[1, 0]] * 3 + [
        [0, 0]
    ] * 2
    assert space.waits_in("jobs") == [b"0", b"1", b"2"]
    answer = space.pull("jobs", "A", FIRST, count=2)
    assert (answer[0], frames(answer)) == (0, [b"0", b"1"])
    assert space.push("jobs", b"5", capacity=3) == [1, 0]
    assert frames(space.pull("jobs", "B", FIRST, count=9)) == [b"2", b"5"]


def test_the_time_of_sending_and_of_the_answer_are_of_one_clock(space: Keyspace) -> None:
    space.push("jobs", b"x")
    _, now, element = cast("list[bytes]", space.pull("jobs", "A", FIRST))
    assert 0 <= int(now) - int(element.partition(b":")[0]) < 5_000


def test_a_push_given_again_counts_once_also_when_newer_ones_were_done(space: Keyspace) -> None:
    first, second = space.number(), space.number()
    for number in (first, first, second, first, second):
        assert space.push("jobs", b"%d" % number, number=number) == [1, 0]
    assert space.waits_in("jobs") == [b"1", b"2"]
    assert space.push("jobs", b"other", number=first, producer="another") == [1, 0]
    assert len(space.waits_in("jobs")) == 3, "each sender counts for itself"
    assert 0 < space.all_keys()["s:sender"] <= 60_000


def test_expired_messages_make_room_and_are_counted(space: Keyspace) -> None:
    for number in range(3):
        space.put_old("jobs", b"old%d" % number, age=61_000)
    space.put_old("jobs", b"young", age=59_000)
    assert space.push("jobs", b"x", capacity=4) == [1, 3]
    assert space.waits_in("jobs") == [b"young", b"x"]


def test_expired_messages_are_not_pulled(space: Keyspace) -> None:
    for age in (61_000, 60_500, 59_000):
        space.put_old("jobs", b"%d" % age, age=age)
    space.push("jobs", b"x")
    answer = space.pull("jobs", "A", FIRST, count=1, keep=True)
    assert (answer[0], frames(answer)) == (2, [b"59000"])
    assert space.redis.hlen(space.keys.unacknowledged("A")) == 1
    assert space.waits_in("jobs") == [b"x"]


def test_a_list_that_lapses_outlives_its_messages(space: Keyspace) -> None:
    space.push("jobs", b"x")
    assert 120_000 < space.all_keys()["c:jobs"] <= 180_000
    space.redis.persist(space.keys.plain("jobs"))
    space.take_back("jobs", "A", "", b"1:back")
    assert 120_000 < space.all_keys()["c:jobs"] <= 180_000


# Waking


def test_who_waits_longest_is_told_first_and_only_one(space: Keyspace) -> None:
    for place, process in enumerate("BA"):
        space.pull("jobs", process, FIRST)
        space.redis.zadd(f"{space.base}w:jobs", {process: place})
    space.push("jobs", b"x")
    assert (space.wakened("A"), space.wakened("B")) == (0, 1)
    space.push("jobs", b"y")
    assert (space.wakened("A"), space.wakened("B")) == (1, 1)
    assert space.inbox("A") == [(b"wanted", b"jobs")]


def test_the_dead_are_not_told(space: Keyspace) -> None:
    for place, process in enumerate("AB"):
        space.pull("jobs", process, FIRST)
        space.redis.zadd(f"{space.base}w:jobs", {process: place})
    space.redis.delete(space.keys.inbox("A"))
    space.push("jobs", b"x")
    assert space.wakened("B") == 1
    assert "i:A" not in space.all_keys()


def test_who_gets_all_it_wants_passes_the_rest_on_and_waits_no_more(space: Keyspace) -> None:
    for process in "AB":
        space.pull("jobs", process, FIRST)
    for frame in (b"x", b"y"):
        space.redis.rpush(space.keys.plain("jobs"), b"9999999999999:" + frame)
    assert frames(space.pull("jobs", "A", FIRST + 1)) == [b"x"]
    assert space.wakened("B") == 1
    space.push("jobs", b"z")
    assert space.wakened("A") == 0


def test_who_gets_too_few_waits_and_who_wants_none_does_not(space: Keyspace) -> None:
    space.push("jobs", b"x")
    assert frames(space.pull("jobs", "A", FIRST, count=2)) == [b"x"]
    assert space.redis.zrange(f"{space.base}w:jobs", 0, -1) == [b"A"]
    assert frames(space.pull("jobs", "A", FIRST + 1, count=0)) == []
    assert space.redis.exists(f"{space.base}w:jobs") == 0


def test_what_goes_back_wakes_another_process(space: Keyspace) -> None:
    space.push("jobs", b"x")
    element = cast("list[bytes]", space.pull("jobs", "A", FIRST))[2]
    space.pull("jobs", "B", FIRST)
    space.take_back("jobs", "A", "", element)
    assert space.wakened("B") == 1
    assert frames(space.pull("jobs", "B", FIRST + 1)) == [b"x"]


# Answers that were lost


def test_a_pull_given_again_has_the_same_answer(space: Keyspace) -> None:
    for number in range(4):
        space.push("jobs", b"%d" % number)
    answer = space.pull("jobs", "A", FIRST, count=2)
    assert space.pull("jobs", "A", FIRST, count=2) == answer
    assert frames(space.pull("jobs", "A", FIRST + 1, count=1)) == [b"2"]
    assert frames(space.pull("jobs", "B", FIRST + 1, count=1)) == [b"3"]
    assert 0 < space.all_keys()["k:A"] <= 90_000


def test_a_pull_of_a_connection_that_has_ended_takes_nothing(space: Keyspace) -> None:
    for number in range(3):
        space.push("jobs", b"%d" % number)
    space.pull("jobs", "A", FIRST + 9)
    space.pull("jobs", "A", FIRST)
    assert space.waits_in("jobs") == [b"1", b"2"]


def test_what_is_not_yet_acknowledged_goes_back_once(space: Keyspace) -> None:
    for number in range(3):
        space.push("jobs", b"%d" % number)
    elements = cast("list[bytes]", space.pull("jobs", "A", FIRST, count=3, keep=True))[2:]
    receipts = [f"jobs:{FIRST}:{place}" for place in (1, 2, 3)]
    unfinished = space.keys.unacknowledged("A")
    assert sorted(cast("list[bytes]", space.redis.hkeys(unfinished))) == [
        receipt.encode() for receipt in receipts
    ]
    space.redis.hdel(unfinished, receipts[1])  # acknowledged
    pairs = [word for pair in zip(receipts, elements, strict=True) for word in pair]
    for _ in range(2):
        space.take_back("jobs", "A", *pairs)
    assert space.waits_in("jobs") == [b"0", b"2"]
    assert "u:A" not in space.all_keys()


class PlainMachine(RuleBasedStateMachine):
    """Senders and processes that pull, ask again and put back, in any order."""

    client: Redis
    capacity = 4

    @initialize(keep=st.booleans())
    def start(self, keep: bool) -> None:
        self.space = Keyspace(self.client)
        self.keep = keep
        self.sent = 0
        self.pulls = 0
        self.last_push: tuple[int, bytes, bool] | None = None
        self.list: list[bytes] = []
        self.held: dict[str, list[tuple[str, bytes]]] = {"A": [], "B": [], "C": []}
        """What each process has taken: receipts and elements."""
        self.last_pull: dict[str, tuple[int, int, list[Answer]]] = {}
        self.read: set[bytes] = set()
        self.told: dict[str, int] = {}
        self.woken: set[str] = set()
        for process in self.held:
            self.space.register(process)

    @rule()
    def push(self) -> None:
        self.sent += 1
        frame, number = b"%d" % self.sent, self.space.number()
        fits = len(self.list) < self.capacity
        answer = self.space.push("jobs", frame, capacity=self.capacity, number=number)
        assert answer == [int(fits), 0]
        if fits:
            self.list.append(frame)
        self.last_push = number, frame, fits

    @precondition(lambda self: self.last_push is not None and self.last_push[2])
    @rule()
    def push_again(self) -> None:
        assert self.last_push is not None
        number, frame, _ = self.last_push
        assert self.space.push("jobs", frame, number=number) == [1, 0]

    @rule(process=st.sampled_from("ABC"), count=st.integers(0, 3))
    def pull(self, process: str, count: int) -> None:
        self.pulls += 1
        number = FIRST + self.pulls
        answer = self.space.pull("jobs", process, number, count, keep=self.keep)
        self.woken.discard(process)
        taken, self.list = self.list[:count], self.list[count:]
        assert frames(answer) == taken
        for place, element in enumerate(cast("list[bytes]", answer[2:]), 1):
            receipt = f"jobs:{number}:{place}" if self.keep else ""
            self.held[process].append((receipt, element))
        self.last_pull[process] = number, count, answer

    @rule(process=st.sampled_from("ABC"))
    def pull_again(self, process: str) -> None:
        if process in self.last_pull:
            number, count, answer = self.last_pull[process]
            assert self.space.pull("jobs", process, number, count, keep=self.keep) == answer

    @rule(process=st.sampled_from("ABC"), count=st.integers(1, 3), twice=st.booleans())
    def put_back(self, process: str, count: int, twice: bool) -> None:
        held = self.held[process]
        back, self.held[process] = held[:count], held[count:]
        if back:
            number = self.space.number()
            words = [word for pair in back for word in pair]
            for _ in range(1 + twice):
                self.space.take_back("jobs", process, *words, number=number)
            self.list = [element.partition(b":")[2] for _, element in back] + self.list
            self.last_push = None  # it is older than the last command now

    @rule(process=st.sampled_from("ABC"))
    def read_one(self, process: str) -> None:
        if self.held[process]:
            receipt, element = self.held[process].pop(0)
            frame = element.partition(b":")[2]
            assert frame not in self.read, "at most once"
            self.read.add(frame)
            self.space.redis.hdel(self.space.keys.unacknowledged(process), receipt)

    @invariant()
    def the_list_is_the_models(self) -> None:
        if hasattr(self, "space"):
            assert self.space.waits_in("jobs") == self.list

    @invariant()
    def what_is_unacknowledged_is_what_is_held(self) -> None:
        if hasattr(self, "space") and self.keep:
            for process, held in self.held.items():
                key = self.space.keys.unacknowledged(process)
                found = cast("list[bytes]", self.space.redis.hkeys(key))
                assert sorted(found) == sorted(receipt.encode() for receipt, _ in held)

    @invariant()
    def somebody_has_been_told_where_messages_and_readers_wait(self) -> None:
        if hasattr(self, "space"):
            for process in self.held:
                told = self.space.wakened(process)
                if told > self.told.get(process, 0):
                    self.woken.add(process)
                self.told[process] = told
            if self.list and self.space.redis.zcard(f"{self.space.base}w:jobs"):
                assert self.woken


def test_any_history_of_pulls_and_returns_is_as_the_lists_say(client: Redis) -> None:
    PlainMachine.client = client
    run_state_machine_as_test(
        PlainMachine, settings=settings(max_examples=60, stateful_step_count=30)
    )
