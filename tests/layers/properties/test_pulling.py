"""Messages of plain channels among readers that come and go in several processes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_layers import pulling
from channel_layers.exceptions import ChannelFull, LayerClosed
from channel_layers.transport import Pulled
from tests.layers.broker import Broker, LoopbackLayer, LoopbackTransport

CAPACITY = 5
PROCESSES = 3


@pytest.fixture(autouse=True, scope="module")
def moments_are_short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulling, "LEFT_SECONDS", 0.002)
        patch.setattr(pulling, "AUDIT_SECONDS", 600)
        yield


@pytest.fixture
def audits_are_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "AUDIT_SECONDS", 0.005)


def open_layer(broker: Broker) -> LoopbackLayer:
    return LoopbackLayer(broker, capacity=CAPACITY)


Step = tuple[str, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, PROCESSES - 1)),
        st.tuples(st.just("read"), st.integers(0, PROCESSES - 1)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.just("go round"), st.integers(1, 6)),
        st.tuples(st.just("wait"), st.integers(1, 3)),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(steps)
def test_each_message_is_read_once_whoever_stops_reading(steps: list[Step]) -> None:
    asyncio.run(each_message_once(steps))


async def each_message_once(steps: list[Step]) -> None:
    broker = Broker()
    layers = [open_layer(broker) for _ in range(PROCESSES)]
    readers: list[asyncio.Task[dict[str, object]]] = []
    sent = 0
    for what, number in steps:
        if what == "send":
            try:
                await layers[number].send("jobs", {"number": sent})
                sent += 1
            except ChannelFull:
                assert len(broker.plain["jobs"]) == CAPACITY
        elif what == "read":
            readers.append(asyncio.create_task(layers[number].receive("jobs")))
        elif what == "cancel" and number < len(readers):
            readers[number].cancel()
        elif what == "go round":
            for _ in range(number):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(number / 1000)
    for reader in readers:
        reader.cancel()
    ended = await asyncio.gather(*readers, return_exceptions=True)
    got = [outcome["number"] for outcome in ended if isinstance(outcome, dict)]
    async with asyncio.timeout(10):
        while len(got) < sent:
            got.append((await layers[0].receive("jobs"))["number"])
    assert sorted(map(str, got)) == sorted(map(str, range(sent)))
    await until(lambda: not any(layer._hub.counters.waiting for layer in layers))
    assert not broker.plain["jobs"]
    for layer in layers:
        await layer.close()


async def until(condition: Callable[[], bool]) -> None:
    """Go on when a condition holds; nobody tells of what these tests look at."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_what_nobody_here_waits_for_stays_with_the_broker() -> None:
    broker = Broker()
    layer = open_layer(broker)
    for number in range(CAPACITY):
        await layer.send("jobs", {"number": number})
    assert (await layer.receive("jobs"))["number"] == 0
    assert len(broker.plain["jobs"]) == CAPACITY - 1
    readers = [asyncio.create_task(layer.receive("jobs")) for _ in range(2)]
    assert [message["number"] for message in await asyncio.gather(*readers)] == [1, 2]
    assert len(broker.plain["jobs"]) == CAPACITY - 3
    await layer.close()


def cancel_when_it_has_come(
    layer: LoopbackLayer, reader: asyncio.Task[object], when: str = "after"
) -> None:
    """Cancel a reader when its message has been pulled, and before it has run."""
    transport = layer._transport
    assert isinstance(transport, LoopbackTransport)
    pull = transport.pull

    async def pull_and_cancel(channel: str, count: int) -> list[Pulled]:
        if pulled := await pull(channel, count):
            if when == "before":
                reader.cancel()
            else:
                asyncio.get_running_loop().call_soon(reader.cancel)
        return pulled

    transport.pull = pull_and_cancel  # type: ignore[method-assign]  # the worst moment


@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_a_cancelled_reader_left_goes_back_to_its_place(when: str) -> None:
    """Cancelled before or after its wake-up."""
    broker = Broker()
    one, other = open_layer(broker), open_layer(broker)
    reader = asyncio.create_task(one.receive("jobs"))
    await until(lambda: bool(broker.waiting["jobs"]))
    cancel_when_it_has_come(one, reader, when)
    await other.send("jobs", {"number": 0})
    with pytest.raises(asyncio.CancelledError):
        await reader
    await other.send("jobs", {"number": 1})
    assert one.stats()["waiting"] == 1
    await until(lambda: one.stats()["waiting"] == 0)
    async with asyncio.timeout(5):
        assert [(await other.receive("jobs"))["number"] for _ in range(2)] == [0, 1]
    await one.close()
    await other.close()


@pytest.mark.usefixtures("audits_are_frequent")
async def test_messages_that_nobody_told_of_are_found() -> None:
    """Whoever was told first died: all readers look now and then, for as long as they wait."""
    broker = Broker()
    layer, sender = open_layer(broker), open_layer(broker)
    await layer.new_channel()
    transport = layer._transport
    assert isinstance(transport, LoopbackTransport)
    pull, looks = transport.pull, [0]

    async def counted_pull(channel: str, count: int) -> list[Pulled]:
        looks[0] += 1
        found = await pull(channel, count)
        broker.waiting[channel].clear()
        return found

    transport.pull = counted_pull  # type: ignore[method-assign]  # nobody is ever told
    for number in range(3):
        looks[0] = 0
        reader = asyncio.create_task(layer.receive("jobs"))
        await until(lambda: looks[0] > 3)
        await sender.send("jobs", {"number": number})
        async with asyncio.timeout(5):
            assert (await reader)["number"] == number
    await layer.close()
    await sender.close()


