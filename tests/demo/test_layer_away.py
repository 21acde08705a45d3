"""While the channel layer is away nothing is lost, and people are told."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.demo.demo_server import DemoServer, Visitor


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """The layer is away while this file exists."""
    return tmp_path / "away"


@pytest.fixture
def server(database: Path, tmp_path: Path, flag: Path) -> Iterator[DemoServer]:
    extra = {"DJANGO_SETTINGS_MODULE": "tests.demo.away_settings", "LAYER_AWAY_FLAG": str(flag)}
    server = DemoServer(database, tmp_path, extra)
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert not server.complaints


def test_a_form_is_stored_and_says_that_it_is_not_live(ann: Visitor, room: str, flag: Path) -> None:
    flag.touch()
    page = ann.post(f"/chat/room/{room}/post/", text="kept")
    assert page.status == 200
    assert page.said == ["kept"]
    assert "The live connection between people is away" in page.text
    flag.unlink()
    assert "is away" not in ann.get(f"/chat/room/{room}/").text


def test_a_socket_message_is_stored_and_heard_when_the_layer_is_back(
    ann: Visitor, bob: Visitor, room: str, flag: Path
) -> None:
    with ann.enter(room) as speaker, bob.enter(room) as listener:
        speaker.next("welcome")
        listener.next("welcome")
        frame = {"type": "post", "ref": str(uuid.uuid4()), "text": "kept"}
        flag.touch()
        speaker.send(frame)
        assert speaker.next("stored")["live"] is False
        speaker.send(frame)
        assert speaker.next("stored")["live"] is False
        flag.unlink()
        speaker.send(frame)
        assert speaker.next("stored")["live"] is True
        speaker.send(frame)
        assert speaker.next("stored")["live"] is True
        assert listener.next("message")["message"]["text"] == "kept"
        speaker.send({**frame, "ref": str(uuid.uuid4()), "text": "next"})
        assert listener.next("message")["message"]["text"] == "next"
    assert bob.get(f"/chat/room/{room}/").said == ["kept", "next"]


def test_a_page_that_cannot_join_is_told_and_may_try_again(
    ann: Visitor, room: str, flag: Path
) -> None:
    flag.touch()
    with ann.enter(room) as socket:
        assert socket.next()["code"] == "layer_away"
        with pytest.raises(ConnectionClosed) as closed:
            socket.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4503
    flag.unlink()
    with ann.enter(room) as socket:
        assert socket.next("welcome")["whole"]
