"""The TCP proxy: carries, cuts, refuses, delays, swallows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from channels_redis.core import RedisChannelLayer
from redis.exceptions import ConnectionError as RedisConnectionError

from channel_layers.testing.proxy import Proxy
from channel_layers.testing.servers import RedisServer

SECONDS = 5


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[Proxy]:
    proxy = await asyncio.to_thread(Proxy("127.0.0.1", port).start)
    yield proxy
    await asyncio.to_thread(proxy.close)


@asynccontextmanager
async def echo_proxy() -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, opened(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, proxy: Proxy) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", proxy.port))

    async def ask(self, data: bytes) -> bytes:
        self.writer.write(data)
        async with asyncio.timeout(SECONDS):
            return await self.reader.readexactly(len(data))

    async def is_broken(self) -> bool:
        try:
            async with asyncio.timeout(SECONDS):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


async def test_carries_bytes_both_ways_and_the_end_of_them() -> None:
    async with echo_proxy() as proxy:
        client = await Client.connect(proxy)
        payload = bytes(range(256)) * 4000
        assert await client.ask(payload) == payload
        client.writer.write_eof()
        assert await client.is_broken()
        await client.close()


async def test_a_cut_breaks_every_connection_and_lets_new_ones_in() -> None:
    async with echo_proxy() as proxy:
        clients = [await Client.connect(proxy) for _ in range(3)]
        for client in clients:
            assert await client.ask(b"hello") == b"hello"
        await asyncio.to_thread(proxy.cut)
        for client in clients:
            assert await client.is_broken()
            await client.close()
        client = await Client.connect(proxy)
        assert await client.ask(b"again") == b"again"
        await client.close()
        assert proxy.accepted == 4


async def test_parted_it_refuses_until_healed() -> None:
    async with echo_proxy() as proxy:
        await asyncio.to_thread(proxy.part)
        for _ in range(2):
            try:
                client = await Client.connect(proxy)
            except ConnectionError:
                continue  # the reset was faster
            assert await client.is_broken()
            await client.close()
        await asyncio.to_thread(proxy.heal)
        client = await Client.connect(proxy)
        assert await client.ask(b"back") == b"back"
        await client.close()


async def test_a_delay_holds_data_back() -> None:
    async with echo_proxy() as proxy:
        client = await Client.connect(proxy)
        await client.ask(b"warm")
        proxy.delay(0.1)
        start = time.monotonic()
        await client.ask(b"slow")
        assert time.monotonic() - start >= 0.2  # once each way
        await client.close()


async def test_a_black_hole_carries_nothing_until_healed() -> None:
    async with echo_proxy() as proxy:
        client = await Client.connect(proxy)
        await client.ask(b"warm")
        await asyncio.to_thread(proxy.black_hole)
        client.writer.write(b"lost?")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.reader.readexactly(5)
        await asyncio.to_thread(proxy.heal)
        async with asyncio.timeout(SECONDS):
            assert await client.reader.readexactly(5) == b"lost?"
        await client.close()


async def test_closed_in_a_black_hole_it_ends() -> None:
    async with echo_proxy() as proxy:
        client = await Client.connect(proxy)
        await client.ask(b"warm")
        await asyncio.to_thread(proxy.black_hole)
        client.writer.write(b"held")
    assert await client.is_broken()
    await client.close()


async def test_a_layer_goes_through_it_and_feels_the_cut(redis_server: RedisServer) -> None:
    async with opened(redis_server.port) as proxy:
        host = {"address": f"redis://127.0.0.1:{proxy.port}", "socket_timeout": None}
        layer = RedisChannelLayer(hosts=[host])
        await layer.send("through", {"type": "t"})
        assert await layer.receive("through") == {"type": "t"}
        waiting = asyncio.ensure_future(layer.receive("through"))
        await asyncio.sleep(0.1)  # let it block in BZPOPMIN
        await asyncio.to_thread(proxy.part)
        with pytest.raises(RedisConnectionError):
            await asyncio.wait_for(waiting, SECONDS)
        await asyncio.to_thread(proxy.heal)
        await layer.send("through", {"type": "later"})
        assert await layer.receive("through") == {"type": "later"}
        await layer.close_pools()
