"""Reading an inbox of a real server: everything, once, in order, with its age, and no leftovers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from typing import cast

import pytest
from redis.asyncio import Redis

from channel_layers.redis import inbox as module
from channel_layers.redis.inbox import COUNT, Entry, Inbox
from channel_layers.redis.link import Link
from channel_layers.testing.proxy import Proxy
from channel_layers.testing.servers import RedisServer
from tests.layers.redis.peers import PATIENCE, connected

KEY = "inbox"
WRITE = """
for number = ARGV[1], ARGV[1] + ARGV[2] - 1 do
  redis.call('XADD', KEYS[1], '*', ARGV[3], string.format('%d', number))
end
"""


class Reader:
    """An inbox, and what came."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.ages: list[float] = []
        self.errors: list[str] = []
        self.ended = asyncio.Event()
        self.link: Link | None = None
        self.woken = 0
        self.wakes = 0
        self.inbox = Inbox(KEY, arrived=self.arrived, woken=lambda: self.woken, failed=self.failed)
        self._changed = asyncio.Event()

    def arrived(self, fields: Entry, age: float) -> None:
        self.woken += self.wakes
        self.entries.append(fields)
        self.ages.append(age)
        self._changed.set()
        if fields[0] == b"bad":
            raise ValueError("on purpose")

    def failed(self, error: str) -> None:
        self.errors.append(error)
        self._changed.set()

    def lost(self, reason: str) -> None:
        self.inbox.detach()
        self.ended.set()

    async def attach(self, port: int, last: bytes = b"0-0") -> None:
        self.ended.clear()
        self.link = await connected(port, self.lost)
        self.inbox.attach(self.link, last)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.entries) < count and not self.errors:
                self._changed.clear()
                await self._changed.wait()

    def numbers(self) -> list[int]:
        return [int(fields[1]) for fields in self.entries]


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    reader = Reader()
    yield reader
    if reader.link is not None:
        reader.link.close()


async def write(admin: Redis, first: int, count: int, field: str = "d") -> None:
    await cast("Awaitable[None]", admin.eval(WRITE, 1, KEY, first, count, field))


async def test_entries_come_once_and_in_order_before_and_after_attaching(
    server: RedisServer, admin: Redis, reader: Reader
) -> None:
    await write(admin, 0, 700)
    await reader.attach(server.port)
    await reader.until(700)
    await write(admin, 700, 300)
    await reader.until(1000)
    assert reader.numbers() == list(range(1000))
    assert reader.entries[0] == [b"d", b"0"]


async def test_who_wakes_many_readers_reads_seldom_and_loses_nothing(
    server: RedisServer, admin: Redis, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.02)  # longer than writing one entry takes
    reader.wakes = module.BUSY_READERS
    await reader.attach(server.port)
    before = await reads(admin)
    for number in range(100):
        await write(admin, number, 1)
    await reader.until(100)
    assert reader.numbers() == list(range(100))
    assert await reads(admin) - before < 50, "what came meanwhile was to be read in one go"


async def reads(admin: Redis) -> int:
    found = await admin.info("commandstats")
    return int(found.get("cmdstat_xread", {"calls": 0})["calls"])


async def test_all_up_to_an_entry_has_been_handed_on_before_it_is_said(
    server: RedisServer, admin: Redis, reader: Reader
) -> None:
    await write(admin, 0, 5)
    (last,) = [entry for entry, fields in await entries(admin) if fields["d"] == "3"]
    seen: list[int] = []
    await reader.attach(server.port)
    reader.inbox.when_read(last.encode(), lambda: seen.append(len(reader.entries)))
    assert seen == []
    await reader.until(5)
    assert seen
    assert seen[0] >= 4
    reader.inbox.when_read(last.encode(), lambda: seen.append(-1))
    assert seen[1:] == [-1], "it was read long ago"


async def test_reading_begins_behind_the_entry_that_is_named(
    server: RedisServer, admin: Redis, reader: Reader
) -> None:
    await write(admin, 0, 3)
    (last,) = [entry for entry, fields in await entries(admin) if fields["d"] == "1"]
    await reader.attach(server.port, last.encode())
    await reader.until(1)
    assert reader.numbers() == [2]


async def entries(admin: Redis) -> list[tuple[str, dict[str, str]]]:
    return cast("list[tuple[str, dict[str, str]]]", await admin.xrange(KEY))


