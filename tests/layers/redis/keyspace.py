"""One keyspace on a server, in which tests run one script at a time."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias, cast

from redis import Redis

from channel_layers.redis.keys import Keys
from channel_layers.redis.scripts import script
from channel_layers.testing.servers import RedisServer

__all__ = ["Answer", "Entry", "Keyspace", "keyspace"]

Answer: TypeAlias = "int | bytes | list[Answer] | None"
Entry = tuple[bytes, ...]
"""Field, value, field, value..."""

TTL = 90_000
EXPIRY = 60_000
SILENT = 7_000
DEAD = 15_000


class Keyspace:
    """Scripts with the arguments that the layer gives them, and what they left behind."""

    def __init__(self, client: Redis) -> None:
        self.redis = client
        self.keys = Keys(f"t{secrets.token_hex(6)}")
        self.base = self.keys.base
        self._number = 0

    def run(self, name: str, key: str, *arguments: str | bytes | int) -> Answer:
        """Run a script."""
        source = script(name).source.decode()
        return cast(Answer, self.redis.eval(source, 1, key, self.base, *arguments))

    def found(self, name: str, key: str, *arguments: str | bytes | int) -> list[Answer]:
        """Run one that answers a list."""
        answer = self.run(name, key, *arguments)
        assert isinstance(answer, list)
        return answer

    def number(self) -> int:
        """A new number for a command that must not run twice."""
        self._number += 1
        return self._number

    # Processes

    def register(self, process: str, ttl: int = TTL) -> list[Answer]:
        return self.found("register", self.keys.inbox(process), process, ttl)

    def beat(self, process: str, *confirmed: str | int, dead: int = DEAD) -> list[Answer]:
        inbox = self.keys.inbox(process)
        return self.found("beat", inbox, process, TTL, dead, EXPIRY, *confirmed)

    def silent_since(self, process: str, milliseconds: int) -> None:
        """Let a process have been heard of for the last time so long ago."""
        self.redis.zincrby(self.keys.processes, -milliseconds, process)

    def inbox(self, process: str) -> list[Entry]:
        """What a process has to read."""
        entries = cast(
            "list[tuple[bytes, dict[bytes, bytes]]]", self.redis.xrange(self.keys.inbox(process))
        )
        return [tuple(word for pair in fields.items() for word in pair) for _, fields in entries]

    def last(self, process: str) -> bytes:
        """Id of the newest entry of an inbox."""
        info = cast("dict[str, bytes]", self.redis.xinfo_stream(self.keys.inbox(process)))
        return info["last-generated-id"]

    # Groups

    def add(self, group: str, process: str, ttl: int = 900_000, *, read: bytes = b"") -> Answer:
        key = self.keys.group(group)
        return self.run("add_member", key, group, process, b"added", ttl, TTL, read)

    def leave(self, group: str, process: str, read: bytes) -> Answer:
        return self.run("leave", self.keys.group(group), group, process, read)

    def members(self, group: str) -> set[bytes]:
        return cast("set[bytes]", self.redis.smembers(self.keys.group(group)))

    def add_plain(
        self, group: str, channel: str, capacity: int = 10, lifetime: int = 50_000
    ) -> Answer:
        key = self.keys.group(group)
        ttl = max(lifetime, 900_000)
        return self.run("add_plain", key, group, channel, capacity, lifetime, ttl)

    def fan_out(
        self,
        group: str,
        frame: bytes = b"frame",
        *,
        limit: int = 100,
        forward: bool = False,
        number: int | None = None,
        size: int = 0,
        epoch: str = "epoch",
    ) -> list[Answer]:
        number = self.number() if number is None else number
        key = self.keys.group(group)
        once = ("sender", number, 60_000)
        history = (size, 100_000, epoch)
        return self.found(
            "fan_out", key, group, frame, limit, EXPIRY, int(forward), *once, *history
        )

    # Plain channels

    def push(
        self,
        channel: str,
        frame: bytes,
        *,
        capacity: int = 10,
        number: int | None = None,
        producer: str = "sender",
    ) -> list[Answer]:
        number = self.number() if number is None else number
        key = self.keys.plain(channel)
        return self.found("push", key, channel, frame, capacity, EXPIRY, producer, number, 60_000)

    def pull(
        self, channel: str, process: str, number: int, count: int = 1, *, keep: bool = False
    ) -> list[Answer]:
        key = self.keys.plain(channel)
        return self.found("pull", key, channel, process, number, count, EXPIRY, TTL, int(keep))

    def take_back(
        self, channel: str, process: str, *pairs: str | bytes, number: int | None = None
    ) -> Answer:
        number = self.number() if number is None else number
        key = self.keys.plain(channel)
        return self.run("take_back", key, channel, process, number, 60_000, process, EXPIRY, *pairs)

    def waits_in(self, channel: str) -> list[bytes]:
        """What lies in a plain channel, without the times."""
        elements = cast("list[bytes]", self.redis.lrange(self.keys.plain(channel), 0, -1))
        return [element.partition(b":")[2] for element in elements]

    def put_old(self, channel: str, frame: bytes, age: int) -> None:
        """Put a message into a plain channel that was sent so many milliseconds ago."""
        seconds, microseconds = self.redis.time()
        sent = seconds * 1000 + microseconds // 1000 - age
        self.redis.rpush(self.keys.plain(channel), b"%d:%s" % (sent, frame))

    def wakened(self, process: str) -> int:
        """How often a process has been told of messages."""
        return sum(entry[0] == b"wanted" for entry in self.inbox(process))

    # All

    def all_keys(self) -> dict[str, int]:
        """Each key, without the base, and in how many milliseconds it lapses; -1 for never."""
        keys = cast("list[bytes]", self.redis.keys(f"*{self.base}*"))
        assert all(key.startswith(self.base.encode()) for key in keys)
        return {key.decode().removeprefix(self.base): self.redis.pttl(key) for key in keys}


@contextmanager
def keyspace() -> Iterator[Keyspace]:
    """A keyspace on a server of its own; :meth:`Keyspace.__init__` makes further ones."""
    with RedisServer() as server, Redis.from_url(server.address, protocol=2) as client:
        yield Keyspace(client)
