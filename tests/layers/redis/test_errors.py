"""Servers that cannot be reached or do not let us in: errors that say so in time."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from channel_layers.base import ChannelLayer
from channel_layers.exceptions import LayerUnavailable
from channel_layers.testing.proxy import Proxy
from channel_layers.testing.servers import RedisServer
from tests.layers.redis.conftest import OpenLayer
from tests.layers.redis.flows import numbered

SECRET = "x9-Sesame-open"
TIMEOUT = 0.4
AT_ONCE = 0.4
SLACK = 0.5


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def errors_of(layer: ChannelLayer) -> list[tuple[str, float]]:
    """What each verb raises, and after how many seconds."""
    found = []
    verbs: tuple[Callable[[], Awaitable[object]], ...] = (
        layer.new_channel,
        lambda: layer.send("tasks", numbered(0)),
        lambda: layer.group_send("g", numbered(0)),
        lambda: layer.group_add("g", "tasks"),
    )
    for verb in verbs:
        start = time.monotonic()
        with pytest.raises(LayerUnavailable) as caught:
            await verb()
        found.append((str(caught.value), time.monotonic() - start))
    return found


async def test_nobody_listens(closed_port: int, open_layer: OpenLayer) -> None:
    layer = open_layer(closed_port, send_timeout=TIMEOUT)
    for text, took in await errors_of(layer):
        assert f"127.0.0.1:{closed_port}" in text
        assert "refused" in text.lower() or "connect" in text.lower()
        assert f"{TIMEOUT:g} s" in text
        assert TIMEOUT - 0.1 <= took < TIMEOUT + SLACK
    assert not layer.stats()["connected"]


async def test_somebody_listens_and_says_nothing(silent_port: int, open_layer: OpenLayer) -> None:
    layer = open_layer(silent_port, send_timeout=TIMEOUT)
    for text, took in await errors_of(layer):
        assert f"127.0.0.1:{silent_port}" in text
        assert "answer" in text
        assert took < TIMEOUT + SLACK


async def test_a_name_that_does_not_exist(open_layer: OpenLayer) -> None:
    layer = open_layer(hosts=["redis://no-such-host.invalid:6379/0"], send_timeout=TIMEOUT)
    for text, took in await errors_of(layer):
        assert "no-such-host.invalid:6379" in text
        assert took < TIMEOUT + SLACK


async def test_a_wrong_password_is_told_at_once_and_told_nobody(
    server: RedisServer,
    admin: Redis,
    open_layer: OpenLayer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await admin.config_set("requirepass", "another-Sesame")
    caplog.set_level(logging.DEBUG)
    layer = open_layer(hosts=[f"redis://:{SECRET}@127.0.0.1:{server.port}/0"], send_timeout=30)
    texts = await errors_of(layer)
    assert all(f"127.0.0.1:{server.port}" in text for text, _ in texts)
    assert all("password" in text or "WRONGPASS" in text for text, _ in texts)
    # Each but the first may have to wait for the next attempt.
    assert texts[0][1] < AT_ONCE
    assert all(took < 1.5 for _, took in texts)
    said = [*(text for text, _ in texts), repr(layer), str(layer.stats()), caplog.text]
    assert not any(SECRET in text or "another-Sesame" in text for text in said)
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) <= 10
    await admin.config_set("requirepass", "")


async def test_a_server_that_wants_a_password(
    server: RedisServer, admin: Redis, open_layer: OpenLayer
) -> None:
    await admin.config_set("requirepass", SECRET)
    layer = open_layer(send_timeout=30)
    ((text, took), *_) = await errors_of(layer)
    assert "NOAUTH" in text or "Authentication required" in text
    assert str(server.port) in text
    assert took < AT_ONCE


async def test_a_database_that_does_not_exist(server: RedisServer, open_layer: OpenLayer) -> None:
    layer = open_layer(hosts=[f"redis://127.0.0.1:{server.port}/99"], send_timeout=30)
    ((text, took), *_) = await errors_of(layer)
    assert f"127.0.0.1:{server.port}/99" in text
    assert "DB index" in text
    assert took < AT_ONCE


async def test_a_password_that_is_changed_while_the_layer_runs(
    server: RedisServer, admin: Redis, proxy: Proxy, open_layer: OpenLayer
) -> None:
    await admin.config_set("requirepass", SECRET)
    layer = open_layer(hosts=[f"redis://:{SECRET}@127.0.0.1:{proxy.port}/0"], send_timeout=30)
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    reader = asyncio.create_task(layer.receive(channel))
    await admin.config_set("requirepass", "another-Sesame")
    await asyncio.to_thread(proxy.cut)
    start = time.monotonic()
    with pytest.raises(LayerUnavailable, match="WRONGPASS|password") as caught:
        await layer.send(channel, numbered(0))
    assert time.monotonic() - start < 3
    assert SECRET not in str(caught.value)
    assert not reader.done()
    await admin.config_set("requirepass", SECRET)
    await until_sent(layer, channel)
    async with asyncio.timeout(5):
        assert await reader == numbered(1)


async def until_sent(layer: ChannelLayer, channel: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await layer.send(channel, numbered(1))
            except LayerUnavailable:
                continue
            return


@pytest.mark.parametrize("kind", ["parted", "black hole"])
async def test_a_reader_of_a_plain_channel_waits_for_a_server(
    kind: str, proxy: Proxy, open_layer: OpenLayer
) -> None:
    config: dict[str, Any] = {"send_timeout": 0.3}
    layer = open_layer(proxy.port, **config)
    await asyncio.to_thread(proxy.part if kind == "parted" else proxy.black_hole)
    readers = [asyncio.create_task(layer.receive("tasks")) for _ in range(2)]
    with pytest.raises(LayerUnavailable):
        await layer.send("tasks", numbered(0))
    with pytest.raises(LayerUnavailable):
        await layer.new_channel()
    assert not any(reader.done() for reader in readers)
    await asyncio.to_thread(proxy.heal)
    direct = open_layer()
    for number in range(2):
        await direct.send("tasks", numbered(number))
    async with asyncio.timeout(10):
        found = await asyncio.gather(*readers)
    assert sorted(message["n"] for message in found) == [0, 1]
    assert layer.stats()["connected"]


async def test_a_server_that_is_too_slow(proxy: Proxy, open_layer: OpenLayer) -> None:
    """It lets us in, and then takes longer than allowed."""
    proxy.delay(0.1)
    layer = open_layer(proxy.port, send_timeout=0.45)
    texts = [text for text, _ in await errors_of(layer)]
    assert all("does not answer" in text for text in texts[1:])
