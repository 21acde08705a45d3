"""The bookkeeping that says whether messages were lost, doubled or out of order."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tally import Losses, Tally


@given(sent=st.integers(0, 30), arrivals=st.lists(st.integers(0, 29), max_size=60))
def test_every_arrival_is_judged_as_a_naive_count_would(sent: int, arrivals: list[int]) -> None:
    arrived = [number for number in arrivals if number < sent]
    tally = Tally()
    fresh = [tally.take(number) for number in arrived]

    counts = Counter(arrived)
    firsts = list(dict.fromkeys(arrived))
    overtaken = sum(any(e > number for e in firsts[:at]) for at, number in enumerate(firsts))
    assert tally.losses(sent) == Losses(
        lost=sent - len(counts),
        doubled=len(arrived) - len(counts),
        disordered=overtaken,
    )
    assert sum(fresh) == len(counts)


@given(
    sent=st.integers(0, 30),
    arrived=st.lists(st.integers(0, 29), max_size=40),
    refused=st.frozensets(st.integers(0, 29)),
)
def test_what_was_refused_may_be_missing_but_nothing_else(
    sent: int, arrived: list[int], refused: frozenset[int]
) -> None:
    arrived = [number for number in arrived if number < sent]
    tally = Tally()
    for number in arrived:
        tally.take(number)
    found = tally.losses(sent, refused)
    assert found.lost == len(set(range(sent)) - set(arrived) - refused)
    assert (found.doubled, found.disordered) == (tally.doubled, tally.disordered)


def test_what_was_never_sent_to_the_end_is_lost() -> None:
    tally = Tally()
    tally.take(0)
    tally.take(2)
    assert tally.losses(5) == Losses(lost=3)


def test_losses_add_up() -> None:
    assert Losses(1, 2, 3) + Losses(10, 20, 30) == Losses(11, 22, 33)
