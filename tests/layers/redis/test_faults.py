"""Broken connections, a paused server, lost scripts, no memory: nothing lost or doubled."""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial

import pytest
from redis.asyncio import Redis

from channel_layers.exceptions import LayerUnavailable
from channel_layers.testing.proxy import Proxy
from channel_layers.testing.servers import RedisServer
from tests.layers.redis.conftest import OpenLayer
from tests.layers.redis.flows import Gaps, Reading, Sending, numbered, repeatedly, until

CUT_EVERY = 0.1
CUTS_LAST = 2.5
BIG = {"capacity": 1_000_000}


async def test_cuts_lose_double_and_reorder_nothing(proxy: Proxy, open_layer: OpenLayer) -> None:
    sender, receiver = (open_layer(proxy.port, **BIG) for _ in range(2))
    channel = await receiver.new_channel()
    await receiver.group_add("g", channel)
    ways = partial(sender.send, channel), partial(sender.group_send, "g")
    with Gaps() as gaps:
        async with Reading(receiver, channel) as reading, Sending(*ways) as sending:
            before = proxy.accepted
            async with repeatedly(proxy.cut, CUT_EVERY):
                await asyncio.sleep(CUTS_LAST)
            await sending.stop()
            assert sending.refused == []
            await reading.until_came(sending.accepted[-1])
    assert reading.numbers == sending.accepted
    assert len(sending.accepted) > 300 * CUTS_LAST
    assert proxy.accepted - before > 4 * CUTS_LAST / CUT_EVERY * 0.5
    assert gaps.heard == []


async def test_cuts_lose_and_double_nothing_between_competing_readers(
    proxy: Proxy, open_layer: OpenLayer
) -> None:
    sender, one, other = (open_layer(proxy.port, **BIG) for _ in range(3))
    async with (
        Reading(one, "tasks") as first,
        Reading(other, "tasks") as second,
        Sending(partial(sender.send, "tasks")) as sending,
    ):
        async with repeatedly(proxy.cut, CUT_EVERY):
            await asyncio.sleep(CUTS_LAST)
        await sending.stop()
        assert sending.refused == []

        async def all_came() -> bool:
            return len(first.numbers) + len(second.numbers) >= len(sending.accepted)

        await until(all_came, "every message is read")
    assert sorted(first.numbers + second.numbers) == sending.accepted
    assert first.numbers == sorted(first.numbers)
    assert second.numbers == sorted(second.numbers)
    assert first.numbers
    assert second.numbers


async def test_cuts_leave_history_whole(proxy: Proxy, open_layer: OpenLayer) -> None:
    config = {**BIG, "history": {"log": (1_000_000, 60)}}
    sender, receiver = (open_layer(proxy.port, **config) for _ in range(2))
    channel = await receiver.new_channel()
    await receiver.group_add("log", channel)
    start = await receiver.position("log")
    async with (
        Reading(receiver, channel) as reading,
        Sending(partial(sender.group_send, "log")) as sending,
    ):
        async with repeatedly(proxy.cut, CUT_EVERY):
            await asyncio.sleep(CUTS_LAST)
        await sending.stop()
        await reading.until_came(sending.accepted[-1])
    assert sending.refused == []
    assert reading.numbers == sending.accepted
    positions = [message.position for message in reading.messages]  # type: ignore[attr-defined]  # of a group with history
    assert [position.offset for position in positions] == [
        start.offset + number for number in range(1, len(positions) + 1)
    ]
    found = await receiver.history("log", since=start)
    assert found.recovered
    assert [message["n"] for message in found.messages] == sending.accepted


async def test_threads_and_other_loops_lose_nothing_over_cuts(
    proxy: Proxy, open_layer: OpenLayer
) -> None:
    sender, receiver = (open_layer(proxy.port, **BIG) for _ in range(2))
    channels = [await receiver.new_channel() for _ in range(10)]
    each = 150

    def from_thread(channel: str) -> None:
        for number in range(each):
            sender.sync.send(channel, numbered(number))

    def from_loop(channel: str) -> None:
        async def send_all() -> None:
            for number in range(each):
                await sender.send(channel, numbered(number))

        asyncio.run(send_all())

    async def receive(channel: str) -> list[int]:
        return [(await receiver.receive(channel))["n"] for _ in range(each)]

    async with repeatedly(proxy.cut, CUT_EVERY), asyncio.timeout(30):
        found, *_ = await asyncio.gather(
            asyncio.gather(*(receive(channel) for channel in channels)),
            *(asyncio.to_thread(from_thread, channel) for channel in channels[:8]),
            *(asyncio.to_thread(from_loop, channel) for channel in channels[8:]),
        )
    assert found == [list(range(each))] * len(channels)


