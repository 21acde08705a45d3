"""Readers that compete, are cancelled, are thrown away: no message and no wake-up is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from channel_layers.memory import InMemoryChannelLayer


class Readers:
    """Readers of one channel, and what they got."""

    def __init__(self, layer: InMemoryChannelLayer, channel: str) -> None:
        self.layer = layer
        self.channel = channel
        self.tasks: list[asyncio.Task[None]] = []
        self.got: list[int] = []

    def waiting(self) -> list[asyncio.Task[None]]:
        return [task for task in self.tasks if not task.done()]

    def start(self) -> None:
        self.tasks.append(asyncio.create_task(self.read()))

    async def read(self) -> None:
        self.got.append((await self.layer.receive(self.channel))["n"])

    def cancel(self, which: int) -> None:
        if waiting := self.waiting():
            waiting[which].cancel()

    async def cancel_all(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


steps = st.lists(
    st.sampled_from(["read", "read", "send", "send", "group", "cancel 0", "cancel -1", "turn"]),
    min_size=6,
    max_size=60,
)


async def play(history: list[str], *, process: bool) -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    channel = await layer.new_channel() if process else "plain"
    await layer.group_add("group", channel)
    readers, sent = Readers(layer, channel), 0
    for step in history:
        match step.split():
            case ["read"]:
                readers.start()
            case ["send"]:
                await layer.send(channel, {"n": sent})
                sent += 1
            case ["group"]:
                await layer.group_send("group", {"n": sent})
                sent += 1
            case ["turn"]:
                await asyncio.sleep(0)
            case [_, which]:
                readers.cancel(int(which))
    # Enough turns for every wake-up, and every wake-up that is passed on, to arrive.
    for _ in range(3 * len(history) + 3):
        await asyncio.sleep(0)
    left = layer.stats()["waiting"]
    assert not (readers.waiting() and left), f"{left} message(s) wait beside a reader"
    await readers.cancel_all()
    while len(readers.got) < sent:
        await asyncio.wait_for(readers.read(), 10)
    assert readers.got == list(range(sent))


@example(history=["read", "read", "turn", "cancel 0", "send"], process=True)
@example(history=["read", "read", "turn", "send", "cancel 0"], process=False)
@given(history=steps, process=st.booleans())
def test_every_message_goes_to_one_reader_in_order_whoever_is_cancelled(
    history: list[str], process: bool
) -> None:
    asyncio.run(play(history, process=process))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30))
def test_readers_of_several_loops_and_threads_share_a_channel(burst: list[int]) -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    got: list[int] = []
    ready = threading.Barrier(5)

    async def on_a_loop() -> None:
        async def read_on() -> None:
            while (number := (await layer.receive("work"))["n"]) >= 0:
                got.append(number)
            await layer.send("work", {"n": -1})  # the sign to stop, for the next reader

        readers = [asyncio.create_task(read_on()) for _ in range(3)]
        await asyncio.sleep(0)
        ready.wait()
        await asyncio.gather(*readers)

    def in_a_thread() -> None:
        ready.wait()
        while (number := layer.sync.receive("work", timeout=30)["n"]) >= 0:
            got.append(number)
        layer.sync.send("work", {"n": -1})

    threads = [
        *(threading.Thread(target=lambda: asyncio.run(on_a_loop())) for _ in range(2)),
        *(threading.Thread(target=in_a_thread) for _ in range(2)),
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    sent = 0
    for count in burst:
        layer.sync.send_many([("work", {"n": sent + i}) for i in range(count)])
        sent += count
    layer.sync.send("work", {"n": -1})
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), f"{len(got)} of {sent} read: a wake-up was lost"
    assert sorted(got) == list(range(sent))


def test_all_members_on_another_loop_are_woken_by_one_call() -> None:
    layer = InMemoryChannelLayer()
    ready, done = threading.Event(), threading.Event()

    async def members() -> list[dict[str, Any]]:
        channels = [await layer.new_channel() for _ in range(50)]
        for channel in channels:
            await layer.group_add("room", channel)
        readers = [asyncio.create_task(layer.receive(channel)) for channel in channels]
        await asyncio.sleep(0)
        ready.set()
        return await asyncio.gather(*readers)

    got: list[list[dict[str, Any]]] = []

    def run() -> None:
        got.append(asyncio.run(members()))
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    layer.sync.group_send("room", {"n": 1})
    thread.join(30)
    assert got == [[{"n": 1}] * 50]


def test_the_wake_ups_of_a_loop_that_was_thrown_away_go_to_others() -> None:
    layer = InMemoryChannelLayer()
    loop = asyncio.new_event_loop()
    thrown_away = [loop.create_task(layer.receive("a")) for _ in range(2)]
    loop.run_until_complete(asyncio.sleep(0))
    got: list[dict[str, Any]] = []
    other = threading.Thread(
        target=lambda: got.extend(layer.sync.receive("a", timeout=30) for _ in range(2))
    )
    layer.sync.send("a", {"n": 1})  # wakes the first, on a loop that will not run again
    loop.close()
    other.start()
    layer.sync.send("a", {"n": 2})
    other.join()
    assert got == [{"n": 1}, {"n": 2}]
    for task in thrown_away:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # thrown away on purpose


def test_a_message_whose_reader_never_ran_is_not_left_behind_the_next() -> None:
    layer = InMemoryChannelLayer()
    loop = asyncio.new_event_loop()
    thrown_away = loop.create_task(layer.receive("a"))
    loop.run_until_complete(asyncio.sleep(0))
    got: list[dict[str, Any]] = []
    others = [
        threading.Thread(target=lambda: got.append(layer.sync.receive("a", timeout=30)))
        for _ in range(2)
    ]
    for thread in others:
        thread.start()
    while len(layer._hub.boxes["a"].waiters) < 3:
        time.sleep(0.001)
    layer.sync.send("a", {"n": 1})  # wakes the first reader, on a loop that will not run again
    loop.close()
    layer.sync.send("a", {"n": 2})  # wakes the second, which finds the first message
    for thread in others:
        thread.join()
    assert sorted(message["n"] for message in got) == [1, 2]
    thrown_away._log_destroy_pending = False  # type: ignore[attr-defined]  # thrown away on purpose
