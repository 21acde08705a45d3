"""A Redis Cluster whose slots move, whose connections break and whose nodes die."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from channel_layers.exceptions import LayerUnavailable
from channel_layers.redis import RedisStreamsChannelLayer
from channel_layers.testing.redis_servers import ClusterNode, RedisCluster
from tests.layers.redis.flows import Gaps, Reading, Sending, numbered, repeatedly, until
from tests.layers.redis.spreading import (
    Flows,
    channel_in,
    layers,
    name_in,
    require_same,
    slot_of,
)

PARTITIONS = 6
HISTORY = {"log*": (1_000_000, 60)}


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """Three masters."""
    with RedisCluster() as started:
        yield started


def config_of(cluster: RedisCluster, **more: Any) -> dict[str, Any]:
    """The options of a layer that knows one node."""
    hosts = cluster.addresses[:1]
    return {"hosts": hosts, "cluster": True, "partitions": PARTITIONS, "history": HISTORY, **more}


def move(
    cluster: RedisCluster, layer: RedisStreamsChannelLayer, partition: int, pause: float
) -> ClusterNode:
    """Move a partition to another node; the one that it was on."""
    slot = slot_of(layer, partition)
    before = cluster.owner(slot)
    to = random.choice([node for node in cluster.masters if node is not before])
    cluster.migrate_slot(slot, to, pause_seconds=pause)
    return before


async def keys_of(cluster: RedisCluster, layer: RedisStreamsChannelLayer) -> list[bytes]:
    """Every key of a layer's prefix."""
    found: list[bytes] = []
    for node in cluster.masters:
        async with Redis.from_url(node.address) as client:
            found += await client.keys(f"*{{{layer.options.prefix}:*")
    return found


async def until_told(gaps: Gaps, layer: RedisStreamsChannelLayer, count: int) -> None:
    """Wait for so many signals of a layer."""

    async def told() -> bool:
        return len(gaps.of(layer)) >= count

    await until(told, f"{count} gaps are told")


async def test_slots_that_move_lose_double_and_reorder_nothing(cluster: RedisCluster) -> None:
    partition = 2
    with Gaps() as gaps:
        async with layers(2, config_of(cluster)) as (sender, receiver):
            async with Flows(sender, receiver, partition) as flows:
                for _ in range(4):
                    await asyncio.to_thread(move, cluster, sender, partition, 0.02)
                    await flows.more(20)
                await flows.stop()
                await flows.require_all()
    assert gaps.heard == []


async def test_cuts_lose_double_and_reorder_nothing(cluster: RedisCluster) -> None:
    """What one sender sends through all partitions, one after the other, comes in its order."""
    with Gaps() as gaps:
        async with layers(2, config_of(cluster)) as (sender, receiver):
            channel = await receiver.new_channel()
            groups = [name_in(sender, partition, "all") for partition in range(PARTITIONS)]
            for group in groups:
                await receiver.group_add(group, channel)
            ways = [partial(sender.group_send, group) for group in groups]
            ways.insert(1, partial(sender.send, channel))
            async with (
                Reading(receiver, channel) as reading,
                Sending(*ways) as sending,
                Flows(sender, receiver, 1) as flows,
            ):
                async with repeatedly(cluster.cut, 0.1):
                    await asyncio.sleep(2)
                await sending.stop()
                await reading.until_came(sending.accepted[-1])
                await flows.stop()
                await flows.require_all()
            assert sending.refused == []
            require_same(reading.numbers, sending.accepted, "through all partitions")
            assert len(sending.accepted) > 100
            assert receiver.stats()["counters"]["reconnections"] >= 3
    assert gaps.heard == []


