"""The servers start, answer and stop; those of `make bench` are skipped where they are absent."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from channel_layers.testing.servers import SERVERS, RedisServer, ServerError


@pytest.mark.parametrize("kind", list(SERVERS))
def test_a_server_starts_and_leaves_nothing(kind: str) -> None:
    server = SERVERS[kind]()
    if absent := server.missing():
        # `make test` installs a redis-server; the other two come with `make bench` only.
        (pytest.fail if kind == "redis" else pytest.skip)(f"not installed: {absent}")
    with server:
        address = urlsplit(server.address)
        socket.create_connection((address.hostname, address.port), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=5)
    assert kind in server.version().lower()


def test_a_server_that_ends_at_once_says_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    false = tmp_path / "redis-server"
    false.write_text("#!/bin/sh\necho no room here\nexit 1\n")
    false.chmod(0o755)
    monkeypatch.setattr(RedisServer, "find", classmethod(lambda _cls: false))
    with pytest.raises(ServerError, match="no room here"), RedisServer():
        pass


def test_a_server_that_runs_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_REDIS_URL", "redis://example:1/0")
    with RedisServer() as server:
        assert server.address == "redis://example:1/0"
