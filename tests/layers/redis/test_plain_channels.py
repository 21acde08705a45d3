"""Plain channels on a real server: competing readers, capacity, expiry, members of groups."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from redis.asyncio import Redis

from channel_layers import pulling
from channel_layers.base import ChannelLayer
from channel_layers.exceptions import ChannelFull, LayerUnavailable
from channel_layers.redis import partition
from channel_layers.redis.scripts import script
from channel_layers.testing.proxy import Proxy
from tests.layers.redis.conftest import OpenLayer, OpenProcess
from tests.layers.redis.flows import Reading, numbered, until

HOUR = 3600


async def next_number(layer: ChannelLayer, channel: str) -> int:
    async with asyncio.timeout(10):
        number: int = (await layer.receive(channel))["n"]
    return number


async def waits(admin: Redis, prefix: str, channel: str, *processes: str) -> None:
    """Wait until the server knows that these processes wait in a channel, in this order."""

    async def known() -> bool:
        found = await admin.zrange(f"{{{prefix}}}:w:{channel}", 0, -1)
        return found == list(processes)

    await until(known, f"{processes} wait")


async def test_capacity_is_exact_with_competing_readers(open_layer: OpenLayer) -> None:
    sender, one, other = (open_layer(capacity=5) for _ in range(3))
    sent = 0
    read: list[int] = []
    for layer, taken in ((one, 0), (one, 3), (other, 5), (one, 1), (other, 2)):
        read += [await next_number(layer, "tasks") for _ in range(taken)]
        while sent - len(read) < 5:
            await sender.send("tasks", numbered(sent))
            sent += 1
        for _ in range(2):
            with pytest.raises(ChannelFull, match="'tasks' is full: 5 messages wait"):
                await sender.send("tasks", numbered(-1))
    read += [await next_number(other, "tasks") for _ in range(5)]
    assert read == list(range(sent))
    assert sender.stats()["counters"]["channel_full"] == 10


async def test_many_senders_fill_a_channel_exactly(open_layer: OpenLayer) -> None:
    senders = [open_layer(capacity=50) for _ in range(3)]

    async def attempt(sender: ChannelLayer, number: int) -> bool:
        try:
            await sender.send("tasks", numbered(number))
        except ChannelFull:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(senders[n % 3], n)) for n in range(90)]
    assert sum(task.result() for task in tasks) == 50


@pytest.mark.parametrize("turns", range(0, 40, 4))
async def test_what_a_cancelled_reader_left_goes_to_another_instance(
    turns: int, open_layer: OpenLayer, admin: Redis, prefix: str
) -> None:
    sender, one, other = (open_layer() for _ in range(3))
    reader = asyncio.create_task(one.receive("tasks"))
    await waits(admin, prefix, "tasks", one.process)
    for number in range(3):
        await sender.send("tasks", numbered(number))
    for _ in range(turns):
        await asyncio.sleep(0)
    reader.cancel()
    found = [
        result["n"]
        for result in await asyncio.gather(reader, return_exceptions=True)
        if isinstance(result, dict)
    ]
    async with asyncio.timeout(1):
        rest = [(await other.receive("tasks"))["n"] for _ in range(3 - len(found))]
    assert found + sorted(rest) == [0, 1, 2]


async def test_a_reader_that_lags_keeps_its_order(open_layer: OpenLayer) -> None:
    """A message lies in the mailbox while its reader is on its way: nobody takes it back."""
    sender, one, other = (open_layer(capacity=10_000) for _ in range(3))
    count = 2000
    async with Reading(one, "tasks") as first, Reading(other, "tasks") as second:
        for number in range(count):
            await sender.send("tasks", numbered(number))

        async def all_came() -> bool:
            return len(first.numbers) + len(second.numbers) >= count

        await until(all_came, "all came")
    assert first.numbers == sorted(first.numbers)
    assert second.numbers == sorted(second.numbers)
    assert sorted(first.numbers + second.numbers) == list(range(count))
    # None of them had been taken by a process in vain.
    for layer, reading in ((one, first), (other, second)):
        assert layer.stats()["counters"]["delivered"] == len(reading.numbers)


async def test_a_message_of_which_a_dead_process_was_told_goes_to_another(
    open_layer: OpenLayer,
    open_process: OpenProcess,
    admin: Redis,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulling, "AUDIT_SECONDS", 0.3)
    layer = open_layer()
    remote = await open_process()
    remote.process.request("receive", "tasks")

    async def remote_waits() -> bool:
        return await admin.zcard(f"{{{prefix}}}:w:tasks") == 1

    await until(remote_waits, "the other process waits")
    (waiting,) = await admin.zrange(f"{{{prefix}}}:w:tasks", 0, -1)
    os.kill(remote.process.pid, signal.SIGSTOP)
    reader = asyncio.create_task(layer.receive("tasks"))
    await waits(admin, prefix, "tasks", str(waiting), layer.process)
    await layer.send("tasks", numbered(7))
    # It was told, and it is the first: nobody else was.
    assert await admin.zscore(f"{{{prefix}}}:w:tasks", str(waiting)) is None
    await remote.kill()
    async with asyncio.timeout(5):
        assert await reader == numbered(7)


@pytest.mark.parametrize("outage", ["short", "longer than a send may take", "taken for dead"])
async def test_a_pull_whose_answer_was_lost_gets_it_again(
    outage: str,
    admin: Redis,
    prefix: str,
    proxy: Proxy,
    open_layer: OpenLayer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition, "BEAT_SECONDS", 0.1)
    timeout = 5.0 if outage == "short" else 0.4
    sender, receiver = open_layer(), open_layer(proxy.port, send_timeout=timeout)
    async with Reading(receiver, "tasks") as tasks:
        await waits(admin, prefix, "tasks", receiver.process)
        proxy.delay(0.1)
        await sender.send("tasks", numbered(0))
        await until(lambda: is_away(admin, f"{{{prefix}}}:c:tasks"), "it is pulled")
        await asyncio.to_thread(proxy.part)  # before the answer has come
        assert tasks.numbers == []
        if outage == "longer than a send may take":
            with pytest.raises(LayerUnavailable):
                await receiver.send("other", numbered(0))
        elif outage == "taken for dead":
            monkeypatch.setattr(partition, "DEAD_MS", 200)
            dead = receiver.process
            await until(lambda: is_forgotten(admin, prefix, dead), "others take it to be dead")
            monkeypatch.setattr(partition, "DEAD_MS", 15_000)
        await asyncio.to_thread(proxy.heal)
        await tasks.until_came(0)
        await sender.send("tasks", numbered(1))
        await tasks.until_came(1)
    assert tasks.numbers == [0, 1]


async def is_away(admin: Redis, key: str) -> bool:
    return not await admin.exists(key)


async def is_forgotten(admin: Redis, prefix: str, process: str) -> bool:
    return await admin.zscore(f"{{{prefix}}}:p", process) is None


async def test_a_pull_that_comes_late_takes_nothing(admin: Redis, prefix: str) -> None:
    """One that lay on a connection that had ended, while it was given again on the next."""
    base = f"{{{prefix}}}:"
    pull = script("pull")

    async def pulled(number: int) -> list[object]:
        words = (base, "tasks", "process", str(number), "1", "60000", "60000", "0")
        answer: list[object] = await admin.eval(pull.source.decode(), 1, f"{base}c:tasks", *words)
        return answer[2:]

    first = 1_800_000_000_000_000_000
    assert await pulled(first + 1) == []
    await admin.rpush(f"{base}c:tasks", "99999999999999:frame")
    assert await pulled(first + 1) == []
    assert await pulled(first) == []
    assert await pulled(first + 2) == ["99999999999999:frame"]
    assert await pulled(first + 1) == ["99999999999999:frame"]  # to whom nobody listens


async def test_reconnections_leave_one_audit(
    admin: Redis,
    prefix: str,
    proxy: Proxy,
    open_layer: OpenLayer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulling, "AUDIT_SECONDS", 0.1)
    layer = open_layer(proxy.port)
    async with Reading(layer, "tasks") as tasks:
        await waits(admin, prefix, "tasks", layer.process)
        for number in range(20):
            await asyncio.to_thread(proxy.cut)
            await layer.send("tasks", numbered(number))
            await tasks.until_came(number)
        before = (await admin.info("commandstats"))["cmdstat_evalsha"]["calls"]
        await asyncio.sleep(0.5)
        after = (await admin.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after - before < 20


async def test_expiry_goes_by_the_clock_of_the_server(
    open_process: OpenProcess, open_layer: OpenLayer
) -> None:
    early, late = [
        await open_process(**{"expiry": 0.4, "$clock_skew": skew}) for skew in (-HOUR, HOUR)
    ]
    for sender, reader in ((early, late), (late, early)):
        await sender.send("tasks", numbered(1))
        await asyncio.sleep(0.5)
        await sender.send("tasks", numbered(2))
        async with asyncio.timeout(5):
            assert await reader.receive("tasks") == numbered(2)
    layer = open_layer(expiry=0.1)
    await layer.send("tasks", numbered(3))
    await asyncio.sleep(0.15)
    await layer.send("tasks", numbered(4))
    assert await next_number(layer, "tasks") == 4
    assert layer.stats()["dropped"]["expired"] == 1


async def test_what_has_expired_makes_room(open_layer: OpenLayer) -> None:
    layer = open_layer(expiry=0.1, capacity=2)
    for number in range(2):
        await layer.send("tasks", numbered(number))
    with pytest.raises(ChannelFull):
        await layer.send("tasks", numbered(-1))
    await asyncio.sleep(0.15)
    await layer.send("tasks", numbered(2))
    assert layer.stats()["dropped"]["expired"] == 2


async def test_a_plain_channel_is_a_member_of_a_group(open_layer: OpenLayer) -> None:
    sender, one, other = (open_layer(capacity=3) for _ in range(3))
    await one.group_add("g", "tasks")
    channel = await one.new_channel()
    await one.group_add("g", channel)
    assert sorted(await sender.group_channels("g")) == sorted(["tasks", channel])
    for number in range(5):
        await sender.group_send("g", numbered(number))
        assert await next_number(one, channel) == number
    assert sender.stats()["dropped"]["capacity"] == 2  # and group_send raised nothing
    assert [await next_number(other, "tasks") for _ in range(3)] == [0, 1, 2]
    await other.group_discard("g", "tasks")
    assert await sender.group_channels("g") == [channel]
    await sender.group_send("g", numbered(5))
    await sender.send("tasks", numbered(6))
    assert await next_number(other, "tasks") == 6


async def test_the_membership_of_a_plain_channel_lapses(open_layer: OpenLayer) -> None:
    layer = open_layer(group_expiry=0.3)
    await layer.group_add("g", "tasks")
    await layer.group_add("g", "others")
    await asyncio.sleep(0.2)
    await layer.group_add("g", "others")
    await asyncio.sleep(0.2)
    await layer.group_send("g", numbered(1))
    await layer.send("tasks", numbered(2))
    assert await next_number(layer, "tasks") == 2
    assert await next_number(layer, "others") == 1
    assert await layer.group_channels("g") == ["others"]
