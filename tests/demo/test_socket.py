"""The chat's socket: joining, catching up, and everything that can be sent to it wrongly."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chat.rules import MAX_TEXT, RATE_MESSAGES
from tests.demo.demo_server import DemoServer, Socket, Visitor


def post(text: object, ref: str | None = None) -> dict[str, object]:
    return {"type": "post", "ref": ref or str(uuid.uuid4()), "text": text}


def texts(welcome: dict[str, Any]) -> list[str]:
    return [message["text"] for message in welcome["messages"]]


def closed_with(socket: Socket) -> int:
    """The code with which the server closes; the frames before it are passed over."""
    with pytest.raises(ConnectionClosed) as closed:
        socket.next("nothing of this type")
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


@pytest.fixture
def in_room(ann: Visitor, room: str) -> Iterator[Socket]:
    with ann.enter(room) as socket:
        assert socket.next("welcome")["whole"]
        yield socket


def test_what_one_says_all_hear(in_room: Socket, bob: Visitor, room: str) -> None:
    with bob.enter(room) as other:
        other.next("welcome")
        other.send(post("<b>hello</b>"))
        stored = other.next("stored")
        assert stored["live"]
        heard = in_room.next("message")
        assert heard["message"] == stored["message"] == other.next("message")["message"]
        assert heard["message"]["text"] == "<b>hello</b>"


def test_what_a_plain_view_stores_appears_live(in_room: Socket, bob: Visitor, room: str) -> None:
    bob.post(f"/chat/room/{room}/post/", text="from a form")
    assert in_room.next("message")["message"]["text"] == "from a form"


def test_a_page_that_was_away_gets_what_it_missed_and_no_more(
    ann: Visitor, bob: Visitor, room: str
) -> None:
    with ann.enter(room) as socket:
        socket.next("welcome")
        bob.post(f"/chat/room/{room}/post/", text="one")
        position = socket.next("message")["position"]
    bob.post(f"/chat/room/{room}/post/", text="two")
    bob.post(f"/chat/room/{room}/post/", text="three")
    with ann.enter(room, since=tuple(position)) as socket:
        welcome = socket.next("welcome")
        assert not welcome["whole"]
        assert texts(welcome) == ["two", "three"]
        bob.post(f"/chat/room/{room}/post/", text="four")
        frame = socket.next("message")
        assert frame["message"]["text"] == "four"
        assert frame["position"][1] == position[1] + 3


def test_a_page_from_another_life_is_reloaded(ann: Visitor, room: str) -> None:
    ann.post(f"/chat/room/{room}/post/", text="kept in the database")
    with ann.enter(room, since=("another", 5)) as socket:
        welcome = socket.next("welcome")
    assert welcome["whole"]
    assert texts(welcome) == ["kept in the database"]


def test_sent_again_after_a_lost_answer_it_is_stored_once(
    in_room: Socket, ann: Visitor, room: str
) -> None:
    ref = str(uuid.uuid4())
    in_room.send(post("once", ref))
    first = in_room.next("stored")
    in_room.send(post("once", ref))
    assert in_room.next("stored")["message"]["id"] == first["message"]["id"]
    assert ann.get(f"/chat/room/{room}/").said == ["once"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("x" * (MAX_TEXT + 1), "too_long"),
        ("x" * 900_000, "too_long"),
        ("\x00", "bad_text"),
        ("\ud800", "bad_text"),
        (None, "bad_text"),
        ({"a": 1}, "bad_text"),
    ],
)
def test_a_wrong_message_is_explained_and_the_socket_lives(
    in_room: Socket, text: object, code: str
) -> None:
    frame = post(text)
    in_room.send(frame)
    answer = in_room.next("error")
    assert (answer["code"], answer["ref"]) == (code, frame["ref"])
    in_room.send(post("still here"))
    assert in_room.next("stored")["message"]["text"] == "still here"


@pytest.mark.parametrize("frame", ["", "no", "[1]", '{"type": "sing"}', b"\x00\xff", "[" * 50_000])
def test_a_wrong_frame_is_explained_and_the_socket_lives(
    in_room: Socket, frame: str | bytes
) -> None:
    in_room.send(frame)
    assert in_room.next("error")["code"] == "bad_frame"
    in_room.send(post("still here"))
    in_room.next("stored")


def test_a_frame_beyond_all_bounds_ends_only_its_own_socket(
    in_room: Socket, bob: Visitor, room: str
) -> None:
    with bob.enter(room) as rude:
        rude.next("welcome")
        rude.send("x" * (2**20 + 1))
        assert closed_with(rude) == 1009
    bob.post(f"/chat/room/{room}/post/", text="polite")
    assert in_room.next("message")["message"]["text"] == "polite"


def test_a_hundred_messages_at_once(in_room: Socket, ann: Visitor, room: str) -> None:
    for n in range(100):
        in_room.send(post(str(n)))
    answers = [in_room.next("stored", "error") for _ in range(100)]
    stored = [answer["message"]["text"] for answer in answers if answer["type"] == "stored"]
    refused = [answer for answer in answers if answer["type"] == "error"]
    assert stored[:RATE_MESSAGES] == [str(n) for n in range(RATE_MESSAGES)]
    assert {answer["code"] for answer in refused} == {"too_fast"}
    assert all(answer["retry_after"] > 0 for answer in refused)
    assert ann.get(f"/chat/room/{room}/").said == stored


def test_a_stranger_is_told_to_sign_in(server: DemoServer) -> None:
    with server.visitor().enter("lobby") as socket:
        assert socket.next()["code"] == "not_signed_in"
        assert closed_with(socket) == 4401


def test_somebody_who_has_signed_out_elsewhere_is_told_so(in_room: Socket, ann: Visitor) -> None:
    ann.post("/sign-out/")
    in_room.send(post("anybody?"))
    assert in_room.next("error")["code"] == "not_signed_in"


@pytest.mark.parametrize(
    ("path", "code", "closes"),
    [
        ("/ws/chat/no-such-room/", "unknown_room", 4404),
        ("/ws/chat/%F0%9F%98%80/", "unknown_room", 4404),
        ("/ws/chat/lobby/?since=nonsense", "bad_position", 4400),
        ("/ws/nowhere", "no_such_address", 4404),
        ("/", "no_such_address", 4404),
    ],
)
def test_a_wrong_address_is_explained(ann: Visitor, path: str, code: str, closes: int) -> None:
    with ann.socket(path) as socket:
        assert socket.next()["code"] == code
        assert closed_with(socket) == closes


def test_a_socket_opened_by_another_site_is_refused(ann: Visitor) -> None:
    with (
        pytest.raises(InvalidStatus, match="403"),
        ann.socket("/ws/chat/lobby/", origin="https://example.com"),
    ):
        pass


def test_who_is_here(server: DemoServer, in_room: Socket, name: str, room: str) -> None:
    in_room.until_people(name)
    bob = server.visitor(f"Bob of {name}")
    with bob.enter(room) as first:
        first.until_people(name, f"Bob of {name}")
        in_room.until_people(name, f"Bob of {name}")
        with bob.enter(room) as second:
            second.until_people(name, f"Bob of {name}")  # two tabs are one person
    in_room.until_people(name)
