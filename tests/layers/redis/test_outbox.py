"""Commands over connections that break, and what each error of a real server means for them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import TypeVar, cast

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from channel_layers.exceptions import LayerUnavailable
from channel_layers.redis.keys import Keys
from channel_layers.redis.link import Link, Reply
from channel_layers.redis.outbox import Outbox
from channel_layers.redis.scripts import all_scripts, script
from channel_layers.testing.proxy import Proxy
from channel_layers.testing.servers import RedisServer
from tests.layers.redis.peers import PATIENCE, connected, peer, to_peer

T = TypeVar("T")


class Rig:
    """An outbox whose owner connects it again when its connection has ended."""

    def __init__(self, port: int, *, timeout: float = PATIENCE) -> None:
        self.port = port
        self.links = 0
        self.elsewhere: list[str] = []
        self.stuck = asyncio.Event()
        self.link: Link | None = None
        self.ended = asyncio.Event()
        self.outbox = Outbox(
            label="the server",
            guard="{x}:x",
            timeout=timeout,
            elsewhere=self.wrong,
            stuck=self.stuck.set,
        )
        self._owner: asyncio.Task[None] | None = None

    def wrong(self, error: str) -> None:
        self.elsewhere.append(error)
        self.lost(error)

    def lost(self, reason: str) -> None:
        if self.link is not None:
            self.outbox.detach(reason)
            self.link.close()
            self.link = None
        self.ended.set()

    async def attach(self, *, raw: bool = False) -> None:
        self.ended.clear()
        self.link = await (to_peer if raw else connected)(self.port, self.lost)
        self.links += 1
        self.outbox.attach(self.link)

    def keep_connected(self) -> None:
        self._owner = asyncio.create_task(self._keep_connected())

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self.attach()
            except Exception:  # noqa: BLE001 - the proxy cuts log-ins too
                continue
            await self.ended.wait()

    async def close(self) -> None:
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.gather(self._owner, return_exceptions=True)
        self.lost("the test is over")
        self.outbox.close()


class Channel:
    """A plain channel, through an outbox."""

    def __init__(self, outbox: Outbox, redis: Redis, prefix: str) -> None:
        self.keys = Keys(prefix)
        self._outbox = outbox
        self._redis = redis

    def push(self, number: int) -> asyncio.Future[Reply]:
        """One push that must not be done twice."""
        key = self.keys.plain("jobs")
        words = ("jobs", b"%d" % number, 100_000, 60_000, "A", 0, 60_000)
        return self._outbox.run(script("push"), key, self.keys.base, *words, numbered=6)

    def append(self, number: int) -> asyncio.Future[Reply]:
        """A plain command, which may be done twice."""
        return self._outbox.command("RPUSH", self.keys.plain("jobs"), f"0:{number}")

    async def numbers(self) -> list[int]:
        found = cast("Awaitable[list[str]]", self._redis.lrange(self.keys.plain("jobs"), 0, -1))
        return [int(element.partition(":")[2]) for element in await found]


@pytest.fixture
async def rig(server: RedisServer) -> AsyncIterator[Rig]:
    rig = Rig(server.port)
    yield rig
    await rig.close()


@pytest.fixture
def jobs(rig: Rig, admin: Redis, prefix: str) -> Channel:
    return Channel(rig.outbox, admin, prefix)


async def soon(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def until(condition: Callable[[], bool]) -> None:
    """Go on when a condition holds of which nobody tells."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def all_of(futures: list[asyncio.Future[Reply]]) -> list[Reply]:
    return await soon(asyncio.gather(*futures))


async def test_what_is_given_before_there_is_a_connection_goes_first(
    rig: Rig, jobs: Channel
) -> None:
    futures = [jobs.push(number) for number in range(3)]
    await rig.attach()
    futures += [jobs.push(number) for number in range(3, 6)]
    assert await all_of(futures) == [[1, 0]] * 6
    assert await jobs.numbers() == list(range(6))
    assert (rig.outbox.number, rig.outbox.retried) == (12, 6), "the script was unknown"


@pytest.mark.parametrize("seed", range(4))
async def test_numbered_commands_run_once_and_in_order_over_broken_connections(
    seed: int, server: RedisServer, proxy: Proxy, admin: Redis, prefix: str
) -> None:
    rig = Rig(proxy.port)
    jobs = Channel(rig.outbox, admin, prefix)
    key = jobs.keys.plain("jobs")
    for known in all_scripts():
        await admin.script_load(known.source.decode())
    rig.keep_connected()
    random = Random(seed)
    futures: list[asyncio.Future[Reply]] = []
    with BlockingRedis.from_url(server.address) as client:
        for _ in range(12):
            batch = range(len(futures), len(futures) + random.randint(1, 150))
            await soon(rig.outbox.command("PING"))  # connected again
            futures += map(jobs.push, batch)
            if random.random() < 0.5:
                await soon(asyncio.wait([futures[random.choice(batch)]]))
                await asyncio.to_thread(proxy.cut)
            else:
                await asyncio.sleep(0)  # they are written, and the loop reads no answers
                await asyncio.sleep(0)
                cut_when_carried_out(client, key, random.choice(batch) + 1, proxy)
    assert await all_of(futures) == [[1, 0]] * len(futures)
    assert await jobs.numbers() == list(range(len(futures)))
    assert rig.links > 10
    assert rig.outbox.retried > 10
    await rig.close()


