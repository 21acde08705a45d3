"""Promise 12: where messages may have been lost, the layer says so, once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import cast

import pytest
from hypothesis import strategies as st

from channel_layers.signals import layer_gap
from channel_layers.testing.faults import Restarts
from channel_layers.testing.law import law, over
from channel_layers.testing.laws.faults import RECOVERY, Reader, numbered, until_sent
from channel_layers.testing.scene import Scene


class Gaps:
    """Listens to ``layer_gap``, which may come from any thread."""

    def __init__(self) -> None:
        self.groups: list[tuple[str, ...]] = []
        self.heard = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Gaps:
        layer_gap.connect(self._hear)
        return self

    def __exit__(self, *exc: object) -> None:
        layer_gap.disconnect(self._hear)

    def _hear(self, *, groups: tuple[str, ...] = (), **_: object) -> None:
        self.groups.append(groups)
        self._loop.call_soon_threadsafe(self.heard.set)

    def about(self, group: str) -> int:
        """How many of the signals concern a group."""
        return sum(not groups or group in groups for groups in self.groups)


@pytest.mark.promise(12)
class TestOrItSaysSo:
    @law(needs=("restart",), effort=0.1)
    @over(meanwhile=st.integers(0, 5))
    async def test_lost_memory_is_announced(self, scene: Scene, meanwhile: int) -> None:
        """After a broker lost its memory every message has come, or layer_gap fired once."""
        faults = cast(Restarts, scene.under_test.faults)
        sender, layer = scene.layers(2)
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        with Gaps() as gaps:
            async with Reader(scene, layer, channel) as reader:
                await sender.group_send("group", numbered("first"))
                await reader.until("first")
                restart = asyncio.ensure_future(asyncio.to_thread(faults.restart))
                for number in range(meanwhile):
                    await until_sent(scene, partial(sender.group_send, "group", numbered(number)))
                await restart
                await until_sent(scene, partial(sender.group_send, "group", numbered("last")))
                found = await reader.until("last")
                whole = found == ["first", *range(meanwhile), "last"]
                if faults.forgets and not whole:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(gaps.heard.wait(), RECOVERY * scene.patience)
        told = gaps.about("group")
        assert whole or told, f"{found} came, and no layer_gap fired"
        # A layer has two instances here, and each may know of the loss by itself.
        assert told <= 2, f"layer_gap fired {told} times"

    @law(needs=("restart", "history"), config={"history": {"log.*": (50, 60)}}, effort=0.1)
    @over(before=st.integers(1, 5), after=st.integers(0, 5))
    async def test_a_recovery_over_a_restart_is_whole_or_says_it_is_not(
        self, scene: Scene, before: int, after: int
    ) -> None:
        """history(since) over a restart gives every message, or recovered is False."""
        faults = cast(Restarts, scene.under_test.faults)
        layer = scene.layer()
        since = await layer.position("log.a")
        for number in range(before):
            await layer.group_send("log.a", numbered(number))
        await asyncio.to_thread(faults.restart)
        for number in range(before, before + after):
            await until_sent(scene, partial(layer.group_send, "log.a", numbered(number)))
        found = await layer.history("log.a", since=since)
        numbers = [message["n"] for message in found.messages]
        assert not found.recovered or numbers == list(range(before + after))
