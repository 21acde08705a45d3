"""Promise 10: any event loop, any thread, plain sync code, and after a fork."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from hypothesis import strategies as st

from channel_layers.testing.law import law, not_applicable, over
from channel_layers.testing.protocols import AnyLayer
from channel_layers.testing.scene import Scene

FLOOD_SECONDS = 1.0
FORK_SECONDS = 60


async def in_threads(*functions: Callable[[], None]) -> None:
    """Run each function in a thread of its own, without an event loop; raises what they raised."""
    errors: list[BaseException] = []

    def run(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    if errors:
        raise errors[0]


def each_in_order(found: list[tuple[object, object]], senders: int, count: int) -> None:
    """Assert that the messages of all senders are there, each sender's in order."""
    for sender in range(senders):
        mine = [n for who, n in found if who == sender]
        assert mine == list(range(count)), f"of {count} from thread {sender} came {mine}"


async def collected(
    scene: Scene, layer: AnyLayer, channel: str, count: int
) -> list[tuple[object, object]]:
    """The sender and number of the next messages."""
    found = await scene.receive_all(layer, channel, count)
    return [(message["sender"], message["n"]) for message in found]


@pytest.mark.promise(10)
class TestLoopsAndThreads:
    @law(effort=0.2)
    @over(plain=st.booleans(), group=st.booleans())
    async def test_a_reader_in_another_loop_is_woken(
        self, scene: Scene, plain: bool, group: bool
    ) -> None:
        """A message wakes a reader that waits in an event loop of another thread, at once."""
        layer = scene.layer()
        channel = "plain" if plain else await layer.new_channel()
        await layer.group_add("group", channel)
        waiting = threading.Event()
        arrived: list[float] = []

        async def read() -> None:
            async with asyncio.timeout(scene.patience):
                task = asyncio.ensure_future(layer.receive(channel))
                await asyncio.sleep(0.05)  # let it begin to wait
                waiting.set()
                await task
            arrived.append(time.monotonic())

        reader = asyncio.ensure_future(in_threads(lambda: asyncio.run(read())))
        await asyncio.to_thread(waiting.wait, scene.patience)
        sent = time.monotonic()
        if group:
            await layer.group_send("group", {"type": "t"})
        else:
            await layer.send(channel, {"type": "t"})
        try:
            await reader
        except TimeoutError as error:
            raise AssertionError("the reader in the other loop got nothing") from error
        took = arrived[0] - sent
        assert took < scene.patience / 2, f"it was woken only {took:.1f} s after the send"

    @law(effort=0.2)
    @over(threads=st.integers(2, 5), count=st.integers(1, 15))
    async def test_senders_in_many_loops(self, scene: Scene, threads: int, count: int) -> None:
        """Several event loops in threads send through one instance; nothing is lost or mixed up."""
        layer = scene.layer()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)

        def sender(number: int) -> Callable[[], None]:
            async def send() -> None:
                for n in range(count):
                    if n % 2:
                        await layer.send(channel, {"type": "t", "sender": number, "n": n})
                    else:
                        await layer.group_send("group", {"type": "t", "sender": number, "n": n})

            return lambda: asyncio.run(send())

        sending = asyncio.ensure_future(in_threads(*map(sender, range(threads))))
        found = await collected(scene, layer, channel, threads * count)
        await sending
        each_in_order(found, threads, count)

    @law(effort=0.2)
    @over(loops=st.integers(2, 4), count=st.integers(1, 20))
    async def test_readers_in_many_loops(self, scene: Scene, loops: int, count: int) -> None:
        """Members that are read in several event loops at once each get the group's messages."""
        layer = scene.layer()
        channels = [await layer.new_channel() for _ in range(loops)]
        for channel in channels:
            await layer.group_add("group", channel)
        seen: dict[str, list[object]] = {}

        def reader(channel: str) -> Callable[[], None]:
            async def read() -> None:
                async with asyncio.timeout(scene.patience):
                    seen[channel] = [(await layer.receive(channel))["n"] for _ in range(count)]

            return lambda: asyncio.run(read())

        reading = asyncio.ensure_future(in_threads(*map(reader, channels)))
        for number in range(count):
            await layer.group_send("group", {"type": "t", "n": number})
            await asyncio.sleep(0)
        await reading
        assert seen == {channel: list(range(count)) for channel in channels}

    @law(effort=0.1)
    @over(plain=st.booleans())
    async def test_a_busy_channel_starves_no_quiet_one(self, scene: Scene, plain: bool) -> None:
        """While one channel is flooded, a message to another one still comes through."""
        sender, reader = scene.layers(2)
        busy, quiet = "busy" if plain else await reader.new_channel(), await reader.new_channel()
        ends = time.monotonic() + FLOOD_SECONDS

        async def flood() -> None:
            while time.monotonic() < ends:
                try:
                    await sender.send(busy, {"type": "t"})
                except ChannelFull:
                    await asyncio.sleep(0)

        async def read_flood() -> None:
            while time.monotonic() < ends:
                await reader.receive(busy)

        arrival = asyncio.ensure_future(reader.receive(quiet))
        flooding = [asyncio.ensure_future(flood()), asyncio.ensure_future(read_flood())]
        await asyncio.sleep(0.05)
        await sender.send(quiet, {"type": "quiet"})
        try:
            async with asyncio.timeout(scene.patience):
                assert await arrival == {"type": "quiet"}
            late = time.monotonic() >= ends
        finally:
            for task in flooding:
                task.cancel()
            await asyncio.gather(*flooding, return_exceptions=True)
        assert not late, "the quiet channel got its message only when the flood was over"