def cut_when_carried_out(client: BlockingRedis, key: str, count: int, proxy: Proxy) -> None:
    """Cut when the server has done so many commands, while the event loop stands still."""

    def wait_and_cut() -> None:
        ends = time.monotonic() + PATIENCE
        while client.llen(key) < count and time.monotonic() < ends:
            pass
        proxy.cut()

    thread = threading.Thread(target=wait_and_cut)
    thread.start()
    thread.join()


async def test_scripts_that_the_server_has_forgotten_are_sent_in_full(
    rig: Rig, jobs: Channel, admin: Redis
) -> None:
    await rig.attach()
    await soon(jobs.push(0))
    for _ in range(2):
        await admin.script_flush()
        count = len(await jobs.numbers())
        await all_of([jobs.push(count + number) for number in range(20)])
    assert await jobs.numbers() == list(range(41))
    await admin.config_resetstat()
    await soon(jobs.push(41))
    assert "cmdstat_eval" not in await admin.info("commandstats"), "by its name from then on"


async def test_a_server_without_memory_is_tried_again_until_it_has_some(
    rig: Rig, jobs: Channel, admin: Redis
) -> None:
    await rig.attach()
    await soon(jobs.push(0))
    await admin.config_set("maxmemory", 1)
    script_future, plain_future = jobs.push(1), jobs.append(2)
    await until(lambda: rig.outbox.trouble.startswith("OOM "))
    assert not script_future.done()
    await admin.config_set("maxmemory", 0)
    await all_of([script_future, plain_future])
    assert sorted(await jobs.numbers()) == [0, 1, 2]
    assert rig.elsewhere == []


async def test_errors_that_pass_are_waited_for_until_the_deadline(
    server: RedisServer, admin: Redis, prefix: str
) -> None:
    rig = Rig(server.port, timeout=0.3)
    jobs = Channel(rig.outbox, admin, prefix)
    await rig.attach()
    await admin.config_set("maxmemory", 1)
    with pytest.raises(LayerUnavailable, match=r"the server is not available: OOM command") as told:
        await soon(jobs.push(0))
    assert str(told.value).count("script") == 0, "no noise of the server's"
    assert not rig.stuck.is_set(), "it did answer"
    assert await jobs.numbers() == []
    await rig.close()


async def test_a_busy_server_is_waited_for(rig: Rig, jobs: Channel, admin: Redis) -> None:
    await rig.attach()
    await admin.config_set("lua-time-limit", 1)
    future: asyncio.Future[Reply]
    endless = asyncio.create_task(soon(admin.eval("while true do end", 0)))
    while not rig.outbox.trouble.startswith("BUSY "):
        future = jobs.push(0)
        await asyncio.sleep(0.01)
    async with Redis.from_url(f"redis://127.0.0.1:{rig.port}") as other:
        await other.script_kill()
    await asyncio.gather(endless, return_exceptions=True)
    await soon(jobs.append(1))
    await soon(future)
    assert 0 in await jobs.numbers()


async def test_a_replica_is_the_wrong_server_and_gets_nothing(
    rig: Rig, jobs: Channel, admin: Redis
) -> None:
    await rig.attach()
    await soon(jobs.push(0))
    await admin.replicaof("127.0.0.1", 1)
    futures = [jobs.push(number) for number in range(1, 4)]
    await soon(rig.ended.wait())
    assert [error.partition(" ")[0] for error in rig.elsewhere] == ["READONLY"]
    futures.append(jobs.push(4))
    await admin.replicaof("no", "one")
    await rig.attach()
    await all_of(futures)
    assert await jobs.numbers() == list(range(5))


async def test_an_error_that_will_not_pass_is_its_callers_alone(
    rig: Rig, jobs: Channel, admin: Redis
) -> None:
    await rig.attach()
    await admin.set(jobs.keys.plain("jobs"), "no list")
    future, well = jobs.push(0), rig.outbox.command("ECHO", "x")
    with pytest.raises(LayerUnavailable, match=r"the server is not available: WRONGTYPE"):
        await soon(future)
    assert await soon(well) == b"x"
    assert rig.elsewhere == []


