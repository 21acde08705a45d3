"""Every key lies in its partition's slot, in its own place, and flush knows which to remove."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from channel_layers.redis import keys as module
from channel_layers.redis.keys import Keys

names = st.text("abcXYZ019.-_", min_size=1, max_size=20)
processes = st.text("abcXYZ019_-", min_size=1, max_size=20)

KINDS: dict[str, Callable[[Keys, str], str]] = {
    "i": Keys.inbox,
    "g": Keys.group,
    "c": Keys.plain,
    "h": Keys.log,
    "u": Keys.unacknowledged,
    "k": Keys.claims,
}


@given(names, names)
def test_all_keys_of_a_partition_lie_in_one_slot(tag: str, name: str) -> None:
    keys = Keys(tag)
    slot = key_slot(tag.encode())
    made = [kind(keys, name) for kind in KINDS.values()] + [keys.processes, keys.never]
    assert {key_slot(key.encode()) for key in made} == {slot}
    assert all(key.startswith(keys.base) for key in made)


@given(st.tuples(names, names), st.tuples(names, names))
def test_no_two_things_share_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    def made(tag: str, name: str) -> set[str]:
        keys = Keys(tag)
        return {kind(keys, name) for kind in KINDS.values()} | {keys.processes}

    assert len(made(*one)) == len(KINDS) + 1
    shared = made(*one) & made(*other)
    if one == other:
        assert shared == made(*one)
    elif one[0] == other[0]:
        assert shared == {Keys(one[0]).processes}
    else:
        assert shared == set()


@pytest.mark.parametrize(("kind", "make"), KINDS.items())
def test_the_names_of_keys_stay(kind: str, make: Callable[[Keys, str], str]) -> None:
    assert make(Keys("site"), "x") == f"{{site}}:{kind}:x"
    assert Keys("site").processes == "{site}:p"
    assert Keys("site").all == "{site}:*"


@given(names, names, st.sampled_from("ipnsgmhockwu"))
def test_flush_removes_what_is_said_and_spares_who_lives(tag: str, name: str, kind: str) -> None:
    key = f"{{{tag}}}:{kind}:{name}".encode()
    assert Keys(tag).is_content(key) == (kind in "gmhockwu")


def test_the_table_of_keys_is_whole() -> None:
    """Each letter that a script or the code writes stands in the module's text."""
    table = set(re.findall(r"^``(\w)(?::<\w+>)?``", module.__doc__ or "", re.MULTILINE))
    assert table == set("ipnsgmhockwux")
