"""Where the server is: as Sentinels and the nodes of a cluster say, real ones."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis.crc import key_slot

from channel_layers.redis.endpoint import CannotConnect, Endpoint
from channel_layers.redis.forms import endpoint_of
from channel_layers.redis.hosts import PartitionPlan, plans
from channel_layers.redis.locating import Locator
from channel_layers.testing.redis_servers import ClusterNode, RedisCluster, RedisSentinel
from channel_layers.testing.servers import RedisServer, free_port

LONG = 20.0
"""Seconds that nothing here takes: what takes them hangs."""


class OwnServer(RedisServer):
    """Never one that is given."""

    variable = "TEST_REDIS_OF_ITS_OWN"


@pytest.fixture(scope="module")
def watched() -> Iterator[RedisSentinel]:
    """A master, a replica and three Sentinels."""
    with RedisSentinel() as watched:
        yield watched


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """Three nodes."""
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def alone() -> Iterator[RedisCluster]:
    """A cluster of one node, which has never been told its own address."""
    with RedisCluster(masters=1) as cluster:
        yield cluster


@pytest.fixture
def empty() -> Iterator[ClusterNode]:
    """A node that is in no cluster, such as one that was taken out."""
    with ClusterNode() as node:
        yield node


@pytest.fixture
def lone() -> Iterator[RedisServer]:
    """A server that knows nothing of clusters and Sentinels."""
    with OwnServer() as server:
        yield server


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def port_of(endpoint: Endpoint) -> int:
    return int(endpoint.options["port"])


async def role_of(endpoint: Endpoint) -> object:
    answer = await endpoint.ask("ROLE", timeout=LONG)
    return answer[0] if isinstance(answer, list) else answer


async def port_of_master(watched: RedisSentinel) -> int:
    return await asyncio.to_thread(lambda: watched.master.port)


async def port_of_owner(cluster: RedisCluster, plan: PartitionPlan) -> int:
    return (await asyncio.to_thread(cluster.owner, slot_of(plan))).port


# Sentinel


def master(places: list[tuple[str, int]], name: str = "mymaster", **options: object) -> Locator:
    (plan,) = plans([{"sentinels": places, "master_name": name, **options}], prefix="p")
    return plan.locator


async def test_sentinels_say_where_the_master_is(watched: RedisSentinel) -> None:
    found = await master(watched.addresses, db=1, client_name="c").locate(timeout=LONG)
    assert port_of(found) == await port_of_master(watched)
    assert (found.options["db"], found.options["client_name"]) == (1, "c")
    assert await role_of(found) == b"master"


async def test_a_master_that_no_sentinel_knows(watched: RedisSentinel) -> None:
    with pytest.raises(CannotConnect, match="knows no master 'othermaster'") as caught:
        await master(watched.addresses, "othermaster").locate(timeout=LONG)
    assert caught.value.permanent
    assert str(watched.addresses[0][1]) in str(caught.value)


async def test_sentinels_that_are_dead_or_silent_are_passed_over(
    watched: RedisSentinel, silent: int
) -> None:
    places = [("127.0.0.1", free_port()), ("127.0.0.1", silent), *watched.addresses]
    locator = master(places)
    begun = time.monotonic()
    found = await locator.locate(timeout=3)
    assert port_of(found) == await port_of_master(watched)
    passed_over = time.monotonic() - begun
    assert passed_over < 3
    # Next time the one that answered is asked first.
    begun = time.monotonic()
    await locator.locate(timeout=3)
    assert time.monotonic() - begun < passed_over / 2


async def test_sentinels_that_say_nothing_at_all_take_no_longer_than_the_timeout(
    silent: int,
) -> None:
    begun = time.monotonic()
    with pytest.raises(CannotConnect, match=f"(?s)master 'mymaster'.*127.0.0.1:{silent}") as caught:
        await master([("127.0.0.1", silent)] * 9).locate(timeout=0.3)
    assert time.monotonic() - begun < 2
    assert not caught.value.permanent


async def test_sentinels_have_users_of_their_own(watched: RedisSentinel) -> None:
    place = watched.addresses[0]
    sentinel = endpoint_of(place)
    rule = ("on", ">of-the-sentinel", "+sentinel|get-master-addr-by-name")
    await sentinel.ask("ACL", "SETUSER", "layer", *rule, timeout=LONG)
    login = {"username": "layer", "password": "of-the-sentinel"}
    found = await master([place], sentinel_kwargs=login).locate(timeout=LONG)
    assert port_of(found) == await port_of_master(watched)
    assert "password" not in found.options
    with pytest.raises(CannotConnect, match="invalid username-password") as caught:
        await master([place], sentinel_kwargs={**login, "password": "x"}).locate(timeout=LONG)
    assert caught.value.permanent
    assert "of-the-sentinel" not in str(caught.value)


async def test_what_is_no_sentinel_says_so(lone: RedisServer) -> None:
    with pytest.raises(CannotConnect, match="(?i)unknown command .?sentinel") as caught:
        await master([("127.0.0.1", lone.port)]).locate(timeout=LONG)
    assert caught.value.permanent


async def test_after_a_failover_the_new_master_is_found(watched: RedisSentinel) -> None:
    before = port_of(await master(watched.addresses).locate(timeout=LONG))
    sentinel = endpoint_of(watched.addresses[0])
    await sentinel.ask("SENTINEL", "FAILOVER", watched.name, timeout=LONG)
    async with asyncio.timeout(LONG):
        for place in watched.addresses:  # each is told of it a little later
            locator = master([place])
            while port_of(after := await locator.locate(timeout=LONG)) == before:
                locator.distrust()
            assert await role_of(after) == b"master"


# Cluster


def in_cluster(hosts: list[Any], partitions: int = 8) -> list[PartitionPlan]:
    return plans(hosts, prefix="shop", cluster=True, partitions=partitions)


def slot_of(plan: PartitionPlan) -> int:
    return key_slot(plan.tag.encode())


async def questions(cluster: RedisCluster) -> int:
    """How many commands about the cluster its nodes were given since this was last asked."""
    count = 0
    for address in cluster.addresses:
        endpoint = endpoint_of(address)
        info = await endpoint.ask("INFO", "commandstats", timeout=LONG)
        await endpoint.ask("CONFIG", "RESETSTAT", timeout=LONG)
        assert isinstance(info, bytes)
        for line in info.decode().splitlines():
            if line.startswith("cmdstat_cluster"):
                count += int(line.partition("calls=")[2].partition(",")[0])
    return count


async def test_each_partition_is_found_where_its_slot_is(cluster: RedisCluster) -> None:
    found = in_cluster(cluster.addresses[:1])
    located = [await plan.locator.locate(timeout=LONG) for plan in found]
    for plan, endpoint in zip(found, located, strict=True):
        assert port_of(endpoint) == await port_of_owner(cluster, plan)
        key = f"{{{plan.tag}}}:g:some.group"
        await endpoint.ask("SET", key, "x", "PX", "1", timeout=LONG)  # not MOVED
    assert {port_of(endpoint) for endpoint in located} == {node.port for node in cluster.masters}


async def test_the_options_of_the_first_node_are_those_of_all(cluster: RedisCluster) -> None:
    first = f"{cluster.addresses[0]}?client_name=site"
    for plan in in_cluster([first, *cluster.addresses[1:]]):
        assert (await plan.locator.locate(timeout=LONG)).options["client_name"] == "site"


async def test_all_partitions_ask_once(cluster: RedisCluster) -> None:
    found = in_cluster(cluster.addresses)
    await questions(cluster)
    async with asyncio.TaskGroup() as tasks:
        for plan in found:
            tasks.create_task(plan.locator.locate(timeout=LONG))
    assert await questions(cluster) == 1
    for plan in found:
        await plan.locator.locate(timeout=LONG)
    assert await questions(cluster) == 0
    for plan in found:
        plan.locator.distrust()
    async with asyncio.TaskGroup() as tasks:
        for plan in found:
            tasks.create_task(plan.locator.locate(timeout=LONG))
    assert await questions(cluster) == 1


async def test_a_slot_that_has_moved_is_found_when_the_old_node_is_distrusted(
    cluster: RedisCluster,
) -> None:
    first, second, *_ = in_cluster(cluster.addresses)
    await first.locator.locate(timeout=LONG)
    before = await port_of_owner(cluster, first)
    target = next(node for node in cluster.masters if node.port != before)
    await asyncio.to_thread(cluster.migrate_slot, slot_of(first), target)
    assert port_of(await first.locator.locate(timeout=LONG)) == before  # nobody said so yet
    second.locator.distrust()  # what one partition is told holds for all
    assert port_of(await first.locator.locate(timeout=LONG)) == target.port


async def test_nodes_that_are_dead_silent_or_outside_are_passed_over(
    cluster: RedisCluster, empty: ClusterNode, silent: int
) -> None:
    dead, outside = ("127.0.0.1", free_port()), ("127.0.0.1", empty.port)
    hosts = [dead, ("127.0.0.1", silent), outside, ("127.0.0.1", cluster.masters[2].port)]
    plan = in_cluster(hosts)[0]
    found = await plan.locator.locate(timeout=LONG)
    assert port_of(found) == await port_of_owner(cluster, plan)


async def test_nodes_found_once_are_asked_when_the_first_ones_are_gone(
    cluster: RedisCluster,
) -> None:
    victim = cluster.masters[0]
    plan = in_cluster([("127.0.0.1", victim.port)], partitions=1)[0]
    await plan.locator.locate(timeout=LONG)
    await asyncio.to_thread(victim.kill)
    try:
        for _ in range(5):  # they are asked in any order
            plan.locator.distrust()
            assert port_of(await plan.locator.locate(timeout=LONG))
    finally:
        await asyncio.to_thread(victim.restart)
        await asyncio.to_thread(cluster.wait, lambda: all(map(cluster._is_well, cluster.nodes)))


async def test_a_node_that_does_not_know_its_own_address(alone: RedisCluster) -> None:
    (node,) = alone.masters
    answer = await endpoint_of(alone.addresses[0]).ask("CLUSTER", "SLOTS", timeout=LONG)
    assert isinstance(answer, list)
    assert answer[0][2][0] == b""  # the host: whoever was asked
    found = await in_cluster(alone.addresses)[0].locator.locate(timeout=LONG)
    assert (found.options["host"], port_of(found)) == ("127.0.0.1", node.port)


async def test_a_slot_that_nobody_serves(alone: RedisCluster) -> None:
    plan = in_cluster(alone.addresses)[0]
    node = endpoint_of(alone.addresses[0])
    await node.ask("CLUSTER", "DELSLOTS", str(slot_of(plan)), timeout=LONG)
    with pytest.raises(CannotConnect, match=f"no node serves hash slot {slot_of(plan)}") as caught:
        await plan.locator.locate(timeout=LONG)
    assert not caught.value.permanent
    await node.ask("CLUSTER", "ADDSLOTS", str(slot_of(plan)), timeout=LONG)
    found = await plan.locator.locate(timeout=LONG)  # it looks again by itself
    assert port_of(found) == port_of(node)


async def test_what_is_no_cluster_says_so(lone: RedisServer, empty: ClusterNode) -> None:
    for server, says, permanent in (
        (lone, "cluster support disabled", True),
        (empty, "knows of no slots", False),
    ):
        plan = in_cluster([("127.0.0.1", server.port)])[0]
        with pytest.raises(CannotConnect, match=says) as caught:
            await plan.locator.locate(timeout=LONG)
        assert str(server.port) in str(caught.value)
        assert caught.value.permanent is permanent


async def test_one_that_is_cancelled_leaves_the_asking_to_the_next(cluster: RedisCluster) -> None:
    asked = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        asked.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        found = in_cluster([silent.sockets[0].getsockname()[:2]])
        tasks = [asyncio.create_task(plan.locator.locate(timeout=LONG)) for plan in found[:2]]
        await asked.wait()
        asked.clear()
        tasks[0].cancel()
        await asked.wait()  # by the other one
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [task.cancelled() for task in tasks] == [True, True]
        assert len(writers) == 2
        for writer in writers:
            writer.close()


async def test_nodes_that_say_nothing_at_all_take_no_longer_than_the_timeout(silent: int) -> None:
    found = in_cluster([("127.0.0.1", silent)] * 9)
    begun = time.monotonic()
    asked = [plan.locator.locate(timeout=0.3) for plan in found]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert time.monotonic() - begun < 2
    assert {type(answer) for answer in answers} == {CannotConnect}


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_a_locator_serves_one_event_loop_after_the_other(
    cluster: RedisCluster, watched: RedisSentinel, kind: str
) -> None:
    plan = in_cluster(cluster.addresses)[0]
    locator = plan.locator if kind == "cluster" else master(watched.addresses)
    found = []
    for _ in range(2):
        locator.distrust()
        found.append(port_of(asyncio.run(locator.locate(timeout=LONG))))
    assert found[0] == found[1]
