"""``delivery="at_least_once"``: a message is done when its reader is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from channel_layers.base import ChannelLayer
from channel_layers.redis import partition
from channel_layers.testing.process import RemoteError
from channel_layers.testing.proxy import Proxy
from tests.layers.redis.conftest import OpenLayer, OpenProcess
from tests.layers.redis.flows import numbered, repeatedly, until

CAREFUL = {"delivery": "at_least_once"}

Unfinished = Callable[[ChannelLayer], Awaitable[int]]


@pytest.fixture
def dead_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of this test find others dead sooner; those others must not go on after that."""
    monkeypatch.setattr(partition, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(partition, "DEAD_MS", 500)


@pytest.fixture
def unfinished(admin: Redis, prefix: str) -> Unfinished:
    """How many messages the server keeps for a layer until they are acknowledged."""

    async def count(layer: ChannelLayer) -> int:
        found: int = await admin.hlen(f"{{{prefix}}}:u:{layer.process}")
        return found

    return count


async def none_left(unfinished: Unfinished, layer: ChannelLayer) -> None:
    async def none() -> bool:
        return await unfinished(layer) == 0

    await until(none, "all are acknowledged")


async def receive(layer: ChannelLayer, channel: str) -> int:
    async with asyncio.timeout(10):
        number: int = (await layer.receive(channel))["n"]
    return number


async def test_asking_again_and_ending_well_acknowledge(
    open_layer: OpenLayer, unfinished: Unfinished
) -> None:
    layer = open_layer(**CAREFUL)
    for number in range(3):
        await layer.send("tasks", numbered(number))
    kept: list[int] = []

    async def handle() -> None:
        for number in range(3):
            assert await layer.receive("tasks") == numbered(number)
            # The one before is acknowledged; that is on its way in order before the count.
            await layer.send("other", numbered(0))
            kept.append(await unfinished(layer))

    await asyncio.create_task(handle())
    assert kept == [1, 1, 1]
    await none_left(unfinished, layer)


async def test_a_thread_acknowledges_by_asking_again(
    open_layer: OpenLayer, unfinished: Unfinished
) -> None:
    layer = open_layer(**CAREFUL)
    for number in range(2):
        await layer.send("tasks", numbered(number))

    def handle() -> None:
        for number in range(2):
            assert layer.sync.receive("tasks", timeout=5) == numbered(number)
        with pytest.raises(TimeoutError):
            layer.sync.receive("tasks", timeout=0.05)

    await asyncio.to_thread(handle)
    await none_left(unfinished, layer)


@pytest.mark.parametrize("ending", ["failure", "cancellation"])
async def test_what_a_handler_could_not_do_is_given_to_another(
    ending: str, open_layer: OpenLayer, unfinished: Unfinished
) -> None:
    one, other = (open_layer(**CAREFUL) for _ in range(2))
    for number in range(3):
        await one.send("tasks", numbered(number))
    received = asyncio.Event()

    async def handle() -> None:
        assert await one.receive("tasks") == numbered(0)
        received.set()
        if ending == "failure":
            raise ValueError("cannot")
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(handle())
    await received.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await none_left(unfinished, one)
    # In its old place, before what came later.
    assert [await receive(other, "tasks") for _ in range(3)] == [0, 1, 2]


async def test_a_failure_in_another_process_gives_the_message_back(
    open_layer: OpenLayer, open_process: OpenProcess
) -> None:
    layer = open_layer(**CAREFUL)
    remote = await open_process(**CAREFUL)
    await layer.send("tasks", numbered(5))
    with pytest.raises(RemoteError, match="cannot do"):
        await remote.call("receive_and_fail", "tasks")
    assert await receive(layer, "tasks") == 5


async def test_what_a_killed_process_had_not_done_comes_again(
    open_layer: OpenLayer, open_process: OpenProcess, admin: Redis, prefix: str, dead_soon: None
) -> None:
    remote = await open_process(**CAREFUL)
    for number in range(5):
        await remote.send("tasks", numbered(number))
    for count in (1, 1, 2):  # at the same time
        remote.process.request("receive_and_hold", "tasks", count)

    async def all_but_one_taken() -> bool:
        keys = [key async for key in admin.scan_iter(match=f"{{{prefix}}}:u:*")]
        left = await admin.llen(f"{{{prefix}}}:c:tasks")
        return left == 1 and bool(keys) and await admin.hlen(keys[0]) == 3

    await until(all_but_one_taken, "three are held, and one is done")
    await remote.kill()
    layer = open_layer(**CAREFUL)
    found = [await receive(layer, "tasks") for _ in range(4)]
    assert found[0] == 4
    assert found[1:] == sorted(found[1:])
    assert len(set(found) & {0, 1, 2, 3}) == 3
    await layer.send("tasks", numbered(9))
    assert await receive(layer, "tasks") == 9


async def test_by_default_what_a_killed_process_had_received_does_not_come_again(
    open_layer: OpenLayer, open_process: OpenProcess, admin: Redis, prefix: str, dead_soon: None
) -> None:
    remote = await open_process()
    for number in range(4):
        await remote.send("tasks", numbered(number))
    assert await remote.call("receive_many", "tasks", 2) == [numbered(0), numbered(1)]
    await remote.kill()
    layer = open_layer()
    await layer.new_channel()

    async def forgotten() -> bool:
        return await admin.zrange(f"{{{prefix}}}:p", 0, -1) == [layer.process]

    await until(forgotten, "the dead process is forgotten")
    await layer.send("tasks", numbered(9))
    assert [await receive(layer, "tasks") for _ in range(3)] == [2, 3, 9]


async def test_cuts_bring_nothing_again_while_the_process_lives(
    proxy: Proxy, open_layer: OpenLayer, unfinished: Unfinished
) -> None:
    config = {**CAREFUL, "capacity": 10_000}
    sender, layer = open_layer(proxy.port, **config), open_layer(proxy.port, **config)
    count = 600

    async def handle() -> list[int]:
        return [await receive(layer, "tasks") for _ in range(count)]

    async with repeatedly(proxy.cut, 0.05):
        handling = asyncio.create_task(handle())
        for number in range(count):
            await sender.send("tasks", numbered(number))
        assert await handling == list(range(count))
    await none_left(unfinished, layer)
