"""The forms in which a CONFIG says where Redis is; those of channels_redis and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio.connection import UnixDomainSocketConnection
from redis.crc import key_slot

from channel_layers.exceptions import OptionError, OptionValueError
from channel_layers.redis.forms import HostForm, endpoint_of, kind_of, pair_of
from channel_layers.redis.locating import (
    ClusterMap,
    FixedLocator,
    Locator,
    SentinelLocator,
    SlotLocator,
)

__all__ = ["HostForm", "PartitionPlan", "partition_tag", "plans"]

DEFAULT_URL: Final = "redis://localhost:6379"
DEFAULT_PARTITIONS: Final = 8
MOST_PARTITIONS: Final = 256
"""Each costs every process two connections."""
SLOTS: Final = 16384

_PLACES: Final = frozenset({"address", "host", "port", "path", "unix_socket_path"})


@dataclass(frozen=True)
class PartitionPlan:
    """One partition: where it is, and what stands in the braces of its keys."""

    index: int
    tag: str
    locator: Locator


def plans(
    hosts: str | Sequence[HostForm] | None,
    *,
    prefix: str,
    cluster: bool = False,
    sentinels: Sequence[Sequence[object]] | None = None,
    master_name: str | None = None,
    partitions: int | None = None,
) -> list[PartitionPlan]:
    """The partitions that a CONFIG describes; see :class:`RedisStreamsChannelLayer`.

    Raises:
        OptionError, OptionValueError: what is given cannot be right.
    """
    if partitions is not None:
        if not cluster:
            raise OptionValueError("partitions is for cluster=True; several hosts are one each.")
        if isinstance(partitions, bool) or not isinstance(partitions, int):
            raise OptionError(f"partitions must be a whole number, not {partitions!r}.")
        if not 1 <= partitions <= MOST_PARTITIONS:
            raise OptionValueError(
                f"partitions must be 1 to {MOST_PARTITIONS}, not {partitions!r}."
            )
    if sentinels is not None or master_name is not None:
        if cluster:
            raise OptionValueError("cluster=True and sentinels exclude each other.")
        options = _only_options(hosts)
        entries: list[HostForm] = [
            {**options, "sentinels": sentinels, "master_name": master_name},
        ]
    else:
        entries = _entries(hosts)
    if not cluster:
        several = len(entries) > 1
        return [
            # Two of them may be one server under two names: their keys must not meet.
            PartitionPlan(index, f"{prefix}:{index}" if several else prefix, _locator(entry))
            for index, entry in enumerate(entries)
        ]
    nodes = [endpoint_of(entry) for entry in entries]
    for node in nodes:
        if issubclass(node.kind, UnixDomainSocketConnection):
            raise OptionValueError("The nodes of a cluster have hosts and ports, not sockets.")
        if node.options.get("db"):
            raise OptionValueError("A cluster has only database 0: leave it out of hosts.")
    count = partitions or DEFAULT_PARTITIONS
    found = ClusterMap(nodes)
    tags = [partition_tag(prefix, index, count) for index in range(count)]
    return [
        PartitionPlan(index, tag, SlotLocator(found, key_slot(tag.encode())))
        for index, tag in enumerate(tags)
    ]


def partition_tag(prefix: str, index: int, count: int) -> str:
    """The hash tag of a partition, which lies in the ``index``-th of ``count`` shares of slots.

    All processes find the same: it is the first of ``prefix:index``, ``prefix:index-1``,
    ``prefix:index-2``... whose slot is in the share.
    """
    first, behind = SLOTS * index // count, SLOTS * (index + 1) // count
    tag, attempt = f"{prefix}:{index}", 0
    while not first <= key_slot(tag.encode()) < behind:
        attempt += 1
        tag = f"{prefix}:{index}-{attempt}"
    return tag


def _entries(hosts: str | Sequence[HostForm] | None) -> list[HostForm]:
    if hosts is None:
        return [DEFAULT_URL]
    if isinstance(hosts, str):
        return [hosts]
    if isinstance(hosts, Mapping):
        return [hosts]
    if not isinstance(hosts, list | tuple):
        raise OptionError(f"hosts must be a URL or a list of hosts, not {kind_of(hosts)}.")
    if len(hosts) == 2 and isinstance(hosts[0], str) and isinstance(hosts[1], int):
        return [hosts]  # a single (host, port)
    if not hosts:
        return [DEFAULT_URL]
    return list(hosts)


def _only_options(hosts: str | Sequence[HostForm] | None) -> Mapping[str, object]:
    """Beside ``sentinels``, ``hosts`` may have one dict with options for the master."""
    if not hosts:
        return {}
    entries = _entries(hosts)
    if len(entries) > 1 or not isinstance(entries[0], Mapping) or "address" in entries[0]:
        raise OptionValueError(
            "With sentinels the address comes from them: hosts may only hold one dict with "
            "options for the master, such as {'password': ...}."
        )
    return entries[0]


def _locator(entry: HostForm) -> Locator:
    if not isinstance(entry, Mapping) or not {"sentinels", "master_name"} & entry.keys():
        return FixedLocator(endpoint_of(entry))
    options = dict(entry)
    sentinels = options.pop("sentinels", None)
    name = options.pop("master_name", None)
    if not isinstance(name, str) or not name:
        raise OptionError(f"master_name must be the name that the Sentinels know, not {name!r}.")
    if isinstance(sentinels, str | bytes) or not isinstance(sentinels, Sequence) or not sentinels:
        raise OptionError(
            f"sentinels must be a list of (host, port) pairs, not {kind_of(sentinels)}."
        )
    extra = options.pop("sentinel_kwargs", None) or {}
    if not isinstance(extra, Mapping):
        raise OptionError(f"sentinel_kwargs must be a dict, not {kind_of(extra)}.")
    if placed := _PLACES & options.keys():
        raise OptionValueError(
            f"With sentinels the address comes from them: {', '.join(sorted(placed))} has no "
            "meaning beside them."
        )
    asked = [
        endpoint_of({**extra, "host": host, "port": port}) for host, port in map(pair_of, sentinels)
    ]
    return SentinelLocator(asked, name, endpoint_of({**options, "host": "", "port": 0}))
