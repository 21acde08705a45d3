"""A master that dies, is replaced, or comes back, and Sentinels that say nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from channel_layers.exceptions import LayerUnavailable
from channel_layers.testing.redis_servers import RedisSentinel
from channel_layers.testing.servers import RedisServer
from tests.layers.redis.flows import Gaps, Reading, numbered
from tests.layers.redis.spreading import Flows, layers

HISTORY = {"log*": (1_000_000, 60)}


@pytest.fixture(scope="module")
def group() -> Iterator[RedisSentinel]:
    """A master, a replica, three Sentinels."""
    with RedisSentinel() as started:
        yield started


@pytest.fixture
def failing() -> Iterator[RedisSentinel]:
    """A group of the test's own: it would take ten seconds until it can fail again."""
    with RedisSentinel() as started:
        yield started


def config_of(group: RedisSentinel, **more: object) -> dict[str, Any]:
    """The options of a layer that knows all Sentinels."""
    found = {"sentinels": group.addresses, "master_name": group.name}
    return {**found, "history": HISTORY, "send_timeout": 10, **more}


def kill(group: RedisSentinel, old: RedisServer) -> None:
    """The master is gone."""
    old.kill()
    group.wait_for_another(old)


def hand_over(group: RedisSentinel, old: RedisServer) -> None:
    """The master is asked to be a replica."""
    group.failover(settle=False)
    assert group.master is not old


def hang(group: RedisSentinel, old: RedisServer) -> None:
    """The master is replaced while it cannot notice, and goes on as if nothing had happened."""
    old.signal(signal.SIGSTOP)
    try:
        group.wait_for_another(old)
    finally:
        old.signal(signal.SIGCONT)


@pytest.mark.parametrize("fault", [hand_over, kill, hang])
async def test_a_replica_takes_over(
    fault: Callable[[RedisSentinel, RedisServer], None], failing: RedisSentinel
) -> None:
    """What was lost on the way is told: replicas are a little behind."""
    async with layers(2, config_of(failing)) as (sender, receiver):
        old = await asyncio.to_thread(lambda: failing.master)
        with Gaps() as gaps:
            async with Flows(sender, receiver, 0) as flows:
                await asyncio.to_thread(fault, failing, old)
                await gaps.until(receiver)
                await flows.more(20)
                if fault is kill:
                    # Whoever starts it again, it is a master until the Sentinels see it.
                    await asyncio.to_thread(old.start_again)
                    await cut(await asyncio.to_thread(lambda: failing.master))
                    await flows.more(20)
                    assert await scripts_run(old) == 0
                await flows.stop()
                flows.require_none_twice()
                # A push that was under way may have been carried out: it is not done again.
                assert [len(sending.refused) for sending in flows.sendings[:2]] == [0, 0]
                assert len(flows.sendings[2].refused) <= 2
            for groups in gaps.of(receiver):
                assert set(groups) == {flows.group, flows.log}


async def cut(server: RedisServer) -> None:
    """Break the connections of all clients."""
    async with Redis.from_url(server.address) as client:
        await client.client_kill_filter(_type="normal", skipme=True)


async def scripts_run(server: RedisServer) -> int:
    """How many scripts a server has been given since it started."""
    async with Redis.from_url(server.address) as client:
        found = await client.info("commandstats")
    names = ("cmdstat_eval", "cmdstat_evalsha")
    return sum(found[name]["calls"] for name in names if name in found)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
async def test_sentinels_that_say_nothing_are_passed_over(
    number: signal.Signals, group: RedisSentinel
) -> None:
    first, master = group.sentinels[0], await asyncio.to_thread(lambda: group.master)
    if number == signal.SIGKILL:
        await asyncio.to_thread(first.kill)
    else:
        first.signal(number)
    try:
        async with (
            layers(2, config_of(group)) as (sender, receiver),
            Flows(sender, receiver, 0) as flows,
        ):
            await cut(master)
            await flows.stop()
            await flows.require_all()
    finally:
        if number == signal.SIGKILL:
            await asyncio.to_thread(first.start_again)
        else:
            first.signal(signal.SIGCONT)


async def test_a_master_that_nobody_knows_is_named_at_once(group: RedisSentinel) -> None:
    config = config_of(group, master_name="another", send_timeout=5)
    async with layers(1, config) as (layer,):
        for _ in range(2):
            async with asyncio.timeout(2):
                with pytest.raises(LayerUnavailable, match="no master 'another'"):
                    await layer.send("tasks", numbered(0))


async def test_a_reader_waits_until_sentinels_are_there(group: RedisSentinel) -> None:
    for sentinel in group.sentinels:
        sentinel.signal(signal.SIGSTOP)
    try:
        async with (
            layers(1, config_of(group, send_timeout=0.5)) as (layer,),
            Reading(layer, "tasks") as reading,
        ):
            with pytest.raises(LayerUnavailable, match="Sentinels at 127.0.0.1"):
                await layer.send("tasks", numbered(0))
            reading.require_alive()
            for sentinel in group.sentinels:
                sentinel.signal(signal.SIGCONT)
            await layer.send("tasks", numbered(1))
            await reading.until_came(1)
    finally:
        for sentinel in group.sentinels:
            sentinel.signal(signal.SIGCONT)
