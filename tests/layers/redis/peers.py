"""Connections for tests of what runs over one: to a real server, or to a peer that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from redis.asyncio.connection import Connection

from channel_layers.redis.endpoint import Endpoint
from channel_layers.redis.link import Link, Reply, Word, pack

__all__ = ["Call", "Lost", "answers", "connected", "peer", "to_peer"]

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PATIENCE = 10.0


class Lost:
    """Why a link has ended."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self._event = asyncio.Event()

    def __call__(self, reason: str) -> None:
        self.reasons.append(reason)
        self._event.set()

    async def reason(self) -> str:
        """Wait for it."""
        async with asyncio.timeout(PATIENCE):
            await self._event.wait()
        return self.reasons[0]


async def connected(port: int, lost: Callable[[str], None]) -> Link:
    """A link to whoever listens on a port of this machine."""
    endpoint = Endpoint(Connection, {"host": "127.0.0.1", "port": port})
    return Link(await endpoint.connect(timeout=PATIENCE), lost)


async def to_peer(port: int, lost: Callable[[str], None]) -> Link:
    """A link that does not log in."""

    async def say_nothing(_: object) -> None:
        pass

    connection = Connection(host="127.0.0.1", port=port, redis_connect_func=say_nothing)
    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
    return Link(connection, lost)


class Call:
    """One command, and what has come of it."""

    def __init__(self, link: Link, *words: Word) -> None:
        self.replies: list[Reply] = []
        self.done = asyncio.Event()
        link.execute(pack(words), self.answered)

    def answered(self, reply: Reply) -> None:
        self.replies.append(reply)
        self.done.set()

    async def reply(self) -> Reply:
        """Wait for its reply."""
        async with asyncio.timeout(PATIENCE):
            await self.done.wait()
        return self.replies[0]


async def answers(link: Link, *commands: tuple[Word, ...]) -> list[Reply]:
    """The replies to commands that are given in one turn of the loop."""
    calls = [Call(link, *words) for words in commands]
    return [await call.reply() for call in calls]


@asynccontextmanager
async def peer(talk: Peer) -> AsyncIterator[int]:
    """The port of a server that does as ``talk`` says."""
    over: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        over.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the test has ended
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in over:
            task.cancel()
        await asyncio.gather(*over, return_exceptions=True)
