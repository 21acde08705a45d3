"""What came and went leaves nothing on the server: keys, entries, memory, connections, tasks."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from redis.asyncio import Redis

from channel_layers.redis import partition
from tests.layers.redis.conftest import OpenLayer, OpenProcess
from tests.layers.redis.flows import Reading, numbered, until

MANY = 300


async def keys_of(admin: Redis, prefix: str) -> dict[str, int]:
    """Every key that holds the prefix, and the milliseconds that it has to live (-1: for ever)."""
    names = [name async for name in admin.scan_iter(match=f"*{prefix}*", count=1000)]
    return {str(name): await admin.pttl(name) for name in names}


@pytest.mark.parametrize("delivery", ["at_most_once", "at_least_once"])
async def test_what_came_and_went_leaves_only_what_expires(
    delivery: str, admin: Redis, prefix: str, open_layer: OpenLayer
) -> None:
    config = {"delivery": delivery, "history": {"log.*": (5, 5)}}
    one, other = (open_layer(**config) for _ in range(2))

    async def visit(number: int) -> None:
        channel = await one.new_channel()
        for group in (f"g{number}", f"log.{number % 3}", "all"):
            await one.group_add(group, channel)
        await other.group_add(f"p{number}", f"plain{number}")
        await other.send(channel, numbered(number))
        await other.group_send(f"g{number}", numbered(number))
        await other.group_send(f"log.{number % 3}", numbered(number))
        await other.group_send(f"p{number}", numbered(number))
        await one.receive(f"plain{number}")
        await other.group_discard(f"p{number}", f"plain{number}")
        if number % 2:
            await one.group_discard(f"g{number}", channel)
        await one.close_channel(channel)

    await asyncio.gather(*(visit(number) for number in range(MANY)))
    for layer in (one, other):
        assert layer.stats()["groups"] == 0
        assert layer.stats()["members"] == 0
        # What it is still in when it closes.
        await layer.group_add("last", await layer.new_channel())
        await layer.close()
    left = await keys_of(admin, prefix)
    assert [name for name, lives in left.items() if lives <= 0] == []
    kinds = {name.partition("}:")[2][:1] for name in left}
    # History and who waits for plain channels; what may still come back when nobody reads it.
    assert kinds <= ({"h", "o", "w", "p"} | ({"k", "u"} if delivery == "at_least_once" else set()))
    assert all(lives <= 86_400_000 for lives in left.values())


async def test_a_killed_process_leaves_only_what_expires(
    admin: Redis, prefix: str, open_layer: OpenLayer, open_process: OpenProcess
) -> None:
    layer = open_layer(expiry=5)
    remote = await open_process(expiry=5, delivery="at_least_once")
    channel = await remote.new_channel()
    await remote.group_add("g", channel)
    await remote.send("tasks", numbered(0))
    remote.process.request("receive_and_hold", "tasks", 1)

    async def holds() -> bool:
        return any([key async for key in admin.scan_iter(match=f"{{{prefix}}}:u:*")])

    await until(holds, "the message is taken")
    process = str(next(iter(await admin.smembers(f"{{{prefix}}}:g:g"))))
    await remote.kill()
    left = await keys_of(admin, prefix)
    assert {name for name in left if name.endswith(process)} >= {
        f"{{{prefix}}}:{kind}:{process}" for kind in "iku"
    }
    assert [name for name, lives in left.items() if lives <= 0] == []

    # Its inbox expires; then the next message makes the group forget it.
    await admin.pexpire(f"{{{prefix}}}:i:{process}", 1)
    await until(lambda: is_away(admin, f"{{{prefix}}}:i:{process}"), "the inbox expires")
    await layer.group_send("g", numbered(0))
    assert not await admin.exists(f"{{{prefix}}}:g:g")


async def is_away(admin: Redis, key: str) -> bool:
    return not await admin.exists(key)


async def test_a_dead_process_is_forgotten_by_those_that_live(
    admin: Redis,
    prefix: str,
    open_layer: OpenLayer,
    open_process: OpenProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(partition, "DEAD_MS", 300)
    remote = await open_process()
    await remote.new_channel()
    await remote.kill()
    layer = open_layer()
    await layer.new_channel()
    assert await admin.zcard(f"{{{prefix}}}:p") == 2

    async def forgotten() -> bool:
        return await admin.zrange(f"{{{prefix}}}:p", 0, -1) == [layer.process]

    await until(forgotten, "it is forgotten")
    await admin.persist(f"{{{prefix}}}:p")

    async def expires() -> bool:
        return await admin.pttl(f"{{{prefix}}}:p") > 0

    await until(expires, "who lives is forgotten some time after the last one has died")


async def test_traffic_leaves_no_entries_and_no_memory(
    admin: Redis, prefix: str, open_layer: OpenLayer
) -> None:
    sender, receiver = (open_layer(capacity=1_000_000) for _ in range(2))
    channel = await receiver.new_channel()
    await receiver.group_add("g", channel)
    inbox = f"{{{prefix}}}:i:{receiver.process}"
    longest = 0
    used: list[int] = []
    sent = 0
    async with Reading(receiver, channel) as reading:
        for _ in range(80):
            await asyncio.gather(
                *(sender.group_send("g", numbered(number)) for number in range(sent, sent + 500))
            )
            sent += 500
            await reading.until(partial(are, sent), "all came")
            longest = max(longest, await admin.xlen(inbox))
            if sent in (10_000, 40_000):
                used.append((await admin.info("memory"))["used_memory"])
    assert sorted(reading.numbers) == list(range(sent))  # they were sent side by side
    assert longest <= 1000
    assert used[1] - used[0] < 300_000


def are(count: int, numbers: list[int]) -> bool:
    return len(numbers) >= count


async def test_a_layer_has_two_connections_and_closes_them(
    admin: Redis, open_layer: OpenLayer
) -> None:
    tasks = asyncio.all_tasks()
    before = len(await admin.client_list())
    layers = [open_layer() for _ in range(3)]
    for layer in layers:
        channel = await layer.new_channel()
        await layer.group_add("g", channel)
        await layer.send(channel, numbered(1))
        await layer.send("tasks", numbered(1))
        assert await layer.receive(channel) == numbered(1)
        assert await layer.receive("tasks") == numbered(1)
        await asyncio.to_thread(layer.sync.group_send, "g", numbered(2))
        assert await asyncio.to_thread(layer.sync.receive, channel, timeout=5) == numbered(2)
    assert len(await admin.client_list()) == before + 2 * len(layers)
    for layer in layers:
        await layer.close()

    async def closed() -> bool:
        return len(await admin.client_list()) == before

    await until(closed, "the connections are closed")
    assert asyncio.all_tasks() == tasks


async def test_a_process_channel_that_is_forgotten_leaves_its_groups(
    admin: Redis, prefix: str, open_layer: OpenLayer
) -> None:
    layer = open_layer(expiry=0.1)
    other = open_layer()
    for number in range(20):
        await layer.group_add(f"g{number}", await layer.new_channel())
    assert len([k async for k in admin.scan_iter(match=f"{{{prefix}}}:g:*")]) == 20

    async def away() -> bool:
        layer.stats()  # upkeep happens in passing
        return not [k async for k in admin.scan_iter(match=f"{{{prefix}}}:g:*")]

    await until(away, "the groups are forgotten")
    await other.group_send("g1", numbered(1))
