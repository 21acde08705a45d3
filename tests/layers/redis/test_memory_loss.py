"""A server that loses what it held: memberships heal, nothing comes twice, layers say so."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial

import pytest
from redis.asyncio import Redis

from channel_layers.base import ChannelLayer
from channel_layers.exceptions import LayerUnavailable
from channel_layers.redis import partition, transport
from channel_layers.testing.proxy import Proxy
from channel_layers.testing.servers import RedisServer
from tests.layers.redis.conftest import OpenLayer, OpenProcess
from tests.layers.redis.flows import Gaps, Reading, Sending, numbered, until

BIG = {"capacity": 1_000_000}


@pytest.fixture(autouse=True)
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer finds out sooner that it was forgotten."""
    monkeypatch.setattr(partition, "BEAT_SECONDS", 0.2)


async def receiver_of(layer: ChannelLayer, group: str) -> str:
    """A channel in a group."""
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    return channel


def is_part_of(found: list[int], sent: list[int]) -> bool:
    """Whether nothing came twice, in another order, or from nowhere."""
    rest = iter(sent)
    return all(number in rest for number in found)


async def heals(reading: Reading, sending: Sending) -> None:
    """Wait until what is sent comes again."""
    first = len(reading.numbers)
    await reading.until(lambda numbers: len(numbers) > first + 50, "it comes again")
    await sending.more(1)


@pytest.mark.parametrize("fault", ["kill", "flushall"])
async def test_lost_memory_is_told_once_and_memberships_heal(
    fault: str, server: RedisServer, admin: Redis, open_layer: OpenLayer
) -> None:
    sender, one, other = (open_layer(**BIG) for _ in range(3))
    channels = [await receiver_of(layer, "g") for layer in (one, other)]
    await one.group_add("quiet", channels[0])
    with Gaps() as gaps:
        async with (
            Reading(one, channels[0]) as first,
            Reading(other, channels[1]) as second,
            Reading(one, "tasks") as tasks,
            Sending(partial(sender.group_send, "g")) as sending,
            Sending(partial(sender.send, "tasks")) as giving,
        ):
            await sending.more(100)
            await giving.more(100)
            if fault == "kill":
                await asyncio.to_thread(server.restart)
            else:
                await admin.flushall()
            await gaps.until(one, other)
            for reading in (first, second):
                await heals(reading, sending)
            await heals(tasks, giving)
            await sender.group_send("quiet", numbered(-1))
            await first.until_came(-1)
            await sending.stop()
            await giving.stop()
            await first.until_came(sending.accepted[-1])
            await second.until_came(sending.accepted[-1])
            await tasks.until_came(giving.accepted[-1])
            first.numbers.remove(-1)
    everything = sorted(sending.accepted + sending.refused)
    assert is_part_of(first.numbers, everything)
    assert is_part_of(second.numbers, everything)
    assert is_part_of(tasks.numbers, sorted(giving.accepted + giving.refused))
    assert gaps.of(other) == [("g",)]
    assert [set(groups) for groups in gaps.of(one)] == [{"g", "quiet"}]
    assert gaps.of(sender) == []


async def test_what_is_sent_after_the_gap_was_told_arrives(
    admin: Redis, open_layer: OpenLayer
) -> None:
    sender, receiver = (open_layer(**BIG) for _ in range(2))
    channel = await receiver_of(receiver, "g")
    async with Reading(receiver, channel) as reading:
        with Gaps() as gaps:
            for number in range(3):
                await admin.flushall()
                gaps.heard.clear()
                await gaps.until(receiver)
                # Its membership is written in the same turn of the event loop.
                await sender.group_send("g", numbered(number))
                await reading.until_came(number)


async def test_one_inbox_that_vanishes_is_mended(
    admin: Redis, prefix: str, open_layer: OpenLayer
) -> None:
    sender, one, other = (open_layer(**BIG) for _ in range(3))
    channels = [await receiver_of(layer, "g") for layer in (one, other)]
    with Gaps() as gaps:
        async with (
            Reading(one, channels[0]) as first,
            Reading(other, channels[1]) as second,
            Sending(partial(sender.group_send, "g")) as sending,
        ):
            await sending.more(50)
            assert await admin.delete(f"{{{prefix}}}:i:{one.process}") == 1
            await gaps.until(one)
            await heals(first, sending)
            await sending.stop()
            await first.until_came(sending.accepted[-1])
            await second.until_came(sending.accepted[-1])
    assert sending.refused == []
    assert second.numbers == sending.accepted
    assert is_part_of(first.numbers, sending.accepted)
    assert gaps.heard == [(one, ("g",))]
    # It can still leave: the server does not count additions that are forgotten.
    await one.close_channel(channels[0])
    await until(
        lambda: _is_no_member(admin, f"{{{prefix}}}:g:g", one.process), "the process has left"
    )


