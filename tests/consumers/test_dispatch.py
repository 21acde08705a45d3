"""What consumers share: how messages reach their handlers, and how they end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.db import aclose_old_connections
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import BaseChannelLayer, channel_layers
from channels.layers import InMemoryChannelLayer as PlainInMemoryChannelLayer

import channel_consumers.dispatch
from channel_consumers.dispatch import DispatchMixin, dispatch_from
from channel_layers.exceptions import ForeignChannelError, LayerClosed
from channel_layers.memory import InMemoryChannelLayer
from tests.consumers.client import Client

SCOPE = {"type": "test"}


@pytest.fixture(params=[PlainInMemoryChannelLayer, InMemoryChannelLayer], ids=["channels", "ours"])
def layer(request: pytest.FixtureRequest) -> Iterator[BaseChannelLayer]:
    """A layer that works without a server, as the default one."""
    made: BaseChannelLayer = request.param()
    old = channel_layers.set("default", made)
    yield made
    channel_layers.backends.pop("default")
    if old is not None:
        channel_layers.set("default", old)


class Recorder(DispatchMixin):
    """Keeps what it handled; tests await ``handled.get()``."""

    def __init__(self) -> None:
        self.handled: asyncio.Queue[Any] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()

    async def note(self, message: dict[str, Any]) -> None:
        """Say the channel's name first, so that tests know that it runs."""
        self.handled.put_nowait(message.get("n", self.channel_name))
        await self.gate.wait()
        self.handled.put_nowait("done")

    async def stop(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    async def fail(self, message: dict[str, Any]) -> None:
        raise LookupError(message["text"])


@asynccontextmanager
async def running(consumer: AsyncConsumer) -> AsyncIterator[Client]:
    """A consumer with a client, cancelled in the end if it has not ended by itself."""
    client = Client(consumer, SCOPE)
    try:
        yield client
    finally:
        await client.end()


async def begin(consumer: Recorder, client: Client) -> str:
    await client.send_input({"type": "note"})
    name: str = await consumer.handled.get()
    if consumer.gate.is_set():
        assert await consumer.handled.get() == "done"
    return name


async def test_messages_of_client_and_layer_are_handled(layer: BaseChannelLayer) -> None:
    consumer = Recorder()
    async with running(consumer) as client:
        name = await begin(consumer, client)
        await layer.send(name, {"type": "note", "n": 1})
        assert [await consumer.handled.get() for _ in range(2)] == [1, "done"]
        await client.send_input({"type": "stop"})
        await client.future


async def test_handlers_run_one_at_a_time_and_in_order(layer: BaseChannelLayer) -> None:
    consumer = Recorder()
    consumer.gate.clear()
    async with running(consumer) as client:
        name = await begin(consumer, client)
        for number in range(3):
            await layer.send(name, {"type": "note", "n": number})
        await client.send_input({"type": "note", "n": "client"})
        await asyncio.sleep(0)
        assert consumer.handled.empty()
        consumer.gate.set()
        seen = [await consumer.handled.get() for _ in range(9)]
    assert seen[0] == "done"
    rest = seen[1:]
    assert rest[1::2] == ["done"] * 4  # nothing begins before the other has ended
    assert [n for n in rest[::2] if n != "client"] == [0, 1, 2]


async def test_client_is_not_starved_by_a_busy_layer(layer: BaseChannelLayer) -> None:
    class Busy(Recorder):
        async def again(self, message: dict[str, Any]) -> None:
            await self.channel_layer.send(self.channel_name, {"type": "again"})

    consumer = Busy()
    async with asyncio.timeout(10), running(consumer) as client:
        name = await begin(consumer, client)
        await layer.send(name, {"type": "again"})
        await client.send_input({"type": "stop"})
        await client.future


async def test_handlers_share_one_context(layer: BaseChannelLayer) -> None:
    language = contextvars.ContextVar("language", default="?")

    class Speaker(Recorder):
        async def speak(self, message: dict[str, Any]) -> None:
            self.handled.put_nowait(language.get())
            language.set(message["language"])

    consumer = Speaker()
    async with running(consumer) as client:
        name = await begin(consumer, client)
        await client.send_input({"type": "speak", "language": "de"})
        assert await consumer.handled.get() == "?"
        await layer.send(name, {"type": "speak", "language": "fr"})
        assert await consumer.handled.get() == "de"
        await client.send_input({"type": "speak", "language": "en"})
        assert await consumer.handled.get() == "fr"


@pytest.mark.parametrize("by", ["client", "layer"])
async def test_an_exception_ends_the_consumer_and_is_raised(
    layer: BaseChannelLayer, by: str
) -> None:
    consumer = Recorder()
    async with running(consumer) as client:
        name = await begin(consumer, client)
        bad = {"type": "fail", "text": "no such thing"}
        await (client.send_input(bad) if by == "client" else layer.send(name, bad))
        with pytest.raises(LookupError, match="no such thing"):
            await client.future


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({}, "no 'type'"),
        ({"type": "_secret"}, "underscore"),
        ({"type": "un.known"}, "No handler for message type un.known"),
    ],
)
async def test_what_has_no_handler_is_a_value_error(
    layer: BaseChannelLayer, message: dict[str, Any], text: str
) -> None:
    consumer = Recorder()
    async with running(consumer) as client:
        await client.send_input(message)
        with pytest.raises(ValueError, match=text):
            await client.future


