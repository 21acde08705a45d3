"""The in-memory layer by example, and what only it can be asked: threads, loops, fork."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from channel_layers.codec import Message, Position
from channel_layers.exceptions import (
    ChannelFull,
    ForeignChannelError,
    LayerClosed,
    LayerError,
    MessageTooLarge,
    MessageTypeError,
    SyncInLoopError,
)
from channel_layers.memory import InMemoryChannelLayer


async def waiting(layer: InMemoryChannelLayer, channel: str) -> asyncio.Task[dict[str, Any]]:
    """A task that waits in ``receive``."""
    task = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    return task


async def test_a_message_to_a_channel_and_one_to_a_group() -> None:
    layer = InMemoryChannelLayer()
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "greeting", "text": "hello"})
    await layer.group_add("room", channel)
    await layer.group_send("room", {"type": "chat.message", "text": "hello, all"})
    assert await layer.receive(channel) == {"type": "greeting", "text": "hello"}
    assert await layer.receive(channel) == {"type": "chat.message", "text": "hello, all"}


async def test_a_plain_channel_keeps_its_messages_for_a_later_reader() -> None:
    layer = InMemoryChannelLayer()
    await layer.send("thumbnails", {"type": "make", "id": 1})
    assert await layer.receive("thumbnails") == {"type": "make", "id": 1}


@pytest.mark.parametrize("message", [{"flat": 1}, {"nested": {"list": [1]}}])
async def test_members_of_a_group_may_change_what_they_get(message: dict[str, Any]) -> None:
    layer = InMemoryChannelLayer()
    channels = [await layer.new_channel() for _ in range(4)]
    for channel in channels:
        await layer.group_add("room", channel)
    await layer.group_send("room", message)
    for channel in channels:
        got = await layer.receive(channel)
        assert got == message
        for inner in got.values():
            if isinstance(inner, dict):
                inner.clear()
        got.clear()


async def test_many_at_once_and_the_full_ones_are_named() -> None:
    layer = InMemoryChannelLayer(channel_capacity={"narrow": 1})
    await layer.send_many([("narrow", {"n": 1}), ("wide", {"n": 2})])
    with pytest.raises(ChannelFull, match="1 of 2 messages were not sent.*narrow"):
        await layer.send_many([("narrow", {"n": 3}), ("wide", {"n": 4})])
    assert [await layer.receive("wide") for _ in range(2)] == [{"n": 2}, {"n": 4}]


async def test_nothing_of_many_is_sent_if_one_is_wrong() -> None:
    layer = InMemoryChannelLayer()
    with pytest.raises(MessageTypeError):
        await layer.send_many([("a", {"n": 1}), ("a", {"n": object()})])
    assert layer.stats()["waiting"] == 0


async def test_a_message_of_a_group_with_history_knows_its_position() -> None:
    layer = InMemoryChannelLayer(history={"chat.*": (100, 300)})
    channel = await layer.new_channel()
    await layer.group_add("chat.lobby", channel)
    before = await layer.position("chat.lobby")
    await layer.group_send("chat.lobby", {"text": "one"})
    message = await layer.receive(channel)
    assert isinstance(message, Message)
    assert message.position == Position(before.epoch, 1)
    assert message.group == "chat.lobby"

    await layer.group_send("chat.lobby", {"text": "two"})
    missed = await layer.history("chat.lobby", since=message.position)
    assert missed.recovered
    assert [dict(m) for m in missed.messages] == [{"text": "two"}]
    assert missed.position == missed.messages[-1].position == Position(before.epoch, 2)


async def test_a_group_without_history_says_how_to_get_one() -> None:
    layer = InMemoryChannelLayer()
    for ask in (layer.history, layer.position):
        with pytest.raises(LayerError, match="history={"):
            await ask("room")


async def test_the_limit_of_a_history_is_checked() -> None:
    layer = InMemoryChannelLayer(history={"*": (10, 10)})
    with pytest.raises(ValueError, match="limit must be 1 or more"):
        await layer.history("room", limit=0)


@pytest.mark.parametrize("since", ["e1", ["e"], [1, "e"], {"epoch": "e"}, ("e", 1.5), ("e", True)])
async def test_a_position_from_outside_is_checked(since: object) -> None:
    layer = InMemoryChannelLayer(history={"*": (10, 10)})
    with pytest.raises(TypeError, match="since must be a position"):
        await layer.history("room", since=since)  # type: ignore[arg-type]  # from outside
    assert not (await layer.history("room", since=["e", 1])).recovered  # type: ignore[arg-type]  # from JSON


async def test_a_channel_of_another_layer_cannot_be_read_or_closed() -> None:
    layer, other = InMemoryChannelLayer(), InMemoryChannelLayer()
    channel = await other.new_channel()
    for verb in (layer.receive, layer.close_channel):
        with pytest.raises(ForeignChannelError) as caught:
            await verb(channel)
        assert isinstance(caught.value, AssertionError)
        assert isinstance(caught.value, ValueError)
    await layer.send(channel, {"n": 1})
    assert layer.stats()["dropped"]["gone"] == 1


async def test_too_large_is_refused_before_it_is_sent() -> None:
    layer = InMemoryChannelLayer(max_message_size=100)
    with pytest.raises(MessageTooLarge, match="the limit is 100"):
        await layer.send("a", {"text": "x" * 100})
    assert layer.MessageTooLarge is MessageTooLarge
    assert layer.ChannelFull is ChannelFull


async def test_closing_a_channel_ends_its_readers_and_memberships() -> None:
    layer = InMemoryChannelLayer()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    readers = [await waiting(layer, channel) for _ in range(2)]
    await layer.close_channel(channel)
    for reader in readers:
        with pytest.raises(LayerClosed, match="was closed while it was being read"):
            await reader
    assert await layer.group_channels("room") == []


async def test_closing_the_layer_ends_every_reader_and_every_later_call() -> None:
    layer = InMemoryChannelLayer()
    reader = await waiting(layer, "a")
    await layer.close()
    await layer.close()
    with pytest.raises(LayerClosed):
        await reader
    for call in (
        layer.send("a", {}),
        layer.receive("a"),
        layer.group_add("g", "a"),
        layer.group_send("g", {}),
        layer.new_channel(),
        layer.flush(),
        layer.ping(),
    ):
        with pytest.raises(LayerClosed):
            await call


async def test_draining_waits_for_the_readers_and_refuses_the_senders() -> None:
    layer = InMemoryChannelLayer()
    for number in range(3):
        await layer.send("a", {"n": number})
    draining = asyncio.create_task(layer.drain(timeout=1000))
    await asyncio.sleep(0)
    with pytest.raises(LayerClosed, match="draining"):
        await layer.send("a", {"n": 4})
    for number in range(3):
        assert not draining.done()
        assert await layer.receive("a") == {"n": number}
    assert await asyncio.wait_for(draining, 10) == 0


async def test_draining_gives_up_and_says_how_much_is_left() -> None:
    layer = InMemoryChannelLayer()
    await layer.send("a", {})
    assert await layer.drain(timeout=0.01) == 1


async def test_tests_that_look_into_channels_own_layer_may_look_into_this_one() -> None:
    layer = InMemoryChannelLayer()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.send("plain", {})
    assert layer.channels == {channel: 0, "plain": 1}
    assert layer.groups == {"room": [channel]}
    await layer.group_discard("room", channel)
    await layer.receive("plain")
    assert layer.channels == {channel: 0}
    assert layer.groups == {}


async def test_a_flush_keeps_the_readers() -> None:
    layer = InMemoryChannelLayer(history={"g": (10, 10)})
    await layer.send("kept", {})
    await layer.group_add("g", "kept")
    await layer.group_send("g", {})
    reader = await waiting(layer, "a")
    await layer.flush()
    assert layer.stats()["waiting"] == 0
    assert await layer.group_channels("g") == []
    assert (await layer.history("g")).messages == []
    await layer.send("a", {"after": "flush"})
    assert await reader == {"after": "flush"}


async def test_a_channel_whose_owner_is_gone_is_reclaimed_and_one_in_use_is_not() -> None:
    layer = InMemoryChannelLayer(expiry=10)
    now = layer._clock()
    kept = await layer.new_channel()
    copied = str.__str__(await layer.new_channel())
    await layer.group_add("room", kept)
    await layer.group_add("room", copied)
    gc.collect()
    layer._clock = lambda: now + 100
    layer.stats()
    assert await layer.group_channels("room") == [kept]
    assert layer.stats()["counters"]["reclaimed"] == 1


async def test_a_channel_that_is_being_read_is_never_reclaimed() -> None:
    layer = InMemoryChannelLayer(expiry=10)
    now = layer._clock()
    channel = str.__str__(await layer.new_channel())
    gc.collect()
    reader = await waiting(layer, channel)
    layer._clock = lambda: now + 100
    layer.stats()
    await layer.send(channel, {"still": "there"})
    assert await reader == {"still": "there"}


async def test_a_busy_reader_and_a_busy_sender_let_others_run() -> None:
    layer = InMemoryChannelLayer(capacity=1000)
    quiet = await waiting(layer, "quiet")
    await layer.send("quiet", {"n": 1})
    for _ in range(500):
        await layer.send("busy", {"n": 1})
    assert quiet.done(), "500 sends in a row, and the reader was never let run"
    quiet = await waiting(layer, "quiet")
    await layer.send("quiet", {"n": 1})
    for _ in range(500):
        await layer.receive("busy")
    assert quiet.done()


async def test_readers_in_other_threads_and_loops_are_woken() -> None:
    layer = InMemoryChannelLayer()
    got: list[dict[str, Any]] = []
    names = ["blocking", "loop"]
    threads = [
        threading.Thread(target=lambda: got.append(layer.sync.receive("blocking", timeout=30))),
        threading.Thread(target=lambda: got.append(asyncio.run(layer.receive("loop")))),
    ]
    for thread in threads:
        thread.start()
    for name in names:
        await layer.send(name, {"for": name})
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert sorted(message["for"] for message in got) == names


def test_a_reader_whose_loop_was_thrown_away_does_not_keep_the_message() -> None:
    layer = InMemoryChannelLayer()
    loop = asyncio.new_event_loop()
    reader = loop.create_task(layer.receive("a"))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()  # and nobody cancelled the reader
    got: list[dict[str, Any]] = []
    second = threading.Thread(target=lambda: got.append(layer.sync.receive("a", timeout=30)))
    second.start()
    layer.sync.send("a", {"n": 1})
    second.join()
    assert got == [{"n": 1}]
    reader._log_destroy_pending = False  # type: ignore[attr-defined]  # thrown away on purpose


def test_plain_code_uses_the_same_verbs() -> None:
    layer = InMemoryChannelLayer(history={"room": (10, 10)})
    sync = layer.sync
    channel = sync.new_channel()
    sync.group_add("room", channel)
    sync.group_send("room", {"n": 1})
    sync.send(channel, {"n": 2})
    sync.send_many([(channel, {"n": 3})])
    assert [sync.receive(channel)["n"] for _ in range(3)] == [1, 2, 3]
    assert sync.group_channels("room") == [channel]
    assert sync.history("room").position == sync.position("room")
    assert sync.ping() > 0
    assert sync.stats()["counters"]["sent"] == 3
    with pytest.raises(TimeoutError):
        sync.receive(channel, timeout=0.01)
    sync.group_discard("room", channel)
    sync.flush()
    sync.close_channel(channel)
    assert sync.drain() == 0
    sync.close()


def test_async_to_sync_works_as_with_any_layer() -> None:
    layer = InMemoryChannelLayer()
    channel = async_to_sync(layer.new_channel)()
    async_to_sync(layer.send)(channel, {"n": 1})
    assert async_to_sync(layer.receive)(channel) == {"n": 1}


async def test_blocking_verbs_are_refused_where_they_would_stop_the_loop() -> None:
    layer = InMemoryChannelLayer()
    with pytest.raises(SyncInLoopError, match=r"await layer\.send"):
        layer.sync.send("a", {})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_begins_afresh_even_if_the_lock_was_held() -> None:
    layer = InMemoryChannelLayer()
    channel = layer.sync.new_channel()
    layer.sync.send(channel, {"n": 1})
    read_end, write_end = os.pipe()
    with layer._lock:
        child = os.fork()
    if child == 0:  # pragma: no cover - the child reports through the pipe
        try:
            own = layer.sync.new_channel()
            layer.sync.send(own, {"from": "child"})
            fine = layer.sync.receive(own, timeout=10) == {"from": "child"}
            try:
                layer.sync.receive(channel, timeout=0)
            except ForeignChannelError:
                os.write(write_end, b"fine" if fine else b"lost")
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b"fine"
    os.waitpid(child, 0)
    assert layer.sync.receive(channel) == {"n": 1}


async def test_a_hundred_thousand_connections_leave_nothing_behind() -> None:
    layer = InMemoryChannelLayer()
    empty = layer.stats()

    async def connection() -> None:
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        reader = await waiting(layer, channel)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        await layer.close_channel(channel)

    for _ in range(1000):
        await asyncio.gather(*(connection() for _ in range(100)))
    after = layer.stats()
    for figure in ("channels", "groups", "members", "waiting"):
        assert after[figure] == empty[figure] == 0


async def test_drops_are_logged_by_reason(caplog: pytest.LogCaptureFixture) -> None:
    layer = InMemoryChannelLayer(capacity=1)
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    for _ in range(50):
        await layer.group_send("room", {})
    assert layer.stats()["dropped"]["capacity"] == 49
    assert len(caplog.records) == 1, "at a limited rate"
    assert "the channel was full" in caplog.text
