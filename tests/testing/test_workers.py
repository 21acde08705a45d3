"""Layers in other processes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given

from channel_layers.testing.process import RemoteError, WorkerDied, WorkerPool
from channel_layers.testing.protocols import Message
from channel_layers.testing.strategies import arrived, messages, same
from channel_layers.testing.wire import from_json, to_json

MEMORY = "channel_layers.memory.InMemoryChannelLayer"


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(MEMORY)
    yield pool
    pool.close()


@given(message=messages())
def test_messages_survive_the_wire(message: Message) -> None:
    assert same(from_json(to_json(message)), arrived(message))


@given(message=messages())
def test_marks_in_messages_are_no_marks(message: Message) -> None:
    tricky: Message = {"$bytes": message, "$dict": [message], "x": {"$bytes": "text"}}
    assert same(from_json(to_json(tricky)), arrived(tricky))


async def test_a_layer_in_another_process(pool: WorkerPool) -> None:
    layer = await pool.open({})
    channel = await layer.new_channel("away")
    assert channel.startswith("away.")
    await layer.group_add("group", channel)
    assert await layer.group_channels("group") == [channel]
    await layer.group_send("group", {"type": "t", "data": b"\x00\xff"})
    assert await layer.receive(channel) == {"type": "t", "data": b"\x00\xff"}
    await layer.group_discard("group", channel)
    assert await layer.group_channels("group") == []
    await layer.release()


async def test_its_errors_come_back_by_name(pool: WorkerPool) -> None:
    layer = await pool.open({})
    with pytest.raises(RemoteError, match="not a channel name") as caught:
        await layer.send("not a name", {"type": "t"})
    assert caught.value.kind == "TypeError"
    with pytest.raises(RemoteError, match="OptionError"):
        await pool.open({"capcity": 3})
    await layer.release()


async def test_a_cancelled_receive_loses_nothing(pool: WorkerPool) -> None:
    layer = await pool.open({})
    for number in range(30):
        reader = asyncio.ensure_future(layer.receive("plain"))
        if number % 3:
            await asyncio.sleep(0)
        await layer.send("plain", {"type": "t", "n": number})
        reader.cancel()
        (found,) = await asyncio.gather(reader, return_exceptions=True)
        if isinstance(found, asyncio.CancelledError):
            async with asyncio.timeout(5):
                found = await layer.receive("plain")
        assert found == {"type": "t", "n": number}
    await layer.release()


async def test_processes_are_used_again(pool: WorkerPool) -> None:
    first = await pool.open({})
    pid = first.process.pid
    await first.send("left", {"type": "old"})
    await first.release()
    second = await pool.open({})
    assert second.process.pid == pid
    await second.send("left", {"type": "new"})
    assert await second.receive("left") == {"type": "new"}
    await second.release()


async def test_a_killed_process_is_noticed(pool: WorkerPool) -> None:
    layer = await pool.open({})
    waiting = asyncio.ensure_future(layer.receive("plain"))
    await asyncio.sleep(0)
    await layer.kill()
    with pytest.raises(WorkerDied):
        await waiting
    with pytest.raises(WorkerDied):
        await layer.send("plain", {"type": "t"})
    await layer.release()
    fresh = await pool.open({})
    await fresh.send("plain", {"type": "t"})
    await fresh.release()


async def test_a_wrong_clock(pool: WorkerPool) -> None:
    layer = await pool.open({"$clock_skew": 3600.0, "expiry": 5})
    await layer.send("plain", {"type": "t"})  # judged by the monotonic clock, which is right
    assert await layer.receive("plain") == {"type": "t"}
    await layer.release()
