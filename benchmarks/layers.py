"""The layers that are compared, ours and the peers'. A new layer is one more row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from channel_layers.testing.servers import SERVERS

__all__ = ["ROWS", "Row", "database_settings"]

Config = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        name: on the command line and in the reports.
        path: dotted class.
        packages: distributions it needs; their versions go into the report.
        config: (address of the server, capacity) -> CONFIG.
        server: key of ``servers.SERVERS``; None if it needs none.
        ours: whether the bars apply to it.
        distributed: whether two instances, and two processes, reach each other.
        queues: whether the readers of a plain channel share its messages, each going to one.
        app: a Django app to install and migrate first, on the alias of the same name.
    """

    name: str
    path: str
    packages: tuple[str, ...]
    config: Callable[[str, int], Config]
    server: str | None = None
    ours: bool = False
    distributed: bool = True
    queues: bool = True
    app: str | None = None

    def missing(self) -> str | None:
        """What is not installed, in words; None if the layer can be measured."""
        package = self.path.partition(".")[0]
        if find_spec(package) is None:
            return f"not installed: {package}"
        for name in self.packages[1:]:  # the first one was found, and may be a source tree
            try:
                version(name)
            except PackageNotFoundError:
                return f"not installed: {name}"
        if self.server is not None and (absent := SERVERS[self.server].missing()) is not None:
            return f"not installed: {absent}"
        return None


def database_settings(address: str) -> Config:
    """A Django DATABASES entry for the address of a Postgres database."""
    url = urlsplit(address)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.lstrip("/"),
        "USER": url.username or "",
        "PASSWORD": url.password or "",
        "HOST": url.hostname or "",
        "PORT": str(url.port or 5432),
        # Django fills these in for its own aliases; the peer passes them on unfilled.
        "TIME_ZONE": None,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        "AUTOCOMMIT": True,
        "ATOMIC_REQUESTS": False,
        "OPTIONS": {},
    }


def _redis_hosts(address: str) -> list[Config]:
    # channels_redis blocks for 5 s in each read, just as long as redis-py 8 waits for an answer:
    # without the first option an idle reader dies (channels_redis issue 422). redis-py 8 also
    # stops at 100 connections, and channels_redis takes one for each call under way.
    return [{"address": address, "socket_timeout": None, "max_connections": 5000}]


ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row(
            name="memory",
            path="channel_layers.memory.InMemoryChannelLayer",
            packages=("channel-layers",),
            config=lambda _address, capacity: {"capacity": capacity},
            ours=True,
            distributed=False,
        ),
        Row(
            name="redis",
            path="channel_layers.redis.RedisStreamsChannelLayer",
            packages=("channel-layers", "redis", "hiredis"),
            config=lambda address, capacity: {"hosts": [address], "capacity": capacity},
            server="redis",
            ours=True,
        ),
        Row(
            name="channels-memory",
            path="channels.layers.InMemoryChannelLayer",
            packages=("channels",),
            config=lambda _address, capacity: {"capacity": capacity},
            distributed=False,
        ),
        Row(
            name="channels-redis-core",
            path="channels_redis.core.RedisChannelLayer",
            packages=("channels_redis", "redis", "hiredis"),
            config=lambda address, capacity: {
                "hosts": _redis_hosts(address),
                "capacity": capacity,
            },
            server="redis",
        ),
        Row(
            name="channels-redis-pubsub",
            path="channels_redis.pubsub.RedisPubSubChannelLayer",
            packages=("channels_redis", "redis", "hiredis"),
            # It has no capacity: its queues have no end.
            config=lambda address, _capacity: {"hosts": _redis_hosts(address)},
            server="redis",
            queues=False,
        ),
        Row(
            name="channels-nats",
            path="channels_nats.NatsChannelLayer",
            packages=("channels-nats", "nats-py"),
            config=lambda address, capacity: {"servers": address, "capacity": capacity},
            server="nats",
        ),
        Row(
            name="channels-postgres",
            path="channels_postgres.core.PostgresChannelLayer",
            packages=("channels_postgres", "psycopg"),
            # It has no capacity either; the option would become a Django database setting.
            config=lambda address, _capacity: database_settings(address),
            server="postgres",
            queues=False,
            app="channels_postgres",
        ),
    )
}
"""By name, in the order of the reports."""
