"""At least once: what a reader has dealt with is done, what it failed at comes again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_layers import pulling
from channel_layers.acknowledging import Acknowledgements
from channel_layers.pulling import PulledItem
from channel_layers.transport import Pulled
from tests.layers.broker import Broker, LoopbackLayer, LoopbackTransport


@pytest.fixture(autouse=True, scope="module")
def moments_are_short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulling, "LEFT_SECONDS", 0.002)
        yield


def item(number: int) -> PulledItem:
    pulled = Pulled(b"%d" % number, 0.0, str(number), b"")
    return PulledItem(1e9, b"", pulled, lambda _: None)


class Ledger:
    """What became of each message."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failed: list[str] = []
        self.acknowledgements = Acknowledgements(
            done=lambda channel, item: self.done.append(channel + item.pulled.token),
            failed=lambda channel, item: self.failed.append(channel + item.pulled.token),
        )


reads = st.lists(st.tuples(st.sampled_from(["asks", "reads"]), st.sampled_from("ab")), max_size=8)
ends = st.sampled_from(["returns", "fails", "is cancelled"])


@given(st.lists(st.tuples(reads, ends), min_size=1, max_size=4))
def test_each_message_is_done_or_failed_by_what_its_reader_does_next(
    readers: list[tuple[list[tuple[str, str]], str]],
) -> None:
    ledger = Ledger()
    done: list[str] = []
    failed: list[str] = []
    number = 0

    async def reader(plan: list[tuple[str, str, int]], end: str) -> None:
        for verb, channel, number in plan:
            if verb == "asks":
                ledger.acknowledgements.asks(channel)
            else:
                ledger.acknowledgements.reads(channel, item(number))
            await asyncio.sleep(0)
        if end == "fails":
            raise ValueError("on purpose")
        if end == "is cancelled":
            raise asyncio.CancelledError

    async def main() -> None:
        nonlocal number
        tasks = []
        for verbs, end in readers:
            plan = []
            held: dict[str, int] = {}
            for verb, channel in verbs:
                number += 1
                plan.append((verb, channel, number))
                if channel in held:
                    done.append(f"{channel}{held.pop(channel)}")
                if verb == "reads":
                    held[channel] = number
            (done if end == "returns" else failed).extend(f"{c}{n}" for c, n in held.items())
            tasks.append(asyncio.create_task(reader(plan, end)))
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert sorted(ledger.done) == sorted(done)
    assert sorted(ledger.failed) == sorted(failed)
    assert not ledger.acknowledgements._held, "nothing is left of readers that have ended"


def test_a_thread_is_a_reader_too() -> None:
    ledger = Ledger()

    def read() -> None:
        ledger.acknowledgements.reads("a", item(1))
        assert ledger.done == []
        ledger.acknowledgements.asks("b")
        assert ledger.done == []
        ledger.acknowledgements.asks("a")

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert (ledger.done, ledger.failed) == (["a1"], [])


async def layers(count: int) -> tuple[Broker, list[LoopbackLayer]]:
    broker = Broker()
    opened = [LoopbackLayer(broker, at_least_once=True) for _ in range(count)]
    for layer in opened:
        await layer.new_channel()
    return broker, opened


async def test_a_message_is_acknowledged_when_its_reader_asks_for_the_next() -> None:
    broker, (layer,) = await layers(1)
    await layer.send("jobs", {"number": 0})
    await layer.receive("jobs")
    assert len(broker.unacknowledged) == 1
    waiting = asyncio.create_task(layer.receive("jobs"))
    await asyncio.sleep(0.01)
    assert len(broker.unacknowledged) == 1, "another task asked, not the one that read it"
    waiting.cancel()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await layer.receive("jobs")
    await gone(broker)
    await layer.close()


async def gone(broker: Broker) -> None:
    async with asyncio.timeout(5):
        while broker.unacknowledged:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
async def test_what_a_reader_failed_at_is_given_to_another(end: str) -> None:
    broker, (layer, other) = await layers(2)
    for number in range(2):
        await layer.send("jobs", {"number": number})
    got = asyncio.Event()

    async def work() -> None:
        await layer.receive("jobs")
        got.set()
        if end == "fails":
            raise ValueError("on purpose")
        await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await got.wait()
    if end == "is cancelled":
        working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    async with asyncio.timeout(5):
        while len(broker.plain["jobs"]) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert [(await other.receive("jobs"))["number"] for _ in range(2)] == [0, 1]
    await layer.close()
    await other.close()


async def test_a_task_that_ends_well_has_dealt_with_its_message() -> None:
    broker, (layer,) = await layers(1)
    await layer.send("jobs", {"number": 0})
    await asyncio.create_task(layer.receive("jobs"))
    await gone(broker)
    assert not broker.plain["jobs"]
    await layer.close()


def cancel_when_it_has_come(layer: LoopbackLayer, reader: asyncio.Task[object]) -> None:
    """Cancel a reader when its message has been pulled, and before it has run."""
    transport = layer._transport
    assert isinstance(transport, LoopbackTransport)
    pull = transport.pull

    async def pull_and_cancel(channel: str, count: int) -> list[Pulled]:
        if pulled := await pull(channel, count):
            asyncio.get_running_loop().call_soon(reader.cancel)
        return pulled

    transport.pull = pull_and_cancel  # type: ignore[method-assign]  # the worst moment


async def test_what_was_pulled_and_never_read_is_not_held_against_anybody() -> None:
    broker, (layer, other) = await layers(2)
    reader = asyncio.create_task(layer.receive("jobs"))
    while not broker.waiting["jobs"]:  # noqa: ASYNC110
        await asyncio.sleep(0)
    cancel_when_it_has_come(layer, reader)
    await other.send("jobs", {"number": 0})
    with pytest.raises(asyncio.CancelledError):
        await reader
    async with asyncio.timeout(5):
        assert (await other.receive("jobs"))["number"] == 0
    assert len(broker.unacknowledged) == 1
    await layer.close()
    await other.close()


async def test_a_broker_that_is_away_makes_a_message_come_again_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker, (layer,) = await layers(1)
    for number in range(2):
        await layer.send("jobs", {"number": number})
    await layer.receive("jobs")
    await layer.receive("jobs")
    assert len(broker.unacknowledged) >= 1
    broker.away = True
    layer._acknowledgements.asks("jobs")
    async with asyncio.timeout(5):
        while "may come again" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    broker.away = False
    await layer.close()
