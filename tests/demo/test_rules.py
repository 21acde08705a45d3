"""What may be said and who one may be: the pure rules of the demo."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.names import MAX_NAME_LENGTH, NameRefused, clean_name, name_key
from channel_layers.codec import Position
from chat.frames import read_post, read_since
from chat.rules import MAX_ROOM_TITLE, MAX_TEXT, clean_text, clean_title
from demo_site.frames import Refusal


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("x" * (MAX_TEXT + 1), "too_long"),
        ("a\x00b", "bad_text"),
        ("a\ud800b", "bad_text"),
        ("\x1b[31m", "bad_text"),
        (None, "bad_text"),
        (7, "bad_text"),
        (["a"], "bad_text"),
    ],
)
def test_a_text_that_cannot_be_sent(text: object, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        clean_text(text)
    assert refused.value.code == code
    assert refused.value.text.endswith(".")


@pytest.mark.parametrize(
    "text", ["a", "x" * MAX_TEXT, "<b>", "one\n\ttwo", "🙂" * MAX_TEXT, "שלום"]
)
def test_a_text_that_can_be_sent(text: str) -> None:
    assert clean_text(f"  {text}\r\n") == text


@given(st.text())
def test_a_clean_text_is_clean_and_can_be_stored(text: str) -> None:
    try:
        cleaned = clean_text(text)
    except Refusal:
        return
    assert clean_text(cleaned) == cleaned
    cleaned.encode()
    assert 0 < len(cleaned) <= MAX_TEXT


@pytest.mark.parametrize("title", ["", "  ", "x" * (MAX_ROOM_TITLE + 1), "a\u202eb", "a\x00"])
def test_a_room_cannot_be_called_that(title: str) -> None:
    with pytest.raises(Refusal, match=r"room|characters"):
        clean_title(title)


@pytest.mark.parametrize(
    "name", ["", "   ", "...", "x" * (MAX_NAME_LENGTH + 1), "a\u200bb", "a\x00"]
)
def test_a_person_cannot_be_called_that(name: str) -> None:
    with pytest.raises(NameRefused):
        clean_name(name)


def test_names_that_look_the_same_are_the_same() -> None:
    assert clean_name("  Zoe\u0308   Q ") == "Zoë Q"
    assert name_key("Ann") == name_key("ANN") == name_key("\uff21\uff4e\uff4e")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        "[]",
        "7",
        "{}",
        '{"type": 7}',
        '{"type": "dance"}',
        '{"type": "post"}',
        '{"type": "post", "ref": "no"}',
        '{"type": "post", "ref": {"a": 1}}',
        "[" * 100_000,
    ],
)
def test_a_frame_that_is_none(text: str | None) -> None:
    with pytest.raises(Refusal) as refused:
        read_post(text)
    assert refused.value.code == "bad_frame"


def test_where_a_page_has_been() -> None:
    assert read_since(b"") is None
    assert read_since(b"since=") is None
    assert read_since(b"since=ab%3Acd%3A12") == Position("ab:cd", 12)


@pytest.mark.parametrize(
    "query", [b"since=x", b"since=a:-1", b"since=a:1e3", b"since=a:" + b"9" * 30]
)
def test_where_a_page_cannot_have_been(query: bytes) -> None:
    with pytest.raises(Refusal):
        read_since(query)
