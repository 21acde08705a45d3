"""A Redis Cluster whose slots move, whose connections break and whose nodes die."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from channel_layers.redis import RedisStreamsChannelLayer
from channel_layers.testing.redis_servers import ClusterNode, RedisCluster
from tests.layers.redis.flows import Gaps
from tests.layers.redis.spreading import Flows, layers, slot_of

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
