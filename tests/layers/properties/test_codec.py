"""What may travel, and that it arrives as it was sent."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_layers.codec import MAX_DEPTH, Message, Position, decode, encode
from channel_layers.exceptions import MessageTooLarge, MessageTypeError

SIZE = 2**20

letters = st.characters(codec="utf-8", exclude_characters="'\"")

atoms = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
values = st.recursive(
    atoms, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
messages = st.dictionaries(st.text(), values)


class Colour(enum.IntEnum):
    RED = 3


class Name(str):
    __slots__ = ()


class Refused:
    def __repr__(self) -> str:
        return "Refused()"


refused = st.sampled_from(
    [
        Refused(),
        {1, 2},
        frozenset(),
        1j,
        bytearray(b"x"),
        memoryview(b"x"),
        datetime.datetime(2026, 1, 1),  # noqa: DTZ001
        datetime.date(2026, 1, 1),
        uuid.UUID(int=7),
        decimal.Decimal("1.5"),
        2**63,
        -(2**63) - 1,
        range(3),
        "\ud800",
        {1: "int key"},
        {None: "no key"},
        {b"k": "bytes key"},
        {"\udfff": "surrogate key"},
    ]
)


@given(messages)
def test_a_message_arrives_as_it_was_sent_and_each_time_anew(message: dict[str, Any]) -> None:
    body = encode(message, max_size=SIZE)
    first, second = decode(body), decode(body)
    assert first == second == message
    assert first is not second


@given(messages, st.lists(st.text(letters, max_size=5) | st.integers(0, 3), max_size=6), refused)
def test_what_cannot_travel_is_refused_by_its_path(
    around: dict[str, Any], path: list[str | int], bad: object
) -> None:
    value: object = bad
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [*range(step), value]
    steps = (
        f'["{step!r}"]'.replace("'", "") if isinstance(step, str) else f"[{step}]" for step in path
    )
    shown = '["here"]' + "".join(steps)
    with pytest.raises(MessageTypeError) as caught:
        encode({**around, "here": value}, max_size=10 * SIZE)
    assert str(caught.value).startswith(f"message{shown} cannot travel: ")


@given(st.lists(atoms))
def test_tuples_arrive_as_lists(items: list[Any]) -> None:
    body = encode({"t": tuple(items), "n": [(tuple(items),)]}, max_size=SIZE)
    assert decode(body) == {"t": items, "n": [[items]]}


def test_subclasses_arrive_as_their_base() -> None:
    position = Position("e", 1)
    sent = {"s": Name("x"), Name("k"): Colour.RED, "p": position, "m": Message({}, "g", position)}
    received = decode(encode(sent, max_size=SIZE))
    assert received == {"s": "x", "k": 3, "p": ["e", 1], "m": {}}
    assert [type(value) for value in received.values()] == [str, int, list, dict]


def test_not_a_number_and_the_infinities_travel() -> None:
    received = decode(encode({"v": [math.nan, math.inf, -math.inf]}, max_size=SIZE))
    assert math.isnan(received["v"][0])
    assert received["v"][1:] == [math.inf, -math.inf]


@pytest.mark.parametrize("message", ["text", b"bytes", 1, None, [("a", 1)], ["x"]])
def test_a_message_is_a_dict(message: object) -> None:
    with pytest.raises(MessageTypeError, match="must be a dict"):
        encode(message, max_size=SIZE)


def test_nesting_has_an_end_and_a_loop_is_refused() -> None:
    deep: list[object] = []
    for _ in range(MAX_DEPTH - 2):
        deep = [deep]
    encode({"deep": deep}, max_size=SIZE)
    with pytest.raises(MessageTypeError, match="deep"):
        encode({"deep": [[deep]]}, max_size=SIZE)
    loop: dict[str, object] = {}
    loop["again"] = loop
    with pytest.raises(MessageTypeError, match="deep"):
        encode(loop, max_size=SIZE)


@given(st.integers(0, 200))
def test_the_size_limit_is_exact(length: int) -> None:
    message = {"b": b"x" * length}
    size = len(encode(message, max_size=SIZE))
    encode(message, max_size=size)
    with pytest.raises(MessageTooLarge, match=f"{size} bytes"):
        encode(message, max_size=size - 1)
