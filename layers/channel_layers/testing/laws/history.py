"""The history extension: what a group remembers, and that it says what it does not."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from hypothesis import strategies as st

from channel_layers.testing.law import EXPIRY, law, over
from channel_layers.testing.protocols import Message
from channel_layers.testing.scene import Scene

SIZE = 5
CONFIG = {"history": {"log.*": (SIZE, 60)}}


def numbers(messages: object) -> list[object]:
    """The numbers of messages."""
    return [message["n"] for message in cast("list[Message]", messages)]


def offset_of(message: Message) -> int:
    """The offset that a delivered message carries."""
    position = getattr(message, "position", None)
    assert position is not None, "the message carries no position"
    return int(position[1])


@pytest.mark.promise("history")
class TestHistory:
    @law(needs=("history",), config=CONFIG)
    @over(count=st.integers(0, 3 * SIZE), limit=st.none() | st.integers(1, 2 * SIZE))
    async def test_history_is_the_last_messages(
        self, scene: Scene, count: int, limit: int | None
    ) -> None:
        """history() gives the last messages of a group, oldest first, at most so many."""
        sender, other = scene.layers(2)
        for number in range(count):
            await sender.group_send("log.a", {"type": "t", "n": number})
            await sender.group_send("log.b", {"type": "t", "n": "another group's"})
        found = await other.history("log.a", limit=limit)
        kept = list(range(count))[-SIZE:]
        assert numbers(found.messages) == (kept if limit is None else kept[-limit:])
        assert tuple(found.position) == tuple(await other.position("log.a"))

    @law(needs=("history", "groups"), config=CONFIG)
    @over(count=st.integers(1, 20))
    async def test_delivered_messages_carry_their_position(self, scene: Scene, count: int) -> None:
        """A delivered message knows its position; positions count up by one in one epoch."""
        sender, reader = scene.layers(2)
        channel = await reader.new_channel()
        await reader.group_add("log.a", channel)
        before = await sender.position("log.a")
        for number in range(count):
            await sender.group_send("log.a", {"type": "t", "n": number})
        found = await scene.receive_all(reader, channel, count)
        assert [offset_of(message) for message in found] == [
            before[1] + 1 + number for number in range(count)
        ]
        assert tuple(await sender.position("log.a")) == (before[0], before[1] + count)

    @law(needs=("history",), config=CONFIG)
    @over(before=st.integers(0, 8), missed=st.integers(0, 8), limit=st.none() | st.integers(1, 8))
    async def test_what_was_missed_comes_or_is_said_to_be_lost(
        self, scene: Scene, before: int, missed: int, limit: int | None
    ) -> None:
        """history(since) gives all that came since; if some is forgotten, recovered is False."""
        sender, other = scene.layers(2)
        for number in range(before):
            await sender.group_send("log.a", {"type": "t", "n": -number})
        since = await other.position("log.a")
        for number in range(missed):
            await sender.group_send("log.a", {"type": "t", "n": number})
        collected: list[object] = []
        whole = True
        while True:
            page = await other.history("log.a", since=since, limit=limit)
            whole = whole and page.recovered
            collected += numbers(page.messages)
            if tuple(page.position) == tuple(since) or limit is None:
                break
            since = page.position
        assert collected == list(range(missed))[-SIZE:]
        assert whole == (missed <= SIZE), f"recovered is {whole}, {missed} missed, {SIZE} kept"

    @law(needs=("history",), config=CONFIG)
    @over(count=st.integers(0, 4))
    async def test_a_strange_position_is_not_recovered(self, scene: Scene, count: int) -> None:
        """A position of another epoch, or of the future, cannot be resumed, and it is said."""
        layer = scene.layer()
        for number in range(count):
            await layer.group_send("log.a", {"type": "t", "n": number})
        epoch, offset = await layer.position("log.a")
        assert not (await layer.history("log.a", since=("another", offset))).recovered
        assert not (await layer.history("log.a", since=(epoch, offset + 1))).recovered
        assert (await layer.history("log.a", since=(epoch, offset))).recovered

    @law(needs=("history", "flush"), config=CONFIG)
    async def test_a_flush_begins_a_new_epoch(self, scene: Scene) -> None:
        """After flush() an old position is not recovered, whatever came since."""
        layer = scene.layer()
        await layer.group_send("log.a", {"type": "t", "n": 0})
        since = await layer.position("log.a")
        await layer.flush()
        await layer.group_send("log.a", {"type": "t", "n": 1})
        found = await layer.history("log.a", since=since)
        assert not found.recovered
        assert numbers(found.messages) == [1]

    @law(needs=("history",), config=CONFIG)
    async def test_other_groups_have_no_history(self, scene: Scene) -> None:
        """Asking for the history of a group that the config does not name is an error."""
        layer = scene.layer()
        with pytest.raises(Exception, match="other"):
            await layer.history("other")
        with pytest.raises(Exception, match="other"):
            await layer.position("other")

    @law(needs=("history",), config={"history": {"log.*": (SIZE, 0.4)}})
    async def test_history_forgets_by_age(self, scene: Scene) -> None:
        """Messages older than the config says are forgotten, and a recovery says so."""
        layer = scene.layer()
        since = await layer.position("log.a")
        await layer.group_send("log.a", {"type": "t", "n": 0})
        assert numbers((await layer.history("log.a")).messages) == [0]
        await asyncio.sleep(0.6)
        found = await layer.history("log.a", since=since)
        assert numbers(found.messages) == []
        assert not found.recovered

    @law(needs=("history",), config={**CONFIG, "expiry": EXPIRY})
    async def test_history_is_not_bound_by_expiry(self, scene: Scene) -> None:
        """Expiry is about unread messages; history keeps as long as its own setting says."""
        layer = scene.layer()
        await layer.group_send("log.a", {"type": "t", "n": 0})
        await asyncio.sleep(1.3 * scene.under_test.expiry)
        assert numbers((await layer.history("log.a")).messages) == [0]
