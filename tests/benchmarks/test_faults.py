"""The scenario whose connections break: how it breaks them, and what it says of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from io import StringIO
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks.bench import Bench
from benchmarks.cases import Case, Layer, Receiving
from benchmarks.cutting import CutConnections
from benchmarks.layers import ROWS
from benchmarks.runner import run_case
from benchmarks.scenarios import SCENARIOS, faults
from benchmarks.scenarios.faults import Ear, Enduring, Sender
from channel_layers.memory import InMemoryChannelLayer
from channel_layers.testing.servers import RedisServer

FAULTS = SCENARIOS["faults"]


@pytest.fixture(scope="module")
def redis_address() -> Iterator[str]:
    with RedisServer() as server:
        yield server.address


# The whole scenario, on a real server


def test_our_layer_over_redis_loses_and_refuses_nothing() -> None:
    result = run_case(FAULTS, ROWS["redis"], "asyncio", quick=True)
    counts = {name: result.figures[name] for name in ("lost", "twice", "disordered", "refused")}
    assert counts == dict.fromkeys(counts, 0)
    assert result.figures["rate"] > 0
    assert result.figures["silence"] > 0
    assert not result.notes


@pytest.mark.parametrize("name", ["channels-redis-core", "channels-redis-pubsub"])
def test_a_peer_that_fails_is_measured_to_the_end(name: str) -> None:
    result = run_case(FAULTS, ROWS[name], "asyncio", quick=True)
    assert result.figures.keys() == {figure.name for figure in FAULTS.figures}
    assert result.figures["lost"] == result.losses.lost
    assert result.figures["twice"] == result.losses.doubled
    assert result.figures["disordered"] == result.losses.disordered
    assert result.figures["rate"] > 0
    # Either its readers die of it, or what was sent meanwhile is gone.
    assert result.losses.lost or any("raised" in note for note in result.notes)


def test_a_layer_without_a_server_has_nothing_to_cut() -> None:
    assert FAULTS.not_applicable(ROWS["memory"])
    assert FAULTS.not_applicable(ROWS["redis"]) is None


async def test_a_layer_that_goes_around_the_proxy_is_no_result(redis_address: str) -> None:
    class Astray(Bench):
        def open_anew(self) -> Layer:
            layer = InMemoryChannelLayer()
            self._layers.append(layer)
            return layer

    case = Case("faults", "memory", redis_address, "asyncio", quick=True)
    bench = Astray(case, ROWS["memory"], StringIO())
    try:
        with pytest.raises(RuntimeError, match="No connection was cut"):
            await FAULTS.run(bench)
    finally:
        await bench.close()


# Cutting


def connect(address: str) -> socket.socket:
    url = urlsplit(address)
    return socket.create_connection((url.hostname, url.port or 0), timeout=5)


def ping(connection: socket.socket) -> bytes:
    connection.sendall(b"PING\r\n")
    return connection.recv(100)


def test_connections_break_while_it_cuts_and_hold_before_and_after(redis_address: str) -> None:
    with CutConnections(redis_address, 0.02) as cutting:
        with connect(cutting.address) as first:
            assert ping(first) == b"+PONG\r\n"
            assert not cutting.cuts
            cutting.start()
            # Nobody asks anything: what ends the wait is the cut.
            with pytest.raises(ConnectionResetError):
                first.recv(100)
        with connect(cutting.address) as second, pytest.raises(ConnectionResetError):
            second.recv(100)
        cutting.stop()
        cuts = cutting.cuts
        assert cuts >= 2
        with connect(cutting.address) as last:
            assert ping(last) == b"+PONG\r\n"
            last.settimeout(0.1)
            with suppress(TimeoutError):
                assert last.recv(100) != b"", "cut after the end"
        assert (cutting.cuts, cutting.accepted) == (cuts, 3)


def test_the_address_keeps_all_but_the_place() -> None:
    with CutConnections("redis://me:p%40ss@localhost/3?x=1", 1) as cutting:
        url = urlsplit(cutting.address)
    assert (url.scheme, url.username, url.password) == ("redis", "me", "p%40ss")
    assert (url.hostname, url.path, url.query) == ("127.0.0.1", "/3", "x=1")


@pytest.mark.parametrize("address", ["unix://:secret@/run/redis.sock", "other://:secret@host", ""])
def test_an_address_that_cannot_be_cut_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(ValueError, match="host and port") as caught:
        CutConnections(address, 1)
    assert "secret" not in str(caught.value)


# Sending and reading through it


class Refusing(InMemoryChannelLayer):
    """Refuses each third send, after it has been sent."""

    calls = 0

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await super().send(channel, message)
        self._refuse()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await super().group_send(group, message)
        self._refuse()

    def _refuse(self) -> None:
        self.calls += 1
        if self.calls % 3 == 0:
            raise ConnectionError("secret")


async def test_both_ways_are_used_by_turns_and_refusals_counted() -> None:
    layer = Refusing()
    channel = await layer.new_channel()
    await layer.group_add(faults.GROUP, channel)
    sender = Sender(layer, channel)
    taken = [await sender.send() for _ in range(6)]
    assert taken == [True, True, False] * 2
    assert sender.refused == {2, 5}
    assert sender.reasons == {"ConnectionError"}
    assert [(await layer.receive(channel))["number"] for _ in range(6)] == list(range(6))
    counters = layer.stats()["counters"]
    assert (counters["sent"], counters["group_sent"]) == (3, 3)
    # Two in a row: 6 and 7 are taken.
    assert await sender.send_last() == 7
    await layer.close()


async def test_the_rate_is_that_of_what_was_taken() -> None:
    layer = Refusing()
    sender = Sender(layer, await layer.new_channel())
    rate = await sender.pace(0.06)
    assert 0 < len(sender.refused) == sender.sent // 3
    assert 0 < rate < faults.RATE * 0.8
    await layer.close()


async def test_a_send_that_hangs_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(InMemoryChannelLayer):
        async def group_send(self, group: str, message: dict[str, Any]) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(faults, "CALL_SECONDS", 0.01)
    monkeypatch.setattr(faults, "LAST_SECONDS", 0.05)
    layer = Hanging()
    sender = Sender(layer, await layer.new_channel())
    async with asyncio.timeout(5):
        assert not await sender.send()
        assert sender.reasons == {"TimeoutError"}
        assert await sender.send_last() is None
    await layer.close()


async def test_a_reader_whose_receive_raises_begins_again() -> None:
    class Breaking:
        calls = 0

        async def receive(self, channel: str) -> dict[str, Any]:
            self.calls += 1
            if self.calls < 3:
                raise ConnectionError("secret")
            return {"channel": channel}

    breaking: Receiving = Breaking()
    enduring = Enduring(breaking)
    assert await enduring.receive("here") == {"channel": "here"}
    assert enduring.reasons == {"ConnectionError"}


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(faults, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_the_longest_silence_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    ear = Ear()
    ear.hear({})  # before it counts
    clock.now += 50
    ear.listen()
    for pause in (1, 3, 2):
        clock.now += pause
        ear.hear({})
    assert ear.longest == 3
    clock.now += 9
    ear.stop()
    ear.hear({})
    assert (ear.longest, ear.heard) == (3, 5)


def test_a_silence_to_the_end_counts_up_to_the_end_of_sending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    ear = Ear()
    ear.listen()
    clock.now += 30
    ear.stop(silent_at=107.0)
    assert ear.longest == 7


async def test_listening_ends_when_it_is_enough_or_nothing_comes() -> None:
    ear = Ear()
    waiting = asyncio.create_task(ear.until(lambda: ear.heard == 2, 1))
    for _ in range(2):
        await asyncio.sleep(0)
        ear.hear({})
    assert await waiting
    assert not await ear.until(lambda: False, 0.02)


# What a case holds


async def test_what_is_held_is_left_after_the_layers() -> None:
    order: list[str] = []

    class Closing(InMemoryChannelLayer):
        async def close(self) -> None:
            order.append("layer")
            await super().close()

    class OfClosing(Bench):
        def open_anew(self) -> Layer:
            self._layers.append(layer := Closing())
            return layer

    surroundings = ExitStack()
    surroundings.callback(order.append, "surroundings")
    held: AbstractContextManager[ExitStack] = surroundings
    bench = OfClosing(Case("", "memory", "", "asyncio", quick=True), ROWS["memory"], StringIO())
    assert await bench.hold(held) is surroundings
    bench.open()
    await bench.close()
    assert order == ["layer", "surroundings"]
