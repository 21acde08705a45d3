"""Promise 11: broken connections and brokers are survived; what was meanwhile is caught up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

import pytest
from hypothesis import strategies as st

from channel_layers.testing.faults import Cuts, Pauses, Restarts
from channel_layers.testing.law import law, over
from channel_layers.testing.protocols import AnyLayer, Message
from channel_layers.testing.scene import Scene

SEND_TIMEOUT = 1.0
RECOVERY = 3
"""In so many times the patience a layer must have reached its broker again."""


async def cut(scene: Scene) -> None:
    """Break all connections once."""
    await asyncio.to_thread(cast(Cuts, scene.under_test.faults).cut)


async def attempt(verb: Callable[[], Awaitable[None]]) -> bool:
    """Whether a send succeeded; it may only fail with LayerUnavailable."""
    try:
        await verb()
    except Exception as error:
        if type(error).__name__ == "LayerUnavailable":
            return False
        raise AssertionError(f"a send raised {error!r}, not LayerUnavailable") from error
    return True


async def until_sent(scene: Scene, verb: Callable[[], Awaitable[None]]) -> None:
    """Send, trying again until the layer has recovered."""
    async with asyncio.timeout(RECOVERY * scene.patience):
        while not await attempt(verb):
            pass


class Reader:
    """Reads a channel all the time; an error of receive() is kept."""

    def __init__(self, scene: Scene, layer: AnyLayer, channel: str) -> None:
        self._seconds = RECOVERY * scene.patience
        self.found: list[Message] = []
        self._came = asyncio.Event()
        self.task = asyncio.ensure_future(self._read(layer, channel))

    async def _read(self, layer: AnyLayer, channel: str) -> None:
        try:
            while True:
                self.found.append(await layer.receive(channel))
                self._came.set()
        finally:
            self._came.set()

    async def until(self, last: object) -> list[object]:
        """The numbers of all messages, when the one with this number has come."""
        try:
            async with asyncio.timeout(self._seconds):
                while not any(message["n"] == last for message in self.found):
                    self.require_alive()
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError as error:
            raise AssertionError(f"{last!r} did not come; {self.numbers} did") from error
        return self.numbers

    @property
    def numbers(self) -> list[object]:
        """The numbers of the messages that came."""
        return [message["n"] for message in self.found]

    def require_alive(self) -> None:
        """Assert that receive() has not raised."""
        if self.task.done() and not self.task.cancelled():
            raise AssertionError(f"receive() raised {self.task.exception()!r}")

    async def __aenter__(self) -> Reader:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def numbered(number: object) -> Message:
    """A message."""
    return {"type": "t", "n": number}


@pytest.mark.promise(11)
class TestCuts:
    @law(needs=("cut",), effort=0.15)
    @over(cuts=st.integers(1, 3), plain=st.booleans())
    async def test_a_waiting_receive_survives_a_cut(
        self, scene: Scene, cuts: int, plain: bool
    ) -> None:
        """receive() does not raise when the connection breaks, and gets what comes later."""
        sender, layer = scene.layers(2)
        channel = "plain" if plain else await layer.new_channel()
        await layer.group_add("group", channel)
        async with Reader(scene, layer, channel) as reader:
            for number in range(cuts):
                await until_sent(scene, partial(sender.send, channel, numbered(number)))
                await reader.until(number)
                await cut(scene)
                reader.require_alive()
            await until_sent(scene, partial(sender.group_send, "group", numbered("last")))
            await reader.until("last")

    @law(needs=("cut",), effort=0.15)
    @over(count=st.integers(5, 60), every=st.integers(3, 20), group=st.booleans())
    async def test_cuts_lose_nothing_and_double_nothing(
        self, scene: Scene, count: int, every: int, group: bool
    ) -> None:
        """While connections break again and again, each message comes once and in order."""
        sender, layer = scene.layers(2)
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        accepted: list[object] = []
        async with Reader(scene, layer, channel) as reader:
            for number in range(count):
                if number % every == 0:
                    await cut(scene)
                verb = (
                    partial(sender.group_send, "group", numbered(number))
                    if group
                    else partial(sender.send, channel, numbered(number))
                )
                if await attempt(verb):
                    accepted.append(number)
            await until_sent(scene, partial(sender.send, channel, numbered("last")))
            found = (await reader.until("last"))[:-1]
        assert [n for n in found if n in accepted] == accepted, f"{found} of {accepted}"
        assert len(set(found)) == len(found), f"some came twice: {found}"

    @law(needs=("cut",), effort=0.1)
    @over(count=st.integers(1, 30))
    async def test_what_was_sent_meanwhile_is_caught_up(self, scene: Scene, count: int) -> None:
        """A layer that was cut off gets what others sent meanwhile, in order."""
        faults = cast(Cuts, scene.under_test.faults)
        layer, direct = scene.layer(), scene.layer(**faults.direct)
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        async with Reader(scene, layer, channel) as reader:
            await until_sent(scene, partial(direct.send, channel, numbered("first")))
            await reader.until("first")
            await asyncio.to_thread(faults.part)
            try:
                for number in range(count):
                    if number % 2:
                        await direct.send(channel, numbered(number))
                    else:
                        await direct.group_send("group", numbered(number))
            finally:
                await asyncio.to_thread(faults.heal)
            found = await reader.until(count - 1)
        assert found == ["first", *range(count)]

    @law(needs=("cut",), config={"send_timeout": SEND_TIMEOUT})
    async def test_sends_say_when_the_broker_is_away(self, scene: Scene) -> None:
        """With no broker a send waits send_timeout, then raises LayerUnavailable; receive waits."""
        faults = cast(Cuts, scene.under_test.faults)
        layer = scene.layer()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        async with Reader(scene, layer, channel) as reader:
            await asyncio.to_thread(faults.part)
            try:
                await _unavailable_in_time(layer)
                reader.require_alive()
            finally:
                await asyncio.to_thread(faults.heal)
            await until_sent(scene, partial(layer.group_send, "group", numbered("last")))
            await reader.until("last")


@pytest.mark.promise(11)
class TestBrokers:
    @law(needs=("pause",), config={"send_timeout": SEND_TIMEOUT})
    async def test_a_paused_broker_is_waited_for(self, scene: Scene) -> None:
        """While the broker answers nothing sends raise in time, receive waits; then all works."""
        faults = cast(Pauses, scene.under_test.faults)
        layer = scene.layer()
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        async with Reader(scene, layer, channel) as reader:
            await asyncio.to_thread(faults.pause)
            try:
                await _unavailable_in_time(layer)
                reader.require_alive()
            finally:
                await asyncio.to_thread(faults.resume)
            await until_sent(scene, partial(layer.group_send, "group", numbered("last")))
            found = await reader.until("last")
        assert len(set(found)) == len(found), f"some came twice: {found}"

    @law(needs=("restart",))
    async def test_a_restarted_broker_is_found_again(self, scene: Scene) -> None:
        """After a restart receive() goes on, members are still members, nothing comes again."""
        faults = cast(Restarts, scene.under_test.faults)
        sender, layer = scene.layers(2)
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        async with Reader(scene, layer, channel) as reader, Reader(scene, layer, "plain") as plain:
            for number in range(3):
                await sender.group_send("group", numbered(number))
                await sender.send("plain", numbered(number))
            await reader.until(2)
            await plain.until(2)
            await asyncio.to_thread(faults.restart)
            await until_sent(scene, partial(sender.group_send, "group", numbered("last")))
            await until_sent(scene, partial(sender.send, "plain", numbered("last")))
            assert await reader.until("last") == [0, 1, 2, "last"]
            assert await plain.until("last") == [0, 1, 2, "last"]


async def _unavailable_in_time(layer: AnyLayer) -> None:
    for verb in (
        partial(layer.group_send, "group", numbered("meanwhile")),
        partial(layer.send, "other", numbered("meanwhile")),
    ):
        start = time.monotonic()
        sent = await attempt(verb)
        took = time.monotonic() - start
        assert not sent, "a send without a broker claimed to have succeeded"
        assert took < SEND_TIMEOUT + 2, f"it took {took:.1f} s, send_timeout is {SEND_TIMEOUT}"