@pytest.mark.promise(10)
class TestSyncCode:
    @law(effort=0.2)
    @over(threads=st.integers(1, 4), count=st.integers(1, 20))
    async def test_async_to_sync_from_plain_threads(
        self, scene: Scene, threads: int, count: int
    ) -> None:
        """Views and tasks in plain threads send through async_to_sync; all of it arrives."""
        layer = scene.layer()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)

        def sender(number: int) -> Callable[[], None]:
            def send() -> None:
                for n in range(count):
                    message: dict[str, object] = {"type": "t", "sender": number, "n": n}
                    if n % 2:
                        async_to_sync(layer.send)(channel, message)
                    else:
                        async_to_sync(layer.group_send)("group", message)

            return send

        sending = asyncio.ensure_future(in_threads(*map(sender, range(threads))))
        found = await collected(scene, layer, channel, threads * count)
        await sending
        each_in_order(found, threads, count)

    @law()
    async def test_no_connection_per_call(self, scene: Scene) -> None:
        """Fifty calls from sync code leave no file open that was not open before."""
        fds = next((p for p in (Path("/proc/self/fd"), Path("/dev/fd")) if p.exists()), None)
        if fds is None:
            not_applicable("this system does not list a process's open files")
            return
        layer = scene.layer()
        channel = await layer.new_channel()

        def call(times: int) -> Callable[[], None]:
            def calls() -> None:
                for _ in range(times):
                    async_to_sync(layer.group_send)("group", {"type": "t"})

            return calls

        await layer.group_add("group", channel)
        await in_threads(call(5))
        before = len(list(fds.iterdir()))
        await in_threads(call(50))
        after = len(list(fds.iterdir()))
        assert after - before <= 5, f"50 calls left {after - before} more files open"

    @law(needs=("sync",), effort=0.3)
    @over(threads=st.integers(1, 4), count=st.integers(1, 20))
    async def test_blocking_verbs_in_threads(self, scene: Scene, threads: int, count: int) -> None:
        """layer.sync does the same from plain threads, and reads there too."""
        layer = scene.layer()
        channel = await layer.new_channel()

        def sender(number: int) -> Callable[[], None]:
            def send() -> None:
                layer.sync.group_add("group", channel)
                own = layer.sync.new_channel()
                for n in range(count):
                    message: dict[str, object] = {"type": "t", "sender": number, "n": n}
                    if n % 2:
                        layer.sync.send(channel, message)
                    else:
                        layer.sync.group_send("group", message)
                    layer.sync.send(own, {"type": "own", "n": n})
                    assert layer.sync.receive(own, timeout=scene.patience)["n"] == n

            return send

        sending = asyncio.ensure_future(in_threads(*map(sender, range(threads))))
        found = await collected(scene, layer, channel, threads * count)
        await sending
        each_in_order(found, threads, count)

    @law(needs=("sync",))
    async def test_blocking_verbs_refuse_to_block_a_loop(self, scene: Scene) -> None:
        """layer.sync raises RuntimeError in a thread that runs an event loop."""
        layer = scene.layer()
        with pytest.raises(RuntimeError):
            layer.sync.send("plain", {"type": "t"})
        with pytest.raises(RuntimeError):
            layer.sync.group_send("group", {"type": "t"})

    @law()
    async def test_a_layer_needs_no_loop_to_be_made(self, scene: Scene) -> None:
        """An instance is made, and its attributes are read, in a thread without an event loop."""
        made: list[AnyLayer] = []

        def make() -> None:
            layer = scene.under_test.make(**scene.config)
            made.append(layer)
            assert "groups" in layer.extensions
            for name in ("extensions", "group_expiry"):
                assert hasattr(layer, name), f"it has no attribute {name}"

        try:
            await in_threads(make)
        finally:
            for layer in made:
                await scene.close(layer)


@pytest.mark.promise(10)
class TestFork:
    @law()
    async def test_a_layer_works_after_fork(self, scene: Scene) -> None:
        """A layer made and used before fork() works in the child and in the parent."""
        if not hasattr(os, "fork"):
            not_applicable("this system has no fork()")
        command = [
            *(sys.executable, "-m", "channel_layers.testing.forked"),
            scene.under_test.dotted,
            scene.under_test.config_json(scene.config),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=FORK_SECONDS,
            check=False,
        )
        last = [line for line in done.stderr.splitlines() if line.strip()][-3:]
        assert done.returncode == 0, "\n".join(last)
