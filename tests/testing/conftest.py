"""A redis-server for the tests of the kit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from channel_layers.testing.servers import RedisServer


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server
