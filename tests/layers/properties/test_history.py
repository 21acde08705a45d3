"""Positions and recovery: whole, or said not to be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_layers.codec import Position
from channel_layers.history import Entry, Histories, Limits, recover
from channel_layers.patterns import Patterns

SIZE, SECONDS, KEEP = 4, 10.0, 30.0


def histories() -> Histories:
    epochs = itertools.count()
    return Histories(
        Patterns({"chat.*": Limits(SIZE, SECONDS)}, None),
        new_epoch=lambda: f"epoch{next(epochs)}",
        keep_seconds=KEEP,
    )


steps = st.lists(
    st.tuples(
        st.sampled_from(["append", "read", "clear"]), st.sampled_from([0.0, 0.5, 4.0, 11.0, 31.0])
    ),
    max_size=40,
)


@given(steps, st.integers(1, 6) | st.none())
def test_a_recovery_is_whole_or_says_that_it_is_not(
    steps: list[tuple[str, float]], limit: int | None
) -> None:
    store, now, sent = histories(), 0.0, []
    since = store.position("chat.a", now)
    missed: list[bytes] = []
    for number, (step, wait) in enumerate(steps):
        now += wait
        if step == "append":
            body = str(number).encode()
            position = store.append("chat.a", body, now)
            assert position is not None
            sent.append(position)
            missed.append(body)
        elif step == "clear":
            store.clear()
        else:
            found = store.read("chat.a", since, limit, now)
            got = [entry.body for entry in found.entries]
            if found.recovered:
                assert got == missed[: len(got)]
                if found.position == store.position("chat.a", now):
                    assert got == missed
                else:
                    assert limit is not None
                    assert len(got) == limit
            else:
                assert got == missed[len(missed) - len(got) :] or limit is not None
            assert len(got) <= (limit or SIZE)
            if found.recovered:
                missed = missed[len(got) :]
                since = found.position
            else:
                missed, since = [], store.position("chat.a", now)
    for earlier, later in itertools.pairwise(sent):
        assert later.offset == (earlier.offset + 1 if later.epoch == earlier.epoch else 1)


def test_the_oldest_go_by_number_and_by_age() -> None:
    store = histories()
    for number in range(SIZE + 2):
        store.append("chat.a", b"%d" % number, number)
    kept = store.read("chat.a", None, None, SIZE + 1).entries
    assert [entry.body for entry in kept] == [b"2", b"3", b"4", b"5"]
    assert [entry.body for entry in store.read("chat.a", None, 2, SIZE + 1).entries] == [b"4", b"5"]
    assert [e.body for e in store.read("chat.a", None, None, 3 + SECONDS).entries] == [b"4", b"5"]


def test_reading_on_by_pages_gives_everything_once() -> None:
    store = histories()
    start = store.position("chat.a", 0)
    for number in range(SIZE):
        store.append("chat.a", b"%d" % number, 0)
    got, since = [], start
    for _ in range(SIZE):
        page = store.read("chat.a", since, 1, 0)
        assert page.recovered
        got += [entry.body for entry in page.entries]
        since = page.position
    assert got == [b"0", b"1", b"2", b"3"]
    assert store.read("chat.a", since, 1, 0).entries == []


@pytest.mark.parametrize("since", [Position("other", 1), Position("epoch0", 99)])
def test_a_position_of_another_world_is_not_recovered(since: Position) -> None:
    store = histories()
    store.append("chat.a", b"x", 0)
    found = store.read("chat.a", since, None, 0)
    assert not found.recovered
    assert [entry.body for entry in found.entries] == [b"x"], "what there is, to show meanwhile"


def test_groups_without_history_have_none() -> None:
    store = histories()
    assert store.append("other", b"x", 0) is None
    with pytest.raises(KeyError):
        store.position("other", 0)
    with pytest.raises(KeyError):
        store.read("other", None, None, 0)


def test_a_million_groups_leave_nothing_behind() -> None:
    store = histories()
    for number in range(5000):
        store.append(f"chat.{number}", b"x", number / 10)
    assert len(store._logs) <= KEEP * 10 + 3


@given(
    st.integers(0, 12),
    st.integers(0, 12),
    st.none() | st.tuples(st.sampled_from(["epoch", "other"]), st.integers(0, 14)),
    st.none() | st.integers(1, 14),
)
def test_recovery_from_any_log(
    sent: int, forgotten: int, asked: tuple[str, int] | None, limit: int | None
) -> None:
    """Whoever keeps the log: messages 1 to ``sent``, of which the first are forgotten."""
    log = [Entry(number, 0.0, b"%d" % number) for number in range(forgotten + 1, sent + 1)]
    end = Position("epoch", sent)
    since = Position(*asked) if asked else None
    found = recover(log, end, since, limit)
    known = since is not None and since.epoch == "epoch" and since.offset <= sent
    if known:
        assert since is not None
        missed = [entry for entry in log if entry.offset > since.offset]
        assert found.entries == missed[:limit]
        assert found.recovered == (since.offset >= min(forgotten, sent))
        whole = limit is None or len(missed) <= limit
        assert found.position == (end if whole else Position("epoch", found.entries[-1].offset))
    else:
        assert found.entries == (log if limit is None else log[-limit:])
        assert found.recovered == (since is None)
        assert found.position == end