async def test_partitions_are_spread_and_each_lies_in_one_slot(cluster: RedisCluster) -> None:
    async with layers(2, config_of(cluster)) as (one, other):
        slots = {slot_of(one, partition): partition for partition in range(PARTITIONS)}
        owners = [await asyncio.to_thread(cluster.owner, slot) for slot in slots]
        assert {owners.count(node) for node in cluster.masters} == {PARTITIONS // 3}
        for partition in range(PARTITIONS):
            async with Flows(one, other, partition) as flows:
                await flows.stop()
        found = await keys_of(cluster, one)
        assert {key_slot(key) for key in found} == slots.keys()
        for slot, partition in slots.items():
            tag = one._plans[partition].tag.encode()
            assert all(b"{%s}:" % tag in key for key in found if key_slot(key) == slot)


async def test_layers_leave_no_keys_but_those_that_expire(cluster: RedisCluster) -> None:
    async with layers(2, config_of(cluster)) as (one, other):
        for partition in range(PARTITIONS):
            channel = await channel_in(other, partition)
            await other.group_add(name_in(one, partition), channel)
            await one.group_send(name_in(one, partition), numbered(partition))
            assert await other.receive(channel) == numbered(partition)
            await one.send(plain := name_in(one, partition, "tasks"), numbered(partition))
            assert await other.receive(plain) == numbered(partition)
        assert len(await keys_of(cluster, one)) >= 3 * PARTITIONS
    # Who waits for a plain channel is forgotten when a message wakes it in vain.
    left = {key.partition(b"}:")[2].partition(b":")[0] for key in await keys_of(cluster, one)}
    assert left <= {b"w"}


async def test_flush_reaches_all_partitions_and_no_other_prefix(cluster: RedisCluster) -> None:
    async with (
        layers(2, config_of(cluster)) as (one, other),
        layers(1, config_of(cluster)) as (stranger,),
    ):
        spread = range(PARTITIONS)
        groups, plain = ([name_in(one, p, kind) for p in spread] for kind in ("g", "tasks"))
        channels = {}
        for layer in (one, other, stranger):
            channels[layer] = await layer.new_channel()
            for group in groups:
                await layer.group_add(group, channels[layer])
            await layer.send(channels[layer], numbered(-1))
        for sender in (one, stranger):
            for number, name in enumerate(plain):
                await sender.send(name, numbered(number))
        await one.flush()
        for sender in (one, stranger):
            for number, group in enumerate(groups):
                await sender.group_send(group, numbered(number))
        # What is sent after the flush is there: it does not go on behind its caller's back.
        for layer in (one, other):
            for number, group in enumerate(groups):
                await layer.group_add(group, channels[layer])
                await one.group_send(group, numbered(100 + number))
        async with asyncio.timeout(10):
            for number in spread:
                # It was the first to join again, and so gets what was sent for the other one.
                expected = [numbered(100 + number)]
                assert await other.receive(channels[other]) == expected[0]
            assert await stranger.receive(channels[stranger]) == numbered(-1)
            for number in spread:
                assert await stranger.receive(channels[stranger]) == numbered(number)
                assert await stranger.receive(plain[number]) == numbered(number)
                await one.send(plain[number], numbered(100 + number))
                assert await other.receive(plain[number]) == numbered(100 + number)


async def test_a_node_that_loses_its_memory_concerns_its_own_groups_alone(
    cluster: RedisCluster,
) -> None:
    async with layers(2, config_of(cluster, send_timeout=1)) as (sender, receiver):
        owners = [
            await asyncio.to_thread(cluster.owner, slot_of(sender, partition))
            for partition in range(PARTITIONS)
        ]
        node = owners[0]
        dead = [partition for partition in range(PARTITIONS) if owners[partition] is node]
        healthy = next(partition for partition in range(PARTITIONS) if partition not in dead)
        channel = await channel_in(receiver, healthy)
        for partition in range(PARTITIONS):
            await receiver.group_add(name_in(sender, partition, "own"), channel)
        with Gaps() as gaps:
            async with Flows(sender, receiver, healthy) as flows:
                await asyncio.to_thread(node.kill)
                with pytest.raises(LayerUnavailable):
                    await sender.group_send(name_in(sender, dead[0], "own"), numbered(0))
                with pytest.raises(LayerUnavailable):
                    await sender.send(name_in(sender, dead[0], "tasks"), numbered(0))
                await flows.more(20)
                await asyncio.to_thread(node.start_again)
                await asyncio.to_thread(cluster.wait_until_well)
                await until_told(gaps, receiver, len(dead))
                await flows.more(20)
                await flows.stop()
                await flows.require_all()
            told = [group for groups in gaps.of(receiver) for group in groups]
            assert sorted(told) == sorted(name_in(sender, partition, "own") for partition in dead)
        async with Reading(receiver, channel) as reading:
            for partition in dead:
                await sender.group_send(name_in(sender, partition, "own"), numbered(partition))
                await reading.until_came(partition)
        assert reading.numbers == dead
