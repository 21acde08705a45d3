"""The forms in which a CONFIG says where Redis is; those of channels_redis and more."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.crc import key_slot

from channel_layers.exceptions import OptionError, OptionValueError
from channel_layers.redis.endpoint import Endpoint, plain_kind
from channel_layers.redis.locating import (
    ClusterMap,
    FixedLocator,
    Locator,
    SentinelLocator,
    SlotLocator,
)

__all__ = ["HostForm", "PartitionPlan", "partition_tag", "plans"]

HostForm = str | Sequence[object] | Mapping[str, object]
"""A URL, a ``(host, port)`` pair, or a dict of connection options."""

DEFAULT_URL: Final = "redis://localhost:6379"
DEFAULT_PARTITIONS: Final = 8
SLOTS: Final = 16384

OURS: Final = frozenset(
    {
        *("decode_responses", "encoding", "encoding_errors", "protocol", "parser_class"),
        *("socket_timeout", "socket_connect_timeout", "timeout", "health_check_interval"),
        *("retry", "retry_on_timeout", "retry_on_error", "max_connections", "socket_read_size"),
        *("encoder_class", "single_connection_client", "auto_close_connection_pool"),
    }
)
"""Options of redis-py that people have in their CONFIG and that this layer decides on itself."""


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
        if not 1 <= partitions <= SLOTS:
            raise OptionValueError(f"partitions must be 1 to {SLOTS}, not {partitions!r}.")
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
        return [PartitionPlan(i, prefix, _locator(entry)) for i, entry in enumerate(entries)]
    nodes = [_endpoint(entry) for entry in entries]
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
        raise OptionError(f"hosts must be a URL or a list of hosts, not {hosts!r:.100}.")
    if len(hosts) == 2 and isinstance(hosts[0], str) and isinstance(hosts[1], int):
        return [hosts]  # a single (host, port)
    if not hosts:
        return [DEFAULT_URL]
    return list(hosts)


def _only_options(hosts: str | Sequence[HostForm] | None) -> Mapping[str, object]:
    """Beside ``sentinels``, ``hosts`` may have one dict with options for the master."""
    entries = [] if hosts is None else _entries(hosts)
    if not entries:
        return {}
    if len(entries) > 1 or not isinstance(entries[0], Mapping) or "address" in entries[0]:
        raise OptionValueError(
            "With sentinels the address comes from them: hosts may only hold one dict with "
            "options for the master, such as {'password': ...}."
        )
    return entries[0]


def _locator(entry: HostForm) -> Locator:
    if not isinstance(entry, Mapping) or not {"sentinels", "master_name"} & entry.keys():
        return FixedLocator(_endpoint(entry))
    options = dict(entry)
    sentinels = options.pop("sentinels", None)
    name = options.pop("master_name", None)
    if not isinstance(name, str) or not name:
        raise OptionError(f"master_name must be the name that the Sentinels know, not {name!r}.")
    if isinstance(sentinels, str | bytes) or not isinstance(sentinels, Sequence) or not sentinels:
        raise OptionError(
            f"sentinels must be a list of (host, port) pairs, not {sentinels!r:.100}."
        )
    extra = options.pop("sentinel_kwargs", None) or {}
    if not isinstance(extra, Mapping):
        raise OptionError(f"sentinel_kwargs must be a dict, not {extra!r:.100}.")
    asked = [
        _endpoint({**extra, "host": host, "port": port}) for host, port in map(_pair, sentinels)
    ]
    return SentinelLocator(asked, name, _endpoint({**options, "host": "", "port": 0}))


def _endpoint(entry: HostForm) -> Endpoint:
    if isinstance(entry, str):
        return _from_url(entry, {})
    if isinstance(entry, bytes):
        raise OptionError("A host was given as bytes; a URL is text.")
    if isinstance(entry, Sequence):
        host, port = _pair(entry)
        return Endpoint(Connection, {"host": host, "port": port})
    if not isinstance(entry, Mapping):
        raise OptionError(
            "A host is a URL, a (host, port) pair or a dict of connection options, "
            f"not {type(entry).__name__}."
        )
    options = dict(entry)
    address = options.pop("address", None)
    if address is not None:
        if not isinstance(address, str):
            host, port = _pair(address)
            return _checked(Connection, {**options, "host": host, "port": port})
        return _from_url(address, options)
    tls = bool(options.pop("ssl", False))
    path = options.pop("unix_socket_path", None) or options.get("path")
    if path is not None:
        return _checked(UnixDomainSocketConnection, {**options, "path": path})
    return _checked(plain_kind(tls=tls), options)


def _from_url(url: str, options: Mapping[str, object]) -> Endpoint:
    try:
        found: dict[str, object] = dict(parse_url(url))
    except ValueError as error:
        raise OptionValueError(
            "A Redis URL looks like redis://user:password@host:6379/0, rediss://... (TLS) or "
            f"unix:///path?db=0. What was given cannot be read: {error}."
        ) from error
    kind = found.pop("connection_class", Connection)
    if not isinstance(kind, type) or not issubclass(kind, AbstractConnection):
        raise OptionValueError(f"A Redis URL cannot ask for the connection class {kind!r}.")
    options = dict(options)
    if options.pop("ssl", False) and kind is Connection:
        kind = SSLConnection
    return _checked(kind, {**options, **found})


def _checked(kind: type[AbstractConnection], options: Mapping[str, object]) -> Endpoint:
    known = {
        name
        for cls in kind.__mro__
        if "__init__" in cls.__dict__ and cls is not object
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind in {parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    } - {"self"}
    taken = {name: value for name, value in options.items() if name not in OURS}
    for name in taken:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise OptionError(f"redis-py's {kind.__name__} has no option {name!r}{hint}.")
    return Endpoint(kind, taken)


def _pair(value: object) -> tuple[str, int]:
    if not isinstance(value, str | bytes) and isinstance(value, Sequence) and len(value) == 2:
        host, port = value
        if isinstance(host, str) and isinstance(port, int | str) and str(port).isdecimal():
            return host, int(port)
    raise OptionError(f"{value!r:.100} is no (host, port) pair such as ('localhost', 6379).")
