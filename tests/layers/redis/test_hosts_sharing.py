"""Several hosts share the groups and channels: order across them, and one that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from channel_layers.base import ChannelLayer
from channel_layers.exceptions import LayerUnavailable
from channel_layers.redis import RedisStreamsChannelLayer
from channel_layers.testing.process import RemoteLayer, WorkerPool
from channel_layers.testing.proxy import Proxy
from channel_layers.testing.servers import RedisServer
from tests.layers.redis.flows import Gaps, Reading, Sending, numbered, repeatedly, until
from tests.layers.redis.spreading import (
    BIG,
    Flows,
    channel_in,
    layers,
    name_in,
    require_same,
)

HOSTS = 3
HISTORY = {"log*": (1_000_000, 60)}


@pytest.fixture(scope="module")
def servers() -> Iterator[list[RedisServer]]:
    """As many servers as there are hosts."""
    started = [RedisServer() for _ in range(HOSTS)]
    with started[0], started[1], started[2]:
        yield started


@pytest.fixture
def last(servers: list[RedisServer]) -> Iterator[Proxy]:
    """A way to the last server."""
    with Proxy("127.0.0.1", servers[-1].port) as proxy:
        yield proxy


def config_of(
    servers: list[RedisServer], last: Proxy | None = None, **more: object
) -> dict[str, Any]:
    """The options of a layer; ``last`` is how it gets to the last server."""
    hosts = [server.address for server in servers]
    if last is not None:
        hosts[-1] = f"redis://127.0.0.1:{last.port}"
    return {"hosts": hosts, "history": HISTORY, **more}


async def until_connected(*waited: ChannelLayer) -> None:
    """Wait until layers have all their connections."""

    async def connected() -> bool:
        return all(layer.stats()["connected"] for layer in waited)

    await until(connected, "all hosts are there")


# Order

SENDERS = 4
EACH = 60


async def test_each_sender_keeps_its_order_over_all_hosts_and_groups_have_one(
    servers: list[RedisServer], last: Proxy, workers: WorkerPool, prefix: str
) -> None:
    """The members hear from one host later than from the others."""
    late = config_of(servers, last, prefix=prefix)
    async with (
        layers(2, config_of(servers), prefix=prefix) as senders,
        layers(1, late) as (near,),
        AsyncExitStack() as stack,
    ):
        remote = await workers.open({**BIG, **late})
        stack.push_async_callback(remote.release)
        members: list[RedisStreamsChannelLayer | RemoteLayer] = [near, remote]
        channels = [await member.new_channel() for member in members]
        groups = [name_in(near, partition) for partition in range(HOSTS)]
        for member, channel in zip(members, channels, strict=True):
            for group in groups:
                await member.group_add(group, channel)
        last.delay(0.02)

        async def send(sender: int) -> None:
            layer = senders[sender % len(senders)]
            for number in range(EACH):
                message = {"type": "t", "n": number, "sender": sender}
                way = (number + sender) % (HOSTS + 1)
                if way < HOSTS:
                    await layer.group_send(groups[way], {**message, "group": way})
                else:
                    await asyncio.gather(*(layer.send(channel, message) for channel in channels))

        async with asyncio.timeout(20):
            received, others, *_ = await asyncio.gather(
                receive(near, channels[0], SENDERS * EACH),
                remote.call("receive_many", channels[1], SENDERS * EACH),
                *(send(sender) for sender in range(SENDERS)),
            )
        assert isinstance(others, list)
        for found in (received, others):
            for sender in range(SENDERS):
                numbers = [message["n"] for message in found if message["sender"] == sender]
                require_same(numbers, list(range(EACH)), f"sender {sender}")
        for way in range(HOSTS):
            mine, theirs = (
                [message for message in found if message.get("group") == way]
                for found in (received, others)
            )
            assert mine == theirs
        assert near._router._merger is not None
        assert near._router._merger.given_up == 0


async def receive(layer: ChannelLayer, channel: str, count: int) -> list[dict[str, Any]]:
    """So many messages."""
    return [await layer.receive(channel) for _ in range(count)]


async def test_cuts_of_one_host_lose_double_and_reorder_nothing(
    servers: list[RedisServer], last: Proxy
) -> None:
    with Gaps() as gaps:
        async with layers(2, config_of(servers, last)) as (sender, receiver):
            channel = await receiver.new_channel()
            groups = [name_in(sender, partition, "all") for partition in range(HOSTS)]
            for group in groups:
                await receiver.group_add(group, channel)
            ways = [partial(sender.group_send, group) for group in groups]
            ways.insert(1, partial(sender.send, channel))
            async with (
                Reading(receiver, channel) as reading,
                Sending(*ways) as sending,
                Flows(sender, receiver, HOSTS - 1) as flows,
            ):
                async with repeatedly(last.cut, 0.1):
                    await asyncio.sleep(2)
                await sending.stop()
                await reading.until_came(sending.accepted[-1])
                await flows.stop()
                await flows.require_all()
            assert sending.refused == []
            require_same(reading.numbers, sending.accepted, "through all hosts")
            assert len(sending.accepted) > 100
    assert gaps.heard == []


# A host that is away


async def test_groups_and_channels_of_the_other_hosts_work_while_one_is_down(
    servers: list[RedisServer],
) -> None:
    dead = servers[-1]
    async with layers(2, config_of(servers, send_timeout=0.6)) as (sender, receiver):
        channel = await channel_in(receiver, 0)
        groups = [name_in(sender, partition, "own") for partition in range(HOSTS)]
        for group in groups:
            await receiver.group_add(group, channel)
        with Gaps() as gaps:
            async with Flows(sender, receiver, 0) as flows, Flows(sender, receiver, 1) as others:
                # What comes later waits for this, which never comes and cannot be asked for.
                await sender.group_send(name_in(sender, HOSTS - 1, "nobody"), numbered(0))
                await asyncio.to_thread(dead.kill)
                for send in (
                    partial(sender.group_send, groups[-1]),
                    partial(sender.send, name_in(sender, HOSTS - 1, "tasks")),
                ):
                    start = time.monotonic()
                    with pytest.raises(LayerUnavailable, match=f"127.0.0.1:{dead.port}"):
                        await send(numbered(0))
                    assert time.monotonic() - start < 1.0
                await flows.more(20)
                await others.more(20)
                # One that loses its memory meanwhile is mended although another one is away.
                await asyncio.to_thread(servers[1].restart)
                await gaps.until(receiver)
                await others.more(20)
                await flows.more(20)
                assert not receiver.stats()["connected"]
                assert {group for told in gaps.of(receiver) for group in told} == {
                    groups[1],
                    others.group,
                    others.log,
                }
                gaps.heard.clear()
                await asyncio.to_thread(dead.start_again)
                await until_connected(sender, receiver)
                assert gaps.of(receiver) == [(groups[-1],)]
                await flows.stop()
                await flows.require_all()
                await others.stop()
                others.require_none_twice()
        async with Reading(receiver, channel) as reading:
            for number, group in enumerate(groups):
                await sender.group_send(group, numbered(number))
                await reading.until_came(number)
        assert reading.numbers == [0, 1, 2]


async def test_nothing_waits_for_a_host_for_longer_than_patience(
    servers: list[RedisServer], last: Proxy
) -> None:
    patience = 0.8
    async with (
        layers(1, config_of(servers, last, send_timeout=patience), prefix="x") as (receiver,),
        layers(1, config_of(servers), prefix="x") as (sender,),
    ):
        channel = await receiver.new_channel()
        first, behind = name_in(sender, 0), name_in(sender, HOSTS - 1)
        for group in (first, behind):
            await receiver.group_add(group, channel)
        async with Reading(receiver, channel) as reading:
            await asyncio.to_thread(last.part)
            start = time.monotonic()
            await sender.group_send(behind, numbered(0))
            await sender.group_send(first, numbered(1))
            await reading.until_came(1)
            assert time.monotonic() - start > 0.7 * patience
            for number in range(2, 50):
                await sender.group_send(first, numbered(number))
            await reading.until_came(49)
            # It is known to be away: only the first message has waited for it.
            assert time.monotonic() - start < 2 * patience
            await asyncio.to_thread(last.heal)
            await reading.until_came(0)  # late, but not lost
            await until_connected(receiver)
            await sender.group_send(behind, numbered(50))
            await sender.group_send(first, numbered(51))
            await reading.until_came(51)
        assert reading.numbers == [*range(1, 50), 0, 50, 51]


async def test_a_layer_that_starts_while_a_host_is_down_says_which(
    servers: list[RedisServer],
) -> None:
    """It would not be reached by all others: so it is not there before all hosts are."""
    dead = servers[1]
    await asyncio.to_thread(dead.kill)
    try:
        async with layers(1, config_of(servers, send_timeout=0.5)) as (layer,):
            with pytest.raises(LayerUnavailable, match=f"127.0.0.1:{dead.port}"):
                await layer.new_channel()
            async with Reading(layer, name_in(layer, 0, "tasks")) as reading:
                await asyncio.to_thread(dead.start_again)
                await layer.send(reading.channel, numbered(0))
                await reading.until_came(0)
    finally:
        if not reachable(dead):
            await asyncio.to_thread(dead.start_again)


def reachable(server: RedisServer) -> bool:
    """Whether its process runs."""
    return server._process is not None and server._process.poll() is None


# Plain channels in groups


async def test_plain_members_lie_wherever_their_names_say(servers: list[RedisServer]) -> None:
    async with layers(2, config_of(servers), capacity=3) as (sender, receiver):
        plain = [name_in(sender, partition, "tasks") for partition in range(HOSTS)]
        for partition in range(HOSTS):
            group = name_in(sender, partition)
            for name in plain:
                await receiver.group_add(group, name)
            assert sorted(await sender.group_channels(group)) == sorted(plain)
        for number in range(HOSTS):
            await sender.group_send(name_in(sender, number), numbered(number))
        await sender.group_send(name_in(sender, 0), numbered(HOSTS))  # finds all of them full
        assert sender.stats()["dropped"]["capacity"] == HOSTS
        async with asyncio.timeout(10):
            for name in plain:
                found = await receive(receiver, name, HOSTS)
                assert found == [numbered(number) for number in range(HOSTS)]
        await sender.group_discard(name_in(sender, 1), plain[2])
        await sender.group_send(name_in(sender, 1), numbered(7))
        await sender.send(plain[2], numbered(8))
        async with asyncio.timeout(10):
            assert [await receiver.receive(name) for name in plain] == [
                numbered(7),
                numbered(7),
                numbered(8),
            ]
