"""What was taken from plain channels is recognised, unless it was given back since."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_layers import taken
from channel_layers.taken import Taken
from channel_layers.transport import Pulled

OFFERS = st.lists(
    st.tuples(st.sampled_from(["take", "give back"]), st.sampled_from("ab"), st.integers(0, 4)),
    max_size=40,
)


def pulled(number: int) -> Pulled:
    return Pulled(b"frame", 0.0, "", b"%d" % number)


@given(OFFERS)
def test_each_is_taken_once_until_it_is_given_back(history: list[tuple[str, str, int]]) -> None:
    known = Taken()
    held: set[tuple[str, int]] = set()
    for verb, channel, number in history:
        if verb == "take":
            new = known.only_new(channel, [pulled(number)])
            assert new == ([] if (channel, number) in held else [pulled(number)])
            held.add((channel, number))
        else:
            known.given_back(channel, [pulled(number)])
            held.discard((channel, number))


def test_only_the_last_ones_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taken, "REMEMBERED", 3)
    known = Taken()
    known.only_new("c", [pulled(number) for number in range(4)])
    assert known.only_new("c", [pulled(1), pulled(2), pulled(3)]) == []
    assert known.only_new("c", [pulled(0)]) == [pulled(0)]
