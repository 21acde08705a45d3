"""What layers say to each other: it arrives as it was said, across releases, or is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_layers.controls import (
    Add,
    Answer,
    Ask,
    Control,
    Discard,
    Flush,
    decode_control,
    encode_control,
)
from channel_layers.envelope import BadFrame

text = st.text(max_size=20)
controls: st.SearchStrategy[Control] = st.one_of(
    st.builds(Add, text, text),
    st.builds(Discard, text, text, text),
    st.builds(Ask, text, text, text),
    st.builds(Flush, text, text),
    st.builds(Answer, text, text, st.lists(text, max_size=4)),
)


@given(controls)
def test_a_control_arrives_as_it_was_said(control: Control) -> None:
    assert decode_control(encode_control(control)) == control


@given(controls)
def test_elements_that_a_later_release_adds_are_ignored(control: Control) -> None:
    array = msgspec.msgpack.decode(encode_control(control), type=list[object])
    if isinstance(control, Add | Ask | Flush):
        array = [*array, {"later": 1}]
        assert decode_control(msgspec.msgpack.encode(array)) == control
    else:
        assert decode_control(msgspec.msgpack.encode([*array, None, 7])) == control


def test_what_an_earlier_release_leaves_out_is_filled_in() -> None:
    assert decode_control(msgspec.msgpack.encode(["discard", "g", "c"])) == Discard("g", "c", "")
    assert decode_control(msgspec.msgpack.encode(["answer", "p", "t"])) == Answer("p", "t", [])


@pytest.mark.parametrize(
    ("name", "control"),
    [
        ("add", Add("g", "c")),
        ("discard", Discard("g", "c", "t")),
        ("ask", Ask("g", "p", "t")),
        ("flush", Flush("p", "t")),
        ("answer", Answer("p", "t", ["c"])),
    ],
)
def test_the_names_on_the_wire_stay(name: str, control: Control) -> None:
    array = msgspec.msgpack.decode(encode_control(control), type=list[object])
    assert array == [name, *msgspec.structs.astuple(control)]


@given(st.binary(max_size=60))
def test_garbage_is_a_bad_frame_and_nothing_else(body: bytes) -> None:
    try:
        decode_control(body)
    except BadFrame:
        pass


@pytest.mark.parametrize(
    "array", [["dance", "g", "c"], ["add", "g"], ["add", 1, "c"], ["answer", "p", "t", [1]], {}]
)
def test_what_no_release_says_is_a_bad_frame(array: object) -> None:
    with pytest.raises(BadFrame, match="not a control"):
        decode_control(msgspec.msgpack.encode(array))


def test_text_that_is_no_utf8_is_a_bad_frame() -> None:
    body = encode_control(Add("g", "c")).replace(b"g", b"\xff")
    with pytest.raises(BadFrame):
        decode_control(body)