async def _is_no_member(admin: Redis, key: str, process: str) -> bool:
    return not await admin.sismember(key, process)


async def test_a_push_that_may_have_arrived_is_not_done_again_after_the_loss(
    admin: Redis, proxy: Proxy, open_layer: OpenLayer
) -> None:
    """At most once, also where the server has forgotten what it has carried out."""
    sender, receiver = open_layer(proxy.port), open_layer()
    await sender.new_channel()
    async with Reading(receiver, "tasks") as tasks:
        proxy.delay(0.2)  # the message arrives after this time, the answer after twice as much
        sending = asyncio.ensure_future(sender.send("tasks", numbered(0)))
        await tasks.until_came(0)
        await admin.flushall()
        await asyncio.to_thread(proxy.cut)
        await asyncio.to_thread(proxy.heal)
        with pytest.raises(LayerUnavailable, match="lost what it held, and it is not known"):
            await sending
        await sender.send("tasks", numbered(1))
        await tasks.until_came(1)
    assert tasks.numbers == [0, 1]


async def test_a_push_that_has_arrived_is_not_done_again_after_a_cut(
    proxy: Proxy, open_layer: OpenLayer
) -> None:
    sender, receiver = open_layer(proxy.port), open_layer()
    await sender.new_channel()
    async with Reading(receiver, "tasks") as tasks:
        proxy.delay(0.2)
        sending = asyncio.ensure_future(sender.send("tasks", numbered(0)))
        await tasks.until_came(0)
        await asyncio.to_thread(proxy.cut)
        await asyncio.to_thread(proxy.heal)
        await sending
        await sender.send("tasks", numbered(1))
        await tasks.until_came(1)
    assert tasks.numbers == [0, 1]


async def test_a_process_that_reads_too_slowly_is_told(
    open_layer: OpenLayer, open_process: OpenProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 600
    monkeypatch.setattr(transport, "INBOX_LIMIT", limit)
    sender = open_layer(**BIG)
    slow = await open_process(**BIG)
    channel = await slow.new_channel()
    await slow.group_add("g", channel)
    await sender.group_send("g", numbered(0))
    assert await slow.receive(channel) == numbered(0)
    os.kill(slow.process.pid, signal.SIGSTOP)
    try:
        for number in range(1, limit + 100):
            await sender.group_send("g", numbered(number))
    finally:
        os.kill(slow.process.pid, signal.SIGCONT)
    dropped = sender.stats()["dropped"]["capacity"]
    assert 100 <= dropped < 110  # what joined it to the group may not have been trimmed

    async def told() -> bool:
        return bool(await slow.call("gaps"))

    await until(told, "the slow process tells of a gap")
    await sender.group_send("g", numbered(-1))
    kept = limit + 99 - dropped
    found = await slow.call("receive_many", channel, kept + 1)
    assert found == [numbered(number) for number in [*range(1, kept + 1), -1]]
    assert await slow.call("gaps") == [["g"]]


async def test_who_is_back_first_waits_for_the_others(
    server: RedisServer, admin: Redis, prefix: str, proxy: Proxy, open_layer: OpenLayer
) -> None:
    """Its messages must not be sent into groups that are empty only because nobody is back."""
    receiver = open_layer(proxy.port)
    channel = await receiver_of(receiver, "g")
    sender = open_layer()
    await sender.new_channel()
    async with Reading(receiver, channel) as reading:
        await asyncio.to_thread(proxy.part)
        await asyncio.to_thread(server.restart)
        sending = asyncio.create_task(sender.group_send("g", numbered(0)))

        async def back() -> bool:
            return bool(await admin.exists(f"{{{prefix}}}:i:{sender.process}"))

        await until(back, "the sender is back")
        await asyncio.to_thread(proxy.heal)
        await sending
        await reading.until_came(0)
