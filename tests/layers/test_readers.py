"""Readers that compete, are cancelled and are thrown away: no message is lost, no wake-up either."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from channel_layers.memory import InMemoryChannelLayer

steps = st.lists(
    st.sampled_from(["read", "read", "send", "send", "send to group", "cancel first", "cancel last"])
    | st.just("turn"),
    max_size=40,
)


@given(steps, st.booleans())
def test_every_message_goes_to_one_reader_in_order_whoever_is_cancelled(
    history: list[str], process: bool
) -> None:
    async def play() -> None:
        layer = InMemoryChannelLayer(capacity=1000)
        channel = await layer.new_channel() if process else "plain"
        await layer.group_add("group", channel)
        readers: list[asyncio.Task[dict[str, Any]]] = []
        got: list[int] = []
        sent = 0

        async def read() -> dict[str, Any]:
            message = await layer.receive(channel)
            got.append(message["n"])
            return message

        for step in history:
            if step == "read":
                readers.append(asyncio.create_task(read()))
            elif step == "send":
                await layer.send(channel, {"n": sent})
                sent += 1
            elif step == "send to group":
                await layer.group_send("group", {"n": sent})
                sent += 1
            elif step == "turn":
                await asyncio.sleep(0)
            elif waiting := [reader for reader in readers if not reader.done()]:
                waiting[0 if step == "cancel first" else -1].cancel()
        # Enough turns for every wake-up, and every wake-up that is passed on, to arrive.
        for _ in range(3 * len(history) + 3):
            await asyncio.sleep(0)
        waiting = [reader for reader in readers if not reader.done()]
        left = layer.stats()["waiting"]
        assert not (waiting and left), f"{left} message(s) wait beside {len(waiting)} reader(s)"
        for reader in waiting:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        while len(got) < sent:
            await asyncio.wait_for(read(), 10)
        assert got == list(range(sent))

    asyncio.run(play())


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30))
def test_readers_of_several_loops_and_threads_share_a_channel(burst: list[int]) -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    got: list[int] = []
    ready = threading.Barrier(4)
    total = sum(burst)

    def enough() -> bool:
        return len(got) >= total

    async def read_on_a_loop() -> None:
        readers = [asyncio.create_task(layer.receive("work")) for _ in range(3)]
        await asyncio.sleep(0)
        ready.wait()
        while True:
            done, _ = await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                number = task.result()["n"]
                if number < 0:
                    break
                got.append(number)
                readers[readers.index(task)] = asyncio.create_task(layer.receive("work"))
            else:
                continue
            break
        for task in readers:
            task.cancel()
        results = await asyncio.gather(*readers, return_exceptions=True)
        for result in results:  # those that had their message already must not lose it
            if isinstance(result, dict) and result["n"] >= 0:
                got.append(result["n"])
            elif isinstance(result, dict):
                await layer.send("work", result)
        await layer.send("work", {"n": -1})

    def read_in_a_thread() -> None:
        ready.wait()
        while (number := layer.sync.receive("work", timeout=30)["n"]) >= 0:
            got.append(number)
        layer.sync.send("work", {"n": -1})

    threads = [
        threading.Thread(target=lambda: asyncio.run(read_on_a_loop())),
        threading.Thread(target=lambda: asyncio.run(read_on_a_loop())),
        threading.Thread(target=read_in_a_thread),
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
        assert not thread.is_alive(), f"{len(got)} of {total} read: a wake-up was lost"
    assert sorted(got) == list(range(total))


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
