"""Names: channels' own rules, to the very end of the text."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
from channels.layers import BaseChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from channel_layers.names import (
    ChannelName,
    new_channel_name,
    new_process_id,
    process_of,
    require_channel_name,
    require_group_name,
)

alphabet = st.characters(codec="utf-8") | st.sampled_from("aZ09-_.!\n é²")
names = st.text(alphabet, max_size=105)


@given(names)
def test_a_name_is_legal_where_channels_says_so_but_for_the_newline_it_overlooks(
    name: str,
) -> None:
    theirs = BaseChannelLayer()
    for ours, check in (
        (require_channel_name, theirs.require_valid_channel_name),
        (require_group_name, theirs.require_valid_group_name),
    ):
        try:
            legal = check(name) and not name.endswith("\n")
        except TypeError:
            legal = False
        if legal:
            assert ours(name) == name
        else:
            with pytest.raises(TypeError, match="it must be text of 1 to 99 characters"):
                ours(name)


@pytest.mark.parametrize("name", [None, 3, b"bytes", ["list"], ("tuple",), object()])
def test_only_text_is_a_name(name: object) -> None:
    for check in (require_channel_name, require_group_name):
        with pytest.raises(TypeError, match="is not a"):
            check(name)


@pytest.mark.parametrize(
    "name", ["a..b", ".a", "a.", "-", "x" * 99, "a!", "a!é", "chat.room!Ünïcode.1"]
)
def test_awkward_but_legal(name: str) -> None:
    assert require_channel_name(name) == name


def test_the_process_is_in_the_name() -> None:
    process = new_process_id()
    assert process_of(new_channel_name("specific", process)) == process
    assert process_of(new_channel_name("a..b.", process)) == process
    assert process_of("plain.name") is None


@pytest.mark.parametrize("prefix", ["x" * 74, "a b", "a!b", "é!", 7])
def test_a_prefix_that_makes_no_name(prefix: str) -> None:
    with pytest.raises(TypeError, match="cannot start a channel name"):
        new_channel_name(prefix, new_process_id())


def test_a_name_knows_whether_it_is_still_held_and_its_copies_are_plain_text() -> None:
    name = new_channel_name("specific", new_process_id())
    alive = weakref.ref(name)
    copied = pickle.loads(pickle.dumps(name))
    assert copied == name
    assert type(copied) is str
    assert copy.deepcopy(name) is name
    assert isinstance(name, ChannelName)
    del name
    gc.collect()
    assert alive() is None
