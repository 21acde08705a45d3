"""A layer that is closed in the middle of things: every call ends, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from redis.asyncio import Redis

from channel_layers import distributed, pulling
from channel_layers.base import ChannelLayer
from channel_layers.exceptions import LayerClosed, LayerUnavailable
from channel_layers.redis.outbox import Outbox
from channel_layers.testing.proxy import Proxy
from tests.layers.redis.conftest import OpenLayer
from tests.layers.redis.flows import Reading, numbered, until

ENDED = (LayerClosed, LayerUnavailable)


async def test_sends_in_flight_end(open_layer: OpenLayer) -> None:
    sender, receiver = (open_layer(capacity=100_000) for _ in range(2))
    channel = await receiver.new_channel()
    await receiver.group_add("g", channel)
    before = asyncio.all_tasks()
    verbs: list[Callable[[], Awaitable[object]]] = [
        partial(sender.send, channel, numbered(0)),
        partial(sender.group_send, "g", numbered(0)),
        partial(sender.send, "tasks", numbered(0)),
        partial(sender.send_many, [(channel, numbered(0)), ("tasks", numbered(1))]),
        partial(sender.group_channels, "g"),
        partial(sender.group_add, "g", "tasks"),
        partial(sender.flush),
    ]

    async def again_and_again(number: int) -> None:
        while True:
            await verbs[number % len(verbs)]()

    async with asyncio.timeout(10):
        tasks = [asyncio.create_task(again_and_again(number)) for number in range(21)]
        await asyncio.to_thread(sender.sync.send, channel, numbered(0))
        await sender.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [result for result in results if not isinstance(result, ENDED)] == []
    assert asyncio.all_tasks() == before
    with pytest.raises(LayerClosed):
        await sender.send(channel, numbered(0))


async def test_blocking_sends_in_flight_end(open_layer: OpenLayer) -> None:
    sender, receiver = (open_layer(capacity=100_000) for _ in range(2))
    channel = await receiver.new_channel()

    def again_and_again() -> str:
        try:
            while True:
                sender.sync.send(channel, numbered(0))
        except ENDED as error:
            return type(error).__name__

    async with asyncio.timeout(20):
        threads = [asyncio.ensure_future(asyncio.to_thread(again_and_again)) for _ in range(8)]
        async with Reading(receiver, channel) as reading:
            await reading.until(lambda numbers: len(numbers) > 200, "they send")
        await sender.close()
        found = await asyncio.gather(*threads)
    assert len(found) == 8


async def test_a_layer_with_a_thread_of_its_own_ends(open_layer: OpenLayer) -> None:
    """It was first used by a thread, so that its home is not this loop."""
    for _ in range(5):
        layer = open_layer()

        def again_and_again(layer: ChannelLayer = layer) -> None:
            try:
                while True:
                    layer.sync.send("tasks", numbered(0))
            except Exception as error:
                if not (isinstance(error, ENDED) or "full" in str(error)):
                    raise

        async with asyncio.timeout(10):
            await asyncio.to_thread(layer.sync.new_channel)
            threads = [asyncio.ensure_future(asyncio.to_thread(again_and_again)) for _ in range(4)]
            await asyncio.to_thread(layer.sync.close)
            await asyncio.gather(*threads)


async def test_a_layer_that_is_still_connecting_can_be_closed(
    proxy: Proxy, open_layer: OpenLayer
) -> None:
    await asyncio.to_thread(proxy.black_hole)
    before = asyncio.all_tasks()
    layer = open_layer(proxy.port, send_timeout=20)
    tasks = [
        asyncio.ensure_future(verb)
        for verb in (
            layer.send("tasks", numbered(0)),
            layer.new_channel(),
            layer.receive("tasks"),
            layer.group_add("g", "tasks"),
        )
    ]
    accepted = proxy.accepted

    async def begun() -> bool:
        return proxy.accepted >= accepted + 2

    await until(begun, "it connects")
    start = time.monotonic()
    await layer.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert time.monotonic() - start < 2
    assert [result for result in results if not isinstance(result, ENDED)] == []
    assert asyncio.all_tasks() == before


async def test_closing_does_not_wait_for_a_server_that_is_away(
    proxy: Proxy, open_layer: OpenLayer
) -> None:
    layer = open_layer(proxy.port, send_timeout=20)
    channel = await layer.new_channel()
    await layer.group_add("g", channel)
    reader = asyncio.create_task(layer.receive("tasks"))
    await asyncio.to_thread(proxy.part)

    async def away() -> bool:
        return not layer.stats()["connected"]

    await until(away, "it notices")
    start = time.monotonic()
    await layer.close()
    assert time.monotonic() - start < 2
    with pytest.raises(LayerClosed):
        await reader


@pytest.mark.parametrize("turns", range(0, 60, 5))
async def test_what_was_pulled_and_not_read_is_put_back(
    turns: int, admin: Redis, prefix: str, open_layer: OpenLayer
) -> None:
    sender, closing, other = (open_layer() for _ in range(3))
    readers = [asyncio.create_task(closing.receive("tasks")) for _ in range(3)]

    async def waits() -> bool:
        found = await admin.zrange(f"{{{prefix}}}:w:tasks", 0, -1)
        return found == [closing.process]

    await until(waits, "it waits")
    for number in range(5):
        await sender.send("tasks", numbered(number))
    for _ in range(turns):
        await asyncio.sleep(0)
    await closing.close()
    results = await asyncio.gather(*readers, return_exceptions=True)
    found = [result["n"] for result in results if isinstance(result, dict)]
    async with asyncio.timeout(5):
        rest = [(await other.receive("tasks"))["n"] for _ in range(5 - len(found))]
    assert sorted(found) + rest == list(range(5))


@pytest.mark.parametrize("place", ["on its way", "in the mailbox"])
async def test_what_nobody_can_read_any_more_is_put_back(
    place: str,
    admin: Redis,
    prefix: str,
    proxy: Proxy,
    open_layer: OpenLayer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulling, "LEFT_SECONDS", 30.0)
    sender, closing = open_layer(), open_layer(proxy.port)
    reader = asyncio.create_task(closing.receive("tasks"))

    async def waits() -> bool:
        return bool(await admin.exists(f"{{{prefix}}}:w:tasks"))

    async def pulled() -> bool:
        return not await admin.exists(f"{{{prefix}}}:c:tasks")

    async def came() -> bool:
        return closing.stats()["waiting"] == 1

    await until(waits, "it waits")
    proxy.delay(0.1)
    await sender.send("tasks", numbered(0))
    await until(pulled, "it is pulled")
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    if place == "in the mailbox":
        await until(came, "it has come")
    await closing.close()
    async with asyncio.timeout(1):
        assert await sender.receive("tasks") == numbered(0)


async def test_a_question_ends_with_the_layer(
    admin: Redis, prefix: str, open_layer: OpenLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "ANSWER_SECONDS", 0.3)
    layer = open_layer()
    await layer.group_add("g", await layer.new_channel())
    # A process that answers nothing.
    now, _ = await admin.time()
    await admin.xadd(f"{{{prefix}}}:i:silent", {"born": ""})
    await admin.zadd(f"{{{prefix}}}:p", {"silent": now * 1000})
    await admin.sadd(f"{{{prefix}}}:g:g", "silent")
    asking = asyncio.create_task(layer.group_channels("g"))

    async def asked() -> bool:
        return await admin.xlen(f"{{{prefix}}}:i:silent") == 2

    await until(asked, "it is asked")
    await layer.close()
    with pytest.raises(ENDED):
        await asking


async def test_what_is_given_to_a_closed_outbox_ends() -> None:
    outbox = Outbox(
        label="x", guard="{x}:x", timeout=30, elsewhere=lambda _: None, stuck=lambda: None
    )
    outbox.close()
    with pytest.raises(LayerUnavailable, match="the layer was closed"):
        async with asyncio.timeout(1):
            await outbox.command("PING")


async def test_a_connection_that_comes_while_the_layer_closes_is_closed(
    open_layer: OpenLayer,
) -> None:
    """One of the two is there, the other one hangs."""
    arrived = [asyncio.Event(), asyncio.Event()]
    ended = asyncio.Event()
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        mine, count = count, count + 1
        data = await reader.read(4096)
        if mine == 0:
            writer.write(b"+OK\r\n" * data.count(b"SETINFO"))
        arrived[min(mine, 1)].set()
        with contextlib.suppress(OSError):
            while await reader.read(4096):
                pass
        if mine == 0:
            ended.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        layer = open_layer(server.sockets[0].getsockname()[1], send_timeout=20)
        connecting = asyncio.create_task(layer.new_channel())
        async with asyncio.timeout(5):
            for event in arrived:
                await event.wait()
        await asyncio.sleep(0.05)  # the answer is read
        await layer.close()
        async with asyncio.timeout(5):
            await ended.wait()
        with pytest.raises(ENDED):
            await connecting
