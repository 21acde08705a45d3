"""One server of the demo for all tests here; each test brings its own people and rooms."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.demo_server import DEMO, DemoServer, Visitor, migrate

if str(DEMO) not in sys.path:  # the rules are tested as they are, the rest through a server
    sys.path.insert(0, str(DEMO))


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, to be copied."""
    path = tmp_path_factory.mktemp("demo") / "template.sqlite3"
    migrate(path)
    return path


@pytest.fixture(scope="session")
def server(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """The site; nothing that anybody does may end in a traceback."""
    server = DemoServer(database, tmp_path_factory.mktemp("server"))
    server.start()
    try:
        yield server
    finally:
        server.stop()
    assert not server.complaints


@pytest.fixture
def name() -> str:
    """A name that nobody has."""
    return f"Ann {uuid.uuid4().hex[:8]}"


@pytest.fixture
def ann(server: DemoServer, name: str) -> Visitor:
    """Somebody who is signed in."""
    return server.visitor(name)


@pytest.fixture
def bob(server: DemoServer) -> Visitor:
    """Somebody else who is signed in."""
    return server.visitor(f"Bob {uuid.uuid4().hex[:8]}")


@pytest.fixture
def room(ann: Visitor) -> str:
    """The slug of a new room."""
    title = f"room-{uuid.uuid4().hex[:10]}"
    assert ann.post("/chat/new/", title=title).path == f"/chat/room/{title}/"
    return title
