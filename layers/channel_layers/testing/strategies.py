"""Hypothesis strategies: names and messages, legal and not."""

from __future__ import annotations

import string
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from math import isnan
from typing import Final, NamedTuple

from hypothesis import strategies as st

from channel_layers.testing.protocols import Message

__all__ = [
    "AWKWARD",
    "NOT_NAMES",
    "Misplaced",
    "arrived",
    "group_names",
    "illegal_channel_names",
    "illegal_group_names",
    "illegal_messages",
    "local_parts",
    "messages",
    "plain_channel_names",
    "same",
]

MAX_LENGTH: Final = 99
"""Longest legal name: channels wants less than 100 characters."""

LEGAL: Final = string.ascii_letters + string.digits + "-_."

AWKWARD: Final = [
    *("a..b", ".a", "a.", ".", "..", "-", "_", "0", "a-b_c.d", "-inf", "None", "A", "a"),
    "x" * MAX_LENGTH,
    "." * MAX_LENGTH,
    "a." * 49 + "b",
]
"""Legal names that are special to some broker: empty tokens, wildcards, long identifiers."""


def plain_channel_names() -> st.SearchStrategy[str]:
    """Legal names of plain channels, awkward ones included."""
    return st.sampled_from(AWKWARD) | st.text(LEGAL, min_size=1, max_size=MAX_LENGTH)


group_names: Final = plain_channel_names
"""Legal names of groups: the same rules."""


def local_parts(max_size: int = 20) -> st.SearchStrategy[str]:
    """What may follow the ``!``: channels lets any Unicode letter or digit through."""
    letters = st.characters(categories=["L", "N"], include_characters="_-.").filter(
        lambda c: c in "-_." or c.isalnum()
    )
    return st.sampled_from(["é", "ж.日本", "x", "-", "..", "_"]) | st.text(
        letters, min_size=1, max_size=max_size
    )


NOT_NAMES: Final[list[object]] = [
    *("", "a b", "a/b", "a*", "a>", "a:b", "a{b}", "é", "日本", "a\n", "a\x00", " ", "a\tb", "a?"),
    *("x" * 100, "x" * 1000, "!a", "!", "a!b!c", "a!b\n", "a!!", "a!b c"),
    *(b"bytes", None, 7, ["a"], ("a",)),
]


def illegal_channel_names() -> st.SearchStrategy[object]:
    """What is no channel name."""
    spoilt = st.tuples(
        st.text(LEGAL, max_size=20), st.sampled_from(" /*>:\\\n\r\x00é%$#@"), st.text(LEGAL)
    ).map("".join)
    long = st.integers(MAX_LENGTH + 1, 300).map(lambda length: "n" * length)
    return st.sampled_from(NOT_NAMES) | spoilt | long


def illegal_group_names() -> st.SearchStrategy[object]:
    """What is no group name: a group has no ``!`` at all."""
    return illegal_channel_names() | st.sampled_from(["a!b", "a!"])


_ATOMS: Final[st.SearchStrategy[object]] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]),
    st.floats(),
    st.text(),
    st.binary(),
)


def _nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(), inner, max_size=4),
    )


def messages() -> st.SearchStrategy[Message]:
    """Legal messages of every type, nested."""
    values = st.recursive(_ATOMS, _nested, max_leaves=8)
    return st.dictionaries(st.text(), values, max_size=5)


class Misplaced(NamedTuple):
    """A message with something in it that cannot travel, and where it is."""

    message: Message
    path: str
    """As Python would write it: ``message["a"][3]``."""


class _Colour(Enum):
    RED = "red"


_CANNOT_TRAVEL: Final[list[Callable[[], object]]] = [
    object,
    set,
    lambda: {1},
    lambda: frozenset({1}),
    lambda: 2**63,
    lambda: -(2**63) - 1,
    lambda: 2**200,
    lambda: 1j,
    lambda: Decimal("1.5"),
    lambda: datetime(2024, 1, 1, tzinfo=UTC),
    lambda: uuid.UUID(int=7),
    lambda: _Colour.RED,
    lambda: ValueError("x"),
    lambda: range(3),
    lambda: iter([1]),
    lambda: bytearray(b"x"),
    lambda: "\ud800",
    lambda: {7: "int key"},
    lambda: {None: "none key"},
    lambda: {b"b": "bytes key"},
    lambda: {(1,): "tuple key"},
]


@st.composite
def illegal_messages(draw: st.DrawFn) -> Misplaced:
    """Messages that hold one thing that cannot travel, at some depth."""
    value = draw(st.sampled_from(_CANNOT_TRAVEL))()
    path = ""
    keys = st.text(string.ascii_lowercase, min_size=1, max_size=3)
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            before = draw(st.lists(st.integers(0, 9), max_size=3))
            value, path = [*before, value], f"[{len(before)}]{path}"
        else:
            key = draw(keys)
            value, path = {"ok": 1, key: value}, f'["{key}"]{path}'
    key = draw(keys)
    return Misplaced({"type": "t", key: value}, f'message["{key}"]{path}')


def arrived(value: object) -> object:
    """What a legal value is when it has travelled: tuples are lists."""
    if isinstance(value, dict):
        return {key: arrived(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [arrived(item) for item in value]
    return value


def same(one: object, other: object) -> bool:
    """Equal in value and type: 1 is not True, -0.0 is not 0.0, NaN is NaN."""
    if type(one) is float and type(other) is float:
        return (isnan(one) and isnan(other)) or struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other
