"""Presence in consumers, and the tracker beneath, on layers without a server."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from channels.consumer import AsyncConsumer
from channels.exceptions import ChannelFull, MessageTooLarge, StopConsumer
from channels.layers import BaseChannelLayer, channel_layers
from channels.layers import InMemoryChannelLayer as PlainInMemoryChannelLayer
from django.test import override_settings

from channel_consumers.presence import PresenceMixin, Present, Subscription, Tracker, tracker
from channel_layers.exceptions import LayerUnavailable, MessageTypeError
from channel_layers.memory import InMemoryChannelLayer
from tests.consumers.client import Client

BEAT = 0.05
ROOM = "room.7"

T = TypeVar("T")


@pytest.fixture(params=[PlainInMemoryChannelLayer, InMemoryChannelLayer], ids=["channels", "ours"])
def layer(request: pytest.FixtureRequest) -> Iterator[BaseChannelLayer]:
    """A layer that works without a server, as the default one, and a quick heart."""
    made: BaseChannelLayer = request.param()
    old = channel_layers.set("default", made)
    with override_settings(CHANNEL_PRESENCE_HEARTBEAT=BEAT):
        yield made
    assert not tracker._trackers
    channel_layers.backends.pop("default")
    if old is not None:
        channel_layers.set("default", old)


class Person(PresenceMixin, AsyncConsumer):
    """Does what it is told, in its own task, and keeps what it hears."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.done: asyncio.Queue[Any] = asyncio.Queue()

    async def do(self, message: dict[str, Any]) -> None:
        try:
            self.done.put_nowait(await message["what"](self))
        except Exception as error:  # noqa: BLE001  # the test asks for it
            self.done.put_nowait(error)

    async def stop(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    async def fail(self, message: dict[str, Any]) -> None:
        raise LookupError

    async def presence_changed(
        self, group: str, joined: list[Present], left: list[Present]
    ) -> None:
        for people, sign in ((joined, "+"), (left, "-")):
            for one in people:
                self.heard.put_nowait((group, sign + one.key))

    async def presence_updated(self, group: str, updated: list[Present]) -> None:
        for one in updated:
            self.heard.put_nowait((group, one.key, one.metas))


class Driver:
    """A running :class:`Person` and its client."""

    def __init__(self, consumer: Person, client: Client) -> None:
        self.consumer = consumer
        self.client = client
        self.heard = consumer.heard

    async def do(self, what: Callable[[Person], Awaitable[T]]) -> T:
        await self.client.send_input({"type": "do", "what": what})
        result: T | Exception = await self.consumer.done.get()
        if isinstance(result, Exception):
            raise result
        return result

    async def join(self, key: str, meta: dict[str, Any] | None = None, group: str = ROOM) -> None:
        await self.do(lambda person: person.presence_join(group, key, meta))

    async def leave(self, group: str = ROOM) -> None:
        await self.do(lambda person: person.presence_leave(group))

    async def people(self, group: str = ROOM) -> list[Present]:
        async def listed(person: Person) -> list[Present]:
            return person.presence_list(group)

        return await self.do(listed)

    async def keys(self, group: str = ROOM) -> list[str]:
        return sorted(one.key for one in await self.people(group))


@asynccontextmanager
async def person() -> AsyncIterator[Driver]:
    """A consumer, which is told to stop in the end if it has not ended."""
    consumer = Person()
    client = Client(consumer, {"type": "person"})
    try:
        async with asyncio.timeout(20):
            yield Driver(consumer, client)
    finally:
        await client.end({"type": "stop"})


async def test_everybody_sees_who_comes_and_goes(layer: BaseChannelLayer) -> None:
    async with person() as ann:
        await ann.join("ann", {"tab": 1})
        assert await ann.keys() == ["ann"]
        async with person() as bob:
            await bob.join("bob")
            assert await bob.keys() == ["ann", "bob"]
            assert await ann.heard.get() == (ROOM, "+bob")
        assert await ann.heard.get() == (ROOM, "-bob")
        assert await ann.keys() == ["ann"]
        assert ann.heard.empty()  # not told of itself


async def test_tabs_of_one_person_are_one_entry(layer: BaseChannelLayer) -> None:
    async with person() as bob:
        await bob.join("bob")
        async with person() as one, person() as two:
            await one.join("ann", {"tab": 1})
            assert await bob.heard.get() == (ROOM, "+ann")
            await two.join("ann", {"tab": 2})
            assert await bob.heard.get() == (ROOM, "ann", [{"tab": 1}, {"tab": 2}])
            await one.leave()
            assert await bob.heard.get() == (ROOM, "ann", [{"tab": 2}])
        assert await bob.heard.get() == (ROOM, "-ann")


async def test_joining_again_changes_key_and_meta(layer: BaseChannelLayer) -> None:
    async with person() as bob, person() as ann:
        await bob.join("bob")
        await ann.join("ann", {"mood": "busy"})
        assert await bob.heard.get() == (ROOM, "+ann")
        await ann.join("ann", {"mood": "idle"})
        assert await bob.heard.get() == (ROOM, "ann", [{"mood": "idle"}])
        await ann.join("anna")
        assert {await bob.heard.get(), await bob.heard.get()} == {(ROOM, "-ann"), (ROOM, "+anna")}


async def test_a_watcher_sees_and_is_not_seen(layer: BaseChannelLayer) -> None:
    async with person() as guard, person() as ann:
        await guard.do(lambda one: one.presence_watch(ROOM))
        await ann.join("ann")
        assert await guard.heard.get() == (ROOM, "+ann")
        assert await ann.keys() == ["ann"]


async def test_groups_are_apart(layer: BaseChannelLayer) -> None:
    async with person() as ann, person() as bob:
        await ann.join("ann", group="one")
        await bob.join("bob", group="two")
        await bob.join("bob", group="one")
        assert await ann.heard.get() == ("one", "+bob")
        assert await bob.keys("two") == ["bob"]
        await bob.leave("one")
        assert await ann.heard.get() == ("one", "-bob")
        assert await bob.keys("two") == ["bob"]


@pytest.mark.parametrize("how", ["fail", "cancel"])
async def test_whatever_ends_a_consumer_it_leaves(layer: BaseChannelLayer, how: str) -> None:
    async with person() as ann, person() as bob:
        await ann.join("ann")
        await bob.join("bob")
        assert await ann.heard.get() == (ROOM, "+bob")
        if how == "cancel":
            bob.client.future.cancel()
        else:
            await bob.client.send_input({"type": "fail"})
        assert await ann.heard.get() == (ROOM, "-bob")


async def test_the_last_to_leave_ends_the_tracker(layer: BaseChannelLayer) -> None:
    before = asyncio.all_tasks()
    async with person() as ann:
        await ann.join("ann")
        assert {"presence reader", "presence worker"} <= {t.get_name() for t in asyncio.all_tasks()}
        await ann.leave()
        assert not {"presence reader", "presence worker"} & {
            t.get_name() for t in asyncio.all_tasks()
        }
        await ann.leave()  # nothing happens
        await ann.join("ann")
        assert await ann.keys() == ["ann"]
    assert asyncio.all_tasks() == before
    if isinstance(layer, InMemoryChannelLayer):
        assert (layer.stats()["channels"], layer.stats()["groups"]) == (0, 0)
    else:
        assert layer.groups == {}  # type: ignore[attr-defined]


async def test_notices_never_fill_a_busy_consumers_mailbox(layer: BaseChannelLayer) -> None:
    async with person() as slow, person() as bob:
        await slow.join("slow")
        busy, gate = asyncio.Event(), asyncio.Event()

        async def work(_: Person) -> None:
            busy.set()
            await gate.wait()

        working = asyncio.create_task(slow.do(work))
        await busy.wait()
        for number in range(300):  # thrice the capacity of the channel
            await bob.join(f"bob{number}")
        await layer.send(slow.consumer.channel_name, {"type": "stop"})  # there is room
        gate.set()
        await working
        await asyncio.wait([slow.client.future])
        # One notice, which tells what became of it all.
        assert slow.heard.get_nowait() == (ROOM, "+bob299")
        assert slow.heard.empty()


@pytest.mark.parametrize(
    ("key", "meta", "error"),
    [
        (7, None, TypeError),
        (None, None, TypeError),
        ("ann", {"at": datetime.date(2026, 1, 1)}, MessageTypeError),
        ("ann", ["not", "a", "dict"], TypeError),
        ("ann", {"text": "x" * 20_000}, MessageTooLarge),
        ("x" * 20_000, None, MessageTooLarge),
    ],
)
async def test_wrong_keys_and_metas_are_refused_before_anything_happens(
    layer: BaseChannelLayer, key: str, meta: dict[str, Any], error: type[Exception]
) -> None:
    async with person() as ann:
        with pytest.raises(error):
            await ann.join(key, meta)
        with pytest.raises(LookupError, match="presence_join"):
            await ann.keys()


@pytest.mark.parametrize("group", ["", "a b", "x" * 100, "line\n", None])
async def test_wrong_group_names_are_refused(layer: BaseChannelLayer, group: str) -> None:
    async with person() as ann:
        with pytest.raises(TypeError):
            await ann.join("ann", group=group)


async def test_what_was_given_may_change_afterwards(layer: BaseChannelLayer) -> None:
    async with person() as ann, person() as bob:
        await bob.join("bob")
        meta = {"tags": ["a"]}
        await ann.join("ann", meta)
        meta["tags"].append("b")
        assert (await bob.people())[1].metas == [{"tags": ["a"]}]


async def test_without_a_layer_it_says_what_to_configure() -> None:
    async with person() as ann:
        ann.consumer.channel_layer_alias = "nowhere"  # type: ignore[misc]
        with pytest.raises(RuntimeError, match=r"CHANNEL_LAYERS\['nowhere'\]"):
            await ann.join("ann")


@pytest.mark.parametrize("seconds", [0, -1, "5", True, None])
async def test_a_wrong_heartbeat_is_refused(layer: BaseChannelLayer, seconds: float) -> None:
    with override_settings(CHANNEL_PRESENCE_HEARTBEAT=seconds):
        async with person() as ann:
            with pytest.raises(TypeError, match="CHANNEL_PRESENCE_HEARTBEAT"):
                await ann.join("ann")


# Several trackers, as in several processes, on one layer


class Desk:
    """A tracker of its own with one subscription; ``changed`` waits for its notices."""

    def __init__(self, layer: BaseChannelLayer, own: Tracker, sub: Subscription) -> None:
        self.layer, self.tracker, self.sub = layer, own, sub

    async def until(self, *keys: str) -> None:
        """Wait until these are the people."""
        assert self.sub.channel is not None
        async with asyncio.timeout(20):
            while {one.key for one in self.sub.people()} != set(keys):
                await self.layer.receive(self.sub.channel)
                self.sub.take_change()


@asynccontextmanager
async def desk(layer: BaseChannelLayer) -> AsyncIterator[Desk]:
    """What a process has, without the process."""
    own = Tracker(layer, await layer.new_channel(), BEAT)
    sub = own.add(ROOM, await layer.new_channel())
    try:
        yield Desk(layer, own, sub)
    finally:
        if not own.closed:
            await sub.end()
        assert own.closed


async def eventually(true: Callable[[], bool]) -> None:
    """Let the event loop go round until something is so that nobody is told of."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_trackers_tell_each_other(layer: BaseChannelLayer) -> None:
    async with desk(layer) as one:
        one.sub.enter("ann", {})
        async with desk(layer) as two:
            await two.until("ann")
            two.sub.enter("bob", {})
            await one.until("ann", "bob")
        await one.until("ann")


async def crash(one: Desk) -> None:
    """End its tasks as a killed process would, without a word to anybody."""
    tasks, one.tracker._tasks = one.tracker._tasks, []
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_tracker_that_falls_silent_is_missed(layer: BaseChannelLayer) -> None:
    async with desk(layer) as one, desk(layer) as two:
        two.sub.enter("bob", {})
        await one.until("bob")
        await crash(two)
        await one.until()


async def test_bad_frames_are_counted_and_kill_nothing(
    layer: BaseChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(layer) as one, desk(layer) as two:
        one.sub.enter("ann", {})
        two.sub.enter("ann", {})
        await eventually(lambda: bool(one.tracker.roster.nodes and two.tracker.roster.nodes))
        for garbage in (
            {},
            {"type": "chat.message", "text": "hello"},
            {"type": "presence.frame", "v": 99},
            {"type": "presence.frame", "v": 1, "kind": "delta", "node": "n", "seq": []},
            {"type": "presence.frame", "v": 1, "kind": "ask", "node": "", "groups": [ROOM]},
        ):
            await layer.group_send(tracker.GROUP, garbage)
        # Legal, but of a node that is not there.
        ghost = {"type": "presence.frame", "v": 1, "node": "no.such!channel"}
        await layer.group_send(tracker.GROUP, {**ghost, "kind": "ask", "groups": [ROOM]})
        two.sub.enter("bob", {})
        await one.until("ann", "bob")
        assert one.tracker.bad_frames == two.tracker.bad_frames == 5
        assert "bad frame" in caplog.text


async def test_it_recovers_from_a_layer_that_forgot_everything(
    layer: BaseChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(layer) as one, desk(layer) as two:
        one.sub.enter("ann", {})
        await two.until("ann")
        await layer.flush()
        two.sub.enter("bob", {})
        await one.until("ann", "bob")
        assert "cannot receive" not in caplog.text


class Flaky(InMemoryChannelLayer):
    """A layer whose broker can be taken away; nothing else is different."""

    away = False
    full: str | None = None
    refused = 0

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        if channel == self.full:
            self.refused += 1
            raise ChannelFull(channel)
        if self.away:
            raise LayerUnavailable("away")
        await super().send(channel, message)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if self.away:
            raise LayerUnavailable("away")
        await super().group_send(group, message)

    async def receive(self, channel: str) -> dict[str, Any]:
        message = await super().receive(channel)
        if self.away:
            raise ConnectionError("away")
        return message


async def test_it_outlives_a_layer_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    layer = Flaky()
    async with desk(layer) as one, desk(layer) as two:
        one.sub.enter("ann", {})
        await two.until("ann")
        layer.away = True
        two.sub.enter("bob", {})
        await eventually(lambda: "cannot send" in caplog.text)
        layer.away = False
        await one.until("ann", "bob")


async def test_ending_without_a_layer_still_ends(caplog: pytest.LogCaptureFixture) -> None:
    layer = Flaky()
    async with desk(layer) as one:
        one.sub.enter("ann", {})
        async with desk(layer) as two:
            await two.until("ann")
            layer.away = True
        assert "without saying goodbye" in caplog.text
        layer.away = False


async def test_a_consumer_whose_mailbox_was_full_is_told_later() -> None:
    layer = Flaky()
    async with desk(layer) as one, desk(layer) as two:
        layer.full = one.sub.channel
        two.sub.enter("bob", {})
        await eventually(lambda: layer.refused > 0)
        layer.full = None
        await one.until("bob")
        assert one.sub.channel is not None
        async with asyncio.timeout(20):
            assert (await layer.receive(one.sub.channel))["type"] == tracker.NOTICE_TYPE
        assert [p.key for p in one.sub.take_change().joined] == ["bob"]
