"""Promise 2: what may travel arrives as it was, the rest is refused when it is sent."""

from __future__ import annotations

import copy

import pytest
from hypothesis import strategies as st

from channel_layers.testing.law import law, over
from channel_layers.testing.protocols import Message
from channel_layers.testing.scene import Scene, shortened
from channel_layers.testing.strategies import (
    Misplaced,
    arrived,
    illegal_messages,
    messages,
    same,
)


def containers(value: object) -> list[object]:
    """Every dict and list in a message, itself included."""
    found: list[object] = []
    if isinstance(value, dict):
        found.append(value)
        for item in value.values():
            found += containers(item)
    elif isinstance(value, list):
        found.append(value)
        for item in value:
            found += containers(item)
    return found


def spoil(value: object) -> None:
    """Change every dict and list in a message."""
    for container in containers(value):
        if isinstance(container, dict):
            container["spoilt"] = True
        elif isinstance(container, list):
            container.append("spoilt")


async def refused(
    scene: Scene, message: object, kind: type[BaseException], *, group: bool
) -> BaseException:
    """Assert that a message is refused and nothing of it arrives; the error."""
    sender, reader = scene.layers(2)
    channel = await reader.new_channel()
    await reader.group_add("group", channel)
    error: BaseException | None = None
    try:
        if group:
            await sender.group_send("group", message)  # type: ignore[arg-type]
        else:
            await sender.send(channel, message)  # type: ignore[arg-type]
    except Exception as raised:  # noqa: BLE001  # judged below
        error = raised
    came = await scene.drain(reader, channel)
    assert error is not None, f"it was accepted, and {shortened(came)} arrived"
    assert isinstance(error, kind), f"it raised {error!r}, not {kind.__name__}"
    assert came == [], f"it raised {error!r}, and yet something was sent"
    return error


@pytest.mark.promise(2)
class TestTypes:
    @law(effort=3)
    @over(message=messages())
    async def test_a_sent_message_arrives_as_it_was(self, scene: Scene, message: Message) -> None:
        """Every legal value comes through send() equal and of the same type; tuples as lists."""
        sender, reader = scene.layers(2)
        channel = await reader.new_channel()
        await sender.send(channel, message)
        found = await scene.receive(reader, channel)
        assert same(dict(found), arrived(message)), f"it arrived as {shortened(found)}"

    @law(needs=("groups",), effort=2)
    @over(message=messages())
    async def test_a_group_message_arrives_as_it_was(self, scene: Scene, message: Message) -> None:
        """Every legal value comes through group_send() equal and of the same type."""
        sender, reader = scene.layers(2)
        channel = await reader.new_channel()
        await reader.group_add("group", channel)
        await sender.group_send("group", message)
        found = await scene.receive(reader, channel)
        assert same(dict(found), arrived(message)), f"it arrived as {shortened(found)}"

    @law(needs=("groups",))
    @over(message=messages(), nested=messages())
    async def test_every_receiver_has_its_own_copy(
        self, scene: Scene, message: Message, nested: Message
    ) -> None:
        """What a receiver or the sender does to its message no other receiver sees."""
        message = {**message, "nested": nested, "list": [{"n": 1}]}
        expected = arrived(copy.deepcopy(message))
        layer = scene.layer()
        channels = [await layer.new_channel() for _ in range(3)]
        for channel in channels:
            await layer.group_add("group", channel)
        await layer.group_send("group", message)
        spoil(message)
        found = [await scene.receive(layer, channel) for channel in channels]
        assert same(arrived(found[0]), expected), f"the first got {shortened(found[0])}"
        spoil(found[0])
        for other in found[1:]:
            assert same(arrived(other), expected), f"another got {shortened(other)}"
        owners = [{id(container) for container in containers(one)} for one in found]
        assert not owners[0] & owners[1], "two receivers share a list or a dict"

    @law()
    @over(message=messages())
    async def test_a_sent_message_is_a_copy(self, scene: Scene, message: Message) -> None:
        """What the sender does to its message after send() the receiver does not see."""
        message = {**message, "nested": {"list": [1]}}
        expected = arrived(copy.deepcopy(message))
        layer = scene.layer()
        channel = await layer.new_channel()
        await layer.send(channel, message)
        spoil(message)
        assert same(arrived(await scene.receive(layer, channel)), expected)

    @law(effort=3)
    @over(wrong=illegal_messages(), group=st.booleans())
    async def test_what_cannot_travel_is_refused(
        self, scene: Scene, wrong: Misplaced, group: bool
    ) -> None:
        """A value that cannot travel is a TypeError where it is sent; nothing is sent."""
        await refused(scene, wrong.message, TypeError, group=group)

    @law(effort=2)
    @over(wrong=illegal_messages(), group=st.booleans())
    async def test_the_error_names_the_path(
        self, scene: Scene, wrong: Misplaced, group: bool
    ) -> None:
        """The error says where in the message the value is, as in message["a"][3]."""
        error = await refused(scene, wrong.message, TypeError, group=group)
        assert wrong.path in str(error).replace("'", '"'), f"{error} does not name {wrong.path}"

    @law()
    @over(
        message=st.sampled_from([None, "text", b"bytes", 7, [], [{"type": "t"}], ("a",), object]),
        group=st.booleans(),
    )
    async def test_only_dicts_are_messages(
        self, scene: Scene, message: object, group: bool
    ) -> None:
        """What is no dict is a TypeError where it is sent."""
        await refused(scene, message, TypeError, group=group)