@asynccontextmanager
async def answering(*replies: str) -> AsyncIterator[int]:
    """A server with these answers."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            await reader.readuntil(b"GET\r\n$1\r\n")
            writer.write(reply.encode())
        await reader.read()

    async with peer(talk) as port:
        yield port


@pytest.mark.parametrize(
    "error",
    [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script",
        "OOM command not allowed",
        "MISCONF Redis is configured to save RDB snapshots",
        "NOREPLICAS Not enough good replicas to write.",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down",
        "ASK 1 127.0.0.1:2",
        "EXECABORT Transaction discarded",
        "ERR Script attempted to access a non local key",
        "ERR Error running script (call to f_0a): @user_script:11: @user_script: 11: -OOM command",
        "ERR Error running script (call to f_0a): @user_script:11: MISCONF Redis",
    ],
)
async def test_every_error_that_passes_is_tried_again(error: str) -> None:
    async with answering(f"-{error}\r\n", "+well\r\n") as port:
        rig = Rig(port)
        await rig.attach(raw=True)
        assert await soon(rig.outbox.command("GET", "x")) == b"well"
        assert (rig.outbox.retried, rig.outbox.number) == (1, 2), "with a new number"
        await rig.close()


@pytest.mark.parametrize("error", ["MOVED", "READONLY", "MASTERDOWN", "UNBLOCKED"])
async def test_every_error_of_a_wrong_server_is_told_to_the_owner(error: str) -> None:
    async with answering(f"-{error} 1 127.0.0.1:2\r\n", "-never read\r\n") as port:
        rig = Rig(port)
        await rig.attach(raw=True)
        first, second = rig.outbox.command("GET", "x"), rig.outbox.command("GET", "y")
        await soon(rig.ended.wait())
        assert rig.elsewhere == [f"{error} 1 127.0.0.1:2"]
        assert not first.done()
        assert not second.done()
        rig.outbox.detach("it moved")
        rig.outbox.fail("it moved")
        for future in (first, second):
            with pytest.raises(LayerUnavailable, match="it moved"):
                await future
        await rig.close()


async def test_waiting_for_a_connection_ends_in_time_and_says_why(server: RedisServer) -> None:
    rig = Rig(server.port, timeout=0.05)
    with pytest.raises(LayerUnavailable, match="no connection yet"):
        await soon(rig.outbox.command("PING"))
    rig.outbox.detach("connection refused")
    with pytest.raises(LayerUnavailable, match="connection refused"):
        await soon(rig.outbox.command("PING"))
    assert not rig.stuck.is_set()
    assert not rig.outbox._requests
    assert rig.outbox._watch is None, "nothing is left to look after"
    await rig.attach()
    assert await soon(rig.outbox.command("PING")) == b"PONG"
    await rig.close()


async def test_a_server_that_is_silent_is_told_of(proxy: Proxy) -> None:
    rig = Rig(proxy.port, timeout=0.1)
    await rig.attach()
    assert await soon(rig.outbox.command("PING")) == b"PONG"
    await asyncio.to_thread(proxy.black_hole)
    patient = rig.outbox.command("ECHO", "later", seconds=60)
    with pytest.raises(LayerUnavailable, match="it does not answer"):
        await soon(rig.outbox.command("PING"))
    assert rig.stuck.is_set()
    assert not patient.done()
    await asyncio.to_thread(proxy.heal)
    assert await soon(patient) == b"later", "each answer still finds its command"
    await rig.close()


async def test_commands_of_callers_that_have_gone_confuse_nobody(rig: Rig, jobs: Channel) -> None:
    unsent, sent = jobs.append(0), jobs.append(1)
    unsent.cancel()
    await rig.attach()
    written = jobs.append(2)
    written.cancel()
    assert await soon(jobs.append(3)) == 3
    assert await soon(sent) == 1
    assert await jobs.numbers() == [1, 2, 3]
    rig.lost("on purpose")
    await rig.attach()
    assert await soon(jobs.append(4)) == 4


async def test_what_may_have_been_done_is_not_given_to_a_server_that_forgot(
    rig: Rig, jobs: Channel
) -> None:
    def once(number: int) -> asyncio.Future[Reply]:
        key = jobs.keys.plain("jobs")
        words = ("jobs", b"%d" % number, 100, 60_000, "A", 0, 60_000)
        return rig.outbox.run(script("push"), key, jobs.keys.base, *words, numbered=6, once=True)

    await rig.attach()
    done = once(0)
    await soon(done)
    written, harmless = once(1), jobs.append(2)
    rig.lost("on purpose")
    later = once(3)
    rig.outbox.forgotten("the server has lost what it held")
    with pytest.raises(LayerUnavailable, match="not known whether this was done"):
        await written
    await rig.attach()
    await all_of([harmless, later])
    assert [n for n in await jobs.numbers() if n != 1][-2:] == [2, 3]


async def test_closing_ends_everything_also_what_is_given_later(rig: Rig, admin: Redis) -> None:
    await rig.attach()
    await admin.config_set("maxmemory", 1)
    postponed = rig.outbox.command("SET", "x", "y")
    await until(lambda: bool(rig.outbox._postponed))
    rig.lost("on purpose")
    waiting = rig.outbox.command("PING")
    rig.outbox.close()
    for future in (postponed, waiting, rig.outbox.command("PING")):
        with pytest.raises(LayerUnavailable, match="the layer was closed"):
            await soon(future)
    assert rig.outbox._watch is None or rig.outbox._watch.cancelled()
