"""The layers that the conformance kit runs on: one row each; a new layer adds its own here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import pytest

from channel_layers.redis import RedisStreamsChannelLayer
from channel_layers.redis.transport import RedisTransport
from channel_layers.testing.faults import Faults
from channel_layers.testing.harness import LayerUnderTest
from channel_layers.testing.protocols import AnyLayer
from channel_layers.testing.proxy import Proxy
from channel_layers.testing.redis_servers import RedisCluster, RedisSentinel
from channel_layers.testing.servers import RedisServer
from tests.testing.redis_faults import ClusterFaults, RedisFaults, SentinelFaults

__all__ = ["TABLE", "Row", "parameters"]

EXPIRY = 0.3
REMOTE_EXPIRY = 0.5
"""There and back takes time too."""
FEWER = 8
"""Examples of a law where the same code runs on several kinds of servers."""


@dataclass(frozen=True)
class Row:
    """One layer: how it is opened, with whatever it needs running."""

    opened: Callable[[str], AbstractContextManager[LayerUnderTest]]
    marks: tuple[pytest.MarkDecorator, ...] = ()


@contextmanager
def memory(name: str) -> Iterator[LayerUnderTest]:
    """The layer within one process."""
    dotted = "channel_layers.memory.InMemoryChannelLayer"
    yield LayerUnderTest(dotted, name=name, distributed=False, expiry=EXPIRY)


@contextmanager
def redis(name: str, config: Mapping[str, object]) -> Iterator[LayerUnderTest]:
    """One Redis, reached through a proxy that breaks connections."""
    with RedisServer() as server, Proxy("127.0.0.1", server.port) as proxy:
        direct = {"hosts": [server.address]}
        through: dict[str, object] = {"hosts": [f"redis://127.0.0.1:{proxy.port}"], **config}
        yield over_redis(name, through, RedisFaults(server, proxy, direct))


@contextmanager
def redis_hosts(name: str) -> Iterator[LayerUnderTest]:
    """Several Redis that share the groups and channels."""
    with RedisServer() as one, RedisServer() as other, RedisServer() as third:
        hosts = [server.address for server in (one, other, third)]
        yield over_redis(name, {"hosts": hosts}, examples=FEWER)


@contextmanager
def redis_cluster(name: str) -> Iterator[LayerUnderTest]:
    """A cluster of three nodes."""
    with RedisCluster() as cluster:
        config = {"hosts": cluster.addresses[:1], "cluster": True, "partitions": 5}
        yield over_redis(name, config, ClusterFaults(cluster), examples=FEWER)


@contextmanager
def redis_sentinel(name: str) -> Iterator[LayerUnderTest]:
    """A master with a replica, and three Sentinels."""
    with RedisSentinel() as group:
        config = {"sentinels": group.addresses, "master_name": group.name}
        yield over_redis(name, config, SentinelFaults(group), examples=FEWER)


def over_redis(
    name: str, config: Mapping[str, object], faults: Faults | None = None, examples: int = 20
) -> LayerUnderTest:
    """A layer over whatever kind of Redis."""
    under_test = LayerUnderTest(
        "channel_layers.redis.RedisStreamsChannelLayer",
        config,
        name=name,
        distributed=True,
        expiry=REMOTE_EXPIRY,
        examples=examples,
        faults=faults,
    )
    under_test.inject = write_into_redis
    return under_test


async def write_into_redis(layer: AnyLayer, channel: str, data: bytes) -> None:
    """Put bytes into the inbox of the process that reads a channel."""
    ours = cast(RedisStreamsChannelLayer, layer)
    transport = ours._transport
    assert isinstance(transport, RedisTransport)
    partition = transport._of(channel)
    await partition.outbox.command(
        "XADD", partition.keys.inbox(ours.process), "NOMKSTREAM", "*", "d", data
    )


TABLE: dict[str, Row] = {
    "memory": Row(memory),
    "redis": Row(partial(redis, config={})),
    "redis-hosts": Row(redis_hosts),
    "redis-cluster": Row(redis_cluster),
    "redis-sentinel": Row(redis_sentinel),
}


def parameters() -> list[object]:
    """The rows for ``pytest.fixture(params=...)``."""
    return [pytest.param(name, id=name, marks=row.marks) for name, row in TABLE.items()]
