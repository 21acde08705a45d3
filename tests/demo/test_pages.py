"""The pages, used with forms and without JavaScript."""

from __future__ import annotations

import pytest

from chat.rules import MAX_TEXT, RATE_MESSAGES
from tests.demo.demo_server import DemoServer, Visitor


def test_a_stranger_sees_the_rooms_and_has_to_choose_a_name(server: DemoServer) -> None:
    stranger = server.visitor()
    assert "Lobby" in stranger.get("/").text
    asked = stranger.get("/chat/room/lobby/")
    assert asked.path == "/sign-in/"
    assert stranger.post("/chat/room/lobby/post/", text="hi").path == "/sign-in/"


def test_signing_in_leads_to_where_one_was_going(server: DemoServer, name: str) -> None:
    person = server.visitor()
    entered = person.post("/sign-in/", name=name, next="/chat/room/kitchen/")
    assert (entered.status, entered.path) == (200, "/chat/room/kitchen/")
    assert name in entered.text


@pytest.mark.parametrize("onward", ["https://example.com/", "//example.com", "javascript:alert(1)"])
def test_signing_in_leads_nowhere_else(server: DemoServer, name: str, onward: str) -> None:
    assert server.visitor().post("/sign-in/", name=name, next=onward).path == "/chat/"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("", "Write a name"),
        ("x" * 31, "31 characters"),
        ("a\u202eb", "invisible"),
        ("!!", "letter"),
    ],
)
def test_a_wrong_name_is_refused_with_the_reason(server: DemoServer, wrong: str, says: str) -> None:
    page = server.visitor().sign_in(wrong)
    assert page.status == 400
    assert says in page.alert


def test_a_name_belongs_to_one_person_until_they_sign_out(server: DemoServer, name: str) -> None:
    first, second = server.visitor(name), server.visitor()
    assert "already called" in second.sign_in(name.upper()).alert
    assert first.post("/sign-out/").status == 200
    assert second.sign_in(name).status == 200


def test_what_is_said_is_on_the_page(ann: Visitor, bob: Visitor, room: str) -> None:
    assert ann.post(f"/chat/room/{room}/post/", text=" Hello \n there ").said == ["Hello \n there"]
    assert bob.get(f"/chat/room/{room}/").said == ["Hello \n there"]


def test_html_is_shown_as_text(ann: Visitor, room: str) -> None:
    text = "</script><script>alert(1)</script><img src=x onerror=alert(2)> &amp;"
    page = ann.post(f"/chat/room/{room}/post/", text=text)
    assert page.said == [text]
    assert "<img src=x" not in page.text
    assert "<script>alert" not in page.text


@pytest.mark.parametrize(
    ("text", "says"),
    [("  ", "empty message"), ("x" * (MAX_TEXT + 1), "2,001 characters"), ("a\x00", "control")],
)
def test_a_refused_message_is_explained_and_kept_in_the_box(
    ann: Visitor, room: str, text: str, says: str
) -> None:
    page = ann.post(f"/chat/room/{room}/post/", text=text)
    assert page.status == 400
    assert says in page.alert
    assert page.said == []
    assert text[:MAX_TEXT].strip("\x00 ") in page.text


def test_an_unknown_room_is_said_to_be_unknown(ann: Visitor) -> None:
    for path in ("/chat/room/no-such-room/", "/chat/room/%3Cb%3E/"):
        page = ann.get(path)
        assert page.status == 404
        assert "no room called" in page.alert
    assert ann.post("/chat/room/no-such-room/post/", text="x").status == 404


def test_rooms_can_be_opened(ann: Visitor) -> None:
    assert ann.post("/chat/new/", title="Größe & Ähnliches").path == "/chat/room/groe-ahnliches/"
    assert "会議室" in ann.post("/chat/new/", title="会議室").text
    assert "Give the room a name" in ann.post("/chat/new/", title=" ").alert


def test_sending_too_fast_is_refused_for_a_while(ann: Visitor, room: str) -> None:
    pages = [ann.post(f"/chat/room/{room}/post/", text=str(n)) for n in range(RATE_MESSAGES + 1)]
    assert {page.status for page in pages[:-1]} == {200}
    assert pages[-1].status == 429
    assert "too fast" in pages[-1].alert
