"""The demo on a Redis of its own, with two processes: people on both see each other."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis
from websockets.exceptions import ConnectionClosed

from channel_layers.testing.servers import RedisServer
from tests.demo.demo_server import TIMEOUT, DemoServer, Visitor


@pytest.fixture(scope="module")
def server(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """Shared by the tests of this file."""
    directory = tmp_path_factory.mktemp("redis")
    server = DemoServer(database, directory, arguments=["--layer", "redis://"])
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert not server.complaints


@contextmanager
def served_by(number: int, server: DemoServer) -> Iterator[None]:
    """While this lasts one of the two processes answers, as the other one stands still."""
    other = server.workers()[1 - number]
    other.suspend()
    try:
        yield
    finally:
        other.resume()


@pytest.fixture
def pages() -> Iterator[ExitStack]:
    """Closes the pages that a test has opened."""
    with ExitStack() as stack:
        yield stack


def test_pages_on_two_processes_hear_and_see_each_other(
    server: DemoServer, pages: ExitStack, name: str, ann: Visitor, room: str
) -> None:
    bob = server.visitor(f"Bob of {name}")
    with served_by(0, server):
        anns = pages.enter_context(ann.enter(room))
        anns.next("welcome")
    with served_by(1, server):
        bobs = pages.enter_context(bob.enter(room))
        bobs.next("welcome")
    anns.until_people(name, f"Bob of {name}")
    bobs.until_people(name, f"Bob of {name}")
    for speaker, listener in [(anns, bobs), (bobs, anns)]:
        speaker.send({"type": "post", "ref": str(uuid.uuid4()), "text": "hello"})
        stored = speaker.next("stored")
        assert stored["live"]
        assert listener.next("message")["message"] == stored["message"]
        assert speaker.next("message")["message"] == stored["message"]
    for number in (0, 1):
        with served_by(number, server):
            bob.post(f"/chat/room/{room}/post/", text=f"a form, process {number}")
        for page in (anns, bobs):
            assert page.next("message")["message"]["text"] == f"a form, process {number}"


def test_what_was_missed_is_known_to_the_other_process(
    server: DemoServer, ann: Visitor, bob: Visitor, room: str
) -> None:
    with served_by(0, server), ann.enter(room) as page:
        page.next("welcome")
        bob.post(f"/chat/room/{room}/post/", text="one")
        position = page.next("message")["position"]
    bob.post(f"/chat/room/{room}/post/", text="two")
    with served_by(1, server), ann.enter(room, since=tuple(position)) as page:
        welcome = page.next("welcome")
    assert not welcome["whole"]
    assert [message["text"] for message in welcome["messages"]] == ["two"]


def test_after_redis_has_lost_its_memory_open_pages_are_reloaded(
    database: Path, tmp_path: Path
) -> None:
    with RedisServer() as redis:
        server = DemoServer(database, tmp_path, arguments=["--layer", redis.address])
        server.start()
        try:
            ann, bob = server.visitor("Ann"), server.visitor("Bob")
            with ann.enter("lobby") as page:
                page.next("welcome")
                bob.post("/chat/room/lobby/post/", text="before")
                page.next("message")
                with Redis.from_url(redis.address) as administrator:
                    administrator.flushall()
                welcome = page.next("welcome")
                assert welcome["whole"]
                assert [message["text"] for message in welcome["messages"]] == ["before"]
                bob.post("/chat/room/lobby/post/", text="after")
                assert page.next("message")["message"]["text"] == "after"
        finally:
            server.stop()
    assert not server.complaints


def test_while_redis_is_away_people_are_told_and_then_it_works(
    database: Path, tmp_path: Path
) -> None:
    with RedisServer() as redis:
        redis.kill()
        layer = f"{redis.address}?send_timeout=0.3"
        server = DemoServer(database, tmp_path, arguments=["--layer", layer, "--workers", "1"])
        server.start()
        try:
            ann = server.visitor("Ann")
            page = ann.post("/chat/room/lobby/post/", text="kept")
            assert page.said == ["kept"]
            assert "The live connection between people is away" in page.text
            with ann.enter("lobby") as socket:
                assert socket.next()["code"] == "layer_away"
                with pytest.raises(ConnectionClosed) as closed:
                    socket.next()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4503
            redis.restart()
            frame: dict[str, Any] = {"code": "layer_away"}
            deadline = time.monotonic() + TIMEOUT
            while frame.get("code") == "layer_away" and time.monotonic() < deadline:
                with ann.enter("lobby") as socket:  # as pages do, which come again by themselves
                    frame = socket.next()
            assert [message["text"] for message in frame["messages"]] == ["kept"]
        finally:
            server.stop()
    assert not server.complaints


@pytest.mark.parametrize(
    ("number", "whole_terminal", "workers"),
    [
        (signal.SIGTERM, False, 2),
        (signal.SIGTERM, False, 1),
        (signal.SIGINT, True, 2),
        (signal.SIGINT, True, 1),
        (signal.SIGHUP, True, 2),
    ],
)
def test_nothing_is_left_of_it(
    database: Path, tmp_path: Path, number: signal.Signals, whole_terminal: bool, workers: int
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    server = DemoServer(
        database,
        tmp_path,
        {"TMPDIR": str(temporary)},
        arguments=["--layer", "redis://", "--workers", str(workers)],
    )
    server.start()
    everybody: list[psutil.Process] = []
    try:
        with server.visitor("Ann").enter("lobby") as page:
            page.next("welcome")
            if workers == 2:
                server.workers()
            everybody = [server.process, *server.process.children(recursive=True)]
            assert any("redis-server" in process.name() for process in everybody)
            if whole_terminal:
                os.killpg(server.process.pid, number)
            else:
                server.process.send_signal(number)
            assert server.wait() == 0
        assert not psutil.wait_procs(everybody, timeout=TIMEOUT)[1]
    finally:
        for process in everybody:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    assert not list(temporary.iterdir())
    assert not server.complaints
    assert "Lost Redis" not in server.log  # it ends after those that use it