async def test_no_handler_runs_after_the_end() -> None:
    gate, begun = asyncio.Event(), asyncio.Event()
    handled: list[str] = []

    async def first() -> dict[str, Any]:
        return {"from": "first"}

    async def second() -> dict[str, Any]:
        await begun.wait()
        asyncio.get_running_loop().call_soon(gate.set)  # once this has been taken
        return {"from": "second"}

    async def dispatch(message: dict[str, Any]) -> None:
        handled.append(message["from"])
        begun.set()
        await gate.wait()
        raise StopConsumer

    with pytest.raises(StopConsumer):
        await dispatch_from([first, second], dispatch)
    assert handled == ["first"]


async def test_a_source_that_never_waits_lets_the_others_have_their_turn() -> None:
    count = 0

    async def always() -> dict[str, Any]:
        return {}

    async def once() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"stop": True}

    async def dispatch(message: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        assert count < 1000
        if message:
            raise StopConsumer

    with pytest.raises(StopConsumer):
        await dispatch_from([always, once], dispatch)


@pytest.mark.parametrize("how", ["stop", "fail", "cancel"])
async def test_whatever_ends_it_the_channel_is_closed_and_the_stack_left(how: str) -> None:
    layer = InMemoryChannelLayer()
    old = channel_layers.set("default", layer)
    consumer = Recorder()
    async with running(consumer) as client:
        name = await begin(consumer, client)
        await layer.group_add("room", name)
        left: list[str] = []
        consumer.exit_stack.callback(left.append, name)
        reader = asyncio.create_task(layer.receive(name))
        if how == "cancel":
            client.future.cancel()
        else:
            await client.send_input({"type": how, "text": "x"})
        await asyncio.wait([client.future])
        assert left == [name]
        assert await layer.group_channels("room") == []
        assert layer.stats()["channels"] == 0
        with pytest.raises(LayerClosed):
            await reader
    if old is not None:
        channel_layers.set("default", old)


async def test_on_a_layer_without_close_channel_a_failed_consumer_leaves_its_groups() -> None:
    layer = PlainInMemoryChannelLayer()
    old = channel_layers.set("default", layer)

    class Failing(DispatchMixin, AsyncWebsocketConsumer):
        groups = ["room"]  # noqa: RUF012  # as consumers declare it

        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            raise LookupError(text_data)

    client = Client(Failing(), {"type": "websocket"})
    await client.send_input({"type": "websocket.connect"})
    assert (await client.receive_output())["type"] == "websocket.accept"
    assert list(layer.groups) == ["room"]
    await client.send_input({"type": "websocket.receive", "text": "x"})
    with pytest.raises(LookupError):
        await client.future
    assert layer.groups == {}
    if old is not None:
        channel_layers.set("default", old)


async def test_a_layer_that_cannot_close_the_channel_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(InMemoryChannelLayer):
        async def close_channel(self, channel: str) -> None:
            raise ForeignChannelError(channel)

    old = channel_layers.set("default", Broken())
    consumer = Recorder()
    async with running(consumer) as client:
        await begin(consumer, client)
        await client.send_input({"type": "stop"})
        await client.future
    assert "could not be closed" in caplog.text
    if old is not None:
        channel_layers.set("default", old)


async def test_a_broken_client_connection_ends_the_consumer(layer: BaseChannelLayer) -> None:
    async def receive() -> dict[str, Any]:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await Recorder()(SCOPE, receive, receive)  # type: ignore[arg-type]


async def test_sync_consumers_work_in_their_thread(layer: BaseChannelLayer) -> None:
    loop = asyncio.get_running_loop()
    handled: asyncio.Queue[Any] = asyncio.Queue()

    class Sync(DispatchMixin, SyncConsumer):
        def note(self, message: dict[str, Any]) -> None:
            self.send({"type": "reply"})
            found = (threading.current_thread() is threading.main_thread(), self.channel_name)
            loop.call_soon_threadsafe(handled.put_nowait, found)

        def stop(self, message: dict[str, Any]) -> None:
            raise StopConsumer

    async with running(Sync()) as client:
        await client.send_input({"type": "note"})
        in_main, name = await handled.get()
        assert not in_main
        await layer.send(name, {"type": "note"})
        await handled.get()
        assert [await client.receive_output() for _ in range(2)] == [{"type": "reply"}] * 2
        await client.send_input({"type": "stop"})
        await client.future


async def test_a_mixin_named_last_works_too(layer: BaseChannelLayer) -> None:
    class Last(AsyncWebsocketConsumer, DispatchMixin):
        pass

    async with running(Last()) as client:
        await client.send_input({"type": "websocket.connect"})
        assert (await client.receive_output())["type"] == "websocket.accept"
        await client.send_input({"type": "websocket.disconnect", "code": 1000})
        await client.future


class Clock:
    """The time of the running loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.checks = 0
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: self.now)

        async def counted() -> None:
            self.checks += 1
            await aclose_old_connections()

        monkeypatch.setattr(channel_consumers.dispatch, "aclose_old_connections", counted)


async def test_database_connections_are_checked_once_a_second_and_after_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = Recorder()
    consumer.channel_name = "x"
    clock = Clock(monkeypatch)
    for _ in range(5):
        await consumer.dispatch({"type": "note"})
    assert clock.checks == 1
    clock.now += 0.9
    await consumer.dispatch({"type": "note"})
    assert clock.checks == 1
    clock.now += 100
    await consumer.dispatch({"type": "note"})
    assert clock.checks == 2
    # Each thread-sensitive context has a thread, and so connections, of its own.
    async with ThreadSensitiveContext():
        await consumer.dispatch({"type": "note"})
        await consumer.dispatch({"type": "note"})
    assert clock.checks == 3


async def test_after_a_failed_handler_connections_are_checked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = Recorder()
    consumer.channel_name = "x"
    clock = Clock(monkeypatch)
    await consumer.dispatch({"type": "note"})
    with pytest.raises(LookupError):
        await consumer.dispatch({"type": "fail", "text": ""})
    await consumer.dispatch({"type": "note"})
    assert clock.checks == 2


async def test_dispatch_from_awaits_what_it_cancels() -> None:
    ended = []

    async def endless() -> dict[str, Any]:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)
        raise AssertionError

    async def one() -> dict[str, Any]:
        return {}

    async def stop(message: dict[str, Any]) -> None:
        raise StopConsumer

    with pytest.raises(StopConsumer):
        await dispatch_from([endless, one], stop)
    assert ended == [True]
    assert asyncio.all_tasks() == {asyncio.current_task()}