async def test_reading_goes_on_over_broken_connections(
    proxy: Proxy, admin: Redis, reader: Reader
) -> None:
    await write(admin, 0, 10)
    await reader.attach(proxy.port)
    await reader.until(1)
    for first in range(10, 1000, 90):
        writing = asyncio.create_task(write(admin, first, 90))
        await asyncio.to_thread(proxy.cut)
        await reader.ended.wait()
        await writing
        assert reader.inbox.last is not None
        await reader.attach(proxy.port, reader.inbox.last)
    await reader.until(1000)
    assert reader.numbers() == list(range(1000))


async def test_what_has_been_read_is_removed(
    server: RedisServer, admin: Redis, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_MS", 20)
    await write(admin, 0, 2100)
    await reader.attach(server.port)
    await reader.until(2100)
    async with asyncio.timeout(PATIENCE):
        while (left := await admin.xlen(KEY)) > 1:  # the one read last stays
            assert left <= 2100
    await write(admin, 2100, 1)
    await reader.until(2101)
    assert reader.numbers() == list(range(2101))


async def test_much_is_removed_before_more_is_read(
    server: RedisServer, admin: Redis, reader: Reader
) -> None:
    """While a reader is busy, and not only when it has nothing to do for seconds."""
    await write(admin, 0, 4 * COUNT)
    await reader.attach(server.port)
    await reader.until(4 * COUNT)
    await shrinks(admin, COUNT)
    for number in range(3):
        await admin.xadd(KEY, {"d": "x" * module.TRIM_BYTES})
        await reader.until(4 * COUNT + number + 1)
    await shrinks(admin, 1)


async def shrinks(admin: Redis, most: int) -> None:
    """Wait until no more entries are left than that, for less long than a read blocks."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + module.BLOCK_MS / 2000
    while await admin.xlen(KEY) > most:
        assert loop.time() < ends


async def test_large_entries_are_read_a_few_at_a_time(
    server: RedisServer, admin: Redis, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_BYTES", 200_000)
    for _ in range(40):
        await admin.xadd(KEY, {"d": "x" * 50_000})
    await reader.attach(server.port)
    await reader.until(40)
    assert reader.inbox._count == 3
    await admin.xadd(KEY, {"d": "1"})
    await reader.until(41)
    assert reader.inbox._count == COUNT


async def test_an_age_is_told_by_the_clock_of_the_server(
    server: RedisServer, admin: Redis, reader: Reader
) -> None:
    seconds, microseconds = await admin.time()
    now = seconds * 1000 + microseconds // 1000
    await admin.xadd(KEY, {"d": "1"}, id=f"{now - 5000}-0")
    await admin.xadd(KEY, {"d": "2"}, id=f"{now + 60_000}-0")
    await reader.attach(server.port)
    await reader.until(2)
    assert 5.0 <= reader.ages[0] < 6.0
    assert reader.ages[1] == 0, "a clock that went back makes nothing younger than new"


async def test_an_entry_that_cannot_be_handled_takes_no_other_with_it(
    server: RedisServer, admin: Redis, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    await write(admin, 0, 2)
    await write(admin, 2, 1, field="bad")
    await write(admin, 3, 2)
    await reader.attach(server.port)
    await reader.until(5)
    await write(admin, 5, 1)
    await reader.until(6)
    assert reader.numbers() == list(range(6))
    assert [r.levelno for r in caplog.records if r.name == "channel_layers"] == [logging.ERROR]


async def test_an_error_of_the_server_ends_reading_and_is_told(
    server: RedisServer, admin: Redis, reader: Reader
) -> None:
    await admin.set(KEY, "no stream")
    await reader.attach(server.port)
    await reader.until(1)
    assert [error.partition(" ")[0] for error in reader.errors] == ["WRONGTYPE"]
    assert reader.inbox._link is None


async def test_silence_is_noticed_unless_there_is_no_connection(
    proxy: Proxy, admin: Redis, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [reader.inbox.overdue]
    await reader.attach(proxy.port)
    found.append(reader.inbox.overdue)
    monkeypatch.setattr(module, "BLOCK_MS", -2000)
    await asyncio.sleep(0.01)
    found.append(reader.inbox.overdue)
    reader.inbox.detach()
    found.append(reader.inbox.overdue)
    assert found == [False, False, True, False]


async def test_an_answer_counts_as_a_sign_of_life(
    server: RedisServer, admin: Redis, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_MS", 10)
    await reader.attach(server.port)
    attached = reader.inbox.answered_at
    async with asyncio.timeout(PATIENCE):
        while reader.inbox.answered_at < attached + 0.05:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert not reader.inbox.overdue
