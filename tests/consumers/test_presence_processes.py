"""Presence across real processes, over our Redis layer and over others: joins, leaves, crashes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from channel_layers.testing.servers import RedisServer

BEAT = 0.3
OURS = "channel_layers.redis.RedisStreamsChannelLayer"
CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"

People = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A server for the tests of this module."""
    with RedisServer() as server:
        yield server.address


class Person:
    """The consumer in another process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def do(self, command: str, **what: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": command, **what}).encode() + b"\n")
        await self.process.stdin.drain()

    async def sees(self, *keys: str, **places: list[str]) -> None:
        """Wait until these are exactly the people whom this process sees.

        Args:
            keys: people.
            places: key -> where that person's connections are from, sorted.
        """
        assert self.process.stdout is not None
        seen: People = {}
        try:
            async with asyncio.timeout(20):
                while line := await self.process.stdout.readline():
                    seen = json.loads(line)["people"] or {}
                    found = {
                        key: sorted(meta["from"] for meta in seen.get(key, ())) for key in places
                    }
                    if set(seen) == {*keys, *places} and found == places:
                        return
        except TimeoutError:
            pytest.fail(f"waited for {keys} {places}, last seen {seen}")
        pytest.fail(f"waited for {keys} {places}, but the process ended; last seen {seen}")


@asynccontextmanager
async def person(url: str, layer: str) -> AsyncIterator[Person]:
    """Start a process; it is killed in the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("presence_process.py")),
        url,
        layer,
        str(BEAT),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield Person(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("layer", [OURS, CORE, PUBSUB], ids=["ours", "core", "pubsub"])
async def test_people_of_several_processes_see_each_other(redis_url: str, layer: str) -> None:
    async with AsyncExitStack() as stack:
        ann, bob, tab = [
            await stack.enter_async_context(person(redis_url, layer)) for _ in range(3)
        ]
        await ann.do("join", key="ann", meta={"from": "berlin"})
        await ann.sees("ann")
        await bob.do("join", key="bob")
        await bob.sees("bob", ann=["berlin"])
        await ann.sees("ann", "bob")
        # A second tab of the same person, in another process.
        await tab.do("join", key="ann", meta={"from": "paris"})
        await tab.sees("bob", ann=["berlin", "paris"])
        await tab.do("stop")
        await bob.do("leave")
        await ann.sees("ann")
        assert await tab.process.wait() == 0


@pytest.mark.parametrize("layer", [OURS, CORE, PUBSUB], ids=["ours", "core", "pubsub"])
async def test_people_of_a_killed_process_leave(redis_url: str, layer: str) -> None:
    async with AsyncExitStack() as stack:
        ann, bob = [await stack.enter_async_context(person(redis_url, layer)) for _ in range(2)]
        await ann.do("join", key="ann")
        await bob.do("join", key="bob")
        await ann.sees("ann", "bob")
        bob.process.send_signal(signal.SIGKILL)
        await ann.sees("ann")


async def test_people_of_a_stopped_process_come_back_with_it(redis_url: str) -> None:
    async with AsyncExitStack() as stack:
        ann, bob = [await stack.enter_async_context(person(redis_url, CORE)) for _ in range(2)]
        await ann.do("watch")
        await bob.do("join", key="bob")
        await ann.sees("bob")
        bob.process.send_signal(signal.SIGSTOP)
        await ann.sees()
        bob.process.send_signal(signal.SIGCONT)
        await ann.sees("bob")
