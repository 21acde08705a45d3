"""A server for each test, a way through a proxy that breaks connections, and layers over both."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from channel_layers.redis import RedisStreamsChannelLayer
from channel_layers.testing.process import RemoteLayer, WorkerPool
from channel_layers.testing.proxy import Proxy
from channel_layers.testing.servers import RedisServer
from tests.layers.redis.telling import TellingLayer

OpenLayer = Callable[..., RedisStreamsChannelLayer]
OpenProcess = Callable[..., Awaitable[RemoteLayer]]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """In front of the server."""
    with Proxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
def prefix() -> str:
    """A prefix that nobody else has."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
async def admin(server: RedisServer) -> AsyncIterator[Redis]:
    """A client that does to the server what operators do."""
    async with Redis.from_url(server.address, decode_responses=True) as client:
        yield client


@pytest.fixture
async def open_layer(server: RedisServer, prefix: str) -> AsyncIterator[OpenLayer]:
    """Makes layers that are closed when the test ends; ``port`` is the server's if not given."""
    async with AsyncExitStack() as stack:

        def make(port: int = 0, **config: Any) -> RedisStreamsChannelLayer:  # noqa: ANN401  # any CONFIG
            config.setdefault("hosts", [f"redis://127.0.0.1:{port or server.port}/0"])
            layer = RedisStreamsChannelLayer(**{"prefix": prefix, **config})
            stack.push_async_callback(layer.close)
            return layer

        yield make


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    """Processes that run a layer."""
    pool = WorkerPool(f"{TellingLayer.__module__}.{TellingLayer.__qualname__}")
    yield pool
    pool.close()


@pytest.fixture
async def open_process(
    server: RedisServer, prefix: str, workers: WorkerPool
) -> AsyncIterator[OpenProcess]:
    """Makes layers in processes of their own."""
    opened: list[RemoteLayer] = []

    async def make(port: int = 0, **config: Any) -> RemoteLayer:  # noqa: ANN401  # any CONFIG
        hosts = [f"redis://127.0.0.1:{port or server.port}/0"]
        remote = await workers.open({"hosts": hosts, "prefix": prefix, **config})
        opened.append(remote)
        return remote

    yield make
    for remote in opened:
        if remote.process.alive:  # one that a test has stopped would not answer
            os.kill(remote.process.pid, signal.SIGCONT)
    await asyncio.gather(*(remote.release() for remote in opened))