async def test_one_audit_is_planned_at_a_time() -> None:
    broker = Broker()
    layer = open_layer(broker)
    reader = asyncio.create_task(layer.receive("jobs"))
    await until(lambda: layer._puller._audit is not None)
    planned = layer._puller._audit
    layer._router.connected(again=True)
    assert planned is not None
    assert planned.cancelled()
    assert layer._puller._audit is not None
    await layer.close()
    with pytest.raises(LayerClosed):
        await reader


async def test_being_told_during_a_pull_leads_to_another() -> None:
    broker = Broker()
    layer = open_layer(broker)
    await layer.new_channel()
    transport = layer._transport
    assert isinstance(transport, LoopbackTransport)
    pull, pulls = transport.pull, 0

    async def pull_too_early(channel: str, count: int) -> list[Pulled]:
        nonlocal pulls
        pulls += 1
        found = await pull(channel, count)
        if pulls == 1:
            broker.waiting[channel].clear()
            await layer.send(channel, {"number": 0})
            layer._router.wanted(channel)
        return found

    transport.pull = pull_too_early  # type: ignore[method-assign]  # a message comes behind it
    async with asyncio.timeout(5):
        assert (await layer.receive("jobs"))["number"] == 0
    await layer.close()


@pytest.mark.usefixtures("audits_are_frequent")
async def test_audits_end_when_nobody_waits_and_when_the_layer_is_closed() -> None:
    broker = Broker()
    layer = open_layer(broker)
    reader = asyncio.create_task(layer.receive("jobs"))
    puller = layer._puller
    await until(lambda: puller._audit is not None)
    await layer.send("jobs", {"number": 0})
    await reader
    await until(lambda: puller._audit is None)
    reader = asyncio.create_task(layer.receive("jobs"))
    await until(lambda: puller._audit is not None)
    audit = puller._audit
    await layer.close()
    assert audit is not None
    assert audit.cancelled()
    with pytest.raises(LayerClosed):
        await reader


async def test_readers_wait_while_the_broker_is_away_and_read_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "channel_layers")
    broker = Broker()
    layer = open_layer(broker)
    await layer.send("jobs", {"number": 0})
    broker.away = True
    reader = asyncio.create_task(layer.receive("jobs"))
    await until(lambda: "Could not read from 'jobs'" in caplog.text)
    broker.away = False
    layer._router.connected(again=True)
    async with asyncio.timeout(5):
        assert (await reader)["number"] == 0
    await layer.close()


async def test_messages_that_could_not_be_put_back_are_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Broker()
    layer = open_layer(broker)
    reader = asyncio.create_task(layer.receive("jobs"))
    await until(lambda: bool(broker.waiting["jobs"]))
    cancel_when_it_has_come(layer, reader)
    await layer.send("jobs", {"number": 0})
    with pytest.raises(asyncio.CancelledError):
        await reader
    broker.away = True
    await until(lambda: "Lost 1 unread message(s) of 'jobs'" in caplog.text)
    assert layer.stats()["waiting"] == 0
    await layer.close()


async def test_garbage_is_counted_and_what_comes_behind_it_is_read() -> None:
    broker = Broker()
    layer = open_layer(broker)
    await layer.new_channel()
    transport = layer._transport
    for garbage in (b"garbage", b"\x93\x01"):
        assert await transport.push("jobs", garbage, 10)
    await layer.send("jobs", {"number": 0})
    async with asyncio.timeout(5):
        assert (await layer.receive("jobs"))["number"] == 0
    assert layer.stats()["dropped"]["decode"] == 2
    await layer.close()


async def test_an_expired_message_is_counted_and_not_read() -> None:
    broker = Broker()
    layer = open_layer(broker)
    transport = layer._transport
    assert isinstance(transport, LoopbackTransport)
    pull, ages = transport.pull, iter([60.5, 59.0])

    async def pull_late(channel: str, count: int) -> list[Pulled]:
        return [one._replace(age=next(ages)) for one in await pull(channel, count)]

    transport.pull = pull_late  # type: ignore[method-assign]  # messages that lay there for long
    await layer.send("jobs", {"number": 0})
    await layer.send("jobs", {"number": 1})
    async with asyncio.timeout(5):
        assert (await layer.receive("jobs"))["number"] == 1
    assert layer.stats()["dropped"]["expired"] == 1
    await layer.close()


async def test_one_pull_of_a_channel_at_a_time_and_none_too_few() -> None:
    """Readers that come while a pull is under way are looked after when it has ended."""
    broker = Broker()
    layer = open_layer(broker)
    await layer.new_channel()
    transport = layer._transport
    assert isinstance(transport, LoopbackTransport)
    pull, gate, at_once, most = transport.pull, asyncio.Event(), 0, 0

    async def slow_pull(channel: str, count: int) -> list[Pulled]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await gate.wait()
        at_once -= 1
        return await pull(channel, count)

    transport.pull = slow_pull  # type: ignore[method-assign]  # one whose answers take their time
    for number in range(4):
        await layer.send("jobs", {"number": number})
    readers = []
    for _ in range(4):
        readers.append(asyncio.create_task(layer.receive("jobs")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    broker.waiting["jobs"].clear()
    gate.set()
    async with asyncio.timeout(5):
        got = [message["number"] for message in await asyncio.gather(*readers)]
    assert (got, most) == ([0, 1, 2, 3], 1)
    await until(lambda: not layer._puller._pulling and not layer._puller._again)
    await layer.close()
