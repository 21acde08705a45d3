"""What was sent twice is recognised: against a model that remembers everything."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_layers import duplicates
from channel_layers.duplicates import Duplicates

REMEMBERED = 8
FORGET_AFTER = 100.0


@pytest.fixture(autouse=True, scope="module")
def little_is_remembered() -> Iterator[None]:
    """So that examples get past what is remembered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "REMEMBERED", REMEMBERED)
        yield


class Model:
    """Every number that was ever new, in the order of its coming, for each producer."""

    def __init__(self) -> None:
        self.came: dict[str, list[int]] = {}

    def is_new(self, producer: str, sequence: int) -> bool:
        came = self.came.setdefault(producer, [])
        forgotten = came[:-REMEMBERED]
        new = sequence not in came and all(sequence > number for number in forgotten)
        if new:
            came.append(sequence)
        return new


numbers = st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 40)), max_size=120)


@given(numbers)
def test_any_numbers_in_any_order_are_judged_as_the_model_does(
    sent: list[tuple[str, int]],
) -> None:
    model, seen = Model(), Duplicates(forget_after=FORGET_AFTER)
    for producer, sequence in sent:
        assert seen.is_new(producer, sequence, 0.0) == model.is_new(producer, sequence)
    assert seen.found == len(sent) - sum(map(len, model.came.values()))
    assert len(seen) == len(model.came)


@given(st.integers(1, 60), st.integers(0, REMEMBERED - 1), st.randoms(use_true_random=False))
def test_what_is_sent_again_after_a_broken_connection_comes_once(
    count: int, unanswered: int, random: Random
) -> None:
    """Each time the last few are given again, in order, and then newer ones."""
    seen, got, at = Duplicates(forget_after=FORGET_AFTER), [], 1
    while at <= count:
        ahead = min(count, at + random.randint(0, REMEMBERED - 1))
        got += [n for n in range(at, ahead + 1) if seen.is_new("A", n, 0.0)]
        at = ahead + 1
        if random.random() < 0.4:
            at = max(1, at - random.randint(0, unanswered))
    assert got == list(range(1, count + 1))


def test_a_late_one_is_new_once() -> None:
    seen = Duplicates(forget_after=FORGET_AFTER)
    assert [seen.is_new("A", n, 0.0) for n in (1, 3, 2, 2, 3, 1)] == [True] * 3 + [False] * 3
    assert seen.found == 3


def test_one_that_came_early_stays_known_when_later_ones_crowd_it_out() -> None:
    seen = Duplicates(forget_after=FORGET_AFTER)
    for number in (50, *range(1, REMEMBERED + 1)):
        assert seen.is_new("A", number, 0.0)
    assert not seen.is_new("A", 50, 0.0)


def test_who_was_silent_for_long_is_forgotten_and_the_others_are_not() -> None:
    seen = Duplicates(forget_after=FORGET_AFTER)
    seen.is_new("silent", 1, 0.0)
    seen.is_new("busy", 1, 0.0)
    seen.is_new("busy", 2, FORGET_AFTER)
    assert len(seen) == 2
    seen.is_new("new", 1, FORGET_AFTER + 1)
    assert len(seen) == 2, "silent has gone"
    assert not seen.is_new("busy", 1, FORGET_AFTER + 1)
    assert seen.is_new("silent", 1, FORGET_AFTER + 1)


def test_a_repeated_number_counts_as_a_sign_of_life() -> None:
    seen = Duplicates(forget_after=FORGET_AFTER)
    seen.is_new("A", 1, 0.0)
    seen.is_new("A", 1, FORGET_AFTER)
    seen.is_new("B", 1, FORGET_AFTER + 50)
    assert not seen.is_new("A", 1, FORGET_AFTER + 50)


def test_processes_that_come_and_go_leave_nothing_behind() -> None:
    seen = Duplicates(forget_after=FORGET_AFTER)
    for number in range(5000):
        seen.is_new(f"process{number}", 1, float(number))
    assert len(seen) <= FORGET_AFTER * 5 / 4 + 2
