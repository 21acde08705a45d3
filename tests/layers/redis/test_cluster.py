"""A Redis Cluster whose slots move, whose connections break and whose nodes die."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

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


def config_of(cluster: RedisCluster, **more: object) -> dict[str, Any]:
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


async def owners_of(cluster: RedisCluster, layer: RedisStreamsChannelLayer) -> list[ClusterNode]:
    """The nodes of the partitions."""
    slots = [slot_of(layer, partition) for partition in range(PARTITIONS)]
    return [await asyncio.to_thread(cluster.owner, slot) for slot in slots]


async def keys_of(cluster: RedisCluster, layer: RedisStreamsChannelLayer) -> list[bytes]:
    """Every key of a layer's prefix."""
    found: list[bytes] = []
    for node in cluster.masters:
        async with Redis.from_url(node.address) as client:
            found += cast("list[bytes]", await client.keys(f"*{{{layer.options.prefix}:*"))
    return found


async def until_told(gaps: Gaps, layer: RedisStreamsChannelLayer, count: int) -> None:
    """Wait for so many signals of a layer."""

    async def told() -> bool:
        return len(gaps.of(layer)) >= count

    await until(told, f"{count} gaps are told")


async def test_slots_that_move_lose_double_and_reorder_nothing(cluster: RedisCluster) -> None:
    partition = 2
    with Gaps() as gaps:
        async with (
            layers(2, config_of(cluster)) as (sender, receiver),
            Flows(sender, receiver, partition) as flows,
        ):
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
        owners = await owners_of(cluster, one)
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
        owners = await owners_of(cluster, sender)
        node = owners[0]
        dead = [partition for partition in range(PARTITIONS) if owners[partition] is node]
        healthy = next(partition for partition in range(PARTITIONS) if partition not in dead)
        channel = await channel_in(receiver, healthy)
        for partition in range(PARTITIONS):
            await receiver.group_add(name_in(sender, partition, "own"), channel)
        with Gaps() as gaps:
            async with Flows(sender, receiver, healthy) as flows:
                # What comes later waits for this, which never comes and cannot be asked for.
                await sender.group_send(name_in(sender, dead[0], "nobody"), numbered(0))
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


@pytest.fixture
def replicated() -> Iterator[RedisCluster]:
    """Three masters with a replica each: two of them must agree on who takes over."""
    with RedisCluster(replicas=1) as started:
        yield started


@pytest.mark.parametrize("fault", ["kill", "takeover"])
async def test_a_replica_takes_over(fault: str, replicated: RedisCluster) -> None:
    """What was lost on the way is told: replicas are a little behind."""
    partition = 1
    async with layers(2, config_of(replicated, send_timeout=10)) as (sender, receiver):
        slot = slot_of(sender, partition)
        master = await asyncio.to_thread(replicated.owner, slot)
        replica = replicated.replicas[replicated.masters.index(master)]
        owners = await owners_of(replicated, sender)
        far = next(p for p in range(PARTITIONS) if owners[p] is not master)
        with Gaps() as gaps:
            async with (
                Flows(sender, receiver, partition) as flows,
                Flows(sender, receiver, far) as others,
            ):
                if fault == "kill":
                    await asyncio.to_thread(master.kill)
                else:
                    await asyncio.to_thread(take_over, replica)
                await gaps.until(receiver)
                await flows.more(20)
                assert await asyncio.to_thread(replicated.owner, slot) is replica
                await flows.stop()
                await others.stop()
                await others.require_all()
                flows.require_none_twice()
                # A push that was under way may have been carried out: it is not done again.
                assert [len(sending.refused) for sending in flows.sendings[:2]] == [0, 0]
                assert len(flows.sendings[2].refused) <= 1
            told = {group for groups in gaps.of(receiver) for group in groups}
            assert {flows.group, flows.log} <= told
            assert not {others.group, others.log} & told
            for layer in (sender, receiver):
                await until_gaps(layer, owners.count(master))


async def until_gaps(layer: RedisStreamsChannelLayer, count: int) -> None:
    """Wait until a layer has counted so many, of groups or not."""

    async def counted() -> bool:
        return layer.stats()["counters"]["gaps"] >= count

    await until(counted, f"{count} gaps are counted")


def take_over(replica: ClusterNode) -> None:
    """Make a replica the master, whether it is up to date or not; the old one lives."""
    with replica.client as client:
        client.execute_command("CLUSTER FAILOVER TAKEOVER")


async def test_sends_into_a_partition_that_is_away_end_in_time(cluster: RedisCluster) -> None:
    async with layers(2, config_of(cluster, send_timeout=0.6)) as (sender, receiver):
        channel = await receiver.new_channel()
        owners = await owners_of(cluster, sender)
        await receiver.group_add("g", channel)
        node = owners[sender._transport.partition_of("g")]
        await sender.group_send("g", numbered(0))
        async with Reading(receiver, channel) as reading:
            await asyncio.to_thread(node.kill)
            try:
                for _ in range(3):
                    start = time.monotonic()
                    with pytest.raises(LayerUnavailable, match=f"127.0.0.1:{node.port}"):
                        await sender.group_send("g", numbered(1))
                    assert 0.5 < time.monotonic() - start < 1.0
                assert not receiver.stats()["connected"]
            finally:
                await asyncio.to_thread(node.start_again)
                await asyncio.to_thread(cluster.wait_until_well)
            await until_up(sender, receiver)
            await sender.group_send("g", numbered(2))
            await reading.until_came(2)
        assert reading.numbers[0] == 0
        assert len(set(reading.numbers)) == len(reading.numbers)


async def until_up(*waited: RedisStreamsChannelLayer) -> None:
    """Wait until layers have all their connections."""

    async def up() -> bool:
        return all(layer.stats()["connected"] for layer in waited)

    await until(up, "all partitions are there")
