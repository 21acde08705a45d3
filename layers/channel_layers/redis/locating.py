from __future__ import annotations

import asyncio

from redis.asyncio.connection import Connection, parse_url


class CannotConnect(Exception):
    permanent = False


class Endpoint:
    def __init__(self, url):
        self.url = url
        self.label = url

    async def connect(self, *, timeout):
        c = Connection(**parse_url(self.url), protocol=2, socket_timeout=None)
        try:
            async with asyncio.timeout(timeout):
                await c.connect()
        except Exception as e:
            raise CannotConnect(str(e))
        return c


class Locator:
    def __init__(self, url):
        self.label = url
        self.url = url

    async def locate(self, *, timeout):
        return Endpoint(self.url)

    def distrust(self):
        pass

    async def close(self):
        pass
