"""Redis servers that belong together: they start, move, fail over, and leave nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from channel_layers.testing.redis_servers import ClusterNode, RedisCluster, RedisSentinel
from channel_layers.testing.servers import RedisServer, ServerError


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as started:
        yield started


@pytest.fixture(scope="module")
def sentinel() -> Iterator[RedisSentinel]:
    with RedisSentinel() as started:
        yield started


def client(server: RedisServer, password: str | None = None) -> redis.Redis:
    return redis.Redis(
        port=server.port,
        password=password,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),  # else a refusal is tried again for seconds
    )


def process_id(server: RedisServer) -> int:
    with client(server) as connected:
        return int(connected.info("server")["process_id"])


def directory(server: RedisServer) -> Path:
    with client(server) as connected:
        found = connected.info("server")["config_file"]
        return Path(found).parent if found else Path(connected.config_get("dir")["dir"])


def another(cluster: RedisCluster, node: ClusterNode) -> ClusterNode:
    return next(other for other in cluster.masters if other is not node)


# One server


def test_a_server_takes_the_options_of_its_configuration_file() -> None:
    with RedisServer(maxmemory="3mb", requirepass="secret") as server:
        with client(server, "secret") as logged_in:
            assert logged_in.config_get("maxmemory") == {"maxmemory": str(3 * 2**20)}
            assert logged_in.config_get("save") == {"save": ""}
        with client(server) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_an_option_takes_the_place_of_what_is_set_anyway() -> None:
    with RedisServer(appendonly="yes") as server, client(server) as connected:
        assert connected.config_get("appendonly") == {"appendonly": "yes"}


def test_another_executable_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = RedisServer.find()
    assert found is not None
    other = shutil.copy(found, tmp_path / "another-redis")
    monkeypatch.setenv("TEST_REDIS_SERVER", str(other))
    with RedisServer() as server, client(server) as connected:
        assert connected.info("server")["executable"] == str(other)


# Cluster


def test_each_slot_of_a_cluster_has_one_node_that_all_agree_on(cluster: RedisCluster) -> None:
    owners = [cluster.owner(slot) for slot in (0, 8192, 16383)]
    assert owners == cluster.masters
    for node in cluster.nodes:
        with node.client as asked:
            view = asked.cluster("SLOTS")
            ranges = {(first, last): place[1] for first, last, place, *_ in view}
            assert sum(last - first + 1 for first, last in ranges) == 16384
            assert {ranges[key] for key in sorted(ranges)} == {owner.port for owner in owners}


def test_a_key_is_where_the_cluster_says(cluster: RedisCluster) -> None:
    owner = cluster.owner(key_slot(b"somewhere"))
    with owner.client as right, another(cluster, owner).client as wrong:
        assert right.set("somewhere", "here")
        with pytest.raises(redis.ResponseError, match=str(owner.port)):
            wrong.get("somewhere")


def test_a_slot_moves_with_all_that_is_in_it(cluster: RedisCluster) -> None:
    slot = key_slot(b"moving")
    before = cluster.owner(slot)
    to = another(cluster, before)
    with before.client as source, to.client as target:
        for number in range(5):
            source.rpush(f"{{moving}}:{number}", "a", "b")
        cluster.migrate_slot(slot, to)
        assert cluster.owner(slot) is to
        for number in range(5):
            assert target.lrange(f"{{moving}}:{number}", 0, -1) == ["a", "b"]
        with pytest.raises(redis.ResponseError, match=str(to.port)):
            source.llen("{moving}:0")
    cluster.migrate_slot(slot, before)  # and back
    assert cluster.owner(slot) is before


def test_a_cut_breaks_the_connections_of_clients(cluster: RedisCluster) -> None:
    with cluster.masters[0].client as connected:
        name = connected.client_id()
        cluster.cut()
        assert connected.client_id() != name


def test_a_node_that_was_killed_comes_back_with_its_slots(cluster: RedisCluster) -> None:
    node = cluster.masters[1]
    node.kill()
    with client(node) as gone, pytest.raises(redis.ConnectionError):
        gone.ping()
    node.restart()
    name = next(name for name in map(str, range(100_000)) if 8000 < key_slot(name.encode()) < 8200)
    with client(node) as back:
        cluster.wait(lambda: back.set(name, "here") is True)
    assert cluster.owner(8192) is node


# Sentinel


def test_a_failover_makes_the_replica_the_master(sentinel: RedisSentinel) -> None:
    old = sentinel.master
    with client(old) as writer:
        writer.set("kept", "yes")
        assert writer.wait(1, 5000) == 1
    sentinel.failover()
    assert sentinel.master is not old
    with client(sentinel.master) as promoted:
        assert promoted.get("kept") == "yes"
        assert promoted.set("written", "yes")


def test_a_master_that_is_killed_is_replaced_and_comes_back_as_replica(
    sentinel: RedisSentinel,
) -> None:
    old = sentinel.master
    sentinel.kill_master()
    new = sentinel.master
    assert new is not old
    with client(new) as writer, client(old) as reader:
        writer.set("later", "yes")
        assert writer.wait(1, 5000) == 1
        assert reader.get("later") == "yes"
        with pytest.raises(redis.ReadOnlyError):
            reader.set("later", "no")


def test_every_sentinel_can_be_asked(sentinel: RedisSentinel) -> None:
    for host, port in sentinel.addresses:
        with redis.Redis(host=host, port=port, decode_responses=True) as asked:
            found = asked.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinel.name)
            assert int(found[1]) == sentinel.master.port


# The end


def test_nothing_is_left_behind() -> None:
    with RedisCluster(masters=1) as cluster, RedisSentinel(replicas=1, sentinels=1) as sentinel:
        servers: list[RedisServer] = [*cluster.nodes, *sentinel.servers, *sentinel.sentinels]
        processes = [process_id(server) for server in servers]
        places = [directory(server) for server in servers]
        assert all(map(psutil.pid_exists, processes))
        assert all(place.is_dir() for place in places)
    assert not any(map(psutil.pid_exists, processes))
    assert not any(place.exists() for place in places)


def test_when_one_does_not_start_the_others_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = RedisCluster(masters=2)
    started = []

    def fails(*_arguments: object) -> None:
        started.append(process_id(cluster.masters[0]))
        raise ServerError("not today")

    monkeypatch.setattr(cluster.masters[1], "_start", fails)
    with pytest.raises(ServerError, match="not today"), cluster:
        pass
    assert started
    assert not any(map(psutil.pid_exists, started))
