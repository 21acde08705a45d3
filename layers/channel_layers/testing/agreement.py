"""One history, run on several layers, ends in the same deliveries.

Names are symbols (channel 0, 1, 2), as each layer gives its own to the channels that it makes.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from hypothesis import strategies as st

from channel_layers.testing.harness import LayerUnderTest
from channel_layers.testing.protocols import Message
from channel_layers.testing.scene import Scene

__all__ = ["Deliveries", "Step", "deliveries", "histories"]

CHANNELS = 4
"""The last of them is a plain one."""

Deliveries = dict[int, list[int]]
"""Channel -> the numbers of what it delivered, in order."""


class Step(NamedTuple):
    """One verb of a history."""

    verb: Literal["send", "group_send", "group_add", "group_discard", "receive", "flush"]
    channel: int
    group: str


def histories() -> st.SearchStrategy[list[Step]]:
    """Histories of up to 40 verbs, from one sender."""
    verbs: st.SearchStrategy[str] = st.sampled_from(
        [
            *("send", "send", "group_send", "group_send", "group_add", "group_add"),
            *("group_discard", "receive", "receive", "flush"),
        ]
    )
    return st.lists(
        st.builds(Step, verbs, st.integers(0, CHANNELS - 1), st.sampled_from(["a", "b"])),
        max_size=40,
    )


def deliveries(under_test: LayerUnderTest, history: list[Step]) -> Deliveries:
    """Run a history on a layer."""

    async def body(scene: Scene) -> Deliveries:
        return await _run(scene, history)

    return under_test.run(body)


async def _run(scene: Scene, history: list[Step]) -> Deliveries:
    sender, reader = scene.layers(2)
    names = [await reader.new_channel() for _ in range(CHANNELS - 1)] + ["plain"]
    found: Deliveries = {number: [] for number in range(CHANNELS)}

    async def take_all(channel: int) -> None:
        for message in await scene.drain(reader, names[channel], by=sender):
            number = message["n"]
            assert isinstance(number, int)
            found[channel].append(number)

    for number, step in enumerate(history):
        name = names[step.channel]
        message: Message = {"type": "t", "n": number}
        if step.verb == "send":
            await sender.send(name, message)
        elif step.verb == "group_send":
            await sender.group_send(step.group, message)
        elif step.verb == "group_add":
            await scene.settle([sender], reader)
            await sender.group_add(step.group, name)
        elif step.verb == "group_discard":
            await sender.group_discard(step.group, name)
        elif step.verb == "receive":
            await take_all(step.channel)
        elif "flush" in sender.extensions:
            await sender.flush()
    for channel in range(CHANNELS):
        await take_all(channel)
    return found