async def test_a_paused_server_is_waited_for(server: RedisServer, open_layer: OpenLayer) -> None:
    config = {**BIG, "send_timeout": 0.5}
    sender, receiver = (open_layer(**config) for _ in range(2))
    channel = await receiver.new_channel()
    await receiver.group_add("g", channel)
    ways = partial(sender.send, channel), partial(sender.group_send, "g")
    async with (
        Reading(receiver, channel) as reading,
        Reading(receiver, "tasks") as tasks,
        Sending(*ways) as sending,
        Sending(partial(sender.send, "tasks")) as giving,
    ):
        await sending.more(50)
        await giving.more(50)
        server.signal(signal.SIGSTOP)
        try:
            for _ in range(3):
                start = time.monotonic()
                with pytest.raises(LayerUnavailable, match=rf"127.0.0.1:{server.port}") as caught:
                    await sender.send("other", numbered(0))
                assert time.monotonic() - start < 1.0
                assert "answer" in str(caught.value)
            reading.require_alive()
            tasks.require_alive()
        finally:
            server.signal(signal.SIGCONT)
        await sending.more(50)
        await giving.more(50)
        await sending.stop()
        await giving.stop()
        await reading.until_came(sending.accepted[-1])
        await tasks.until_came(giving.accepted[-1])
    assert sending.refused
    assert giving.refused
    for read, sent in ((reading, sending), (tasks, giving)):
        accepted = set(sent.accepted)
        assert [number for number in read.numbers if number in accepted] == sent.accepted
        assert len(set(read.numbers)) == len(read.numbers)


async def test_nobody_notices_that_scripts_are_gone(admin: Redis, open_layer: OpenLayer) -> None:
    sender, receiver = (open_layer(**BIG) for _ in range(2))
    channel = await receiver.new_channel()
    await receiver.group_add("g", channel)
    ways = partial(sender.send, channel), partial(sender.group_send, "g")
    async with (
        Reading(receiver, channel) as reading,
        Reading(receiver, "tasks") as tasks,
        Sending(*ways) as sending,
        Sending(partial(sender.send, "tasks")) as giving,
    ):
        for _ in range(20):
            await sending.more(20)
            await admin.script_flush()
        await sending.stop()
        await giving.stop()
        await reading.until_came(sending.accepted[-1])
        await tasks.until_came(giving.accepted[-1])
    assert sending.refused == giving.refused == []
    assert reading.numbers == sending.accepted
    assert tasks.numbers == giving.accepted


async def test_a_server_without_memory_is_named(
    server: RedisServer, admin: Redis, open_layer: OpenLayer
) -> None:
    sender, receiver = (open_layer(**BIG, send_timeout=0.4) for _ in range(2))
    channel = await receiver.new_channel()
    await receiver.group_add("g", channel)
    ways = partial(sender.send, channel), partial(sender.group_send, "g")
    async with (
        Reading(receiver, channel) as reading,
        Reading(receiver, "tasks") as tasks,
        Sending(*ways) as sending,
        Sending(partial(sender.send, "tasks")) as giving,
    ):
        await sending.more(50)
        await giving.more(50)
        await admin.config_set("maxmemory-policy", "noeviction")
        connections = (await admin.info("stats"))["total_connections_received"]
        await admin.config_set("maxmemory", 1000)
        for send in (partial(sender.send, "other"), partial(sender.group_send, "g")):
            with pytest.raises(LayerUnavailable, match="memory") as caught:
                await send(numbered(-1))
            assert str(server.port) in str(caught.value)
        reading.require_alive()
        tasks.require_alive()
        await admin.config_set("maxmemory", 0)
        assert (await admin.info("stats"))["total_connections_received"] == connections
        await sending.more(50)
        await giving.more(50)
        await sending.stop()
        await giving.stop()
        await reading.until_came(sending.accepted[-1])
        await tasks.until_came(giving.accepted[-1])
    for read, sent in ((reading, sending), (tasks, giving)):
        accepted = set(sent.accepted)
        assert [number for number in read.numbers if number in accepted] == sent.accepted
        assert len(set(read.numbers)) == len(read.numbers)
